"""How long a place in the queue is likely to take, from how long reboots took before.

The idea a reader would miss: nothing is promised. Without reboots in the history there is no number; and a holder that takes
longer than all of them did is not taken for one that is about to end.
"""

from collections.abc import Iterable, Sequence
from heapq import heapify, heappop, heapreplace
from statistics import median

from locksmith.core.documents import Phase
from locksmith.core.history import Entry

SAMPLES = 32
"""So many of the last reboots are looked at: what the fleet is like now, not what it was a year ago."""
WHOLE = ("healthy", "rolled_back")
"""The ends that say how long a slot is held. One that failed was held until somebody came."""


def measured(entries: Iterable[Entry]) -> tuple[float, ...]:
    """For how many seconds the last reboots held their slot, drain and verifying among them; the newest first."""
    found = []
    for entry in sorted(entries, key=lambda entry: entry.seq, reverse=True):
        begun = entry.steps[0] if entry.steps else None
        # Without its first phase nobody knows since when it held the slot.
        if entry.act != "released" or entry.outcome not in WHOLE or begun is None or begun.phase != Phase.ACQUIRED:
            continue
        found.append(max(0.0, (entry.at - begun.at).total_seconds()))
        if len(found) == SAMPLES:
            break
    return tuple(found)


def remaining(durations: Sequence[float], elapsed: float) -> float | None:
    """For how much longer one that has held its slot for so many seconds may hold it; None: longer than any before it."""
    longer = [duration - elapsed for duration in durations if duration > elapsed]
    return median(longer) if longer else None


def expected(durations: Sequence[float], elapsed: Iterable[float], free: int, ahead: int) -> float | None:
    """The seconds until somebody behind `ahead` others may take a slot; None when nobody can say.

    `elapsed` are the seconds for which those hold their slot who will give it back by themselves; `free` slots are there
    now, fewer than none after the limit was lowered.
    """
    if not durations:
        return None
    known = (remaining(durations, seconds) for seconds in elapsed)
    ends = sorted([0.0] * max(free, 0) + [seconds for seconds in known if seconds is not None])[max(-free, 0) :]
    if not ends:
        return None
    heapify(ends)
    whole = median(durations)
    for _ in range(ahead):
        heapreplace(ends, ends[0] + whole)
    return heappop(ends)
