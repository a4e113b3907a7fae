"""`fsck` mends what counts, reports what it must not judge, and is never misled by holders that come and go."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from locksmith.core import keys
from locksmith.core.admission import Patience
from locksmith.core.documents import Brake, Failure, Guard, NodeRecord, Phase
from locksmith.errors import HeldByAgent, HeldElsewhere
from locksmith.semaphore.actor import Actor
from locksmith.semaphore.claiming import claim
from locksmith.semaphore.holding import Slot, fail, release
from locksmith.semaphore.operating import pause_node, request_reboot, set_max
from locksmith.semaphore.recovery import write_record
from locksmith.semaphore.repair import FsckReport, forget, fsck
from locksmith.semaphore.taking import force_unlock
from locksmith.stores import Check, Put
from tests.fakes.faulty import Fault, First
from tests.fakes.world import World

UNCLEAR = [Fault.DROP, Fault.LOSE, Fault.DELAY, Fault.CONFLICT]
GUARD = keys.guard("group/web")
BRAKE = keys.brake("web")


@pytest.fixture
def n1(world: World) -> Actor:
    return world.actor("agent@n1")


@pytest.fixture
def bob(world: World) -> Actor:
    return world.actor("bob@bastion2")


@pytest.fixture
def slots(world: World, n1: Actor) -> list[Slot]:
    set_max(world.operator, "web", 4)
    nodes = ["n1", "n2", "n3"]
    for node in nodes:
        register(world, n1, node)
    return [world.holding(n1, node) for node in nodes]


def register(world: World, actor: Actor, node: str, group: str = "web") -> None:
    record = NodeRecord(host=f"host-{node}", group=group, state="steady", seen=world.clock.wall())
    write_record(actor, node, record)


def damage(world: World, key: str, document: Guard | Brake | bytes) -> None:
    """Write past every rule."""
    world.judge.off = True
    value = document if isinstance(document, bytes) else document.encode()
    world.memory.commit((), [Put(key, value)])


def kinds(report: FsckReport) -> list[tuple[str, str, bool]]:
    return [(one.key, one.kind, one.repaired) for one in report.findings]


def test_a_sound_store_has_nothing_to_say(world: World, bob: Actor, n1: Actor, slots: list[Slot]) -> None:
    fail(n1, slots[0], "app")
    before = world.rows()
    assert fsck(bob, repair=True) == FsckReport((), 3, 1)
    assert world.rows() == before


@pytest.mark.parametrize("count", [0, 2, 9])
@pytest.mark.parametrize("fault", [Fault.NONE, *UNCLEAR])
def test_a_wrong_count_is_mended(world: World, bob: Actor, slots: list[Slot], count: int, fault: Fault) -> None:
    damage(world, GUARD, replace(world.guard(), count=count, extra={"burst": 1}))
    before = world.rows()
    assert kinds(fsck(bob, repair=False)) == [(GUARD, "count", False)]
    assert world.rows() == before, "looking wrote something"
    world.faults(bob).plan(fault)
    assert kinds(fsck(bob, repair=True)) == [(GUARD, "count", True)]
    world.judge.off = False
    while world.faults(bob).delayed:
        world.faults(bob).deliver()
    world.judge()
    assert (world.guard().count, world.guard().slots, world.guard().extra) == (3, 4, {"burst": 1})
    assert fsck(bob, repair=True).findings == ()


def test_a_missing_guard_is_made_with_the_count(world: World, bob: Actor, slots: list[Slot]) -> None:
    world.judge.off = True
    world.memory.commit([Check(GUARD, world.memory.read([GUARD])[GUARD].mod)], deletes=[GUARD])
    assert kinds(fsck(bob, repair=True)) == [(GUARD, "no_guard", True)]
    assert (world.guard().count, world.guard().slots) == (3, 1)


def test_a_failed_set_is_mended_both_ways(world: World, bob: Actor, n1: Actor, slots: list[Slot]) -> None:
    fail(n1, slots[0], "app")
    fail(n1, slots[1], "url")
    true = dict(world.brake().failed)
    stray = Failure(token="99", check="x", since=world.clock.wall())
    acked = replace(true["n2"], acked=True)
    damage(world, BRAKE, replace(world.brake(), failed={"n2": acked, "n3": stray, "gone": stray}, max_failed=1))
    assert kinds(fsck(bob, repair=True)) == [(BRAKE, "failed_set", True)]
    assert world.brake().failed == {"n1": true["n1"], "n2": acked}
    assert world.brake().max_failed == 1


def test_a_failure_of_an_earlier_slot_is_replaced(world: World, bob: Actor, n1: Actor, slots: list[Slot]) -> None:
    fail(n1, slots[0], "app")
    true = dict(world.brake().failed)
    damage(world, BRAKE, replace(world.brake(), failed={"n1": replace(true["n1"], token="1", acked=True)}))
    fsck(bob, repair=True)
    assert world.brake().failed == true


def test_a_lost_brake_is_made_anew(world: World, bob: Actor, n1: Actor, slots: list[Slot]) -> None:
    fail(n1, slots[0], "app")
    world.judge.off = True
    world.memory.commit([Check(BRAKE, world.memory.read([BRAKE])[BRAKE].mod)], deletes=[BRAKE])
    assert kinds(fsck(bob, repair=True)) == [(BRAKE, "failed_set", True)]
    assert world.brake().halted


def test_what_cannot_be_read_is_reported_and_never_touched(world: World, bob: Actor, slots: list[Slot]) -> None:
    for key in ("hold/n9", "req/n9", "q/web/n9", "brake/db", "lim/label/zone=a"):
        damage(world, key, b"rubbish")
    before = world.rows()
    report = fsck(bob, repair=True)
    assert sorted(kinds(report)) == sorted(
        (key, "corrupt", False) for key in ("hold/n9", "req/n9", "q/web/n9", "brake/db", "lim/label/zone=a")
    )
    assert world.rows() == before


def test_a_holder_that_cannot_be_read_forbids_to_count(world: World, bob: Actor, slots: list[Slot]) -> None:
    """It may name any limit: taking it off a count would be one slot too many."""
    damage(world, slots[0].key, b"rubbish")
    before = world.rows()
    report = fsck(bob, repair=True)
    assert kinds(report) == [(slots[0].key, "corrupt", False), (GUARD, "count", False)]
    assert world.rows() == before


def test_a_holder_that_nobody_registered_is_reported_and_stays(world: World, bob: Actor, n1: Actor) -> None:
    set_max(bob, "web", 3)
    slot = world.holding(n1, "ghost")
    hand = world.attempt(bob, "printer", hand=True)
    world.queued(bob, hand)
    claim(bob, hand, Patience())
    assert kinds(fsck(bob, repair=True)) == [(slot.key, "no_record", False)]
    assert world.held("ghost") is not None
    assert world.holder("printer").phase == Phase.MAINTENANCE


def test_nothing_set_up(world: World, bob: Actor) -> None:
    world.memory.commit([Check("cfg", world.memory.read(["cfg"])["cfg"].mod)], deletes=["cfg"])
    assert kinds(fsck(bob, repair=True)) == [("cfg", "not_set_up", False)]
    assert world.rows() == {}


def moves(world: World, n1: Actor, slots: list[Slot]) -> list[Callable[[], object]]:
    """What a fleet does while fsck reads, one at a time."""
    return [
        lambda: world.holding(n1, "n4"),
        lambda: release(n1, slots[0]),
        lambda: fail(n1, slots[1], "app"),
        lambda: force_unlock(world.operator, "n3", "r", armed_too=False),
        lambda: release(n1, slots[1]),
        lambda: set_max(world.operator, "web", 3),
    ]


@pytest.mark.parametrize("place", range(24))
@pytest.mark.parametrize("which", range(6))
@pytest.mark.parametrize("repair", [False, True])
def test_holders_that_come_and_go_meanwhile_mislead_nobody(
    world: World, bob: Actor, n1: Actor, slots: list[Slot], *, which: int, place: int, repair: bool
) -> None:
    """The guard first, then the pieces, then the commit under that guard: whatever happens at whichever read."""
    register(world, n1, "n4")
    world.faults(bob).plan_reads(*[None] * place, First(moves(world, n1, slots)[which]))
    report = fsck(bob, repair=repair)
    assert report.findings == ()
    world.judge()


@pytest.mark.parametrize("place", range(24))
def test_a_wrong_count_is_mended_rightly_while_holders_move(
    world: World, bob: Actor, n1: Actor, slots: list[Slot], place: int
) -> None:
    damage(world, GUARD, replace(world.guard(), count=1))
    world.faults(bob).plan_reads(*[None] * place, First(lambda: release(n1, slots[0])))
    world.faults(bob).plan(First(lambda: release(n1, slots[1])))
    fsck(bob, repair=True)
    fsck(bob, repair=True)
    world.judge.off = False
    world.judge()


def test_a_claim_between_the_last_look_and_the_commit_wins(
    world: World, bob: Actor, n1: Actor, slots: list[Slot]
) -> None:
    damage(world, GUARD, replace(world.guard(), count=2))
    world.faults(bob).plan(First(lambda: world.holding(n1, "n4")))
    register(world, n1, "n4")
    report = fsck(bob, repair=True)
    assert kinds(report) == [(GUARD, "count", True)]
    world.judge.off = False
    world.judge()
    assert world.guard().count == 4


def test_negative_control_without_the_guards_check_the_recount_does_damage(
    world: World, bob: Actor, n1: Actor, slots: list[Slot]
) -> None:
    damage(world, GUARD, replace(world.guard(), count=2))
    world.faults(bob).ignore = lambda key: key == GUARD
    world.faults(bob).plan(First(lambda: world.holding(n1, "n4")))
    fsck(bob, repair=True)
    world.judge.off = False
    with pytest.raises(AssertionError, match="counts 3"):
        world.judge()


class TestForget:
    def test_removes_what_is_remembered_and_names_it(self, world: World, bob: Actor, n1: Actor) -> None:
        slot = world.holding(n1, "n1")
        force_unlock(bob, "n1", "r", armed_too=False)
        for group in ("web", "old"):
            register(world, n1, "n1", group)
        register(world, n1, "n2")
        pause_node(bob, "n1", "r", None)
        request_reboot(bob, "n1", "r", ())
        before = set(world.rows())
        removed = forget(bob, "n1")
        assert set(removed) == before - set(world.rows())
        assert sorted(removed) == sorted(
            [
                keys.record("web", "n1"),
                keys.record("old", "n1"),
                keys.hold("n1"),
                keys.request("n1"),
                keys.notes_of_node("n1"),
                keys.unlocked("n1"),
            ]
        )
        assert forget(bob, "n1") == ()
        assert slot.key not in world.rows()

    @pytest.mark.parametrize("fault", UNCLEAR)
    def test_whatever_happens(self, world: World, bob: Actor, n1: Actor, fault: Fault) -> None:
        register(world, n1, "n1")
        world.faults(bob).plan(fault)
        assert forget(bob, "n1") == (keys.record("web", "n1"),)
        assert keys.record("web", "n1") not in world.rows()

    def test_not_while_it_holds_a_slot(self, world: World, bob: Actor, n1: Actor) -> None:
        set_max(bob, "web", 2)
        register(world, n1, "n1")
        world.faults(bob).plan(First(lambda: world.holding(n1, "n1")))
        with pytest.raises(HeldByAgent, match="unlock"):
            forget(bob, "n1")
        hand = world.attempt(bob, "n2", hand=True)
        world.queued(bob, hand)
        claim(bob, hand, Patience())
        with pytest.raises(HeldElsewhere, match="by hand"):
            forget(bob, "n2")
        assert keys.record("web", "n1") in world.rows()
