"""What the parts of the machine share: moving to a state, owing, and what this node wishes for and is blocked by."""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from locksmith.core import keys
from locksmith.core.effects import AskGates, Effect, Recover
from locksmith.core.facts import Moment, Reason, RequestFact, Strategy
from locksmith.core.ledger import Owed, Stage
from locksmith.core.needs import Need
from locksmith.core.states import Agent, Blocked, Starting, State, Steady, Unready
from locksmith.core.verdict import Answer, Open, blockers
from locksmith.core.verdict import Unknown as UnknownVerdict

Turn = tuple[Agent, tuple[Effect, ...]]

REQUEST = "request"
"""The name of the provider that an operator's `lockctl reboot` is."""
NO_PENALTY = frozenset({"paused", "halted", "hold", "withdrawn", "stopped", "maintenance", "revoked", "strategy"})
"""Called off by somebody's will: the cool-down is the first one, it does not double."""
CLOCK_WRONG = timedelta(days=1)
"""An instant that the journal puts further into the future was written by a wrong clock."""
NO_PROVIDER_WAIT = timedelta(minutes=5)
"""How often an agent without a provider looks for an operator's request."""


def go(agent: Agent, state: State, at: Moment, **changes: Any) -> Agent:
    """Move to a state; the time of entering changes only with the kind of state."""
    since = agent.since if type(agent.state) is type(state) else at
    return replace(agent, state=state, since=since, **changes)


def owe(agent: Agent, **changes: Any) -> Agent:
    """Change what is owed in the journal."""
    if agent.ledger.owed is None:
        return agent
    return replace(agent, ledger=replace(agent.ledger, owed=replace(agent.ledger.owed, **changes)))


def note(agent: Agent, **changes: Any) -> Agent:
    """Change the journal besides what is owed."""
    return replace(agent, ledger=replace(agent.ledger, **changes))


def later(at: Moment, wait: timedelta, spread: float = 0.0) -> float:
    """The boot-time second after `wait`, longer or shorter by up to `spread` of it."""
    return at.boottime + wait.total_seconds() * (1 + spread * (2 * at.chance - 1))


def backoff(at: Moment, tries: int, cap: timedelta = timedelta(minutes=5)) -> float:
    """Full jitter, doubling from 2 s to the cap, but never a busy loop."""
    ceiling = min(cap.total_seconds(), 2.0 * 2 ** min(tries, 12))
    return float(at.boottime + 0.2 + at.chance * ceiling)


def counted(counts: Any, word: str) -> dict[str, int]:
    """A total, one higher."""
    return {**counts, word: counts.get(word, 0) + 1}


def restart(agent: Agent, at: Moment) -> Turn:
    """Run START again: the table decides."""
    agent = go(agent, Starting(), at, gates=(), wake_at=None)
    return agent, (Recover(_known_ticket(agent)),)


def restored(agent: Agent, epoch: int | None) -> bool:
    """Whether an operator has said since our last START that the store was restored. `epoch` None: not known."""
    home = agent.ledger.home
    return epoch is not None and home is not None and home.epoch not in (0, epoch)


def unsettled(agent: Agent, epoch: int | None) -> bool:
    """Whether the slot that is owed is of another epoch than this one. `epoch` None: not known."""
    owed = agent.owed
    return epoch is not None and owed is not None and owed.token is not None and owed.epoch not in (0, epoch)


def _known_ticket(agent: Agent) -> str | None:
    """The ticket that the journal names; without a journal of this boot's life every queue is searched."""
    owed = agent.ledger.owed
    if owed is not None and owed.ticket:
        return owed.ticket
    if agent.ledger.home is None:
        return None
    return keys.ticket(agent.policy.group, agent.policy.home.node)


# ------------------------------------------------------------------------------------------------ wishes


@dataclass(frozen=True, slots=True)
class Wish:
    """The reboot that this node wants now. `request` is the identity of the operator's request in it."""

    provider: str
    fingerprint: str
    reason: str
    origin: str | None
    target: str | None
    since: Any
    request: str | None
    ignore: tuple[str, ...] = ()


def is_guarded(agent: Agent, need: Need) -> bool:
    """Whether a reboot was already spent on just this update."""
    return agent.ledger.spent.get(need.provider) == need.fingerprint


