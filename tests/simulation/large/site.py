"""One store for a large fleet: the memory store with time that passes in each commit, and watches that keys wake.

The idea a reader would miss: a commit takes a millisecond of virtual time *before* it applies, in which whoever is due acts
first. So two who have read the same guard really collide, and the loser reads again, as on a server.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta

from locksmith.core import keys
from locksmith.stores import Check, Facts, Put, Session, Snapshot
from locksmith.stores.memory import MemoryStore
from tests.fakes.clock import VirtualClock

COMMIT = 0.001
"""Seconds from sending a commit until it applies (one etcd member: 0.6 to 1.0 ms)."""
WAKE = 0.002
"""Seconds from a change until a watch tells it."""
DEEPEST = 8
"""So many parties may be in the middle of a commit at once; it bounds the recursion."""


class LimitPassed(AssertionError):
    """More holders than slots, or a holder of a node that has one."""


class FleetClock(VirtualClock):
    """Runs what is due while somebody waits, but not without end inside one another."""

    def __init__(self) -> None:
        super().__init__()
        self.depth = 0

    def advance(self, seconds: float) -> None:
        if self.depth >= DEEPEST:
            self.now += seconds
            return
        self.depth += 1
        try:
            super().advance(seconds)
        finally:
            self.depth -= 1

    @property
    def idle(self) -> bool:
        """Whether nothing is arranged any more."""
        return not self._due


class Site:
    """See the module; a Store for all nodes. It counts the holders of each group itself, apart from the guards."""

    kind = "memory"

    def __init__(self, clock: FleetClock, slots: int) -> None:
        self.clock = clock
        self.slots = slots
        self.inner = MemoryStore(clock)
        self.group_of: dict[str, str] = {}
        """The group of each node; others' holders are not counted."""
        self.held: dict[str, set[str]] = {}
        self.most_held = 0
        self._watchers: dict[str, dict[int, Callable[[], None]]] = {}
        self._watches = 0

    def read(self, wanted: Sequence[str] = (), prefixes: Sequence[str] = ()) -> Snapshot:
        return self.inner.read(wanted, prefixes)

    def probe(self, key: str) -> None:
        self.inner.probe(key)

    def commit(self, checks: Sequence[Check], puts: Sequence[Put] = (), deletes: Sequence[str] = ()) -> int | None:
        self.clock.advance(COMMIT)
        revision = self.inner.commit(checks, puts, deletes)
        for put in puts:
            if put.key.startswith(keys.OWNERS):
                self._count(put.key)
            self._tell(put.key)
        for key in deletes:
            if key.startswith(keys.OWNERS):
                node = keys.own_node(key)
                self.held[self.group_of[node]].discard(node)
            self._tell(key)
        return revision

    def watch(self, key: str, after: int, timeout: timedelta) -> bool:
        """Nobody blocks here (see `on_change`): an operator's command looks again at once."""
        return self.inner.read([key])[key].mod != after

    def session(self, ttl: timedelta) -> Session:
        return self.inner.session(ttl)

    def prepare(self) -> None:
        self.inner.prepare()

    def facts(self) -> Facts:
        return self.inner.facts()

    def close(self) -> None:
        self.inner.close()

    def on_change(self, key: str, mod: int, wake: Callable[[], None]) -> int:
        """Call once, a little after the key is not at this revision any more. The number is for `forget`."""
        self._watches += 1
        number = self._watches
        if self.inner.read([key])[key].mod != mod:
            self.clock.after(WAKE, wake)
        else:
            self._watchers.setdefault(key, {})[number] = wake
        return number

    def forget(self, key: str, number: int) -> None:
        """Do not call it any more."""
        watchers = self._watchers.get(key)
        if watchers is not None:
            watchers.pop(number, None)
            if not watchers:
                del self._watchers[key]

    def _tell(self, key: str) -> None:
        for wake in self._watchers.pop(key, {}).values():
            self.clock.after(WAKE, wake)

    def _count(self, key: str) -> None:
        node = keys.own_node(key)
        group = self.group_of[node]
        held = self.held.setdefault(group, set())
        held.add(node)
        self.most_held = max(self.most_held, len(held))
        if len(held) > self.slots:
            raise LimitPassed(f"{len(held)} holders of {group} with {self.slots} slots")
