"""Enqueue, claim, cancel: from wanting a slot to holding one, or to certainly not holding one.

The one idea a reader would miss: the claim checks the revision of its own ticket, so a claim that was delayed past the
cancel or past the next START (both delete the ticket first) can never apply.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import count

from locksmith.core import keys
from locksmith.core.admission import GUARD_WATCHERS, MAX_TICKETS, Patience, Standing, Waiting, ordered, walk
from locksmith.core.documents import Brake, Config, Guard, Hold, Holder, Phase, Ticket
from locksmith.errors import Conflict, Corrupt, Denied, Rejected, Unknown
from locksmith.semaphore.actor import PATIENCE, Actor, Done, Try, View, believe_absent, look, settle
from locksmith.semaphore.recording import counted, entry_of, with_step
from locksmith.stores import Check, Commit, Put

MANY_GUARDS = 40
"""Above so many guards all of them are read as one prefix, to stay below the store's limit for one read."""
QUEUE_FULL_WAIT = (timedelta(seconds=60), timedelta(seconds=900))
SERVED_SLOWLY = 8
"""Up to so many slots a full queue is served for longer than the longest wait of those who found it full."""
KNOWN_TICKETS = 4096
"""So many tickets are kept decoded: a few megabytes in an agent that has seen so many, and room for a simulated fleet."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One wish for slots, with all that its ticket and its holder will say.

    `nonce` names it; `expected` is how long the first phase should take at most; `hand` marks `lockctl lock`, whose holder
    is a hold by hand from the start and whose ticket has a key of its own.
    """

    node: str
    host: str
    group: str
    limits: tuple[str, ...]
    nonce: str
    since: datetime
    reason: str
    boot: str
    fingerprint: str = ""
    need: str = ""
    origin: str | None = None
    target: str | None = None
    priority: int = 0
    expected: timedelta | None = None
    hand: bool = False
    by: str | None = None

    @property
    def ticket_key(self) -> str:
        """The key of its ticket."""
        if self.hand:
            return keys.hand_ticket(self.group, self.node, self.nonce)
        return keys.ticket(self.group, self.node)

    def ticket(self) -> Ticket:
        """Its ticket."""
        return Ticket(
            gen=self.nonce,
            nonce=self.nonce,
            limits=self.limits,
            since=self.since,
            priority=self.priority,
            host=self.host,
            reason=self.reason,
            by=self.by,
        )

    def holder(self, now: datetime, gen: str) -> Holder:
        """The holder that its claim writes."""
        return Holder(
            gen=gen,
            nonce=self.nonce,
            group=self.group,
            limits=self.limits,
            phase=Phase.MAINTENANCE if self.hand else Phase.ACQUIRED,
            boot=self.boot,
            since=now,
            phase_since=now,
            fingerprint="" if self.hand else self.fingerprint,
            need=self.need,
            reason=self.reason,
            origin=self.origin,
            target=self.target,
            expected_by=now + self.expected if self.expected else None,
            host=self.host,
            by=self.by,
        )


@dataclass(frozen=True, slots=True)
class Held:
    """A holder as it stands in the store. `token` (its create revision) is the fencing token."""

    key: str
    holder: Holder
    token: int
    mod: int

    def ours(self, token: int | None, nonce: str) -> bool:
        """Whether it is the holder of this attempt (token None: not yet known)."""
        return self.holder.nonce == nonce and token in (None, self.token)


def held(view: View, node: str) -> Held | None:
    """The holder of a node in a snapshot. Raises Corrupt."""
    key = keys.own(node)
    holder = view.document(key, Holder)
    return Held(key, holder, view.item(key).create, view.item(key).mod) if holder else None


@dataclass(frozen=True, slots=True)
class Enqueued:
    """The ticket stands."""


@dataclass(frozen=True, slots=True)
class QueueFull:
    """Too many wait already; try again after so long."""

    retry_after: timedelta


@dataclass(frozen=True, slots=True)
class Barred:
    """Something other than slots stands in the way. `kind` is a word of `blocked`."""

    kind: str
    reason: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Foreign:
    """The own key carries another nonce: another machine, or an operator by hand."""

    held: Held


@dataclass(frozen=True, slots=True)
class Claimed:
    """The slot is ours. `epoch` is the fleet's at the claim."""

    held: Held
    epoch: int


