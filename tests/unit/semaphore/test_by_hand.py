"""`lock`: a slot held by a person; whatever way it ends, no ticket and no mark of it stays behind."""

import threading
from dataclasses import replace
from datetime import timedelta

import pytest

from locksmith.core import keys
from locksmith.core.admission import MAX_TICKETS, Patience
from locksmith.core.documents import Phase
from locksmith.errors import (
    Full,
    Halted,
    HeldByAgent,
    HeldElsewhere,
    Interrupted,
    LocksmithError,
    NewerFormat,
    NoSuchGroup,
    Paused,
    TimedOut,
    Unavailable,
    Unknown,
)
from locksmith.errors import Held as NodeHeld
from locksmith.semaphore.actor import Actor
from locksmith.semaphore.by_hand import Locked, Progress, lock
from locksmith.semaphore.claiming import Attempt, Claimed, claim
from locksmith.semaphore.holding import Slot, arm, fail, release, slot_of, to_phase, verify
from locksmith.semaphore.operating import pause_fleet, pause_node, resume_fleet, resume_node, set_max
from locksmith.semaphore.taking import force_unlock, unlock
from locksmith.semaphore.vigil import OUTAGE, SESSION_TTL
from locksmith.stores import Check, Put
from tests.fakes.faulty import Fault, First, Then
from tests.fakes.world import World

UNCLEAR = [Fault.DROP, Fault.LOSE, Fault.DELAY, Fault.CONFLICT]
MINUTE = timedelta(minutes=1)


class Hand:
    """An operator at a terminal."""

    def __init__(self, world: World, by: str = "bob@bastion2") -> None:
        self.world = world
        self.actor = world.actor(by)
        self.store = world.faults(self.actor)
        self.told: list[Progress] = []
        self.stop = threading.Event()

    def lock(
        self, node: str = "n1", group: str = "web", *, wait: bool = False, patience: timedelta | None = None
    ) -> Locked:
        return lock(
            self.actor,
            node,
            f"host-{node}",
            group,
            "disk",
            wait=wait,
            patience=patience,
            progress=self.told.append,
            stop=self.stop,
        )


@pytest.fixture
def n1(world: World) -> Actor:
    return world.actor("agent@n1")


@pytest.fixture
def hand(world: World) -> Hand:
    set_max(world.operator, "web", 1)
    return Hand(world)


def go_away(hand: Hand, seconds: float | None = None) -> None:
    """The store does not answer this operator any more, for so long."""
    hand.store.away = True
    if seconds is not None:
        hand.world.clock.after(seconds, lambda: setattr(hand.store, "away", False))


def left_behind(world: World, group: str = "web") -> list[str]:
    """Tickets, and marks on holders."""
    marks = [
        key
        for key, value in world.rows().items()
        if key.startswith("own/") and (b'"then":{' in value or b'"revoke":{' in value)
    ]
    return world.tickets(group) + marks


