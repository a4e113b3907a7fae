"""One sentence and one list: what this node waits for, since when, and what would end it.

The same words go to systemd's STATUS line, the registry record, `lockctl why`, the metric's reason and the log.
"""

from collections.abc import Mapping, Sequence
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
    staged = _update_step(agent, at)
    blocked: dict[str, list[Reason]] = {}
    for reason in _reasons(agent):
        blocked.setdefault(STEP_OF_KIND.get(reason.kind, "gate"), []).append(reason)
    if staged["state"] != "passed" and isinstance(agent.state, Steady | Starting) and not blocked:
        return (staged,)
    # An update that nobody knows of is no answer where something else is.
    found = [staged] if staged["state"] == "passed" else []
    for name in STEPS:
        closed = [_closed_step(name, reason) for reason in blocked.get(name, [])]
        found += closed or _passed(agent, name)
        if name in ("window", "gate"):
            opened = [answer for answer in agent.gates if isinstance(answer.verdict, Open) and _belongs(answer, name)]
            found += [_gate_step(answer) for answer in opened]
    return (*found, *_attempt_steps(agent))


def _closed_step(name: str, reason: Reason) -> Mapping[str, Any]:
    state = "unknown" if reason.unknown else "closed"
    text = reason.text.removeprefix(f"{reason.name}: ")
    return step(name, reason.name, state, reason.kind, text, reason.since, reason.until, reason.remedy)


def _passed(agent: Agent, name: str) -> list[Mapping[str, Any]]:
    """Of what the store decides, what the agent has seen to be no obstacle."""
    match agent.state, name:
        case ((Blocked() | Queued()), "hold"):
            return [step(name, "", "passed")]
        case Queued(rank=int(), kind="queue"), "pause":
            return [step(name, agent.policy.group, "passed")]
        case _:
            return []


def _reasons(agent: Agent) -> tuple[Reason, ...]:
    match agent.state:
        case Blocked(reasons):
            return reasons
        case Starting() | Queued() if agent.store_error is not None:
            return (_store_away(agent, agent.store_error),)
        case Queued(leaving=leaving) if leaving is not None:
            return (Reason("queue", agent.policy.group, f"leaving the queue: {leaving[0].text}", agent.since.wall),)
        case Queued() as state:
            behind = f", behind {listed(state.ahead)}" if state.ahead else ""
            name = agent.policy.group if state.kind == "queue" else state.kind
            return (Reason(state.kind, name, f"{state.reason}{behind}", agent.since.wall),)
        case Unready(kind, cause):
            return (Reason(kind, kind, cause, agent.since.wall),)
        case Conflicted(other):
            remedy = "give one of the two another machine-id or [node] id"
            return (
                Reason("identity", "identity", f"{other} uses this node's identity", agent.since.wall, remedy=remedy),
            )
        case _:
            return ()


def _store_away(agent: Agent, error: str) -> Reason:
    since = agent.store_down_since.wall if agent.store_down_since is not None else agent.since.wall
    return Reason("store", "store", f"the store is away: {error}", since, remedy="lockctl doctor")


def listed(names: Sequence[str], most: int = 5) -> str:
    """Names in a sentence, at most so many."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


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
    wanted, owed = wish(agent, at), agent.owed
    if owed is not None and owed.reason:
        need = agent.needs.get(owed.provider)
        since = need.since if need is not None and need.since is not None else owed.since
        return step("update", owed.provider, "passed", None, _what(owed.reason, owed.origin, owed.target), since)
    if wanted is not None:
        text = _what(wanted.reason, wanted.origin, wanted.target)
        return step("update", wanted.provider, "passed", None, text, wanted.since)
    if agent.unsure:
        return step("update", next(iter(sorted(agent.unsure))), "unknown", "provider", _unsure(agent))
    if isinstance(agent.state, Starting) and not agent.asked_providers:
        return step("update", "", "unknown", None, "nobody was asked yet")
    return step("update", "", "closed", None, "no update is staged")


def _what(reason: str, origin: str | None, target: str | None) -> str:
    """What is staged, with the versions as far as they are known."""
    versions = [f"{word} {version}" for word, version in (("from", origin), ("to", target)) if version]
    return ", ".join([reason, " ".join(versions)] if versions else [reason])


def _belongs(answer: Answer, name: str) -> bool:
    return (answer.kind in ("window", "clock")) == (name == "window")


def _gate_step(answer: Answer) -> Mapping[str, Any]:
    verdict = answer.verdict
    until = verdict.until if isinstance(verdict, Open) else verdict.retry_at
    name = "window" if answer.kind in ("window", "clock") else "gate"
    return step(name, answer.name, "passed", None, verdict.reason, None, until)


def _attempt_steps(agent: Agent) -> list[Mapping[str, Any]]:
    """From the slot on: what is done, and what is being done."""
    told, state, since, policy = tell(agent), agent.state, agent.since.wall, agent.policy
    name = ",".join(agent.owed.limits) if agent.owed else ""
    slot = step("slot", name, "passed", None, "slot held", agent.slot.since if agent.slot is not None else since)
    drained = step("drain", "", "passed")
    match state:
        case Draining():
            until = since + policy.hook_timeout if state.hook else None
            begun = state.hook_since or since
            return [slot, step("drain", state.hook or "", "closed", told.kind, told.text, begun, until)]
        case Undoing():
            return [slot, step("drain", state.hook or "", "closed", state.kind, told.text, since)]
        case Arming():
            return [slot, drained, step("reboot", "", "closed", told.kind, told.text, since)]
        case Rebooting():
            until = since + policy.reboot_timeout
            return [slot, drained, step("reboot", "", "closed", None, told.text, since, until)]
        case Stuck():
            remedy = "end what keeps the machine up: that is looked at again every 30 s"
            return [slot, drained, step("reboot", "", "closed", "stuck", told.text, since, None, remedy)]
        case Verifying() | Failed():
            return [slot, drained, step("reboot", "", "passed"), *_health_steps(agent, state, told.text)]
        case Releasing():
            return [step("slot", name, "closed", told.kind, told.text, since)]
        case _:
            return []


def _health_steps(agent: Agent, state: Verifying | Failed, text: str) -> list[Mapping[str, Any]]:
    """What holds the release first, then what each check last said."""
    since, until, remedy = agent.since.wall, None, ""
    if isinstance(state, Verifying):
        left = state.since + agent.policy.deadline.total_seconds() - agent.since.boottime
        until = since + timedelta(seconds=left) if state.healthy_since is None else None
    else:
        remedy = "make it well: it then gives its slot back by itself"
    unknown = bool(agent.health) and all(isinstance(answer.verdict, Unknown) for answer in agent.health)
    what = "unknown" if unknown else "closed"
    found = [step("health", state.check, what, "health", text, since, until, remedy)]
    for answer in agent.health:
        verdict = answer.verdict
        if isinstance(verdict, Open):
            found.append(step("health", answer.name, "passed", None, verdict.reason))
        elif answer.name != state.check:
            word = "unknown" if isinstance(verdict, Unknown) else "closed"
            found.append(step("health", answer.name, word, "health", verdict.reason))
    return found


def blocked(listed_steps: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The closed words of what a list of steps says to wait for before the slot; later only an absent store counts."""
    before = STEPS[: STEPS.index("slot")]
    kinds = (
        made["kind"]
        for made in listed_steps
        if made["state"] != "passed" and made["kind"] and (made["step"] in before or made["kind"] == "store")
    )
    return tuple(dict.fromkeys(kinds))


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
