"""Lanes of faults: each does its kinds in turn, paced so that every kind comes often enough, and says what it did when.

A lane is a thread. Lanes hurt different things (servers, store, hosts, people's acts), so that faults overlap; what one lane
hurts, it mends before it goes on.
"""

import random
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from subprocess import SubprocessError

from tests.servers.process import ServerFailed

Fault = Callable[[random.Random], str | None]
"""Does it, mends it and says whom it hit; None: there was nobody to hit. What raises ServerFailed is not counted."""


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the timeline. Seconds since the run began. `counted`: it did what its kind promises."""

    kind: str
    began: float
    ended: float
    what: str
    counted: bool

    def line(self) -> str:
        """For the report."""
        return f"{self.began:7.1f} s {self.ended - self.began:5.1f} s  {self.kind:20} {self.what}"


@dataclass(slots=True)
class Timeline:
    """What was done, by all lanes. `broken`: what must not happen in a run, such as an error of the harness itself."""

    start: float = field(default_factory=time.monotonic)
    events: list[Event] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def now(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self.start

    def counts(self) -> Counter[str]:
        """How many of each kind."""
        return Counter(event.kind for event in self.events if event.counted)


class Lane(threading.Thread):
    """Does its faults in shuffled rounds until `until` (seconds of the timeline), paced for `goal` of each.

    Where the machine is slow it goes on until there are `least` of each, up to half as long again.
    """

    def __init__(
        self,
        name: str,
        timeline: Timeline,
        faults: dict[str, Fault],
        seed: str,
        *,
        until: float,
        goal: int,
        least: int,
        begin: float = 0,
    ) -> None:
        """Not started yet; nothing before `begin`."""
        super().__init__(name=name, daemon=True)
        self._timeline, self._faults = timeline, faults
        self._random = random.Random(f"{seed}/{name}")
        self._begin, self._until, self._goal, self._least = begin, until, goal, least
        self._counted: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()

    def run(self) -> None:
        """See the class."""
        gap = (self._until - self._begin) * 0.9 / (self._goal * len(self._faults))
        turn = 0
        while not self._over():
            wait = self._begin + gap * turn * self._random.uniform(0.97, 1.03) - self._timeline.now()
            if wait > 0:
                time.sleep(min(wait, max(0.0, self._until - self._timeline.now())))
                if self._over():
                    return
            turn += self._once(self._next())

    def _over(self) -> bool:
        now = self._timeline.now()
        enough = all(self._counted[kind] >= self._least for kind in self._faults)
        return now >= self._until and (enough or now >= 1.5 * self._until)

    def _next(self) -> Sequence[str]:
        """The kinds, the rarest first."""
        return sorted(
            self._faults, key=lambda kind: (self._counted[kind] + self._failed[kind] / 2, self._random.random())
        )

    def _once(self, kinds: Sequence[str]) -> bool:
        for kind in kinds:
            began = self._timeline.now()
            try:
                what, counted = self._faults[kind](self._random), True
            except (ServerFailed, SubprocessError) as error:
                what, counted = f"not counted: {' '.join(str(error).split())[:400]}", False
            except BaseException:  # noqa: BLE001 - a thread: the run tells it and fails
                self._timeline.broken.append(f"{kind} broke:\n{traceback.format_exc()}")
                what, counted = "broke", False
            if what is None:
                continue
            (self._counted if counted else self._failed)[kind] += 1
            event = Event(kind, began, self._timeline.now(), what, counted)
            self._timeline.events.append(event)
            print(event.line(), flush=True)
            if not counted:
                time.sleep(0.5)
            return counted
        time.sleep(0.2)
        return False
