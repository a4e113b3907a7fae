"""One receiver's events: kept in a file until it has them, sent in order from a thread of its own.

The ideas a reader would miss. An event is on disk before it is sent, so neither a reboot nor a crash loses it; one that was
sent and could not be struck off is sent again under the same id. The same file remembers the keys of what was told, so a
restart tells nothing twice. Everything is bounded: the number that waits, how long one is tried, each try. And a receiver
that stays away costs one line in the log, not one a try.
"""

import json
import logging
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, assert_never

from locksmith.core.durations import format_duration
from locksmith.errors import Damaged
from locksmith.host.clock import Clock
from locksmith.host.files import write_durably
from locksmith.notify import Delivered, Outcome, Refused, Sink, Undelivered
from locksmith.notify.events import Happened, Over

log = logging.getLogger("locksmith.notify")

MAX_WAITING = 100
"""Events that wait; of more, the oldest go."""
MAX_TOLD = 256
"""Keys of what was told that are remembered."""
FIRST_WAIT, MAX_WAIT = 1.0, 300.0
"""Seconds between two tries; they double from the one to the other, with jitter."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    """One event that the receiver does not have yet, and since when we have it."""

    document: Mapping[str, Any]
    since: str


@dataclass(slots=True)
class _Kept:
    """What stands in the file."""

    told: list[str] = field(default_factory=list)
    waiting: list[_Waiting] = field(default_factory=list)


class Channel:
    """Events on their way to one receiver. Any thread may call."""

    def __init__(  # noqa: PLR0913 - what a receiver needs, all of it by name
        self,
        name: str,
        sink: Sink,
        *,
        events: frozenset[str],
        retry_for: timedelta,
        path: Path,
        clock: Clock,
        random: Random,
        first_wait: float = FIRST_WAIT,
    ) -> None:
        """Read what is kept in `path`; nothing is sent before `start`.

        `events` are those that this receiver wants; `first_wait` are the seconds between the first two tries, see FIRST_WAIT.
        """
        self.name = name
        self._sink = sink
        self._events = events
        self._retry_for = retry_for
        self._path = path
        self._clock = clock
        self._random = random
        self._first_wait = first_wait
        self._changed = threading.Condition()
        self._kept = self._load()
        self._closing = False
        self._abandoned = False
        self._problem: str | None = None
        self._unkept: str | None = None
        self._thread = threading.Thread(target=self._run, daemon=True, name=f"notify {name}")

    @property
    def waiting(self) -> int:
        """So many events the receiver does not have yet."""
        with self._changed:
            return len(self._kept.waiting)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def offer(self, changes: tuple[Happened | Over, ...], host: str, store: str) -> None:
        """Keep what this receiver wants and was not told yet. Waits for the disk, never for the receiver."""
        with self._changed:
            taken = [self._take(change, host, store) for change in changes]
            if any(taken):
                self._save()
                self._changed.notify_all()

    def close(self) -> None:
        """Ask the thread to end: it goes on with what waits until a try fails."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()

    def join(self, timeout: float) -> None:
        """Wait for the end, in seconds; after that whatever is still under way changes the file no more."""
        if self._thread.ident is not None:
            self._thread.join(timeout)
        with self._changed:
            self._abandoned = True

    # ---------------------------------------------------------------- what is kept

    def _take(self, change: Happened | Over, host: str, store: str) -> bool:
        """Whether it changed what is kept."""
        told = self._kept.told
        match change:
            case Over(prefix):
                left = [key for key in told if not key.startswith(prefix)]
                self._kept.told = left
                return len(left) != len(told)
            case Happened(key=key):
                if change.event not in self._events or key in told:
                    return False
                self._kept.told = [*told, key][-MAX_TOLD:]
                entry = _Waiting(change.document(host, store), self._clock.wall().isoformat())
                self._kept.waiting.append(entry)
                if len(self._kept.waiting) > MAX_WAITING:
                    gone = self._kept.waiting.pop(0)
                    self._say(logging.WARNING, "%s is dropped: more than %d events wait", gone.document, MAX_WAITING)
                return True
            case _:
                assert_never(change)

    def _load(self) -> _Kept:
        try:
            raw = json.loads(self._path.read_bytes())
            told = [str(key) for key in raw["told"]][-MAX_TOLD:]
            waiting = [_Waiting(dict(one["document"]), str(one["since"])) for one in raw["waiting"]][-MAX_WAITING:]
            for one in waiting:
                datetime.fromisoformat(one.since).astimezone(UTC)
        except FileNotFoundError:
            return _Kept()
        except (OSError, ValueError, TypeError, KeyError, RecursionError, OverflowError) as error:
            log.warning("notify.%s: %s cannot be read and is begun anew: %s", self.name, self._path, error)
            return _Kept()
        return _Kept(told, waiting)

    def _save(self) -> None:
        """Under the lock. What cannot be written is sent all the same; that it cannot is said once."""
        if self._abandoned:
            return
        content = {"schema": 1, "told": self._kept.told, "waiting": [asdict(one) for one in self._kept.waiting]}
        try:
            write_durably(self._path, json.dumps(content, ensure_ascii=False).encode(), mode=0o600)
        except Damaged as error:
            if str(error) != self._unkept:
                log.warning("notify.%s: what is not sent does not outlive a reboot: %s", self.name, error)
            self._unkept = str(error)
        else:
            self._unkept = None

    # ---------------------------------------------------------------- the thread

    def _run(self) -> None:
        tries = 0
        while (head := self._next()) is not None:
            outcome = self._sink.send(head.document)
            if self._settle(head, outcome):
                tries = 0
                continue
            with self._changed:
                if not self._closing:
                    self._changed.wait_for(lambda: self._closing, self._pause(tries, outcome))
                if self._closing:
                    return
            tries += 1

    def _next(self) -> _Waiting | None:
        """The oldest that waits; None when there is none and the end was asked for."""
        with self._changed:
            self._changed.wait_for(lambda: self._closing or bool(self._kept.waiting))
            return self._kept.waiting[0] if self._kept.waiting and not self._abandoned else None

    def _pause(self, tries: int, outcome: Outcome) -> float:
        wait: float = min(MAX_WAIT, self._first_wait * 2.0 ** min(tries, 16)) * (0.5 + 0.5 * self._random.random())
        asked = outcome.wait if isinstance(outcome, Undelivered) else None
        return max(wait, min(MAX_WAIT, asked.total_seconds())) if asked is not None else wait

    def _settle(self, head: _Waiting, outcome: Outcome) -> bool:
        """Whether it is done with this one, well or not."""
        with self._changed:
            match outcome:
                case Delivered():
                    if self._problem is not None:
                        self._say(logging.INFO, "the receiver takes events again: %s is sent", head.document)
                    self._problem = None
                    self._say(logging.DEBUG, "%s is sent", head.document)
                case Refused(reason):
                    self._say(logging.WARNING, "%s is dropped, the receiver refuses it: %s", head.document, reason)
                case Undelivered(reason):
                    if not self._is_too_old(head):
                        again = f"tried again for {format_duration(self._retry_for)}"
                        level = logging.WARNING if self._problem is None else logging.DEBUG
                        self._say(level, "%s is not sent: %s; %s", head.document, reason, again)
                        self._problem = reason
                        return False
                    self._say(logging.WARNING, "%s is dropped after all this time: %s", head.document, reason)
                case _:
                    assert_never(outcome)
            if self._kept.waiting and self._kept.waiting[0] is head:
                self._kept.waiting.pop(0)
                self._save()
            return True

    def _is_too_old(self, head: _Waiting) -> bool:
        age = self._clock.wall() - datetime.fromisoformat(head.since).astimezone(UTC)
        return age > self._retry_for

    def _say(self, level: int, text: str, document: Mapping[str, Any], *more: object) -> None:
        fields = {key: document.get(key) for key in ("event", "node", "group", "token")}
        log.log(level, f"notify.%s: {text}", self.name, document.get("event"), *more, extra=fields)  # noqa: G004
