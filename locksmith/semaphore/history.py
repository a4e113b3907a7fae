"""What was done, read back: for people, and for the audit. Nothing here ever writes, and no decision about slots rests on it."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime

from locksmith.core import keys
from locksmith.core.audit import Finding, Replay, replay, unsanctioned
from locksmith.core.documents import Guard, Holder, NodeRecord, Phase
from locksmith.core.history import AGE, RING, Entry, Note, Notes, Step, Unsanctioned
from locksmith.errors import Corrupt
from locksmith.semaphore.actor import Actor, View, look
from locksmith.stores import Item

CHUNK = 50
"""Keys of one read."""
NODES_EVERY = 10
"""Looks of a follower from one reading of the nodes' notes to the next."""


TOLD = (Phase.ACQUIRED, Phase.FAILED)
"""Phases whose beginning stands in the ring or in a note."""


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
    return Follower(actor, group, node).begin(since)


@dataclass(slots=True)
class Follower:
    """What was done, and then what is done from now on, of one group or of one node.

    The rings of a large fleet are tens of megabytes: they are read once, and then only the entries that the guards count more.
    """

    actor: Actor
    group: str | None
    node: str | None
    _numbers: dict[str, int] = field(default_factory=dict)
    _seen: frozenset[Event] = frozenset()
    _looks: int = 0

    def begin(self, since: datetime | None) -> tuple[Event, ...]:
        """What was done, oldest first; since then. Raises StoreError."""
        rings = keys.entries(keys.group_limit(self.group)) if self.group is not None else keys.ENTRIES
        view, notes = self._look(rings)
        oldest = self.actor.clock.wall() - AGE
        oldest = max(oldest, since) if since is not None else oldest
        entries = _readable(view.snapshot.under(rings))
        for limit, entry in entries:
            self._numbers[limit] = max(self._numbers.get(limit, 0), entry.seq)
        rest = self._rest(view, notes)
        return tuple(event for event in _in_order(entries, rest) if event.at >= oldest and self._wanted(event))

    def more(self) -> tuple[Event, ...]:
        """What was done since the last time. Raises StoreError."""
        view, notes = self._look(keys.guard(keys.group_limit(self.group)) if self.group is not None else keys.GUARDS)
        wanted, numbers = list[str](), dict[str, int]()
        for key, item in view.snapshot.under(keys.GUARDS):
            limit = key.removeprefix(keys.GUARDS)
            with suppress(Corrupt):
                seq = Guard.decode(key, item.value).seq
                known = min(self._numbers.get(limit, 0), seq)
                wanted += [keys.entry(limit, number) for number in range(max(known, seq - RING) + 1, seq + 1)]
                numbers[limit] = seq
        items: list[tuple[str, Item]] = []
        for start in range(0, len(wanted), CHUNK):
            piece = look(self.actor.store, wanted[start : start + CHUNK])
            items += piece.snapshot.under(keys.ENTRIES)
        self._numbers |= numbers  # not before all of it was read: what failed is read the next time
        before = self._seen
        rest = [event for event in self._rest(view, notes) if event not in before]
        return tuple(event for event in _in_order(_readable(items), rest) if self._wanted(event))

    def _look(self, prefix: str) -> tuple[View, list[tuple[str, Note]]]:
        """One snapshot with what is below the prefix, the holders and the notes; and the notes of nodes, which are many.

        Those are of another instant, and while following they are read at every tenth look.
        """
        wanted = [keys.notes_of_fleet()]
        below = [prefix, keys.OWNERS]
        if self.group is not None:
            wanted.append(keys.notes_of_group(self.group))
        else:  # a node's failures stand with the group that they halted
            below.append(keys.notes_of_group(""))
        view = look(self.actor.store, wanted, below)
        notes = list(_notes(view))
        if self.node is not None:
            notes += _notes(look(self.actor.store, [keys.notes_of_node(self.node)]))
        elif self._looks % NODES_EVERY == 0:
            notes += self._of_nodes()
        self._looks += 1
        return view, notes

    def _of_nodes(self) -> Iterator[tuple[str, Note]]:
        """What is noted of the nodes, or of those that are registered in the group or hold a slot of it."""
        every = keys.notes_of_node("")
        if self.group is None:
            yield from _notes(look(self.actor.store, (), [every]))
            return
        registry = look(self.actor.store, (), [keys.records(self.group)])
        nodes = sorted({keys.record_node(key) for key, _ in registry.snapshot.under(keys.RECORDS)})
        for start in range(0, len(nodes), CHUNK):
            view = look(self.actor.store, [keys.notes_of_node(node) for node in nodes[start : start + CHUNK]])
            for key, note in _notes(view):
                # A note that names a group is of the time when the node was in that one.
                yield key, replace(note, more={"group": self.group, **note.more})

    def _rest(self, view: View, notes: Iterable[tuple[str, Note]]) -> list[Event]:
        """What stands in no ring; remembers it."""
        rest = [*_of_notes(notes), *_of_holders(view)]
        self._seen |= frozenset(rest)
        return rest

    def _wanted(self, event: Event) -> bool:
        return (self.node is None or event.node == self.node) and (
            self.group is None or event.group == self.group or not (event.group or event.node)
        )


