"""Why a node does not reboot now: what its agent said, corrected by what the store says at this moment.

The one idea a reader would miss: the agent's own steps are as old as its last record, while holds, pauses, halts, the queue
and the slot are read now; therefore those steps are never taken from the record.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from locksmith.core import keys
from locksmith.core.admission import Waiting, ordered, walk
from locksmith.core.documents import Brake, Guard, Hold, Holder, NodeRecord, Phase, Request, Ticket
from locksmith.core.steps import STEP_OF_KIND, STEPS
from locksmith.semaphore.actor import Actor, View, look
from locksmith.semaphore.claiming import Held, held
from locksmith.semaphore.registry import NodeRef, silent

Verdict = Literal["not_needed", "waiting", "rebooting", "verifying", "failed", "held", "unknown"]
State = Literal["passed", "closed", "unknown"]

FROM_THE_STORE = frozenset({"hold", "pause", "queue", "slot"})


@dataclass(frozen=True, slots=True)
class Step:
    """One thing between a staged update and a healthy new boot, as `why --json` shows it."""

    step: str
    name: str | None
    state: State
    kind: str | None = None
    reason: str = ""
    since: datetime | None = None
    until: datetime | None = None
    remedy: str | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """The answer; the first step that is not passed decides. `seen`: when the agent last wrote its record."""

    node: str
    host: str | None
    group: str | None
    seen: datetime | None
    verdict: Verdict
    summary: str
    steps: tuple[Step, ...]


def why(actor: Actor, ref: NodeRef) -> Explanation:
    """Explain a node. Raises Corrupt, Denied when the store hides its settings from us, StoreError."""
    node = ref.node
    view = look(actor.store, [keys.own(node)])
    if view.config is None:
        actor.store.probe(keys.CFG)
    current = held(view, node)
    group = current.holder.group if current is not None else ref.group
    if group is not None:
        prefixes = [keys.queue(group), keys.GUARDS, keys.OWNERS]
        wanted = [keys.own(node), keys.brake(group), keys.hold(node), keys.request(node)]
        view = look(actor.store, wanted, prefixes)
        current = held(view, node)
    record = ref.record
    steps = _in_order([*_own_steps(record), *_store_steps(actor, view, node, group, current)])
    verdict, summary = _verdict(actor, ref, view, current, steps)
    return Explanation(
        node=node,
        host=ref.host or (current.holder.host if current is not None and current.holder.host else None),
        group=group,
        seen=record.seen if record is not None else None,
        verdict=verdict,
        summary=summary,
        steps=tuple(steps),
    )


def _in_order(steps: Iterable[Step]) -> list[Step]:
    return sorted(steps, key=lambda step: STEPS.index(step.step) if step.step in STEPS else len(STEPS))


def _own_steps(record: NodeRecord | None) -> list[Step]:
    """What the agent said of the steps that only it can know."""
    if record is None:
        return []
    told = [_told(step) for step in record.steps]
    if not told and record.kind is not None:
        step = STEP_OF_KIND.get(record.kind, "gate")
        told = [Step(step, None, "closed", record.kind, record.why, record.state_since)]
    # That it cannot reach the store is the agent's to say, whatever step it puts it under.
    return [step for step in told if step.step not in FROM_THE_STORE or step.kind == "store"]


def _told(raw: Mapping[str, Any]) -> Step:
    """One step from a record. It is another program's text: what does not fit is left out."""

    def text(name: str) -> str | None:
        value = raw.get(name)
        return value if isinstance(value, str) else None

    def moment(name: str) -> datetime | None:
        try:
            value = datetime.fromisoformat(text(name) or "")
        except ValueError:
            return None
        return value if value.tzinfo is not None else None

    said = text("state")
    state: State = "passed" if said == "passed" else "closed" if said == "closed" else "unknown"
    return Step(
        text("step") or "gate",
        text("name"),
        state,
        text("kind"),
        text("reason") or "",
        moment("since"),
        moment("until"),
        text("remedy"),
    )


def _store_steps(actor: Actor, view: View, node: str, group: str | None, current: Held | None) -> list[Step]:
    if group is None:
        return []
    steps = [_hold_step(actor, view, node), *_pause_steps(actor, view, group)]
    if current is None:
        return [*steps, *_queue_steps(actor, view, node, group)]
    holder = current.holder
    slot = Step("slot", group, "passed", None, f"holds slot {current.token} ({holder.phase})", holder.since)
    wanted = [mark for mark in (holder.revoke, holder.then) if mark is not None]
    if wanted:
        reason = f"{wanted[0].by} wants the slot back: {wanted[0].reason}"
        slot = Step("slot", group, "closed", "revoked", reason, holder.since)
    if holder.phase == Phase.MAINTENANCE:
        reason = f"held by hand by {holder.by}: {holder.reason}"
        slot = Step("slot", group, "closed", "maintenance", reason, holder.since, None, f"lockctl unlock {node}")
    return [*steps, slot]


def _hold_step(actor: Actor, view: View, node: str) -> Step:
    hold = view.document(keys.hold(node), Hold)
    if hold is None or not hold.in_force(actor.trusted_now()):
        return Step("hold", None, "passed")
    reason = f"held by {hold.by}: {hold.reason}"
    return Step("hold", None, "closed", "hold", reason, hold.since, hold.until, f"lockctl resume --node {node}")


