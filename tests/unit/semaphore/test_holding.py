"""Drain, arm, verify, fail, release: never a reboot without a slot just confirmed, never a slot lost or leaked."""

from dataclasses import replace
from datetime import timedelta

import pytest

from locksmith.core import keys
from locksmith.core.documents import Failure, Holder, Phase, Revoke, Then
from locksmith.errors import Unavailable, Unknown
from locksmith.semaphore.actor import Actor
from locksmith.semaphore.claiming import Barred
from locksmith.semaphore.holding import (
    Armed,
    CalledOff,
    Gone,
    Kept,
    Released,
    Slot,
    Unsettled,
    arm,
    fail,
    mark,
    put_back,
    release,
    slot_of,
    to_phase,
    verify,
    watch_over,
)
from locksmith.semaphore.operating import acknowledge, pause_fleet, pause_group, pause_node, request_reboot, set_max
from locksmith.semaphore.taking import force_unlock
from locksmith.stores import Put
from tests.fakes.faulty import Fault, First, Raise
from tests.fakes.world import World

UNCLEAR = [Fault.DROP, Fault.LOSE, Fault.DELAY, Fault.CONFLICT]
TEN = timedelta(minutes=10)


@pytest.fixture
def n1(world: World) -> Actor:
    return world.actor("agent@n1")


@pytest.fixture
def slot(world: World, n1: Actor) -> Slot:
    return world.holding(n1, "n1")


def armed(actor: Actor, slot: Slot, attempt: str = "a1", request: str | None = None) -> object:
    return arm(actor, slot, epoch=1, attempt=attempt, request=request, expected=TEN)


def operator_mark(world: World, slot: Slot, **changes: Revoke | Then) -> None:
    mark(world.operator, slot, lambda holder: replace(holder, **changes))