class TestAtOnce:
    def test_takes_a_slot_by_hand(self, world: World, hand: Hand) -> None:
        locked = hand.lock()
        assert locked == Locked(world.held("n1"), already=False)  # type: ignore[arg-type]
        holder = world.holder("n1")
        assert (holder.phase, holder.by, holder.host, holder.reason) == (
            Phase.MAINTENANCE,
            "bob@bastion2",
            "host-n1",
            "disk",
        )
        assert (holder.fingerprint, holder.boot) == ("", "")
        assert world.guard().count == 1
        assert not left_behind(world)

    def test_again_is_success(self, world: World, hand: Hand) -> None:
        first = hand.lock().held
        assert hand.lock() == Locked(first, already=True)
        assert Hand(world, "carol@c").lock() == Locked(first, already=True)
        assert world.guard().count == 1

    def test_full(self, world: World, hand: Hand) -> None:
        hand.lock("n2")
        before = world.rows()
        with pytest.raises(Full, match="no slot"):
            hand.lock()
        assert world.rows() == before
        assert hand.told == []

    def test_the_places_of_those_who_wait_are_kept(self, world: World, hand: Hand, n1: Actor) -> None:
        """A free slot that belongs to the first in the queue is not for `lock`."""
        attempt = world.attempt(n1, "n2")
        world.queued(n1, attempt)
        with pytest.raises(Full):
            hand.lock()
        assert isinstance(claim(n1, attempt, Patience()), Claimed)

    def test_a_full_queue(self, world: World, hand: Hand, n1: Actor) -> None:
        for number in range(MAX_TICKETS):
            world.queued(n1, world.attempt(n1, f"m{number}"))
        with pytest.raises(Full, match="queue"):
            hand.lock()

    def test_paused_halted_held(self, world: World, hand: Hand, n1: Actor) -> None:
        set_max(world.operator, "web", 3)
        pause_fleet(world.operator, "freeze", None)
        with pytest.raises(Paused, match="freeze"):
            hand.lock()
        resume_fleet(world.operator)
        pause_node(world.operator, "n1", "do not touch", None)
        with pytest.raises(NodeHeld, match="do not touch"):
            hand.lock()
        resume_node(world.operator, "n1")
        fail(n1, world.holding(n1, "n9"), "app")
        with pytest.raises(Halted, match="host-n9 failed app"):
            hand.lock()
        assert not left_behind(world)

    def test_by_the_agent_or_elsewhere(self, world: World, hand: Hand, n1: Actor) -> None:
        set_max(world.operator, "db", 1)
        world.holding(n1, "n1")
        with pytest.raises(HeldByAgent, match="--wait"):
            hand.lock()
        for wait in (False, True):
            with pytest.raises(HeldElsewhere, match="web"):
                hand.lock(group="db", wait=wait)
        hand.lock("n3", "db")
        with pytest.raises(HeldElsewhere, match="db"):
            hand.lock("n3", "web", wait=True)

    def test_an_unknown_group(self, world: World, hand: Hand) -> None:
        before = world.rows()
        with pytest.raises(NoSuchGroup, match="known: web"):
            hand.lock(group="wob")
        assert world.rows() == before

    def test_the_default_group_of_an_empty_store(self, world: World) -> None:
        world.memory.commit([Check("cfg", world.memory.read(["cfg"])["cfg"].mod)], deletes=["cfg"])
        assert Hand(world).lock(group="default").held.holder.group == "default"
        assert world.guard("default").slots == 1

    def test_a_newer_fleet(self, world: World, hand: Hand) -> None:
        world.memory.commit((), [Put(keys.CFG, replace(world.config(), min_claim=2).encode())])
        with pytest.raises(NewerFormat):
            hand.lock()

    @pytest.mark.parametrize("faults", [[a, b, c] for a in UNCLEAR for b in UNCLEAR for c in (Fault.NONE, *UNCLEAR)])
    def test_neither_lost_nor_doubled(self, world: World, hand: Hand, faults: list[Fault]) -> None:
        hand.store.plan(*faults)
        locked = hand.lock()
        while hand.store.delayed:
            hand.store.deliver()
        assert world.held("n1") == locked.held
        assert world.guard().count == 1
        assert not left_behind(world)

    def test_contention_is_no_refusal(self, world: World, hand: Hand) -> None:
        """On many slots everybody gets one, however often the guard changes in between."""
        set_max(world.operator, "web", 50)
        others = [Hand(world, f"o{number}@o") for number in range(20)]
        hand.store.plan(Fault.NONE, *[First(lambda o=o, n=n: o.lock(f"m{n}")) for n, o in enumerate(others)])
        assert hand.lock().already is False
        assert world.guard().count == 21

    @pytest.mark.parametrize("fault", [Fault.LOSE, Fault.DELAY])
    def test_a_store_that_goes_away_with_an_unclear_claim(self, world: World, hand: Hand, fault: Fault) -> None:
        hand.store.plan(Fault.NONE, Then(fault, lambda: go_away(hand)))
        with pytest.raises(Unknown):
            hand.lock()
        if fault == Fault.DELAY:
            world.clock.advance(SESSION_TTL.total_seconds() + 1)
            hand.store.away = False
            assert not hand.store.deliver(), "its session is over, and its ticket with it"
            assert world.held("n1") is None

    @pytest.mark.parametrize("fault", UNCLEAR)
    def test_a_store_that_comes_back_settles_an_unclear_claim(self, world: World, hand: Hand, fault: Fault) -> None:
        hand.store.plan(Fault.NONE, Then(fault, lambda: go_away(hand, 5)))
        locked = hand.lock(wait=True, patience=MINUTE)
        while hand.store.delayed:
            hand.store.deliver()
        assert locked.held == world.held("n1")
        assert world.guard().count == 1
        assert not left_behind(world)

    def test_a_store_that_is_away_from_the_start(self, hand: Hand) -> None:
        for wait in (False, True):
            hand.store.away = True
            with pytest.raises(Unavailable):
                hand.lock(wait=wait)


