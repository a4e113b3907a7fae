"""A real Prometheus with the shipped rules scrapes real agents and a real gateway, and alerts fire where their cause is made.

Only the `for` of the rules is made short in these tests, by rewriting the shipped file, so that a cause need not last for its
minutes here; the expressions and the annotations are the shipped ones. How long each `for` is, and the alerts whose cause lasts
for hours, is tried with `promtool test rules`: see tests/prometheus.
"""

import contextlib
import json
import re
import signal
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.integration.fleet.fleet import Fleet, Hardware
from tests.integration.fleet.host import BIN, Host, Ways
from tests.integration.fleet.stores import EtcdRaw, Raw, skipping, sqlite_file
from tests.servers.etcd import EtcdCluster
from tests.servers.process import ServerProcess, free_port, read, wait_until
from tests.servers.prometheus import Prometheus

TOP = Path(__file__).parents[2]
RULES = TOP / "deploy" / "prometheus" / "locksmith.rules.yml"
DASHBOARD = TOP / "deploy" / "grafana" / "locksmith.json"
WAIT = 90
"""Seconds after which something that should have happened is a failure; no expectation."""
HOOK = "10-drain"
WAYS = Ways(
    poll_interval="500ms", heartbeat="10s", store_timeout="2s", dwell="300ms", deadline="2s", reboot_timeout="2s", retries=0,
    pre=(HOOK,), undo=(HOOK,), health=True,
)  # fmt: skip

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.timeout(400)]


class Scraping(Prometheus):
    """Prometheus with the two jobs of scrape.example.yml and the shipped rules with a short `for`."""

    def __init__(self, agents: list[str], gateways: list[str]) -> None:
        super().__init__()
        self._jobs = {"locksmith-agents": agents, "locksmith-gateway": gateways}

    def _command(self) -> list[str | Path]:
        command = super()._command()
        shipped = RULES.read_text()
        rewritten, lowered = re.subn(r"(?m)^( +for: ).*$", r"\g<1>1s", shipped)
        assert lowered > 10
        (self.folder / "rules.yml").write_text(rewritten)
        config = {
            "global": {"evaluation_interval": "500ms", "scrape_interval": "500ms", "scrape_timeout": "500ms"},
            "rule_files": [f"{self.folder}/rules.yml"],
            "scrape_configs": [
                {"job_name": job, "static_configs": [{"targets": targets}]} for job, targets in self._jobs.items()
            ],
        }
        config["scrape_configs"][1] |= {"scrape_timeout": "5s", "scrape_interval": "5s"}  # type: ignore[index,call-overload]
        (self.folder / "prometheus.yml").write_text(json.dumps(config))
        return command

    def api(self, path: str, **more: str) -> Any:
        """One call of its API; the data. Raises when an expression is refused."""
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(more)}", timeout=20) as answer:
            document = json.loads(answer.read())
        assert document["status"] == "success", document
        return document["data"]

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """What an expression gives now."""
        return [(each["metric"], float(each["value"][1])) for each in self.api("query", query=expression)["result"]]

    def firing(self) -> dict[str, dict[str, Any]]:
        """The firing alerts by name; one of each name is enough here."""
        alerts = self.api("alerts")["alerts"]
        return {alert["labels"]["alertname"]: alert for alert in alerts if alert["state"] == "firing"}


