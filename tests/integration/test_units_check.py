"""The units check against real systemd, in a container that really reboots; the check runs here, systemctl in there."""

import secrets
import shlex
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from locksmith.checks import Occasion
from locksmith.checks.units import UnitsCheck
from locksmith.core.verdict import Closed, Open, Unknown, Verdict
from locksmith.host.system import System
from tests.e2e import container as containers
from tests.integration.fleet.stores import skipping
from tests.servers.process import DataFolder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # the first run makes a Debian

LONG = timedelta(seconds=60)
WAIT = 60
ONCE = "[Service]\nType=oneshot\nExecStart=/bin/{}\n[Install]\nWantedBy=multi-user.target\n"
UNITS = {
    "bad.service": ONCE.format("false"),
    "once.service": ONCE.format("true"),
    "stays.service": ONCE.format("true").replace("[Install]", "RemainAfterExit=yes\n[Install]"),
    "skipped.service": "[Unit]\nConditionPathExists=/nowhere\n" + ONCE.format("true"),
    "slow.service": ONCE.format("sleep 1000"),
    "flap.service": (
        "[Unit]\nStartLimitIntervalSec=0\n[Service]\nExecStart=/bin/false\nRestart=always\nRestartSec=1000\n"
        "[Install]\nWantedBy=multi-user.target\n"
    ),
    # As our own unit is ordered, without what else it needs.
    "agent.service": (
        "[Unit]\nAfter=multi-user.target boot-complete.target\n[Service]\nExecStart=/bin/sleep infinity\n"
        "[Install]\nWantedBy=multi-user.target\n"
    ),
}
ENABLED = ("bad.service", "once.service", "stays.service", "skipped.service", "flap.service", "agent.service")


class Machine:
    """A container, and its systemctl as a tool for `System` out here."""

    def __init__(self, folder: Path) -> None:
        self.tools = folder / "tools"
        self.tools.mkdir()
        self.run = folder / "run"
        (self.run / "systemd" / "system").mkdir(parents=True)
        self.baseline = folder / "before.json"
        self.container = containers.Container("units", folder)
        self.container.write("/etc/machine-id", f"{secrets.token_hex(16)}\n")
        self.container.write("/etc/hostname", "units\n")
        for name, text in UNITS.items():
            self.container.write(f"/etc/systemd/system/{name}", text)
        for name in ENABLED:
            self.container.link(f"/etc/systemd/system/multi-user.target.wants/{name}", f"/etc/systemd/system/{name}")
        for name in ("console-getty.service", "apt-daily.timer", "apt-daily-upgrade.timer"):
            self.container.link(f"/etc/systemd/system/{name}", "/dev/null")

    def boot(self) -> None:
        """Until the boot is over."""
        self.container.power_on()
        self._settle(1)

    def reboot(self, until: Callable[[], bool] | None = None) -> None:
        """Until the boot is over, or that is so."""
        boots = self.container.boots
        self.container.run("systemctl", "reboot", check=False)
        self._settle(boots + 1, until)

    def _settle(self, boots: int, until: Callable[[], bool] | None = None) -> None:
        settled = until or self._over
        end = time.monotonic() + WAIT
        while not (self.container.boots == boots and self.container.init() and settled()):
            assert time.monotonic() < end, self._story()
            time.sleep(0.2)
        words = self.container.command("systemctl")
        tool = self.tools / "systemctl"
        tool.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
        tool.chmod(0o755)

    def _over(self) -> bool:
        return self.container.run("systemctl", "is-system-running", check=False).stdout.strip() in (
            "running",
            "degraded",
        )

    def at_work(self) -> set[str]:
        """The units whose jobs run; others wait for them."""
        jobs = self.container.run("systemctl", "list-jobs", "--no-legend", check=False).stdout
        return {words[1] for line in jobs.splitlines() if (words := line.split())[3:] == ["running"]}

    def _story(self) -> str:
        """Why it does not settle."""
        words = ("systemctl", "list-jobs") if self.container.init() else ()
        jobs = self.container.run(*words, check=False).stdout if words else "no init"
        return f"{self.container.exits} boots={self.container.boots} {jobs}\n{self.container.tail()}"

    def check(self, role: str = "health", **settings: object) -> UnitsCheck:
        system = System(runtime=self.run, tools=self.tools, tool_limit=LONG)
        return UnitsCheck("units", role, system, LONG, baseline=self.baseline, **settings)

    def ask(self, role: str = "health", attempt: str = "n1", **settings: object) -> Verdict:
        now = datetime.now(UTC)
        occasion = Occasion(now, clock_trusted=True, environment={}, stage="health", attempt=attempt)
        return self.check(role, **settings).ask(occasion)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with skipping():
        data = DataFolder("units")
        try:
            containers.allowed(data.path)
            yield data.path
        finally:
            data.remove()


