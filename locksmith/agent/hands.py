"""The worker's hands: carries out one effect and answers it with one event (or none).

Store errors become StoreFailed, so that the machine decides; everything unexpected is a bug and ends the process. What an
effect needs it takes from the agent as it was when the effect was decided on, never from a later one.
"""

import logging
import threading
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, assert_never, cast

from locksmith import __version__
from locksmith.agent.asking import ask_gates, ask_health, ask_providers, hook_context, remember
from locksmith.agent.body import Body
from locksmith.agent.facts import attempt_of_owed, found_event, outcome_of, restored_holder, slot_fact, slot_of_owed
from locksmith.agent.watching import Keeps, Post, Stops, Threads, Watching
from locksmith.checks import Stage as CheckStage
from locksmith.core import effects as do
from locksmith.core import events as ev
from locksmith.core import keys, telling
from locksmith.core.admission import Patience
from locksmith.core.codec import to_json
from locksmith.core.documents import NodeRecord, Phase
from locksmith.core.ledger import Owed
from locksmith.core.states import Agent
from locksmith.core.turn import REQUEST, unsettled
from locksmith.errors import Damaged, LocksmithError, WrongStore
from locksmith.hooks import HookCancelled, HookDone, HookFailed, Stage
from locksmith.rebooters import Accepted, Firing, NotAccepted
from locksmith.semaphore import claiming, holding, recovery
from locksmith.semaphore.actor import confirm_cluster, look

log = logging.getLogger("locksmith.agent")

STORE_PATIENCE = timedelta(seconds=15)
"""How long one effect goes on reading back; then the machine decides when to come again."""


