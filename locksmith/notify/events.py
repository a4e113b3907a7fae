"""What is worth telling, derived from two consecutive pictures of the agent: a pure function, so the machine knows nothing of it.

The ideas a reader would miss. Each event has a `key` that says of which change it tells; a channel tells no key twice until an
`Over` ends it. So the first picture of a process is compared with nothing and gives every event that holds *now* or that the
journal proves: what was told before is dropped by its key, and what a crash had swallowed is told after all, with the time
at which it happened. And only what this node knows of itself is told: that another one is overdue or gone say the alert rules.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args

from locksmith.agent.snapshot import Snapshot
from locksmith.core import telling
from locksmith.core.codec import to_json
from locksmith.core.ledger import LastReboot, Owed, Stage
from locksmith.core.states import (
    Agent,
    Arming,
    Blocked,
    Draining,
    Failed,
    Queued,
    Rebooting,
    Releasing,
    Starting,
    Stuck,
    Undoing,
    Verifying,
)

EventName = Literal["staged", "acquired", "rebooting", "back", "failed", "overdue", "halted", "forced", "paused"]
EVENTS: tuple[str, ...] = get_args(EventName)

_ONCE = ("acquired", "rebooting", "back", "failed", "forced")
_WELL = ("healthy", "recovered", "rolled_back", "unsanctioned")
_STOPS: Mapping[str, EventName] = {"paused": "paused", "hold": "paused", "halted": "halted"}
"""What a kind of waiting is told as."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened:
    """One event. `time` is when it happened, `key` which change it is; `state` is the agent's state then.

    `kind` is a closed word: of `blocked` for paused and halted, what is late for overdue, the result for back.
    """

    event: EventName
    key: str
    time: datetime
    node: str
    group: str
    state: str
    kind: str | None
    text: str
    reason: str = ""
    origin: str | None = None
    target: str | None = None
    came_as: str | None = None
    token: str | None = None
    attempt: int | None = None
    by: str | None = None

    @property
    def identity(self) -> str:
        """The same for the same change, however often it is derived or sent."""
        # What belongs to an attempt happens once; the others may happen again, and are then another change.
        when = "" if self.event in _ONCE else to_json(self.time)
        return hashlib.sha256(f"{self.node}\n{self.key}\n{when}".encode()).hexdigest()[:32]

    def document(self, host: str, store: str) -> dict[str, Any]:
        """What receivers get. `store` is its URL, which holds no secret."""
        return {
            "schema": 1,
            "id": self.identity,
            "event": self.event,
            "time": to_json(self.time),
            "node": self.node,
            "host": host,
            "group": self.group,
            "store": store,
            "state": self.state,
            "kind": self.kind,
            "text": self.text,
            "reason": self.reason or None,
            "from": self.origin,
            "to": self.target,
            "came_as": self.came_as,
            "token": self.token,
            "attempt": self.attempt,
            "by": self.by,
        }


@dataclass(frozen=True, slots=True)
class Over:
    """What keys with this beginning told of is over: the next time is a change again."""

    prefix: str


def changes(before: Snapshot | None, after: Snapshot) -> tuple[Happened | Over, ...]:
    """What happened between two pictures, in order. `before` None: this process has published nothing yet."""
    return (
        *_staged(before, after),
        *_stopped(before, after),
        *_acquired(before, after),
        *_rebooting(before, after),
        *_forced(before, after),
        *_failed(before, after),
        *_back(before, after),
        *_overdue(before, after),
    )


# ------------------------------------------------------------------------------------------------ before a slot


def _staged(before: Snapshot | None, after: Snapshot) -> Iterator[Happened | Over]:
    """An update that was not staged before, or an operator's request. That one is over the journal knows, over restarts, too."""
    agent = after.agent
    if before is not None:
        for name, fingerprint in sorted(before.agent.ledger.wanted.items()):
            if agent.ledger.wanted.get(name) != fingerprint:
                yield Over(f"staged/{name}/")
    for name, need in sorted(agent.needs.items()):
        known = before.agent.needs.get(name) if before is not None else None
        if known is None or known.fingerprint != need.fingerprint:
            yield _happened(
                after,
                "staged",
                f"staged/{name}/{need.fingerprint}",
                text=f"an update is staged: {name}: {need.reason}",
                reason=f"{name}: {need.reason}",
                origin=need.origin,
                target=need.target,
            )
    request = agent.request
    if request is not None and (before is None or before.agent.request != request):
        reason = f": {request.reason}" if request.reason else ""
        yield _happened(
            after,
            "staged",
            f"request/{request.identity}",
            text=f"a reboot is asked for by {request.by}{reason}",
            reason=request.reason or f"asked by {request.by}",
            kind="request",
            by=request.by,
        )


