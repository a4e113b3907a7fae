"""From a slot to the reboot, and all the ways back: Draining, Arming, Rebooting, Stuck, Undoing, Releasing."""

from dataclasses import replace
from datetime import timedelta

from locksmith.core.effects import (
    Arm,
    AskGates,
    AskPending,
    AskProviders,
    DropRequest,
    Effect,
    ListHooks,
    MarkPhase,
    Reboot,
    Release,
    RunHook,
    SteadyLook,
    StopHook,
    UnwatchHolder,
    WatchHolder,
)
from locksmith.core.events import (
    ArmDone,
    ArmRefused,
    ArmUnsettled,
    Event,
    GatesAnswered,
    HolderSeen,
    HookEnded,
    HooksListed,
    JournalFailed,
    PendingSeen,
    PhaseMarked,
    Poke,
    ProvidersAnswered,
    RebootTold,
    ReleaseDone,
    SlotGone,
    StopAsked,
    StoreFailed,
    Tick,
)
from locksmith.core.facts import Moment, SlotFact, Strategy
from locksmith.core.ledger import LastReboot, Owed, Stage
from locksmith.core.states import Agent, Arming, Draining, Rebooting, Releasing, Steady, Stuck, Undoing
from locksmith.core.turn import (
    NO_PENALTY,
    Turn,
    backoff,
    counted,
    gate_reasons,
    go,
    is_wanted,
    later,
    note,
    owe,
    passed_over,
    restart,
)
from locksmith.core.verdict import Answer

PRE, UNDO, POST = "pre-reboot", "undo", "post-reboot"
ARM_TRIES = 5
RETRY_WAIT = timedelta(seconds=30)
GATES_FRESH = 2.0
"""Seconds for which an answer of the gates is good enough to arm once more."""


# ------------------------------------------------------------------------------------------------ draining


def begin_drain(agent: Agent, slot: SlotFact | None, epoch: int, at: Moment) -> Turn:
    """The slot is ours (None: strategy reboot takes none): ask the gates again, then the hooks."""
    agent = owe(agent, stage=Stage.HELD, epoch=epoch, token=slot.token if slot else None)
    agent = go(agent, Draining(), at, slot=slot, wake_at=None)
    watch: tuple[Effect, ...] = (WatchHolder(),) if slot else ()
    return agent, (*watch, AskGates("drain"))


def on_draining(agent: Agent, state: Draining, event: Event, at: Moment) -> Turn:
    """Draining: any doubt calls it off."""
    match event:
        case GatesAnswered("drain", answers):
            return _gated(agent, answers, at) or (agent, (ListHooks(PRE),))
        case HooksListed("pre-reboot", names):
            owed = agent.owed
            pending = tuple(name for name in names if owed is None or name not in owed.finished)
            agent = go(agent, replace(state, pending=pending), at)
            mark: tuple[Effect, ...] = (MarkPhase("draining"),) if pending and agent.slot else ()
            agent, effects = _next_hook(agent, at)
            return agent, (*mark, *effects)
        case HookEnded("pre-reboot", name, problem):
            if problem is not None:
                return undo(agent, "hook", f"hook {name}: {problem}", at)
            owed = agent.owed
            agent = owe(agent, finished=(*(owed.finished if owed else ()), name))
            agent = go(agent, replace(state, hook=None, pending=(state.pending or ())[1:]), at)
            return _next_hook(agent, at)
        case PhaseMarked("draining", slot):
            return replace(agent, slot=slot), ()
        case _:
            return _doubts(agent, state.store_away_since, event, at)


def _next_hook(agent: Agent, at: Moment) -> Turn:
    state = agent.state
    if not isinstance(state, Draining) or state.pending is None:
        return agent, ()
    if not state.pending:
        return begin_arm(agent, at)
    name = state.pending[0]
    owed = agent.owed
    agent = owe(agent, started=tuple(dict.fromkeys((*(owed.started if owed else ()), name))))
    return go(agent, replace(state, hook=name, hook_since=at.wall), at), (RunHook(PRE, name),)


def _gated(agent: Agent, answers: tuple[Answer, ...], at: Moment) -> Turn | None:
    """Call it off if a gate closed or the configuration wants another strategy now; None: all open."""
    agent = replace(agent, gates=answers)
    slotless = agent.owed is not None and agent.owed.slotless
    if agent.policy.strategy is not (Strategy.REBOOT if slotless else Strategy.LOCK):
        return undo(agent, "strategy", "the strategy has changed", at)
    reasons = gate_reasons(agent, answers, passed_over(agent), at)
    if reasons:
        return undo(agent, reasons[0].kind, reasons[0].text, at)
    return None


