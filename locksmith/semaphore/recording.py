"""History's half of a commit: the entry beside the guard, the note beside the document.

The one idea a reader would miss: whoever changes a guard does it through `counted`, so that no change of it can be without
its entry; and what cannot be read of the history is begun anew, since it must never stand in the way of an act.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from locksmith.core import keys
from locksmith.core.documents import Guard, Holder
from locksmith.core.history import (
    NODE_NOTES,
    NOTES,
    Entry,
    Note,
    Notes,
    Unsanctioned,
    marked,
    noted,
    outlived,
    shortened,
    stepped,
)
from locksmith.errors import Corrupt
from locksmith.semaphore.actor import Actor, View, look
from locksmith.stores import Check, Commit, Put

UNASKED = "rebooted without an armed slot"


def counted(limit: str, guard: Guard, entry: Entry) -> tuple[Put, Put]:
    """The guard as changed, under its next number, and the entry of that number; the gen of `entry` is that of both."""
    seq = guard.seq + 1
    months = marked(guard.months, guard.gone, seq, entry.at)
    changed = replace(guard, gen=entry.gen, seq=seq, months=months)
    numbers = replace(entry, seq=changed.seq, count=changed.count, slots=changed.effective, prior=guard.gen)
    told = shortened(numbers)
    return Put(keys.guard(limit), changed.encode()), Put(keys.entry(limit, changed.seq), told.encode())


@dataclass(frozen=True, slots=True)
class Outlived:
    """Entries of a limit that are too old: their numbers."""

    limit: str
    numbers: range


def outlived_of(view: View, limits: Iterable[str], at: datetime, room: int) -> Outlived | None:
    """Those of the first of these limits that has any, `room` at most: a commit has not room for those of all."""
    for limit in limits:
        guard = view.document(keys.guard(limit), Guard)
        if guard is not None and (numbers := outlived(guard.months, guard.gone, guard.seq + 1, at)[: max(0, room)]):
            return Outlived(limit, numbers)
    return None


def dropping(actor: Actor, commit: Commit, old: Outlived) -> Commit:
    """The commit that deletes them, too; their guard is in it with the last number as `gone`. Raises StoreError."""
    there = look(actor.store, [keys.entry(old.limit, number) for number in old.numbers]).snapshot.under(keys.ENTRIES)
    checks = tuple(Check(key, item.mod) for key, item in there)
    return replace(
        commit, checks=(*commit.checks, *checks), deletes=(*commit.deletes, *(check.key for check in checks))
    )


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


def of_boot(actor: Actor, node: str, group: str, boot: Unsanctioned) -> Note:
    """That this node went through a boot without an armed slot."""
    more = {"boot": boot.boot, "group": group}
    return Note(act="unsanctioned", at=boot.at, by=actor.by, node=node, host=actor.host, reason=UNASKED, more=more)


def confessing(view: View, node: str, boots: Sequence[Note], gen: str) -> tuple[Put, ...]:
    """The put that adds those of these boots to the node's notes that are not there; nothing when all are.

    What the notes have dropped for its age or for their number is not put back.
    """
    key = keys.notes_of_node(node)
    before = _notes(view, key)
    after = before
    for boot in boots:
        known = after.notes if after is not None else ()
        there = any(each.act == boot.act and each.more.get("boot") == boot.more["boot"] for each in known)
        if not there and (len(known) < NODE_NOTES or boot.at > known[0].at):
            after = noted(after, boot, gen, most=most(key))
    return () if after is None or after is before else (Put(key, after.encode()),)


def noting(view: View, key: str, what: Note, gen: str) -> Put:
    """The put that adds a note; the snapshot must have read the key.

    Without a check of its own: notes are written together with what they are about, whose check lets one of two win; and
    a note may be lost rather than an act.
    """
    return Put(key, noted(_notes(view, key), what, gen, most=most(key)).encode())


def most(key: str) -> int:
    """So many notes this document keeps: those of a node fewer, since there may be ten thousand of them."""
    return NODE_NOTES if key.startswith(keys.notes_of_node("")) else NOTES


def _notes(view: View, key: str) -> Notes | None:
    """None where there are none, and where they cannot be read: then they are begun anew."""
    try:
        return view.document(key, Notes)
    except Corrupt:
        return None