class TestArm:
    def test_writes_the_attempt(self, world: World, n1: Actor, slot: Slot) -> None:
        answer = armed(n1, slot)
        assert isinstance(answer, Armed)
        assert world.held("n1") == answer.held
        assert (answer.held.holder.phase, answer.held.holder.attempt) == (Phase.ARMED, "a1")
        assert answer.held.holder.expected_by == world.clock.wall() + TEN

    def test_is_sent_once(self, world: World, n1: Actor, slot: Slot) -> None:
        sent = len(world.faults(n1).commits)
        for fault in UNCLEAR:
            world.faults(n1).plan(fault)
            armed(n1, slot, str(fault))
        assert len(world.faults(n1).commits) - sent == len(UNCLEAR)

    def test_with_a_lost_answer_is_confirmed_by_its_attempt(self, world: World, n1: Actor, slot: Slot) -> None:
        world.faults(n1).plan(Fault.LOSE)
        answer = armed(n1, slot)
        assert isinstance(answer, Armed)
        assert world.held("n1") == answer.held

    @pytest.mark.parametrize("fault", [Fault.DROP, Fault.DELAY, Fault.CONFLICT])
    def test_that_is_not_confirmed_is_no_licence(self, world: World, n1: Actor, slot: Slot, fault: Fault) -> None:
        world.faults(n1).plan(fault)
        assert isinstance(armed(n1, slot), Unsettled)

    def test_an_earlier_attempt_that_arrives_late_is_not_this_one(self, world: World, n1: Actor, slot: Slot) -> None:
        """Phase armed is the wanted state; only the own attempt is proof."""
        store = world.faults(n1)
        store.plan(Fault.DELAY)
        assert isinstance(armed(n1, slot, "a1"), Unsettled)
        store.plan(Fault.DROP)
        store.plan_reads(None, First(store.deliver))
        assert isinstance(armed(n1, slot, "a2"), Unsettled)
        assert world.holder("n1").attempt == "a1"

    def test_a_later_attempt_makes_an_earlier_one_impossible(self, world: World, n1: Actor, slot: Slot) -> None:
        store = world.faults(n1)
        store.plan(Fault.DELAY)
        armed(n1, slot, "a1")
        assert isinstance(armed(n1, slot, "a2"), Armed)
        assert not store.deliver()

    def test_a_late_one_cannot_apply_after_the_release(self, world: World, n1: Actor, slot: Slot) -> None:
        store = world.faults(n1)
        store.plan(Fault.DELAY)
        armed(n1, slot)
        assert release(n1, slot) == Released()
        assert not store.deliver()
        assert world.held("n1") is None

    def test_whose_fate_cannot_be_read_is_unknown(self, world: World, n1: Actor, slot: Slot) -> None:
        world.faults(n1).plan(Fault.LOSE)
        world.faults(n1).plan_reads(None, Raise(Unavailable("away")))
        with pytest.raises(Unknown):
            armed(n1, slot)

    def test_against_force_unlock_exactly_one_wins(self, world: World, n1: Actor, slot: Slot) -> None:
        world.faults(n1).plan(First(lambda: force_unlock(world.operator, "n1", "stuck", armed_too=False)))
        assert isinstance(armed(n1, slot), Unsettled)
        assert armed(n1, slot) == Gone()

    @pytest.mark.parametrize(
        ("stop", "kind"),
        [
            (lambda world: pause_fleet(world.operator, "r", None), "paused"),
            (lambda world: pause_group(world.operator, "web", "r", None), "paused"),
            (lambda world: pause_node(world.operator, "n1", "r", None), "hold"),
        ],
    )
    def test_nothing_arms_past_a_stop(self, world: World, n1: Actor, slot: Slot, stop: object, kind: str) -> None:
        assert callable(stop)
        world.faults(n1).plan(First(lambda: stop(world)))
        assert isinstance(armed(n1, slot), Unsettled), "the commit checked what the stop changed"
        answer = armed(n1, slot)
        assert isinstance(answer, CalledOff)
        assert answer.kind == kind
        assert world.holder("n1").phase == Phase.ACQUIRED

    def test_a_failure_elsewhere_stops_it(self, world: World, n1: Actor, slot: Slot) -> None:
        set_max(world.operator, "web", 2)
        sick = world.holding(n1, "n2")
        world.faults(n1).plan(First(lambda: fail(world.operator, sick, "app")))
        assert isinstance(armed(n1, slot), Unsettled)
        answer = armed(n1, slot)
        assert isinstance(answer, CalledOff)
        assert (answer.kind, "failed app" in answer.reason) == ("halted", True)

    def test_marks_of_operators_stop_it(self, world: World, n1: Actor, slot: Slot) -> None:
        revoke = Revoke(by="alice", reason="now", since=world.clock.wall())
        world.faults(n1).plan(First(lambda: operator_mark(world, slot, revoke=revoke)))
        assert isinstance(armed(n1, slot), Unsettled)
        answer = armed(n1, slot)
        assert isinstance(answer, CalledOff)
        assert answer.kind == "revoked"

    def test_another_epoch_stops_it(self, world: World, n1: Actor, slot: Slot) -> None:
        world.memory.commit((), [Put(keys.CFG, replace(world.config(), epoch=2).encode())])
        answer = armed(n1, slot)
        assert isinstance(answer, CalledOff)
        assert answer.kind == "identity"

    def test_a_newer_fleet_bars_it(self, world: World, n1: Actor, slot: Slot) -> None:
        world.memory.commit((), [Put(keys.CFG, replace(world.config(), min_claim=2).encode())])
        assert isinstance(armed(n1, slot), Barred)
        assert isinstance(verify(n1, slot, "boot-2", TEN), Kept), "verify and release are never barred"
        assert release(n1, slot) == Released()

    def test_of_a_holder_that_is_gone_is_fenced(self, world: World, n1: Actor, slot: Slot) -> None:
        release(world.operator, slot)
        again = world.holding(n1, "n1")
        answer = armed(n1, slot)
        assert isinstance(answer, Gone)
        assert answer.by is not None
        assert answer.by.token == again.token

    @pytest.mark.parametrize("phase", [Phase.VERIFYING, Phase.FAILED])
    def test_is_not_for_a_holder_that_has_booted(self, world: World, n1: Actor, slot: Slot, phase: Phase) -> None:
        """An acknowledged failure does not halt, but out of failed there is only the release."""
        if phase == Phase.FAILED:
            fail(n1, slot, "app")
            acknowledge(world.operator, "web", "known")
        else:
            verify(n1, slot, "boot-2", None)
        assert isinstance(armed(n1, slot), Unsettled)
        to_phase(n1, slot, Phase.DRAINING, None)
        assert world.holder("n1").phase == (Phase.FAILED if phase == Phase.FAILED else Phase.DRAINING)

    def test_deletes_the_request_that_it_serves(self, world: World, n1: Actor, slot: Slot) -> None:
        request = request_reboot(world.operator, "n1", "please", ())
        assert isinstance(armed(n1, slot, request=request.gen), Armed)
        assert not world.memory.read([keys.request("n1")])[keys.request("n1")]

    def test_leaves_a_request_that_came_later(self, world: World, n1: Actor, slot: Slot) -> None:
        first = request_reboot(world.operator, "n1", "please", ())
        request_reboot(world.operator, "n1", "once more", ())
        armed(n1, slot, request=first.gen)
        assert world.memory.read([keys.request("n1")])[keys.request("n1")]


