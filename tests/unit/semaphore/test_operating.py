"""Slots, pauses, acknowledgements, requests: each settled by its own gen, on the record, and harmless to repeat."""

from dataclasses import replace
from datetime import timedelta

import pytest

from locksmith.core import keys
from locksmith.core.documents import Guard, Pause, Phase, Request
from locksmith.errors import Denied, NewerFormat, NoSuchGroup, UsageError
from locksmith.semaphore.actor import Actor, look
from locksmith.semaphore.holding import Armed, arm, fail, release, to_phase
from locksmith.semaphore.operating import (
    Acknowledged,
    Resumed,
    SetMax,
    acknowledge,
    cancel_request,
    known_groups,
    pause_fleet,
    pause_group,
    pause_node,
    request_reboot,
    resume_fleet,
    resume_group,
    resume_node,
    set_max,
)
from locksmith.stores import Check, Put
from tests.fakes.faulty import Fault, First, Raise
from tests.fakes.world import World

UNCLEAR = [Fault.DROP, Fault.LOSE, Fault.DELAY, Fault.CONFLICT]
HOUR = timedelta(hours=1)


@pytest.fixture
def bob(world: World) -> Actor:
    return world.actor("bob@bastion2")


@pytest.fixture
def n1(world: World) -> Actor:
    return world.actor("agent@n1")


def empty(world: World) -> None:
    """A store in which nothing was ever set up."""
    world.memory.commit([Check("cfg", world.memory.read(["cfg"])["cfg"].mod)], deletes=["cfg"])


class TestSetMax:
    def test_creates_the_group_and_sets_up_the_store(self, world: World, bob: Actor) -> None:
        empty(world)
        assert set_max(bob, "web", 3) == SetMax("web", None, 3, 0, created=True)
        assert (world.guard().slots, world.guard().effective) == (3, 3)
        assert set_max(bob, "web", 5) == SetMax("web", 3, 5, 0, created=False)
        assert known_groups(bob) == ("web",)

    def test_lowering_evicts_nobody(self, world: World, bob: Actor, n1: Actor) -> None:
        set_max(bob, "web", 2)
        for node in ("n1", "n2"):
            world.holding(n1, node)
        assert set_max(bob, "web", 1) == SetMax("web", 2, 1, 2, created=False)
        assert world.held("n1") is not None
        assert world.guard().free == -1

    @pytest.mark.parametrize("slots", [0, -1])
    def test_no_slots_is_a_pause(self, world: World, bob: Actor, slots: int) -> None:
        before = world.rows()
        with pytest.raises(UsageError, match="pause"):
            set_max(bob, "web", slots)
        assert world.rows() == before

    @pytest.mark.parametrize("faults", [[a, b] for a in UNCLEAR for b in UNCLEAR])
    def test_is_told_as_it_was_first_seen(self, world: World, bob: Actor, faults: list[Fault]) -> None:
        store = world.faults(bob)
        store.plan(*faults)
        assert set_max(bob, "web", 3) == SetMax("web", None, 3, 0, created=True)
        while store.delayed:
            store.deliver()
        assert world.guard().slots == 3

    def test_does_not_lose_a_holder_that_came_in_between(self, world: World, bob: Actor, n1: Actor) -> None:
        """Both found no guard; the one made by the claim counts its holder."""
        world.faults(bob).plan(First(lambda: world.holding(n1, "n1")))
        set_max(bob, "web", 3)
        assert (world.guard().count, world.guard().slots) == (1, 3)

    def test_a_lost_guard_is_made_with_a_recount(self, world: World, bob: Actor, n1: Actor) -> None:
        world.holding(n1, "n1")
        guard = keys.guard("group/web")
        world.memory.commit([Check(guard, world.memory.read([guard])[guard].mod)], deletes=[guard])
        assert set_max(bob, "web", 3) == SetMax("web", None, 3, 1, created=True)

    def test_keeps_what_a_newer_locksmith_added_and_does_not_touch_another_format(
        self, world: World, bob: Actor
    ) -> None:
        key = keys.guard("group/web")
        world.memory.commit((), [Put(key, Guard(extra={"burst": 2}).encode())])
        set_max(bob, "web", 3)
        assert world.guard().extra == {"burst": 2}
        world.memory.commit((), [Put(key, replace(world.guard(), v=2).encode())])
        with pytest.raises(NewerFormat, match=key):
            set_max(bob, "web", 4)

    def test_without_the_right_to_set_up(self, world: World, bob: Actor) -> None:
        empty(world)
        world.faults(bob).plan(Raise(Denied("read only")))
        with pytest.raises(Denied):
            set_max(bob, "web", 1)


