"""Kills: the roll-out of test_fleet.py under SIGKILLs of agents in every phase, and of the store's leader, twice.

LOCKSMITH_TEST_SEED replays the plan of a run: what is killed in which phase, in which order, and after how long it returns.
"""

import os
import random
import time
from contextlib import ExitStack

import pytest

from tests.integration.fleet.chaos import PHASES, Killer
from tests.integration.fleet.fleet import Fleet, Hardware
from tests.integration.fleet.host import Ways
from tests.integration.fleet.judges import judge_downs, judge_history, read_ledger
from tests.integration.fleet.stores import counts, phases, three_consuls, three_etcds, tickets

HOSTS, SLOTS, EACH = 30, 3, 12
LIMIT = "group/fleet"
HOOKS = ("10-drain",)
WAYS = Ways(poll_interval="3s", dwell="600ms", retries=3, pre=HOOKS, undo=HOOKS, post=HOOKS, gate=True)
LIMIT_SECONDS = 480

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.timeout(700)]


@pytest.mark.parametrize("store", [three_etcds, three_consuls], ids=["etcd", "consul"])
def test_nothing_is_lost_or_doubled(store) -> None:
    seed = int(os.environ.get("LOCKSMITH_TEST_SEED") or random.SystemRandom().randrange(2**32))
    print(f"replay with LOCKSMITH_TEST_SEED={seed}")
    with ExitStack() as stack:
        raw = stack.enter_context(store())
        hardware = Hardware(boot_seconds=1.0, halt_seconds=1.0)
        fleet = stack.enter_context(Fleet(raw, HOSTS, ways=WAYS, slots=SLOTS, hardware=hardware))
        for host in fleet.hosts:
            host.stage_update()
            host.sleep("gate@slot", 0.3)
            host.sleep("pre-reboot.10-drain", 0.3)
        fleet.start()
        killer = Killer(fleet, raw.cluster, seed, each=EACH)
        end = time.monotonic() + LIMIT_SECONDS
        while not killer.over:
            assert not fleet.crashes, "\n".join(fleet.crashes)
            assert not all(map(fleet.rebooted_and_steady, fleet.hosts)), f"too fast: only {killer.done}"
            assert time.monotonic() < end, f"too slow: {killer.done}; {fleet.summary()}"
            killer.turn()
        print(f"{killer.done}; {fleet.summary()}")
        fleet.wait_all(fleet.rebooted_and_steady, "every host rebooted, every agent steady", LIMIT_SECONDS)

        assert all(killer.done.by_phase[phase] >= EACH for phase in PHASES)
        assert killer.done.by_phase.total() >= len(PHASES) * EACH == 60
        assert (killer.done.leaders, bool(killer.done.armed_leader)) == (2, True)
        names = [host.name for host in fleet.hosts]
        assert {host.name: host.boots for host in fleet.hosts} == dict.fromkeys(names, 1)
        assert {host.name: host.began("reboot") for host in fleet.hosts} == dict.fromkeys(names, 1)
        snapshot = raw.snapshot()
        assert (phases(snapshot), tickets(snapshot), counts(snapshot)) == ({}, [], {LIMIT: 0})
        fleet.ctl("fsck")
        fleet.ctl("audit")
        downs = judge_downs(read_ledger(fleet.ledger))
        assert (downs.problems, downs.pairs) == ([], dict.fromkeys(names, 1))
        assert 1 < downs.most <= SLOTS
        if store is three_etcds:
            history = judge_history(raw.cluster, {LIMIT: SLOTS})
            assert history.problems == []
            assert history.most == {LIMIT: SLOTS}
            assert set(history.granted) == set(names)
        # a store without a leader may call a drain off; nothing else may
        assert {kind for host in fleet.hosts for kind in host.status()["called_off"]} <= {"store"}
        reboots = {host.name: host.status()["reboots"] for host in fleet.hosts}
        assert reboots == {name: {"healthy": 1} for name in names}
