"""A large fleet rolls to the end: groups of nodes on one store, one clock, and the figures of the whole.

**The ideal.** A group of limit S cannot be done before the sum of its nodes' held times (grant to release: drain, down,
verifying), divided by S; groups do not wait for one another, so the fleet's ideal is the greatest of its groups'. The
makespan counts from the instant at which the update is staged on every node until the last slot is given back, so that all
that queueing costs is in it: the provider's poll, jitter, waits of a full queue, hand-offs, slots that nobody takes.
"""

import gc
from dataclasses import dataclass
from random import Random

from locksmith.core import keys
from locksmith.semaphore import operating, recovery
from locksmith.semaphore.actor import Actor
from locksmith.semaphore.history import audit
from tests.simulation.large.node import Count, Node
from tests.simulation.large.site import FleetClock, Site

FOUND = 60.0
"""Seconds within which the providers' polls find an update (`poll_interval`)."""
SETTLE = 400.0
"""Seconds before the update: every node starts and looks around once (`look_interval` is 5 minutes)."""


class Unfinished(AssertionError):
    """Somebody was left over, or the store is not as clean as it should be at the end."""


@dataclass(frozen=True, slots=True)
class GroupResult:
    """One group's roll-out, in seconds after the staging."""

    makespan: float
    ideal: float


@dataclass(frozen=True, slots=True)
class Result:
    """Sums over the nodes of one process; means are made where the processes come together."""

    nodes: int
    groups: tuple[GroupResult, ...]
    waited: float
    held: float
    ops: dict[str, int]
    read: int
    written: int
    conflicts: int
    busiest: int
    most_held: int
    steps: int


class Fleet:
    """`groups` groups of `size` nodes with `slots` slots each, the first of them with the number `first`."""

    def __init__(self, seed: int, groups: int, size: int, slots: int, first: int = 0) -> None:
        self.clock = FleetClock()
        self.random = Random(f"{seed}/{first}")
        self.site = Site(self.clock, slots)
        self.slots = slots
        self.names = [f"group-{number:03d}" for number in range(first, first + groups)]
        self.operator = Actor(self.site, self.clock, Random(f"{seed}/{first}/operator"), "operator", "operator.example")
        recovery.setup(self.operator)
        for name in self.names:
            operating.set_max(self.operator, name, slots)
        self.left = groups * size
        self.staged_at = 0.0
        self.nodes = [
            Node(self.site, first * size + number, self.names[number // size], seed, self._over)
            for number in range(groups * size)
        ]

    def run(self, patience: float = 1e7) -> Result:
        """To the end, at most so many virtual seconds. Raises LimitPassed, Unfinished."""
        for node in self.nodes:
            self.clock.after(self.random.uniform(0, FOUND), node.start)
        self.clock.advance(SETTLE)
        self.staged_at = self.clock.boottime()
        for node in self.nodes:
            node.stage()
            self.clock.after(self.random.uniform(0, FOUND), node.poll)
        gc.collect()
        gc.freeze()  # a hundred thousand agents that stay: nothing to look through again and again
        thresholds = gc.get_threshold()
        gc.set_threshold(200_000, 20, 50)
        end = self.staged_at + patience
        while self.left:
            if self.clock.idle:
                raise Unfinished(f"{self.left} nodes are left and nothing is arranged any more")
            self.clock.step(end)
            if self.clock.boottime() >= end:
                raise Unfinished(f"{self.left} nodes are left after {patience:g} s")
        gc.set_threshold(*thresholds)
        gc.unfreeze()
        self._look_over()
        return self._result()

    def _over(self, node: Node) -> None:
        self.left -= 1

    def _look_over(self) -> None:
        """Nothing is left in the store, and the history of every group says so, too."""
        left = [key for key, _ in self.site.read([], [keys.OWNERS, keys.QUEUES]).under("")]
        if left:
            raise Unfinished(f"{len(left)} holders and tickets are left: {left[:3]}")
        for name in self.names:
            if found := audit(self.operator, name).findings:
                raise Unfinished(f"the audit of {name} says {found[0]}")
        wrong = [node.host for node in self.nodes if (node.boots, node.version) != (2, 2)]
        if wrong:
            raise Unfinished(f"{len(wrong)} nodes did not reboot just once: {wrong[:3]}")

    def _result(self) -> Result:
        total = Count()
        for node in self.nodes:
            for op, number in node.count.ops.items():
                total.ops[op] += number
            total.read += node.count.read
            total.written += node.count.written
            total.conflicts += node.count.conflicts
        return Result(
            nodes=len(self.nodes),
            groups=tuple(self._group(name) for name in self.names),
            waited=sum(node.granted_at - node.staged_at for node in self.nodes),
            held=sum(node.released_at - node.granted_at for node in self.nodes),
            ops=total.ops,
            read=total.read,
            written=total.written,
            conflicts=total.conflicts,
            busiest=max(node.count.all for node in self.nodes),
            most_held=self.site.most_held,
            steps=sum(node.steps for node in self.nodes),
        )

    def _group(self, name: str) -> GroupResult:
        nodes = [node for node in self.nodes if node.group == name]
        held = sum(node.released_at - node.granted_at for node in nodes)
        return GroupResult(max(node.released_at for node in nodes) - self.staged_at, held / self.slots)
