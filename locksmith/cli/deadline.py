"""One time limit for a whole command, kept by a store that stands in front of the real one.

The one idea a reader would miss: running out of time is no StoreError, for `settle` would take that as a reason to try
again. What it means is decided at the end: after a write whose answer never came it is `unknown`, else `unavailable`.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

from locksmith.core.durations import format_duration
from locksmith.errors import LocksmithError, StoreError, Unavailable, Unknown
from locksmith.stores import Check, Facts, Put, Session, Snapshot, Store

T = TypeVar("T")


class OutOfTime(LocksmithError):
    """The command's time is over; see `verdict`."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """An instant on the boot-time clock; `at` None: no limit."""

    at: float | None
    limit: timedelta | None = None

    @classmethod
    def after(cls, limit: timedelta | None) -> "Deadline":
        """So long from now."""
        return cls(None if limit is None else _now() + limit.total_seconds(), limit)

    def left(self) -> timedelta | None:
        """How much time there is, zero when it is over; None without a limit."""
        return None if self.at is None else timedelta(seconds=max(0.0, self.at - _now()))

    def later(self, grace: timedelta) -> "Deadline":
        """The same with some time to clean up."""
        return self if self.at is None else Deadline(self.at + grace.total_seconds(), self.limit)


def _now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(slots=True)
class TimedStore:
    """A store whose calls end by a deadline. `call` is the store's own limit for one call; `where` is for messages."""

    inner: Store
    deadline: Deadline
    call: timedelta
    where: str
    _unclear: bool = field(default=False, init=False)

    @property
    def kind(self) -> str:
        """See Store."""
        return self.inner.kind

    def read(self, keys: Sequence[str] = (), prefixes: Sequence[str] = ()) -> Snapshot:
        """See Store."""
        return self._within(lambda: self.inner.read(keys, prefixes))

    def commit(self, checks: Sequence[Check], puts: Sequence[Put] = (), deletes: Sequence[str] = ()) -> int | None:
        """See Store."""
        self._check()
        before, self._unclear = self._unclear, True
        try:
            revision = self._within(lambda: self.inner.commit(checks, puts, deletes))
        except (Unknown, OutOfTime):
            raise
        except StoreError:
            self._unclear = before  # this one surely did not apply; an earlier one may have
            raise
        self._unclear = False
        return revision

    def watch(self, key: str, after: int, timeout: timedelta) -> bool:
        """See Store."""
        self._check()
        left = self.deadline.left()
        return self.inner.watch(key, after, timeout if left is None else min(timeout, left))

    def probe(self, key: str) -> None:
        """See Store."""
        self._within(lambda: self.inner.probe(key))

    def session(self, ttl: timedelta) -> Session:
        """See Store."""
        return self._within(lambda: self.inner.session(ttl))

    def prepare(self) -> None:
        """See Store."""
        self._within(self.inner.prepare)

    def facts(self) -> Facts:
        """See Store."""
        return self._within(self.inner.facts)

    def close(self) -> None:
        """See Store."""
        self.inner.close()

    def verdict(self) -> Unknown | Unavailable:
        """What running out of time means now."""
        limit = "" if self.deadline.limit is None else f" within {format_duration(self.deadline.limit)} (--timeout)"
        if self._unclear:
            return Unknown(f"{self.where}: sent, but whether it applied is not known{limit}; look with lockctl status")
        return Unavailable(f"{self.where}: not done{limit}: the store does not answer, or not fast enough")

    def _check(self) -> None:
        left = self.deadline.left()
        if left is not None and not left:
            raise OutOfTime("the time of this command is over")

    def _within(self, work: Callable[[], T]) -> T:
        """Do it here while there is time for a whole call; near the end leave it to a thread and go when time is over."""
        self._check()
        left = self.deadline.left()
        if left is None or left > self.call:
            return work()
        outcome: list[T] = []
        failure: list[BaseException] = []

        def run() -> None:
            try:
                outcome.append(work())
            except BaseException as error:  # noqa: BLE001  (raised again below, in the thread that asked)
                failure.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(left.total_seconds())
        if failure:
            raise failure[0]
        if not outcome:
            raise OutOfTime("the time of this command is over")
        return outcome[0]
