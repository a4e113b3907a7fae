"""A closed shop under a virtual clock: so many wait for one slot, each holds it for seven minutes, and comes again later.

What is shared by ours (waiters.py) and by the classic lock (polling.py): the clock, the counting, and the turns. Nothing
sleeps, so ten thousand waiters fit; nothing runs at the same time, so nobody loses a race: what races cost is measured on
real servers."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from random import Random

from locksmith.stores.measured import Measured, Request
from locksmith.stores.memory import MemoryStore
from tests.fakes.clock import VirtualClock

HELD_SECONDS = 420.0
"""A reboot, from the grant to the release: in step with nobody's delays."""
ARRIVAL_SECONDS = 300.0
"""All updates are staged within this time; who had the slot comes again within it."""
WARM_UP = 2
"""Turns before the counting begins."""


@dataclass(slots=True)
class Tally:
    """What was asked since `clear`, by cause and verb, with the bytes of keys and values."""

    counts: dict[tuple[str, str], float] = field(default_factory=lambda: defaultdict(float))
    bytes: Counter[str] = field(default_factory=Counter)
    cause: str = "turn"

    def observe(self, request: Request) -> None:
        """One request of whatever is happening now."""
        self.counts[self.cause, request.op] += 1
        self.bytes[self.cause] += request.bytes_read + request.bytes_written

    def add(self, cause: str, verb: str, count: float) -> None:
        """Requests that are known without being made, such as the keepalives of so many seconds."""
        self.counts[cause, verb] += count

    def clear(self) -> None:
        """Begin to count."""
        self.counts.clear()
        self.bytes.clear()


class Shop:
    """See the module. A subclass says how one waits: `arrive(number)`."""

    def __init__(self, waiters: int, seed: int = 1) -> None:
        """Nobody there yet."""
        self.clock = VirtualClock()
        self.memory = MemoryStore(self.clock)
        self.tally = Tally()
        self.random = Random(seed)
        self.store = Measured(self.memory, self.tally.observe)
        self.waiters = waiters
        self.turns = 0
        self.idle: list[float] = []
        """Seconds for which the slot was free before each turn."""
        self._free_since: float | None = None

    def run(self, turns: int) -> dict[str, object]:
        """So many turns after the first few; what one of them costs, all nodes together."""
        for number in range(self.waiters + 1):
            self.clock.after(self.random.uniform(0, ARRIVAL_SECONDS), lambda number=number: self.arrive(number))
        self._until(WARM_UP)
        self.settle_accounts()
        self.tally.clear()
        self.idle.clear()
        began = self.clock.now
        self._until(WARM_UP + turns)
        self.settle_accounts()
        causes = sorted({cause for cause, _ in self.tally.counts})
        return {
            "waiters": self.waiters,
            "turn_seconds": (self.clock.now - began) / turns,
            "idle_seconds": sum(self.idle) / max(1, len(self.idle)),
            "requests": {
                cause: {verb: count / turns for (one, verb), count in sorted(self.tally.counts.items()) if one == cause}
                for cause in causes
            },
            "bytes": {cause: count / turns for cause, count in sorted(self.tally.bytes.items())},
        }

    def arrive(self, number: int) -> None:
        """A node with an update comes for the first time, or again."""
        raise AssertionError(f"a shop without a way to wait, for {number}")

    def settle_accounts(self) -> None:
        """Add what is known without being asked, up to now."""

    def granted(self) -> None:
        """Somebody has the slot from now on."""
        if self._free_since is not None:
            self.idle.append(self.clock.now - self._free_since)
        self._free_since = None

    def released(self) -> None:
        """The slot is free, a turn is over."""
        self._free_since = self.clock.now
        self.turns += 1

    def again(self, number: int) -> None:
        """Another update is staged there, later."""
        self.clock.after(self.random.uniform(0, ARRIVAL_SECONDS), lambda: self.arrive(number))

    def _until(self, turns: int) -> None:
        while self.turns < turns:
            self.clock.step(float("inf"))
