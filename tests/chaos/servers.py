"""Faults of the store's servers. One at a time, because two of three must live; afterwards the cluster is whole again."""

import random
import time
from typing import Any

from tests.chaos.consuls import Consuls
from tests.chaos.etcds import Etcds
from tests.chaos.plan import Fault
from tests.servers.process import wait_until

_WHOLE_SECONDS = 60


class ServerFaults:
    """Kill, freeze, cut off, replace; for Consul also a full disk."""

    def __init__(self, cluster: Etcds | Consuls) -> None:
        """`cluster` is whole."""
        self.cluster: Any = cluster

    def kinds(self) -> dict[str, Fault]:
        """By name."""
        found: dict[str, Fault] = {
            "server killed": lambda draw: self._kill(self._any(draw), draw),
            "leader killed": lambda draw: self._kill(self.cluster.leader(), draw),
            "server paused": self._pause,
            "leader cut off": lambda draw: self._cut(self.cluster.leader(), draw),
            "follower cut off": lambda draw: self._cut(draw.choice(self.cluster.followers()), draw),
            "member replaced": self._replace,
        }
        if isinstance(self.cluster, Consuls):
            found["disk full"] = self._fill
        return found

    def store_kinds(self) -> dict[str, Fault]:
        """What happens to the data, the sessions and the credentials."""
        found: dict[str, Fault] = {
            "session revoked": self.cluster.revoked,
            "credentials changed": self.cluster.credentials,
            "certificates changed": self.cluster.certify,
        }
        if isinstance(self.cluster, Etcds):
            found |= {"compaction": self.cluster.compacted, "NOSPACE": self.cluster.filled}
        return found

    def mend(self) -> None:
        """Whatever a fault that broke left behind."""
        for member in self.cluster.members:
            if member.cut_off:
                self.cluster.net.mend(member.place)
                member.cut_off = False
            if member.process.pid and not member.process.alive:
                member.cont()
            elif not member.process.pid:
                member.process.start()
        self._whole()

    def _any(self, draw: random.Random) -> Any:
        return draw.choice(self.cluster.members)

    def _kill(self, member: Any, draw: random.Random) -> str:
        member.kill()
        time.sleep(draw.uniform(0.1, 0.6))
        member.restart(wait=False)
        self._whole()
        return str(member.name)

    def _pause(self, draw: random.Random) -> str:
        member = self._any(draw)
        member.stop_process()
        time.sleep(draw.uniform(0.5, 2))
        member.cont()
        self._whole()
        return str(member.name)

    def _cut(self, member: Any, draw: random.Random) -> str:
        member.cut_off = True
        self.cluster.net.cut(member.place)
        time.sleep(draw.uniform(0.8, 2.2))
        self.cluster.net.mend(member.place)
        member.cut_off = False
        self._whole()
        return str(member.name)

    def _replace(self, draw: random.Random) -> str:
        member = self._any(draw)
        self.cluster.replace(member)
        self._whole()
        return str(member.name)

    def _fill(self, draw: random.Random) -> str:
        what = self.cluster.fill_disk(self._any(draw), draw)
        self._whole()
        return str(what)

    def _whole(self) -> None:
        wait_until(self._whole_or_revived, f"{self.cluster.kind} is not whole again", timeout=_WHOLE_SECONDS)

    def _whole_or_revived(self) -> bool:
        """A server that ended because of what was done to it is started, as systemd would."""
        for member in self.cluster.members:
            if not member.process.pid:
                member.process.start()
        return bool(self.cluster.whole())
