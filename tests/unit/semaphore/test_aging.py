"""The history's bound by age: with a release go the oldest entries of its limit, without a read of their own."""

from dataclasses import replace
from datetime import timedelta

import pytest

from locksmith.core import keys
from locksmith.core.admission import Patience
from locksmith.core.audit import replay
from locksmith.core.documents import Guard
from locksmith.core.history import AGE, DROPS, MONTHS, RING, Entry, marked, outlived
from locksmith.errors import Denied
from locksmith.semaphore.actor import Actor
from locksmith.semaphore.claiming import Claimed, claim
from locksmith.semaphore.holding import Slot, fail, release, slot_of
from tests.fakes.faulty import Raise
from tests.fakes.world import World

LIMIT = "group/web"


def cycle(world: World, actor: Actor) -> None:
    release(actor, world.holding(actor, "n1"))


def numbers(world: World) -> list[int]:
    prefix = keys.entries(LIMIT)
    return sorted(Entry.decode(key, row).seq for key, row in world.rows().items() if key.startswith(prefix))


def guard(world: World) -> Guard:
    return Guard.decode("guard", world.rows()[keys.guard(LIMIT)])


def test_what_is_too_old_goes_with_the_next_releases(world: World) -> None:
    actor = world.actor("agent@n1")
    for _ in range(5):
        cycle(world, actor)
    before = guard(world).seq
    assert numbers(world) == list(range(1, before + 1))
    world.clock.advance((AGE - timedelta(days=32)).total_seconds())
    cycle(world, actor)
    assert numbers(world)[0] == 1, "not yet"
    world.clock.advance(timedelta(days=64).total_seconds())
    cycle(world, actor)
    assert numbers(world)[0] == 1 + DROPS
    for _ in range(3):
        cycle(world, actor)
    found = guard(world)
    # The one of a month before stays, and so does all that is younger.
    assert numbers(world) == list(range(before + 1, found.seq + 1))
    assert (found.gone, min(found.months.values()) > before) == (before, True)
    entries = [Entry.decode(key, row) for key, row in world.rows().items() if key.startswith(keys.entries(LIMIT))]
    judged = replay(LIMIT, entries, found, [])
    assert (judged.findings, judged.whole, judged.returns) == ((), False, 5)


def test_a_place_that_another_entry_has_is_left_alone() -> None:
    noon = World().clock.wall()
    months = marked({}, 0, RING + 10, noon)
    later = noon + AGE + timedelta(days=62)
    assert outlived(months, 0, RING + 12, later) == range(13, 13 + DROPS)
    assert not outlived(months, RING + 10, RING + 12, later)
    assert outlived(months, 0, 3 * RING, later) == range(2 * RING + 1, RING + 11)  # nothing: all were written over


def test_a_clock_that_lags_makes_nothing_look_old() -> None:
    noon = World().clock.wall()
    months = marked({}, 0, 10, noon)
    lagging = marked(months, 0, 11, noon - timedelta(days=3000))
    assert list(lagging) == list(months)
    assert not outlived(lagging, 0, 12, noon)


def test_the_marks_are_bounded() -> None:
    noon, months = World().clock.wall(), dict[str, int]()
    for number in range(100):
        months = marked(months, 0, number + 1, noon + number * timedelta(days=31))
    assert len(months) == MONTHS
    assert list(months.values())[-1] == 100


def spread(world: World, actor: Actor, limits: int) -> Slot:
    """A slot of so many limits; a claim of more has too many operations."""
    names = (LIMIT, *(f"label/l{number}=x" for number in range(1, limits)))
    attempt = replace(world.attempt(actor, "n1"), limits=names)
    world.queued(actor, attempt)
    claimed = claim(actor, attempt, Patience())
    assert isinstance(claimed, Claimed), claimed
    return slot_of(claimed.held)


def age(world: World) -> None:
    world.clock.advance((AGE + timedelta(days=64)).total_seconds())


@pytest.mark.parametrize("failed", [False, True])
@pytest.mark.parametrize("limits", [1, 15, 16, 17])
def test_what_is_too_old_never_keeps_a_slot_of_many_limits(world: World, limits: int, failed: bool) -> None:
    actor = world.actor("agent@n1")
    for _ in range(3):
        release(actor, spread(world, actor, limits))
    age(world)
    slot = spread(world, actor, limits)
    if failed:
        fail(actor, slot, "web")
    release(actor, slot, unwritten="the disk is full")
    assert world.held("n1") is None
    found = guard(world)
    assert (found.count, found.gone) == (0, numbers(world)[0] - 1)


def test_entries_that_may_not_be_read_keep_no_slot(world: World) -> None:
    actor = world.actor("agent@n1")
    cycle(world, actor)
    age(world)
    slot = world.holding(actor, "n1")
    world.faults(actor).plan_reads(None, Raise(Denied("ev/ is not ours")))
    release(actor, slot)
    assert (world.held("n1"), guard(world).gone, numbers(world)) == (None, 0, [1, 2, 3, 4])


def test_a_clock_that_nobody_has_set_deletes_no_history(world: World) -> None:
    actor = world.actor("agent@n1")
    cycle(world, actor)
    age(world)
    world.clock.trusted = False
    cycle(world, actor)
    assert (guard(world).gone, numbers(world)) == (0, [1, 2, 3, 4])
    world.clock.trusted = True
    cycle(world, actor)
    assert (guard(world).gone, numbers(world)) == (2, [3, 4, 5, 6])
