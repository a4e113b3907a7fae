"""The threads that wait for the store on the agent's behalf."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from queue import Empty, SimpleQueue
from random import Random

import pytest

from locksmith.agent.watching import HolderWatch, Keepalive, KeyWatches, Threads
from locksmith.core import keys
from locksmith.core.admission import Patience
from locksmith.core.documents import Holder, Phase, Revoke
from locksmith.core.events import Event, HolderSeen, StoreFailed, Woken
from locksmith.errors import SessionLost, Unavailable
from locksmith.host.clock import SystemClock
from locksmith.semaphore import by_hand, operating, recovery
from locksmith.semaphore.actor import Actor
from locksmith.semaphore.claiming import Attempt, Claimed, Enqueued, claim, enqueue
from locksmith.semaphore.holding import Slot, release, slot_of
from locksmith.stores import Check, Put
from locksmith.stores.memory import MemoryStore

WAIT = 30
"""Seconds after which an event that should have come is a failure."""


class Site:
    """A memory store with real time, an operator, and an inbox."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.inbox: SimpleQueue[Event] = SimpleQueue()
        self.operator = self.actor("alice@bastion1")
        recovery.setup(self.operator)
        self.clients: list[MemoryStore] = []
        self.watches: list[HolderWatch] = []
        self.others = set(threading.enumerate())

    def actor(self, by: str) -> Actor:
        return Actor(self.store, SystemClock(), Random(1), by, "host")

    def client(self) -> MemoryStore:
        made = self.store.client()
        self.clients.append(made)
        return made

    def put(self, key: str, value: bytes = b"x") -> int:
        revision = self.store.commit([Check(key, self.store.read([key])[key].mod)], [Put(key, value)])
        assert revision is not None
        return revision

    def next(self) -> Event:
        return self.inbox.get(timeout=WAIT)

    def nothing(self) -> None:
        with pytest.raises(Empty):
            self.inbox.get_nowait()

    def change(self, slot: Slot, how: Callable[[Holder], Holder]) -> None:
        """Rewrite the holder."""
        self.put(slot.key, how(Holder.decode(slot.key, self.store.read([slot.key])[slot.key].value)).encode())

    def ended(self, name: str) -> None:
        """Wait for the threads of this name to end."""
        for thread in set(threading.enumerate()) - self.others:
            if thread.name == name:
                thread.join(WAIT)
                assert not thread.is_alive()

    def slot(self) -> tuple[Slot, int]:
        """A slot of node n1, with its revision."""
        actor = self.actor("agent")
        now = actor.clock.wall()
        attempt = Attempt(
            node="n1", host="h", group="web", limits=("group/web",), nonce=actor.nonce(), since=now, reason="x", boot="b"
        )  # fmt: skip
        session = self.store.session(timedelta(minutes=1))
        assert enqueue(actor, attempt, session.id, timedelta(0)) == Enqueued()
        claimed = claim(actor, attempt, Patience())
        assert isinstance(claimed, Claimed), claimed
        return slot_of(claimed.held), claimed.held.mod


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    yield made
    for started in made.watches:
        started.stop()
    for client in made.clients:
        client.close()
    made.store.close()


# ------------------------------------------------------------------------------------------------ keys


def test_a_key_that_changes_wakes_once(site):
    mod = site.put("lim/group/web")
    watches = KeyWatches(site.client(), site.inbox.put, Random(1))
    watches.want([("lim/group/web", mod)])
    site.put("lim/group/web", b"y")
    assert site.next() == Woken()
    site.ended("watch lim/group/web")
    site.put("lim/group/web", b"z")
    site.nothing()


def test_a_key_that_has_changed_already_wakes_at_once(site):
    mod = site.put("k")
    site.put("k", b"y")
    KeyWatches(site.client(), site.inbox.put, Random(1)).want([("k", mod)])
    assert site.next() == Woken()


def test_wanting_the_same_again_starts_no_second_thread(site):
    mod = site.put("k")
    watches = KeyWatches(site.client(), site.inbox.put, Random(1))
    watches.want([("k", mod)])
    watches.want([("k", mod)])
    assert [thread.name for thread in set(threading.enumerate()) - site.others].count("watch k") == 1
    site.put("k", b"y")
    assert site.next() == Woken()
    site.ended("watch k")
    site.nothing()


def test_what_is_not_wanted_any_more_is_silent(site):
    first, second = site.put("k1"), site.put("k2")
    watches = KeyWatches(site.client(), site.inbox.put, Random(1))
    watches.want([("k1", first), ("k2", second)])
    watches.want([("k2", second)])
    site.put("k1", b"y")
    site.ended("watch k1")
    site.nothing()
    site.put("k2", b"y")
    assert site.next() == Woken()


class Unsteady(MemoryStore):
    """Watches fail until `mended`."""

    broken = True
    tried = 0

    def watch(self, key: str, after: int, timeout: timedelta) -> bool:
        if self.broken:
            self.tried += 1
            raise Unavailable("no answer")
        return super().watch(key, after, timeout)


class Hasty(Random):
    """Waits no longer than it must."""

    def uniform(self, a: float, b: float) -> float:
        return 0.001


