"""Who of a group will reboot next, in which order, and how fast that went so far: what `lockctl plan` computes with.

The idea a reader would miss: this is a forecast, so its pieces are read one after the other, and nothing is decided by it.
Those in the queue stand in their real order; of those that have not queued yet only what they want is known, so the ones
that have wanted it longest are taken to come first.
"""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median

from locksmith.core import keys
from locksmith.core.documents import Hold, NodeRecord, Phase, Request
from locksmith.core.forecast import Pace
from locksmith.core.history import Entry
from locksmith.core.waits import WHOLE, measured, remaining
from locksmith.semaphore.actor import Actor, View, look
from locksmith.semaphore.history import history
from locksmith.semaphore.reading import GroupStatus, status
from locksmith.semaphore.registry import NodeLine, nodes

REMEMBERED = timedelta(days=90)
"""Older reboots say nothing about today's."""
_STUCK = ("loop_guard", "identity", "config", "coordinator", "provider", "strategy", "journal")
"""Kinds that do not pass by themselves."""
_PASSING = ("gate", "min_interval", "min_uptime", "cooldown", "store", "clock")
_KEPT = (Phase.FAILED, Phase.MAINTENANCE)
"""Phases that only an operator ends."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A node whose turn will come. `since`: when it queued, or began to want it. `note`: what else must happen first."""

    node: str
    host: str
    queued: bool
    since: datetime | None
    reason: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A node that wants to reboot and will not by itself."""

    node: str
    host: str
    reason: str


@dataclass(frozen=True, slots=True)
class Prospect:
    """A group, and who wants to reboot in it.

    `kept` slots are held until an operator acts, `busy` ones by reboots, since then; `durations` are the seconds for which
    earlier reboots held theirs.
    """

    status: GroupStatus
    candidates: tuple[Candidate, ...]
    left_out: tuple[LeftOut, ...]
    pace: Pace | None
    kept: int
    busy: tuple[datetime, ...]
    durations: tuple[float, ...] = ()

    def ends(self, now: datetime, pace: Pace) -> list[datetime]:
        """When those that reboot now will be done; without those that take longer than any before them."""
        found = []
        for since in self.busy:
            elapsed = (now - since).total_seconds()
            left = (
                remaining(self.durations, elapsed) if pace.measured else max(0.0, pace.whole.total_seconds() - elapsed)
            )
            if left is not None:
                with suppress(OverflowError):  # times that somebody wrote, and after the last of all years
                    found.append(now + timedelta(seconds=left))
        return sorted(found)

    def free(self, now: datetime, pace: Pace) -> list[datetime]:
        """When each slot is free: at once, or when a reboot that is under way should be over."""
        slots = self.status.slots if self.status.exists and self.status.slots is not None else 1
        idle = slots - self.kept - len(self.busy)
        return (
            [now] * min(idle, len(self.candidates)) + self.ends(now, pace)
            if idle >= 0
            else self.ends(now, pace)[-idle:]
        )


def prospect(actor: Actor, group: str) -> Prospect:
    """Read it. Raises Corrupt, Denied, StoreError."""
    seen = status(actor, group)
    view = look(actor.store, (), [keys.HOLDS, keys.request("")])
    lines = {line.node: line for line in nodes(actor, group)}
    holding = {line.node for line in seen.holders}
    queued = [
        Candidate(
            line.node, line.host, queued=True, since=line.since, reason=line.reason,
            note=f"by hand for {line.by}: for as long as it takes" if line.by else _note(lines.get(line.node)),
        )
        for line in seen.queue
    ]  # fmt: skip
    waiting = {each.node for each in queued}
    found: list[Candidate] = []
    left: list[LeftOut] = []
    for node in sorted(_wanting(view, lines.values()) - holding - waiting):
        line = lines[node]
        why = _barred(actor, view, line)
        if why:
            left.append(LeftOut(node, line.record.host, why))
        else:
            asked = view.document(keys.request(node), Request)
            since = line.record.need_since or (asked.since if asked else None)
            reason = line.record.need or (asked.reason if asked else "")
            found.append(Candidate(node, line.record.host, queued=False, since=since, reason=reason, note=_note(line)))
    durations, pace = _reboots(actor, group)
    unknown = actor.clock.wall()
    found.sort(key=lambda each: (each.since or unknown, each.host, each.node))
    return Prospect(
        seen,
        (*queued, *found),
        tuple(left),
        pace,
        sum(line.phase in _KEPT for line in seen.holders),
        tuple(line.since for line in seen.holders if line.phase not in _KEPT),
        durations,
    )


def _wanting(view: View, lines: Iterable[NodeLine]) -> set[str]:
    """The nodes of this group that have an update staged, or a request of an operator."""
    requests = keys.request("")
    asked = {key.removeprefix(requests) for key, _ in view.snapshot.under(requests)}
    return {line.node for line in lines if line.record.need is not None or line.node in asked}


def _barred(actor: Actor, view: View, line: NodeLine) -> str:
    """Why a node will not reboot before somebody acts; empty when it will."""
    record = line.record
    hold = view.document(keys.hold(line.node), Hold)
    if hold is not None and hold.in_force(actor.trusted_now()):
        return f"held by {hold.by}: {hold.reason}"
    if line.silent:
        return "not heard of for more than two heartbeats"
    if record.strategy not in ("", "lock"):
        return f"strategy {record.strategy}"
    return f"{record.kind}: {record.why}" if record.kind in _STUCK else ""


def _note(line: NodeLine | None) -> str:
    record: NodeRecord | None = line.record if line is not None else None
    return record.why if record is not None and record.kind in _PASSING else ""


def _reboots(actor: Actor, group: str) -> tuple[tuple[float, ...], Pace | None]:
    """For how long the last reboots held their slots, as `why` counts them; and the pace of that."""
    events = history(actor, group, None, actor.clock.wall() - REMEMBERED)
    entries = [event.entry for event in events if event.entry is not None]
    durations = measured(entries)
    if not durations:
        return (), None
    drains = [seconds for entry in entries if entry.outcome in WHOLE and (seconds := _drain(entry)) is not None]
    until_armed = timedelta(seconds=median(drains) if drains else 0)
    return durations, Pace(timedelta(seconds=median(durations)), until_armed, len(durations))


def _drain(entry: Entry) -> float | None:
    """The seconds from the slot to the arm, which is what a window must have left."""
    armed = next((step.at for step in entry.steps if step.phase == Phase.ARMED), None)
    if entry.act != "released" or armed is None or entry.steps[0].phase != Phase.ACQUIRED:
        return None
    return max(0.0, (armed - entry.steps[0].at).total_seconds())
