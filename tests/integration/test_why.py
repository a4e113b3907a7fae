"""Thirty agents, each kept from rebooting by something else: `lockctl why` names the true reason, from wherever it is asked."""

import json
import urllib.request
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.integration.fleet.fleet import Fleet
from tests.integration.fleet.host import Host, Ways, lockctl
from tests.integration.fleet.outage import Roads
from tests.integration.fleet.stores import EtcdRaw, phases, tickets
from tests.servers.process import free_port

HOSTS = 30
WAITERS = 8
HOOK = "10-drain"
PRE = f"pre-reboot.{HOOK}"
BERLIN = ZoneInfo("Europe/Berlin")
WAYS = Ways(heartbeat="10s", store_timeout="2s", dwell="300ms", deadline="2s", pre=(HOOK,), gate=True, health=True)
"""Who is not heard of for two heartbeats is silent; a record is written every 10 s at most."""

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.timeout(300)]

Answer = tuple[str, str | None, str]
"""The first step that is not passed, its kind, and the verdict."""


class Site:
    """A fleet in which everything goes wrong at once, and questions about it."""

    def __init__(self, fleet: Fleet, raw: EtcdRaw, roads: Roads) -> None:
        self.fleet, self.raw, self.roads = fleet, raw, roads
        self.cut, self.paused, self.sick, self.halted, self.shut, self.gated, self.drains, self.killed, *rest = (
            fleet.hosts
        )
        self.waiters, self.idle = rest[:WAITERS], rest[WAITERS:]
        self.ports = {host.name: free_port() for host in (self.paused, self.shut, self.gated)}
        opens = datetime.now(BERLIN) + timedelta(hours=12)
        window = f'[windows.night]\nstart = "{opens:%H:%M}"\nlength = "1h"\ntimezone = "Europe/Berlin"\n'
        for host, group, more in (
            (self.paused, "quiet", ""),
            (self.sick, "ill", ""),
            (self.halted, "ill", ""),
            (self.shut, "late", window),
            (self.gated, "closed", ""),
        ):
            text = host.config.read_text().replace('group = "fleet"', f'group = "{group}"')
            if port := self.ports.get(host.name):
                text = text.replace('metrics_listen = ""', f'metrics_listen = "127.0.0.1:{port}"')
            host.config.write_text(text + more)

    def ctl(self, *words: str) -> None:
        done = lockctl("--store", self.raw.url, *words)
        assert done.returncode == 0, done.stderr

    def set_up(self) -> None:
        """Start everybody, and let happen what shall keep them from rebooting."""
        fleet, everyone = self.fleet, [host for host in self.fleet.hosts if host not in self.idle]
        for host in everyone:
            host.stage_update()
        self.ctl("--group", "quiet", "set-max", "1")
        self.ctl("--group", "quiet", "pause", "--reason", "INC-7")
        self.sick.fail("health")
        self.gated.fail("gate")
        self.drains.hold(PRE)
        first = [self.sick, self.drains]
        fleet.start(first)
        fleet.wait(lambda: self.drains.began(PRE) == 1, "one drains", hosts=first)
        fleet.start([self.cut, self.killed, self.paused, self.shut, self.gated])
        fleet.wait(lambda: {self.cut.name, self.killed.name} <= set(tickets(self.raw.snapshot())), "two queue")
        self.cut_off()
        fleet.start([*self.waiters, *self.idle])
        fleet.wait(
            lambda: phases(self.raw.snapshot()).get(self.sick.name) == "failed", "one is sick", hosts=[self.sick]
        )
        fleet.start([self.halted])

    def cut_off(self) -> None:
        """One loses its way to the store, one its agent; both had told that they wait."""

        def told(host: Host) -> bool:
            return self.answer(host, self.drains)[0] in ("queue", "slot")

        self.fleet.wait(lambda: told(self.cut) and told(self.killed), "both have told", hosts=[self.cut, self.killed])
        self.killed.kill()
        self.roads.proxies[0].cut()

    def ask(self, host: Host, asker: Host | None = None) -> dict[str, Any]:
        """Ask about a host, on itself or on another one."""
        where = host if asker is None else asker
        name = () if asker is None else (host.name,)
        done = lockctl("--config", str(where.config), "--json", "why", *name)
        assert done.returncode == 0, done.stdout + done.stderr
        document: dict[str, Any] = json.loads(done.stdout)
        assert document["node"] == host.name
        return document

    def answer(self, host: Host, asker: Host | None = None) -> Answer:
        found = self.ask(host, asker)
        step, kind = first(found["steps"])
        return step, kind, found["verdict"]

    def blocked(self, host: Host) -> set[str]:
        """What the host's metrics say."""
        url = f"http://127.0.0.1:{self.ports[host.name]}/metrics"
        with urllib.request.urlopen(url, timeout=30) as page:
            lines = page.read().decode().splitlines()
        mark = 'locksmith_blocked{kind="'
        return {
            line.removeprefix(mark).split('"')[0] for line in lines if line.startswith(mark) and line.endswith(" 1.0")
        }


