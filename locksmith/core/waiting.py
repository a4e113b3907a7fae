"""Nothing is held yet: Steady, Blocked, Queued."""

from dataclasses import replace
from datetime import timedelta

from locksmith.core.admission import WITHDRAW_RANK
from locksmith.core.attempt import begin_drain, begin_release
from locksmith.core.effects import AskGates, CancelTicket, Claim, Effect, Enqueue, SteadyLook, WatchOwnKey
from locksmith.core.events import (
    Cancelled,
    EnqueueDone,
    EnqueueRefused,
    Event,
    FoundAtStart,
    GatesAnswered,
    JournalFailed,
    OwnKeyTaken,
    Poke,
    ProvidersAnswered,
    SlotTaken,
    StandingInLine,
    StopAsked,
    StoreFailed,
    Tick,
    TicketGone,
    Woken,
)
from locksmith.core.facts import Moment, Reason, SlotFact, Strategy
from locksmith.core.states import Agent, Blocked, Queued, Steady
from locksmith.core.turn import (
    Turn,
    attempt_of,
    backoff,
    block,
    evaluate,
    gate_reasons,
    go,
    is_due,
    later,
    note,
    owe,
    passed_over,
    pure_reasons,
    restart,
    since,
    wish,
)

QUEUE_RETRY_CAP = timedelta(seconds=60)
FULL_LOW, FULL_HIGH = timedelta(seconds=60), timedelta(seconds=900)


def maintenance(agent: Agent, slot: SlotFact, at: Moment) -> Turn:
    """An operator holds this node by hand: never verify, release or arm it; watch it."""
    text = f"held by hand by {slot.by or 'an operator'}: {slot.reason}"
    reason = Reason("maintenance", "maintenance", text, slot.since or at.wall, remedy="lockctl unlock")
    agent = block(replace(agent, slot=slot), [reason], at)
    if agent.stopping:
        return replace(agent, done=True), ()
    return agent, (WatchOwnKey(),)


def on_resting(agent: Agent, event: Event, at: Moment) -> Turn:
    """Steady and Blocked: look, ask, and begin when all is open."""
    by_hand = agent.slot is not None
    match event:
        case StopAsked():
            return replace(agent, done=True), ()
        case Woken() if by_hand:
            return restart(agent, at)
        case Tick() | Poke():
            return _look(agent, event, at)
        case FoundAtStart() as found:
            return _looked(agent, found, at)
        case ProvidersAnswered() if not by_hand:
            return evaluate(agent, at)
        case GatesAnswered("queue", answers, courtesies) if not by_hand:
            return _decide(replace(agent, gates=answers), at, courtesies=courtesies)
        case StoreFailed():
            return replace(agent, next_look=backoff(at, 5)), ()
        case _:
            return agent, ()


def _look(agent: Agent, event: Event, at: Moment) -> Turn:
    """A look at the store when it is due, and a new evaluation when a reason may have ended."""
    effects: tuple[Effect, ...] = ()
    if isinstance(event, Poke) or at.boottime >= agent.next_look:
        held_up = agent.hold is not None or agent.slot is not None
        interval = agent.policy.poll_interval if held_up else agent.policy.look_interval
        agent = replace(agent, next_look=later(at, interval * 1.1, 0.09))
        effects = (SteadyLook(),)
    if isinstance(agent.state, Blocked) and agent.wake_at is None:
        agent, more = evaluate(agent, at)
        return agent, (*effects, *more)
    return agent, effects


def _looked(agent: Agent, found: FoundAtStart, at: Moment) -> Turn:
    """The steady look: anything that START should know runs START."""
    home = agent.ledger.home
    # A store that was swapped or restored: the journal must name the one in which the next slot is taken.
    other = home is not None and (home.identity not in ("", found.identity) or home.epoch not in (0, found.epoch))
    if not found.known or found.slot != agent.slot or other:
        return restart(agent, at)
    changed = (agent.hold, agent.request) != (found.hold, found.request)
    agent = replace(agent, hold=found.hold, request=found.request)
    return evaluate(agent, at) if changed else (agent, ())


