"""START: the table of the protocol, one row a case; and the two states that wait for somebody: Conflicted, Unready."""

from dataclasses import replace
from datetime import timedelta

from locksmith.core.attempt import begin_release, finish, undo
from locksmith.core.effects import AskGates, AskPending, AskProviders, PutHolderBack, Recover, SetUpStore, WatchHolder
from locksmith.core.events import Event, FoundAtStart, JournalFailed, Poke, PutBack, SetUp, StopAsked, StoreFailed, Tick
from locksmith.core.facts import Moment, SlotFact, Strategy
from locksmith.core.history import UNSANCTIONED, Unsanctioned
from locksmith.core.ledger import LastReboot, Owed, Stage
from locksmith.core.states import Agent, Conflicted, Draining, Rebooting, Starting, Unready
from locksmith.core.turn import Turn, backoff, counted, evaluate, go, is_wanted, later, note, owe, restart
from locksmith.core.verifying import begin_verify
from locksmith.core.waiting import maintenance

AGAIN = timedelta(seconds=60)


def begin(agent: Agent, at: Moment) -> Turn:
    """The process has started: account for a boot that passed, then ask the providers and the store."""
    agent = boot_changed(agent, at)
    agent = go(agent, Starting(), at, wake_at=None)
    owed = agent.owed
    return agent, (AskProviders(), Recover(owed.ticket if owed is not None and owed.ticket else None))


def boot_changed(agent: Agent, at: Moment) -> Agent:
    """If the journal is of another boot: what was staged is spent, and a reboot without an attempt is recorded."""
    ledger = agent.ledger
    if ledger.boot == agent.boot:
        return agent
    if ledger.boot:
        owed = ledger.owed
        ours = owed is not None and owed.stage == Stage.ARMED
        settled = owed is not None and owed.stage in (Stage.VERIFYING, Stage.RELEASING) and owed.verify_boot != ""
        if not settled:
            last = LastReboot(
                at=at.wall,
                result="" if ours else "unsanctioned",
                reason=owed.reason if owed is not None and ours else "",
                origin=owed.origin if owed is not None and ours else None,
                target=owed.target if owed is not None and ours else None,
                ours=ours,
            )
            agent = note(
                agent,
                last=last,
                spent={**ledger.spent, **ledger.wanted},
                left={**ledger.left, **_left(owed)} if owed is not None and ours else ledger.left,
                last_ours=at.wall if ours else ledger.last_ours,
            )
        if not ours and not settled:
            found = Unsanctioned(boot=agent.boot, at=at.wall)
            agent = note(
                agent,
                reboots=counted(agent.ledger.reboots, "unsanctioned"),
                unsanctioned=(*agent.ledger.unsanctioned, found)[-UNSANCTIONED:],
            )
    return note(agent, boot=agent.boot)


def _left(owed: Owed) -> dict[str, str]:
    """The version that this attempt's reboot has left for another one, by provider."""
    if owed.origin is None or owed.target in (None, owed.origin):
        return {}
    return {owed.provider: owed.origin}


def on_starting(agent: Agent, state: Starting, event: Event, at: Moment) -> Turn:
    """Waiting for what the store says."""
    match event:
        case FoundAtStart(start=True) as found:  # a late steady look has not deleted the stale ticket
            return _table(agent, found, at)
        case SetUp():
            return agent, (Recover(None),)
        case PutBack(slot):
            agent = owe(agent, token=slot.token, epoch=agent.ledger.home.epoch if agent.ledger.home else 0)
            return restart(agent, at)
        case StoreFailed(kind=kind, text=text):
            owed = agent.owed
            if owed is not None and _booted_since(agent, owed) and owed.stage != Stage.CLAIMING:
                # The machine serves again without the store; only the release waits for it.
                return begin_verify(agent, None, at)
            if kind in ("denied", "identity", "corrupt", "newer_format", "auth", "tls"):
                return _unready(agent, "identity" if kind == "identity" else "store", text, at)
            return go(agent, replace(state, tries=state.tries + 1), at, wake_at=backoff(at, state.tries)), ()
        case JournalFailed(text=text):
            return _unready(agent, "journal", text, at)
        case Tick() | Poke():
            owed = agent.owed
            return replace(agent, wake_at=None), (Recover(owed.ticket if owed is not None and owed.ticket else None),)
        case StopAsked():
            return replace(agent, done=True), ()
        case _:
            return agent, ()


