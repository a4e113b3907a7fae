"""The contract of sessions and ephemeral keys, on every store."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from locksmith.errors import Conflict, Rejected, SessionLost
from locksmith.stores import ABSENT, MIN_SESSION_TTL, Check, Put, Session, Store

LONG = timedelta(seconds=20)


@pytest.fixture(autouse=True)
def prepared(operator: Store) -> None:
    """What a store needs besides keys is made once, with an operator's rights."""
    operator.prepare()
    operator.prepare()


def ephemeral(store: Store, session: Session, key: str = "q/n", value: bytes = b"ticket") -> int:
    revision = store.commit([Check(key, 0)], [Put(key, value, session.id)])
    assert revision is not None
    return revision


def gone(store: Store, key: str, mod: int) -> None:
    """Watch the key until it is gone; how long that may take is for the test's own time limit."""
    while store.read([key])[key].mod == mod:
        store.watch(key, mod, timedelta(seconds=5))
    assert store.read([key])[key] == ABSENT


def test_an_ephemeral_key_names_its_session(store: Store, other: Store, ttl: timedelta) -> None:
    session = store.session(ttl)
    revision = ephemeral(store, session)
    item = other.read(prefixes=["q/"])["q/n"]
    assert (item.value, item.mod, item.create, item.session) == (b"ticket", revision, revision, session.id)
    session.end()


def test_sessions_are_different(store: Store, other: Store, ttl: timedelta) -> None:
    sessions = [store.session(ttl), store.session(ttl), other.session(ttl)]
    assert len({session.id for session in sessions}) == 3
    for session in sessions:
        session.end()


def test_a_session_lasts_at_least_as_long_as_asked(store: Store) -> None:
    for seconds in (10, 25, 60):
        session = store.session(timedelta(seconds=seconds))
        assert session.ttl >= timedelta(seconds=seconds)
        session.end()


def test_a_session_too_short_for_consul(store: Store) -> None:
    try:
        session = store.session(MIN_SESSION_TTL / 2)
    except Rejected:
        return
    assert session.ttl >= MIN_SESSION_TTL
    session.end()


def test_the_end_of_a_session_takes_its_keys(store: Store, other: Store, ttl: timedelta) -> None:
    session, neighbour = store.session(ttl), other.session(ttl)
    ephemeral(store, session, "q/1")
    ephemeral(store, session, "q/2")
    ephemeral(other, neighbour, "q/3")
    store.commit([], [Put("q/4", b"stays")])
    session.end()
    assert [key for key, _ in other.read(prefixes=["q/"]).under("q/")] == ["q/3", "q/4"]
    neighbour.end()
    assert [key for key, _ in store.read(prefixes=["q/"]).under("q/")] == ["q/4"]


def test_the_key_can_be_made_anew_at_once(store: Store, ttl: timedelta) -> None:
    first = store.session(ttl)
    old = ephemeral(store, first)
    first.end()
    second = store.session(ttl)
    new = ephemeral(store, second)
    assert new > old
    item = store.read(["q/n"])["q/n"]
    assert (item.mod, item.create, item.session) == (new, new, second.id)
    second.end()


def test_ending_twice_is_fine(store: Store, ttl: timedelta) -> None:
    session = store.session(ttl)
    ephemeral(store, session)
    session.end()
    session.end()
    assert store.read(["q/n"])["q/n"] == ABSENT


def test_a_put_with_an_ended_session(store: Store, ttl: timedelta) -> None:
    session = store.session(ttl)
    session.end()
    with pytest.raises(SessionLost):
        store.commit([Check("q/n", 0)], [Put("q/n", b"ticket", session.id), Put("other", b"1")])
    assert list(store.read(prefixes=[""]).under("")) == []


def test_keepalive_of_an_ended_session(store: Store, ttl: timedelta) -> None:
    session = store.session(ttl)
    session.keepalive()
    session.end()
    with pytest.raises(SessionLost):
        session.keepalive()


def test_an_ephemeral_key_that_exists_is_a_conflict(store: Store, other: Store, ttl: timedelta) -> None:
    session, second = store.session(ttl), other.session(ttl)
    mod = ephemeral(store, session)
    with pytest.raises(Conflict):
        ephemeral(other, second)
    with pytest.raises(Conflict):
        ephemeral(store, session)
    assert store.read(["q/n"])["q/n"].mod == mod
    session.end()
    second.end()