def wish(agent: Agent, at: Moment) -> Wish | None:
    """What is wanted; an update that the loop guard blocks only where nothing else is."""
    request = agent.request
    ignore = request.ignore if request is not None else ()
    fresh = _fresh(agent)
    if request is None and not fresh:
        return None
    # Of several that name the same update, one that knows the version can tell a rollback afterwards.
    first = next((need for need in fresh if need.target is not None), fresh[0] if fresh else None)
    return Wish(
        first.provider if first else REQUEST,
        first.fingerprint if first else (request.identity if request else ""),
        _told(fresh, request),
        first.origin if first else None,
        first.target if first else None,
        (first.since if first else None) or (request.since if request else at.wall),
        request.identity if request else None,
        ignore,
    )


def reason_now(agent: Agent) -> str:
    """Why this node should reboot, in words, also before there is an attempt; "" when there is no reason."""
    return _told(_fresh(agent), agent.request)


def _fresh(agent: Agent) -> list[Need]:
    """The updates that a reboot is wanted for, by provider: guarded ones only where there is no other."""
    needs = sorted(agent.needs.values(), key=lambda need: need.provider)
    return [need for need in needs if not is_guarded(agent, need)] or needs


def _told(needs: list[Need], request: RequestFact | None) -> str:
    texts = [f"{need.provider}: {need.reason}" for need in needs]
    if request is not None:
        texts.append(f"asked by {request.by}: {request.reason}" if request.reason else f"asked by {request.by}")
    return "; ".join(texts)


def is_due(agent: Agent) -> bool:
    """Whether a request, or an update that the loop guard does not block, asks for a reboot."""
    return agent.request is not None or any(not is_guarded(agent, need) for need in agent.needs.values())


def is_wanted(agent: Agent) -> bool:
    """Whether the attempt under way has a reason still.

    An armed one keeps that of the request which its arm has deleted; and a provider that wanted something and cannot say
    now (its need is forgotten after a restart) has withdrawn nothing.
    """
    owed = agent.owed
    served = owed is not None and owed.request is not None and owed.stage == Stage.ARMED
    doubtful = bool(agent.unsure) and (
        owed is None or not owed.provider or any(n in agent.ledger.wanted for n in agent.unsure)
    )
    return served or doubtful or is_due(agent)


def passed_over(agent: Agent) -> tuple[str, ...]:
    """What the operator's request ignores, also after the arm of its attempt has deleted the request."""
    owed, request = agent.owed, agent.request
    return (*(owed.ignore if owed is not None else ()), *(request.ignore if request is not None else ()))


def since(agent: Agent, name: str, at: Moment) -> Any:
    """Since when a reason holds."""
    return agent.reason_since.get(name, at.wall)


def pure_reasons(agent: Agent, wanted: Wish, at: Moment) -> list[Reason]:
    """What stands in between as far as the machine knows by itself."""
    policy, ledger, found = agent.policy, agent.ledger, list[Reason]()
    if policy.strategy is Strategy.OFF:
        remedy = "set agent.strategy"
        found.append(
            Reason(
                "strategy",
                "strategy",
                "strategy is off: nothing is started",
                since(agent, "strategy", at),
                remedy=remedy,
            )
        )
    if agent.hold is not None:
        remedy = "lockctl resume --node"
        found.append(Reason("hold", "hold", agent.hold.reason, since(agent, "hold", at), agent.hold.until, remedy))
    guarded = [need for need in agent.needs.values() if is_guarded(agent, need)]
    only_guarded = guarded and len(guarded) == len(agent.needs)
    if only_guarded and "loop_guard" not in wanted.ignore and wanted.request is None:
        names = ", ".join(f"{need.provider}: {need.reason}" for need in guarded)
        text = f"the last reboot did not clear it ({names})"
        remedy = "find out why it is still staged, or lockctl reboot to try once more"
        found.append(Reason("loop_guard", "loop_guard", text, since(agent, "loop_guard", at), remedy=remedy))
    if at.boottime < policy.min_uptime.total_seconds():
        left = policy.min_uptime - timedelta(seconds=at.boottime)
        text = f"up for less than {int(policy.min_uptime.total_seconds())} s"
        found.append(Reason("min_uptime", "min_uptime", text, since(agent, "min_uptime", at), at.wall + left))
    last = ledger.last_ours
    if (
        last is not None
        and last - CLOCK_WRONG < at.wall < last + policy.min_interval
        and "min_interval" not in wanted.ignore
    ):
        text = f"rebooted by us less than {int(policy.min_interval.total_seconds())} s ago"
        found.append(
            Reason("min_interval", "min_interval", text, since(agent, "min_interval", at), last + policy.min_interval)
        )
    cool = ledger.cooldown_until
    if cool is not None and cool - CLOCK_WRONG < at.wall < cool:
        text = f"cooling down after {ledger.failures} called-off attempt(s)" if ledger.failures else "cooling down"
        found.append(Reason("cooldown", "cooldown", text, since(agent, "cooldown", at), cool))
    if agent.crowded is not None and at.boottime < agent.crowded_until:
        found.append(agent.crowded)
    return found


