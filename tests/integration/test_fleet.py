"""Fleet: thirty real agents, three slots, real stores; every host reboots exactly once and never four at a time.

Two judges decide, see tests.integration.fleet.judges; they are tested here too, on forged evidence and on an agent with a
planted fault.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.integration.fleet.fleet import Fleet, Hardware
from tests.integration.fleet.host import Ways
from tests.integration.fleet.judges import judge_downs, judge_history, read_ledger, replay
from tests.integration.fleet.planted import planted
from tests.integration.fleet.stores import Raw, counts, phases, three_consuls, three_etcds, tickets

HOSTS, SLOTS = 30, 3
LIMIT = "group/fleet"
WAYS = Ways(poll_interval="5s", dwell="300ms", pre=("10-drain",), undo=("10-drain",), post=("10-back",))

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def roll_out(fleet: Fleet, timeout: float = 400) -> None:
    """Stage an update everywhere, start every agent, and wait until all have rebooted."""
    for host in fleet.hosts:
        host.stage_update()
    fleet.start()
    fleet.wait_all(fleet.rebooted_and_steady, "every host rebooted, every agent steady", timeout)


def check_the_end(fleet: Fleet, raw: Raw) -> None:
    """Each host has rebooted once, by its own agent's will, and nothing is left in the store."""
    assert {host.name: host.boots for host in fleet.hosts} == {host.name: 1 for host in fleet.hosts}
    assert {host.name: host.began("reboot") for host in fleet.hosts} == {host.name: 1 for host in fleet.hosts}
    assert {host.name: host.status()["reboots"] for host in fleet.hosts} == {
        host.name: {"healthy": 1} for host in fleet.hosts
    }
    snapshot = raw.snapshot()
    assert phases(snapshot) == {}
    assert tickets(snapshot) == []
    assert counts(snapshot) == {LIMIT: 0}
    fleet.ctl("fsck")


@pytest.mark.parametrize("store", [three_etcds, three_consuls], ids=["etcd", "consul"])
def test_thirty_hosts_reboot_in_turn(stack: ExitStack, store) -> None:
    raw = stack.enter_context(store())
    fleet = stack.enter_context(Fleet(raw, HOSTS, ways=WAYS, slots=SLOTS, hardware=Hardware(boot_seconds=1.5)))
    roll_out(fleet)
    check_the_end(fleet, raw)
    downs = judge_downs(read_ledger(fleet.ledger))
    assert downs.problems == []
    assert downs.pairs == {host.name: 1 for host in fleet.hosts}
    assert 1 < downs.most <= SLOTS
    print(f"at most {downs.most} of {HOSTS} down at once, {sum(downs.pairs.values())} reboots")
    if store is three_etcds:
        history = judge_history(raw.cluster, {LIMIT: SLOTS})
        assert history.problems == []
        assert history.most == {LIMIT: SLOTS}
        assert sorted(history.granted) == [host.name for host in fleet.hosts]
        assert {name: len(attempts) for name, attempts in history.armed.items()} == {h.name: 1 for h in fleet.hosts}
        print(f"{history.revisions} revisions, at most {history.most} holders")


def test_both_judges_see_an_agent_that_takes_one_slot_too_many(stack: ExitStack, tmp_path: Path) -> None:
    """The same roll-out by agents whose guard shows one slot more than there is."""
    package = planted(
        tmp_path, "core/documents.py", "return self.effective - self.count", "return self.effective - self.count + 1"
    )
    raw = stack.enter_context(three_etcds())
    hardware = Hardware(boot_seconds=8)
    fleet = stack.enter_context(Fleet(raw, 8, ways=WAYS, slots=SLOTS, hardware=hardware, package=package))
    roll_out(fleet)
    downs, history = judge_downs(read_ledger(fleet.ledger)), judge_history(raw.cluster, {LIMIT: SLOTS})
    assert downs.problems == []
    assert downs.most == SLOTS + 1
    assert history.most == {LIMIT: SLOTS + 1}
    assert any(f"{SLOTS + 1} holders of {LIMIT}, which has {SLOTS} slots" in problem for problem in history.problems)


class TestTheJudges:
    def test_the_first_counts_who_was_down_at_once(self) -> None:
        downs = judge_downs(["a down 1", "b down 2", "a up 3", "c down 3", "b up 4", "c up 5"])
        assert (downs.most, downs.pairs, downs.problems) == (3, {"a": 1, "b": 1, "c": 1}, [])

    def test_the_first_sees_a_second_command_and_a_host_that_stays_away(self) -> None:
        downs = judge_downs(["a down 1", "a down 2", "b up 3", "a up 4", "c down 5"])
        assert len(downs.problems) == 3

    def test_the_second_sees_too_many_holders_and_a_wrong_count(self) -> None:
        def holder(phase: str = "acquired") -> bytes:
            return json.dumps({"limits": [LIMIT], "phase": phase, "group": "fleet", "attempt": "1"}).encode()

        def guard(count: int) -> bytes:
            return json.dumps({"count": count, "slots": 1}).encode()

        good = [
            (2, [("p/lim/group/fleet", guard(0))]),
            (3, [("p/lim/group/fleet", guard(1)), ("p/own/aa/n1", holder())]),
            (4, [("p/own/aa/n1", holder("armed"))]),
            (5, [("p/lim/group/fleet", guard(0)), ("p/own/aa/n1", None)]),
        ]
        seen = replay(good, {LIMIT: 1}, "p")
        assert (seen.problems, seen.most, seen.granted, seen.armed) == ([], {LIMIT: 1}, ["n1"], {"n1": {"1"}})
        too_many = [*good[:3], (5, [("p/lim/group/fleet", guard(2)), ("p/own/bb/n2", holder())])]
        assert replay(too_many, {LIMIT: 1}, "p").problems == ["revision 5: 2 holders of group/fleet, which has 1 slots"]
        miscounted = [*good[:3], (5, [("p/own/aa/n1", None)])]
        assert replay(miscounted, {LIMIT: 1}, "p").problems == [
            "revision 5: the guard of group/fleet counts 1, holders are 0"
        ]
        unlisted = [*good[:3], (5, [("p/own/aa/n1", holder("failed"))])]
        assert len(replay(unlisted, {LIMIT: 1}, "p").problems) == 1
