"""What operators see: one snapshot, nothing written, every figure from the store."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from locksmith.core import keys
from locksmith.core.admission import Patience
from locksmith.core.documents import Brake, NodeRecord, Revoke
from locksmith.errors import AmbiguousNode, Corrupt, Denied, UsageError
from locksmith.semaphore.actor import Actor
from locksmith.semaphore.claiming import claim
from locksmith.semaphore.holding import arm, fail, mark, slot_of
from locksmith.semaphore.operating import acknowledge, pause_fleet, pause_group, set_max
from locksmith.semaphore.reading import (
    GroupStatus,
    Halt,
    NodeRef,
    PauseLine,
    groups,
    nodes,
    resolve,
    status,
    status_all,
    store_seen,
)
from locksmith.semaphore.recovery import write_record
from locksmith.stores import Check, Put
from tests.fakes.world import World

EMPTY = GroupStatus(
    group="web",
    exists=False,
    slots=None,
    held=0,
    free=None,
    failed=0,
    max_failed=0,
    paused=None,
    halted=None,
    holders=(),
    queue=(),
)


@pytest.fixture
def n1(world: World) -> Actor:
    return world.actor("agent@n1")


@pytest.fixture
def bob(world: World) -> Actor:
    return world.actor("bob@bastion2")


@pytest.fixture
def busy(world: World, n1: Actor) -> World:
    """Four slots: one armed, one failed, one by hand; three wait; another group beside it."""
    set_max(world.operator, "web", 4)
    set_max(world.operator, "db", 1)
    slot = world.holding(n1, "n1")
    world.clock.advance(10)
    arm(n1, slot, epoch=1, attempt="a", request=None, expected=timedelta(minutes=5))
    hand = world.attempt(world.operator, "n3", hand=True)
    world.queued(world.operator, hand)
    claim(world.operator, hand, Patience())
    sick = world.holding(n1, "n2")
    world.holding(n1, "d1", "db")
    for node, priority in (("w1", 0), ("w2", 0), ("w3", -1)):
        world.queued(n1, replace(world.attempt(n1, node), priority=priority))
        world.clock.advance(1)
    fail(n1, sick, "app")
    return world


class TestStatus:
    def test_of_a_group_that_does_not_exist_writes_nothing(self, world: World, bob: Actor) -> None:
        before = world.rows()
        assert status(bob, "web") == EMPTY
        assert (status_all(bob), groups(bob), nodes(bob, None)) == ((), (), ())
        assert world.rows() == before

    def test_is_one_read(self, busy: World, bob: Actor) -> None:
        store = busy.faults(bob)
        for look in (lambda: status(bob, "web"), lambda: status_all(bob)):
            before = store.reads
            look()
            assert store.reads - before == 1
        assert not store.commits

    def test_figures(self, busy: World, bob: Actor) -> None:
        seen = status(bob, "web")
        assert (seen.exists, seen.slots, seen.held, seen.free, seen.failed) == (True, 4, 3, 1, 1)
        assert seen.waiting_unqueued is None, "the registry is not read for it"

    def test_holders_oldest_first(self, busy: World, bob: Actor) -> None:
        first, second, third = status(bob, "web").holders
        assert [line.host for line in (first, second, third)] == ["host-n1", "host-n3", "host-n2"]
        assert [line.phase for line in (first, second, third)] == ["armed", "maintenance", "failed"]
        assert (first.reason, first.boot_id, first.by) == ("kernel", "boot-1", None)
        assert first.token == str(busy.held("n1").token)  # type: ignore[union-attr]
        assert first.phase_since - first.since == timedelta(seconds=10)
        assert first.expected_by == first.phase_since + timedelta(minutes=5)
        assert (second.by, second.expected_by) == ("alice@bastion1", None)
        assert (third.check, third.acked) == ("app", False)

    def test_overdue_is_a_word(self, busy: World, bob: Actor) -> None:
        assert not any(line.overdue for line in status(bob, "web").holders)
        busy.clock.advance(301)
        assert [line.overdue for line in status(bob, "web").holders] == [True, False, False]

    def test_queue_in_the_order_of_the_walk(self, busy: World, bob: Actor) -> None:
        queue = status(bob, "web").queue
        assert [(line.host, line.position) for line in queue] == [("host-w3", 1), ("host-w1", 2), ("host-w2", 3)]
        assert {line.by for line in queue} == {None}

    def test_halted_since_the_oldest_failure_that_nobody_acknowledged(self, busy: World, bob: Actor, n1: Actor) -> None:
        first = busy.clock.wall()
        assert status(bob, "web").halted == Halt(first, ("n2",), "app")
        busy.clock.advance(60)
        acknowledge(bob, "web", "known")
        assert status(bob, "web").halted is None
        assert [line.acked for line in status(bob, "web").holders] == [False, False, True]
        later = busy.clock.wall()
        set_max(bob, "spare", 9)
        busy.memory.commit([Check(keys.brake("spare"), 0)], [Put(keys.brake("spare"), Brake(max_failed=1).encode())])
        slots = [busy.holding(n1, node, "spare") for node in ("n5", "n6")]
        for slot, check in zip(slots, ("url", "app"), strict=True):
            assert status(bob, "spare").halted is None
            fail(n1, slot, check)
            busy.clock.advance(1)
        assert status(bob, "spare").halted == Halt(later, ("n5", "n6"), "url, app")
        assert status(bob, "spare").max_failed == 1

    def test_paused_shows_the_widest_in_force(self, busy: World, bob: Actor) -> None:
        now = busy.clock.wall()
        until = now + timedelta(minutes=1)
        pause_group(bob, "web", "lunch", None)
        assert status(bob, "web").paused == PauseLine("group", "bob@bastion2", "lunch", now, None)
        pause_fleet(bob, "freeze", until)
        assert status(bob, "web").paused == PauseLine("fleet", "bob@bastion2", "freeze", now, until)
        busy.clock.advance(61)
        assert status(bob, "db").paused is None
        busy.clock.trusted = False
        assert status(bob, "db").paused is not None, "an untrusted clock ends no pause"

    def test_asked_names_who_wants_the_slot(self, busy: World, bob: Actor, n1: Actor) -> None:
        assert {line.asked for line in status(bob, "web").holders} == {None}
        revoke = Revoke(by="bob@bastion2", reason="r", since=busy.clock.wall())
        mark(bob, slot_of(busy.held("n1")), lambda holder: replace(holder, revoke=revoke))  # type: ignore[arg-type]
        assert [line.asked for line in status(bob, "web").holders] == ["bob@bastion2", None, None]

    def test_all_by_name(self, busy: World, bob: Actor, n1: Actor) -> None:
        pause_group(bob, "default", "r", None)
        busy.queued(n1, busy.attempt(n1, "x1", "new"))
        assert [(one.group, one.exists) for one in status_all(bob)] == [
            ("db", True),
            ("default", False),
            ("new", False),
            ("web", True),
        ]
        assert {one.group: one for one in status_all(bob)}["web"] == status(bob, "web")
        assert [(one.group, one.slots, one.held, one.free, one.waiting, one.failed) for one in groups(bob)] == [
            ("db", 1, 1, 0, 0, 0),
            ("web", 4, 3, 1, 3, 1),
        ]

    def test_a_lowered_group_has_less_than_nothing_free(self, busy: World, bob: Actor) -> None:
        set_max(bob, "web", 1)
        assert status(bob, "web").free == -2

    def test_a_document_that_cannot_be_read(self, busy: World, bob: Actor) -> None:
        busy.memory.commit((), [Put(keys.brake("web"), b"{")])
        with pytest.raises(Corrupt, match="brake/web"):
            status(bob, "web")

    def test_an_empty_answer_is_not_believed_before_it_was_asked(self, world: World) -> None:
        """Consul leaves out what may not be read."""
        world.memory.commit([Check("cfg", world.memory.read(["cfg"])["cfg"].mod)], deletes=["cfg"])
        looker = world.actor("eve@e")
        world.faults(looker).forbid = Denied("no right to read cfg")
        verbs: list[Callable[[], object]] = [lambda: status(looker, "web"), lambda: status_all(looker)]
        for verb in verbs:
            with pytest.raises(Denied):
                verb()


def test_what_the_store_says_of_itself(world: World, bob: Actor) -> None:
    seen = store_seen(bob)
    assert (seen.kind, seen.id, seen.members) == ("memory", "memory", 1)
    assert (seen.incarnation, seen.epoch) == (world.config().store, 1)


class TestRegistry:
    IDS = ("aaaaaaaa11", "aaaaaaaa22", "bbbbbbbb33")

    @pytest.fixture
    def known(self, world: World, n1: Actor) -> World:
        for node, host, group in zip(self.IDS, ("h1", "h2", "h2"), ("web", "web", "db"), strict=True):
            self.register(world, n1, node, host, group)
        return world

    def register(self, world: World, actor: Actor, node: str, host: str, group: str) -> NodeRecord:
        record = NodeRecord(host=host, group=group, state="steady", seen=world.clock.wall(), heartbeat=600)
        write_record(actor, node, record)
        return record

    def test_lists_by_group_and_host(self, known: World, bob: Actor) -> None:
        assert [line.node for line in nodes(bob, None)] == [self.IDS[2], self.IDS[0], self.IDS[1]]
        assert [line.node for line in nodes(bob, "web")] == [self.IDS[0], self.IDS[1]]

    def test_says_who_is_silent(self, known: World, bob: Actor, n1: Actor) -> None:
        known.clock.advance(1200)
        assert not any(line.silent for line in nodes(bob, None))
        known.clock.advance(1)
        self.register(known, n1, self.IDS[0], "h1", "web")
        assert [line.silent for line in nodes(bob, "web")] == [False, True]

    def test_a_name_is_an_id_a_host_or_the_beginning_of_an_id(self, known: World, bob: Actor) -> None:
        for name in ("bbbbbbbb33", "bbbbbbbb"):
            ref = resolve(bob, name)
            assert (ref.node, ref.host, ref.group, ref.known) == ("bbbbbbbb33", "h2", "db", True)
        assert resolve(bob, "h1").node == self.IDS[0]
        assert resolve(bob, self.IDS[0], "web") == resolve(bob, self.IDS[0])

    @pytest.mark.parametrize("name", ["h2", "aaaaaaaa"])
    def test_what_fits_two_is_refused_with_both(self, known: World, bob: Actor, name: str) -> None:
        with pytest.raises(AmbiguousNode, match=r"aaaaaaaa11|aaaaaaaa22.*bbbbbbbb33"):
            resolve(bob, name)

    @pytest.mark.parametrize("name", ["printer", "bbbbbbb", "h"])
    def test_what_nobody_registered_is_taken_literally(self, known: World, bob: Actor, name: str) -> None:
        assert resolve(bob, name) == NodeRef(name, None, None, None, known=False)

    def test_what_can_be_no_node(self, bob: Actor) -> None:
        for name in ("a/b", "", "-x", "a b"):
            with pytest.raises(UsageError):
                resolve(bob, name)

    def test_a_host_name_wins_over_the_beginning_of_an_id(self, known: World, bob: Actor, n1: Actor) -> None:
        self.register(known, n1, "cccccccc44", "bbbbbbbb", "web")
        assert resolve(bob, "bbbbbbbb").node == "cccccccc44"

    def test_a_node_that_changed_its_group_is_one_node(self, known: World, bob: Actor, n1: Actor) -> None:
        known.clock.advance(60)
        self.register(known, n1, self.IDS[0], "h1", "db")
        ref = resolve(bob, "h1")
        assert (ref.node, ref.group) == (self.IDS[0], "db")