def _doubts(agent: Agent, away_since: float | None, event: Event, at: Moment) -> Turn:
    """What calls an attempt off that holds a slot and is not armed, in Draining and in Arming alike."""
    match event:
        case HolderSeen(gone=True) | SlotGone():
            return undo(agent, "revoked", "the slot was taken away", at, slot_gone=True)
        case HolderSeen(kind=str() as kind, reason=reason):
            return undo(agent, kind, reason, at)
        case HolderSeen():
            return _away(agent, None, at), ()
        case StoreFailed(text=text):
            started = away_since if away_since is not None else at.boottime
            if at.boottime - started >= agent.policy.store_grace.total_seconds():
                return undo(agent, "store", f"the store has been away too long: {text}", at)
            return _away(agent, started, at), ()
        case ProvidersAnswered() if not is_wanted(agent):
            return undo(agent, "withdrawn", "the update was withdrawn", at)
        case JournalFailed(text=text):
            return undo(agent, "journal", text, at)
        case StopAsked(going_down=True):
            return replace(agent, done=True), ()
        case StopAsked():
            return undo(agent, "stopped", "the agent was stopped", at)
        case _:
            return agent, ()


def _away(agent: Agent, since: float | None, at: Moment) -> Agent:
    state = agent.state
    if isinstance(state, Draining | Arming):
        return go(agent, replace(state, store_away_since=since), at)
    return agent


# ------------------------------------------------------------------------------------------------ arming


def begin_arm(agent: Agent, at: Moment) -> Turn:
    """All hooks are done, or an armed holder is to be armed anew: ask the gates once more."""
    away = agent.state.store_away_since if isinstance(agent.state, Draining) else None
    return go(agent, Arming(store_away_since=away), at, wake_at=None), (AskGates("arm"),)


def on_arming(agent: Agent, state: Arming, event: Event, at: Moment) -> Turn:
    """Arming: the journal names the attempt, the commit confirms it."""
    match event:
        case GatesAnswered("arm", answers):
            return _gated(agent, answers, at) or _arm(agent, replace(state, gates_at=at.boottime), at)
        case ArmDone(attempt) if state.attempt and attempt == state.attempt:
            # Only the arm that was sent from here: before one is sent, nothing confirms it, whatever the journal names.
            return _tell(owe(agent, armed_at=at.wall), at)
        case ArmRefused(kind, reason):
            return undo(agent, kind, reason, at)
        case ArmUnsettled(reason):
            if state.tries >= ARM_TRIES:
                return undo(agent, "store", f"could not arm: {reason}", at)
            return go(agent, state, at, wake_at=at.boottime + 0.02 + at.chance * 0.5), ()
        case StoreFailed("arm"):
            agent, effects = _doubts(agent, state.store_away_since, event, at)
            if isinstance(agent.state, Arming):
                agent = replace(agent, wake_at=at.boottime + 1 + 4 * at.chance)
            return agent, effects
        case Tick() if state.attempt and at.boottime - state.gates_at > GATES_FRESH:
            return replace(agent, wake_at=None), (AskGates("arm"),)
        case Tick() if state.attempt:
            return _arm(agent, state, at)
        case _:
            return _doubts(agent, state.store_away_since, event, at)


def _arm(agent: Agent, state: Arming, at: Moment) -> Turn:
    """Each arm has a new attempt id, in the journal before it is sent."""
    owed = agent.owed
    arms = (owed.arms if owed else 0) + (not state.attempt)
    agent = owe(agent, stage=Stage.ARMED, attempt=at.nonce, arms=arms)
    agent = go(agent, replace(state, attempt=at.nonce, tries=state.tries + 1), at, wake_at=None)
    if owed is not None and owed.slotless:
        drop = (DropRequest(owed.request),) if owed.request else ()
        agent = note(agent, served=owed.request) if owed.request else agent
        agent, effects = _tell(owe(agent, armed_at=at.wall), at)
        return agent, (*drop, *effects)
    return agent, (Arm(),)


def _tell(agent: Agent, at: Moment) -> Turn:
    wake = at.boottime + agent.policy.reboot_timeout.total_seconds()
    return go(agent, Rebooting(at.boottime), at, wake_at=wake), (UnwatchHolder(), Reboot())


# ------------------------------------------------------------------------------------------------ rebooting


