"""Faults of the hosts: agents killed and frozen, links cut, answers lost and late, the power gone.

A host that one fault has is not given to another one until that is over.
"""

import contextlib
import random
import threading
import time
from collections.abc import Iterator

from tests.chaos.net import Net
from tests.chaos.plan import Fault
from tests.integration.fleet.fleet import Fleet
from tests.integration.fleet.host import Host
from tests.servers.process import ServerFailed
from tests.servers.proxy import TcpProxy


class Machines:
    """The hosts, lent to one fault at a time. `cuts` are power cuts: host and monotonic time."""

    def __init__(self, fleet: Fleet, net: Net, roads: dict[str, list[TcpProxy]]) -> None:
        """`roads` are the proxies of the hosts that have some."""
        self.fleet, self.net, self.roads = fleet, net, roads
        self.cuts: list[tuple[str, float]] = []
        self._busy: set[str] = set()
        self._lock = threading.Lock()

    def kinds(self) -> dict[str, Fault]:
        """By name."""
        return {
            "agent killed": self._kill,
            "agent paused": self._pause,
            "agent cut off": self._cut,
            "answer lost": self._lose,
            "answers late": self._late,
            "power cut": self._power,
        }

    @contextlib.contextmanager
    def borrowed(self, draw: random.Random, hosts: list[Host]) -> Iterator[Host | None]:
        """One of these hosts that nobody has; None when there is none."""
        with self._lock:
            free = [host for host in hosts if host.name not in self._busy]
            host = draw.choice(free) if free else None
            if host is not None:
                self._busy.add(host.name)
        try:
            yield host
        finally:
            if host is not None:
                with self._lock:
                    self._busy.discard(host.name)

    def active(self) -> list[Host]:
        """Hosts whose agents do more than wait, or else all."""
        hosts = [host for host in self.running() if not host.is_in("steady", "queued", "blocked")]
        return hosts or self.running()

    def running(self) -> list[Host]:
        """Hosts with an agent."""
        return [host for host in self.fleet.hosts if host.wanted and host.process.pid]

    def _kill(self, draw: random.Random) -> str | None:
        with self.borrowed(draw, draw.choice([self.active(), self.running()])) as host:
            if host is None:
                return None
            state = host.status().get("state", "")
            host.kill()
            time.sleep(draw.uniform(0, 0.8))
            host.start_again()
            return f"{host.name} {state}"

    def _pause(self, draw: random.Random) -> str | None:
        with self.borrowed(draw, draw.choice([self.active(), self.running()])) as host:
            if host is None:
                return None
            state = host.status().get("state", "")
            with host.lock:
                host.process.freeze()
            time.sleep(draw.uniform(1, 8))
            with host.lock, contextlib.suppress(ServerFailed):  # it has rebooted meanwhile
                host.process.thaw()
            return f"{host.name} {state}"

    def _cut(self, draw: random.Random) -> str | None:
        with self.borrowed(draw, draw.choice([self.active(), self.running()])) as host:
            if host is None:
                return None
            state = host.status().get("state", "")
            self.net.cut(host.place)
            time.sleep(draw.uniform(1, 8))
            self.net.mend(host.place)
            return f"{host.name} {state}"

    def _lose(self, draw: random.Random) -> str | None:
        with self.borrowed(draw, self._with_roads()) as host:
            if host is None:
                return None
            orders = [road.lose_next_answer(skip=draw.randrange(4)) for road in self.roads[host.name]]
            end = time.monotonic() + 8
            while time.monotonic() < end and not any(order.lost for order in orders):
                time.sleep(0.02)
            lost = sum(order.lost for order in orders)
            self._open(host)
            if not lost:
                raise ServerFailed(f"{host.name} asked nothing")
            return f"{host.name}: {lost}"

    def _late(self, draw: random.Random) -> str | None:
        with self.borrowed(draw, self._with_roads()) as host:
            if host is None:
                return None
            seconds = draw.choice([0.3, 1, 3, 6])
            for road in self.roads[host.name]:
                road.delay(seconds)
            time.sleep(seconds + draw.uniform(0.5, 2))
            self._open(host)
            return f"{host.name}: {seconds} s"

    def _power(self, draw: random.Random) -> str | None:
        with self.borrowed(draw, self.up(draw.choice([self.active(), self.running()]))) as host:
            if host is None:
                return None
            state = host.status().get("state", "")
            self.power_off(host)
            time.sleep(draw.uniform(0.2, 1.5))
            self.fleet.up(host)
            return f"{host.name} {state}"

    def up(self, hosts: list[Host]) -> list[Host]:
        """Those that are not down for a reboot."""
        return [host for host in hosts if not self.fleet.is_down(host)]

    def power_off(self, host: Host) -> None:
        """The power is cut: the update is not applied by what follows."""
        self.cuts.append((host.name, time.monotonic()))
        host.power_off(clear=False)

    def _with_roads(self) -> list[Host]:
        return [host for host in self.active() if host.name in self.roads] or [
            host for host in self.running() if host.name in self.roads
        ]

    def _open(self, host: Host) -> None:
        for road in self.roads[host.name]:
            road.pass_all()