def test_an_ephemeral_key_can_be_deleted_by_anybody(store: Store, other: Store, ttl: timedelta) -> None:
    session = store.session(ttl)
    mod = ephemeral(store, session)
    with pytest.raises(Conflict):
        other.commit([Check("q/n", mod + 1_000_000)], deletes=["q/n"])
    assert other.commit([Check("q/n", mod)], deletes=["q/n"]) is None
    assert store.read(["q/n"])["q/n"] == ABSENT
    session.keepalive()
    again = ephemeral(store, session)
    assert again > mod
    session.end()
    assert other.read(["q/n"])["q/n"] == ABSENT


def test_a_claim_takes_the_ticket_away(store: Store, ttl: timedelta) -> None:
    session = store.session(ttl)
    mod = ephemeral(store, session)
    revision = store.commit([Check("q/n", mod), Check("own/n", 0)], [Put("own/n", b"me")], ["q/n"])
    session.end()
    item = store.read(["own/n"])["own/n"]
    assert (item.mod, item.session) == (revision, None)


def test_persistent_and_ephemeral_keys_in_one_commit(store: Store, ttl: timedelta) -> None:
    session = store.session(ttl)
    revision = store.commit([Check("q/n", 0)], [Put("q/n", b"t", session.id), Put("node/n", b"r")])
    snapshot = store.read(["q/n", "node/n"])
    assert [item.mod for _, item in snapshot.under("")] == [revision] * 2
    assert (snapshot["q/n"].session, snapshot["node/n"].session) == (session.id, None)
    session.end()
    assert [key for key, _ in store.read(prefixes=[""]).under("")] == ["node/n"]


def test_a_key_once_ephemeral_can_be_made_persistent_after_its_end(store: Store, ttl: timedelta) -> None:
    session = store.session(ttl)
    ephemeral(store, session)
    session.end()
    revision = store.commit([Check("q/n", 0)], [Put("q/n", b"p")])
    item = store.read(["q/n"])["q/n"]
    assert (item.mod, item.session) == (revision, None)


@pytest.mark.parametrize("how", ["end", "delete"])
def test_a_watch_wakes_when_the_key_goes(store: Store, other: Store, ttl: timedelta, how: str) -> None:
    session = store.session(ttl)
    mod = ephemeral(store, session)

    def wait() -> bool:
        while other.read(["q/n"])["q/n"]:
            assert other.watch("q/n", mod, LONG), "its end was missed"
        return True

    with ThreadPoolExecutor() as pool:
        waiter = pool.submit(wait)
        time.sleep(0.2)
        if how == "end":
            session.end()
        else:
            store.commit([Check("q/n", mod)], deletes=["q/n"])
        assert waiter.result()
    session.end()


def test_closing_the_client_ends_no_session(connect: Callable[..., Store], other: Store, ttl: timedelta) -> None:
    """A crashed agent's ticket lives on until its time is over; a clean one is ended by its owner."""
    store = connect()
    mod = ephemeral(store, store.session(ttl))
    store.close()
    assert other.read(["q/n"])["q/n"].mod == mod


@pytest.mark.slow
@pytest.mark.waits
def test_without_keepalive_it_expires(store: Store, other: Store, ttl: timedelta) -> None:
    """Within 2 x ttl and some, on Consul; the suite's time limit stands behind it."""
    session = store.session(ttl)
    mod = ephemeral(store, session)
    gone(other, "q/n", mod)
    with pytest.raises(SessionLost):
        session.keepalive()
    with pytest.raises(SessionLost):
        ephemeral(store, session)
    session.end()
    assert other.read(["q/n"])["q/n"] == ABSENT


@pytest.mark.slow
@pytest.mark.waits
def test_kept_alive_it_stays(store: Store, other: Store, ttl: timedelta) -> None:
    """For longer than any store waits without a keepalive."""
    kept, left = store.session(ttl), store.session(ttl)
    mod = ephemeral(store, kept, "q/kept")
    doomed = ephemeral(store, left, "q/left")
    until = time.monotonic() + 2.5 * ttl.total_seconds()
    while time.monotonic() < until or other.read(["q/left"])["q/left"].mod == doomed:
        kept.keepalive()
        assert other.read(["q/kept"])["q/kept"].mod == mod
        time.sleep(1)
    kept.end()