def on_rebooting(agent: Agent, state: Rebooting, event: Event, at: Moment) -> Turn:
    """The new boot ends this state; the same boot after the time limit is stuck."""
    match event:
        case RebootTold(str() as problem) | JournalFailed(text=problem):
            return _stick(agent, problem, at)
        case Tick() if not state.asking:
            return go(agent, replace(state, asking=True), at, wake_at=None), (AskPending(),)
        case PendingSeen(str() as cause) if state.told:
            return _stick(agent, cause, at)
        case PendingSeen(str() as cause):
            # An earlier call, or somebody else's, is taking the machine down: no second command meanwhile.
            if at.boottime - state.since >= agent.policy.reboot_timeout.total_seconds():
                return _stick(agent, cause, at)
            return go(agent, replace(state, asking=False), at, wake_at=later(at, timedelta(seconds=5), 0.2)), ()
        case PendingSeen(None):
            return _again(agent, "the machine did not go down", at)
        case StopAsked():
            return replace(agent, done=True), ()
        case _:
            return agent, ()


def _stick(agent: Agent, cause: str, at: Moment) -> Turn:
    agent = note(agent, reboots=counted(agent.ledger.reboots, "stuck"))
    wait = min(RETRY_WAIT, agent.policy.reboot_timeout)
    return go(agent, Stuck(at.boottime, cause), at, wake_at=later(at, wait, 0.2)), ()


def _again(agent: Agent, cause: str, at: Moment) -> Turn:
    """Nothing can fire any more: once more under a new arm, or give up."""
    owed = agent.owed
    may_retry = owed is not None and owed.arms <= agent.policy.retries and owed.called_off is None
    if may_retry and not agent.stopping:
        return begin_arm(agent, at)
    return disarm(agent, cause, at)


def disarm(agent: Agent, cause: str, at: Moment) -> Turn:
    """Only when nothing can still fire: take the arm back, then undo."""
    if agent.owed is not None and agent.owed.slotless:
        return undo(agent, agent.owed.called_off or "stuck", cause, at)
    return go(agent, Stuck(at.boottime, cause, disarming=True), at, wake_at=None), (MarkPhase("draining"),)


def on_stuck(agent: Agent, state: Stuck, event: Event, at: Moment) -> Turn:
    """Ask again what holds it, until nothing does."""
    match event:
        case PhaseMarked("draining", slot) if state.disarming:
            kind = agent.owed.called_off if agent.owed and agent.owed.called_off else "stuck"
            return undo(replace(agent, slot=slot), kind, state.cause, at)
        case SlotGone():
            return undo(agent, "revoked", "the slot was taken away", at, slot_gone=True)
        case StoreFailed() if state.disarming:
            return replace(agent, wake_at=backoff(at, 2)), ()
        case Tick():
            return replace(agent, wake_at=None), ((MarkPhase("draining"),) if state.disarming else (AskPending(),))
        case PendingSeen(str() as cause):
            return go(agent, replace(state, cause=cause), at, wake_at=later(at, RETRY_WAIT, 0.2)), ()
        case PendingSeen(None) if not state.disarming:
            return _again(agent, state.cause, at)
        case StopAsked():
            return replace(agent, done=True), ()
        case _:
            return agent, ()


# ------------------------------------------------------------------------------------------------ undoing


def undo(agent: Agent, kind: str, reason: str, at: Moment, *, slot_gone: bool = False) -> Turn:
    """Call the attempt off: the journal first, then take back what was done, then give the slot back."""
    agent = owe(agent, called_off=kind, called_off_reason=reason)
    state = Undoing(kind, reason, slot_gone=slot_gone)
    return go(agent, state, at, wake_at=None), (StopHook(), ListHooks(UNDO))


def on_undoing(agent: Agent, state: Undoing, event: Event, at: Moment) -> Turn:
    """Undo hooks in reverse order; a failing one is told and does not stop the others."""
    match event:
        case HooksListed("undo", names):
            wanted = agent.owed.to_undo if agent.owed else ()
            if agent.owed is not None and agent.owed.lost:
                wanted = tuple(name for name in reversed(names) if name not in agent.owed.undone)
            pending = tuple(name for name in wanted if name in names)
            return _next_undo(go(agent, replace(state, pending=pending), at), at)
        case HookEnded("undo", name):
            agent = owe(agent, undone=(*(agent.owed.undone if agent.owed else ()), name))
            return _next_undo(go(agent, replace(state, hook=None, pending=(state.pending or ())[1:]), at), at)
        case HolderSeen(gone=True) | SlotGone():
            return go(agent, replace(state, slot_gone=True), at), ()
        case StopAsked(going_down=True):
            return replace(agent, done=True), ()
        case _:
            return agent, ()