@dataclass
class Rig:
    """A fleet of real agents, a gateway, and the Prometheus that scrapes them."""

    fleet: Fleet
    gateway: ServerProcess
    gateway_url: str
    prometheus: Scraping

    def fires(self, name: str, **labels: str) -> dict[str, Any]:
        """Wait until this alert fires, with these labels and annotations that are whole; the alert."""
        found: list[dict[str, Any]] = []

        def so() -> bool:
            alert = self.prometheus.firing().get(name)
            if alert is not None and labels.items() <= alert["labels"].items():
                found.append(alert)
            return bool(found)

        self._until(so, f"{name} {labels} does not fire")
        for text in found[0]["annotations"].values():
            assert "<" not in text, text  # a template that failed says <error …> or <no value>
            assert "{{" not in text, text
        return found[0]

    def ends(self, name: str) -> None:
        """Wait until this alert fires no more."""
        self._until(lambda: name not in self.prometheus.firing(), f"{name} goes on")

    def quiet(self) -> None:
        """Wait until no alert fires and all targets are up."""
        targets = len(self.fleet.hosts) + 1
        self._until(lambda: len(self.prometheus.query("up == 1")) == targets, "not all targets are up")
        self._until(lambda: not self.prometheus.firing(), "alerts fire")

    def shows(self, expression: str, value: float) -> None:
        """Wait until an expression gives this one value."""
        self._until(lambda: [found for _, found in self.prometheus.query(expression)] == [value], f"not: {expression}")

    def _until(self, so: Callable[[], bool], what: str) -> None:
        def details() -> str:
            alerts = json.dumps(self.prometheus.api("alerts"), indent=1)
            page = read(f"{self.gateway_url}/metrics")
            groups = "\n".join(
                line for line in page.splitlines() if line.startswith(("locksmith_group", "locksmith_ex"))
            )
            return f"{alerts}\n{groups}\n{self.gateway.tail()}\n{self.fleet.summary()}"

        wait_until(so, what, details, WAIT)


@contextlib.contextmanager
def rig(raw: Raw, count: int = 2, *, clone: bool = False, hardware: Hardware | None = None) -> Iterator[Rig]:
    """Everything runs; `clone`: the last host has the id of the first, and does not run yet."""
    with contextlib.ExitStack() as stack:
        fleet = stack.enter_context(Fleet(raw, count, ways=WAYS, slots=1, hardware=hardware))
        agents = [_listening(host) for host in fleet.hosts]
        if clone:
            last = fleet.hosts[-1]
            last.config.write_text(
                last.config.read_text().replace(f'id = "{last.name}"', f'id = "{fleet.hosts[0].name}"')
            )
        port = free_port()
        config = fleet.ledger.with_name("gateway.toml")
        config.write_text(f'[store]\nurl = "{raw.url}"\ntimeout = "2s"\n[gateway]\ncache = "0s"\n')
        command = [BIN / "locksmith-gateway", "--metrics-only", "--config", config, "--listen", f"127.0.0.1:{port}"]
        gateway = ServerProcess(command, fleet.ledger.with_name("gateway.log"), without="LOCKSMITH")
        stack.callback(gateway.kill)
        gateway.start()
        gateway.wait_until(lambda: read(f"http://127.0.0.1:{port}/healthz").startswith("ok"))
        fleet.start(fleet.hosts[:-1] if clone else fleet.hosts)
        with skipping():
            prometheus = Scraping(agents, [f"127.0.0.1:{port}"])
        stack.enter_context(prometheus)
        made = Rig(fleet, gateway, f"http://127.0.0.1:{port}", prometheus)
        if not clone:
            made.quiet()
        yield made


def _listening(host: Host) -> str:
    """Give the agent an address for its metrics."""
    port, text = free_port(), host.config.read_text()
    changed = text.replace('metrics_listen = ""', f'metrics_listen = "127.0.0.1:{port}"')
    assert changed != text
    host.config.write_text(changed)
    return f"127.0.0.1:{port}"


@pytest.fixture
def file() -> Iterator[Raw]:
    with sqlite_file() as found:
        yield found


@pytest.fixture
def etcd(etcd34, key_prefix) -> Raw:
    return EtcdRaw(etcd34, key_prefix)


# ---------------------------------------------------------------- in order


def test_a_reboot_of_which_nobody_is_told(etcd: Raw) -> None:
    with rig(etcd, 3) as made:
        prometheus, (first, *_) = made.prometheus, made.fleet.hosts
        made.shows("max by (group) (locksmith_group_nodes)", 3)
        made.shows("sum(locksmith_agent_state{state='steady'})", 3)
        made.shows("group:locksmith_group_free:max", 1)
        first.stage_update()
        made.fleet.wait(lambda: made.fleet.rebooted_and_steady(first), "it has rebooted")
        made.shows("locksmith_reboot_duration_seconds_count", 1)
        made.shows("locksmith_queue_wait_seconds_count", 1)
        made.shows("sum(locksmith_reboots_total{result='healthy'})", 1)
        made.shows("count(locksmith_group_last_release_timestamp_seconds)", 1)
        made.quiet()
        for panel in json.loads(DASHBOARD.read_text())["panels"]:
            for target in panel.get("targets", ()):
                prometheus.query(target["expr"].replace("$__rate_interval", "1m").replace("$group", ".*"))


