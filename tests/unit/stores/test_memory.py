"""What the memory store promises beyond the contract: an injected clock, shared state, repeatable runs, strictness."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from locksmith.errors import Rejected, SessionLost, Unavailable
from locksmith.stores import ABSENT, Check, Put, Store
from locksmith.stores.memory import MemoryStore

TTL = timedelta(seconds=10)


@dataclass
class HandClock:
    """Moves when told."""

    now: float = 1000.0

    def wall(self) -> datetime:
        return datetime.fromtimestamp(self.now, UTC)

    def boottime(self) -> float:
        return self.now

    def synchronised(self) -> bool:
        return True

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def store(clock: HandClock) -> MemoryStore:
    return MemoryStore(clock)


def queue(store: Store, session: str) -> int | None:
    return store.commit([Check("q/n", 0)], [Put("q/n", b"ticket", session)])


def test_a_session_ends_by_the_injected_clock(store: MemoryStore, clock: HandClock) -> None:
    session = store.session(TTL)
    mod = queue(store, session.id)
    clock.now += 9.9
    assert store.read(["q/n"])["q/n"].mod == mod
    clock.now += 0.1
    assert store.read(["q/n"])["q/n"] == ABSENT
    with pytest.raises(SessionLost):
        session.keepalive()
    with pytest.raises(SessionLost):
        queue(store, session.id)
    session.end()


def test_keepalive_counts_from_now(store: MemoryStore, clock: HandClock) -> None:
    session = store.session(TTL)
    mod = queue(store, session.id)
    for _ in range(5):
        clock.now += 9
        session.keepalive()
    clock.now += 9.9
    assert store.read(["q/n"])["q/n"].mod == mod


def test_an_expired_key_is_absent_for_checks(store: MemoryStore, clock: HandClock) -> None:
    first = store.session(TTL)
    old = queue(store, first.id)
    clock.now += 11
    new = queue(store, store.session(TTL).id)
    assert old is not None
    assert new is not None
    assert new > old
    assert store.read(["q/n"])["q/n"].create == new


def test_expiry_ends_a_watch_without_waiting(store: MemoryStore, clock: HandClock) -> None:
    mod = queue(store, store.session(TTL).id)
    assert mod is not None
    assert not store.watch("q/n", mod, timedelta(0))
    clock.now += 11
    assert store.watch("q/n", mod, timedelta(0))


def test_clients_share_the_state_and_the_clock(store: MemoryStore, clock: HandClock) -> None:
    other = store.client()
    session = other.session(TTL)
    queue(other, session.id)
    assert store.read(["q/n"])["q/n"].session == session.id
    clock.now += 10
    assert other.read(["q/n"])["q/n"] == ABSENT


def test_prefixes_keep_clients_apart(store: MemoryStore) -> None:
    fleet = store.client("fleet")
    fleet.commit([], [Put("a", b"1")])
    assert [key for key, _ in store.read(prefixes=[""]).under("")] == ["fleet/a"]
    assert [key for key, _ in fleet.client().read(prefixes=[""]).under("")] == ["a"]
    assert not list(store.client("fle").read(prefixes=[""]).under(""))


def test_two_stores_do_not_share(store: MemoryStore) -> None:
    store.commit([], [Put("a", b"1")])
    assert not MemoryStore().read(["a"])["a"]


def test_two_runs_are_the_same() -> None:
    def run() -> list[object]:
        store = MemoryStore(HandClock())
        session = store.session(TTL)
        return [session.id, queue(store, session.id), store.commit([], [Put("a", b"1")]), store.session(TTL).id]

    assert run() == run()


def test_a_put_over_an_ephemeral_key_is_our_bug(store: MemoryStore) -> None:
    mod = queue(store, store.session(TTL).id)
    assert mod is not None
    with pytest.raises(Rejected, match="q/n") as caught:
        store.commit([Check("q/n", mod)], [Put("q/n", b"again")])
    assert caught.type is Rejected
    assert store.read(["q/n"])["q/n"].mod == mod


def test_a_session_too_short_is_our_bug(store: MemoryStore) -> None:
    with pytest.raises(Rejected, match="at least 10 s"):
        store.session(timedelta(seconds=9))


def test_a_closed_client_refuses_and_the_others_go_on(store: MemoryStore) -> None:
    other = store.client()
    store.close()
    for call in (
        lambda: store.read(["a"]),
        lambda: store.commit([], [Put("a", b"1")]),
        lambda: store.watch("a", 1, timedelta(0)),
        lambda: store.session(TTL),
        lambda: store.probe("a"),
    ):
        with pytest.raises(Unavailable, match="closed"):
            call()
    assert other.commit([], [Put("a", b"1")])


def test_what_it_says_of_itself(store: MemoryStore) -> None:
    assert store.kind == "memory"
    assert (store.facts().identity, store.facts().members) == ("memory", 1)
