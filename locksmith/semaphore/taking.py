"""Taking slots away: `lockctl unlock`, asked for or by force.

The one idea a reader would miss: whoever deletes another's holder writes a record for its agent in the same commit. It
tells the agent where its slot went, and its gen settles the commit.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Literal

from locksmith.core import keys
from locksmith.core.documents import Holder, Phase, Revoke, Unlocked
from locksmith.errors import ArmedHolder, Asked, NotHeld
from locksmith.semaphore.actor import Actor, Done, Try, look, settle
from locksmith.semaphore.claiming import Held, held
from locksmith.semaphore.holding import explained, mark, removal, removal_keys, slot_of
from locksmith.semaphore.recording import entry_of
from locksmith.semaphore.vigil import POLL, Progress, Vigil
from locksmith.stores import Commit, Put

AT_ONCE = frozenset({Phase.MAINTENANCE, Phase.FAILED})
"""Phases in which `unlock` takes the slot itself."""
MAYBE_REBOOTING = frozenset({Phase.ARMED, Phase.VERIFYING})


@dataclass(frozen=True, slots=True)
class Unlocked_:  # noqa: N801
    """How the slot was given up, and the holder that had it. The name without underscore is the store's document."""

    how: Literal["by_hand", "failed", "given_back", "not_held"]
    held: Held | None


def unlock(  # noqa: PLR0913
    actor: Actor,
    node: str,
    reason: str,
    *,
    strict: bool,
    patience: timedelta,
    progress: Callable[[Progress], None],
    stop: threading.Event,
) -> Unlocked_:
    """Give up a slot: one held by hand or failed goes at once, an agent is asked for its own and waited for.

    Raises NotHeld when strict; Asked when the agent has not given it back in time (it stays asked); Interrupted; StoreError.
    """
    own = keys.own(node)
    vigil = Vigil(actor, patience, progress, stop)
    target: Held | None = None
    while True:
        view = vigil.through(lambda: look(actor.store, [own]))
        if view.config is None:
            actor.store.probe(own)
        current = held(view, node)
        if target is None:
            if current is None:
                return _not_held(node, strict=strict)
            target = current
        if current is None or not current.ours(target.token, target.holder.nonce):
            return Unlocked_("given_back", target)
        if current.holder.phase in AT_ONCE:
            how: Literal["by_hand", "failed"] = "by_hand" if current.holder.phase == Phase.MAINTENANCE else "failed"
            taken = _take(actor, node, current, reason, AT_ONCE)
            return Unlocked_(how, taken) if taken is not None else Unlocked_("given_back", target)
        _revoke(actor, current, reason, vigil)
        vigil.tell(Progress("agent", f"the agent of {_named(current)} was asked ({current.holder.phase})"))
        vigil.heed()
        if vigil.expired:
            raise Asked(
                f"the agent of {_named(current)} was asked for the slot and has not given it back yet "
                f"({current.holder.phase}); it stays asked"
            )
        vigil.wait(((own, current.mod),), POLL)


def _not_held(node: str, *, strict: bool) -> Unlocked_:
    if strict:
        raise NotHeld(f"{node} holds no slot")
    return Unlocked_("not_held", None)


def _revoke(actor: Actor, current: Held, reason: str, vigil: Vigil) -> None:
    """Ask for the slot, with a check of the holder only: the agent sees it on the key that it watches."""
    asked = Revoke(by=actor.by, reason=reason, since=actor.clock.wall())

    def change(holder: Holder) -> Holder | None:
        return replace(holder, revoke=asked) if holder.revoke is None and holder.phase not in AT_ONCE else None

    if change(current.holder) is not None:
        vigil.through(lambda: mark(actor, slot_of(current), change))


def force_unlock(actor: Actor, node: str, reason: str, *, armed_too: bool) -> Held:
    """Take the slot, whatever its agent does; gives the holder that was removed.

    Raises ArmedHolder when the machine may be rebooting and `armed_too` does not say that it is known to be off; NotHeld;
    StoreError.
    """
    current = held(look(actor.store, [keys.own(node)]), node)
    if current is None:
        actor.store.probe(keys.own(node))
        raise NotHeld(f"{node} holds no slot")
    taken = _take(actor, node, current, reason, frozenset(Phase) if armed_too else frozenset(Phase) - MAYBE_REBOOTING)
    if taken is None:
        raise NotHeld(f"{_named(current)} has given its slot back by itself in the meantime")
    return taken


def _take(actor: Actor, node: str, target: Held, reason: str, phases: frozenset[Phase]) -> Held | None:
    """Delete this very holder in one commit with its counts and the record for its agent; None when it is gone already.

    The record's gen settles a commit of unknown fate: a holder that is gone is no proof that we took it.
    """
    own, record_key = keys.own(node), keys.unlocked(node)
    written: dict[str, Held] = {}

    def step() -> Done[Held | None] | Try[Held | None]:
        view = look(actor.store, [own, record_key, *removal_keys(target.holder)])
        record = view.document(record_key, Unlocked)
        if record is not None and record.gen in written:
            return Done(written[record.gen])
        current = held(view, node)
        if current is None or not current.ours(target.token, target.holder.nonce):
            return Done(None)
        holder = current.holder
        if holder.phase not in phases:
            raise ArmedHolder(
                f"{_named(current)} is {holder.phase} and may be rebooting now: "
                "--force-armed takes the slot all the same, only when the machine is known to be off"
            )
        gen = actor.nonce()
        written[gen] = current
        taken = explained(actor, record, current, reason, gen)
        entry = entry_of(actor, "taken", gen, (node, holder, current.token))
        away = removal(view, current, replace(entry, outcome=reason))
        commit = Commit(away.checks, (*away.puts, Put(record_key, taken.encode())), away.deletes)
        return Try(commit, lambda _: current)

    return settle(actor, step)


def _named(current: Held) -> str:
    return current.holder.host or keys.own_node(current.key)