class TestWatch:
    def test_a_quiet_slot_is_kept(self, n1: Actor, slot: Slot) -> None:
        assert isinstance(watch_over(n1, slot), Kept)

    def test_a_mark_calls_it_off(self, world: World, n1: Actor, slot: Slot) -> None:
        operator_mark(world, slot, then=Then(by="alice", host="h", reason="disk", nonce="n"))
        answer = watch_over(n1, slot)
        assert isinstance(answer, CalledOff)
        assert (answer.kind, "disk" in answer.reason) == ("maintenance", True)

    def test_a_slot_that_was_taken_is_gone(self, world: World, n1: Actor, slot: Slot) -> None:
        force_unlock(world.operator, "n1", "r", armed_too=False)
        assert watch_over(n1, slot) == Gone()


class TestMark:
    @pytest.mark.parametrize("faults", [[a, b] for a in UNCLEAR for b in UNCLEAR])
    def test_is_written_whatever_happens(self, world: World, n1: Actor, slot: Slot, faults: list[Fault]) -> None:
        store = world.faults(n1)
        store.plan(*faults)
        answer = to_phase(n1, slot, Phase.DRAINING, TEN)
        while store.delayed:
            store.deliver()
        assert isinstance(answer, Kept)
        assert world.held("n1") == answer.held
        assert world.holder("n1").phase == Phase.DRAINING

    def test_keeps_what_an_operator_marked_meanwhile(self, world: World, n1: Actor, slot: Slot) -> None:
        revoke = Revoke(by="alice", reason="now", since=world.clock.wall())
        world.faults(n1).plan(First(lambda: operator_mark(world, slot, revoke=revoke)))
        to_phase(n1, slot, Phase.DRAINING, TEN)
        assert (world.holder("n1").phase, world.holder("n1").revoke) == (Phase.DRAINING, revoke)

    def test_keeps_what_a_newer_locksmith_wrote(self, world: World, n1: Actor, slot: Slot) -> None:
        newer = replace(world.holder("n1"), extra={"vip": True})
        world.memory.commit((), [Put(slot.key, newer.encode())])
        to_phase(n1, slot, Phase.DRAINING, TEN)
        assert world.holder("n1").extra == {"vip": True}


class TestVerify:
    def test_counts_boots_and_not_calls(self, world: World, n1: Actor, slot: Slot) -> None:
        for boot, boots in (("boot-2", 1), ("boot-2", 1), ("boot-3", 2)):
            verify(n1, slot, boot, TEN)
            assert (world.holder("n1").boots, world.holder("n1").boot) == (boots, boot)
            assert world.holder("n1").phase == Phase.VERIFYING

    def test_does_not_extend_its_deadline_by_being_called_again(self, world: World, n1: Actor, slot: Slot) -> None:
        verify(n1, slot, "boot-2", TEN)
        before = world.holder("n1").expected_by
        world.clock.advance(60)
        verify(n1, slot, "boot-2", TEN)
        assert world.holder("n1").expected_by == before

    def test_a_failed_one_stays_failed_over_a_boot(self, world: World, n1: Actor, slot: Slot) -> None:
        fail(n1, slot, "app")
        verify(n1, slot, "boot-3", TEN)
        assert (world.holder("n1").phase, world.holder("n1").boot) == (Phase.FAILED, "boot-3")
        assert set(world.brake().failed) == {"n1"}

    @pytest.mark.parametrize("fault", UNCLEAR)
    def test_a_boot_is_counted_once(self, world: World, n1: Actor, slot: Slot, fault: Fault) -> None:
        world.faults(n1).plan(fault)
        verify(n1, slot, "boot-2", TEN)
        assert world.holder("n1").boots == 1


class TestFail:
    @pytest.mark.parametrize("fault", [Fault.NONE, *UNCLEAR])
    def test_keeps_the_slot_and_tells_the_group(self, world: World, n1: Actor, slot: Slot, fault: Fault) -> None:
        world.faults(n1).plan(fault)
        assert isinstance(fail(n1, slot, "app"), Kept)
        assert world.guard().count == 1
        entry = world.brake().failed["n1"]
        assert entry == Failure(token=str(slot.token), check="app", since=entry.since, host="host-n1")
        assert world.brake().halted

    def test_of_a_slot_that_was_taken_marks_nobody(self, world: World, n1: Actor, slot: Slot) -> None:
        world.faults(n1).plan(First(lambda: force_unlock(world.operator, "n1", "r", armed_too=True)))
        assert fail(n1, slot, "app") == Gone()
        assert not world.brake().failed


