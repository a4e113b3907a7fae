"""A store that keeps back in silence what may not be read (Consul does): absent is not believed, no slot is forgotten."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from locksmith.core import keys
from locksmith.core.documents import Phase
from locksmith.errors import Denied
from locksmith.semaphore.actor import Actor
from locksmith.semaphore.claiming import cancel
from locksmith.semaphore.holding import (
    Armed,
    CalledOff,
    Slot,
    arm,
    fail,
    put_back,
    release,
    to_phase,
    verify,
    watch_over,
)
from locksmith.semaphore.operating import cancel_request, request_reboot
from locksmith.stores import Check, Snapshot
from locksmith.stores.memory import MemoryStore
from tests.fakes.faulty import FaultyStore
from tests.fakes.world import World

TEN = timedelta(minutes=10)
ACTS: dict[str, Callable[[Actor, Slot], object]] = {
    "watch": watch_over,
    "arm": lambda actor, slot: arm(actor, slot, epoch=1, attempt="a1", request=None, expected=TEN),
    "disarm": lambda actor, slot: to_phase(actor, slot, Phase.DRAINING, TEN),
    "verify": lambda actor, slot: verify(actor, slot, "boot-2", TEN),
    "fail": lambda actor, slot: fail(actor, slot, "app"),
    "release": release,
}


class Silent(FaultyStore):
    """Reads leave out what begins with one of `hidden`; only a probe says why."""

    hidden: tuple[str, ...] = ()

    def read(self, keys: Sequence[str] = (), prefixes: Sequence[str] = ()) -> Snapshot:
        items = super().read(keys, prefixes).items
        return Snapshot({key: item for key, item in items.items() if not key.startswith(self.hidden or ("\0",))})

    def probe(self, key: str) -> None:
        if self.hidden and key.startswith(self.hidden):
            raise Denied(f"{key}: permission denied")


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def agent(world: World) -> Actor:
    return Actor(Silent(world.memory.client(), world.clock), world.clock, world.random, "agent", "host-n1")


def hide(actor: Actor, *prefixes: str) -> None:
    assert isinstance(actor.store, Silent)
    actor.store.hidden = prefixes


@pytest.mark.parametrize("hidden", [("",), ("own/",)], ids=["everything", "the holders"])
@pytest.mark.parametrize("act", ACTS)
def test_a_slot_that_may_not_be_seen_is_not_gone(world: World, agent: Actor, act: str, hidden: tuple[str, ...]) -> None:
    slot = world.holding(agent, "n1")
    hide(agent, *hidden)
    with pytest.raises(Denied):
        ACTS[act](agent, slot)
    hide(agent)
    release(agent, slot)
    assert world.held("n1") is None
    assert world.guard().count == 0


@pytest.mark.parametrize("act", ACTS)
def test_a_slot_that_was_taken_is_gone(world: World, agent: Actor, act: str) -> None:
    slot = world.holding(agent, "n1")
    release(world.operator, slot)
    assert "Denied" not in str(ACTS[act](agent, slot))


def test_a_ticket_that_may_not_be_seen_is_not_cancelled(world: World, agent: Actor) -> None:
    attempt = world.attempt(agent, "n1")
    world.queued(agent, attempt)
    hide(agent, "")
    with pytest.raises(Denied):
        cancel(agent, attempt)
    hide(agent)
    assert cancel(agent, attempt) is None
    assert not list(world.memory.read([], [keys.QUEUES]).under(keys.QUEUES))


def test_nothing_is_put_back_into_a_store_that_is_not_set_up(world: World, agent: Actor) -> None:
    world.holding(agent, "n1")
    empty = Actor(MemoryStore(world.clock), world.clock, world.random, "agent", "host-n1")
    with pytest.raises(Denied):
        put_back(empty, "n1", world.holder("n1"))


def test_a_guard_that_a_restore_lost_is_made_with_a_recount(world: World, agent: Actor) -> None:
    world.holding(agent, "n1")
    guard = keys.guard(keys.group_limit("web"))
    world.judge.off = True
    world.memory.commit([Check(guard, world.memory.read([guard])[guard].mod)], deletes=[guard])
    put_back(agent, "n2", replace(world.holder("n1"), nonce="other"))
    assert world.guard().count == 2


def test_a_request_that_was_taken_back_before_the_arm_reboots_nobody(world: World, agent: Actor) -> None:
    slot = world.holding(agent, "n1")
    request = request_reboot(world.operator, "n1", "please", ())
    cancel_request(world.operator, "n1")
    off = arm(agent, slot, epoch=1, attempt="a1", request=request.gen, expected=TEN, sole=True)
    assert isinstance(off, CalledOff)
    assert off.kind == "withdrawn"
    assert isinstance(arm(agent, slot, epoch=1, attempt="a1", request=request.gen, expected=TEN), Armed), (
        "an update, too"
    )


def test_the_second_arm_of_a_request_is_not_called_off_by_the_first(world: World, agent: Actor) -> None:
    slot = world.holding(agent, "n1")
    request = request_reboot(world.operator, "n1", "please", ())
    for attempt in ("a1", "a2"):
        armed = arm(agent, slot, epoch=1, attempt=attempt, request=request.gen, expected=TEN, sole=True)
        assert isinstance(armed, Armed)