class Hands:
    """Carries out effects, one at a time, in the worker's thread."""

    def __init__(self, body: Body, post: Post, watching: Watching | None = None) -> None:
        """`post` is for the watches, which answer on their own."""
        self.body = body
        self._post = post
        self._watching = watching or Threads()
        self._watches = self._watching.keys(body.actor.store, post, body.actor.random)
        self._holder_watch: Stops | None = None
        self._keepalive: Keeps | None = None
        self._patience: tuple[str, Patience] = ("", Patience())
        self._confirmed = False
        self._confessed: set[str] = set()
        self.unwritten: str | None = None
        """Why the journal does not know what is being done, set by the worker; None when it does."""
        self._hooks_lock = threading.Lock()
        self._hook_number = 0
        self._stopped_up_to = 0
        self._running: threading.Event | None = None

    # ---------------------------------------------------------------- hooks that can be stopped from the loop

    def number_hook(self) -> int:
        """Called by the loop for each RunHook it queues: stop_hooks() ends all that have a number by then."""
        with self._hooks_lock:
            self._hook_number += 1
            return self._hook_number

    def stop_hooks(self) -> None:
        """End the running hook and skip the queued ones; called by the loop, takes effect at once."""
        with self._hooks_lock:
            self._stopped_up_to = self._hook_number
            if self._running is not None:
                self._running.set()

    def close(self) -> None:
        """No watch of this life posts any more; sessions end by themselves."""
        self._watches.want(())
        self._unwatch()
        if self._keepalive is not None:
            self._keepalive.stop()

    # ---------------------------------------------------------------- effects

    def carry(self, agent: Agent, effect: do.Effect, number: int = 0) -> ev.Event | None:
        """Carry out one effect; `number` is that of a RunHook."""
        try:
            return self._carry(agent, effect, number)
        except LocksmithError as error:
            return ev.StoreFailed(_act(effect), error.kind, str(error))

    def _carry(self, agent: Agent, effect: do.Effect, number: int) -> ev.Event | None:
        body, owed = self.body, agent.owed
        match effect:
            case do.Recover() | do.SetUpStore() | do.SteadyLook() | do.PutHolderBack() | do.DropRequest():
                return self._about_the_store(agent, effect)
            case do.Enqueue() | do.Claim() | do.CancelTicket():
                return self._about_the_ticket(agent, effect)
            case do.WatchHolder() | do.MarkPhase() | do.MarkFailed() | do.Arm() | do.Release():
                return self._about_the_slot(agent, effect)
            case do.AskProviders():
                return ev.ProvidersAnswered(ask_providers(body))
            case do.AskGates(stage, courtesies):
                answers = ask_gates(body, agent, cast("CheckStage", stage), courtesies=courtesies)
                return ev.GatesAnswered(stage, answers, courtesies)
            case do.AskHealth():
                return ev.HealthAnswered(ask_health(body, agent))
            case do.UnwatchHolder():
                self._unwatch()
                return None
            case do.WatchOwnKey():
                slot = agent.slot
                self._watches.want([(keys.own(body.policy.home.node), slot.mod)] if slot is not None else [])
                return None
            case do.ListHooks(stage):
                return self._list_hooks(stage, owed)
            case do.RunHook(stage, name):
                return self._run_hook(stage, name, owed, number)
            case do.StopHook():
                return None
            case do.Reboot():
                return self._reboot(owed)
            case do.AskPending():
                return ev.PendingSeen(self._pending())
            case _:
                assert_never(effect)

    def _about_the_store(
        self,
        agent: Agent,
        effect: do.Recover | do.SetUpStore | do.SteadyLook | do.PutHolderBack | do.DropRequest,
    ) -> ev.Event | None:
        actor, node, owed = self.body.actor, self.body.policy.home.node, agent.owed
        match effect:
            case do.Recover(ticket):
                found = recovery.start(actor, node, self.body.fingerprint, ticket)
                if isinstance(found, recovery.Found) and not self._confirmed:
                    confirm_cluster(actor.store, found.config)
                    # Whether it is the store that the journal knows is for START's table to say.
                    self._confirmed = True
                self._watches.want(())
                return found_event(actor, found, start=True)
            case do.SetUpStore():
                recovery.setup(actor)
                return ev.SetUp()
            case do.SteadyLook():
                return found_event(actor, recovery.steady_look(actor, node), start=False)
            case do.PutHolderBack():
                if owed is None:
                    return None
                holder = restored_holder(owed, actor.host, self.body.fingerprint)
                return ev.PutBack(slot_fact(holding.put_back(actor, node, holder)))
            case do.DropRequest(identity):
                recovery.drop_request(actor, node, identity)
                return None
            case _:
                assert_never(effect)

    # ---------------------------------------------------------------- the ticket

    def _about_the_ticket(self, agent: Agent, effect: do.Enqueue | do.Claim | do.CancelTicket) -> ev.Event | None:
        actor, owed = self.body.actor, agent.owed
        if owed is None:
            return None
        attempt = attempt_of_owed(owed, actor.host, self.body.fingerprint)
        wanted = replace(attempt, expected=telling.expected(agent, Phase.ACQUIRED))
        match effect:
            case do.Enqueue(age):
                return self._enqueue(wanted, age)
            case do.Claim():
                return self._claim(wanted)
            case do.CancelTicket():
                self._watches.want(())
                current = claiming.cancel(actor, wanted, STORE_PATIENCE)
                self._end_session()
                return ev.Cancelled(slot_fact(current) if current is not None else None)
            case _:
                assert_never(effect)

    def _enqueue(self, attempt: claiming.Attempt, age: timedelta) -> ev.Event:
        self._end_session()
        session = self.body.actor.store.session(self.body.session_ttl)
        self._keepalive = self._watching.session(session, self._post)
        outcome = claiming.enqueue(self.body.actor, attempt, session.id, age)
        match outcome:
            case claiming.Enqueued():
                return ev.EnqueueDone()
            case claiming.QueueFull(retry_after):
                return ev.EnqueueRefused("queue_full", "the queue of the group is full", retry_after)
            case claiming.Barred(kind, reason, until):
                return ev.EnqueueRefused(kind, reason, None, until)
            case claiming.Foreign(current):
                return ev.OwnKeyTaken(slot_fact(current))
            case _:
                assert_never(outcome)

    def _claim(self, attempt: claiming.Attempt) -> ev.Event:
        if self._patience[0] != attempt.nonce:
            self._patience = (attempt.nonce, Patience())
        outcome = claiming.claim(self.body.actor, attempt, self._patience[1])
        match outcome:
            case claiming.Claimed(current, epoch):
                self._watches.want(())
                self._end_session()
                return ev.SlotTaken(slot_fact(current), epoch)
            case claiming.InLine():
                self._watches.want(outcome.watches)
                return ev.StandingInLine(
                    outcome.kind, outcome.reason, outcome.rank, outcome.ahead, outcome.retry, outcome.epoch
                )
            case claiming.TicketLost():
                return ev.TicketGone()
            case claiming.Foreign(current):
                return ev.OwnKeyTaken(slot_fact(current))
            case claiming.Barred(kind, reason, until):
                return ev.EnqueueRefused(kind, reason, None, until)
            case _:
                assert_never(outcome)

    def _end_session(self) -> None:
        if self._keepalive is not None:
            self._keepalive.end()
            self._keepalive = None

    # ---------------------------------------------------------------- the slot

    def _about_the_slot(
        self, agent: Agent, effect: do.WatchHolder | do.MarkPhase | do.MarkFailed | do.Arm | do.Release
    ) -> ev.Event | None:
        actor, owed = self.body.actor, agent.owed
        slot = slot_of_owed(owed) if owed is not None else None
        if owed is None or slot is None:
            return ev.SlotGone() if isinstance(effect, do.MarkPhase | do.MarkFailed) else ev.ReleaseDone()
        if not self._confirmed:
            self._confirm(agent)
        match effect:
            case do.WatchHolder():
                self._unwatch()
                mod = agent.slot.mod if agent.slot is not None else slot.token
                self._holder_watch = self._watching.holder(actor, slot, mod, self._post)
                return None
            case do.MarkPhase("verifying"):
                kept = holding.verify(actor, slot, agent.boot, telling.expected(agent, Phase.VERIFYING))
                return _marked(kept)
            case do.MarkPhase(phase):
                return _marked(holding.to_phase(actor, slot, Phase(phase), telling.expected(agent, phase)))
            case do.MarkFailed(check):
                return _marked(holding.fail(actor, slot, check))
            case do.Arm():
                return self._arm(agent, owed, slot)
            case do.Release():
                released = holding.release(actor, slot, STORE_PATIENCE, self.unwritten, outcome_of(agent, owed))
                self._unwatch()
                return ev.ReleaseDone(released.by_hand)
            case _:
                assert_never(effect)

    def _confirm(self, agent: Agent) -> None:
        """After a boot without the store no START has looked at it: in another one "absent" would forget the slot.

        Raises WrongStore, StoreError.
        """
        config = look(self.body.actor.store).config
        if config is None:
            return  # what follows does not believe "absent" in a store without settings
        home = agent.ledger.home
        if home is not None and home.identity not in ("", config.store):
            raise WrongStore("this is another store than the one in which this node owes a slot: settle there first")
        confirm_cluster(self.body.actor.store, config)
        self._confirmed = True

    def _arm(self, agent: Agent, owed: Owed, slot: holding.Slot) -> ev.Event:
        outcome = holding.arm(
            self.body.actor,
            slot,
            epoch=owed.epoch,
            attempt=owed.attempt,
            request=owed.request,
            expected=telling.expected(agent, Phase.ARMED),
            sole=owed.provider == REQUEST,
        )
        match outcome:
            case holding.Armed():
                return ev.ArmDone(owed.attempt)
            case holding.CalledOff(_, kind, reason) | claiming.Barred(kind, reason):
                return ev.ArmRefused(kind, reason)
            case holding.Gone(epoch=epoch):
                return ev.SlotGone(epoch)
            case holding.Unsettled(reason):
                return ev.ArmUnsettled(reason)
            case _:
                assert_never(outcome)

    def _unwatch(self) -> None:
        if self._holder_watch is not None:
            self._holder_watch.stop()
            self._holder_watch = None

    # ---------------------------------------------------------------- this machine

    def _list_hooks(self, stage: str, owed: Owed | None) -> ev.Event:
        if stage == Stage.PRE_REBOOT and owed is not None:
            remember(self.body, owed)
        try:
            return ev.HooksListed(stage, self.body.hooks.names(Stage(stage)))
        except Damaged as error:
            # A folder that cannot be read is a hook that failed: its content is unknown.
            if stage == Stage.UNDO:
                log.warning("hooks: nothing of the drain is taken back: %s", error)
            return ev.HookEnded(stage, f"{stage}.d", str(error))

    def _run_hook(self, stage: str, name: str, owed: Owed | None, number: int) -> ev.Event:
        stop = threading.Event()
        with self._hooks_lock:
            if stage == Stage.PRE_REBOOT and number <= self._stopped_up_to:
                return ev.HookEnded(stage, name, "called off before it began", cancelled=True)
            self._running = stop if stage == Stage.PRE_REBOOT else None
        result = self.body.hooks.run(Stage(stage), name, hook_context(self.body.policy, owed, stage), stop)
        with self._hooks_lock:
            self._running = None
        match result:
            case HookDone():
                return ev.HookEnded(stage, name, None)
            case HookFailed(reason):
                if stage == Stage.UNDO:
                    # The others are run all the same, so nothing else would tell.
                    log.warning("hook %s", reason, extra={"hook": name})
                return ev.HookEnded(stage, name, reason)
            case HookCancelled():
                return ev.HookEnded(stage, name, "called off", cancelled=True)
            case _:
                assert_never(result)

    def _reboot(self, owed: Owed | None) -> ev.Event:
        context = hook_context(self.body.policy, owed, "reboot")
        outcome = self.body.rebooter.reboot(context.reason, context.environment())
        match outcome:
            case Accepted():
                return ev.RebootTold()
            case NotAccepted(reason):
                return ev.RebootTold(reason)
            case _:
                assert_never(outcome)

    def _pending(self) -> str | None:
        """What can still take the machine down, and what keeps it up meanwhile; None: nothing can."""
        pending = self.body.rebooter.pending()
        if not isinstance(pending, Firing):
            return None
        return f"{pending.cause}; {self.body.rebooter.explain()}"

    # ---------------------------------------------------------------- the registry

    def record(self, agent: Agent, told: telling.Telling, steps: tuple[Mapping[str, Any], ...]) -> NodeRecord:
        """This node's entry, as it should stand."""
        body, wanted = self.body, agent.owed
        need = next(iter(sorted(agent.needs.values(), key=lambda need: need.provider)), None)
        return NodeRecord(
            host=body.actor.host,
            group=body.policy.group,
            state=told.state,
            state_since=agent.since.wall,
            seen=body.actor.clock.wall(),
            labels=body.labels,
            version=__version__,
            os=body.os,
            strategy=str(body.policy.strategy),
            kind=told.kind,
            why=told.text,
            boot=agent.boot,
            fingerprint=agent.fingerprint,
            heartbeat=int(body.heartbeat.total_seconds()),
            epoch=_settled_epoch(agent),
            need=wanted.reason if wanted is not None and wanted.reason else (need.reason if need else None),
            need_since=need.since if need else None,
            origin=need.origin if need else None,
            target=need.target if need else None,
            steps=steps,
            reboots=agent.ledger.reboots,
            last_reboot=to_json(agent.ledger.last) if agent.ledger.last is not None else None,
            unsanctioned=agent.ledger.unsanctioned,
        )

    def write_record(self, record: NodeRecord) -> None:
        """Put it into the registry. Raises StoreError."""
        untold = [each for each in record.unsanctioned if each.boot not in self._confessed]
        if recovery.write_record(self.body.actor, self.body.policy.home.node, record, untold):
            self._confessed.update(each.boot for each in untold)


def _settled_epoch(agent: Agent) -> int | None:
    """The epoch in which this node has settled: as long as a slot of an earlier one is not found in the store, that one."""
    home, owed = agent.ledger.home, agent.owed
    if home is not None and owed is not None and agent.slot is None and unsettled(agent, home.epoch):
        return owed.epoch
    return home.epoch if home is not None else None


def _marked(kept: holding.Kept | holding.Gone) -> ev.Event:
    match kept:
        case holding.Gone(epoch=epoch):
            return ev.SlotGone(epoch)
        case holding.Kept(current):
            return ev.PhaseMarked(str(current.holder.phase), slot_fact(current))
        case _:
            assert_never(kept)


def _act(effect: do.Effect) -> str:
    """The word of StoreFailed for what failed."""
    match effect:
        case do.MarkPhase() | do.MarkFailed():
            return "mark"
        case do.SteadyLook():
            return "look"
        case do.Recover() | do.SetUpStore() | do.PutHolderBack():
            return "recover"
        case do.CancelTicket():
            return "cancel"
        case _:
            return type(effect).__name__.lower()
