"""How an operator's command waits: for a key to change, for its time to pass, for Ctrl-C; and how its ticket stays alive.

The one idea a reader would miss: a watch cannot be interrupted, so it is cut into slices; and since a watch tells the level
and not the edge, watching several keys in turn misses nothing.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from locksmith.errors import Interrupted, SessionLost, StoreError, Throttled, TimedOut, Unavailable, Unknown
from locksmith.semaphore.actor import Actor
from locksmith.stores import Session

T = TypeVar("T")

SESSION_TTL = timedelta(seconds=15)
FIRST_SLICE = 1.0
"""Seconds for the key that matters most; the others get OTHER_SLICE each."""
OTHER_SLICE = 0.2
INSTANT = 0.001
"""Seconds too short to wait for."""
POLL = 10.0
"""Seconds after which everything is read again, whatever the watches say."""
OUTAGE = timedelta(minutes=5)
"""So long may the store be away from a command that waits without a time limit."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What a waiting command waits for. `kind` is a word of `blocked`, or `agent`; `position` counts from 1."""

    kind: str
    reason: str
    position: int | None = None
    ahead: tuple[str, ...] = ()


class Vigil:
    """One command's wait: its time limit, its stop, and what it last told."""

    def __init__(
        self, actor: Actor, patience: timedelta | None, progress: Callable[[Progress], None], stop: threading.Event
    ) -> None:
        """Starts counting now; `patience` None: for ever."""
        self._actor = actor
        self._progress = progress
        self._stop = stop
        now = actor.clock.boottime()
        self._deadline = None if patience is None else now + patience.total_seconds()
        self._reached = False
        self._away_since: float | None = None
        self._unclear: Unknown | None = None
        self._told: Progress | None = None

    @property
    def expired(self) -> bool:
        """Whether the time limit has passed."""
        return self._deadline is not None and self._actor.clock.boottime() >= self._deadline

    def tell(self, progress: Progress) -> None:
        """Say what is waited for, once for each change."""
        if progress != self._told:
            self._told = progress
            self._progress(progress)

    def heed(self) -> None:
        """Raises Interrupted after a stop."""
        if self._stop.is_set():
            raise Interrupted("interrupted while waiting; nothing is left in the queue")

    def check(self) -> None:
        """Raises Interrupted after a stop, TimedOut when the time has passed."""
        self.heed()
        if self.expired:
            told = f": {self._told.reason}" if self._told else ""
            raise TimedOut(f"not within the time limit{told}")

    def wait(self, watches: Sequence[tuple[str, int]], seconds: float = POLL) -> None:
        """Wait until one of the keys is not at its revision any more, at most so many seconds.

        Returns also when the time limit has passed or the store does not answer: look again. Raises Interrupted, Denied.
        """
        clock = self._actor.clock
        end = clock.boottime() + seconds * self._actor.random.uniform(0.8, 1.2)
        end = end if self._deadline is None else min(end, self._deadline)
        while (left := end - clock.boottime()) > INSTANT:
            self.heed()
            if not watches:
                clock.sleep(min(left, FIRST_SLICE))
            for place, (key, mod) in enumerate(watches):
                left = end - clock.boottime()
                piece = min(left, OTHER_SLICE if place else FIRST_SLICE)
                if left <= INSTANT or self._woken(key, mod, timedelta(seconds=piece)):
                    return

    def _woken(self, key: str, mod: int, piece: timedelta) -> bool:
        try:
            return self._actor.store.watch(key, mod, piece)
        except (Unavailable, Throttled):
            self._actor.clock.sleep(piece.total_seconds())
            return True

    def through(self, call: Callable[[], T]) -> T:
        """Call until it answers, as long as the store was reached once and is not away for too long.

        The call must be harmless to repeat. Raises what it raises otherwise, Interrupted.
        """
        while True:
            try:
                answer = call()
            except (Unavailable, Throttled, Unknown) as error:
                self._endure(error)
            else:
                self._reached, self._away_since, self._unclear = True, None, None
                return answer

    def _endure(self, error: StoreError) -> None:
        now = self._actor.clock.boottime()
        self._away_since = now if self._away_since is None else self._away_since
        self._unclear = error if isinstance(error, Unknown) else self._unclear
        if not self._reached or self.expired or now - self._away_since >= OUTAGE.total_seconds():
            raise self._unclear or error
        self.tell(Progress("store", str(error)))
        self.wait((), FIRST_SLICE)
        self.heed()


@contextmanager
def kept_session(session: Session) -> Iterator[Session]:
    """A session that a thread keeps alive until the block is left; then it ends, and its ticket with it.

    Ending it is tried once: a session that could not be ended ends by its ttl.
    """
    ended = threading.Event()

    def keep() -> None:
        while not ended.wait(session.ttl.total_seconds() / 3):
            try:
                session.keepalive()
            except SessionLost:
                return  # the waiter finds its ticket gone by itself
            except StoreError:
                continue

    thread = threading.Thread(target=keep, name="session", daemon=True)
    thread.start()
    try:
        yield session
    finally:
        ended.set()
        with contextlib.suppress(StoreError):
            session.end()
        thread.join(timeout=1)