class TestRelease:
    @pytest.mark.parametrize("faults", [[Fault.NONE], *([a, b] for a in UNCLEAR for b in UNCLEAR)])
    @pytest.mark.parametrize("failed", [False, True])
    def test_gives_back_once(self, world: World, n1: Actor, slot: Slot, faults: list[Fault], *, failed: bool) -> None:
        set_max(world.operator, "web", 2)
        world.holding(n1, "other")
        if failed:
            fail(n1, slot, "app")
        store = world.faults(n1)
        store.plan(*faults)
        assert release(n1, slot) == Released()
        while store.delayed:
            store.deliver()
        assert world.held("n1") is None
        assert world.guard().count == 1
        assert not world.brake().failed

    def test_again_is_harmless_even_when_the_node_holds_anew(self, world: World, n1: Actor, slot: Slot) -> None:
        release(n1, slot)
        again = world.holding(n1, "n1")
        assert release(n1, slot) == Released()
        assert world.held("n1") is not None
        assert release(n1, again) == Released()
        assert world.guard().count == 0

    def test_a_late_one_does_not_take_the_next_slot(self, world: World, n1: Actor, slot: Slot) -> None:
        store = world.faults(n1)
        store.plan(Fault.DELAY)
        store.plan_reads(None, *[Raise(Unavailable("away"))] * 1000)
        with pytest.raises(Unknown):
            release(n1, slot, timedelta(seconds=1))
        store.clear()
        release(n1, slot)
        world.holding(n1, "n1")
        assert not store.deliver()
        assert world.guard().count == 1

    def test_takes_off_the_brake_what_the_snapshot_shows_and_not_what_is_remembered(
        self, world: World, n1: Actor, slot: Slot
    ) -> None:
        """Another process of this agent wrote failed; this one believes that it verifies."""
        verify(n1, slot, "boot-2", TEN)
        world.faults(n1).plan(First(lambda: fail(world.operator, slot, "app")))
        assert release(n1, slot) == Released()
        assert not world.brake().failed

    def test_counts_down_the_limits_that_are_stored(self, world: World, n1: Actor, slot: Slot) -> None:
        wrong = replace(slot, limits=("group/other",), group="other")
        release(n1, slot)
        assert world.guard().count == 0
        assert release(n1, wrong) == Released()

    def test_leaves_the_slot_to_the_operator_who_wants_it(self, world: World, n1: Actor, slot: Slot) -> None:
        operator_mark(world, slot, then=Then(by="alice@b", host="host-n1", reason="disk", nonce="hers"))
        assert release(n1, slot) == Released(by_hand=True)
        left = world.holder("n1")
        assert (left.phase, left.by, left.reason, left.nonce) == (Phase.MAINTENANCE, "alice@b", "disk", "hers")
        assert (left.fingerprint, left.then, left.revoke) == ("", None, None)
        assert world.guard().count == 1
        assert release(n1, slot) == Released(by_hand=True), "again: it is not ours any more"
        assert world.holder("n1").phase == Phase.MAINTENANCE

    @pytest.mark.parametrize("fault", UNCLEAR)
    def test_leaves_it_once(self, world: World, n1: Actor, slot: Slot, fault: Fault) -> None:
        operator_mark(world, slot, then=Then(by="alice@b", host="host-n1", reason="disk", nonce="hers"))
        world.faults(n1).plan(fault)
        assert release(n1, slot) == Released(by_hand=True)
        assert world.holder("n1").nonce == "hers"

    def test_a_failed_one_is_given_back_whatever_the_mark_says(self, world: World, n1: Actor, slot: Slot) -> None:
        operator_mark(world, slot, then=Then(by="alice@b", host="host-n1", reason="disk", nonce="hers"))
        fail(n1, slot, "app")
        assert release(n1, slot) == Released()
        assert world.held("n1") is None


class TestPutBack:
    def test_after_a_restore_counts_even_above_the_slots(self, world: World, n1: Actor, slot: Slot) -> None:
        mine = world.holder("n1")
        release(world.operator, slot)
        world.holding(n1, "other")
        world.judge.off = True  # above the limit, on purpose
        back = put_back(n1, "n1", replace(mine, phase=Phase.ARMED))
        assert world.held("n1") == back
        assert (world.guard().count, world.guard().effective) == (2, 1)
        assert put_back(n1, "n1", mine) == back, "again is harmless"
        assert release(n1, slot_of(back)) == Released()
        assert world.guard().count == 1

    @pytest.mark.parametrize("fault", UNCLEAR)
    def test_neither_lost_nor_doubled(self, world: World, n1: Actor, slot: Slot, fault: Fault) -> None:
        mine: Holder = world.holder("n1")
        release(world.operator, slot)
        store = world.faults(n1)
        store.plan(fault)
        back = put_back(n1, "n1", mine)
        while store.delayed:
            store.deliver()
        assert world.held("n1") == back
        assert world.guard().count == 1