@dataclass(frozen=True, slots=True)
class InLine:
    """Not yet. `kind` is queue, paused, halted or hold; `watches` are the (key, mod) whose change may help.

    `ahead` are the nodes in front. `retry` says to ask again at once (others were faster). `epoch` is the fleet's now, where
    it was read.
    """

    kind: str
    reason: str
    rank: int
    watches: tuple[tuple[str, int], ...]
    ahead: tuple[str, ...] = ()
    retry: bool = False
    epoch: int | None = None


@dataclass(frozen=True, slots=True)
class TicketLost:
    """The ticket is gone (its session ended, or somebody deleted it): enqueue again."""


def barred(view: View, group: str, limits: Sequence[str]) -> Barred | None:
    """Whether the store or a newer locksmith bars this code from queueing, claiming and arming."""
    config = view.config
    if config is None:
        return Barred("store", "nothing is set up in the store under this prefix, or these credentials may not read it")
    brake = view.document(keys.brake(group), Brake)
    guards = [view.document(keys.guard(limit), Guard) for limit in limits]
    if any(document is not None and document.barred for document in (config, brake, *guards)):
        return Barred(
            "config", "a newer locksmith restricts this fleet in a way this agent does not know: upgrade this agent"
        )
    return None


def stopped(view: View, node: str, group: str, now: datetime | None) -> Barred | None:
    """Whether a pause, a hold or a halt stops claims and arms of this node now; `now` None: the clock is not trusted."""
    hold = view.document(keys.hold(node), Hold)
    if hold is not None and hold.in_force(now):
        return Barred("hold", f"held by {hold.by}: {hold.reason}", hold.until)
    if view.config is not None and (pause := view.config.pause) is not None and pause.in_force(now):
        return Barred("paused", f"fleet paused by {pause.by}: {pause.reason}", pause.until)
    brake = view.document(keys.brake(group), Brake)
    if brake is None:
        return None
    if brake.pause is not None and brake.pause.in_force(now):
        return Barred("paused", f"group {group} paused by {brake.pause.by}: {brake.pause.reason}", brake.pause.until)
    if brake.halted:
        failures = [(node_, brake.failed[node_]) for node_ in brake.unacked]
        named = ", ".join(f"{failure.host or node_} failed {failure.check}" for node_, failure in failures[:3])
        return Barred("halted", f"group {group} halted: {named}")
    return None


def enqueue(actor: Actor, attempt: Attempt, session: str, age: timedelta) -> Enqueued | QueueFull | Barred | Foreign:
    """Put the ticket if it is absent. `age` is how long the need has been waiting: the older, the sooner it tries again.

    Raises StoreError (SessionLost among them; Unknown: cancel before giving up).
    """
    key = attempt.ticket_key
    guards = [keys.guard(limit) for limit in attempt.limits]

    def step() -> Done[Enqueued | QueueFull | Barred | Foreign] | Try[Enqueued | QueueFull | Barred | Foreign]:
        wanted = [keys.brake(attempt.group), keys.hold(attempt.node), keys.own(attempt.node), *guards]
        view = look(actor.store, wanted, [keys.queue(attempt.group)])
        if bar := barred(view, attempt.group, attempt.limits):
            return Done(bar)
        current = held(view, attempt.node)
        if current is not None:
            return Done(Enqueued() if current.ours(None, attempt.nonce) else Foreign(current))
        hold = view.document(keys.hold(attempt.node), Hold)
        if hold is not None and hold.in_force(actor.trusted_now()):
            return Done(Barred("hold", f"held by {hold.by}: {hold.reason}", hold.until))
        if view.item(key):
            mine = view.document(key, Ticket)
            if mine is not None and mine.nonce == attempt.nonce:
                return Done(Enqueued())
            # A stray ticket of an earlier life: never taken over, for its session is not ours.
            delete = Commit((Check(key, view.mod(key)),), deletes=(key,))
            actor.store.commit(delete.checks, deletes=delete.deletes)
            return step()
        if sum(1 for _ in view.snapshot.under(keys.queue(attempt.group))) >= MAX_TICKETS:
            slots = min((found.effective for limit in attempt.limits if (found := _guard(view, limit))), default=1)
            return Done(QueueFull(_full_wait(actor, age, slots)))
        put = Commit((Check(key, 0),), (Put(key, attempt.ticket().encode(), session),))
        return Try(put, lambda _: Enqueued())

    return settle(actor, step)


def _full_wait(actor: Actor, age: timedelta, slots: int) -> timedelta:
    """60 to 900 s with jitter, shorter with age: a node that has waited a day asks about four times as often.

    Shorter with many slots, too: 64 tickets on 50 of them are served before anybody would come back within 900 s, and
    slots would stay free (tests/benchmarks/makespan.py --slots shows it).
    """
    low, high = QUEUE_FULL_WAIT
    high = max(low, min(high, high * SERVED_SLOWLY / slots))
    span = (high - low) / (1 + age / timedelta(hours=8))
    return low + span * actor.random.random()


