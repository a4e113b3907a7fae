"""What the store remembers of what was done: values that stand beside the facts, written in the same commit as the act.

The ideas a reader would miss. Each limit has a ring of entries, numbered by its guard: whoever changes the guard takes the next
number and writes the entry of that number, so that a gap or a number twice is proof that something went past the protocol.
What changes no guard (phases) stands in the holder and goes into the entry that ends it. And history never stands in the
way: what cannot be read is begun anew, and no decision rests on it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from locksmith.core.codec import Document, Part

RING = 512
"""So many entries each limit keeps."""
NOTES = 48
"""So many notes each group and the fleet keep."""
NODE_NOTES = 12
"""So many notes a node keeps."""
AGE = timedelta(days=400)
"""What is older is not shown, and goes: a note with the next one beside it, an entry with a later release of the limit."""
DROPS = 4
"""So many entries that are too old go with one release; it writes one, and so did its grant."""
MONTHS = 36
"""So many months a guard keeps marks of, at most."""
UNSANCTIONED = 8
"""So many of the last reboots that nobody sanctioned a node's journal and record name; all of them are counted."""
STEPS = 16
"""So many of the last phases a holder keeps."""
TEXT = 400
"""Characters of a free text that are kept: an operator's reason may be as long as a command line."""
NOTE_SIZE = 680
"""Bytes that a document of notes may have for each of those that it keeps: 32 KiB for a group, 8 KiB for a node.

A store refuses values above 64 KiB, and the act that a note stands beside with them; and ten thousand nodes have notes.
"""

GRANTS = ("acquired", "restored")
RETURNS = ("released", "taken")
ACTS = (*GRANTS, *RETURNS, "resized", "recounted")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step(Part):
    """A phase that began, and in which boot."""

    phase: str
    at: datetime
    boot: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsanctioned(Part):
    """A boot that began without an armed slot: which, and when its agent saw it first."""

    boot: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry(Document):
    """`ev/lim/<kind>/<name>/<place>`: one change of a guard. `count` and `slots` are what stands after it.

    `act`: acquired, restored (put back after a restore of the store: counts even above the slots), released (`outcome` says
    why: healthy, recovered, rolled_back, … or the word of what called it off), taken (by an operator), resized, recounted.
    `came_as` is the version that ran after the reboot, where a provider knows; `waited` the seconds in the queue, with
    `acquired`. `prior` is the gen of the guard that it replaced, "" where it made the guard: so a change that was not
    written down, by an older locksmith or by hand, shows between two entries whose numbers follow each other.
    """

    seq: int
    act: str
    at: datetime
    by: str
    count: int
    slots: int
    prior: str | None = None
    node: str = ""
    host: str = ""
    group: str = ""
    token: str = ""
    phase: str = ""
    reason: str = ""
    outcome: str = ""
    check: str = ""
    came_as: str | None = None
    waited: float | None = None
    origin: str | None = None
    target: str | None = None
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Note(Part):
    """One act that changes no guard.

    paused, resumed, failed, acknowledged, held, unheld, requested, cancelled, unsanctioned, epoch (the store was restored).
    """

    act: str
    at: datetime
    by: str
    node: str = ""
    host: str = ""
    reason: str = ""
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notes(Document):
    """`ev/notes/…`: the last acts, oldest first."""

    notes: tuple[Note, ...] = ()


def short(text: str) -> str:
    """A free text, as much of it as the history keeps."""
    return text if len(text) <= TEXT else f"{text[: TEXT - 1]}…"


def shortened(entry: Entry) -> Entry:
    """The entry with its free texts as short as the history keeps them: each limit has one in the very commit of the act."""
    return replace(
        entry,
        by=short(entry.by),
        host=short(entry.host),
        reason=short(entry.reason),
        outcome=short(entry.outcome),
        check=short(entry.check),
        came_as=short(entry.came_as) if entry.came_as else entry.came_as,
        origin=short(entry.origin) if entry.origin else entry.origin,
        target=short(entry.target) if entry.target else entry.target,
    )


def noted(before: Notes | None, note: Note, gen: str, most: int = NOTES) -> Notes:
    """One more, `most` in all; the oldest go first, what is too old anyway, and what somebody else put beside them at last."""
    old = before or Notes()
    kept = tuple(each for each in old.notes if note.at - each.at < AGE)
    new = replace(note, by=short(note.by), node=short(note.node), host=short(note.host), reason=short(note.reason))
    notes = replace(old, gen=gen, notes=(*kept, new)[-most:])
    while len(notes.encode()) > most * NOTE_SIZE:
        if len(notes.notes) == 1:
            return Notes(gen=gen, notes=notes.notes)
        notes = replace(notes, notes=notes.notes[max(1, len(notes.notes) // 8) :])
    return notes


def marked(months: Mapping[str, int], gone: int, seq: int, at: datetime) -> dict[str, int]:
    """The marks of a guard, by month: the number of the last change that was made by its end. `seq` is that of now.

    The months only go on: a clock that lags would otherwise make what is new look old.
    """
    month = max([f"{at:%Y-%m}", *months])
    kept = sorted((name, number) for name, number in {**months, month: seq}.items() if number > gone)
    return dict(kept[-MONTHS:])


def outlived(months: Mapping[str, int], gone: int, seq: int, at: datetime) -> range:
    """The numbers of the oldest entries, all of months that are too old, which may go with change `seq`.

    `gone` is the number up to which they went before; below `seq` - RING another entry has their place.
    """
    oldest = f"{at - AGE:%Y-%m}"
    last = max((number for month, number in months.items() if month < oldest), default=0)
    first = max(gone, seq - RING) + 1
    return range(first, min(last, seq - 1, first + DROPS - 1) + 1)


def stepped(steps: tuple[Step, ...], phase: str, at: datetime, boot: str) -> tuple[Step, ...]:
    """The phases with one more, if it is another than the last."""
    if steps and (steps[-1].phase, steps[-1].boot) == (phase, boot):
        return steps
    return (*steps, Step(phase=phase, at=at, boot=boot))[-STEPS:]
