"""What is observed of a store's requests; that the wrapper keeps the contract is for the conformance suite."""

from datetime import timedelta

import pytest

from locksmith.errors import (
    Conflict,
    Corrupt,
    NewerFormat,
    Rejected,
    SessionLost,
    StoreFull,
    TlsFailed,
    Unavailable,
    Unknown,
)
from locksmith.stores import Check, Put
from locksmith.stores.measured import Measured, Request, word
from locksmith.stores.memory import MemoryStore

TTL = timedelta(seconds=10)


@pytest.fixture
def seen() -> list[Request]:
    return []


@pytest.fixture
def store(seen: list[Request]) -> Measured:
    return Measured(MemoryStore(), seen.append)


def only(seen: list[Request]) -> Request:
    (request,) = seen
    seen.clear()
    return request


def test_each_verb_is_one_request(store: Measured, seen: list[Request]) -> None:
    mod = store.commit([Check("a", 0)], [Put("a", b"1")])
    assert mod is not None
    store.read(["a"])
    store.probe("a")
    store.watch("a", mod, timedelta(0))
    session = store.session(TTL)
    session.keepalive()
    session.end()
    assert [request.op for request in seen] == ["commit", "read", "read", "watch", "session", "session", "session"]
    assert all(request.error is None and request.seconds >= 0 for request in seen)


def test_answers_are_passed_on(store: Measured) -> None:
    mod = store.commit([Check("a", 0)], [Put("a", b"1")])
    assert mod is not None
    assert store.read(["a"])["a"].mod == mod
    assert store.read(prefixes=[""])["a"].value == b"1"
    assert store.watch("a", mod - 1, timedelta(0))
    assert not store.watch("a", mod, timedelta(0))
    assert store.commit([Check("a", mod)], deletes=["a"]) is None
    session = store.session(TTL)
    assert (session.id, session.ttl) == ("session-1", TTL)
    assert (store.kind, store.facts().identity) == ("memory", "memory")


def test_bytes_are_those_of_keys_and_values(store: Measured, seen: list[Request]) -> None:
    store.commit([Check("long", 0)], [Put("ab", b"12345"), Put("cd", b"")])
    assert only(seen).bytes_read == 0
    store.read(["ab", "gone"])
    assert only(seen).bytes_read == 7
    store.read(prefixes=[""])
    assert only(seen).bytes_read == 9


def test_bytes_written_are_those_of_puts_and_deletes(store: Measured, seen: list[Request]) -> None:
    mod = store.commit([], [Put("ab", b"12345"), Put("c", b"1")])
    assert mod is not None
    assert only(seen).bytes_written == 9
    store.commit([Check("ab", mod)], [], ["ab"])
    assert only(seen).bytes_written == 2


def test_failures_are_observed_and_go_on(store: Measured, seen: list[Request]) -> None:
    with pytest.raises(Conflict):
        store.commit([Check("a", 5)], [Put("a", b"1")])
    assert only(seen).error == "conflict"
    with pytest.raises(Rejected):
        store.read()
    assert only(seen).error == "rejected"
    session = store.session(TTL)
    session.end()
    seen.clear()
    with pytest.raises(SessionLost):
        session.keepalive()
    request = only(seen)
    assert (request.op, request.error) == ("session", "session_lost")
    store.close()
    with pytest.raises(Unavailable):
        store.watch("a", 1, TTL)
    request = only(seen)
    assert (request.op, request.error) == ("watch", "unavailable")


def test_what_is_done_once_is_not_observed(store: Measured, seen: list[Request]) -> None:
    store.prepare()
    store.facts()
    store.close()
    assert seen == []


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (Unknown("x"), "unknown"),
        (StoreFull("x"), "store_full"),
        (TlsFailed("x"), "tls"),
        (Corrupt("x"), "corrupt"),
        (NewerFormat("x"), "newer_format"),
        (SessionLost("x"), "session_lost"),
        (KeyError("x"), "key_error"),
        (KeyboardInterrupt(), "keyboard_interrupt"),
    ],
)
def test_one_word_for_each_error(error: BaseException, expected: str) -> None:
    assert word(error) == expected
