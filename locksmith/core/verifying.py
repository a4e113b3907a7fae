"""A new boot: post hooks and health, before anything else; Verifying and Failed."""

from dataclasses import replace
from datetime import timedelta

from locksmith.core.attempt import POST, begin_release, finish
from locksmith.core.effects import AskHealth, Effect, ListHooks, MarkFailed, MarkPhase, RunHook, SteadyLook
from locksmith.core.events import (
    Event,
    FoundAtStart,
    HealthAnswered,
    HookEnded,
    HooksListed,
    PhaseMarked,
    Poke,
    ProvidersAnswered,
    SlotGone,
    StopAsked,
    StoreFailed,
    Tick,
)
from locksmith.core.facts import Moment, SlotFact
from locksmith.core.ledger import Stage
from locksmith.core.states import Agent, Failed, Verifying
from locksmith.core.turn import Turn, backoff, counted, go, later, note, owe, restart, restored, unsettled
from locksmith.core.verdict import Answer, Open, blockers

HOOK_AGAIN = timedelta(seconds=30)
HEALTH_WHILE_FAILED = timedelta(seconds=30)


def begin_verify(agent: Agent, slot: SlotFact | None, at: Moment, *, slot_gone: bool = False) -> Turn:
    """This boot verifies. `slot` None: the store is away (the journal knows the token), or there is no slot."""
    owed = agent.owed
    if owed is None:
        return agent, ()
    if owed.verify_boot != agent.boot:
        reached = owed.stage in (Stage.ARMED, Stage.VERIFYING)
        result = owed.result or ("" if reached else "unsanctioned")
        agent = owe(agent, verify_boot=agent.boot, verify_since=at.boottime, post_done=(), result=result)
    agent = owe(agent, stage=Stage.VERIFYING)
    if slot is not None and owed.result == "failed":
        agent = owe(agent, result="")  # it is there after all
    since = agent.owed.verify_since if agent.owed else at.boottime
    if slot is not None and slot.phase == "failed":
        state: Verifying | Failed = Failed(
            at.boottime, agent.owed.check if agent.owed else "", "failed before", marked=True, asking=True
        )
        agent = go(replace(agent, slot=slot), state, at, wake_at=None)
        return agent, (MarkPhase("verifying"), ListHooks(POST))
    no_slot = slot_gone or owed.slotless
    verifying = Verifying(since, slot_gone=no_slot, asking=True)
    agent = go(replace(agent, slot=slot), verifying, at, wake_at=None)
    if slot is None and not no_slot and unsettled(agent, agent.ledger.home.epoch if agent.ledger.home else None):
        # Its holder could not be put back just now. To mark it would say so at once, and again, and again.
        return replace(agent, state=replace(verifying, mark_at=backoff(at, 5))), (ListHooks(POST),)
    mark: tuple[Effect, ...] = () if no_slot else (MarkPhase("verifying"),)
    return agent, (*mark, ListHooks(POST))


def on_verifying(agent: Agent, state: Verifying, event: Event, at: Moment) -> Turn:
    """Post hooks, then health for the dwell time, before the deadline."""
    match event:
        case PhaseMarked("verifying", slot):
            agent = go(replace(agent, slot=slot), replace(state, marked=True), at)
            if slot.boots > agent.policy.max_boots:
                return _fail(agent, "boot loop", f"{slot.boots} boots without becoming healthy", at)
            return agent, ()
        case FoundAtStart(start=False, known=True, epoch=epoch) if restored(agent, epoch):
            return restart(agent, at)
        case SlotGone(epoch) if unsettled(agent, epoch):
            return restart(agent, at)
        case SlotGone():
            return go(agent, replace(state, slot_gone=True), at), ()
        case HooksListed("post-reboot", names):
            done = agent.owed.post_done if agent.owed else ()
            pending = tuple(name for name in names if name not in done)
            return _next(go(agent, replace(state, pending=pending, asking=False), at), at)
        case HookEnded("post-reboot", name, problem):
            return _post_hook(agent, state, name, problem, at)
        case HealthAnswered(answers):
            return _judge(replace(agent, health=answers), replace(state, asking=False), answers, at)
        case Tick() | Poke() | ProvidersAnswered():
            return _tick(agent, state, event, at)
        case StoreFailed("mark"):
            again = backoff(at, state.mark_tries + 2)
            return go(agent, replace(state, mark_at=again, mark_tries=state.mark_tries + 1), at), ()
        case _:
            return _on_other(agent, event)


