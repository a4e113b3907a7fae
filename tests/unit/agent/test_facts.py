"""From the semaphore's words to the machine's, and back."""

from dataclasses import replace
from datetime import timedelta

import pytest

from locksmith.agent.facts import attempt_of_owed, found_event, restored_holder, slot_fact, slot_of_owed
from locksmith.core.documents import Hold, Phase, Request, Unlocked
from locksmith.core.facts import HoldFact, RequestFact
from locksmith.core.ledger import Stage
from locksmith.semaphore.holding import Slot
from locksmith.semaphore.recovery import Clash, Found, NotSetUp
from tests.fakes.mind import LIMIT, NODE, NONCE, NOON, TOKEN, owed
from tests.fakes.world import World


@pytest.fixture
def world() -> World:
    return World()


def test_a_holder_is_reduced_to_what_the_machine_decides_by(world):
    slot = world.holding(world.actor("agent@n1"), "n1")
    current = world.held("n1")
    assert current is not None
    fact = slot_fact(current)
    assert (fact.token, fact.nonce, fact.group, fact.limits) == (slot.token, slot.nonce, "web", (LIMIT,))
    assert (fact.phase, fact.boot, fact.fingerprint, fact.host) == ("acquired", "boot-1", "board-n1", "host-n1")
    assert fact.mod == current.mod


@pytest.mark.parametrize("start", [True, False])
def test_what_start_saw(world, start):
    world.holding(world.actor("agent@n1"), "n1")
    current = world.held("n1")
    config = world.config()
    request = Request(gen="req-1", by="alice", reason="x", since=NOON, ignore=("gate",))
    unlocked = Unlocked(token="4", nonce="n", phase="armed", by="bob", reason="y", since=NOON)
    event = found_event(world.operator, Found(config, current, unlocked, None, request), start=start)
    assert event.known
    assert event.start is start
    assert (event.identity, event.epoch, event.unlocked) == (config.store, 1, ("4",))
    assert current is not None
    assert event.slot == slot_fact(current)
    assert event.request == RequestFact("req-1", "alice", "x", NOON, ("gate",))
    assert event.hold is None


@pytest.mark.parametrize(
    ("until", "trusted", "holds"),
    [(None, True, True), (60, True, True), (-60, True, False), (-60, False, True)],
)
def test_a_hold_is_judged_by_a_clock_that_is_trusted(world, until, trusted, holds):
    world.clock.trusted = trusted
    end = None if until is None else world.clock.wall() + timedelta(seconds=until)
    hold = Hold(by="bob", reason="fragile", since=NOON, until=end)
    event = found_event(world.operator, Found(world.config(), None, None, hold), start=True)
    assert event.hold == (HoldFact("held by bob: fragile", end) if holds else None)


def test_a_clash_and_an_empty_store(world):
    world.holding(world.actor("agent@n1"), "n1")
    current = world.held("n1")
    assert current is not None
    clash = found_event(world.operator, Clash(current), start=True)
    assert clash.clash == slot_fact(current)
    assert clash.slot is None
    assert not found_event(world.operator, NotSetUp(), start=True).known


def test_the_journal_names_the_holder_once_its_token_is_known():
    assert slot_of_owed(owed()) == Slot(NODE, TOKEN, NONCE, "web", (LIMIT,))
    assert slot_of_owed(owed(token=None)) is None


@pytest.mark.parametrize(("stage", "phase"), [(Stage.HELD, Phase.ACQUIRED), (Stage.ARMED, Phase.ARMED)])
def test_a_holder_for_a_restored_store(stage, phase):
    holder = restored_holder(owed(stage=stage, attempt="a-1", origin="v1", target="v2"), "host-n1", "hw")
    assert (holder.phase, holder.nonce, holder.attempt, holder.fingerprint) == (phase, NONCE, "a-1", "hw")
    assert (holder.limits, holder.need, holder.origin, holder.target) == ((LIMIT,), "fp-1", "v1", "v2")


def test_the_attempt_is_that_of_the_journal():
    attempt = attempt_of_owed(replace(owed(), boot="boot-9/0"), "host-n1", "hw")
    assert (attempt.node, attempt.nonce, attempt.group, attempt.limits) == (NODE, NONCE, "web", (LIMIT,))
    assert (attempt.boot, attempt.need, attempt.fingerprint, attempt.host) == ("boot-9/0", "fp-1", "hw", "host-n1")
