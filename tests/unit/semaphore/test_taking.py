"""`unlock`: asked for or by force, one holder goes, its counts with it, and its agent is told."""

import threading
from datetime import timedelta

import pytest

from locksmith.core import keys
from locksmith.core.documents import Phase, Unlocked
from locksmith.errors import ArmedHolder, Asked, Interrupted, NotHeld
from locksmith.semaphore.actor import Actor, look
from locksmith.semaphore.by_hand import lock
from locksmith.semaphore.holding import Gone, Slot, arm, fail, release, slot_of, to_phase, verify
from locksmith.semaphore.operating import set_max
from locksmith.semaphore.taking import Unlocked_, force_unlock, unlock
from locksmith.semaphore.vigil import Progress
from tests.fakes.faulty import Fault, First, Then
from tests.fakes.world import World

UNCLEAR = [Fault.DROP, Fault.LOSE, Fault.DELAY, Fault.CONFLICT]
PAIRS = [[a, b] for a in UNCLEAR for b in UNCLEAR]
MINUTE = timedelta(minutes=1)


@pytest.fixture
def n1(world: World) -> Actor:
    return world.actor("agent@n1")


@pytest.fixture
def bob(world: World) -> Actor:
    set_max(world.operator, "web", 2)
    return world.actor("bob@bastion2")


@pytest.fixture
def slot(world: World, n1: Actor, bob: Actor) -> Slot:
    return world.holding(n1, "n1")


def ask(
    actor: Actor,
    *,
    strict: bool = False,
    patience: timedelta = MINUTE,
    told: list[Progress] | None = None,
    stop: threading.Event | None = None,
) -> Unlocked_:
    progress = (told if told is not None else []).append
    return unlock(
        actor, "n1", "moving", strict=strict, patience=patience, progress=progress, stop=stop or threading.Event()
    )


def by_hand(actor: Actor, group: str = "web") -> Slot:
    locked = lock(
        actor, "n1", "host-n1", group, "disk", wait=False, patience=None, progress=print, stop=threading.Event()
    )
    return slot_of(locked.held)


def record(world: World) -> Unlocked | None:
    return look(world.memory, [keys.unlocked("n1")]).document(keys.unlocked("n1"), Unlocked)


class TestUnlock:
    def test_of_nothing(self, world: World, bob: Actor) -> None:
        before = world.rows()
        assert ask(bob) == Unlocked_("not_held", None)
        with pytest.raises(NotHeld, match="n1"):
            ask(bob, strict=True)
        assert world.rows() == before

    @pytest.mark.parametrize("faults", [[Fault.NONE], *PAIRS])
    def test_of_a_hold_by_hand_goes_at_once(self, world: World, bob: Actor, faults: list[Fault]) -> None:
        mine = by_hand(bob)
        store = world.faults(bob)
        store.plan(*faults)
        done = ask(bob)
        while store.delayed:
            store.deliver()
        assert (done.how, done.held.token if done.held else None) == ("by_hand", mine.token)
        assert world.held("n1") is None
        assert world.guard().count == 0
        taken = record(world)
        assert taken is not None
        assert (taken.token, taken.nonce, taken.phase) == (str(mine.token), mine.nonce, "maintenance")
        assert (taken.by, taken.reason) == ("bob@bastion2", "moving")

    @pytest.mark.parametrize("faults", [[Fault.NONE], *PAIRS])
    def test_of_a_failed_holder_goes_at_once(
        self, world: World, bob: Actor, n1: Actor, slot: Slot, faults: list[Fault]
    ) -> None:
        fail(n1, slot, "app")
        store = world.faults(bob)
        store.plan(*faults)
        assert ask(bob).how == "failed"
        while store.delayed:
            store.deliver()
        assert (world.held("n1"), world.guard().count, dict(world.brake().failed)) == (None, 0, {})

    @pytest.mark.parametrize("fault", [Fault.NONE, *UNCLEAR])
    def test_of_an_agent_asks_and_waits(self, world: World, bob: Actor, n1: Actor, slot: Slot, fault: Fault) -> None:
        to_phase(n1, slot, Phase.DRAINING, None)
        told: list[Progress] = []
        seen = []

        def undo() -> None:
            seen.append(world.holder("n1").revoke)
            release(n1, slot)

        world.clock.after(5, undo)
        world.faults(bob).plan(fault)
        started = world.clock.boottime()
        done = ask(bob, told=told)
        assert world.clock.boottime() - started < 8, "the watch did not wake it"
        assert done.how == "given_back"
        assert (seen[0].by, seen[0].reason) == ("bob@bastion2", "moving")
        assert [one.kind for one in told] == ["agent"]
        assert record(world) is None, "its agent gave it back itself"

    def test_the_mark_is_written_with_a_check_of_the_holder_only(self, world: World, bob: Actor, slot: Slot) -> None:
        with pytest.raises(Asked):
            ask(bob, patience=timedelta(0))
        (commit,) = [one for one in world.faults(bob).commits if any(put.key == slot.key for put in one.puts)]
        assert [check.key for check in commit.checks] == [slot.key]
        assert [put.key for put in commit.puts] == [slot.key]

    @pytest.mark.parametrize("phase", [Phase.ACQUIRED, Phase.ARMED, Phase.VERIFYING])
    def test_that_is_not_given_back_stays_asked(
        self, world: World, bob: Actor, n1: Actor, slot: Slot, phase: Phase
    ) -> None:
        if phase == Phase.ARMED:
            arm(n1, slot, epoch=1, attempt="a", request=None, expected=None)
        if phase == Phase.VERIFYING:
            verify(n1, slot, "boot-2", None)
        with pytest.raises(Asked, match="host-n1"):
            ask(bob, patience=timedelta(seconds=20))
        assert world.holder("n1").phase == phase
        assert world.holder("n1").revoke is not None
        first = world.holder("n1").revoke
        with pytest.raises(Asked):
            ask(world.actor("carol@c"), patience=timedelta(seconds=1))
        assert world.holder("n1").revoke == first, "asked once"

    def test_of_an_armed_one_waits_through_its_reboot(self, world: World, bob: Actor, n1: Actor, slot: Slot) -> None:
        arm(n1, slot, epoch=1, attempt="a", request=None, expected=None)
        world.clock.after(10, lambda: verify(n1, slot, "boot-2", None))
        world.clock.after(20, lambda: release(n1, slot))
        assert ask(bob).how == "given_back"

    def test_of_one_that_fails_meanwhile_takes_it(self, world: World, bob: Actor, n1: Actor, slot: Slot) -> None:
        verify(n1, slot, "boot-2", None)
        world.clock.after(10, lambda: fail(n1, slot, "app"))
        assert ask(bob).how == "failed"
        assert not world.brake().failed

    def test_does_not_take_the_next_slot_of_the_node(self, world: World, bob: Actor, n1: Actor, slot: Slot) -> None:
        def again() -> None:
            release(n1, slot)
            world.holding(n1, "n1")

        world.clock.after(5, again)
        assert ask(bob).how == "given_back"
        assert world.holder("n1").revoke is None
        assert world.guard().count == 1

    def test_interrupted_leaves_it_asked(self, world: World, bob: Actor, slot: Slot) -> None:
        stop = threading.Event()
        world.clock.after(5, stop.set)
        with pytest.raises(Interrupted):
            ask(bob, stop=stop)
        assert world.holder("n1").revoke is not None


