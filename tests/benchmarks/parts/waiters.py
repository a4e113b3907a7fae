"""Our queue with 1 to 10,000 waiters, in the closed shop: the real enqueue, claim, arm, verify and release.

Each waiter does what the agent does: it watches what its claim names, looks when woken, polls every minute besides, and outside
of a full queue comes back when it was told to. A watch and a session ask the server at fixed intervals as long as they last, so
these requests are added by the time, not made: the intervals are those of the agent and of the two store clients.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from locksmith.agent.body import Body
from locksmith.agent.watching import POLL
from locksmith.core import keys
from locksmith.core.admission import Patience
from locksmith.semaphore.actor import Actor
from locksmith.semaphore.claiming import Attempt, Claimed, Enqueued, InLine, QueueFull, claim, enqueue
from locksmith.semaphore.holding import Armed, Kept, Released, Slot, arm, release, slot_of, verify
from locksmith.semaphore.operating import set_max
from locksmith.semaphore.recovery import setup
from locksmith.stores import Check, Put
from locksmith.stores.memory import MemoryStore
from tests.benchmarks.parts.shop import HELD_SECONDS, Shop

GROUP = "web"
NEVER = timedelta(days=365)
QUEUE_POLL, SPREAD = 60.0, 0.25
"""Of the agent, waiting.py: seconds, and by how much of them it is longer or shorter."""
NOTICE_SECONDS = 0.004
"""From a commit to whom it wakes."""
KEEPALIVE_SECONDS = Body.__dataclass_fields__["session_ttl"].default.total_seconds() / 3
WATCHES = {"watch_etcd": POLL.total_seconds(), "watch_consul": 5.0}
"""How long one request of a watch lasts: all of the agent's long poll; consul_watch.py asks again every five seconds."""


class Waking(MemoryStore):
    """Tells which keys were changed, to whoever empties `changed`."""

    changed: list[str]

    def commit(self, checks: Sequence[Check], puts: Sequence[Put] = (), deletes: Sequence[str] = ()) -> int | None:
        """See Store."""
        revision = super().commit(checks, puts, deletes)
        self.changed.extend([put.key for put in puts] + list(deletes))
        return revision


@dataclass(slots=True, eq=False)
class Waiter:
    """One node that wants the slot."""

    attempt: Attempt
    arrived: float
    patience: Patience = field(default_factory=Patience)
    watches: dict[str, float] = field(default_factory=dict)
    """Since when it watches each key."""
    queued_since: float | None = None
    look: int = 0
    """Which of the looks that are arranged counts: a later one takes the earlier one's place."""