def test_a_store_that_is_away_ends_no_watch(site):
    mod = site.put("k")
    client = Unsteady(state=site.store._state)
    site.clients.append(client)
    KeyWatches(client, site.inbox.put, Hasty(1)).want([("k", mod)])
    site.put("k", b"y")
    until(lambda: client.tried >= 3)
    site.nothing()
    client.broken = False
    assert site.next() == Woken()


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that another thread does."""
    step = threading.Event()
    for _ in range(WAIT * 100):
        if condition():
            return
        step.wait(0.01)
    raise AssertionError("it never came to be")


# ------------------------------------------------------------------------------------------------ the own holder


def watch(site: Site, client: MemoryStore | None = None) -> tuple[HolderWatch, Slot]:
    slot, mod = site.slot()
    actor = Actor(client or site.client(), SystemClock(), Hasty(1), "agent", "h")
    site.watches.append(started := HolderWatch(actor, slot, mod, site.inbox.put))
    return started, slot


def test_a_slot_that_is_wanted_back_is_seen_and_the_watch_ends(site):
    _, slot = watch(site)
    site.change(
        slot, lambda holder: replace(holder, revoke=Revoke(by="bob", reason="give it back", since=holder.since))
    )
    seen = site.next()
    assert isinstance(seen, HolderSeen)
    assert (seen.kind, seen.gone) == ("revoked", False)
    assert "give it back" in seen.reason
    site.ended("holder watch")


def test_a_slot_that_is_gone_is_seen_and_the_watch_ends(site):
    _, slot = watch(site)
    release(site.operator, slot)
    assert site.next() == HolderSeen(gone=True)
    site.ended("holder watch")


def test_what_changes_otherwise_is_only_seen(site):
    started, slot = watch(site)
    site.change(slot, lambda holder: replace(holder, phase=Phase.DRAINING))
    assert site.next() == HolderSeen()
    by_hand.force_unlock(site.operator, "n1", "x", armed_too=True)
    assert site.next() == HolderSeen(gone=True)
    started.stop()


def test_a_pause_is_seen_when_the_holder_is_looked_at(site):
    _, slot = watch(site)
    operating.pause_group(site.operator, "web", "storm", None)
    site.change(slot, lambda holder: replace(holder, gen="touched"))
    seen = site.next()
    assert isinstance(seen, HolderSeen)
    assert seen.kind == "paused"


def test_a_stopped_watch_is_silent(site):
    started, slot = watch(site)
    started.stop()
    release(site.operator, slot)
    site.ended("holder watch")
    site.nothing()


def test_a_store_that_is_away_is_told_again_and_again(site):
    client = Unsteady(state=site.store._state)
    site.clients.append(client)
    _, slot = watch(site, client)
    for _ in range(3):
        assert site.next() == StoreFailed("watch", "unavailable", "no answer")
    client.broken = False
    release(site.operator, slot)
    seen = site.next()
    while isinstance(seen, StoreFailed):
        seen = site.next()
    assert seen == HolderSeen(gone=True)


# ------------------------------------------------------------------------------------------------ sessions


class FakeSession:
    """A session that says what it is told to."""

    id = "session-1"
    ttl = timedelta(seconds=0.03)

    def __init__(self) -> None:
        self.kept = 0
        self.ended = 0
        self.trouble: Exception | None = None

    def keepalive(self) -> None:
        self.kept += 1
        if self.trouble is not None:
            raise self.trouble

    def end(self) -> None:
        self.ended += 1
        if self.trouble is not None:
            raise self.trouble


def test_a_session_is_kept_until_it_is_ended(site):
    session = FakeSession()
    keeper = Keepalive(session, site.inbox.put)
    until(lambda: session.kept >= 3)
    keeper.end()
    site.ended("session")
    kept = session.kept
    assert session.ended == 1
    site.nothing()
    assert session.kept == kept


def test_a_session_that_was_lost_is_a_reason_to_look(site):
    session = FakeSession()
    session.trouble = SessionLost("it has ended")
    Keepalive(session, site.inbox.put)
    assert site.next() == Woken()
    site.ended("session")


def test_a_store_that_is_away_ends_no_session(site):
    session = FakeSession()
    session.trouble = Unavailable("no answer")
    keeper = Keepalive(session, site.inbox.put)
    until(lambda: session.kept >= 3)
    keeper.end()  # harmless
    site.ended("session")
    site.nothing()


def test_each_watch_is_a_thread(site):
    threads = Threads()
    slot, mod = site.slot()
    actor = Actor(site.client(), SystemClock(), Random(1), "agent", "h")
    session = site.store.session(timedelta(minutes=1))
    assert isinstance(threads.keys(site.store, site.inbox.put, Random(1)), KeyWatches)
    holder, keeper = threads.holder(actor, slot, mod, site.inbox.put), threads.session(session, site.inbox.put)
    names = {thread.name for thread in threading.enumerate()}
    assert {"holder watch", "session"} <= names
    holder.stop()
    keeper.end()
    assert keys.own("n1") == slot.key
