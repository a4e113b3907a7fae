"""History's half of a commit: the entry beside the guard, the note beside the document.

The one idea a reader would miss: whoever changes a guard does it through `counted`, so that no change of it can be without
its entry; and what cannot be read of the history is begun anew, since it must never stand in the way of an act.
"""

from dataclasses import replace

from locksmith.core import keys
from locksmith.core.documents import Guard, Holder
from locksmith.core.history import Entry, Note, Notes, noted, shortened, stepped
from locksmith.errors import Corrupt
from locksmith.semaphore.actor import Actor, View
from locksmith.stores import Put


def counted(limit: str, guard: Guard, entry: Entry) -> tuple[Put, Put]:
    """The guard as changed, under its next number, and the entry of that number; the gen of `entry` is that of both."""
    changed = replace(guard, gen=entry.gen, seq=guard.seq + 1)
    numbers = replace(entry, seq=changed.seq, count=changed.count, slots=changed.effective, prior=guard.gen)
    told = shortened(numbers)
    return Put(keys.guard(limit), changed.encode()), Put(keys.entry(limit, changed.seq), told.encode())


def entry_of(actor: Actor, act: str, gen: str, current: tuple[str, Holder, int | None]) -> Entry:
    """An entry about a node, its holder and that one's token, where it is known; the numbers are put in by `counted`."""
    node, holder, token = current
    return Entry(
        gen=gen,
        seq=0,
        act=act,
        at=actor.clock.wall(),
        by=actor.by,
        count=0,
        slots=0,
        node=node,
        host=holder.host,
        group=holder.group,
        token="" if token is None else str(token),
        phase=holder.phase,
        reason=holder.reason,
        check=holder.check,
        origin=holder.origin,
        target=holder.target,
        steps=holder.steps,
    )


def with_step(before: Holder, after: Holder) -> Holder:
    """The changed holder with the phase that began, if one did."""
    steps = stepped(before.steps, after.phase, after.phase_since, after.boot)
    return replace(after, steps=steps)


def note(actor: Actor, act: str, reason: str = "", node: str = "", host: str = "") -> Note:
    """What this actor does now."""
    return Note(act=act, at=actor.clock.wall(), by=actor.by, node=node, host=host, reason=reason)


def noting(view: View, key: str, what: Note, gen: str) -> Put:
    """The put that adds a note; the snapshot must have read the key.

    Without a check of its own: notes are written together with what they are about, whose check lets one of two win; and
    a note may be lost rather than an act.
    """
    try:
        before = view.document(key, Notes)
    except Corrupt:
        before = None
    return Put(key, noted(before, what, gen).encode())