class TestPause:
    def test_of_the_fleet_is_on_the_record(self, world: World, bob: Actor) -> None:
        until = world.clock.wall() + HOUR
        done = pause_fleet(bob, "INC-1", until)
        pause = Pause(by="bob@bastion2", reason="INC-1", since=world.clock.wall(), until=until)
        assert (done.scope, done.pause, done.before, done.armed) == ("fleet", pause, None, ())
        assert world.config().pause == pause
        assert resume_fleet(bob) == Resumed("fleet", pause)
        assert world.config().pause is None
        assert resume_fleet(bob) == Resumed("fleet", None)

    def test_keeps_the_identity_of_the_store(self, world: World, bob: Actor) -> None:
        before = world.config()
        pause_fleet(bob, "r", None)
        resume_fleet(bob)
        assert replace(world.config(), gen="") == replace(before, gen="")

    def test_of_a_group_keeps_its_failures(self, world: World, bob: Actor, n1: Actor) -> None:
        fail(n1, world.holding(n1, "n1"), "app")
        pause_group(bob, "web", "r", None)
        assert set(world.brake().failed) == {"n1"}
        resume_group(bob, "web")
        assert (world.brake().pause, set(world.brake().failed)) == (None, {"n1"})

    def test_names_the_pause_that_it_replaces(self, bob: Actor, world: World) -> None:
        first = pause_group(bob, "default", "one", None).pause
        assert pause_group(bob, "default", "two", None).before == first
        hold = pause_node(bob, "n1", "one", None).pause
        again = pause_node(bob, "n1", "two", world.clock.wall() + HOUR)
        assert again.before == hold
        assert again.pause.until is not None

    def test_names_the_armed_who_go_on(self, world: World, bob: Actor, n1: Actor) -> None:
        for group in ("web", "db"):
            set_max(bob, group, 2)
        slots = {node: world.holding(n1, node, group) for node, group in (("n1", "web"), ("n2", "web"), ("n3", "db"))}
        for node in ("n1", "n3"):
            assert isinstance(arm(n1, slots[node], epoch=1, attempt="a", request=None, expected=None), Armed)
        to_phase(n1, slots["n2"], Phase.DRAINING, None)
        assert [one.holder.host for one in pause_group(bob, "web", "r", None).armed] == ["host-n1"]
        assert [one.holder.host for one in pause_node(bob, "n3", "r", None).armed] == ["host-n3"]
        assert pause_node(bob, "n2", "r", None).armed == ()
        assert sorted(one.holder.host for one in pause_fleet(bob, "r", None).armed) == ["host-n1", "host-n3"]

    def test_of_a_node_without_an_until(self, world: World, bob: Actor) -> None:
        pause_node(bob, "n1", "disk", None)
        was = resume_node(bob, "n1").was
        assert was is not None
        assert (was.by, was.reason, was.until) == ("bob@bastion2", "disk", None)
        assert resume_node(bob, "n1") == Resumed("node", None)

    @pytest.mark.parametrize("faults", [[a, b] for a in UNCLEAR for b in UNCLEAR])
    @pytest.mark.parametrize("scope", ["fleet", "group", "node"])
    def test_whatever_happens_it_stands_once_and_goes_once(
        self, world: World, bob: Actor, faults: list[Fault], scope: str
    ) -> None:
        set_max(bob, "web", 1)
        store = world.faults(bob)
        pause, resume = {
            "fleet": (lambda: pause_fleet(bob, "r", None), lambda: resume_fleet(bob)),
            "group": (lambda: pause_group(bob, "web", "r", None), lambda: resume_group(bob, "web")),
            "node": (lambda: pause_node(bob, "n1", "r", None), lambda: resume_node(bob, "n1")),
        }[scope]
        store.plan(*faults)
        done = pause()
        assert done.before is None, "its own earlier try was taken for somebody else's"
        while store.delayed:
            assert not store.deliver()
        store.plan(*faults)
        was = resume().was
        assert was is not None
        assert was.reason == "r"
        while store.delayed:
            assert not store.deliver()
        assert resume().was is None

    def test_a_resume_does_not_take_away_a_pause_that_came_later(self, world: World, bob: Actor) -> None:
        alice = world.operator
        for pause, resume, stands in (
            (pause_fleet, resume_fleet, lambda: world.config().pause),
            (
                lambda actor, *words: pause_group(actor, "default", *words),
                lambda actor: resume_group(actor, "default"),
                lambda: world.brake("default").pause,
            ),
        ):
            pause(alice, "first", None)
            store = world.faults(bob)
            store.plan(Fault.LOSE)
            # The third read is the one that settles: by then somebody has paused again.
            store.plan_reads(None, None, First(lambda again=pause: again(alice, "second", None)))
            assert resume(bob).was.reason == "first"  # type: ignore[union-attr]
            assert stands().reason == "second"  # type: ignore[union-attr]

    @pytest.mark.parametrize("fault", [Fault.LOSE, Fault.DROP])
    def test_a_resumed_node_that_is_held_again_stays_held(self, world: World, bob: Actor, fault: Fault) -> None:
        pause_node(world.operator, "n1", "first", None)
        world.faults(bob).plan(fault)
        world.faults(bob).plan_reads(None, First(lambda: pause_node(world.operator, "n1", "second", None)))
        was = resume_node(bob, "n1").was
        assert was is not None
        assert was.reason == "first"
        assert world.memory.read([keys.hold("n1")])[keys.hold("n1")]


