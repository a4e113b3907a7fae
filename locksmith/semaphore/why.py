"""Why a node does not reboot now: what its agent said, corrected by what the store says at this moment.

The one idea a reader would miss: the agent's own steps are as old as its last record, while holds, pauses, halts, the queue
and the slot are read now; therefore those steps are never taken from the record, and of the others none that the phase of
the node's slot has left behind.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from statistics import median

from locksmith.core import keys
from locksmith.core.admission import Standing, Waiting, ordered, walk
from locksmith.core.documents import Brake, Guard, Hold, Holder, NodeRecord, Phase, Request, Ticket
from locksmith.core.durations import format_duration
from locksmith.core.history import Entry
from locksmith.core.steps import SILENT, STEP_OF_KIND
from locksmith.core.telling import listed
from locksmith.core.waits import expected, measured
from locksmith.errors import Corrupt
from locksmith.semaphore.actor import Actor, View, look
from locksmith.semaphore.claiming import Held, held
from locksmith.semaphore.explanation import Explanation, Place, Step, Verdict, first, in_order, told
from locksmith.semaphore.registry import NodeRef, silent

FROM_THE_STORE = frozenset({"agent", "hold", "pause", "queue", "slot"})
UNQUEUED = ("queue", "queue_full", "store")
"""Why an agent that wants to queue may have no ticket."""
AHEAD = 5
"""How many of those in front a sentence names."""
DOING: dict[str, tuple[str, ...]] = {
    Phase.ACQUIRED: ("drain", "reboot"),
    Phase.DRAINING: ("drain", "reboot"),
    Phase.ARMED: ("reboot",),
    Phase.VERIFYING: ("health",),
    Phase.FAILED: ("health",),
}
"""In which step an agent is whose slot has this phase: the first in the list, or already one of the others."""
BEHIND = {"drain": (), "reboot": ("drain",), "health": ("drain", "reboot")}


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
    place: Place | None = None
    if current is not None:
        steps = [*_silence(actor, ref, current), *_of_holder(actor, ref.record, view, current)]
    else:
        line, place = _line(actor, view, node, group)
        stops = _stops(actor, view, node, group)
        steps = [*_silence(actor, ref, None), *_own_steps(ref.record, queued=bool(line)), *stops, *line]
        steps = _with_request(steps, view.document(keys.request(node), Request))
    ordered_steps = in_order(steps)
    verdict, summary = _verdict(actor, ref, current, ordered_steps)
    record = ref.record
    return Explanation(
        node=node,
        host=ref.host or (current.holder.host if current is not None and current.holder.host else None),
        group=group,
        seen=record.seen if record is not None else None,
        verdict=verdict,
        summary=summary,
        steps=ordered_steps,
        silent=_missed(actor, record, current),
        queue=place,
    )


# ---------------------------------------------------------------- what the agent said


def _missed(actor: Actor, record: NodeRecord | None, current: Held | None) -> bool:
    """Whether an agent has not been heard of for too long.

    One that runs a hook, or is down for its reboot, writes no record; it is not missed before that is overdue.
    """
    if record is None or not silent(record, actor.clock.wall()):
        return False
    due = current.holder.expected_by if current is not None else None
    return due is None or due < actor.clock.wall()


def _silence(actor: Actor, ref: NodeRef, current: Held | None) -> list[Step]:
    """That nobody there would act comes before all else; a node held by hand may well be off."""
    if current is not None and current.holder.phase == Phase.MAINTENANCE:
        return []
    if ref.record is None:
        return [] if current is not None else [Step("agent", None, "unknown", SILENT, "no agent was ever seen")]
    if not _missed(actor, ref.record, current):
        return []
    text = f"last seen at {_at(ref.record.seen)}: it does not run, or it does not reach the store"
    remedy = "on the node: systemctl status locksmithd, lockctl why"
    return [Step("agent", None, "unknown", SILENT, text, ref.record.seen, None, remedy)]


def _own_steps(record: NodeRecord | None, *, queued: bool) -> list[Step]:
    """What the agent said of the steps that only it can know."""
    if record is None:
        return []
    found = [told(step) for step in record.steps]
    if not found and record.kind is not None:
        step = STEP_OF_KIND.get(record.kind, "gate")
        found = [Step(step, None, "closed", record.kind, record.why, record.state_since)]
    kept = [step for step in found if step.step not in FROM_THE_STORE]
    if not queued:
        # No ticket stands, so what keeps it from queueing is the agent's to say.
        kept += [_unqueued(step) for step in found if step.step == "queue" and step.kind in UNQUEUED]
    return kept


def _unqueued(step: Step) -> Step:
    if step.kind != "queue":
        return step
    text = "it has no ticket at this moment: it is about to queue again, or its agent has ended"
    return Step("queue", step.name, "unknown", "queue", text, step.since)


def _with_request(steps: list[Step], request: Request | None) -> list[Step]:
    """An operator's request is something to reboot for, whether or not the agent has seen it yet."""
    if request is None or any(step.step == "update" and step.state == "passed" for step in steps):
        return steps
    reason = f"asked by {request.by}" + (f": {request.reason}" if request.reason else "")
    others = [step for step in steps if step.step != "update" or step.kind == "loop_guard"]
    return [Step("update", "request", "passed", None, reason, request.since), *others]


