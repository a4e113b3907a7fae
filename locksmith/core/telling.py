"""One sentence and one list: what this node waits for, since when, and what would end it.

The same words go to systemd's STATUS line, the registry record, `lockctl why`, the metric's reason and the log.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, assert_never

from locksmith.core.codec import to_json
from locksmith.core.facts import Moment, Reason
from locksmith.core.states import (
    STATE_NAMES,
    Agent,
    Arming,
    Blocked,
    Conflicted,
    Draining,
    Failed,
    Queued,
    Rebooting,
    Releasing,
    Starting,
    Steady,
    Stuck,
    Undoing,
    Unready,
    Verifying,
)
from locksmith.core.steps import STEP_OF_KIND, STEPS
from locksmith.core.turn import wish
from locksmith.core.verdict import Answer, Open, Unknown


@dataclass(frozen=True, slots=True)
class Telling:
    """`state` is the state's name, `kind` the closed word of what it waits for (None: nothing), `text` the sentence."""

    state: str
    kind: str | None
    text: str


def state_name(agent: Agent) -> str:
    """The state's name, as in metrics and the registry."""
    return STATE_NAMES[type(agent.state)]


def tell(agent: Agent) -> Telling:
    """The sentence for the present state."""
    kind, text = _tell(agent)
    if agent.store_error is not None and isinstance(agent.state, Starting | Queued | Releasing | Arming | Draining):
        down = agent.store_down_since
        when = f" since {_clock(down.wall)}" if down is not None else ""
        kind, text = "store", f"{text}; the store is away{when}: {agent.store_error}"
    return Telling(state_name(agent), kind, text)


def _tell(agent: Agent) -> tuple[str | None, str]:
    state, owed = agent.state, agent.owed
    match state:
        case Starting():
            return None, "reading what this node owes"
        case Steady() if agent.needs or agent.request:
            return None, "an update is staged: asking the gates"
        case Steady():
            return None, "no update is staged" if not agent.unsure else f"no update is known; {_unsure(agent)}"
        case Blocked(reasons):
            return reasons[0].kind, "; ".join(_reason(reason) for reason in reasons)
        case Queued():
            return state.kind, f"waiting for a slot: {state.reason}" if state.leaving is None else "leaving the queue"
        case Draining():
            return None, f"slot held, running hook {state.hook}" if state.hook else "slot held, asking the gates again"
        case Undoing():
            doing = f"running undo hook {state.hook}" if state.hook else "undoing"
            return state.kind, f"called off ({state.reason}): {doing}"
        case Arming():
            return None, "arming: the last check before the reboot"
        case Rebooting(told=False):
            return None, "an earlier reboot command may still fire: waiting for it"
        case Rebooting():
            return None, "the machine was told to reboot"
        case Stuck():
            return "stuck", f"the reboot does not come: {state.cause}"
        case Verifying():
            return None, _verifying(agent, state)
        case Failed():
            return "health", f"came back unhealthy and keeps its slot: {state.check}: {state.problem}"
        case Releasing():
            why = f" after calling it off ({owed.called_off_reason})" if owed is not None and owed.called_off else ""
            return None, f"giving the slot back{why}"
        case Conflicted():
            return (
                "identity",
                f"{state.other} uses this node's identity: give one of them another machine-id or [node] id",
            )
        case Unready():
            return state.kind, state.cause
        case _:
            assert_never(state)


def _verifying(agent: Agent, state: Verifying) -> str:
    if state.problem:
        return f"rebooted, not healthy yet: {state.check}: {state.problem}"
    if state.hook:
        return f"rebooted, running post hook {state.hook}"
    # Before the first answer nobody can say that there is nothing to ask.
    nothing = " (health: nothing configured)" if not agent.health and state.healthy_since is not None else ""
    return f"rebooted, health must hold for {agent.policy.dwell.total_seconds():g} s{nothing}"


def _reason(reason: Reason) -> str:
    until = f" (until {_clock(reason.until)})" if reason.until is not None else ""
    remedy = f" [{reason.remedy}]" if reason.remedy else ""
    return f"{reason.text}{until}{remedy}"


def _unsure(agent: Agent) -> str:
    return "; ".join(f"{name} cannot say: {reason}" for name, reason in sorted(agent.unsure.items()))


