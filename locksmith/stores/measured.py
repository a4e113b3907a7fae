"""Measure the requests that go through a store: for metrics, for the demo's count of requests and for benchmarks.

The idea a reader would miss: nothing is counted here. Each finished request is handed to `observe` as a value, in the
thread that made it, failed ones too; who listens decides what to add up. It must be quick and must not raise.
"""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

from locksmith.errors import LocksmithError
from locksmith.stores import Check, Facts, Put, Session, Snapshot, Store

Operation = Literal["read", "commit", "session", "watch"]
"""`session` is opening, keeping alive and ending one; `read` is also a probe."""


@dataclass(frozen=True, slots=True)
class Request:
    """One finished request.

    `error` is None, the kind of the error (errors.py), or for errors that are nobody's kind their name in snake case
    (`conflict`, `session_lost`, `rejected`). The bytes are those of keys and values, not of the wire.
    """

    op: Operation
    seconds: float
    error: str | None
    bytes_read: int
    bytes_written: int


@dataclass(slots=True)
class _Bytes:
    read: int = 0
    written: int = 0


@dataclass(frozen=True, slots=True)
class Measured:
    """Any store, with each request of the four verbs observed. What is done once (`prepare`, `facts`) is not."""

    store: Store
    observe: Callable[[Request], None] = field(repr=False)

    @property
    def kind(self) -> str:
        """See Store."""
        return self.store.kind

    def read(self, keys: Sequence[str] = (), prefixes: Sequence[str] = ()) -> Snapshot:
        """See Store."""
        with measuring(self.observe, "read") as size:
            snapshot = self.store.read(keys, prefixes)
            size.read = sum(len(key) + len(item.value) for key, item in snapshot.items.items() if item)
        return snapshot

    def probe(self, key: str) -> None:
        """See Store."""
        with measuring(self.observe, "read"):
            self.store.probe(key)

    def commit(self, checks: Sequence[Check], puts: Sequence[Put] = (), deletes: Sequence[str] = ()) -> int | None:
        """See Store."""
        with measuring(self.observe, "commit") as size:
            size.written = sum(len(put.key) + len(put.value) for put in puts) + sum(map(len, deletes))
            return self.store.commit(checks, puts, deletes)

    def watch(self, key: str, after: int, timeout: timedelta) -> bool:
        """See Store."""
        with measuring(self.observe, "watch"):
            return self.store.watch(key, after, timeout)

    def session(self, ttl: timedelta) -> Session:
        """See Store; the session's requests are observed as well."""
        with measuring(self.observe, "session"):
            session = self.store.session(ttl)
        return MeasuredSession(session, self.observe)

    def prepare(self) -> None:
        """See Store."""
        self.store.prepare()

    def facts(self) -> Facts:
        """See Store."""
        return self.store.facts()

    def close(self) -> None:
        """See Store."""
        self.store.close()


@dataclass(frozen=True, slots=True)
class MeasuredSession:
    """See Session."""

    session: Session
    observe: Callable[[Request], None] = field(repr=False)

    @property
    def id(self) -> str:
        """See Session."""
        return self.session.id

    @property
    def ttl(self) -> timedelta:
        """See Session."""
        return self.session.ttl

    def keepalive(self) -> None:
        """See Session."""
        with measuring(self.observe, "session"):
            self.session.keepalive()

    def end(self) -> None:
        """See Session."""
        with measuring(self.observe, "session"):
            self.session.end()


def word(error: BaseException) -> str:
    """One closed word for an error: its kind, or its name where the kind says nothing."""
    if isinstance(error, LocksmithError) and error.kind != LocksmithError.kind:
        return error.kind
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(error).__name__).lower()


@contextmanager
def measuring(observe: Callable[[Request], None], op: Operation) -> Iterator[_Bytes]:
    """Observe what happens inside as one request; errors go on."""
    size = _Bytes()
    error: str | None = None
    before = time.perf_counter()
    try:
        yield size
    except BaseException as raised:
        error = word(raised)
        raise
    finally:
        observe(Request(op, time.perf_counter() - before, error, size.read, size.written))
