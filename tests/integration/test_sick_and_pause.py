"""A node that comes back sick halts its group and keeps its slot; a pause takes everything back and costs nobody his place."""

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.fleet.fleet import Fleet, Hardware
from tests.integration.fleet.host import Host, Ways
from tests.integration.fleet.judges import History, judge_downs, judge_history, read_ledger
from tests.integration.fleet.stores import (
    ConsulRaw,
    EtcdRaw,
    Raw,
    counts,
    own,
    phases,
    sqlite_file,
    three_etcds,
    tickets,
)

LIMIT = "group/fleet"
HOOKS = ("10-drain",)
PRE, UNDO, POST = (f"{stage}.{HOOKS[0]}" for stage in ("pre-reboot", "undo", "post-reboot"))

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture(
    params=["sqlite", *(pytest.param(kind, marks=pytest.mark.servers) for kind in ("etcd", "consul"))],
)
def raw(request: pytest.FixtureRequest) -> Iterator[Raw]:
    match request.param:
        case "sqlite":
            with sqlite_file() as found:
                yield found
        case "etcd":
            yield EtcdRaw(request.getfixturevalue("etcd34"), request.getfixturevalue("key_prefix"))
        case _:
            yield ConsulRaw(request.getfixturevalue("consul"), request.getfixturevalue("key_prefix"))


def documents(fleet: Fleet, *words: str, code: int = 0) -> dict[str, Any]:
    """What `lockctl --json` says."""
    return dict(json.loads(fleet.ctl("--json", *words, code=code)))


def test_a_sick_node_halts_its_group_and_goes_on_by_itself_when_it_is_well(raw: Raw) -> None:
    ways = Ways(poll_interval="1s", dwell="500ms", deadline="2s", health=True)
    with Fleet(raw, 5, ways=ways, slots=1) as fleet:
        sick, *others = fleet.hosts
        sick.stage_update()
        sick.fail("health")
        sick.start()
        fleet.wait(lambda: sick.began("reboot") == 1, "the first host reboots", hosts=[sick])
        for host in others:  # they queue in this order while the first one is down or sick
            host.stage_update()
            host.start()
            fleet.wait(lambda host=host: host.name in tickets(raw.snapshot()), "it queues", hosts=[host])
        fleet.wait(lambda: phases(raw.snapshot()).get(sick.name) == "failed", "the first host has failed", hosts=[sick])
        names = [host.name for host in others]
        token = _token(raw, sick)
        queue = _queue(raw)

        status = documents(fleet, "status")
        assert status["halted"]["nodes"] == [sick.name]
        assert (status["slots"], status["held"], status["failed"], status["free"]) == (1, 1, 1, 0)
        assert [(holder["node"], holder["phase"]) for holder in status["holders"]] == [(sick.name, "failed")]
        assert [waiter["node"] for waiter in status["queue"]] == names
        refused = documents(fleet, "lock", "other", "--reason", "disks", code=3)
        assert refused["error"]["kind"] == "halted"
        for waiter in others:  # also the first, which watches its guard and looks at the brake at its next poll only
            fleet.wait(lambda waiter=waiter: bool(_halt(fleet, waiter)), "the waiter is registered", hosts=[waiter])
            assert _halt(fleet, waiter) == [f"group fleet halted: {socket.gethostname()} failed app"]
        # More slots do not help: a halt is about the failure, not about the number.
        fleet.ctl("set-max", "2")
        assert documents(fleet, "lock", "other", "--reason", "disks", code=3)["error"]["kind"] == "halted"
        fleet.ctl("set-max", "1")
        assert (_queue(raw), _token(raw, sick), phases(raw.snapshot())) == (queue, token, {sick.name: "failed"})
        assert [host.began("reboot") for host in others] == [0] * 4

        sick.mend("health")
        fleet.wait_all(fleet.rebooted_and_steady, "the sick host released, the others followed", 180)
        assert sick.status()["reboots"] == {"failed": 1, "recovered": 1}
        assert [host.status()["reboots"] for host in others] == [{"healthy": 1}] * 4
        downs = judge_downs(read_ledger(fleet.ledger))
        assert (downs.most, downs.problems) == (1, [])
        assert list(downs.pairs) == [sick.name, *names]  # in the order in which they had waited
        snapshot = raw.snapshot()
        assert (phases(snapshot), tickets(snapshot), counts(snapshot)) == ({}, [], {LIMIT: 0})
        assert documents(fleet, "status")["halted"] is None
        fleet.ctl("fsck")