def _post_hook(agent: Agent, state: Verifying | Failed, name: str, problem: str | None, at: Moment) -> Turn:
    """A post hook ended; one that failed means not healthy, and is tried again."""
    if problem is not None:
        state = replace(state, hook=None, asking=False, healthy_since=None, problem=problem, check=f"hook {name}")
        return _wait(go(agent, state, at), HOOK_AGAIN, at)
    agent = owe(agent, post_done=(*(agent.owed.post_done if agent.owed else ()), name))
    return _next(go(agent, replace(state, hook=None, pending=(state.pending or ())[1:]), at), at)


def _on_other(agent: Agent, event: Event) -> Turn:
    """A holder from an earlier boot is kept whatever else happens; a stop leaves it for the next START."""
    return replace(agent, done=agent.done or isinstance(event, StopAsked)), ()


def _tick(agent: Agent, state: Verifying, event: Event, at: Moment) -> Turn:
    if isinstance(event, ProvidersAnswered) or state.hook is not None or state.asking:
        return agent, ()
    late = at.boottime >= state.since + agent.policy.deadline.total_seconds()
    if late and not state.slot_gone and state.healthy_since is None and state.problem:
        return _fail(agent, state.check, state.problem, at)
    agent, effects = _next(replace(agent, wake_at=None), at)
    again = not state.marked and not state.slot_gone and at.boottime >= state.mark_at
    agent, look = _look(agent, event, at)
    return agent, (*((MarkPhase("verifying"),) if again else ()), *effects, *look)


def _look(agent: Agent, event: Event, at: Moment) -> Turn:
    """A look at the store when it is due: in one that was restored the slot may be unknown, and nothing else would tell."""
    if at.boottime < agent.next_look and not isinstance(event, Poke):
        return agent, ()
    return replace(agent, next_look=later(at, agent.policy.look_interval * 1.1, 0.09)), (SteadyLook(),)


def _next(agent: Agent, at: Moment) -> Turn:
    """The next post hook, or the question for health."""
    state = agent.state
    if not isinstance(state, Verifying | Failed):
        return agent, ()
    if state.pending is None:
        return go(agent, replace(state, asking=True), at), (ListHooks(POST),)
    if state.pending:
        name = state.pending[0]
        return go(agent, replace(state, hook=name), at), (RunHook(POST, name),)
    return go(agent, replace(state, asking=True), at), (AskHealth(),)


def _wait(agent: Agent, interval: timedelta, at: Moment) -> Turn:
    """Ask again, at the latest when the deadline passes; without a slot to keep there is none."""
    wake = later(at, interval, 0.1)
    state = agent.state
    if isinstance(state, Verifying) and state.healthy_since is None and not state.slot_gone:
        wake = max(at.boottime + 0.05, min(wake, state.since + agent.policy.deadline.total_seconds()))
    if isinstance(state, Verifying | Failed) and state.healthy_since is not None:
        wake = max(at.boottime + 0.05, min(wake, state.healthy_since + agent.policy.dwell.total_seconds()))
    return replace(agent, wake_at=wake), ()


def _rolled_back(agent: Agent) -> str | None:
    """Whether the old version is running though another one was to come."""
    owed = agent.owed
    if owed is None or owed.target is None or owed.origin in (None, owed.target) or owed.result == "unsanctioned":
        return None
    need = agent.needs.get(owed.provider)
    running = agent.running.get(owed.provider) or (need.origin if need is not None else None)
    return f"came back on {running} instead of {owed.target}" if running == owed.origin else None


def _verdict(agent: Agent, answers: tuple[Answer, ...]) -> tuple[str, str] | None:
    """The first check that is not well, with its reason; None: healthy."""
    old = _rolled_back(agent)
    if old is not None and agent.policy.rollback_holds:
        return "rollback", old
    for answer in blockers(answers):
        if not isinstance(answer.verdict, Open):
            return answer.name, answer.verdict.reason
    return None