def claim(
    actor: Actor, attempt: Attempt, patience: Patience, tries: int = 8
) -> Claimed | InLine | TicketLost | Foreign | Barred:
    """Take the slots if the walk reaches our ticket; else say where it stands.

    Raises StoreError; Unknown when a commit of ours may still apply and reading back failed.
    """
    unknown: Unknown | None = None
    for number in count():
        try:
            view, tickets = _claim_view(actor, attempt)
        except (Rejected, Denied) as error:
            raise unknown or error from error
        outcome = _decide(actor, attempt, patience, view, tickets)
        if not isinstance(outcome, Try):
            return outcome
        try:
            return outcome.then(actor.store.commit(outcome.commit.checks, outcome.commit.puts, outcome.commit.deletes))
        except Conflict:
            if number + 1 >= tries:
                return InLine("queue", "others were faster", 1, (), retry=True)
        except Unknown as error:
            unknown = error
            if number + 1 >= tries:
                raise
        except (Rejected, Denied) as error:
            # Surely not this one; but an earlier one of unclear fate stays so.
            raise unknown or error from error
        actor.rest(number)
    raise AssertionError("unreachable")


def _claim_view(actor: Actor, attempt: Attempt) -> tuple[View, list[Waiting]]:
    """One snapshot with all that the walk and the commit need, and its queue; a second one when tickets name more guards."""
    limits = set(attempt.limits)
    wanted = [keys.brake(attempt.group), keys.hold(attempt.node), keys.own(attempt.node), attempt.ticket_key]
    prefixes = [keys.queue(attempt.group)]
    while True:
        guards = [keys.guard(limit) for limit in sorted(limits)]
        if len(guards) > MANY_GUARDS:
            guards, prefixes = [], [*prefixes, keys.GUARDS]
        view = look(actor.store, [*wanted, *guards], prefixes)
        tickets = _queue(view, attempt.group)
        named = {limit for waiting in tickets for limit in waiting.ticket.limits}
        uncounted = any(not view.item(keys.guard(limit)) for limit in attempt.limits)
        if (named <= limits or keys.GUARDS in prefixes) and (not uncounted or keys.OWNERS in prefixes):
            return view, tickets
        limits |= named
        if uncounted and keys.OWNERS not in prefixes:
            prefixes = [*prefixes, keys.OWNERS]


def _queue(view: View, group: str) -> list[Waiting]:
    return [
        Waiting(key, _ticket(key, item.value), item.create, item.mod)
        for key, item in view.snapshot.under(keys.queue(group))
    ]


@lru_cache(maxsize=KNOWN_TICKETS)
def _ticket(key: str, value: bytes) -> Ticket:
    """Decode a ticket once: each look sees up to 64, and hardly one of them is new. Raises Corrupt, each time."""
    return Ticket.decode(key, value)


Outcome = Claimed | InLine | TicketLost | Foreign | Barred


def _decide(
    actor: Actor, attempt: Attempt, patience: Patience, view: View, tickets: list[Waiting]
) -> Outcome | Try[Outcome]:
    current = held(view, attempt.node)
    if current is not None:
        if current.ours(None, attempt.nonce):
            return Claimed(current, view.config.epoch if view.config else 0)
        return Foreign(current)
    if bar := barred(view, attempt.group, attempt.limits):
        return bar
    mine = view.document(attempt.ticket_key, Ticket)
    if mine is None or mine.nonce != attempt.nonce:
        return TicketLost()
    limits = {limit for waiting in tickets for limit in waiting.ticket.limits}
    guards = {limit: guard for limit in limits if (guard := _guard(view, limit)) is not None}
    boottime = actor.clock.boottime()
    settings = tuple(view.mod(key) for key in (keys.CFG, keys.brake(attempt.group), keys.hold(attempt.node)))
    skipped = patience.skipped(tickets, boottime, settings)
    standing = walk(tickets, guards, attempt.ticket_key, actor.clock.wall(), skipped)
    if standing is None:
        return TicketLost()
    stop = stopped(view, attempt.node, attempt.group, actor.trusted_now())
    if stop is None:
        patience.observe(standing, boottime)
    if stop is not None or standing.blocked_by is not None:
        return _in_line(view, attempt, tickets, standing, stop)
    return _claim_commit(actor, attempt, view, guards)