class TestGroups:
    @pytest.mark.parametrize(
        "verb",
        [
            lambda actor: pause_group(actor, "wbe", "r", None),
            lambda actor: resume_group(actor, "wbe"),
            lambda actor: acknowledge(actor, "wbe", "r"),
        ],
    )
    def test_an_unknown_one_is_refused_with_the_known_names(self, world: World, bob: Actor, verb: object) -> None:
        assert callable(verb)
        for group in ("web", "db"):
            set_max(bob, group, 1)
        before = world.rows()
        with pytest.raises(NoSuchGroup, match=r"did you mean 'web'.*known: db, web"):
            verb(bob)
        assert world.rows() == before

    def test_the_default_one_may_be_named_before_it_exists(self, world: World, bob: Actor) -> None:
        empty(world)
        pause_group(bob, "default", "r", None)
        assert world.brake("default").pause is not None
        resume_group(bob, "default")
        assert known_groups(bob) == ()

    @pytest.mark.parametrize(
        "verb",
        [
            lambda actor: pause_group(actor, "web", "r", None),
            lambda actor: pause_node(actor, "n1", "r", None),
            resume_fleet,
            lambda actor: request_reboot(actor, "n1", "r", ()),
        ],
    )
    def test_a_store_that_is_not_set_up_is_not_written(self, world: World, bob: Actor, verb: object) -> None:
        assert callable(verb)
        empty(world)
        with pytest.raises(NoSuchGroup, match="set-max"):
            verb(bob)
        assert world.rows() == {}

    def test_pausing_the_fleet_sets_up_the_store(self, world: World, bob: Actor) -> None:
        empty(world)
        pause_fleet(bob, "r", None)
        assert world.config().pause is not None


class TestAcknowledge:
    def test_lets_the_group_go_on_and_keeps_the_slots(self, world: World, bob: Actor, n1: Actor) -> None:
        set_max(bob, "web", 3)
        slots = [world.holding(n1, node) for node in ("n1", "n2")]
        for slot in slots:
            fail(n1, slot, "app")
            world.clock.advance(1)
        assert acknowledge(bob, "web", "known") == Acknowledged(("n1", "n2"))
        assert not world.brake().halted
        assert world.guard().count == 2
        entry = world.brake().failed["n1"]
        assert (entry.acked, entry.acked_by, entry.acked_reason) == (True, "bob@bastion2", "known")
        assert acknowledge(world.operator, "web", "again") == Acknowledged(())
        assert world.brake().failed["n1"] == entry
        release(n1, slots[0])
        assert set(world.brake().failed) == {"n2"}

    def test_is_for_todays_failures_only(self, world: World, bob: Actor, n1: Actor) -> None:
        set_max(bob, "web", 3)
        first, second = (world.holding(n1, node) for node in ("n1", "n2"))
        fail(n1, first, "app")
        acknowledge(bob, "web", "known")
        fail(n1, second, "app")
        assert world.brake().halted
        assert world.brake().unacked == ("n2",)

    @pytest.mark.parametrize("fault", UNCLEAR)
    def test_names_them_whatever_happens(self, world: World, bob: Actor, n1: Actor, fault: Fault) -> None:
        fail(n1, world.holding(n1, "n1"), "app")
        world.faults(bob).plan(fault)
        assert acknowledge(bob, "web", "known") == Acknowledged(("n1",))


class TestRequest:
    def stored(self, world: World) -> Request | None:
        return look(world.memory, [keys.request("n1")]).document(keys.request("n1"), Request)

    @pytest.mark.parametrize("fault", [Fault.NONE, *UNCLEAR])
    def test_stands_under_the_identity_that_is_told(self, world: World, bob: Actor, fault: Fault) -> None:
        world.faults(bob).plan(fault)
        request = request_reboot(bob, "n1", "kernel", ("window", "gate"))
        assert self.stored(world) == request
        assert (request.by, request.ignore) == ("bob@bastion2", ("window", "gate"))
        assert request.gen

    def test_replaces_one_that_waits(self, world: World, bob: Actor) -> None:
        first = request_reboot(bob, "n1", "a", ())
        second = request_reboot(bob, "n1", "b", ())
        assert first.gen != second.gen
        assert self.stored(world) == second

    def test_can_be_taken_back(self, world: World, bob: Actor) -> None:
        request = request_reboot(bob, "n1", "a", ())
        world.faults(bob).plan(Fault.LOSE)
        assert cancel_request(bob, "n1") == request
        assert cancel_request(bob, "n1") is None
        assert self.stored(world) is None
