"""What operators look at: groups, holders, queues. Nothing here ever writes.

The one idea a reader would miss: one snapshot answers all of it, so that slots, holders and queue belong to one instant.
Names of nodes are found in `registry`, and why a node waits is told in `why`; both are offered here too.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from locksmith.core import keys
from locksmith.core.admission import Waiting, ordered
from locksmith.core.documents import Brake, Guard, Holder, Pause, Phase, Ticket
from locksmith.semaphore.actor import Actor, View, look
from locksmith.semaphore.claiming import Held
from locksmith.semaphore.explanation import Explanation, Step
from locksmith.semaphore.registry import NodeLine, NodeRef, nodes, resolve
from locksmith.semaphore.why import why

__all__ = [
    "Explanation",
    "GroupStatus",
    "GroupSummary",
    "Halt",
    "HolderLine",
    "NodeLine",
    "NodeRef",
    "PauseLine",
    "QueueLine",
    "Step",
    "StoreSeen",
    "groups",
    "nodes",
    "resolve",
    "status",
    "status_all",
    "store_seen",
    "why",
]


@dataclass(frozen=True, slots=True)
class StoreSeen:
    """What a store says about itself. `incarnation` is the random identity in `cfg`, None when nothing is set up."""

    kind: str
    id: str
    members: int | None
    version: str | None
    incarnation: str | None
    epoch: int | None


@dataclass(frozen=True, slots=True)
class PauseLine:
    """The pause in force, the fleet's before the group's."""

    scope: Literal["fleet", "group"]
    by: str
    reason: str
    since: datetime
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Halt:
    """Too many holders failed. `since` is the oldest failure that nobody acknowledged, `reason` their checks."""

    since: datetime
    nodes: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class HolderLine:
    """One holder. `asked` names the operator who wants the slot; `check` the one that failed; `acked` a failure let pass."""

    node: str
    host: str
    phase: str
    since: datetime
    phase_since: datetime
    expected_by: datetime | None
    overdue: bool
    reason: str
    by: str | None
    token: str
    boot_id: str
    check: str
    acked: bool
    asked: str | None


@dataclass(frozen=True, slots=True)
class QueueLine:
    """One ticket; positions count from 1. `by`: taken by hand by this operator."""

    node: str
    host: str
    position: int
    since: datetime
    reason: str
    by: str | None


@dataclass(frozen=True, slots=True)
class GroupStatus:
    """A group at one instant. Slots and free are None without a guard; free is negative after slots were lowered.

    `waiting_unqueued` is None: it would cost the whole registry.
    """

    group: str
    exists: bool
    slots: int | None
    held: int
    free: int | None
    failed: int
    max_failed: int
    paused: PauseLine | None
    halted: Halt | None
    holders: tuple[HolderLine, ...]
    queue: tuple[QueueLine, ...]
    waiting_unqueued: int | None = None


@dataclass(frozen=True, slots=True)
class GroupSummary:
    """A group in one line."""

    group: str
    slots: int
    held: int
    free: int
    waiting: int
    failed: int
    paused: PauseLine | None
    halted: Halt | None


def store_seen(actor: Actor) -> StoreSeen:
    """Ask the store about itself; costs requests of its own. Raises StoreError."""
    facts, config = actor.store.facts(), look(actor.store).config
    return StoreSeen(
        actor.store.kind,
        facts.identity,
        facts.members,
        facts.version,
        config.store if config else None,
        config.epoch if config else None,
    )


def status(actor: Actor, group: str) -> GroupStatus:
    """One group, which need not exist. Raises Corrupt, Denied when its settings are hidden from us, StoreError."""
    wanted = [keys.guard(keys.group_limit(group)), keys.brake(group)]
    view = visible(actor, look(actor.store, wanted, [keys.queue(group), keys.OWNERS]))
    return _status(actor, view, group, [held for held in _holders(view) if held.holder.group == group])


def status_all(actor: Actor) -> tuple[GroupStatus, ...]:
    """Every group that has a guard, holders, tickets or a brake, by name. Raises Corrupt, Denied, StoreError."""
    return status_in(actor, visible(actor, look(actor.store, (), STATUS_PREFIXES)))


STATUS_PREFIXES = (keys.guard(keys.group_limit("")), keys.BRAKES, keys.QUEUES, keys.OWNERS)
"""What a snapshot must have read for `status_in`."""


def status_in(actor: Actor, view: View) -> tuple[GroupStatus, ...]:
    """The same, from a snapshot that was taken for more than this. Raises Corrupt."""
    guards = STATUS_PREFIXES[0]
    holders: dict[str, list[Held]] = {}
    for held in _holders(view):
        holders.setdefault(held.holder.group, []).append(held)
    known = set(holders)
    known |= {key.removeprefix(guards) for key, _ in view.snapshot.under(guards)}
    known |= {key.removeprefix(keys.BRAKES) for key, _ in view.snapshot.under(keys.BRAKES)}
    known |= {key.split("/")[1] for key, _ in view.snapshot.under(keys.QUEUES)}
    return tuple(_status(actor, view, group, holders.get(group, [])) for group in sorted(known))


def groups(actor: Actor) -> tuple[GroupSummary, ...]:
    """The groups that have a guard, by name. Raises Corrupt, Denied, StoreError."""
    return tuple(
        GroupSummary(
            group=seen.group,
            slots=seen.slots,
            held=seen.held,
            free=seen.free,
            waiting=len(seen.queue),
            failed=seen.failed,
            paused=seen.paused,
            halted=seen.halted,
        )
        for seen in status_all(actor)
        if seen.slots is not None and seen.free is not None
    )


def visible(actor: Actor, view: View) -> View:
    """Consul leaves out what may not be read, in silence: an empty answer is not believed before it was asked.

    Raises Denied, StoreError.
    """
    if view.config is None:
        actor.store.probe(keys.CFG)
    return view


def _holders(view: View) -> Iterable[Held]:
    for key, item, holder in view.documents(keys.OWNERS, Holder):
        yield Held(key, holder, item.create, item.mod)


def _status(actor: Actor, view: View, group: str, holders: list[Held]) -> GroupStatus:
    guard = view.document(keys.guard(keys.group_limit(group)), Guard)
    brake = view.document(keys.brake(group), Brake) or Brake()
    prefix = keys.queue(group)
    tickets = [Waiting(key, ticket, item.create, item.mod) for key, item, ticket in view.documents(prefix, Ticket)]
    return GroupStatus(
        group=group,
        exists=guard is not None,
        slots=guard.slots if guard else None,
        held=len(holders),
        free=guard.effective - len(holders) if guard else None,
        failed=sum(held.holder.phase == Phase.FAILED for held in holders),
        max_failed=brake.max_failed,
        paused=_pause(view, brake, actor.trusted_now()),
        halted=_halt(brake),
        holders=_holder_lines(holders, brake, actor.clock.wall()),
        queue=tuple(
            QueueLine(
                waiting.node,
                waiting.ticket.host or waiting.node,
                position,
                waiting.ticket.since,
                waiting.ticket.reason,
                waiting.ticket.by,
            )
            for position, waiting in enumerate(ordered(tickets), start=1)
        ),
    )


def _pause(view: View, brake: Brake, now: datetime | None) -> PauseLine | None:
    fleet = view.config.pause if view.config else None
    both: tuple[tuple[Literal["fleet", "group"], Pause | None], ...] = (("fleet", fleet), ("group", brake.pause))
    for scope, pause in both:
        if pause is not None and pause.in_force(now):
            return PauseLine(scope, pause.by, pause.reason, pause.since, pause.until)
    return None


def _halt(brake: Brake) -> Halt | None:
    if not brake.halted:
        return None
    failures = [brake.failed[node] for node in brake.unacked]
    checks = dict.fromkeys(failure.check for failure in failures)
    return Halt(min(failure.since for failure in failures), brake.unacked, ", ".join(checks))


def _holder_lines(holders: list[Held], brake: Brake, now: datetime) -> tuple[HolderLine, ...]:
    lines = []
    for held in sorted(holders, key=lambda held: (held.token, held.key)):
        holder, node = held.holder, keys.own_node(held.key)
        failure = brake.failed.get(node)
        marks = [mark.by for mark in (holder.revoke, holder.then) if mark is not None]
        lines.append(
            HolderLine(
                node=node,
                host=holder.host or node,
                phase=holder.phase,
                since=holder.since,
                phase_since=holder.phase_since,
                expected_by=holder.expected_by,
                overdue=holder.expected_by is not None and holder.expected_by < now,
                reason=holder.reason,
                by=holder.by,
                token=str(held.token),
                boot_id=holder.boot,
                check=holder.check,
                acked=failure is not None and failure.acked,
                asked=marks[0] if marks else None,
            )
        )
    return tuple(lines)