def _pause_steps(actor: Actor, view: View, group: str) -> list[Step]:
    now, steps = actor.trusted_now(), []
    pause = view.config.pause if view.config is not None else None
    if pause is not None and pause.in_force(now):
        reason = f"fleet paused by {pause.by}: {pause.reason}"
        steps.append(
            Step("pause", "fleet", "closed", "paused", reason, pause.since, pause.until, "lockctl resume --fleet")
        )
    brake = view.document(keys.brake(group), Brake) or Brake()
    pause = brake.pause
    if pause is not None and pause.in_force(now):
        reason, remedy = f"group {group} paused by {pause.by}: {pause.reason}", f"lockctl resume --group {group}"
        steps.append(Step("pause", group, "closed", "paused", reason, pause.since, pause.until, remedy))
    if brake.halted:
        failures = [(brake.failed[node], node) for node in brake.unacked]
        named = "; ".join(f"{failure.host or node} failed {failure.check}" for failure, node in failures)
        remedy = (
            f"make {failures[0][0].host or failures[0][1]} well, and it releases by itself; "
            f"or lockctl resume --failed --group {group} --reason …"
        )
        reason = f"group {group} halted: {named}"
        steps.append(Step("pause", group, "closed", "halted", reason, failures[0][0].since, None, remedy))
    return steps or [Step("pause", group, "passed")]


def _queue_steps(actor: Actor, view: View, node: str, group: str) -> list[Step]:
    """Where the agent's ticket stands, and who has the slots; nothing for a node that does not queue."""
    prefix, mine = keys.queue(group), keys.ticket(group, node)
    tickets = [Waiting(key, ticket, item.create, item.mod) for key, item, ticket in view.documents(prefix, Ticket)]
    guards = {key.removeprefix(keys.GUARDS): guard for key, _, guard in view.documents(keys.GUARDS, Guard)}
    standing = walk(tickets, guards, mine, actor.clock.wall())
    if standing is None:
        return []
    ticket = next(waiting.ticket for waiting in tickets if waiting.key == mine)
    ahead = [waiting.ticket.host or waiting.node for waiting in ordered(tickets)[: standing.rank - 1]]
    if standing.blocked_by is None:
        return [
            Step("queue", group, "passed", None, f"place {standing.rank}: may take a slot now", ticket.since),
            Step("slot", group, "passed", None, "a slot is free"),
        ]
    queue = Step("queue", group, "passed", None, "first in the queue", ticket.since)
    if ahead:
        listed = ", ".join(ahead[:5]) + (f" and {len(ahead) - 5} more" if len(ahead) > 5 else "")  # noqa: PLR2004
        queue = Step("queue", group, "closed", "queue", f"place {standing.rank}, behind {listed}", ticket.since)
    return [queue, _slot_step(view, standing.blocked_by, guards.get(standing.blocked_by))]


def _slot_step(view: View, limit: str, guard: Guard | None) -> Step:
    holders = [
        (holder.since, f"{holder.host or keys.own_node(key)} ({holder.phase})")
        for key, _, holder in view.documents(keys.OWNERS, Holder)
        if limit in holder.limits
    ]
    taken = ", ".join(named for _, named in sorted(holders)) or "nobody"
    if guard is not None and guard.free > 0:
        return Step("slot", limit, "closed", "queue", f"those in front take what is free of {limit}; held by {taken}")
    since = max((since for since, _ in holders), default=None)
    return Step("slot", limit, "closed", "queue", f"no slot of {limit} is free; held by {taken}", since)


def _verdict(actor: Actor, ref: NodeRef, view: View, current: Held | None, steps: list[Step]) -> tuple[Verdict, str]:
    named = ref.host or (current.holder.host if current is not None and current.holder.host else ref.node)
    if current is not None:
        return _holding(current, named, ref, actor)
    blocking = next((step for step in steps if step.state != "passed"), None)
    if ref.record is None:
        return "unknown", f"{named} is not registered and holds no slot: no agent of that name has ever been seen here"
    if silent(ref.record, actor.clock.wall()):
        said = f"; then it said: {ref.record.why}" if ref.record.why else ""
        return "unknown", f"{named} was last seen at {_at(ref.record.seen)}: is its agent running?{said}"
    hold = next((step for step in steps if step.step == "hold" and step.state == "closed"), None)
    if hold is not None:
        return "held", f"{named} must not reboot: {hold.reason}"
    request = view.document(keys.request(ref.node), Request)
    if ref.record.need is None and request is None and ref.record.kind is None:
        return "not_needed", f"{named} needs no reboot"
    if blocking is None:
        return "waiting", f"{named}: {ref.record.why or 'nothing stands in the way'}"
    return "waiting", f"{named} waits: {blocking.reason or blocking.kind or blocking.step}"


def _holding(current: Held, named: str, ref: NodeRef, actor: Actor) -> tuple[Verdict, str]:
    holder = current.holder
    since = _at(holder.phase_since)
    unseen = ""
    if ref.record is not None and silent(ref.record, actor.clock.wall()):
        unseen = f"; last seen at {_at(ref.record.seen)}"
    match holder.phase:
        case Phase.MAINTENANCE:
            return "held", f"{named} is held by hand by {holder.by} since {since}: {holder.reason}"
        case Phase.FAILED:
            return "failed", f"{named} failed {holder.check} at {since} and keeps its slot until it is well{unseen}"
        case Phase.VERIFYING:
            return "verifying", f"{named} has rebooted and shows its health since {since}{unseen}"
        case Phase.ARMED:
            return "rebooting", f"{named} may reboot at any moment since {since}{unseen}"
        case _:
            return "rebooting", f"{named} has a slot and drains since {since}{unseen}"


def _at(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}"