@dataclass(frozen=True, slots=True)
class _Stop:
    """What an operator, or the failure of others, put into the way of our waiting."""

    kind: str
    reason: str


def _stop(agent: Agent) -> _Stop | None:
    match agent.state:
        case Queued(leaving=None, kind=kind, reason=reason) if kind in _STOPS:
            return _Stop(kind, reason)
        case Blocked(reasons):
            return next((_Stop(one.kind, one.text) for one in reasons if one.kind in _STOPS), None)
        case _:
            return None


def _is_free(agent: Agent) -> bool:
    """Whether this picture proves that neither a pause nor a halt stands any more: only the queue can."""
    match agent.state:
        case Queued(leaving=None, kind="queue", rank=int()) | Draining():
            return True
        case _:
            return False


def _stopped(before: Snapshot | None, after: Snapshot) -> Iterator[Happened | Over]:
    stop, was = _stop(after.agent), _stop(before.agent) if before is not None else None
    if _is_free(after.agent) and (before is None or not _is_free(before.agent)):
        yield Over("paused/")
        yield Over("halted/")
    if stop is not None and stop != was:
        event = _STOPS[stop.kind]
        words = hashlib.sha256(stop.reason.encode()).hexdigest()[:16]
        text = f"the reboot of this node waits: {stop.reason}"
        yield _happened(after, event, f"{event}/{stop.kind}/{words}", text=text, kind=stop.kind)


# ------------------------------------------------------------------------------------------------ with a slot


def _owed(snapshot: Snapshot | None) -> Owed | None:
    return snapshot.agent.owed if snapshot is not None else None


def _acquired(before: Snapshot | None, after: Snapshot) -> Iterator[Happened]:
    """A slot of ours that was not there before. One that a claim won while it was given up is not worth a word."""
    owed, was = after.agent.owed, _owed(before)
    if owed is None or owed.token is None or owed.slotless or owed.called_off is not None:
        return
    if before is None and owed.boot != after.agent.boot:
        return  # too late to say when it was
    if was is None or (was.nonce, was.token) != (owed.nonce, owed.token):
        slot = after.agent.slot
        when = slot.since if slot is not None and slot.token == owed.token else None
        yield _happened(after, "acquired", f"acquired/{owed.nonce}", text="a slot is taken: draining", when=when)


def _rebooting(before: Snapshot | None, after: Snapshot) -> Iterator[Happened]:
    agent, owed = after.agent, after.agent.owed
    if owed is None or owed.armed_at is None:
        return
    old = before.agent.state if before is not None else None
    told = isinstance(agent.state, Rebooting) and agent.state.told and not isinstance(old, Rebooting)
    # After the boot the journal proves it, for a process that could not say so any more.
    gone = before is None and owed.boot != agent.boot and owed.called_off is None and owed.result != "unsanctioned"
    if told or gone:
        yield _happened(
            after,
            "rebooting",
            f"rebooting/{owed.nonce}/{owed.attempt}",
            text="the machine was told to reboot",
            when=owed.armed_at,
            state="rebooting",
        )


def _forced(before: Snapshot | None, after: Snapshot) -> Iterator[Happened]:
    """Our slot was taken by an operator, in whatever state: what held it lost it."""
    was = _owed(before)
    if before is None or was is None or was.token is None or was.slotless:
        return
    now, old, new = after.agent.owed, before.agent.state, after.agent.state
    revoked = now is not None and now.called_off == "revoked" and was.called_off != "revoked"
    while_verifying = (
        isinstance(new, Verifying) and new.slot_gone and not (isinstance(old, Verifying) and old.slot_gone)
    )
    # A failed node whose slot is gone asks START's table, which ends it when an operator's record explains that.
    while_failed = isinstance(old, Starting) and was.result == "failed" and now is None
    if revoked or while_verifying or while_failed:
        text = "the slot of this node was taken away by an operator"
        yield _happened(after, "forced", f"forced/{was.nonce}", text=text, kind="revoked", owed=was)


# ------------------------------------------------------------------------------------------------ after the boot