def on_waiting_for_somebody(agent: Agent, event: Event, at: Moment) -> Turn:
    """Conflicted and Unready: look again now and then."""
    match event:
        case Tick() | Poke():
            return restart(agent, at)
        case StopAsked():
            return replace(agent, done=True), ()
        case _:
            return agent, ()


def _unready(agent: Agent, kind: str, cause: str, at: Moment) -> Turn:
    return go(agent, Unready(kind, cause), at, wake_at=later(at, AGAIN, 0.2)), ()


def _booted_since(agent: Agent, owed: Owed) -> bool:
    return owed.boot != agent.boot


def _table(agent: Agent, found: FoundAtStart, at: Moment) -> Turn:
    """The first row that fits."""
    agent = replace(
        agent, hold=found.hold, request=found.request, next_look=later(at, agent.policy.look_interval * 1.1, 0.09)
    )
    if found.clash is not None:
        other = found.clash.host or "another machine"
        return go(agent, Conflicted(other), at, wake_at=later(at, AGAIN, 0.2)), ()
    if not found.known:
        return _not_set_up(agent, at)
    owed, home = agent.owed, agent.ledger.home
    if home is not None and home.identity not in ("", found.identity) and owed is not None and owed.token is not None:
        text = "this is another store than the one in which this node owes a slot: settle there first, or restore it"
        return _unready(agent, "identity", text, at)
    epoch_changed = owed is not None and owed.epoch not in (0, found.epoch)
    agent = note(agent, home=replace(agent.policy.home, identity=found.identity, epoch=found.epoch))
    if found.slot is None:
        return _absent(agent, found, at, epoch_changed=epoch_changed)
    if found.slot.phase == "maintenance":
        return _by_hand(agent, found.slot, at)
    return _held(agent, found.slot, at)


def _not_set_up(agent: Agent, at: Moment) -> Turn:
    """Only a store that this node has never seen is set up by it: in one that was emptied, others may still owe slots."""
    home, wanted = agent.ledger.home, agent.policy.home
    seen = home is not None and home.identity != ""
    if seen and agent.owed is not None:
        text = "the store knows nothing under this prefix, but this node owes it a slot: was it emptied, may we not read it?"
        return _unready(agent, "identity", text, at)
    if seen and home is not None and (home.store, home.prefix, home.node) == (wanted.store, wanted.prefix, wanted.node):
        text = (
            "the store knows nothing under this prefix any more: let us read it, restore it, or, when no node reboots just "
            "now, set it up again with lockctl set-max"
        )
        return _unready(agent, "identity", text, at)
    return agent, (SetUpStore(),)


def _by_hand(agent: Agent, slot: SlotFact, at: Moment) -> Turn:
    owed = agent.owed
    if owed is not None and owed.to_undo and not _booted_since(agent, owed):
        # The slot went to an operator while something is still to be undone.
        return undo(agent, "maintenance", "the slot was left to an operator", at, slot_gone=True)
    return maintenance(note(agent, owed=None), slot, at)


def _absent(agent: Agent, found: FoundAtStart, at: Moment, *, epoch_changed: bool) -> Turn:
    agent = replace(agent, slot=None)
    owed = agent.owed
    if owed is None:
        return evaluate(agent, at)
    over = owed.token is None or owed.stage in (Stage.CLAIMING, Stage.RELEASING)
    if owed.slotless:
        if _booted_since(agent, owed):
            return begin_verify(agent, None, at, slot_gone=True)
        if owed.stage == Stage.ARMED:
            # The machine may have been told: nothing is taken back while that can still fire.
            return _may_fire(agent, _unwanted(agent, owed), owed, at)
        return undo(agent, "interrupted", "the agent was restarted in the middle of an attempt", at, slot_gone=True)
    if over:
        if owed.stage == Stage.RELEASING:
            return finish(owe(agent, result=owed.result), at)
        return evaluate(note(agent, owed=None), at)
    # After a restore a release that was sent explains nothing: it may be what the backup does not know.
    if (owed.given_back and not epoch_changed) or str(owed.token) in found.unlocked:
        if owed.result == "failed":
            return finish(agent, at)
        if _booted_since(agent, owed):
            return begin_verify(agent, None, at, slot_gone=True)
        return undo(agent, "revoked", "an operator took the slot away", at, slot_gone=True)
    if epoch_changed:
        return agent, (PutHolderBack(),)
    text = (
        f"the store does not know slot {owed.token} that this node holds, and no record explains it: if it was restored from "
        "a backup, run lockctl restored"
    )
    return _unready(agent, "identity", text, at)