def _decide(agent: Agent, at: Moment, *, courtesies: bool) -> Turn:
    """The gates have answered: block, or go on as the strategy says."""
    wanted = wish(agent, at)
    if wanted is None or agent.stopping:
        return evaluate(agent, at)
    reasons = pure_reasons(agent, wanted, at) + gate_reasons(agent, agent.gates, wanted.ignore, at)
    if reasons:
        return block(agent, reasons, at), ()
    if not courtesies and agent.policy.strategy is not Strategy.OBSERVE and "gate" not in wanted.ignore:
        return evaluate(agent, at)  # what stood in the way has ended meanwhile: now it is in earnest
    match agent.policy.strategy:
        case Strategy.OBSERVE:
            text = f"only observing: would now take a slot of {', '.join(agent.policy.limits)} and reboot"
            reason = Reason(
                "strategy", "strategy", text, since(agent, "strategy", at), remedy="set agent.strategy = lock"
            )
            return replace(block(agent, [reason], at), would=wanted.reason), ()
        case Strategy.REBOOT:
            agent = note(agent, owed=attempt_of(agent, wanted, at, slotless=True))
            return begin_drain(agent, None, 0, at)
        case Strategy.LOCK | Strategy.OFF:
            agent = note(agent, owed=attempt_of(agent, wanted, at, slotless=False))
            wake = at.boottime + agent.policy.jitter.total_seconds() * at.chance
            return go(agent, Queued(), at, wake_at=wake, reason_since={}), ()


# ------------------------------------------------------------------------------------------------ queued


def on_queued(agent: Agent, state: Queued, event: Event, at: Moment) -> Turn:
    """Waiting for slots; a pause or a halt never costs the place."""
    if state.leaving is not None:
        return _on_leaving(agent, state, event, at)
    if agent.policy.strategy is not Strategy.LOCK and not isinstance(event, SlotTaken | StopAsked):
        # The configuration was read again meanwhile.
        return leave(agent, [Reason("strategy", "strategy", "the strategy has changed", at.wall)], at)
    match event:
        case Tick() | Woken() | Poke():
            return _ask(agent, state, at)
        case StandingInLine() as standing:
            return _stand(agent, state, standing, at)
        case FoundAtStart(start=False) as found:
            return _heard(agent, found, at)
        case GatesAnswered("queue", answers):
            agent = replace(agent, gates=answers)
            reasons = gate_reasons(agent, answers, passed_over(agent), at)
            return leave(agent, reasons, at) if reasons else (agent, ())
        case ProvidersAnswered() if not is_due(agent):
            return leave(agent, [Reason("withdrawn", "update", "the update was withdrawn", at.wall)], at)
        case StoreFailed():
            # The store has just been well: come again soon, and only then ever more rarely, up to a minute.
            failed = replace(state, failures=state.failures + 1)
            return go(agent, failed, at, wake_at=backoff(at, state.failures, QUEUE_RETRY_CAP)), ()
        case JournalFailed(text=text):
            return leave(agent, [Reason("journal", "journal", text, at.wall)], at)
        case StopAsked(going_down=True):
            return replace(agent, done=True), ()
        case StopAsked():
            return leave(agent, [Reason("stopped", "stopped", "the agent was stopped", at.wall)], at)
        case _:
            return _on_answer(agent, state, event, at)


def _on_answer(agent: Agent, state: Queued, event: Event, at: Moment) -> Turn:
    """What the store answered to enqueue and claim."""
    match event:
        case EnqueueDone():
            gates_at = later(at, agent.policy.poll_interval)
            return go(agent, replace(state, enqueued=True, next_gates=gates_at, failures=0), at, wake_at=None), (
                Claim(),
            )
        case EnqueueRefused(kind, reason, retry_after, until):
            end = at.wall + retry_after if retry_after is not None else until
            return leave(agent, [Reason(kind, kind, reason, at.wall, end)], at)
        case TicketGone():
            return go(
                agent, replace(state, enqueued=False, reason="the ticket was lost: enqueueing again"), at
            ), _enqueue(agent, at)
        case SlotTaken(slot, epoch):
            return begin_drain(agent, slot, epoch, at)
        case OwnKeyTaken(slot):
            kind = "maintenance" if slot.phase == "maintenance" else "identity"
            text = f"the slot of this node is held by {slot.by or slot.host or 'another machine'}"
            return leave(agent, [Reason(kind, kind, text, at.wall)], at)
        case _:
            return agent, ()