def audit(actor: Actor, group: str | None, since: datetime | None = None) -> Audit:
    """Replay the history of a group's limit, or of all limits. Raises Corrupt when a guard or holder cannot be read, StoreError.

    With `since` only what was found of that time and later is told: what is older was looked at and explained before.
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
    noted = _unsanctioned(actor, [node for node, record in records if record.reboots.get("unsanctioned")])
    unasked = [found for node, record in records for found in unsanctioned(node, record, noted.get(node, ()))]
    shown = tuple(each for each in replays if group is not None or each.entries or each.findings or each.guarded)
    findings = (*(finding for each in shown for finding in each.findings), *unread, *unasked)
    if since is not None:
        findings = tuple(finding for finding in findings if finding.at is not None and finding.at >= since)
    return Audit(shown, findings)


def _unsanctioned(actor: Actor, nodes: Sequence[str]) -> dict[str, list[Unsanctioned]]:
    """What the notes say of those nodes: an older agent's record names no boot, and may have replaced one that did."""
    found: dict[str, list[Unsanctioned]] = {}
    for start in range(0, len(nodes), CHUNK):
        view = look(actor.store, [keys.notes_of_node(node) for node in nodes[start : start + CHUNK]])
        for _, note in _notes(view):
            if note.act == "unsanctioned" and (boot := str(note.more.get("boot", ""))):
                found.setdefault(note.node, []).append(Unsanctioned(boot=boot, at=note.at))
    return found


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


def _readable(items: Iterable[tuple[str, Item]]) -> list[tuple[str, Entry]]:
    """Limits and their entries; what cannot be read the audit tells of."""
    found = []
    for key, item in items:
        with suppress(Corrupt):
            found.append((keys.entry_limit(key), Entry.decode(key, item.value)))
    return found


def _in_order(entries: Iterable[tuple[str, Entry]], rest: Iterable[Event]) -> list[Event]:
    """By their times; those of one limit by their numbers, since each is of another host's clock.

    A node with several limits has an entry in each ring; the one of its group speaks for all.
    """
    placed = [(event.at, 0, event) for event in rest]
    latest: dict[str, datetime] = {}
    for limit, entry in sorted(entries, key=lambda each: each[1].seq):
        latest[limit] = max(latest.get(limit, entry.at), entry.at)
        if not entry.node or limit == keys.group_limit(entry.group):
            group = entry.group or limit.removeprefix(keys.group_limit(""))
            event = Event(entry.at, entry.act, entry.by, group, entry.node, entry.host, entry.reason, entry)
            placed.append((latest[limit], entry.seq, event))
    return [event for _, _, event in sorted(placed, key=lambda each: each[:2])]


def _of_notes(notes: Iterable[tuple[str, Note]]) -> Iterator[Event]:
    own = keys.notes_of_group("")
    for key, note in notes:
        group = key.removeprefix(own) if key.startswith(own) else str(note.more.get("group", ""))
        yield _event(note, group)


def _notes(view: View) -> Iterator[tuple[str, Note]]:
    """Each with the key of its document; what cannot be read is begun anew by the next who notes something."""
    for key, item in view.snapshot.under(keys.NOTES):
        with suppress(Corrupt):
            yield from ((key, note) for note in Notes.decode(key, item.value).notes)


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
            if step.phase not in TOLD:
                yield _phase(step, holder, keys.own_node(key))


def _phase(step: Step, holder: Holder, node: str) -> Event:
    """By the operator from the moment on that he has it by hand; before that his slot was the agent's."""
    by = holder.by if holder.by and step.phase == Phase.MAINTENANCE else f"agent@{holder.host}"
    return Event(step.at, step.phase, by, holder.group, node, holder.host)