def _adopt(agent: Agent, slot: SlotFact, at: Moment) -> Agent:
    """The journal's attempt, if it is this holder's; else one made from what the store says (the journal was lost)."""
    owed = agent.owed
    if owed is not None and owed.nonce == slot.nonce and owed.token in (None, slot.token):
        stage = Stage.HELD if owed.stage == Stage.CLAIMING else owed.stage
        # A claim that won while its agent died has no epoch in the journal yet: the holder stands in the store as it is now.
        epoch = owed.epoch or (agent.ledger.home.epoch if agent.ledger.home else 0)
        return replace(owe(agent, token=slot.token, stage=stage, epoch=epoch), slot=slot)
    made = Owed(
        node=agent.policy.home.node,
        nonce=slot.nonce,
        group=slot.group,
        limits=slot.limits,
        stage=Stage.ARMED if slot.phase == "armed" else Stage.HELD,
        boot=slot.boot,
        since=slot.since or at.wall,
        token=slot.token,
        epoch=agent.ledger.home.epoch if agent.ledger.home else 0,
        reason=slot.reason,
        origin=slot.origin,
        target=slot.target,
        fingerprint=slot.need,
        # Without the journal nobody knows what was started: an armed holder is not fired again, only taken back.
        called_off="journal" if slot.phase == "armed" and slot.boot == agent.boot else None,
        called_off_reason="the journal of the attempt was lost",
        lost=slot.boot == agent.boot,
    )
    return replace(note(agent, owed=made), slot=slot)


def _held(agent: Agent, slot: SlotFact, at: Moment) -> Turn:
    known = agent.owed is not None and agent.owed.nonce == slot.nonce
    agent = _adopt(agent, slot, at)
    owed = agent.owed
    if owed is None:
        return evaluate(agent, at)
    if slot.phase in ("verifying", "failed") or slot.boot != agent.boot:
        # A full disk may have kept a journal of the boot before: what was well there proves nothing of this boot.
        if owed.stage == Stage.RELEASING and slot.boot == agent.boot == owed.verify_boot:
            return begin_release(agent, at)
        return begin_verify(agent, slot, at)
    if owed.stage == Stage.RELEASING:
        return undo(agent, owed.called_off or "interrupted", owed.called_off_reason, at)
    unwanted = _unwanted(agent, owed)
    if slot.phase == "armed" or owed.stage == Stage.ARMED:
        # A store that was restored may hold the phase from before; what the journal says was told can fire all the same.
        return _may_fire(agent, unwanted, owed, at)
    if unwanted:
        return undo(agent, unwanted, owed.called_off_reason or "no reboot is wanted any more", at)
    # Acquired or draining in this boot: go on; hooks that ended are not repeated.
    agent = owe(
        agent, stage=Stage.HELD, epoch=agent.ledger.home.epoch if agent.ledger.home and not known else owed.epoch
    )
    return go(agent, Draining(), at, wake_at=None), (WatchHolder(), AskGates("drain"))


def _may_fire(agent: Agent, unwanted: str | None, owed: Owed, at: Moment) -> Turn:
    """Armed in this boot: what an earlier life began may still take the machine down."""
    agent = owe(agent, called_off=unwanted, called_off_reason=owed.called_off_reason) if unwanted else agent
    return go(agent, Rebooting(at.boottime, told=False, asking=True), at, wake_at=None), (AskPending(),)


def _unwanted(agent: Agent, owed: Owed) -> str | None:
    if owed.called_off is not None:
        return owed.called_off
    if not is_wanted(agent) and not agent.unsure:
        return "withdrawn"
    if agent.policy.strategy is not (Strategy.REBOOT if owed.slotless else Strategy.LOCK):
        return "strategy"
    return None
