"""One node of a large fleet: the real `step`, hands and semaphore in one process, from a staged update to its release.

Nothing is asked by the clock alone: a node sleeps until the machine wants a Tick, a watched key changes or its keepalive
is due. After its release it is at rest and costs nothing more here (what an agent at rest costs: tests/benchmarks/idle.py).
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random

from locksmith.agent.body import Body
from locksmith.agent.hands import Hands
from locksmith.core import effects as do
from locksmith.core import events as ev
from locksmith.core.facts import Moment, Policy
from locksmith.core.ledger import Home, Ledger
from locksmith.core.machine import step
from locksmith.core.needs import Need, NotNeeded
from locksmith.core.states import Agent, Blocked, Starting, Steady
from locksmith.rebooters import Accepted, Firing, Idle
from locksmith.semaphore.actor import Actor
from locksmith.stores.measured import Measured, Request
from tests.simulation.large.site import Site
from tests.simulation.large.watches import Watches

DOWN = (60.0, 120.0)
"""Seconds from the call until the agent runs in the new boot: so long is a node away, at random."""
POLL = timedelta(minutes=15)
"""How often gates are asked while something else blocks: work on the host only, no request to the store."""


@dataclass(slots=True)
class Count:
    """What one node asked of the store."""

    ops: dict[str, int] = field(default_factory=lambda: {"read": 0, "commit": 0, "session": 0, "watch": 0})
    read: int = 0
    written: int = 0
    conflicts: int = 0

    @property
    def all(self) -> int:
        """Requests of any kind."""
        return sum(self.ops.values())


class Node:
    """The machine, its journal and the process on it. It is its own update provider, hooks (none) and rebooter."""

    name = kind = "simulated"

    def __init__(self, site: Site, number: int, group: str, seed: int, over: Callable[["Node"], None]) -> None:
        self.random = Random(f"{seed}/{number}")
        self.site, self.clock = site, site.clock
        self.id = f"{self.random.getrandbits(128):032x}"
        self.host = f"host-{number:06d}.example"
        self.group = group
        self.over = over
        self.count = Count()
        self.steps = 0
        self.boots, self.version, self.target = 1, 1, 1
        self.staged_at = self.granted_at = self.released_at = 0.0
        self.journal: bytes | None = None
        self.agent: Agent | None = None
        self.hands: Hands | None = None
        self._inbox: deque[ev.Event] = deque()
        self._busy = False
        self._tick_at = float("inf")
        site.group_of[self.id] = group

    # -------------------------------------------------------------- what is asked of it

    def ask(self) -> Need | NotNeeded:
        if self.version != self.target:
            old, new = f"v{self.version}", f"v{self.target}"
            return Need("simulated", "simulated", new, f"version {new} is installed", old, new)
        return NotNeeded("simulated", f"v{self.version}")

    def names(self, stage: object) -> tuple[str, ...]:
        return ()

    def reboot(self, reason: str, environment: object) -> Accepted:
        self.clock.after(self.random.uniform(*DOWN), self._boot)
        return Accepted()

    def pending(self) -> Firing | Idle:
        return Firing("going down")

    def explain(self) -> str:
        return "simulated"

    # -------------------------------------------------------------- its life

    def start(self) -> None:
        """The agent's process starts."""
        store = Measured(self.site, self._observe)
        limits = (f"group/{self.group}",)
        home = Home(store="memory", prefix="", node=self.id)
        body = Body(
            actor=Actor(store, self.clock, self.random, "agent", self.host),
            policy=Policy(self.group, limits, home, poll_interval=POLL),
            boot=f"{self.random.getrandbits(128):032x}/0",
            fingerprint=f"{self.id[:16]}",
            journal=None,  # type: ignore[arg-type] - the ledger is kept here, see `_boot`
            providers=[self],
            gates=[],
            health=[],
            hooks=self,  # type: ignore[arg-type]
            rebooter=self,  # type: ignore[arg-type]
            labels={},
        )
        ledger = Ledger.decode("journal", self.journal) if self.journal is not None else Ledger()
        self.hands = Hands(body, self.post, Watches(self.site, self._polled))
        self._tick_at = float("inf")
        self.agent = Agent(body.policy, body.boot, body.fingerprint, ledger, Starting(), self._moment())
        self.post(ev.Begin())

    def stage(self) -> None:
        """An update is installed; the count begins."""
        self.target += 1
        self.count = Count()
        self.staged_at = self.clock.boottime()

    def poll(self) -> None:
        """The provider's poll finds it."""
        self.post(ev.ProvidersAnswered((self.ask(),)))

    def _boot(self) -> None:
        """Down and up again: what outlives it are the journal's bytes."""
        if self.agent is None or self.hands is None:
            raise AssertionError("a node at rest is booted")
        self.journal = self.agent.ledger.encode()
        self.hands.close()
        self._inbox.clear()
        self.boots, self.version = self.boots + 1, self.target
        self.start()

    def _moment(self) -> Moment:
        random = self.random
        return Moment(self.clock.wall(), self.clock.boottime(), random.random(), f"{random.getrandbits(64):016x}")

    def post(self, event: ev.Event) -> None:
        """Take an event, and everything that follows from it."""
        self._inbox.append(event)
        if self._busy:
            return
        self._busy = True
        while self._inbox and self.agent is not None:
            self._turn(self._inbox.popleft())
        self._busy = False
        self._arrange()

    def _turn(self, event: ev.Event) -> None:
        agent, hands = self.agent, self.hands
        if agent is None or hands is None:
            return
        self.steps += 1
        match event:
            case ev.SlotTaken():
                self.granted_at = self.clock.boottime()
            case ev.ReleaseDone() if self.version == self.target:
                self.released_at = self.clock.boottime()
        self.agent, effects = step(agent, event, self._moment())
        decided = self.agent
        for effect in effects:
            if isinstance(effect, do.StopHook):
                hands.stop_hooks()
            answer = hands.carry(decided, effect)
            if answer is not None:
                self._inbox.append(answer)
        # At rest: released, looked around once more, nothing is staged.
        if self.released_at and isinstance(event, ev.ProvidersAnswered) and isinstance(self.agent.state, Steady):
            hands.close()
            self.agent = self.hands = None
            self.over(self)

    def _arrange(self) -> None:
        """A Tick when the machine wants one."""
        if self.agent is None:
            return
        wakes = [self.agent.wake_at] if self.agent.wake_at is not None else []
        if isinstance(self.agent.state, Steady | Blocked):
            wakes.append(self.agent.next_look)
        due = min(wakes, default=float("inf"))
        if due < self._tick_at:
            self._tick_at = due
            self.clock.after(max(0.0, due - self.clock.boottime()), lambda: self._tick(due))

    def _tick(self, at: float) -> None:
        if self._tick_at != at:
            return  # an earlier one was arranged since
        self._tick_at = float("inf")
        if self.agent is None:
            return
        wakes = [self.agent.wake_at] if self.agent.wake_at is not None else []
        if isinstance(self.agent.state, Steady | Blocked):
            wakes.append(self.agent.next_look)
        if wakes and min(wakes) <= self.clock.boottime():
            self.post(ev.Tick())
        else:
            self._arrange()

    # -------------------------------------------------------------- counting

    def _observe(self, request: Request) -> None:
        count = self.count
        count.ops[request.op] += 1
        count.read += request.bytes_read
        count.written += request.bytes_written
        count.conflicts += request.error == "conflict"

    def _polled(self, times: int) -> None:
        self.count.ops["watch"] += times