def _judge(agent: Agent, state: Verifying, answers: tuple[Answer, ...], at: Moment) -> Turn:
    bad = _verdict(agent, answers)
    if bad is not None:
        agent = go(agent, replace(state, healthy_since=None, check=bad[0], problem=bad[1]), at)
        if at.boottime >= state.since + agent.policy.deadline.total_seconds():
            return _fail(agent, bad[0], bad[1], at)
        return _wait(agent, agent.policy.health_interval, at)
    healthy_since = state.healthy_since if state.healthy_since is not None else at.boottime
    if at.boottime - healthy_since >= agent.policy.dwell.total_seconds():
        return _well(agent, state.slot_gone, "rolled_back" if _rolled_back(agent) else "healthy", at)
    agent = go(agent, replace(state, healthy_since=healthy_since, problem="", check=""), at)
    return _wait(agent, agent.policy.health_interval, at)


def _well(agent: Agent, slot_gone: bool, result: str, at: Moment) -> Turn:
    result = (agent.owed.result if agent.owed else "") or result
    if result == "failed":
        # It had failed and lost sight of its slot; that was counted then, and now it is well.
        result = "recovered"
    if slot_gone:
        return finish(owe(agent, result=result), at)
    return begin_release(agent, at, result)


def _fail(agent: Agent, check: str, problem: str, at: Moment) -> Turn:
    if isinstance(agent.state, Verifying) and agent.state.slot_gone:
        # No slot to keep: say so, and go on asking.
        agent = go(agent, replace(agent.state, problem=problem, check=check), at)
        return _wait(agent, HEALTH_WHILE_FAILED, at)
    agent = note(agent, reboots=counted(agent.ledger.reboots, "failed"))
    agent = owe(agent, check=check)
    state = Failed(at.boottime, check, problem)
    if isinstance(agent.state, Verifying):
        # What is under way is answered in the new state.
        before = agent.state
        state = replace(state, pending=before.pending, hook=before.hook, asking=before.asking)
    wake = later(at, min(HEALTH_WHILE_FAILED, agent.policy.deadline), 0.1)
    return go(agent, state, at, wake_at=wake), (MarkFailed(check),)


def on_failed(agent: Agent, state: Failed, event: Event, at: Moment) -> Turn:
    """Keeps the slot; health is asked on, and recovery releases."""
    match event:
        case PhaseMarked(phase, slot):
            return go(replace(agent, slot=slot), replace(state, marked=phase == "failed" or state.marked), at), ()
        case FoundAtStart(start=False, known=True, epoch=epoch) if restored(agent, epoch):
            return restart(agent, at)
        case SlotGone():
            # Only START's table knows whether an operator took it, or the store was put back to before the grant.
            return restart(owe(agent, result="failed"), at)
        case HooksListed("post-reboot", names):
            done = agent.owed.post_done if agent.owed else ()
            pending = tuple(name for name in names if name not in done)
            return _next(go(agent, replace(state, pending=pending, asking=False), at), at)
        case HookEnded("post-reboot", name, problem):
            return _post_hook(agent, state, name, problem, at)
        case HealthAnswered(answers):
            return _judge_failed(replace(agent, health=answers), replace(state, asking=False), answers, at)
        case Tick() | Poke() if state.hook is None and not state.asking:
            agent, effects = _next(replace(agent, wake_at=None), at)
            agent, look = _look(agent, event, at)
            return agent, (*(() if state.marked else (MarkFailed(state.check),)), *effects, *look)
        case _:
            return _on_other(agent, event)


def _judge_failed(agent: Agent, state: Failed, answers: tuple[Answer, ...], at: Moment) -> Turn:
    bad = _verdict(agent, answers)
    if bad is not None:
        agent = go(agent, replace(state, healthy_since=None, check=bad[0], problem=bad[1]), at)
        return _wait(agent, min(HEALTH_WHILE_FAILED, agent.policy.deadline), at)
    healthy_since = state.healthy_since if state.healthy_since is not None else at.boottime
    if at.boottime - healthy_since >= agent.policy.dwell.total_seconds():
        return begin_release(owe(agent, result=""), at, "recovered")
    agent = go(agent, replace(state, healthy_since=healthy_since), at)
    return _wait(agent, agent.policy.health_interval, at)
