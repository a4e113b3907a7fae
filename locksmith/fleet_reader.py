"""When the gateway reads the store, what it keeps of it, and for how long.

The ideas a reader would miss. Nothing is read unless somebody asks, at most once in the cache's time however many ask, and nobody
waits longer than a scrape may: the read has a thread of its own, and who has waited long enough gets what there is.

While the store is away the last picture is kept for two minutes and then dropped, with its age told all the while. Kept so
long, because a series that is missing from one scrape starts every alert's `for` anew, and an election is no reason for that.
Dropped then, because of two gateways the one that is cut off would go on outvoting the other with old facts (the rules take
the maximum). What only grows is never dropped: the totals are this process's own, and stand still.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from locksmith.core.history import Entry
from locksmith.errors import LocksmithError
from locksmith.semaphore.fleet import Fleet
from locksmith.stores.measured import word

log = logging.getLogger(__name__)

PATIENCE = 8.0
"""Seconds that a page waits for a read: less than the 10 of Prometheus's own time limit."""
KEPT = 120.0
"""Seconds after which a picture that could not be renewed is dropped."""
HANGING = 120.0
"""Seconds after which a read that has not ended is told as a fault of this process: each request ends much earlier."""

REBOOT_BUCKETS = (15.0, 30.0, 60.0, 120.0, 180.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0)
"""Seconds: from a container to a server with much memory and a long check of its disks."""
QUEUE_BUCKETS = (1.0, 10.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 43200.0, 86400.0, 259200.0, 604800.0)
"""Seconds: from a free slot to a week of maintenance windows."""


@dataclass(frozen=True, slots=True)
class Tally:
    """How many fell into each bucket, one more than there are bounds, and the sum of all."""

    counts: tuple[int, ...]
    summed: float = 0.0

    @classmethod
    def empty(cls, bounds: tuple[float, ...]) -> "Tally":
        """Nothing yet."""
        return cls((0,) * (len(bounds) + 1))

    def with_one(self, bounds: tuple[float, ...], value: float) -> "Tally":
        """One more."""
        place = sum(bound < value for bound in bounds)
        counts = tuple(count + (number == place) for number, count in enumerate(self.counts))
        return Tally(counts, self.summed + value)


@dataclass(frozen=True, slots=True)
class Totals:
    """What has been added up from the history since this process began: by group, from 0.

    The ring forgets, so its sums would shrink; hence each entry is counted once, when it is first seen, by its number. `seen` is
    the last number of each group; None before the first look, whose entries are the past and are not counted.
    """

    reboots: Mapping[str, Tally] = field(default_factory=dict)
    waits: Mapping[str, Tally] = field(default_factory=dict)
    seen: Mapping[str, int] | None = None

    def after(self, fleet: Fleet) -> "Totals":
        """With what is new in this picture."""
        reboots, waits, seen = dict(self.reboots), dict(self.waits), dict(self.seen or {})
        for group in {each.group for each in fleet.groups} | set(fleet.entries):
            ring = fleet.entries.get(group, ())
            last = ring[-1].seq if ring else 0
            # A number that went back: the store was restored, and what comes now has numbers that were used before.
            before = last if self.seen is None else min(last, seen.get(group, 0))
            reboot = reboots.get(group, Tally.empty(REBOOT_BUCKETS))
            wait = waits.get(group, Tally.empty(QUEUE_BUCKETS))
            for entry in ring:
                if entry.seq <= before:
                    continue
                if (took := reboot_seconds(entry)) is not None:
                    reboot = reboot.with_one(REBOOT_BUCKETS, took)
                if (waited := wait_seconds(entry)) is not None:
                    wait = wait.with_one(QUEUE_BUCKETS, waited)
            reboots[group], waits[group], seen[group] = reboot, wait, last
        return Totals(reboots, waits, seen)


def reboot_seconds(entry: Entry) -> float | None:
    """From the arm to the slot given back: shutdown, boot and verification; None when no reboot is in it."""
    if entry.act != "released":
        return None
    came = next((place for place, step in enumerate(entry.steps) if step.phase == "verifying"), None)
    armed = [step for step in entry.steps[:came] if step.phase == "armed"]
    if came is None or not armed or armed[-1].boot == entry.steps[came].boot:
        return None
    return max(0.0, (entry.at - armed[-1].at).total_seconds())


