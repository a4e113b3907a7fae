"""The systemd unit, its drop-in and what belongs to them: systemd itself reads them without a word, and they agree.

What they do on a running systemd is tried in tests/e2e; this is what any machine with systemd's tools can see.
"""

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from locksmith import config
from locksmith.agent.loop import MAX_WAIT
from locksmith.daemon import STOP_EXTENSION

DEPLOY = Path(__file__).parents[2] / "deploy" / "systemd"
UNIT = DEPLOY / "locksmithd.service"
UNPRIVILEGED = DEPLOY / "unprivileged.conf"
GATEWAY = DEPLOY / "locksmith-gateway.service"
LOCKSMITHD = Path(sys.executable).with_name("locksmithd")
LIMIT = 60

DROP_IN = f"[Service]\nExecStart=\nExecStart={LOCKSMITHD}\n"
"""As the unit's comment says for a virtual environment."""


def verify(folder: Path, *drop_ins: str, unit: Path = UNIT) -> "subprocess.CompletedProcess[str]":
    """`systemd-analyze verify` of the unit with drop-ins."""
    tool = shutil.which("systemd-analyze")
    if tool is None:
        pytest.skip("NOT TESTED: systemd-analyze is missing, which is in the package systemd")
    shutil.copy(unit, folder)
    place = folder / f"{unit.name}.d"
    place.mkdir()
    for number, content in enumerate(drop_ins):
        (place / f"{number}.conf").write_text(content)
    command = [tool, "verify", "--man=no", "--recursive-errors=no", str(folder / unit.name)]
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)


def test_systemd_has_nothing_to_say(tmp_path):
    done = verify(tmp_path, DROP_IN)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_systemd_would_say_something(tmp_path):
    """The control: drop-ins are read, and mistakes are told."""
    assert "WatchdogSek" in verify(tmp_path, DROP_IN, "[Service]\nWatchdogSek=1\n").stderr


def test_systemd_has_nothing_to_say_about_the_agent_that_is_not_root(tmp_path):
    done = verify(tmp_path, DROP_IN, UNPRIVILEGED.read_text())
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_systemd_has_nothing_to_say_about_the_gateway(tmp_path):
    command = f"ExecStart={LOCKSMITHD.with_name('locksmith-gateway')} --metrics-only"
    done = verify(tmp_path, f"[Service]\nExecStart=\n{command}\n", unit=GATEWAY)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_gateway_can_do_little_and_writes_nowhere():
    service = parsed(GATEWAY)["Service"]
    assert service["ExecStart"] == ["locksmith-gateway --metrics-only"]
    assert any(line.startswith("locksmith-gateway = ") for line in _scripts())
    wanted = {"DynamicUser": "yes", "ProtectSystem": "strict", "CapabilityBoundingSet": "", "NoNewPrivileges": "yes"}
    assert {key: service[key] for key in wanted} == {key: [value] for key, value in wanted.items()}
    assert not {"StateDirectory", "ReadWritePaths", "ProtectClock"} & service.keys()


def parsed(file: Path) -> dict[str, dict[str, list[str]]]:
    """Each key's values; systemd adds up what stands several times."""
    found: dict[str, dict[str, list[str]]] = {}
    section: dict[str, list[str]] = {}
    for line in file.read_text().splitlines():
        if line.startswith("["):
            section = found.setdefault(line.strip("[]"), {})
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            section.setdefault(key, []).append(value)
    return found


@pytest.fixture
def unit() -> dict[str, dict[str, list[str]]]:
    return parsed(UNIT)


def test_its_folders_are_the_defaults_of_the_configuration(unit):
    node = config.load(environ={}, roots=()).node
    service = unit["Service"]
    assert [str(node.state_dir)] == [f"/var/lib/{name}" for name in service["StateDirectory"]]
    assert [str(node.run_dir)] == [f"/run/{name}" for name in service["RuntimeDirectory"]]
    # The record of a running reboot command is there, and a stop must not make the next agent forget it.
    assert service["RuntimeDirectoryPreserve"] == ["yes"]


def test_its_times_fit_the_loop(unit):
    service = unit["Service"]
    assert float(service["WatchdogSec"][0]) / 2 <= MAX_WAIT
    # Asked for at each turn, so it must last until the next one even without a watchdog.
    assert STOP_EXTENSION.total_seconds() > MAX_WAIT


def test_a_bad_boot_does_not_keep_the_agent_from_saying_so(unit):
    requires = [
        word
        for key in ("Requires", "Requisite", "BindsTo")
        for value in unit["Unit"].get(key, [])
        for word in value.split()
    ]
    assert not [target for target in requires if target.startswith(("boot-complete", "network", "time"))]
    after = " ".join(unit["Unit"]["After"]).split()
    assert {"network-online.target", "time-sync.target", "boot-complete.target", "first-boot-complete.target"} <= set(
        after
    )
    assert {"network-online.target", "time-sync.target"} <= set(" ".join(unit["Unit"]["Wants"]).split())


def test_it_starts_what_the_package_installs(unit):
    project = configparser.ConfigParser()
    project.read_string("\n".join(_scripts()))
    assert [word.split()[0] for word in unit["Service"]["ExecStart"]] == ["locksmithd"]
    assert "locksmithd" in project["project.scripts"]


def test_operators_programs_are_not_locked_in(unit):
    """Whatever makes a mount namespace, or takes sudo and kexec away, breaks hooks; see the unit's comment."""
    harmful = ("Protect", "Private", "ReadOnly", "Inaccessible", "NoNewPrivileges", "SystemCallFilter", "Capability")
    assert not [key for key in unit["Service"] if key.startswith(harmful)]


def test_what_would_mislead_the_agent_is_in_no_sandbox():
    """See the comments of both: the boot id, the clock, the terminals, who else reboots this host."""
    harmful = {"ProtectKernelTunables", "ProtectClock", "PrivateDevices", "PrivateUsers", "ProtectProc", "ProcSubset"}
    for file in (UNIT, UNPRIVILEGED):
        assert not harmful & parsed(file)["Service"].keys()
    assert "adjtimex" in " ".join(parsed(UNPRIVILEGED)["Service"]["SystemCallFilter"]).split()


def test_everything_means_the_same_user_and_folders():
    user = parsed(UNPRIVILEGED)["Service"]["User"][0]
    sysusers = [line.split() for line in _lines("sysusers.d/locksmith.conf")]
    assert [line[:2] for line in sysusers] == [["u", user]]
    assert [line.split()[:2] for line in _lines("tmpfiles.d/locksmith.conf")] == [
        ["d", f"/run/{name}"] for name in parsed(UNIT)["Service"]["RuntimeDirectory"]
    ]
    assert f'subject.user == "{user}"' in (DEPLOY.parent / "polkit" / "50-locksmith.rules").read_text()


def test_the_polkit_rule_lets_nobody_reboot_against_inhibitors():
    rules = (DEPLOY.parent / "polkit" / "50-locksmith.rules").read_text()
    allowed = re.findall(r'^ *"org\.freedesktop\.login1\.([a-z-]+)",$', rules, re.MULTILINE)
    assert allowed == ["reboot", "reboot-multiple-sessions", "set-wall-message", "inhibit-delay-shutdown"]


def _lines(name: str) -> list[str]:
    return [line for line in (DEPLOY.parent / name).read_text().splitlines() if not line.startswith("#")]


def _scripts() -> list[str]:
    lines = (DEPLOY.parents[1] / "pyproject.toml").read_text().splitlines()
    start = lines.index("[project.scripts]")
    end = next(number for number in range(start + 1, len(lines)) if lines[number].startswith("["))
    return lines[start:end]