# ---------------------------------------------------------------- causes


def test_a_sick_node_halts_its_group(file: Raw) -> None:
    with rig(file) as made:
        sick = made.fleet.hosts[0]
        sick.fail("health")
        sick.stage_update()
        made.fires("LocksmithGroupHalted", group="fleet", severity="critical")
        made.fires("LocksmithNodeFailed", group="fleet")
        made.fleet.ctl("resume", "--failed", "--reason", "known")
        made.ends("LocksmithGroupHalted")
        assert "LocksmithNodeFailed" in made.prometheus.firing()
        sick.mend("health")
        made.ends("LocksmithNodeFailed")


def test_a_node_that_does_not_go_down(file: Raw) -> None:
    with rig(file) as made:
        stuck = made.fleet.hosts[0]
        stuck.reboot_mode("noop")
        stuck.stage_update()
        made.fires("LocksmithNodeStuck", node=stuck.name, group="fleet")


def test_a_node_that_does_not_come_back(file: Raw) -> None:
    with rig(file, hardware=Hardware(auto=False)) as made:
        dead = made.fleet.hosts[0]
        dead.stage_update()
        made.fleet.wait(lambda: dead.began("reboot") > 0, "it goes down")
        dead.power_off()
        made.fires("LocksmithHolderOverdue", group="fleet")
        made.fleet.boot(dead)
        made.ends("LocksmithHolderOverdue")


def test_what_is_missing(file: Raw) -> None:
    with rig(file) as made:
        gone = made.fleet.hosts[0]
        gone.kill()
        made.fires("LocksmithAgentNotScraped", job="locksmith-agents")
        made.fires("LocksmithAgentMissing", group="fleet")
        gone.start()
        made.ends("LocksmithAgentMissing")
        made.quiet()
        made.gateway.kill()
        made.fires("LocksmithExporterDown")
        made.gateway.start()
        made.quiet()


def test_the_store_is_down() -> None:
    with contextlib.ExitStack() as stack:
        with skipping():
            cluster = EtcdCluster("3.4")
        stack.enter_context(cluster)
        made = stack.enter_context(rig(EtcdRaw(cluster)))
        cluster.members[0].kill()
        made.fires("LocksmithStoreDown", job="locksmith-gateway", severity="critical")
        assert read(f"{made.gateway_url}/healthz").startswith("ok, but the fleet cannot be read: ")
        # What was known of the groups is told for two more minutes.
        assert made.prometheus.query("locksmith_group_slots") != []
        cluster.members[0].restart()
        made.quiet()


def test_two_machines_with_one_identity(file: Raw) -> None:
    with rig(file, 2, clone=True) as made:
        first, clone = made.fleet.hosts
        first.reboot_mode("noop")
        first.stage_update()
        made.fleet.wait(lambda: first.began("reboot") > 0, "the first one has the slot")
        clone.start()
        made.fires("LocksmithIdentityClash", kind="identity", node=first.name, severity="critical")


def test_acts_that_should_not_be(file: Raw) -> None:
    with rig(file) as made:
        first, second = made.fleet.hosts
        good = second.config.read_text()
        second.config.write_text(good + "[nonsense]\n")
        second.process._signal(signal.SIGHUP)
        made.fires("LocksmithConfigRefused")
        second.config.write_text(good)
        second.process._signal(signal.SIGHUP)
        made.ends("LocksmithConfigRefused")

        made.fleet.ctl("pause", "--reason", "INC-1")
        made.fires("LocksmithPauseForgotten", group="fleet")
        made.fleet.ctl("resume")
        made.ends("LocksmithPauseForgotten")

        first.hold(f"pre-reboot.{HOOK}")
        first.stage_update()
        made.fleet.wait(lambda: first.began(f"pre-reboot.{HOOK}") > 0, "it drains")
        made.fleet.boot(first)  # somebody else reboots it
        made.fires("LocksmithUnsanctionedReboot", node=first.name, group="fleet")