def _halt(fleet: Fleet, waiter: Host) -> list[str]:
    """Why it is halted: hosts go by the name of their machine, which is one for the whole fleet of a test."""
    return [step["reason"] for step in documents(fleet, "why", waiter.name)["steps"] if step["kind"] == "halted"]


def _token(raw: Raw, host: Host) -> int:
    entry = own(raw.snapshot(), host.name)
    assert entry is not None
    return entry.created


def _queue(raw: Raw) -> list[tuple[str, int, int]]:
    """The tickets as they stand: who, and since which revision; one that was put anew would show."""
    waiting = [(e.created, e.modified, key) for key, e in raw.snapshot().items() if key.startswith("q/")]
    return [(key.rsplit("/", 1)[1], created, modified) for created, modified, key in sorted(waiting)]


@pytest.mark.servers
def test_a_pause_of_the_fleet_arms_nobody_and_keeps_the_line() -> None:
    ways = Ways(poll_interval="5s", dwell="300ms", pre=HOOKS, undo=HOOKS, post=HOOKS)
    with three_etcds() as raw, Fleet(raw, 30, ways=ways, slots=3, hardware=Hardware(boot_seconds=1)) as fleet:
        for host in fleet.hosts:
            host.stage_update()
            host.hold(PRE)
        draining, waiting = fleet.hosts[:3], fleet.hosts[3:]
        fleet.start(draining)
        fleet.wait(lambda: all(host.began(PRE) for host in draining), "three drain", hosts=draining)
        fleet.start(waiting, gap=0.1)
        fleet.wait(lambda: len(tickets(raw.snapshot())) == 27, "the others wait", 120)
        assert phases(raw.snapshot()) == {host.name: "draining" for host in draining}
        queue = _queue(raw)

        fleet.ctl("pause", "--fleet", "--reason", "INC-1")
        fleet.wait(
            lambda: all(host.status().get("kind") == "cooldown" for host in draining),
            "all three are back",
            120,
            draining,
        )
        assert phases(raw.snapshot()) == {}
        assert counts(raw.snapshot()) == {LIMIT: 0}
        assert [host.status()["called_off"] for host in draining] == [{"paused": 1}] * 3
        assert [_hooks(host) for host in draining] == [[(PRE, "begin"), (UNDO, "begin"), (UNDO, "end")]] * 3
        in_front = [fleet.host(name) for name, _, _ in queue[:8]]  # those behind watch the ticket in front of theirs
        fleet.wait(lambda: all(host.status().get("kind") == "paused" for host in in_front), "the pause is seen")
        assert _queue(raw) == queue
        assert (read_ledger(fleet.ledger), [host.began("reboot") for host in fleet.hosts]) == ([], [0] * 30)

        for host in fleet.hosts:
            host.let_go(PRE)
        fleet.ctl("resume", "--fleet")
        fleet.wait_all(fleet.rebooted_and_steady, "every host has rebooted", 300)
        downs = judge_downs(read_ledger(fleet.ledger))
        assert (downs.problems, downs.pairs) == ([], {host.name: 1 for host in fleet.hosts})
        assert downs.most <= 3
        history = judge_history(raw.cluster, {LIMIT: 3})
        assert (history.problems, history.most) == ([], {LIMIT: 3})
        _served_in_line(history, [name for name, _, _ in queue], [host.name for host in draining])
        fleet.ctl("fsck")


def _hooks(host: Host) -> list[tuple[str, str]]:
    return [(line["name"], line["event"]) for line in host.actions()]


def _served_in_line(history: History, queue: list[str], first: list[str]) -> None:
    """The line after the resume is the line before the pause; where several slots are free at once, those in front race."""
    granted = history.granted[3:]
    assert sorted(history.granted[:3]) == first
    served = [name for name in granted if name in queue]
    assert sorted(served) == sorted(queue)
    for place, name in enumerate(served):
        assert abs(queue.index(name) - place) <= 2, f"{name} was number {queue.index(name)} and came as number {place}"
    assert sorted(set(granted) - set(queue)) == first
