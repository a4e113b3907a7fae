"""The classic lock with many waiters, in the closed shop: everybody asks again by the clock."""

from tests.benchmarks.parts.classic import Algorithm, Classic
from tests.benchmarks.parts.shop import HELD_SECONDS, Shop


class PollingShop(Shop):
    """See the module."""

    def __init__(self, algorithm: Algorithm, waiters: int) -> None:
        """The document with one slot."""
        super().__init__(waiters)
        self._lock = Classic(self.store, algorithm, "semaphore")
        self._lock.create(1)

    def arrive(self, number: int, failures: int = 0) -> None:
        """One attempt, and the next after the documented time."""
        self.tally.cause = "clock"
        if self._lock.lock(f"{number:032x}") == "taken":
            self.granted()
            self.clock.after(HELD_SECONDS, lambda: self._leave(number))
            return
        delay = self._lock.algorithm.delay(failures + 1, self.random)
        self.clock.after(delay, lambda: self.arrive(number, failures + 1))

    def _leave(self, number: int) -> None:
        self.tally.cause = "turn"
        assert self._lock.unlock(f"{number:032x}")
        self.released()
        self.again(number)
