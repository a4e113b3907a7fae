"""The whole fleet in one snapshot: for who watches all of it, such as the exporter. Nothing here ever writes.

The ideas a reader would miss. One read gives slots, queues, registry and history of one instant, and it is by far the
largest read that locksmith makes: it grows with the registry, which no other periodic read does. So a document whose bytes are
those of the last look is not decoded again. And what one node wrote of itself, or a line of the history, must not blind the
watcher for all others: what cannot be read there is counted and left out.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar, cast

from locksmith.core import keys
from locksmith.core.codec import Document
from locksmith.core.documents import NodeRecord
from locksmith.core.history import Entry
from locksmith.errors import Corrupt
from locksmith.semaphore.actor import Actor, View, confirm_cluster, look
from locksmith.semaphore.reading import STATUS_PREFIXES, GroupStatus, status_in, visible
from locksmith.semaphore.registry import NodeLine, silent
from locksmith.stores import Snapshot

D = TypeVar("D", bound=Document)


@dataclass(frozen=True, slots=True)
class Fleet:
    """The fleet at one instant. `entries` are the rings of the groups, each in the order of the numbers.

    `nodes` are the registered ones, each once, in the group where it was seen last. `at` is this host's clock. `unreadable`
    counts the documents that were left out; `size` are the bytes of all keys and values.
    """

    at: datetime
    groups: tuple[GroupStatus, ...]
    nodes: tuple[NodeLine, ...]
    entries: Mapping[str, tuple[Entry, ...]]
    unreadable: int
    size: int


@dataclass(slots=True)
class FleetWatch:
    """Looks again and again; remembers what it has decoded. Not for several threads at once."""

    actor: Actor
    _known: dict[str, tuple[bytes, Document | None]] = field(default_factory=dict)
    _confirmed: bool = False

    def look(self) -> Fleet:
        """One read of the store (the first time one more, for its identity).

        Raises Corrupt when a guard, brake, ticket or holder cannot be read; Denied, WrongStore, StoreError.
        """
        rings = f"{keys.ENTRIES}{keys.group_limit('')}"
        view = visible(self.actor, look(self.actor.store, (), (*STATUS_PREFIXES, keys.RECORDS, rings)))
        if view.config is not None and not self._confirmed:
            confirm_cluster(self.actor.store, view.config)
            self._confirmed = True
        now = self.actor.clock.wall()
        known: dict[str, tuple[bytes, Document | None]] = {}
        records = self._decoded(view, keys.RECORDS, NodeRecord.decode, known)
        entries = self._decoded(view, rings, Entry.decode, known)
        self._known = known
        rings_by_group: dict[str, list[Entry]] = {}
        for key, entry in entries.items():
            if entry is not None:
                rings_by_group.setdefault(key.removeprefix(rings).rsplit("/", 1)[0], []).append(entry)
        return Fleet(
            at=now,
            groups=status_in(self.actor, _small(view)),
            nodes=_nodes(records, now),
            entries={group: tuple(sorted(ring, key=lambda entry: entry.seq)) for group, ring in rings_by_group.items()},
            unreadable=sum(document is None for document in (*records.values(), *entries.values())),
            size=sum(len(key) + len(item.value) for key, item in view.snapshot.items.items() if item),
        )

    def _decoded(
        self,
        view: View,
        prefix: str,
        decode: Callable[[str, bytes], D],
        known: dict[str, tuple[bytes, Document | None]],
    ) -> dict[str, D | None]:
        """The documents below a prefix, None for one that cannot be read; remembers them in `known`."""
        found: dict[str, D | None] = {}
        for key, item in view.snapshot.under(prefix):
            before = self._known.get(key)
            if before is not None and before[0] == item.value:
                document = cast("D | None", before[1])  # below one prefix there is one kind of document
            else:
                document = _read(decode, key, item.value)
            known[key] = (item.value, document)
            found[key] = document
        return found


def _small(view: View) -> View:
    """Without registry and history, which would be searched anew for each group."""
    items = view.snapshot.items
    return View(Snapshot({key: item for key, item in items.items() if key.startswith(STATUS_PREFIXES)}), view.config)


def _read(decode: Callable[[str, bytes], D], key: str, value: bytes) -> D | None:
    try:
        return decode(key, value)
    except Corrupt:
        return None


def _nodes(records: Mapping[str, NodeRecord | None], now: datetime) -> tuple[NodeLine, ...]:
    """A node that changed its group may have left a record behind: the newest counts."""
    newest: dict[str, NodeRecord] = {}
    for key, record in records.items():
        node = keys.record_node(key)
        if record is not None and (node not in newest or newest[node].seen < record.seen):
            newest[node] = record
    return tuple(NodeLine(node, record, silent(record, now)) for node, record in newest.items())
