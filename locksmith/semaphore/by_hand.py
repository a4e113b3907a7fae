"""`lockctl lock`: a slot that a person holds. How it is given up is in `taking`, whose names are here too.

The one idea a reader would miss: whatever way `lock` ends, its ticket and its mark are taken back first and only then is
it asked whether the slot is ours after all; so a claim of unknown fate can neither be lost nor apply afterwards.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import assert_never

from locksmith.core import keys
from locksmith.core.admission import Patience
from locksmith.core.documents import Holder, Phase, Then
from locksmith.errors import (
    Denied,
    Full,
    Halted,
    HeldByAgent,
    HeldElsewhere,
    NewerFormat,
    Paused,
    Refused,
    SessionLost,
    StoreError,
)
from locksmith.errors import Held as NodeHeld
from locksmith.semaphore.actor import PATIENCE, Actor, look
from locksmith.semaphore.claiming import (
    Attempt,
    Barred,
    Claimed,
    Enqueued,
    Foreign,
    Held,
    InLine,
    QueueFull,
    TicketLost,
    cancel,
    claim,
    enqueue,
    held,
)
from locksmith.semaphore.holding import mark, release, slot_of
from locksmith.semaphore.operating import open_group
from locksmith.semaphore.taking import Unlocked_, force_unlock, unlock
from locksmith.semaphore.vigil import POLL, SESSION_TTL, Progress, Vigil, kept_session

__all__ = ["Locked", "Progress", "Unlocked_", "force_unlock", "lock", "unlock"]

WITHDRAWAL = timedelta(seconds=10)
"""So long `lock` tries to take back its ticket and mark before it leaves them to the end of the session."""


@dataclass(frozen=True, slots=True)
class Locked:
    """The slot is held by hand; `already` when it was before."""

    held: Held
    already: bool


def lock(  # noqa: PLR0913
    actor: Actor,
    node: str,
    host: str,
    group: str,
    reason: str,
    *,
    wait: bool,
    patience: timedelta | None,
    progress: Callable[[Progress], None],
    stop: threading.Event,
) -> Locked:
    """Take a slot of the group by hand. Without `wait` one walk decides.

    Raises Full, Paused, Halted, Held (the node must not be touched), HeldByAgent, HeldElsewhere, TimedOut, NoSuchGroup,
    Interrupted, NewerFormat, StoreError; nothing of ours is then left behind, except after Unknown.
    """
    open_group(actor, group)
    attempt = Attempt(
        node=node,
        host=host or node,
        group=group,
        limits=(keys.group_limit(group),),
        nonce=actor.nonce(),
        since=actor.clock.wall(),
        reason=reason,
        boot="",
        hand=True,
        by=actor.by,
    )
    limit = patience if wait or patience is not None else PATIENCE
    vigil = Vigil(actor, limit, progress, stop)
    try:
        while True:
            taken = _await_agent(actor, attempt, vigil, wait=wait) or _queue_up(actor, attempt, vigil, wait=wait)
            if taken is not None and not taken.already:
                vigil.heed()
            if taken is not None:
                return taken
            vigil.check()
    except BaseException as error:
        won = _withdraw(actor, attempt, error)
        if won is None:
            raise
        if isinstance(error, Refused | StoreError):
            return Locked(won, already=False)
        release(actor, slot_of(won))
        raise


def _withdraw(actor: Actor, attempt: Attempt, error: BaseException) -> Held | None:
    """Take back the mark and the ticket; gives the holder if it was too late for that."""
    try:
        current = held(look(actor.store, [keys.own(attempt.node)]), attempt.node)
        if current is not None and current.holder.then is not None and current.holder.then.nonce == attempt.nonce:
            mark(actor, slot_of(current), lambda holder: _unmarked(holder, attempt.nonce), WITHDRAWAL)
        return cancel(actor, attempt, WITHDRAWAL)
    except StoreError:
        # The session is over or about to be: the ticket goes with it, and a claim cannot apply without the ticket.
        raise error from None


def _unmarked(holder: Holder, nonce: str) -> Holder | None:
    return replace(holder, then=None) if holder.then is not None and holder.then.nonce == nonce else None


def _await_agent(actor: Actor, attempt: Attempt, vigil: Vigil, *, wait: bool) -> Locked | None:
    """Wait until the node holds nothing; or it is held by hand in this group, which is what was wanted."""
    own = keys.own(attempt.node)
    while True:
        current = vigil.through(lambda: held(look(actor.store, [own]), attempt.node))
        if current is None:
            return None
        holder = current.holder
        if holder.group != attempt.group:
            raise HeldElsewhere(
                f"{attempt.host} holds a slot of group {holder.group} ({holder.phase}): unlock that one first"
            )
        if holder.phase == Phase.MAINTENANCE:
            return Locked(current, already=holder.nonce != attempt.nonce)
        if not wait:
            raise HeldByAgent(
                f"the agent of {attempt.host} has the slot itself ({holder.phase}): "
                "with --wait it is asked to leave it to you"
            )
        _mark_for_us(actor, attempt, current, vigil)
        vigil.tell(Progress("agent", f"the agent of {attempt.host} has the slot ({holder.phase})"))
        vigil.check()
        vigil.wait(((own, current.mod),), POLL)


def _mark_for_us(actor: Actor, attempt: Attempt, current: Held, vigil: Vigil) -> None:
    """Ask an agent that is not armed to undo and leave its slot to us. A failed one keeps it until it is well."""
    then = Then(by=actor.by, host=attempt.host, reason=attempt.reason, nonce=attempt.nonce)

    def change(holder: Holder) -> Holder | None:
        free = holder.phase in (Phase.ACQUIRED, Phase.DRAINING) and holder.then is None and holder.revoke is None
        return replace(holder, then=then) if free else None

    if change(current.holder) is not None:
        vigil.through(lambda: mark(actor, slot_of(current), change))


def _queue_up(actor: Actor, attempt: Attempt, vigil: Vigil, *, wait: bool) -> Locked | None:
    """Wait in the queue with a session; None when the ticket was lost or somebody else took the node's key: look again."""
    walks = Patience()
    started = actor.clock.boottime()

    def waited() -> timedelta:
        return timedelta(seconds=actor.clock.boottime() - started)

    with kept_session(vigil.through(lambda: actor.store.session(SESSION_TTL))) as session:
        while True:
            try:
                entered = vigil.through(lambda: enqueue(actor, attempt, session.id, waited()))
            except SessionLost:
                return None
            match entered:
                case Enqueued():
                    return _stand(actor, attempt, vigil, walks, wait=wait)
                case Foreign():
                    return None
                case QueueFull(retry_after):
                    full = f"the queue of {attempt.group} is full"
                    _or_refuse(Barred("queue_full", full), wait=wait)
                    vigil.tell(Progress("queue_full", full))
                    vigil.check()
                    vigil.wait((), retry_after.total_seconds())
                case Barred() as bar:
                    _or_refuse(bar, wait=wait)
                    vigil.tell(Progress(bar.kind, bar.reason))
                    vigil.check()
                    vigil.wait((), POLL)
                case _:
                    assert_never(entered)