# ---------------------------------------------------------------- what the store says


def _stops(actor: Actor, view: View, node: str, group: str | None) -> list[Step]:
    """Hold, pauses and halt. They stop every claim and every arm, and nothing after the arm."""
    if group is None:
        return []
    return [_hold_step(actor, view, node), *_pause_steps(actor, view, group)]


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


# ---------------------------------------------------------------- who has a slot


def _of_holder(actor: Actor, record: NodeRecord | None, view: View, current: Held) -> list[Step]:
    holder, node = current.holder, keys.own_node(current.key)
    own = [step for step in _own_steps(record, queued=True) if step.step == "update" and step.state == "passed"]
    if holder.phase == Phase.MAINTENANCE:
        reason, remedy = f"held by hand by {holder.by}: {holder.reason}", f"lockctl unlock {node}"
        return [*own, Step("slot", holder.group, "closed", "maintenance", reason, holder.since, None, remedy)]
    if not own and holder.reason:
        own = [Step("update", None, "passed", None, holder.reason, holder.since)]
    doing = DOING.get(holder.phase, ("reboot",))
    said = [step for step in _own_steps(record, queued=True) if step.step in doing]
    if all(step.state == "passed" for step in said):
        # The phase is newer than the record.
        said = [Step(doing[0], None, "closed", _kind(holder), _phase(holder), holder.phase_since, holder.expected_by)]
    at = next(step.step for step in said if step.state != "passed")
    behind = [Step(step, None, "passed") for step in BEHIND[at] if step not in {one.step for one in said}]
    slot = Step("slot", holder.group, "passed", None, f"holds slot {current.token} ({holder.phase})", holder.since)
    wanted = [mark for mark in (holder.revoke, holder.then) if mark is not None]
    if wanted:
        reason = f"{wanted[0].by} wants the slot back: {wanted[0].reason}"
        slot = Step("slot", holder.group, "closed", "revoked", reason, holder.since)
    # Who is not armed yet gives back for a pause or a hold; and nobody else is stopped by one.
    stops = _stops(actor, view, node, holder.group) if doing[0] == "drain" else []
    return [*own, *stops, slot, *behind, *said]


def _kind(holder: Holder) -> str | None:
    return "health" if holder.phase in (Phase.VERIFYING, Phase.FAILED) else None


def _phase(holder: Holder) -> str:
    """What a holder does, as far as its phase tells."""
    match holder.phase:
        case Phase.ACQUIRED:
            return "has its slot and asks the gates again"
        case Phase.DRAINING:
            return "drains"
        case Phase.ARMED:
            return "may reboot at any moment, or is down for it"
        case Phase.VERIFYING:
            return "has rebooted and shows its health"
        case Phase.FAILED:
            return f"failed {holder.check} and keeps its slot until it is well"
        case phase:
            return phase  # a newer locksmith may know more of them


# ---------------------------------------------------------------- who waits for one


def _line(actor: Actor, view: View, node: str, group: str | None) -> tuple[list[Step], Place | None]:
    """Where the agent's ticket stands, and who has the slots; nothing for a node that does not queue."""
    if group is None:
        return [], None
    prefix, mine = keys.queue(group), keys.ticket(group, node)
    tickets = [Waiting(key, ticket, item.create, item.mod) for key, item, ticket in view.documents(prefix, Ticket)]
    guards = {key.removeprefix(keys.GUARDS): guard for key, _, guard in view.documents(keys.GUARDS, Guard)}
    standing = walk(tickets, guards, mine, actor.clock.wall())
    if standing is None:
        return [], None
    since = next(waiting.ticket.since for waiting in tickets if waiting.key == mine)
    ahead = ordered(tickets)[: standing.rank - 1]
    place = Place(standing.rank, tuple(waiting.node for waiting in ahead))
    if standing.blocked_by is None:
        text = f"place {standing.rank}: may take a slot now"
        return [
            Step("queue", group, "passed", None, text, since),
            Step("slot", group, "passed", None, "one is free"),
        ], place
    place = _expecting(actor, view, place, standing, guards)
    wait = _wait(place)
    queue = Step("queue", group, "passed", None, "first in the queue", since)
    if ahead:
        # Hosts of one name are told apart by their ids.
        hosts = [waiting.ticket.host or waiting.node for waiting in ahead]
        named = hosts if len(set(hosts)) == len(hosts) else [waiting.node for waiting in ahead]
        text = f"place {standing.rank}, behind {listed(named, AHEAD)}{wait}"
        queue, wait = Step("queue", group, "closed", "queue", text, since), ""
    return [queue, _slot_step(view, standing.blocked_by, guards.get(standing.blocked_by), wait)], place