class TestForce:
    @pytest.mark.parametrize("phase", [Phase.ACQUIRED, Phase.DRAINING, Phase.FAILED])
    @pytest.mark.parametrize("faults", [[Fault.NONE], *PAIRS])
    def test_takes_it_in_one_commit(
        self, world: World, bob: Actor, n1: Actor, slot: Slot, *, phase: Phase, faults: list[Fault]
    ) -> None:
        if phase == Phase.DRAINING:
            to_phase(n1, slot, phase, None)
        if phase == Phase.FAILED:
            fail(n1, slot, "app")
        store = world.faults(bob)
        store.plan(*faults)
        before = world.held("n1")
        assert force_unlock(bob, "n1", "moving", armed_too=False) == before
        while store.delayed:
            store.deliver()
        assert (world.held("n1"), world.guard().count, dict(world.brake().failed)) == (None, 0, {})
        taken = record(world)
        assert taken is not None
        assert (taken.token, taken.phase, taken.by) == (str(slot.token), phase, "bob@bastion2")

    @pytest.mark.parametrize("phase", [Phase.ARMED, Phase.VERIFYING])
    def test_of_one_that_may_be_rebooting_needs_one_more_word(
        self, world: World, bob: Actor, n1: Actor, slot: Slot, phase: Phase
    ) -> None:
        if phase == Phase.ARMED:
            arm(n1, slot, epoch=1, attempt="a", request=None, expected=None)
        else:
            verify(n1, slot, "boot-2", None)
        before = world.rows()
        with pytest.raises(ArmedHolder, match="known to be off"):
            force_unlock(bob, "n1", "moving", armed_too=False)
        assert world.rows() == before
        force_unlock(bob, "n1", "moving", armed_too=True)
        assert world.held("n1") is None

    def test_against_an_arm_exactly_one_wins(self, world: World, bob: Actor, n1: Actor, slot: Slot) -> None:
        def overtake() -> None:
            arm(n1, slot, epoch=1, attempt="a", request=None, expected=None)

        world.faults(bob).plan(First(overtake))
        with pytest.raises(ArmedHolder):
            force_unlock(bob, "n1", "moving", armed_too=False)
        assert world.holder("n1").phase == Phase.ARMED

    def test_of_nothing(self, bob: Actor) -> None:
        with pytest.raises(NotHeld):
            force_unlock(bob, "n1", "moving", armed_too=True)

    def test_a_holder_that_is_gone_is_no_proof_that_we_took_it(
        self, world: World, bob: Actor, n1: Actor, slot: Slot
    ) -> None:
        """The wanted state is there, but not by our commit: the agent may have gone on to other things."""
        world.faults(bob).plan(Then(Fault.DROP, lambda: release(n1, slot)))
        with pytest.raises(NotHeld, match="by itself"):
            force_unlock(bob, "n1", "moving", armed_too=True)
        assert record(world) is None

    def test_a_late_one_does_not_take_the_next_slot(self, world: World, bob: Actor, n1: Actor, slot: Slot) -> None:
        store = world.faults(bob)

        def again() -> None:
            release(n1, slot)
            world.holding(n1, "n1")

        store.plan(Then(Fault.DELAY, again))
        with pytest.raises(NotHeld):
            force_unlock(bob, "n1", "moving", armed_too=True)
        assert not store.deliver()
        assert world.guard().count == 1

    def test_the_agent_finds_itself_fenced(self, world: World, bob: Actor, n1: Actor, slot: Slot) -> None:
        force_unlock(bob, "n1", "moving", armed_too=False)
        assert arm(n1, slot, epoch=1, attempt="a", request=None, expected=None) == Gone()
        assert verify(n1, slot, "boot-2", None) == Gone()
        assert fail(n1, slot, "app") == Gone()