def _stand(actor: Actor, attempt: Attempt, vigil: Vigil, walks: Patience, *, wait: bool) -> Locked | None:
    """With a ticket: claim whenever something has changed."""
    while True:
        outcome = vigil.through(lambda: claim(actor, attempt, walks))
        match outcome:
            case Claimed(current):
                return Locked(current, already=False)
            case TicketLost():
                return None
            case Foreign():
                cancel(actor, attempt)
                return None
            case Barred() as bar:
                raise _refusal(bar.kind, bar.reason)
            case InLine(retry=True):
                vigil.check()
            case InLine() as line:
                _or_refuse(Barred(line.kind, line.reason), wait=wait)
                vigil.tell(Progress(line.kind, line.reason, line.rank, line.ahead))
                vigil.check()
                vigil.wait(line.watches, POLL)
            case _:
                assert_never(outcome)


def _or_refuse(bar: Barred, *, wait: bool) -> None:
    """Go on waiting where waiting helps, else refuse."""
    if not wait or bar.kind in ("store", "config"):
        raise _refusal(bar.kind, bar.reason)


def _refusal(kind: str, reason: str) -> Refused | StoreError | NewerFormat:
    match kind:
        case "paused":
            return Paused(reason)
        case "halted":
            return Halted(reason)
        case "hold":
            return NodeHeld(reason)
        case "config":
            return NewerFormat(reason)
        case "store":
            return Denied(reason)
        case _:
            return Full(reason)