def first(steps: list[dict[str, Any]]) -> tuple[str, str | None]:
    """The answer among the steps."""
    step = next((step for step in steps if step["state"] != "passed"), {"step": "", "kind": None})
    return step["step"], step["kind"]


@pytest.fixture
def site(etcd34: Any, key_prefix: str) -> Iterator[Site]:
    raw = EtcdRaw(etcd34, key_prefix)
    with Roads(etcd34.members[0].endpoint, 1) as roads:
        urls = [f"etcd://{roads.endpoints[0]}/{key_prefix}", *[raw.url] * (HOSTS - 1)]
        with Fleet(raw, HOSTS, ways=WAYS, slots=1, urls=urls) as fleet:
            yield Site(fleet, raw, roads)


def test_every_node_is_explained_from_everywhere(site: Site) -> None:
    site.set_up()
    at_home: dict[Host, Answer] = {
        site.paused: ("pause", "paused", "waiting"),
        site.sick: ("health", "health", "failed"),
        site.halted: ("pause", "halted", "waiting"),
        site.shut: ("window", "window", "waiting"),
        site.gated: ("gate", "gate", "waiting"),
        site.drains: ("drain", None, "rebooting"),
        site.cut: ("queue", "store", "waiting"),
        site.idle[0]: ("update", None, "not_needed"),
    }
    abroad = {**at_home, site.cut: ("agent", "silent", "unknown"), site.killed: ("agent", "silent", "unknown")}
    for host, wanted in at_home.items():
        site.fleet.wait(lambda host=host, wanted=wanted: site.answer(host) == wanted, f"{wanted} at home", 90, [host])
    for host, wanted in abroad.items():
        said = f"{wanted} from another node"
        site.fleet.wait(lambda h=host, w=wanted: site.answer(h, site.idle[1]) == w, said, 90, [host])
    the_line(site)
    the_details(site)
    the_same_everywhere(site)


def the_line(site: Site) -> None:
    """Who waits is told his place, and the first of them what he waits for."""
    names = {host.name for host in site.waiters}

    def line() -> list[str]:
        return [name for name in tickets(site.raw.snapshot()) if name in names]

    site.fleet.wait(lambda: len(line()) == WAITERS, "all wait", hosts=site.waiters)
    queue = line()
    ahead, last = site.fleet.host(queue[0]), site.fleet.host(queue[-1])
    site.fleet.wait(lambda: site.answer(last, ahead) == ("queue", "queue", "waiting"), "the last waits", hosts=[last])
    place = site.ask(last, ahead)["queue"]
    assert place["position"] == len(place["ahead"]) + 1 >= WAITERS
    assert ahead.name in place["ahead"]
    # Nobody has rebooted in this group, so nothing was measured.
    assert (place["expected_wait_seconds"], place["measured_reboots"]) == (None, 0)


def the_details(site: Site) -> None:
    """Not only the kind: who, since when, until when, and what would open it."""
    steps = {
        host.name: site.ask(host, site.idle[2]) for host in (site.paused, site.shut, site.halted, site.cut, site.killed)
    }

    def step(host: Host) -> dict[str, Any]:
        return next(step for step in steps[host.name]["steps"] if step["state"] != "passed")

    assert "INC-7" in step(site.paused)["reason"]
    assert step(site.paused)["remedy"] == "lockctl resume --group quiet"
    opens = datetime.fromisoformat(step(site.shut)["until"])
    assert opens.astimezone(BERLIN).isoformat(timespec="seconds") in step(site.shut)["reason"]
    assert "failed app" in step(site.halted)["reason"]
    # Which hook runs, since when, and until when all of them must be done: told while it runs.
    drain = next(step for step in site.ask(site.drains, site.idle[2])["steps"] if step["step"] == "drain")
    assert (drain["name"], f"running hook {HOOK}" in drain["reason"]) == (HOOK, True)
    assert drain["since"] < drain["until"]
    for gone in (site.cut, site.killed):
        assert steps[gone.name]["silent"]
        assert f"last seen at {steps[gone.name]['seen'][:10]}" in steps[gone.name]["summary"]
        assert step(gone)["since"] == steps[gone.name]["seen"]
    here = site.ask(site.cut)
    assert (here["source"], here["silent"]) == ("agent", False)
    assert "the store is away" in here["summary"]


def the_same_everywhere(site: Site) -> None:
    """The status file and the metrics say what lockctl says."""
    for host in (site.paused, site.shut, site.gated):
        step, kind, _ = site.answer(host, site.idle[0])
        assert first(host.status()["steps"]) == (step, kind)
        assert kind in site.blocked(host)
    assert first(site.cut.status()["steps"]) == ("queue", "store")
    assert first(site.sick.status()["steps"]) == ("health", "health")