class TestWaiting:
    def test_comes_to_its_turn(self, world: World, hand: Hand) -> None:
        other = hand.lock("n2").held
        world.clock.after(7, lambda: release(world.operator, slot_of(other)))
        started = world.clock.boottime()
        assert hand.lock(wait=True, patience=MINUTE).held == world.held("n1")
        assert world.clock.boottime() - started < 9, "the watch did not wake it"
        assert [(one.kind, one.position) for one in hand.told] == [("queue", 1)]
        assert not left_behind(world)

    def test_gives_up_after_its_time(self, world: World, hand: Hand) -> None:
        hand.lock("n2")
        before = world.rows()
        started = world.clock.boottime()
        with pytest.raises(TimedOut, match="no slot"):
            hand.lock(wait=True, patience=timedelta(seconds=12))
        assert world.clock.boottime() - started == pytest.approx(12, abs=1)
        assert world.rows() == before

    def test_leaves_the_queue_when_interrupted(self, world: World, hand: Hand) -> None:
        hand.lock("n2")
        before = world.rows()
        world.clock.after(5, hand.stop.set)
        with pytest.raises(Interrupted):
            hand.lock(wait=True)
        assert world.rows() == before

    def test_tells_its_position_and_who_is_ahead(self, world: World, hand: Hand, n1: Actor) -> None:
        hand.lock("n2")
        attempt = world.attempt(n1, "n3")
        world.queued(n1, attempt)
        with pytest.raises(TimedOut):
            hand.lock(wait=True, patience=timedelta(seconds=3))
        assert hand.told == [Progress("queue", hand.told[0].reason, 2, ("n3",))]

    def test_goes_on_after_a_pause(self, world: World, hand: Hand) -> None:
        pause_fleet(world.operator, "freeze", None)
        world.clock.after(6, lambda: resume_fleet(world.operator))
        assert hand.lock(wait=True, patience=MINUTE).held == world.held("n1")
        assert [one.kind for one in hand.told] == ["paused"]

    def test_goes_on_after_a_hold(self, world: World, hand: Hand) -> None:
        pause_node(world.operator, "n1", "r", None)
        world.clock.after(6, lambda: resume_node(world.operator, "n1"))
        assert hand.lock(wait=True, patience=MINUTE).held == world.held("n1")

    def test_waits_for_a_full_queue(self, world: World, hand: Hand, n1: Actor) -> None:
        attempts: list[Attempt] = []
        for number in range(MAX_TICKETS):
            attempts.append(world.attempt(n1, f"m{number}"))
            world.queued(n1, attempts[-1])

        def drained() -> None:
            for key in world.tickets():
                world.memory.commit([Check(key, world.memory.read([key])[key].mod)], deletes=[key])

        world.clock.after(30, drained)
        assert hand.lock(wait=True, patience=timedelta(hours=1)).held == world.held("n1")
        assert [one.kind for one in hand.told] == ["queue_full"]

    def test_a_lost_ticket_is_taken_anew(self, world: World, hand: Hand) -> None:
        other = hand.lock("n2").held

        def expire() -> None:
            (key,) = world.tickets()
            world.memory.commit([Check(key, world.memory.read([key])[key].mod)], deletes=[key])

        world.clock.after(3, expire)
        world.clock.after(14, lambda: release(world.operator, slot_of(other)))
        assert hand.lock(wait=True, patience=MINUTE).held == world.held("n1")
        assert not left_behind(world)

    def test_an_outage_costs_neither_place_nor_patience(self, world: World, hand: Hand, n1: Actor) -> None:
        other = hand.lock("n2").held
        world.clock.after(3, lambda: go_away(hand, 6))
        later = world.attempt(n1, "n3")
        world.clock.after(1, lambda: world.queued(n1, later))
        world.clock.after(13, lambda: release(world.operator, slot_of(other)))
        assert hand.lock(wait=True, patience=MINUTE).held == world.held("n1")
        assert "store" in [one.kind for one in hand.told]

    def test_an_outage_that_does_not_end_does(self, world: World, hand: Hand) -> None:
        hand.lock("n2")
        world.clock.after(3, lambda: go_away(hand))
        started = world.clock.boottime()
        with pytest.raises(Unavailable):
            hand.lock(wait=True)
        assert world.clock.boottime() - started < OUTAGE.total_seconds() + 60

    def test_an_operator_who_was_faster_has_locked_it(self, world: World, hand: Hand) -> None:
        hand.lock("n2")
        carol = Hand(world, "carol@c")

        def faster() -> None:
            set_max(world.operator, "web", 3)
            attempt = replace(world.attempt(carol.actor, "n1", hand=True), priority=-1)
            world.queued(carol.actor, attempt)
            assert isinstance(claim(carol.actor, attempt, Patience()), Claimed)

        world.clock.after(3, faster)
        locked = hand.lock(wait=True, patience=MINUTE)
        assert locked == Locked(world.held("n1"), already=True)  # type: ignore[arg-type]
        assert world.holder("n1").by == "carol@c"
        assert not left_behind(world)


