"""From what the semaphore answers to what the machine decides by, and back."""

from collections.abc import Callable
from dataclasses import replace

from locksmith.core.documents import Holder, Phase
from locksmith.core.events import FoundAtStart
from locksmith.core.facts import HoldFact, RequestFact, SlotFact
from locksmith.core.history import Entry
from locksmith.core.ledger import Owed
from locksmith.core.states import Agent
from locksmith.semaphore.actor import Actor
from locksmith.semaphore.claiming import Attempt, Held
from locksmith.semaphore.holding import Slot
from locksmith.semaphore.recovery import Clash, Found, NotSetUp


def slot_fact(current: Held) -> SlotFact:
    """A holder, reduced."""
    holder = current.holder
    return SlotFact(
        token=current.token,
        nonce=holder.nonce,
        group=holder.group,
        limits=holder.limits,
        phase=str(holder.phase),
        boot=holder.boot,
        attempt=holder.attempt,
        boots=holder.boots,
        fingerprint=holder.fingerprint,
        host=holder.host,
        by=holder.by,
        reason=holder.reason,
        origin=holder.origin,
        target=holder.target,
        need=holder.need,
        since=holder.since,
        phase_since=holder.phase_since,
        mod=current.mod,
    )


def found_event(actor: Actor, found: Found | Clash | NotSetUp, *, start: bool) -> FoundAtStart:
    """What START or a steady look saw."""
    match found:
        case NotSetUp():
            return FoundAtStart(known=False, start=start)
        case Clash(current):
            return FoundAtStart(known=True, clash=slot_fact(current), start=start)
        case Found():
            hold, request = found.hold, found.request
            in_force = hold is not None and hold.in_force(actor.trusted_now())
            return FoundAtStart(
                known=True,
                identity=found.config.store,
                epoch=found.config.epoch,
                slot=slot_fact(found.held) if found.held else None,
                unlocked=found.unlocked.tokens if found.unlocked else (),
                hold=HoldFact(f"held by {hold.by}: {hold.reason}", hold.until)
                if hold is not None and in_force
                else None,
                request=RequestFact(request.gen, request.by, request.reason, request.since, request.ignore)
                if request
                else None,
                start=start,
            )


def slot_of_owed(owed: Owed) -> Slot | None:
    """The identity of the holder that the journal names; None while no token is known."""
    return Slot(owed.node, owed.token, owed.nonce, owed.group, owed.limits) if owed.token is not None else None


def restored_holder(owed: Owed, host: str, fingerprint: str) -> Holder:
    """The holder to put back into a restored store."""
    return Holder(
        nonce=owed.nonce,
        group=owed.group,
        limits=owed.limits,
        phase=Phase.ARMED if owed.stage == "armed" else Phase.ACQUIRED,
        boot=owed.boot,
        since=owed.since,
        phase_since=owed.since,
        attempt=owed.attempt,
        fingerprint=fingerprint,
        need=owed.fingerprint,
        reason=owed.reason,
        origin=owed.origin,
        target=owed.target,
        host=host,
    )


def attempt_of_owed(owed: Owed, host: str, fingerprint: str) -> Attempt:
    """What the ticket and the claim say."""
    return Attempt(
        node=owed.node,
        host=host,
        group=owed.group,
        limits=owed.limits,
        nonce=owed.nonce,
        since=owed.since,
        reason=owed.reason,
        boot=owed.boot,
        fingerprint=fingerprint,
        need=owed.fingerprint,
        origin=owed.origin,
        target=owed.target,
    )


def outcome_of(agent: Agent, owed: Owed) -> Callable[[Entry], Entry]:
    """What the history is to say of the end of an attempt: what became of the reboot, or why it was called off."""
    outcome = owed.result or owed.called_off or ""
    came_as = agent.running.get(owed.provider) if owed.result else None
    reason = owed.called_off_reason if owed.called_off and not owed.result else owed.reason

    def told(entry: Entry) -> Entry:
        return replace(entry, outcome=outcome, came_as=came_as, check=owed.check or entry.check, reason=reason)

    return told
