"""When those who wait will have rebooted, if nothing unforeseen happens: slots, windows and a pace, put one after the other.

The ideas a reader would miss. Whoever begins must still arm inside the window, because windows are asked once more right
before the reboot; so a turn begins only when the measured drain, or `agent.time_needed`, fits before the window closes. What
comes after arming may end outside. And nobody overtakes: a turn never begins before the one in front of it.
"""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from locksmith.core.windows import OpenUntil, Span, Window, ever_lasts, is_open, next_openings

FURTHEST = 400
"""Openings ahead; who would come later has no forecast."""
_BATCH = 32
_LAST = datetime(9999, 12, 31, tzinfo=UTC)
"""A pause may be until then."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How long a node has its slot, and how much of that goes by before it is armed. `measured`: the median of so many."""

    whole: timedelta
    drain: timedelta
    measured: int = 0


@dataclass(frozen=True, slots=True)
class Turn:
    """When a turn begins and is done; both None when there is no telling. `first`: in the first opening."""

    begins: datetime | None
    done: datetime | None
    first: bool


@dataclass(frozen=True, slots=True)
class Calendar:
    """When turns may begin: in `windows`, from `start` on (`now`, or the end of a pause), with `needed` left of a window."""

    windows: Sequence[Window]
    now: datetime
    start: datetime
    needed: timedelta


NEVER = Turn(None, None, first=False)


def first_opening(windows: Sequence[Window], now: datetime) -> Span | None:
    """The opening that is under way, from now on, or else the next; None without windows."""
    return next(_openings(windows, now), None) if windows else None


def turns(count: int, free: Sequence[datetime], calendar: Calendar, whole: timedelta) -> tuple[Turn, ...]:
    """The turns of `count` nodes, in their order, each of which has its slot for `whole`.

    `free` has an instant for each slot that is free or will be.
    """
    slots = list(free)
    heapq.heapify(slots)
    windows, now, needed = calendar.windows, calendar.now, calendar.needed
    if not slots or not ever_lasts(windows, needed, now):
        return (NEVER,) * count
    openings = _openings(windows, now)
    opening, number = next(openings), 0
    found: list[Turn] = []
    begins = calendar.start
    for _ in range(count):
        begins = max(begins, slots[0], opening.start)
        if _LAST - begins < needed + whole:
            return (*found, *(NEVER,) * (count - len(found)))
        while opening.end is not None and (begins >= opening.end or begins + needed > opening.end):
            following = next(openings, None)
            if following is None:
                return (*found, *(NEVER,) * (count - len(found)))
            opening, number = following, number + 1
            begins = max(begins, opening.start)
        done = begins + whole
        found.append(Turn(begins, done, first=number == 0))
        heapq.heapreplace(slots, done)
    return tuple(found)


def _openings(windows: Sequence[Window], now: datetime) -> Iterator[Span]:
    """From the one under way on; without windows one that never ends."""
    state = is_open(windows, now)
    if isinstance(state, OpenUntil):
        yield Span(now, state.end)
        if state.end is None:
            return
    at, given = now, 0
    while given < FURTHEST:
        batch = next_openings(windows, at, _BATCH)
        if not batch:
            return
        yield from batch
        at, given = batch[-1].start, given + len(batch)
