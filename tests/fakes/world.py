"""A small fleet on one memory store under a virtual clock, and the judge of what must hold at every revision."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random

from locksmith.core import keys
from locksmith.core.admission import Patience
from locksmith.core.documents import Brake, Config, Guard, Hold, Holder, Phase, Ticket
from locksmith.semaphore.actor import Actor, look
from locksmith.semaphore.claiming import Attempt, Claimed, Enqueued, Held, claim, enqueue, held
from locksmith.semaphore.holding import Slot, slot_of
from locksmith.semaphore.recovery import setup
from locksmith.stores import ABSENT, Item
from locksmith.stores.memory import MemoryStore
from tests.fakes.clock import VirtualClock
from tests.fakes.faulty import FaultyStore

TTL = timedelta(hours=1)


class Judge:
    """Looks at the whole store after each commit. Shares no code with what it judges but the documents."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.before: set[str] = set()
        self.attempts: dict[str, str] = {}
        self.grants = 0
        self.off = False
        """While a test has damaged the store on purpose."""

    def __call__(self) -> None:
        """Raises AssertionError when a rule is broken at this revision."""
        if self.off:
            return
        items = self.store.read(prefixes=[""]).items
        holders = {key: Holder.decode(key, i.value) for key, i in items.items() if key.startswith("own/")}
        guards = {key[4:]: Guard.decode(key, i.value) for key, i in items.items() if key.startswith("lim/")}
        for name, guard in guards.items():
            naming = [key for key, holder in holders.items() if name in holder.limits]
            assert guard.count == len(naming), f"{name} counts {guard.count}, holders are {naming}"
            if any(key not in self.before for key in naming):
                assert guard.count <= guard.effective, f"{name}: granted above {guard.effective}"
        for holder in holders.values():
            assert set(holder.limits) <= set(guards)
        failed: dict[str, dict[str, str]] = {}
        for key, holder in holders.items():
            if holder.phase == Phase.FAILED:
                failed.setdefault(holder.group, {})[key.rsplit("/", 1)[1]] = str(items[key].create)
        for key, item in items.items():
            if key.startswith("brake/"):
                entries = Brake.decode(key, item.value).failed
                expected = failed.pop(key[6:], {})
                assert {node: entry.token for node, entry in entries.items()} == expected, f"{key} is wrong"
        assert not failed
        for key, holder in holders.items():
            armed = holder.phase == Phase.ARMED and self.attempts.get(key) != holder.attempt
            if armed or key not in self.before:
                self._not_stopped(items, holder.group, key)
            self.attempts[key] = holder.attempt
        self.grants += len(set(holders) - self.before)
        self.before = set(holders)

    def _not_stopped(self, items: Mapping[str, Item], group: str, key: str) -> None:
        """A claim or an arm at a revision at which a pause without an end, a hold or a halt stood."""
        config = items.get("cfg", ABSENT)
        brake = items.get(f"brake/{group}", ABSENT)
        hold = items.get(f"hold/{key.rsplit('/', 1)[1]}", ABSENT)
        pauses = [Config.decode("cfg", config.value).pause] if config else []
        if brake:
            document = Brake.decode("brake", brake.value)
            assert not document.halted, f"{key}: granted or armed in a halted group"
            pauses.append(document.pause)
        assert not [one for one in pauses if one and one.until is None], f"{key}: granted or armed in a pause"
        assert not hold or Hold.decode("hold", hold.value).until, f"{key}: granted or armed on hold"


@dataclass
class World:
    """Everything shared: the clock, the memory store, a judge at each commit."""

    clock: VirtualClock = field(default_factory=VirtualClock)
    seed: int = 1
    ignore: Callable[[str], bool] | None = None
    """The checks that every store of this world drops, for negative controls."""

    def __post_init__(self) -> None:
        self.memory = MemoryStore(self.clock)
        self.judge = Judge(self.memory)
        self.random = Random(self.seed)
        self.operator = self.actor("alice@bastion1")
        setup(self.operator)

    def actor(self, by: str) -> Actor:
        """A party with a store of its own to put faults in."""
        store = FaultyStore(self.memory.client(), self.clock)
        store.applied = self.judge
        store.ignore = self.ignore or store.ignore
        return Actor(store, self.clock, self.random, by, by.rsplit("@", 1)[-1])

    def faults(self, actor: Actor) -> FaultyStore:
        """The faulty store of an actor."""
        assert isinstance(actor.store, FaultyStore)
        return actor.store

    def attempt(self, actor: Actor, node: str, group: str = "web", *, hand: bool = False) -> Attempt:
        """A wish of a node, with a nonce of its own."""
        return Attempt(
            node=node,
            host=f"host-{node}",
            group=group,
            limits=(keys.group_limit(group),),
            nonce=actor.nonce(),
            since=self.clock.wall(),
            reason="kernel",
            boot="boot-1",
            fingerprint="" if hand else f"board-{node}",
            hand=hand,
            by=actor.by if hand else None,
        )

    def queued(self, actor: Actor, attempt: Attempt) -> str:
        """Enqueue; gives the session's id."""
        session = actor.store.session(TTL)
        assert enqueue(actor, attempt, session.id, timedelta(0)) == Enqueued()
        return session.id

    def holding(self, actor: Actor, node: str, group: str = "web") -> Slot:
        """A node with a slot."""
        attempt = self.attempt(actor, node, group)
        self.queued(actor, attempt)
        claimed = claim(actor, attempt, Patience())
        assert isinstance(claimed, Claimed), claimed
        return slot_of(claimed.held)

    def held(self, node: str) -> Held | None:
        """Its holder, as it stands."""
        return held(look(self.memory, [keys.own(node)]), node)

    def holder(self, node: str) -> Holder:
        """Its holder, which must be there."""
        current = self.held(node)
        assert current is not None, f"{node} holds nothing"
        return current.holder

    def guard(self, group: str = "web") -> Guard:
        """A group's guard."""
        guard = look(self.memory, [key := keys.guard(keys.group_limit(group))]).document(key, Guard)
        assert guard is not None
        return guard

    def brake(self, group: str = "web") -> Brake:
        """A group's brake, an empty one when there is none."""
        return look(self.memory, [keys.brake(group)]).document(keys.brake(group), Brake) or Brake()

    def config(self) -> Config:
        """The fleet's settings."""
        config = look(self.memory).config
        assert config is not None
        return config

    def tickets(self, group: str = "web") -> list[str]:
        """The keys of a group's tickets, in order of age."""
        view = look(self.memory, (), [keys.queue(group)])
        found = [(item.create, key) for key, item, _ in view.documents(keys.queue(group), Ticket)]
        return [key for _, key in sorted(found)]

    def rows(self) -> dict[str, bytes]:
        """The whole store, to see that nothing was written."""
        return {key: item.value for key, item in self.memory.read(prefixes=[""]).items.items()}
