"""How a drain ends, and the one time limit that all of its waiting comes out of."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from locksmith.host.clock import Clock

Say = Callable[[str], None]
"""Tells progress to whoever watches, one line at a time."""
SHORTEST = timedelta(milliseconds=100)
"""A request gets at least this: with less it could only fail."""


@dataclass(frozen=True, slots=True)
class Done:
    """It is as it was asked for, also when there was nothing to do; `note` says which."""

    note: str


@dataclass(frozen=True, slots=True)
class NotDone:
    """It is not; `reason` names the thing and, where there is one, the remedy."""

    reason: str


Ending = Done | NotDone


class Patience:
    """What is left of the time limit, by the boot-time clock."""

    def __init__(self, limit: timedelta, clock: Clock) -> None:
        """The time runs from here."""
        self.limit = limit
        self._clock = clock
        self._end = clock.boottime() + limit.total_seconds()

    @property
    def left(self) -> timedelta:
        """Never below zero."""
        return timedelta(seconds=max(0.0, self._end - self._clock.boottime()))

    @property
    def over(self) -> bool:
        """Whether nothing is left."""
        return self.left == timedelta(0)

    def share(self, parts: int) -> "Patience":
        """An equal share of what is left, from now on."""
        return Patience(self.left / parts, self._clock)

    def request(self, at_most: timedelta) -> timedelta:
        """The time for one request now."""
        return max(SHORTEST, min(at_most, self.left))

    def wait(self, seconds: float) -> None:
        """Wait, but not beyond the end."""
        self._clock.sleep(min(seconds, self.left.total_seconds()))

    def now(self) -> float:
        """Seconds of the boot-time clock, for pauses of one's own."""
        return self._clock.boottime()
