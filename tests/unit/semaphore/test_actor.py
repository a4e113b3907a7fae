"""`settle`: no commit is sent twice as it was, and an unclear fate stays unclear until it is proved."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from locksmith.core.documents import Hold
from locksmith.errors import Conflict, Corrupt, Denied, LocksmithError, StoreFull, Unavailable, Unknown, WrongStore
from locksmith.semaphore.actor import Done, Try, confirm_cluster, look, settle
from locksmith.stores import Check, Commit, Put
from tests.fakes.clock import EPOCH
from tests.fakes.faulty import Fault, First, Raise
from tests.fakes.world import World

KEY = "hold/n1"


def writing(world: World, written: list[str]) -> Callable[[], Done[str] | Try[str]]:
    """A step that writes a document once, known by its gen."""
    actor = world.operator

    def step() -> Done[str] | Try[str]:
        view = look(actor.store, [KEY])
        current = view.document(KEY, Hold)
        if current is not None and current.gen in written:
            return Done(f"found {written.index(current.gen)}")
        gen = actor.nonce()
        written.append(gen)
        put = Put(KEY, Hold(gen=gen, by="a", reason="r", since=EPOCH).encode())
        return Try(Commit((Check(KEY, view.mod(KEY)),), (put,)), lambda revision: f"applied {revision}")

    return step


def test_a_quiet_commit_takes_one_read_and_one_commit(world: World) -> None:
    store = world.faults(world.operator)
    reads, commits = store.reads, len(store.commits)
    assert settle(world.operator, writing(world, [])).startswith("applied")
    assert (store.reads - reads, len(store.commits) - commits) == (1, 1)


def test_a_conflict_is_decided_anew_from_a_new_snapshot(world: World) -> None:
    store, written = world.faults(world.operator), []
    store.plan(Fault.CONFLICT, Fault.CONFLICT)
    assert settle(world.operator, writing(world, written)).startswith("applied")
    assert len(set(written)) == 3, "a commit was repeated as it was"


def test_a_lost_answer_is_found_by_its_own_gen(world: World) -> None:
    world.faults(world.operator).plan(Fault.LOSE)
    assert settle(world.operator, writing(world, [])) == "found 0"


def test_a_late_commit_is_impossible_once_a_later_one_applied(world: World) -> None:
    store, written = world.faults(world.operator), []
    store.plan(Fault.DELAY)
    assert settle(world.operator, writing(world, written)).startswith("applied")
    stands = world.memory.read([KEY])[KEY].value
    assert not store.deliver()
    assert world.memory.read([KEY])[KEY].value == stands


def test_a_late_commit_that_wins_is_found(world: World) -> None:
    store, written = world.faults(world.operator), []
    store.plan(Fault.DELAY, First(store.deliver))
    assert settle(world.operator, writing(world, written)) == "found 0"


@pytest.mark.parametrize("fault", [Unavailable("away"), StoreFull("full"), Denied("not you")])
def test_what_surely_was_not_applied_is_raised_at_once(world: World, fault: LocksmithError) -> None:
    store, written = world.faults(world.operator), []
    store.plan(Raise(fault))
    with pytest.raises(type(fault)):
        settle(world.operator, writing(world, written))
    assert len(written) == 1


@pytest.mark.parametrize("fault", [Unavailable("away"), Denied("password changed"), Corrupt("newer")])
def test_an_unclear_fate_stays_unclear_when_the_store_goes_away(world: World, fault: LocksmithError) -> None:
    store = world.faults(world.operator)
    store.plan(Fault.DELAY)
    store.plan_reads(None, *[Raise(fault)] * 1000)
    started = world.clock.boottime()
    with pytest.raises(Unknown):
        settle(world.operator, writing(world, []), timedelta(seconds=5))
    assert world.clock.boottime() - started < 10
    assert store.deliver(), "it was still possible, so anything but Unknown would have been a lie"


def test_reading_back_goes_on_through_an_outage(world: World) -> None:
    store = world.faults(world.operator)
    store.plan(Fault.LOSE)
    store.plan_reads(None, *[Raise(Unavailable("away"))] * 4)
    assert settle(world.operator, writing(world, [])) == "found 0"


def test_endless_conflicts_end_as_unavailable(world: World) -> None:
    world.faults(world.operator).plan(*[Fault.CONFLICT] * 1000)
    with pytest.raises(Unavailable):
        settle(world.operator, writing(world, []), timedelta(seconds=5))


def test_a_conflict_never_leaves(world: World) -> None:
    store = world.faults(world.operator)
    store.plan(Raise(Conflict("x")))
    settle(world.operator, writing(world, []))


def test_every_read_carries_the_fleets_settings(world: World) -> None:
    assert look(world.memory, [KEY]).config == world.config()
    assert look(world.memory).config == world.config()


def test_a_document_that_cannot_be_read_names_its_key(world: World) -> None:
    world.memory.commit((), [Put(KEY, b"\xff")])
    with pytest.raises(Corrupt, match=KEY):
        look(world.memory, [KEY]).document(KEY, Hold)


def test_another_cluster_than_the_recorded_one_is_refused(world: World) -> None:
    config = world.config()
    confirm_cluster(world.memory, config)
    confirm_cluster(world.memory, type(config)(store="x"))
    with pytest.raises(WrongStore, match="elsewhere"):
        confirm_cluster(world.memory, type(config)(store="x", cluster="elsewhere"))


def test_an_until_is_judged_by_a_synchronised_clock_only(world: World) -> None:
    assert world.operator.trusted_now() == world.clock.wall()
    world.clock.trusted = False
    assert world.operator.trusted_now() is None


def test_a_document_is_decoded_once_for_a_snapshot_and_anew_for_the_next(world: World) -> None:
    settle(world.operator, writing(world, []))
    view = look(world.operator.store, [KEY])
    assert view.document(KEY, Hold) is view.document(KEY, Hold) is not None
    settle(world.operator, writing(world, []))
    later = look(world.operator.store, [KEY]).document(KEY, Hold)
    assert later is not None
    assert later != view.document(KEY, Hold)


def test_what_is_corrupt_is_so_at_every_look(world: World) -> None:
    world.memory.commit((), (Put(KEY, b"rubbish"), Put("cfg", b"{}")))
    for _ in range(2):
        with pytest.raises(Corrupt, match="cfg"):
            look(world.operator.store, [KEY])