class TestAgentsSlot:
    """`lock --wait` of a node whose agent has the slot."""

    @pytest.fixture
    def slot(self, world: World, n1: Actor) -> Slot:
        return world.holding(n1, "n1")

    @pytest.mark.parametrize("faults", [[Fault.NONE], *([one] for one in UNCLEAR)])
    def test_is_left_to_the_operator(
        self, world: World, hand: Hand, n1: Actor, slot: Slot, faults: list[Fault]
    ) -> None:
        to_phase(n1, slot, Phase.DRAINING, None)
        hand.store.plan(*faults)
        seen = []

        def undo() -> None:
            seen.append(world.holder("n1").then)
            release(n1, slot)

        world.clock.after(5, undo)
        locked = hand.lock(wait=True, patience=MINUTE)
        assert seen[0] is not None
        assert locked == Locked(world.held("n1"), already=False)  # type: ignore[arg-type]
        assert world.held("n1").token == slot.token, "the slot was never free for others"  # type: ignore[union-attr]
        assert (world.holder("n1").phase, world.holder("n1").by) == (Phase.MAINTENANCE, "bob@bastion2")
        assert not left_behind(world)

    @pytest.mark.parametrize("phase", [Phase.ARMED, Phase.VERIFYING])
    def test_is_waited_for_while_it_reboots(
        self, world: World, hand: Hand, n1: Actor, slot: Slot, phase: Phase
    ) -> None:
        if phase == Phase.ARMED:
            arm(n1, slot, epoch=1, attempt="a", request=None, expected=None)
        else:
            verify(n1, slot, "boot-2", None)
        seen = []

        def finish() -> None:
            seen.append(world.holder("n1").then)
            release(n1, slot)

        world.clock.after(5, finish)
        locked = hand.lock(wait=True, patience=MINUTE)
        assert seen == [None], "an armed holder is not to be marked"
        assert locked.held.token != slot.token
        assert world.holder("n1").phase == Phase.MAINTENANCE

    @pytest.mark.parametrize("end", ["timeout", "interrupt"])
    def test_the_mark_is_taken_back(self, world: World, hand: Hand, slot: Slot, end: str) -> None:
        if end == "interrupt":
            world.clock.after(5, hand.stop.set)
        with pytest.raises(TimedOut if end == "timeout" else Interrupted):
            hand.lock(wait=True, patience=timedelta(seconds=12))
        assert world.held("n1") is not None
        assert world.held("n1").token == slot.token  # type: ignore[union-attr]
        assert not left_behind(world)

    def test_left_too_late_is_given_back_after_an_interrupt(
        self, world: World, hand: Hand, n1: Actor, slot: Slot
    ) -> None:
        def both() -> None:
            hand.stop.set()
            release(n1, slot)

        world.clock.after(5, both)
        with pytest.raises(Interrupted):
            hand.lock(wait=True)
        assert world.held("n1") is None
        assert world.guard().count == 0

    def test_left_just_in_time_is_success(self, world: World, hand: Hand, n1: Actor, slot: Slot) -> None:
        """The time is over, but when the mark is to be taken back the slot is already there."""
        hand.store.plan(Fault.NONE, First(lambda: release(n1, slot)))
        locked = hand.lock(wait=True, patience=timedelta(seconds=12))
        assert locked.held == world.held("n1")
        assert world.holder("n1").by == "bob@bastion2"

    def test_of_another_who_marked_first_is_hers(self, world: World, hand: Hand, n1: Actor, slot: Slot) -> None:
        carol = Hand(world, "carol@c")
        with pytest.raises(TimedOut):
            carol.lock(wait=True, patience=timedelta(0))
        carol.store.plan(Fault.NONE, Fault.UNAVAILABLE)  # her process dies with the mark set
        with pytest.raises(TimedOut):
            carol.lock(wait=True, patience=timedelta(0))
        assert left_behind(world)
        world.clock.after(5, lambda: release(n1, slot))
        assert hand.lock(wait=True, patience=MINUTE).already
        assert world.holder("n1").by == "carol@c"

    def test_that_failed_is_waited_for_and_not_marked(self, world: World, hand: Hand, n1: Actor, slot: Slot) -> None:
        fail(n1, slot, "app")
        with pytest.raises(TimedOut, match="failed"):
            hand.lock(wait=True, patience=timedelta(seconds=12))
        assert not left_behind(world)
        world.clock.after(5, lambda: release(n1, slot))
        assert hand.lock(wait=True, patience=MINUTE).held == world.held("n1")


def test_unlocking_gives_it_back(world: World, hand: Hand) -> None:
    hand.lock()
    done = unlock(
        hand.actor, "n1", "r", strict=True, patience=MINUTE, progress=hand.told.append, stop=threading.Event()
    )
    assert done.how == "by_hand"
    assert world.guard().count == 0
    hand.lock()
    force_unlock(hand.actor, "n1", "r", armed_too=False)
    assert world.guard().count == 0


def test_nothing_but_refusals_and_store_errors_leaves(hand: Hand) -> None:
    hand.lock("n2")
    with pytest.raises(LocksmithError):
        hand.lock()
