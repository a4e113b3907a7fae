"""Who is registered, and which node a name means.

The one idea a reader would miss: the registry is what agents say of themselves and nothing more. It is read as a whole only
to find a name or to list it; no decision about slots ever rests on it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from locksmith.core import keys, names
from locksmith.core.documents import NodeRecord
from locksmith.core.durations import LONGEST
from locksmith.errors import AmbiguousNode, UsageError
from locksmith.semaphore.actor import Actor, look

PREFIX_DIGITS = 8
"""So many digits of an id may stand for it, if they are unique."""
DEFAULT_HEARTBEAT = timedelta(minutes=15)
SHOWN = 8


@dataclass(frozen=True, slots=True)
class NodeLine:
    """One node as it last described itself. `silent`: not seen for more than two of its heartbeats."""

    node: str
    record: NodeRecord
    silent: bool


@dataclass(frozen=True, slots=True)
class NodeRef:
    """What a name means. Not `known`: taken literally, and it binds no agent."""

    node: str
    host: str | None
    group: str | None
    record: NodeRecord | None
    known: bool


def nodes(actor: Actor, group: str | None) -> tuple[NodeLine, ...]:
    """The registered nodes of a group, or all, by host. Raises Corrupt, StoreError."""
    prefix = keys.records(group) if group is not None else keys.RECORDS
    lines = (NodeLine(node, record, silent(record, actor.clock.wall())) for node, record in _records(actor, prefix))
    return tuple(sorted(lines, key=lambda line: (line.record.group, line.record.host, line.node)))


def silent(record: NodeRecord, now: datetime) -> bool:
    """Whether a node has not been seen for more than two of its heartbeats."""
    # Whoever wrote the record chose the number; not every one is a duration.
    heartbeat = timedelta(seconds=min(max(0, record.heartbeat), LONGEST.total_seconds())) or DEFAULT_HEARTBEAT
    return now - record.seen > 2 * heartbeat


def resolve(actor: Actor, name: str, group: str | None = None) -> NodeRef:
    """Find the node that a name means: an id, a host name, or the beginning of an id. `group` only saves reading.

    Raises AmbiguousNode with the candidates; UsageError for what can be no node id; Corrupt, StoreError.
    """
    try:
        names.node_id(name)
    except ValueError as error:
        raise UsageError(str(error)) from error
    if group is not None:
        record = look(actor.store, [keys.record(group, name)]).document(keys.record(group, name), NodeRecord)
        if record is not None:
            return _known(name, record)
    newest: dict[str, NodeRecord] = {}
    for node, record in _records(actor, keys.RECORDS):
        # A node that changed its group may have left a record behind.
        if node not in newest or newest[node].seen < record.seen:
            newest[node] = record
    if name in newest:
        return _known(name, newest[name])
    by_host = [node for node, record in newest.items() if record.host == name]
    by_prefix = [node for node in newest if node.startswith(name)] if len(name) >= PREFIX_DIGITS else []
    found = by_host or by_prefix
    if len(found) > 1:
        listed = ", ".join(f"{newest[node].host} {node}" for node in sorted(found)[:SHOWN])
        raise AmbiguousNode(f"{name} fits {len(found)} nodes: {listed}{', …' if len(found) > SHOWN else ''}; use an id")
    if found:
        return _known(found[0], newest[found[0]])
    return NodeRef(name, None, None, None, known=False)


def _known(node: str, record: NodeRecord) -> NodeRef:
    return NodeRef(node, record.host, record.group, record, known=True)


def _records(actor: Actor, prefix: str) -> Iterable[tuple[str, NodeRecord]]:
    for key, _, record in look(actor.store, (), [prefix]).documents(prefix, NodeRecord):
        yield keys.record_node(key), record
