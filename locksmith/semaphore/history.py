"""What was done, read back: for people, and for the audit. Nothing here ever writes, and no decision about slots rests on it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from locksmith.core import keys
from locksmith.core.audit import Finding, Replay, replay, unsanctioned
from locksmith.core.documents import Guard, Holder, NodeRecord, Phase
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
        prefixes.append(keys.notes_of_group(""))  # a node's failures stand with the group that they halted
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
    """Replay the history of a group's limit, or of all limits. Raises Corrupt when a guard or holder cannot be read, StoreError.

    Each limit in a snapshot of its own, with all holders in it: entries, guard and holders belong to one instant.
    """
    prefix = keys.records(group) if group is not None else keys.RECORDS
    unread: list[Finding] = []
    records = []
    for key, item in look(actor.store, (), [prefix]).snapshot.under(prefix):
        try:
            records.append((keys.record_node(key), NodeRecord.decode(key, item.value)))
        except Corrupt as error:
            unread.append(
                Finding("gap", keys.group_limit(keys.record_group(key)), str(error), node=keys.record_node(key))
            )
    limits = [keys.group_limit(group)] if group is not None else _limits(actor, {record.group for _, record in records})
    replays = [_replayed(actor, limit) for limit in limits]
    unasked = [found for node, record in records if (found := unsanctioned(node, record))]
    shown = tuple(each for each in replays if group is not None or each.entries or each.findings or each.guarded)
    return Audit(shown, (*(finding for each in shown for finding in each.findings), *unread, *unasked))


def _replayed(actor: Actor, limit: str) -> Replay:
    prefix = keys.entries(limit)
    view = look(actor.store, [keys.guard(limit)], [prefix, keys.OWNERS])
    holders = [keys.own_node(key) for key, _, holder in view.documents(keys.OWNERS, Holder) if limit in holder.limits]
    entries, lost = [], set()
    for key, item in view.snapshot.under(prefix):
        try:
            entries.append(Entry.decode(key, item.value))
        except Corrupt:
            lost.add(keys.entry_place(key))  # no less missing than one that is not there
    return replay(limit, entries, view.document(keys.guard(limit), Guard), holders, lost)


def _limits(actor: Actor, groups: Iterable[str]) -> list[str]:
    """All that ever were: also one whose guard is gone has a history, and who holds a slot of it."""
    view = look(actor.store, (), [keys.GUARDS, keys.BRAKES, keys.OWNERS])
    found = {key.removeprefix(keys.GUARDS) for key, _ in view.snapshot.under(keys.GUARDS)}
    found |= {keys.group_limit(key.removeprefix(keys.BRAKES)) for key, _ in view.snapshot.under(keys.BRAKES)}
    found |= {limit for _, _, holder in view.documents(keys.OWNERS, Holder) for limit in holder.limits}
    return sorted(found | {keys.group_limit(group) for group in groups})


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
    for key, item in view.snapshot.under(keys.OWNERS):
        try:
            holder = Holder.decode(key, item.value)
        except Corrupt:
            continue  # `lockctl fsck` tells of it
        for step in holder.steps:
            yield _phase(step, holder, keys.own_node(key))


def _phase(step: Step, holder: Holder, node: str) -> Event:
    """By the operator from the moment on that he has it by hand; before that his slot was the agent's."""
    by = holder.by if holder.by and step.phase == Phase.MAINTENANCE else f"agent@{holder.host}"
    return Event(step.at, step.phase, by, holder.group, node, holder.host)