def _next_undo(agent: Agent, at: Moment) -> Turn:
    state = agent.state
    if not isinstance(state, Undoing):
        return agent, ()
    if state.pending:
        return go(agent, replace(state, hook=state.pending[0]), at), (RunHook(UNDO, state.pending[0]),)
    slotless = agent.owed is None or agent.owed.slotless
    if state.slot_gone or slotless:
        return finish(agent, at)
    return begin_release(agent, at)


# ------------------------------------------------------------------------------------------------ releasing


def begin_release(agent: Agent, at: Moment, result: str = "") -> Turn:
    """Owe a release. `result` is empty for an attempt that was called off."""
    agent = owe(
        agent, stage=Stage.RELEASING, given_back=True, result=result or (agent.owed.result if agent.owed else "")
    )
    return go(agent, Releasing(), at, wake_at=None), (UnwatchHolder(), Release())


def on_releasing(agent: Agent, state: Releasing, event: Event, at: Moment) -> Turn:
    """For ever, with jitter."""
    match event:
        case ReleaseDone(by_hand):
            return finish(agent, at, by_hand=by_hand)
        case StoreFailed("release") | JournalFailed():
            if agent.stopping:
                return replace(agent, done=True), ()
            return go(agent, replace(state, tries=state.tries + 1), at, wake_at=backoff(at, state.tries)), ()
        case Tick():
            return replace(agent, wake_at=None), (Release(),)
        case Poke() if agent.wake_at is not None:
            # Between two tries only: an answer to one that is under way must not end a later attempt.
            return replace(agent, wake_at=None), (Release(),)
        case StopAsked(going_down=True):
            return replace(agent, done=True), ()
        case StopAsked() if state.tries:
            return replace(agent, done=True), ()
        case _:
            return agent, ()


def finish(agent: Agent, at: Moment, *, by_hand: bool = False) -> Turn:
    """Nothing is owed any more: count what it was, cool down if it was called off, look at the world anew."""
    owed = agent.owed
    if owed is not None:
        agent = _settle_account(agent, at)
    agent = note(agent, owed=None)
    agent = replace(agent, slot=None, gates=(), health=(), request=None)
    if agent.stopping:
        return go(agent, Steady(), at, done=True), ()
    if by_hand:
        return restart(agent, at)
    # One look sees a new request, a hold, or a holder that somebody left; the providers say what is staged now.
    agent = go(agent, Steady(), at, wake_at=None, next_look=later(at, agent.policy.look_interval * 1.1, 0.09))
    return agent, (UnwatchHolder(), SteadyLook(), AskProviders())


def _settle_account(agent: Agent, at: Moment) -> Agent:
    owed, ledger = agent.owed, agent.ledger
    if owed is None:
        return agent
    if owed.called_off is not None and not owed.result:
        failures = ledger.failures + (owed.called_off not in NO_PENALTY)
        wait = min(agent.policy.cooldown_cap, agent.policy.cooldown * 2 ** min(max(failures - 1, 0), 20))
        return note(
            agent,
            called_off=counted(ledger.called_off, owed.called_off),
            failures=failures,
            cooldown_until=at.wall + wait * (0.75 + 0.5 * at.chance),
        )
    if not owed.result:
        return agent
    last = ledger.last or LastReboot(at=at.wall, result=owed.result)
    return note(
        agent,
        # An unsanctioned reboot was counted at the start, a failed one when it failed.
        reboots=ledger.reboots if owed.result in ("unsanctioned", "failed") else counted(ledger.reboots, owed.result),
        last=replace(
            last, result=owed.result, came_as=agent.running.get(owed.provider), phases=_phases(agent, owed, last, at)
        ),
        failures=0,
        cooldown_until=None,
    )


def _phases(agent: Agent, owed: Owed, last: LastReboot, at: Moment) -> dict[str, float]:
    """How long each phase took in seconds, where both its ends are known; `down` ends with the agent's start in the new boot."""
    held = agent.slot.since if agent.slot is not None else (owed.since if owed.slotless else None)
    spans = (("queued", owed.since, held), ("draining", held, owed.armed_at), ("down", owed.armed_at, last.at))
    known = {name: (end - begin).total_seconds() for name, begin, end in spans if begin is not None and end is not None}
    known["verifying"] = at.boottime - owed.verify_since
    # The wall clock may have been set back meanwhile.
    return {name: max(0.0, seconds) for name, seconds in known.items()}
