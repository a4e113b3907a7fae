"""What was done, read back: for people, and for the audit. Nothing here ever writes, and no decision about slots rests on it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from locksmith.core import keys
from locksmith.core.audit import Finding, Replay, replay, unsanctioned
from locksmith.core.documents import Guard, Holder, NodeRecord
from locksmith.core.history import AGE, Entry, Note, Notes, Step
from locksmith.errors import Corrupt
from locksmith.semaphore.actor import Actor, View, look


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the history. `act` is a word of `core.history`, or a phase that a holder of today went through."""

    at: datetime
    act: str
    by: str
    group: str = ""
    node: str = ""
    host: str = ""
    reason: str = ""
    entry: Entry | None = None


@dataclass(frozen=True, slots=True)
class Audit:
    """All limits replayed, and the reboots that nobody sanctioned."""

    limits: tuple[Replay, ...]
    findings: tuple[Finding, ...]

    @property
    def disproved(self) -> bool:
        """Whether anything is wrong; what is only not proved does not count."""
        return any(finding.disproves for finding in self.findings)


def history(actor: Actor, group: str | None, node: str | None, since: datetime | None) -> tuple[Event, ...]:
    """What was done, oldest first; of one group, of one node, since then. Raises StoreError."""
    entries = keys.entries(keys.group_limit(group)) if group is not None else keys.ENTRIES
    notes = [keys.notes_of_fleet()]
    prefixes = [entries, keys.OWNERS]
    if group is not None:
        notes.append(keys.notes_of_group(group))
    if node is not None:
        notes.append(keys.notes_of_node(node))
    else:
        prefixes.append(keys.NOTES)
    view = look(actor.store, notes, prefixes)
    oldest = max(actor.clock.wall() - AGE, since) if since is not None else actor.clock.wall() - AGE
    found = [*_of_entries(view, entries), *_of_notes(view, notes), *_of_holders(view)]
    wanted = [
        event
        for event in found
        if event.at >= oldest
        and (node is None or event.node == node)
        and (group is None or (event.group in (group, "") and (event.group or not event.node)))
    ]
    return tuple(sorted(wanted, key=lambda event: (event.at, event.entry.seq if event.entry else 0)))


def audit(actor: Actor, group: str | None) -> Audit:
    """Replay the history of a group's limit, or of all limits. Raises Corrupt, StoreError.

    Each limit in a snapshot of its own, with all holders in it: entries, guard and holders belong to one instant.
    """
    limits = [keys.group_limit(group)] if group is not None else _limits(actor)
    replays = []
    for limit in limits:
        view = look(actor.store, [keys.guard(limit)], [keys.entries(limit), keys.OWNERS])
        holders = [
            keys.own_node(key) for key, _, holder in view.documents(keys.OWNERS, Holder) if limit in holder.limits
        ]
        entries = [entry for _, _, entry in view.documents(keys.entries(limit), Entry)]
        replays.append(replay(limit, entries, view.document(keys.guard(limit), Guard), holders))
    prefix = keys.records(group) if group is not None else keys.RECORDS
    records = look(actor.store, (), [prefix]).documents(prefix, NodeRecord)
    unasked = [found for key, _, record in records if (found := unsanctioned(keys.record_node(key), record))]
    findings = [finding for each in replays for finding in each.findings]
    return Audit(tuple(replays), (*findings, *unasked))


def _limits(actor: Actor) -> list[str]:
    view = look(actor.store, (), [keys.GUARDS])
    return [key.removeprefix(keys.GUARDS) for key, _ in view.snapshot.under(keys.GUARDS)]


def _of_entries(view: View, prefix: str) -> Iterable[Event]:
    """A node with several limits has an entry in each ring; the one of its group speaks for all."""
    for key, item in view.snapshot.under(prefix):
        try:
            entry = Entry.decode(key, item.value)
        except Corrupt:
            continue  # the audit tells of it
        limit = keys.entry_limit(key)
        if entry.node and limit != keys.group_limit(entry.group):
            continue
        group = entry.group or limit.removeprefix(keys.group_limit(""))
        yield Event(entry.at, entry.act, entry.by, group, entry.node, entry.host, entry.reason, entry)


def _of_notes(view: View, wanted: Iterable[str]) -> Iterable[Event]:
    every = dict(view.snapshot.under(keys.NOTES))
    every.update({key: view.item(key) for key in wanted if view.item(key)})
    own = keys.notes_of_group("")
    for key, item in every.items():
        try:
            notes = Notes.decode(key, item.value).notes
        except Corrupt:
            continue
        group = key.removeprefix(own) if key.startswith(own) else ""
        yield from (_event(note, group) for note in notes)


def _event(note: Note, group: str) -> Event:
    return Event(note.at, note.act, note.by, group, note.node, note.host, note.reason)


def _of_holders(view: View) -> Iterable[Event]:
    """The phases of those who hold a slot now; for the others they stand in the entry of their release."""
    for key, _, holder in view.documents(keys.OWNERS, Holder):
        node = keys.own_node(key)
        for step in holder.steps:
            yield _phase(step, holder, node)


def _phase(step: Step, holder: Holder, node: str) -> Event:
    return Event(step.at, step.phase, holder.by or f"agent@{holder.host}", holder.group, node, holder.host)
