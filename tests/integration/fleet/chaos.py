"""SIGKILLs of agents in chosen phases, and of the store's leader, by a plan that a seed gives.

The idea a reader would miss: an agent is frozen before it is killed, and its phase is read from the store while it cannot
move. So a kill is counted for the phase in which it hit, not for the one in which it was meant to.
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tests.integration.fleet.fleet import Fleet
from tests.integration.fleet.host import Host
from tests.integration.fleet.stores import Entry, phases, tickets

PHASES = ("queued", "acquired", "draining", "armed", "verifying")
_SETTLE = 0.05
"""Seconds that a commit in flight gets, after its sender was frozen."""


class Member(Protocol):
    """A server of the store's cluster."""

    def kill(self) -> None:
        """SIGKILL."""

    def restart(self, *, wait: bool = True) -> None:
        """The same data and ports again."""


class Cluster(Protocol):
    """The store's servers."""

    def leader(self, timeout: float = ...) -> Member:
        """Who leads."""


@dataclass(slots=True)
class Kills:
    """What was done. `armed_leader` is the holder that was armed when a leader was killed."""

    by_phase: Counter[str] = field(default_factory=Counter)
    leaders: int = 0
    armed_leader: str = ""


class Killer:
    """Kills by plan until the plan is done; `turn` is called again and again."""

    def __init__(self, fleet: Fleet, cluster: Cluster, seed: int, *, each: int, most_of_one: int = 6) -> None:
        """`each` kills for every phase; no host is killed more often than `most_of_one`."""
        self.done = Kills()
        self._fleet, self._cluster = fleet, cluster
        self._random = random.Random(seed)
        self._plan = [phase for phase in PHASES for _ in range(each)]
        self._random.shuffle(self._plan)
        self._total = len(self._plan)
        self._most = most_of_one
        self._hits: Counter[str] = Counter()
        self._later: list[tuple[float, Callable[[], None]]] = []
        self._member_away = False

    @property
    def over(self) -> bool:
        """The plan is done and everything that it took away is back."""
        return not self._plan and not self._later and self.done.leaders >= 2

    def turn(self) -> None:
        """One look: bring back what is due, perhaps kill."""
        now = time.monotonic()
        for item in [item for item in self._later if item[0] <= now]:
            self._later.remove(item)
            item[1]()
        snapshot = self._fleet.raw.snapshot()
        self._perhaps_a_leader(snapshot)
        seen = _phases(snapshot)
        for place, phase in enumerate(self._plan):
            victims = [host for host in self._fleet.hosts if seen.get(host.name) == phase and self._may_hit(host)]
            if victims:
                if self._hit(self._random.choice(victims)) == phase:
                    del self._plan[place]
                break
        time.sleep(self._random.uniform(0.02, 0.25))

    def _may_hit(self, host: Host) -> bool:
        return host.process.pid != 0 and host.wanted and self._hits[host.name] < self._most

    def _hit(self, host: Host) -> str | None:
        """Freeze, look, kill; the agent comes back like a service that is restarted."""
        with host.lock:
            if not self._may_hit(host):
                return None
            host.process.freeze()
            time.sleep(_SETTLE)
            phase = _phases(self._fleet.raw.snapshot()).get(host.name)
            host.kill()
        self._hits[host.name] += 1
        if phase is not None:
            self.done.by_phase[phase] += 1
        self._later.append((time.monotonic() + self._random.uniform(0, 0.6), host.start_again))
        return phase

    def _perhaps_a_leader(self, snapshot: dict[str, Entry]) -> None:
        """The first after a third of the plan, while a holder is armed; the second after two thirds."""
        share = 1 - len(self._plan) / self._total
        if self._member_away or self.done.leaders >= 2 or share < (self.done.leaders + 1) / 3:
            return
        armed = self._armed(snapshot)
        if self.done.leaders == 0 and armed is None:
            return
        leader = self._cluster.leader()
        # Looking for the leader took a moment; who has not booted by now is armed still, for nothing else ends that.
        if self.done.leaders == 0 and (armed is None or armed.boots):
            return
        leader.kill()
        self._member_away = True
        if self.done.leaders:
            self.done.leaders += 1
        elif armed is not None and armed.boots == 0:  # else it booted in that very moment, and this one does not count
            self.done.leaders, self.done.armed_leader = 1, armed.name
        self._later.append((time.monotonic() + self._random.uniform(1.5, 3), lambda: self._bring_back(leader)))

    def _bring_back(self, leader: Member) -> None:
        leader.restart()
        self._member_away = False

    def _armed(self, snapshot: dict[str, Entry]) -> Host | None:
        names: Sequence[str] = [name for name, phase in phases(snapshot).items() if phase == "armed"]
        hosts = [host for host in self._fleet.hosts if host.name in names and host.boots == 0 and host.powered]
        return hosts[0] if hosts else None


def _phases(snapshot: dict[str, Entry]) -> dict[str, str]:
    """The phase of every node that holds or waits."""
    return {**dict.fromkeys(tickets(snapshot), "queued"), **phases(snapshot)}