def gate_reasons(agent: Agent, answers: tuple[Answer, ...], ignore: tuple[str, ...], at: Moment) -> list[Reason]:
    """What the gates and windows said against it."""
    found = []
    for answer in blockers(answers):
        verdict = answer.verdict
        if answer.kind in ignore or isinstance(verdict, Open):
            continue
        unknown = isinstance(verdict, UnknownVerdict)
        started = since(agent, f"{answer.kind}/{answer.name}", at)
        text = f"{answer.name}: {verdict.reason}"
        until, again = verdict.retry_at, verdict.again
        found.append(Reason(answer.kind, answer.name, text, started, until, answer.remedy, unknown, again))
    return found


def block(agent: Agent, reasons: list[Reason], at: Moment) -> Agent:
    """Become Blocked; reasons that stood before keep their since."""
    kept = {
        f"{reason.kind}/{reason.name}" if reason.kind != reason.name else reason.kind: reason.since
        for reason in reasons
    }
    wake = at.boottime + agent.policy.poll_interval.total_seconds()
    for reason in reasons:
        # An end that has passed, and still blocks, wakes nobody: a clock that is not trusted must not make a busy loop.
        if reason.until is not None and reason.until > at.wall:
            wake = min(wake, at.boottime + max(0.05, (reason.until - at.wall).total_seconds()))
        if reason.again is not None:
            wake = min(wake, at.boottime + max(1.0, reason.again.total_seconds()))
    return go(agent, Blocked(tuple(reasons)), at, reason_since=kept, wake_at=wake)


def evaluate(agent: Agent, at: Moment) -> Turn:
    """Nothing is owed: stay steady, or ask the gates about a wish. Only from Starting, Steady and Blocked."""
    if agent.stopping:
        return go(agent, Steady(), at, done=True), ()
    if agent.slot is not None and agent.slot.phase == "maintenance":
        return agent, ()
    if not agent.policy.providers and agent.request is None:
        text = "no update provider is configured and none was found on this machine: add one under [updates.NAME]"
        return go(agent, Unready("provider", text), at, wake_at=later(at, NO_PROVIDER_WAIT, 0.1)), ()
    wanted = wish(agent, at)
    if wanted is None:
        return go(agent, Steady(), at, gates=(), wake_at=None, reason_since={}, would=""), ()
    # The state stays until the gates have answered, so that nothing flickers.
    state = Steady() if isinstance(agent.state, Starting) else agent.state
    # Nobody is asked to log out for a reboot that cannot come now.
    earnest = agent.policy.strategy is not Strategy.OBSERVE and not pure_reasons(agent, wanted, at)
    return go(agent, state, at, wake_at=None), (AskGates("queue", earnest and "gate" not in wanted.ignore),)


def attempt_of(agent: Agent, wanted: Wish, at: Moment, *, slotless: bool) -> Owed:
    """A new attempt for the journal."""
    policy = agent.policy
    return Owed(
        node=policy.home.node,
        nonce=at.nonce,
        group=policy.group,
        limits=policy.limits,
        stage="held" if slotless else "claiming",
        boot=agent.boot,
        since=at.wall,
        ticket="" if slotless else keys.ticket(policy.group, policy.home.node),
        slotless=slotless,
        provider=wanted.provider,
        fingerprint=wanted.fingerprint,
        reason=wanted.reason,
        origin=wanted.origin,
        target=wanted.target,
        request=wanted.request,
        ignore=wanted.ignore,
    )