def _sick(snapshot: Snapshot | None) -> Failed | Verifying | None:
    """Not healthy by the deadline. A node that holds no slot (any more) has no state of its own for that."""
    if snapshot is None:
        return None
    match snapshot.agent.state:
        case Failed() as state:
            return state
        case Verifying(slot_gone=True, problem=str() as problem) as state if problem:
            late = snapshot.at.boottime >= state.since + snapshot.agent.policy.deadline.total_seconds()
            return state if late else None
        case _:
            return None


def _failed(before: Snapshot | None, after: Snapshot) -> Iterator[Happened]:
    sick, owed = _sick(after), after.agent.owed
    if sick is None or owed is None or _sick(before) is not None:
        return
    text = f"came back unhealthy: {sick.check}: {sick.problem}"
    yield _happened(after, "failed", f"failed/{owed.nonce}/{owed.verify_boot}", text=text, kind="health")


def _back(before: Snapshot | None, after: Snapshot) -> Iterator[Happened]:
    """Healthy again: told when that is known, not when the slot is given back, for which the store may be away."""
    owed, was, last = after.agent.owed, _owed(before), after.agent.ledger.last
    if owed is not None and owed.stage == Stage.RELEASING and owed.result in _WELL:
        if was is None or was.nonce != owed.nonce or was.stage != Stage.RELEASING:
            yield _came_back(after, owed, owed.result)
    elif was is not None and was.stage == Stage.VERIFYING and last is not None and last.result in _WELL:
        # Without a slot there is nothing to release: what was owed is gone in the step that found it healthy.
        gone = owed is None or owed.nonce != was.nonce
        if gone and before is not None and isinstance(before.agent.state, Verifying):
            yield _came_back(after, was, last.result, last)


def _came_back(after: Snapshot, owed: Owed, result: str, last: LastReboot | None = None) -> Happened:
    came_as = last.came_as if last is not None else after.agent.running.get(owed.provider)
    version = f" as {came_as}" if came_as else ""
    text = (
        f"back{version} after a reboot that nobody sanctioned"
        if result == "unsanctioned"
        else f"back{version}, {result}"
    )
    key = f"back/{owed.nonce}/{owed.verify_boot}"
    return _happened(after, "back", key, text=text, kind=result, came_as=came_as, owed=owed)


# ------------------------------------------------------------------------------------------------ late


def _late(snapshot: Snapshot | None) -> str | None:
    """What of ours takes longer than the configured limits allow: a word, as in `expected_by` of the store."""
    if snapshot is None or snapshot.agent.owed is None:
        return None
    agent = snapshot.agent
    spent = snapshot.at.boottime - agent.since.boottime
    match agent.state:
        case Stuck():
            return "stuck"
        case Draining() | Undoing() | Arming() if spent > telling.expected(agent, "draining").total_seconds():
            return "drain"
        case Rebooting(told=False) if spent > telling.expected(agent, "armed").total_seconds():
            return "stuck"
        case Releasing() if spent > telling.expected(agent, "verifying").total_seconds():
            return "release"
        case _:
            return None


def _overdue(before: Snapshot | None, after: Snapshot) -> Iterator[Happened]:
    late, owed = _late(after), after.agent.owed
    if late is None or owed is None:
        return
    if _late(before) != late:
        key = f"overdue/{owed.nonce}/{owed.attempt if late == 'stuck' else ''}/{late}"
        yield _happened(after, "overdue", key, text=after.told.text, kind=late)


def _happened(  # noqa: PLR0913 - by name
    after: Snapshot,
    event: EventName,
    key: str,
    *,
    text: str,
    when: datetime | None = None,
    owed: Owed | None = None,
    **more: Any,
) -> Happened:
    """The event, with what every one says; `owed` is the attempt that it is of, the present one unless given."""
    agent, owed = after.agent, owed or after.agent.owed
    said: dict[str, Any] = {
        "node": agent.policy.home.node,
        "group": owed.group if owed is not None else agent.policy.group,
        "state": after.told.state,
        "kind": None,
        "time": when or after.at.wall,
    }
    if owed is not None:
        said |= {
            "reason": owed.reason,
            "origin": owed.origin,
            "target": owed.target,
            "token": str(owed.token) if owed.token is not None else None,
            "attempt": owed.arms or None,
        }
    return Happened(event=event, key=key, text=text, **(said | more))
