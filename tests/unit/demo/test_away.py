"""The store that the story takes away."""

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest

from locksmith.demo.away import AwayStore, Outage
from locksmith.errors import Unavailable
from locksmith.stores import Check, Put, Store
from locksmith.stores.memory import MemoryStore

TTL = timedelta(seconds=30)
CALLS: dict[str, Callable[[Store], object]] = {
    "read": lambda store: store.read(["a"]),
    "commit": lambda store: store.commit([Check("b", 0)], [Put("b", b"1")]),
    "watch": lambda store: store.watch("a", 999, timedelta(seconds=1)),
    "probe": lambda store: store.probe("a"),
    "session": lambda store: store.session(TTL),
    "prepare": lambda store: store.prepare(),
    "facts": lambda store: store.facts(),
}


@pytest.mark.parametrize("name", CALLS)
def test_nothing_reaches_the_store_while_it_is_away_and_everything_afterwards(name: str):
    memory, outage = MemoryStore(), Outage()
    memory.commit([Check("a", 0)], [Put("a", b"1")])
    store = AwayStore(memory.client(), outage)
    outage.begin()
    with pytest.raises(Unavailable):
        CALLS[name](store)
    assert not memory.read(["b"])["b"]
    outage.end()
    CALLS[name](store)


def test_sessions_that_were_open_cannot_be_kept_alive_while_it_is_away():
    outage = Outage()
    session = AwayStore(MemoryStore(), outage).session(TTL)
    session.keepalive()
    outage.begin()
    with pytest.raises(Unavailable):
        session.keepalive()
    with pytest.raises(Unavailable):
        session.end()
    outage.end()
    session.end()
    assert session.ttl == TTL
    assert session.id


def test_a_long_poll_that_ends_while_the_store_is_away_finds_it_away():
    memory, outage = MemoryStore(), Outage()
    revision = memory.commit([Check("a", 0)], [Put("a", b"1")])
    assert revision is not None

    class Slow(MemoryStore):
        def watch(self, key: str, after: int, timeout: timedelta) -> bool:
            outage.begin()
            return True

    with pytest.raises(Unavailable):
        AwayStore(Slow(), outage).watch("a", revision, timedelta(seconds=1))


def test_going_for_good_waits_for_the_call_that_is_under_way():
    outage, inside, go_on, ended = Outage(), threading.Event(), threading.Event(), list[str]()

    def call() -> None:
        with outage.call():
            inside.set()
            go_on.wait(10)
            ended.append("call")

    def close() -> None:
        outage.for_good(10)
        ended.append("closed")

    caller, closer = threading.Thread(target=call), threading.Thread(target=close)
    caller.start()
    assert inside.wait(10)
    closer.start()
    while not outage.on:
        closer.join(0.01)
    go_on.set()
    caller.join(10)
    closer.join(10)
    assert ended == ["call", "closed"]
