"""The agent's state machine: `step(agent, event, at) -> (agent, effects)`, total and pure.

No clock, no I/O, no randomness of its own: time and chance come with the event. What concerns every state (what is staged,
whether the store answers, that somebody asked us to stop) is noted here, before the state itself decides. The parts:
`starting` the START table, `waiting` Steady, Blocked and Queued, `attempt` from the slot to the reboot and back,
`verifying` what follows a boot, `turn` what they share.
"""

from dataclasses import replace
from typing import assert_never

from locksmith.core.attempt import on_arming, on_draining, on_rebooting, on_releasing, on_stuck, on_undoing
from locksmith.core.effects import DropRequest
from locksmith.core.events import (
    ArmDone,
    Begin,
    Cancelled,
    EnqueueDone,
    Event,
    FoundAtStart,
    HolderSeen,
    PhaseMarked,
    ProvidersAnswered,
    ReleaseDone,
    SetUp,
    SlotTaken,
    StandingInLine,
    StopAsked,
    StoreFailed,
    Tick,
    TicketGone,
)
from locksmith.core.facts import Moment
from locksmith.core.needs import Need, NeedUnknown, NotNeeded
from locksmith.core.starting import begin, on_starting, on_waiting_for_somebody
from locksmith.core.states import (
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
from locksmith.core.turn import Turn, note
from locksmith.core.verifying import on_failed, on_verifying
from locksmith.core.waiting import on_queued, on_resting


def step(agent: Agent, event: Event, at: Moment) -> Turn:
    """What becomes of the agent, and what is to be done, in order."""
    agent = _notice(agent, event, at)
    if isinstance(event, Tick) and agent.wake_at is not None and at.boottime >= agent.wake_at:
        agent = replace(agent, wake_at=None)
    if isinstance(event, Begin):
        return begin(agent, at)
    if isinstance(event, StoreFailed) and event.act == "record":
        return agent, ()
    if isinstance(event, FoundAtStart) and event.request is not None and event.request.identity == agent.ledger.served:
        # Served without a slot, and the store was away when it was to be deleted: not once more.
        agent, effects = _decide(agent, replace(event, request=None), at)
        return agent, (*effects, DropRequest(agent.ledger.served))
    return _decide(agent, event, at)


def _decide(agent: Agent, event: Event, at: Moment) -> Turn:
    state = agent.state
    match state:
        case Starting():
            return on_starting(agent, state, event, at)
        case Steady() | Blocked():
            return on_resting(agent, event, at)
        case Queued():
            return on_queued(agent, state, event, at)
        case Draining():
            return on_draining(agent, state, event, at)
        case Undoing():
            return on_undoing(agent, state, event, at)
        case Arming():
            return on_arming(agent, state, event, at)
        case Rebooting():
            return on_rebooting(agent, state, event, at)
        case Stuck():
            return on_stuck(agent, state, event, at)
        case Verifying():
            return on_verifying(agent, state, event, at)
        case Failed():
            return on_failed(agent, state, event, at)
        case Releasing():
            return on_releasing(agent, state, event, at)
        case Conflicted() | Unready():
            return on_waiting_for_somebody(agent, event, at)
        case _:
            assert_never(state)


def _notice(agent: Agent, event: Event, at: Moment) -> Agent:
    match event:
        case StoreFailed(text=text):
            return replace(agent, store_error=text, store_down_since=agent.store_down_since or at)
        case (
            FoundAtStart()
            | SetUp()
            | EnqueueDone()
            | StandingInLine()
            | TicketGone()
            | SlotTaken()
            | Cancelled()
            | HolderSeen()
            | PhaseMarked()
            | ArmDone()
            | ReleaseDone()
        ):
            if agent.store_error is None and agent.store_down_since is None:
                return agent
            return replace(agent, store_error=None, store_down_since=None)
        case StopAsked():
            return replace(agent, stopping=True)
        case ProvidersAnswered():
            return _staged(agent, event, at)
        case _:
            return agent


def _staged(agent: Agent, event: ProvidersAnswered, at: Moment) -> Agent:
    """What the providers say: an unknown neither brings a need nor takes one away."""
    needs, running, unsure = dict(agent.needs), dict(agent.running), {}
    spent, left = dict(agent.ledger.spent), dict(agent.ledger.left)
    for answer in event.answers:
        match answer:
            case Need():
                before = needs.get(answer.provider)
                known = before.since if before is not None and before.fingerprint == answer.fingerprint else None
                needs[answer.provider] = replace(answer, since=known or answer.since or at.wall)
                if spent.get(answer.provider) not in (None, answer.fingerprint):
                    del spent[answer.provider]
                    left.pop(answer.provider, None)
            case NotNeeded():
                needs.pop(answer.provider, None)
                if answer.running is None or left.get(answer.provider) != answer.running:
                    # Else the reboot fell back to the version before: what is staged once more is no new update.
                    spent.pop(answer.provider, None)
                    left.pop(answer.provider, None)
                if answer.running is not None:
                    running[answer.provider] = answer.running
            case NeedUnknown():
                unsure[answer.provider] = answer.reason
            case _:
                assert_never(answer)
    asked = {answer.provider for answer in event.answers}
    needs = {name: need for name, need in needs.items() if name in asked}
    agent = replace(agent, needs=needs, running=running, unsure=unsure, asked_providers=True)
    forgotten = {name: fp for name, fp in agent.ledger.wanted.items() if name in unsure and name not in needs}
    wanted = {**forgotten, **{name: need.fingerprint for name, need in needs.items()}}
    ledger = agent.ledger
    if (wanted, spent, left) == (dict(ledger.wanted), dict(ledger.spent), dict(ledger.left)):
        return agent
    return note(agent, wanted=wanted, spent=spent, left=left)