def _guard(view: View, limit: str) -> Guard | None:
    """The guard, or for one that does not exist yet the one that this snapshot's holders would give it."""
    guard = view.document(keys.guard(limit), Guard)
    if guard is not None:
        return guard
    counted = recount(view, limit)
    return Guard(count=counted) if counted else None


def recount(view: View, limit: str) -> int:
    """How many holders name the limit, in a snapshot that has read all of them."""
    return sum(limit in holder.limits for _, _, holder in view.documents(keys.OWNERS, Holder))


def _in_line(view: View, attempt: Attempt, tickets: list[Waiting], standing: Standing, stop: Barred | None) -> InLine:
    ahead = tuple(waiting.node for waiting in _before(tickets, attempt.ticket_key))
    front = standing.in_front
    watches: list[str] = []
    if stop is not None:
        if standing.rank <= GUARD_WATCHERS:
            watches = [keys.CFG, keys.brake(attempt.group), keys.hold(attempt.node)]
    elif standing.watch_guard and standing.blocked_by is not None:
        watches = [keys.guard(standing.blocked_by), keys.CFG]
        guard = view.document(watches[0], Guard)
        if front is not None and (guard is None or guard.free > 0):
            watches.append(front.key)  # whose claim makes the guard, or whose going leaves the guard as it is
    if not watches and front is not None:
        watches = [front.key]
    existing = tuple((key, view.mod(key)) for key in watches if view.mod(key))
    epoch = view.config.epoch if view.config is not None else None
    if stop is not None:
        return InLine(stop.kind, stop.reason, standing.rank, existing, ahead, epoch=epoch)
    limit = standing.blocked_by or ""
    reason = f"place {standing.rank} in the queue of {attempt.group}: no slot of {limit} is free"
    guard = view.document(keys.guard(limit), Guard)
    if guard is not None and guard.free > 0:
        reason = f"place {standing.rank} in the queue of {attempt.group}: those in front take the free slots of {limit}"
    return InLine("queue", reason, standing.rank, existing, ahead, epoch=epoch)


def _before(tickets: list[Waiting], mine: str) -> list[Waiting]:
    line = ordered(tickets)
    return line[: next((place for place, waiting in enumerate(line) if waiting.key == mine), len(line))]


def _claim_commit(actor: Actor, attempt: Attempt, view: View, guards: dict[str, Guard]) -> Try[Outcome]:
    own, ticket = keys.own(attempt.node), attempt.ticket_key
    gen, now = actor.nonce(), actor.clock.wall()
    holder = attempt.holder(now, gen)
    holder = with_step(holder, holder)
    checked = [keys.CFG, keys.brake(attempt.group), keys.hold(attempt.node), own, ticket]
    checked += [keys.guard(limit) for limit in attempt.limits]
    puts = [Put(own, holder.encode())]
    # Both instants are this host's, so that no difference between two clocks is in it; only a step of this one.
    waited = max(0.0, (now - attempt.since).total_seconds())
    entry = replace(entry_of(actor, "acquired", gen, (attempt.node, holder, None)), waited=waited)
    for limit in attempt.limits:
        guard = guards.get(limit, Guard())
        puts += counted(limit, replace(guard, count=guard.count + 1), entry)
    commit = Commit(tuple(Check(key, view.mod(key)) for key in checked), tuple(puts), (ticket,))
    epoch = _epoch(view.config)

    def then(revision: int | None) -> Outcome:
        if revision is None:
            raise Corrupt(f"{own}: the store gave a claim no revision")
        return Claimed(Held(own, holder, revision, revision), epoch)

    return Try(commit, then)


def _epoch(config: Config | None) -> int:
    return config.epoch if config is not None else 0


def cancel(actor: Actor, attempt: Attempt, patience: timedelta = PATIENCE) -> Held | None:
    """Delete the ticket until confirmed, then look whether a claim of ours had won; a hold by hand of others is not ours.

    Raises StoreError; Unknown: call it again.
    """
    key = attempt.ticket_key

    def step() -> Done[Held | None] | Try[Held | None]:
        view = look(actor.store, [key, keys.own(attempt.node)])
        believe_absent(actor.store, view, keys.CFG)
        ticket = view.document(key, Ticket)
        if ticket is not None and ticket.nonce == attempt.nonce:
            # Confirmed by the next look, which also sees whether a claim came first.
            actor.store.commit((Check(key, view.mod(key)),), deletes=(key,))
            return step()
        current = held(view, attempt.node)
        return Done(current if current is not None and current.ours(None, attempt.nonce) else None)

    return settle(actor, step, patience)