def _enqueue(agent: Agent, at: Moment) -> tuple[Effect, ...]:
    owed = agent.owed
    wanted = wish(agent, at)
    started = wanted.since if wanted is not None else (owed.since if owed else at.wall)
    return (Enqueue(max(timedelta(0), at.wall - started)),)


def _ask(agent: Agent, state: Queued, at: Moment) -> Turn:
    agent = replace(agent, wake_at=later(at, agent.policy.queue_poll, 0.25))
    if not state.enqueued:
        return agent, _enqueue(agent, at)
    if at.boottime < state.next_gates:
        return agent, (Claim(),)
    gates_at = later(at, agent.policy.poll_interval)
    look: tuple[Effect, ...] = (SteadyLook(),) if agent.owed is not None and agent.owed.request is not None else ()
    return go(agent, replace(state, next_gates=gates_at), at), (
        *look,
        Claim(),
        AskGates("queue", "gate" not in passed_over(agent)),
    )


def _heard(agent: Agent, found: FoundAtStart, at: Moment) -> Turn:
    """What became of the operator's request that we queue for: taken back, or replaced by a newer one."""
    agent = replace(agent, request=found.request)
    if not is_due(agent):
        return leave(agent, [Reason("withdrawn", "request", "the request was taken back", at.wall)], at)
    if found.request is not None and agent.owed is not None and agent.owed.request is not None:
        agent = owe(agent, request=found.request.identity, ignore=found.request.ignore)
    return agent, ()


def _stand(agent: Agent, state: Queued, standing: StandingInLine, at: Moment) -> Turn:
    if standing.rank >= WITHDRAW_RANK:
        wait = FULL_LOW + (FULL_HIGH - FULL_LOW) * at.chance
        return leave(
            agent,
            [Reason("queue_full", "queue", f"place {standing.rank} is too far back", at.wall, at.wall + wait)],
            at,
        )
    home = agent.ledger.home
    if home is not None and standing.epoch is not None and standing.epoch != home.epoch:
        # The store was restored. Who waits owes no slot, so there is nothing that START would settle; it works in this epoch.
        agent = note(agent, home=replace(home, epoch=standing.epoch))
    wake = at.boottime + 0.05 + 0.3 * at.chance if standing.retry else later(at, agent.policy.queue_poll, 0.25)
    moved = replace(
        state,
        rank=None if standing.retry else standing.rank,
        kind=standing.kind,
        reason=standing.reason,
        ahead=standing.ahead,
        failures=0,
    )
    return go(agent, moved, at, wake_at=wake), ()


def leave(agent: Agent, reasons: list[Reason], at: Moment) -> Turn:
    """Out of the queue: delete the ticket until confirmed, then see whether a claim had won."""
    state = agent.state if isinstance(agent.state, Queued) else Queued()
    agent = owe(agent, called_off=reasons[0].kind, called_off_reason=reasons[0].text)
    return go(agent, replace(state, leaving=tuple(reasons)), at, wake_at=None), (CancelTicket(),)


def _on_leaving(agent: Agent, state: Queued, event: Event, at: Moment) -> Turn:
    match event:
        case Cancelled(None):
            reasons = list(state.leaving or ())
            agent = note(agent, owed=None)
            if agent.stopping:
                return go(agent, Steady(), at, done=True), ()
            if reasons[0].kind in ("withdrawn", "maintenance", "identity"):
                return restart(agent, at)
            if reasons[0].kind == "queue_full" and reasons[0].until is not None:
                until = at.boottime + (reasons[0].until - at.wall).total_seconds()
                agent = replace(agent, crowded=reasons[0], crowded_until=until)
            return block(agent, reasons, at), ()
        case Cancelled(SlotFact() as slot):
            return begin_release(replace(owe(agent, token=slot.token), slot=slot), at)
        case StoreFailed() | JournalFailed():
            if agent.stopping:
                return replace(agent, done=True), ()
            return replace(agent, wake_at=backoff(at, 4)), ()
        case Tick():
            return replace(agent, wake_at=None), (CancelTicket(),)
        case StopAsked(going_down=True):
            return replace(agent, done=True), ()
        case _:
            return agent, ()