class QueueShop(Shop):
    """See the module."""

    def __init__(self, waiters: int) -> None:
        """One slot."""
        super().__init__(waiters)
        self.memory = Waking(self.clock)
        self.memory.changed = []
        self.store = type(self.store)(self.memory, self.tally.observe)
        self.actor = Actor(self.store, self.clock, self.random, "node", "node")
        setup(self.actor)
        set_max(self.actor, GROUP, 1)
        self.session = self.memory.session(NEVER)
        self.watchers: defaultdict[str, set[Waiter]] = defaultdict(set)
        self.queued: set[Waiter] = set()
        self.lives = 0

    def arrive(self, number: int) -> None:
        """With a wish of its own."""
        self.lives += 1
        attempt = Attempt(
            node=f"{number:032x}",
            host=f"node{number}.example.org",
            group=GROUP,
            limits=(keys.group_limit(GROUP),),
            nonce=self.actor.nonce(),
            since=self.clock.wall(),
            reason="reboot-required: linux-image-6.1.0-27-amd64",
            boot=f"boot-{self.lives}/0",
            fingerprint=f"board-{number}",
        )
        self._enter(Waiter(attempt, self.clock.now), "turn")

    def settle_accounts(self) -> None:
        """Close the accounts of those who still wait, and open them anew."""
        for waiter in self.queued:
            self._charge_session(waiter)
            for key in waiter.watches:
                self._charge_watch(waiter, key)
                waiter.watches[key] = self.clock.now
            waiter.queued_since = self.clock.now

    def _enter(self, waiter: Waiter, cause: str) -> None:
        self.tally.cause = cause
        age = timedelta(seconds=self.clock.now - waiter.arrived)
        entered = enqueue(self.actor, waiter.attempt, self.session.id, age)
        if isinstance(entered, QueueFull):
            self.clock.after(entered.retry_after.total_seconds(), lambda: self._enter(waiter, "outside"))
            return
        assert entered == Enqueued()
        self.tally.add("turn", "session", 2)  # opened, and ended with the ticket
        waiter.queued_since = self.clock.now
        self.queued.add(waiter)
        self._look(waiter, "turn")

    def _look(self, waiter: Waiter, cause: str) -> None:
        self.tally.cause = cause
        waiter.look += 1
        outcome = claim(self.actor, waiter.attempt, waiter.patience)
        if isinstance(outcome, Claimed):
            self._want(waiter, ())
            self._charge_session(waiter)
            self.queued.discard(waiter)
            self.granted()
            self._hold(waiter, slot_of(outcome.held), outcome.epoch)
        else:
            assert isinstance(outcome, InLine), outcome
            self._want(waiter, [key for key, _ in outcome.watches])
            wait = QUEUE_POLL * (1 + SPREAD * self.random.uniform(-1, 1))
            self._arrange(waiter, wait, "clock")
        self._wake()

    def _arrange(self, waiter: Waiter, wait: float, cause: str) -> None:
        number = waiter.look

        def due() -> None:
            if waiter.look == number and waiter in self.queued:
                self._look(waiter, cause)

        self.clock.after(wait, due)

    def _want(self, waiter: Waiter, wanted: Sequence[str]) -> None:
        for key in set(waiter.watches) - set(wanted):
            self._charge_watch(waiter, key)
            del waiter.watches[key]
            self.watchers[key].discard(waiter)
        for key in set(wanted) - set(waiter.watches):
            waiter.watches[key] = self.clock.now
            self.watchers[key].add(waiter)
            for verb in WATCHES:
                self.tally.add("watching", verb, 1)

    def _wake(self) -> None:
        """Whoever watches a key that was changed looks, and watches anew."""
        changed, self.memory.changed = set(self.memory.changed), []
        for waiter in {waiter for key in changed for waiter in self.watchers.get(key, ())}:
            self._want(waiter, [key for key in waiter.watches if key not in changed])
            self._arrange(waiter, NOTICE_SECONDS, "woken")
        for key in changed & set(self.watchers):
            if not self.watchers[key]:
                del self.watchers[key]

    def _charge_watch(self, waiter: Waiter, key: str) -> None:
        for verb, seconds in WATCHES.items():
            self.tally.add("watching", verb, (self.clock.now - waiter.watches[key]) // seconds)

    def _charge_session(self, waiter: Waiter) -> None:
        assert waiter.queued_since is not None
        self.tally.add("keeping", "session", (self.clock.now - waiter.queued_since) / KEEPALIVE_SECONDS)

    def _hold(self, waiter: Waiter, slot: Slot, epoch: int) -> None:
        def armed() -> None:
            self.tally.cause = "turn"
            outcome = arm(self.actor, slot, epoch=epoch, attempt=self.actor.nonce(), request=None, expected=None)
            assert isinstance(outcome, Armed), outcome
            self._wake()

        def given_back() -> None:
            self.tally.cause = "turn"
            assert isinstance(verify(self.actor, slot, "another boot/0", None), Kept)
            assert release(self.actor, slot) == Released()
            self.released()
            self._wake()
            self.again(int(waiter.attempt.node, 16))

        self.clock.after(1.0, armed)
        self.clock.after(HELD_SECONDS, given_back)
