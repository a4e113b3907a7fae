"""A clock that moves only when told: sleeping moves it, and so what was arranged for an instant happens on the way."""

import heapq
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class VirtualClock:
    """See host.clock.Clock. `trusted` is what `synchronised` answers."""

    def __init__(self, start: datetime = EPOCH) -> None:
        self.start = start
        self.now = 1000.0
        self.trusted = True
        self._due: list[tuple[float, int, Callable[[], object]]] = []
        self._order = count()

    def wall(self) -> datetime:
        return self.start + timedelta(seconds=self.now - 1000.0)

    def boottime(self) -> float:
        return self.now

    def synchronised(self) -> bool:
        return self.trusted

    def sleep(self, seconds: float) -> None:
        self.advance(seconds)

    def after(self, seconds: float, action: Callable[[], object]) -> None:
        """Arrange that something happens once the clock gets there."""
        heapq.heappush(self._due, (self.now + seconds, next(self._order), action))

    def advance(self, seconds: float) -> None:
        """Move on; what is due on the way happens at its instant."""
        end = self.now + seconds
        while self._due and self._due[0][0] <= end:
            self.step(end)
        self.now = max(self.now, end)

    def step(self, end: float) -> None:
        """Move to the next thing that is due, but not past `end`, and let it happen."""
        if not self._due or self._due[0][0] > end:
            self.now = max(self.now, end)
            return
        due, _, action = heapq.heappop(self._due)
        self.now = max(self.now, due)
        action()