def _slot_step(view: View, limit: str, guard: Guard | None, wait: str) -> Step:
    holders = [
        (holder.since, f"{holder.host or keys.own_node(key)} ({holder.phase})")
        for key, _, holder in view.documents(keys.OWNERS, Holder)
        if limit in holder.limits
    ]
    taken = ", ".join(named for _, named in sorted(holders)) or "nobody"
    if guard is not None and guard.free > 0:
        text = f"those in front take what is free of {limit}; held by {taken}"
        return Step("slot", limit, "closed", "queue", text + wait)
    since = max((since for since, _ in holders), default=None)
    return Step("slot", limit, "closed", "queue", f"no slot of {limit} is free; held by {taken}{wait}", since)


def _expecting(actor: Actor, view: View, place: Place, standing: Standing, guards: dict[str, Guard]) -> Place:
    """The place with how long it will take. Raises StoreError."""
    limit = standing.blocked_by or ""
    entries = []
    for key, item in look(actor.store, (), [keys.entries(limit)]).snapshot.under(keys.entries(limit)):
        try:
            entries.append(Entry.decode(key, item.value))
        except Corrupt:
            continue  # the audit tells of it
    durations = measured(entries)
    if not durations:
        return place
    now = actor.clock.wall()
    holders = [holder for _, _, holder in view.documents(keys.OWNERS, Holder) if limit in holder.limits]
    coming_back = [holder for holder in holders if holder.phase not in (Phase.MAINTENANCE, Phase.FAILED)]
    elapsed = [max(0.0, (now - holder.since).total_seconds()) for holder in coming_back]
    free = guards[limit].free if limit in guards else 1
    wait = expected(durations, elapsed, free, len(place.ahead))
    return Place(place.position, place.ahead, wait, median(durations), len(durations))


def _wait(place: Place) -> str:
    """The expected wait in words, and what it was reckoned from; nothing where nothing was ever measured."""
    if place.median is None:
        return ""
    one = place.measured == 1
    last = "the last reboot took" if one else f"median of the last {place.measured} reboots:"
    if place.wait is None:
        return (
            f"; nobody can say for how long: who has the slots takes longer than the last {place.measured} reboots did"
        )
    return f"; about {_rounded(place.wait)} to go ({last} {_rounded(place.median)} of holding a slot)"


def _rounded(seconds: float) -> str:
    """No more exact than it is: whole minutes from two minutes on."""
    step = 60 if seconds >= 120 else 5 if seconds >= 10 else 1  # noqa: PLR2004
    return format_duration(timedelta(seconds=step * round(seconds / step)))


# ---------------------------------------------------------------- the answer in one sentence


def _verdict(actor: Actor, ref: NodeRef, current: Held | None, steps: Sequence[Step]) -> tuple[Verdict, str]:
    record, answer = ref.record, first(steps)
    named = ref.host or (current.holder.host if current is not None and current.holder.host else ref.node)
    if current is not None:
        return _holding(current, named, ref, actor)
    if record is None:
        return "unknown", f"{named} is not registered and holds no slot: no agent of that name has ever been seen here"
    if silent(record, actor.clock.wall()):
        said = f"; then it said: {record.why}" if record.why else ""
        return "unknown", f"{named} was last seen at {_at(record.seen)}: is its agent running?{said}"
    needed = any(step.step == "update" and step.state == "passed" for step in steps) or record.need is not None
    hold = next((step for step in steps if step.step == "hold" and step.state == "closed"), None)
    if not needed and record.kind is None:
        return _unneeded(answer, hold, named)
    if hold is not None:
        return "held", f"{named} must not reboot: {hold.reason}"
    if answer is None:
        asked = any(step.name == "request" for step in steps) and record.need is None
        text = "its agent sees the request at its next look, within 5 minutes" if asked else record.why
        return "waiting", f"{named}: {text or 'nothing stands in the way'}"
    which = (
        f"{answer.name}: " if answer.step in ("gate", "window") and answer.name not in (None, "", answer.kind) else ""
    )
    return "waiting", f"{named} waits: {which}{answer.reason or answer.kind or answer.step}"


def _unneeded(answer: Step | None, hold: Step | None, named: str) -> tuple[Verdict, str]:
    if answer is not None and answer.step == "update" and answer.state == "unknown":
        return "unknown", f"{named}: nobody knows whether it needs a reboot: {answer.reason}"
    return "not_needed", f"{named} needs no reboot" + (f"; and it must not reboot: {hold.reason}" if hold else "")


def _holding(current: Held, named: str, ref: NodeRef, actor: Actor) -> tuple[Verdict, str]:
    holder = current.holder
    since = _at(holder.phase_since)
    unseen = ""
    if ref.record is not None and _missed(actor, ref.record, current):
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