def wait_seconds(entry: Entry) -> float | None:
    """In the queue; None for a slot taken by hand, and for entries of before locksmith wrote it down."""
    return entry.waited if entry.act == "acquired" and entry.phase != "maintenance" else None


@dataclass(frozen=True, slots=True)
class Seen:
    """What there is to tell. `fleet` is None before the first read and when the last one is too old.

    `up`: the last read went well; `problem` is the sentence when it did not. `success` and `age` (seconds) are those of the last
    good read, `took` the seconds of the last one, `errors` counts those that failed by kind.
    """

    fleet: Fleet | None = None
    totals: Totals = field(default_factory=Totals)
    up: bool = False
    problem: str | None = None
    success: datetime | None = None
    age: float | None = None
    took: float | None = None
    errors: Mapping[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class _State:
    """What is known between two pages; see Seen. Instants are of the monotonic clock."""

    fleet: Fleet | None = None
    totals: Totals = field(default_factory=Totals)
    read_at: float | None = None
    tried_at: float | None = None
    took: float | None = None
    problem: str | None = None
    errors: dict[str, int] = field(default_factory=dict)
    reading: bool = False


class FleetReader:
    """The reader. Any thread may call anything."""

    def __init__(
        self,
        look: Callable[[], Fleet],
        cache: timedelta,
        patience: float = PATIENCE,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`look` reads, and is never called twice at a time; `patience` in seconds, see PATIENCE."""
        self._look = look
        self._cache = cache.total_seconds()
        self._patience = patience
        self._monotonic = monotonic
        self._state = _State()
        self._changed = threading.Condition()

    def seen(self) -> Seen:
        """The picture, read anew when it is older than the cache's time; waits at most `patience` for that."""
        with self._changed:
            state = self._state
            fresh = state.tried_at is not None and self._monotonic() - state.tried_at < self._cache
            if not fresh and not state.reading:
                state.reading, state.tried_at = True, self._monotonic()
                threading.Thread(target=self._read, daemon=True, name="read").start()
            if state.reading:
                self._changed.wait_for(lambda: not state.reading, self._patience)
            return self._seen()

    def last(self) -> Seen:
        """The picture as it is; reads nothing and does not wait."""
        with self._changed:
            return self._seen()

    @property
    def hanging(self) -> bool:
        """Whether a read has not ended long after every time limit in it."""
        with self._changed:
            state = self._state
            return state.reading and state.tried_at is not None and self._monotonic() - state.tried_at > HANGING

    def _seen(self) -> Seen:
        state = self._state
        age = None if state.read_at is None else self._monotonic() - state.read_at
        # One that waits for a read that takes too long has no answer of now either.
        late = state.reading and state.tried_at is not None and self._monotonic() - state.tried_at > self._patience
        problem = f"a read has not ended for {self._patience:g} s" if late else state.problem
        return Seen(
            fleet=state.fleet if age is not None and age <= max(KEPT, 2 * self._cache) else None,
            totals=state.totals,
            up=state.read_at is not None and problem is None,
            problem=problem,
            success=state.fleet.at if state.fleet is not None else None,
            age=age,
            took=state.took,
            errors=dict(state.errors),
        )

    def _read(self) -> None:
        """One read, in a thread of its own; whatever becomes of it, the next one is not kept from beginning."""
        began = self._monotonic()
        fleet: Fleet | None = None
        problem, kind = "the read ended with a fault of locksmith, which stands above in the log", "internal"
        try:
            fleet = self._look()
        except LocksmithError as error:
            problem, kind = str(error), word(error)
        finally:
            self._ended(fleet, began, problem, kind)

    def _ended(self, fleet: Fleet | None, began: float, problem: str, kind: str) -> None:
        state = self._state
        before = state.problem  # written by this thread alone
        if fleet is None and before != problem:
            log.warning("the fleet cannot be read: %s", problem, extra={"kind": kind})
        if fleet is not None and before is not None:
            log.info("the fleet can be read again")
        with self._changed:
            state.took = self._monotonic() - began
            if fleet is not None:
                state.totals = state.totals.after(fleet)
                state.fleet, state.read_at, state.problem = fleet, began, None
            else:
                state.problem = problem
                state.errors[kind] = state.errors.get(kind, 0) + 1
            state.reading = False
            self._changed.notify_all()
