"""What an operator says after the store was restored from a backup: a new epoch, with the fleet paused.

The ideas a reader would miss. Agents compare epochs for equality only, and a backup may be older than the last restore: so the
new one is taken from the clock, and never one that was used before. And the pause stands in the same commit: between the two a
claim could take the slot of a node that the backup does not know.
"""

from dataclasses import dataclass, replace

from locksmith.core import keys
from locksmith.core.documents import Config, NodeRecord, Pause
from locksmith.core.history import short
from locksmith.errors import Corrupt
from locksmith.semaphore.actor import Actor, look
from locksmith.semaphore.operating import require_setup
from locksmith.semaphore.recording import note
from locksmith.semaphore.registry import NodeLine, silent
from locksmith.semaphore.rewriting import Told, rewrite


@dataclass(frozen=True, slots=True)
class Restored:
    """The epoch in force, and who works in it. `before` is the one that it replaced, None when nothing was changed.

    `cluster` is the store's own identity that was recorded until now, where the restored store has another one.
    `settled` have run START in this epoch; `missing` have not said so yet; `stuck` have, and cannot go on;
    what the nodes in `unreadable` say of themselves cannot be read.
    """

    epoch: int
    before: int | None
    cluster: str | None
    pause: Pause | None
    settled: tuple[NodeLine, ...]
    missing: tuple[NodeLine, ...]
    stuck: tuple[NodeLine, ...]
    unreadable: tuple[str, ...]


def restored(actor: Actor, reason: str) -> Restored:
    """Raise the fleet's epoch and pause the fleet, in one commit.

    Every agent then runs START again, and who owes a slot that the backup does not know puts its holder back. An etcd that was
    restored may be another cluster by its own account, so the actor need not be on the recorded one. Raises NoSuchGroup
    (nothing is set up), StoreError.
    """
    require_setup(actor)
    wall = actor.clock.wall()
    identity = actor.store.facts().identity
    made: list[Config] = []

    def change(config: Config | None) -> Config | None:
        if config is None:
            return None
        epoch = max(config.epoch + 1, int(wall.timestamp() * 1000))
        text = f"the store was restored: {reason}"
        if config.pause is not None:  # resuming ends that one, too, so it must be seen
            text += f" (in the backup, or before: paused by {config.pause.by}: {config.pause.reason})"
        pause = Pause(by=actor.by, reason=short(text), since=wall)
        return replace(config, epoch=epoch, cluster=identity, pause=pause)

    told = Told(keys.notes_of_fleet(), note(actor, "epoch", reason))
    before = rewrite(actor, keys.CFG, Config, change, made=made, told=told)
    if before is None:  # restored once more between the two looks, without a fleet in it
        require_setup(actor)
    return _seen(actor, before, identity)


def since_restore(actor: Actor) -> Restored:
    """Who has run START in the epoch in force. Raises NoSuchGroup (nothing is set up), StoreError."""
    require_setup(actor)
    return _seen(actor, None, None)


def _records(actor: Actor) -> tuple[list[NodeLine], tuple[str, ...]]:
    """One line a node, and the nodes whose record cannot be read.

    Who changed its group may have left a record behind, which nobody writes any more: the newest one counts.
    """
    newest: dict[str, NodeLine] = {}
    unreadable: list[str] = []
    for key, item in look(actor.store, (), [keys.RECORDS]).snapshot.under(keys.RECORDS):
        node = keys.record_node(key)
        try:
            record = NodeRecord.decode(key, item.value)
        except Corrupt:
            unreadable.append(node)
            continue
        if node not in newest or newest[node].record.seen < record.seen:
            newest[node] = NodeLine(node, record, silent(record, actor.clock.wall()))
    lines = sorted(newest.values(), key=lambda line: (line.record.group, line.record.host, line.node))
    return lines, tuple(node for node in unreadable if node not in newest)


def _seen(actor: Actor, before: Config | None, identity: str | None) -> Restored:
    config = look(actor.store).config
    epoch = config.epoch if config is not None else 0
    known, unreadable = _records(actor)
    here = [line for line in known if line.record.epoch == epoch]
    stuck = tuple(line for line in here if line.record.state in ("unready", "conflicted"))
    return Restored(
        epoch,
        before.epoch if before is not None else None,
        before.cluster if before is not None and before.cluster != identity else None,
        config.pause if config is not None else None,
        tuple(line for line in here if line not in stuck),
        tuple(line for line in known if line.record.epoch != epoch),
        stuck,
        unreadable,
    )
