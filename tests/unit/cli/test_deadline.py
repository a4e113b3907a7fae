"""One time limit for a whole command, in front of stores that hang, fail or answer late."""

import threading
from collections.abc import Callable, Sequence
from datetime import timedelta

import pytest

from locksmith.cli.deadline import Deadline, OutOfTime, TimedStore
from locksmith.errors import Conflict, StoreError, Unavailable, Unknown
from locksmith.stores import Check, Put, Snapshot
from locksmith.stores.memory import MemoryStore

CALL = timedelta(seconds=5)
PUT = Put("a", b"1")


class Hanging(MemoryStore):
    """A store whose calls hang until the test lets go of them; `fault` is what a commit ends with instead."""

    def __init__(self, fault: StoreError | None = None) -> None:
        super().__init__()
        self.let_go = threading.Event()
        self.fault = fault

    def read(self, keys: Sequence[str] = (), prefixes: Sequence[str] = ()) -> Snapshot:
        self.let_go.wait(60)
        return super().read(keys, prefixes)

    def commit(self, checks: Sequence[Check], puts: Sequence[Put] = (), deletes: Sequence[str] = ()) -> int | None:
        if self.fault is not None:
            raise self.fault
        self.let_go.wait(60)
        return super().commit(checks, puts, deletes)


def timed(store: MemoryStore, limit: timedelta | None) -> TimedStore:
    return TimedStore(store, Deadline.after(limit), CALL, "memory:")


def test_without_a_limit_everything_passes() -> None:
    store = timed(MemoryStore(), None)
    assert store.commit([Check("a", 0)], [PUT]) is not None
    assert store.read(["a"])["a"].value == b"1"
    assert store.kind == "memory"
    assert store.facts().identity
    store.session(timedelta(seconds=10)).end()


def test_a_hanging_read_ends_with_the_time_and_is_unavailable() -> None:
    inner = Hanging()
    store = timed(inner, timedelta(milliseconds=20))
    with pytest.raises(OutOfTime):
        store.read(["a"])
    verdict = store.verdict()
    assert isinstance(verdict, Unavailable)
    assert "memory:" in str(verdict)
    assert "20ms (--timeout)" in str(verdict)
    inner.let_go.set()


def test_a_hanging_commit_is_unknown() -> None:
    inner = Hanging()
    store = timed(inner, timedelta(milliseconds=20))
    with pytest.raises(OutOfTime):
        store.commit([Check("a", 0)], [PUT])
    assert isinstance(store.verdict(), Unknown)
    inner.let_go.set()


@pytest.mark.parametrize(
    "call", [lambda s: s.read(["a"]), lambda s: s.commit([Check("a", 0)], [PUT]), lambda s: s.facts()]
)
def test_nothing_is_sent_once_the_time_is_over(call: Callable[[TimedStore], object]) -> None:
    inner = MemoryStore()
    store = timed(inner, timedelta(0))
    with pytest.raises(OutOfTime):
        call(store)
    assert isinstance(store.verdict(), Unavailable)
    assert inner.read(["a"])["a"].mod == 0


@pytest.mark.parametrize(
    ("first", "second", "verdict"),
    [
        (Unknown("?"), None, Unknown),
        (Unknown("?"), Conflict("!"), Unknown),
        (Conflict("!"), None, Unavailable),
        (Unavailable("!"), None, Unavailable),
    ],
)
def test_a_commit_of_unknown_fate_stays_so_until_one_applies(
    first: StoreError, second: StoreError | None, verdict: type[StoreError]
) -> None:
    inner = Hanging(first)
    inner.let_go.set()
    store = timed(inner, None)
    for fault in (first, second):
        inner.fault = fault
        if fault is not None:
            with pytest.raises(type(fault)):
                store.commit([Check("a", 0)], [PUT])
    assert isinstance(store.verdict(), verdict)
    inner.fault = None
    store.commit([Check("a", 0)], [PUT])
    assert isinstance(store.verdict(), Unavailable)


def test_errors_of_the_store_come_through_the_thread() -> None:
    store = timed(Hanging(Unavailable("gone")), timedelta(seconds=4))  # less than one call: the thread's way
    with pytest.raises(Unavailable, match="gone"):
        store.commit([Check("a", 0)], [PUT])


def test_grace_gives_time_to_clean_up() -> None:
    deadline = Deadline.after(timedelta(0))
    assert deadline.left() == timedelta(0)
    later = deadline.later(timedelta(seconds=30)).left()
    assert later is not None
    assert later > timedelta(seconds=10)
    assert Deadline.after(None).later(timedelta(seconds=1)).left() is None