def _clock(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def steps(agent: Agent, at: Moment) -> tuple[Mapping[str, Any], ...]:
    """What stands between this node and its reboot, in order; the first that is not passed is the answer."""
    wanted = wish(agent, at)
    found = [_update_step(agent, at)]
    if wanted is None and agent.owed is None and not isinstance(agent.state, Blocked | Unready | Conflicted):
        return tuple(found)
    blocked: dict[str, list[Reason]] = {}
    state = agent.state
    for reason in _reasons(agent):
        blocked.setdefault(STEP_OF_KIND.get(reason.kind, "gate"), []).append(reason)
    for name in STEPS:
        found += [_closed_step(name, reason) for reason in blocked.get(name, [])]
        if name in ("window", "gate"):
            opened = [answer for answer in agent.gates if isinstance(answer.verdict, Open) and _belongs(answer, name)]
            found += [_gate_step(answer) for answer in opened]
    found += _attempt_steps(agent, state)
    return tuple(found)


def _closed_step(name: str, reason: Reason) -> Mapping[str, Any]:
    state = "unknown" if reason.unknown else "closed"
    return step(name, reason.name, state, reason.kind, reason.text, reason.since, reason.until, reason.remedy)


def _reasons(agent: Agent) -> tuple[Reason, ...]:
    match agent.state:
        case Blocked(reasons):
            return reasons
        case Queued() as state:
            kind = "store" if agent.store_error is not None else state.kind
            text = agent.store_error or state.reason
            return (Reason(kind, kind, text, agent.since.wall),)
        case Unready(kind, cause):
            return (Reason(kind, kind, cause, agent.since.wall),)
        case Conflicted(other):
            return (Reason("identity", "identity", f"{other} uses this node's identity", agent.since.wall),)
        case _:
            return ()


def step(  # noqa: PLR0913, PLR0917 - one parameter a field of the JSON
    name: str,
    entry: str,
    state: str,
    kind: str | None = None,
    reason: str = "",
    since: datetime | None = None,
    until: datetime | None = None,
    remedy: str = "",
) -> Mapping[str, Any]:
    """One step in the form of `why --json`."""
    return {
        "step": name,
        "name": entry,
        "state": state,
        "kind": kind,
        "reason": reason,
        "since": to_json(since),
        "until": to_json(until),
        "remedy": remedy or None,
    }


def _update_step(agent: Agent, at: Moment) -> Mapping[str, Any]:
    wanted = wish(agent, at)
    if agent.owed is not None and agent.owed.reason:
        return step("update", agent.owed.provider, "passed", None, agent.owed.reason, agent.owed.since)
    if wanted is not None:
        return step("update", wanted.provider, "passed", None, wanted.reason, wanted.since)
    if agent.unsure:
        return step("update", next(iter(sorted(agent.unsure))), "unknown", "provider", _unsure(agent))
    return step("update", "", "closed", None, "no update is staged")


def _belongs(answer: Answer, name: str) -> bool:
    return (answer.kind in ("window", "clock")) == (name == "window")


def _gate_step(answer: Answer) -> Mapping[str, Any]:
    verdict = answer.verdict
    until = verdict.until if isinstance(verdict, Open) else verdict.retry_at
    name = "window" if answer.kind in ("window", "clock") else "gate"
    return step(name, answer.name, "passed", None, verdict.reason, None, until)


def _attempt_steps(agent: Agent, state: Any) -> list[Mapping[str, Any]]:
    since = agent.since.wall
    text = tell(agent).text
    slot = step("slot", ",".join(agent.owed.limits) if agent.owed else "", "passed", None, "slot held", since)
    match state:
        case Draining() | Undoing():
            kind = state.kind if isinstance(state, Undoing) else None
            return [slot, step("drain", state.hook or "", "closed", kind, text, since)]
        case Arming() | Rebooting() | Stuck():
            kind = "stuck" if isinstance(state, Stuck) else None
            return [slot, step("reboot", "", "closed", kind, text, since)]
        case Verifying() | Failed():
            unknown = bool(agent.health) and all(isinstance(answer.verdict, Unknown) for answer in agent.health)
            return [slot, step("health", state.check, "unknown" if unknown else "closed", "health", text, since)]
        case Releasing():
            return [step("slot", "", "closed", "store" if agent.store_error else None, text, since)]
        case _:
            return []


def verdict(agent: Agent) -> str:
    """The one word of `why --json`."""
    match agent.state:
        case Failed():
            return "failed"
        case Verifying() | Releasing():
            return "verifying"
        case Rebooting() | Arming() | Draining() | Stuck():
            return "rebooting"
        case Blocked(reasons) if reasons and reasons[0].kind == "maintenance":
            return "held"
        case Steady():
            return "unknown" if agent.unsure else "not_needed"
        case Starting() | Unready() | Conflicted():
            return "unknown"
        case _:
            return "waiting"


def expected(agent: Agent, phase: str) -> timedelta:
    """How long a phase should take at most by the configured limits: for `expected_by`."""
    policy = agent.policy
    match phase:
        case "armed":
            return policy.reboot_timeout
        case "verifying":
            return policy.deadline + policy.dwell
        case _:
            return policy.hook_timeout + timedelta(minutes=5)