@pytest.fixture
def machine(folder: Path) -> Iterator[Machine]:
    found = Machine(folder)
    try:
        found.boot()
        yield found
    finally:
        found.container.destroy()


def reason(verdict: Verdict) -> str:
    assert isinstance(verdict, Closed), verdict
    return verdict.reason


def test_over_real_reboots(machine: Machine) -> None:
    # Before: one unit fails, and nobody minds. flap fails as well, but systemd does not call that failed.
    assert reason(machine.ask("gate")) == "failed: bad.service; see `systemctl status bad.service`"
    machine.check().remember("n1")
    _named_units(machine)

    # The reboot brings a second one.
    machine.container.write("/etc/systemd/system/worse.service", ONCE.format("false"))
    machine.container.run("systemctl", "enable", "worse.service", "systemd-boot-check-no-failures.service")
    machine.reboot()
    assert machine.container.exits == ["reboot"]
    assert reason(machine.ask()) == "failed: worse.service; see `systemctl status worse.service`"
    assert "bad.service, worse.service" in reason(machine.ask(attempt="n2"))
    assert machine.ask(ignore=["worse.*"], system_running=True) == Open("failed before the reboot, too: bad.service")

    # boot-complete.target waits for the check that was enabled, but nothing wants it to.
    assert "is not part of the boot, since no unit wants it" in reason(machine.ask(boot_complete=True, ignore=["*"]))
    machine.container.run("systemctl", "add-wants", "agent.service", "boot-complete.target")
    machine.reboot()
    assert "boot-complete.target was not reached" in reason(machine.ask(boot_complete=True, ignore=["*"]))

    # It is repaired.
    machine.container.run("systemctl", "disable", "worse.service", "bad.service")
    machine.reboot()
    assert machine.ask(boot_complete=True, system_running=True, units=["agent", "multi-user.target"]) == Open()

    # A boot that is not over, as long as any job runs.
    machine.container.run("systemctl", "start", "--no-block", "slow.service")
    assert reason(machine.ask(units=["slow.service"])) == "slow.service is starting"
    machine.container.run("systemctl", "enable", "slow.service")
    machine.reboot(lambda: machine.at_work() == {"slow.service"})
    assert reason(machine.ask(system_running=True)) == "the boot is not over: slow.service to come"
    assert reason(machine.ask(boot_complete=True)) == "boot-complete.target is not reached yet"

    # The bus and the manager's own socket are gone.
    for path in ("/run/dbus/system_bus_socket", "/run/systemd/private"):
        machine.container.run("mv", path, f"{path}.away")
    verdict = machine.ask()
    assert isinstance(verdict, Unknown)
    assert "Failed to connect to bus" in verdict.reason


def _named_units(machine: Machine) -> None:
    named = [
        "stays",
        "once.service",
        "bad.service",
        "skipped.service",
        "flap.service",
        "nosuch.service",
        "slow.service",
    ]
    assert reason(machine.ask(units=named, failed_units=False)).split("; ") == [
        "bad.service has failed (exit-code): see `systemctl status bad.service`",
        (
            "skipped.service was not started, since one of its conditions does not hold: "
            "see `systemctl status skipped.service`"
        ),
        "flap.service ends and is started again and again: see `systemctl status flap.service`",
        "nosuch.service does not exist: install it, or correct `units`",
        "slow.service is not active: `systemctl start slow.service`, or `systemctl enable` it for the next boot",
    ]
    assert machine.ask(units=["stays", "once", "dbus.socket", "multi-user.target"], failed_units=False) == Open()
    assert reason(machine.ask(greenboot=True, ignore=["*"])).startswith("greenboot-healthcheck.service does not exist")
