"""Faults of the store's servers. One at a time, because two of three must live; afterwards the cluster is whole again."""

import random
import threading
import time
from typing import Any

from tests.chaos.consuls import Consuls
from tests.chaos.etcds import Etcds
from tests.chaos.people import People
from tests.chaos.plan import Fault
from tests.integration.fleet.fleet import Fleet
from tests.servers.process import wait_until

_WHOLE_SECONDS = 60


class ServerFaults:
    """Kill, freeze, cut off, replace; for Consul also a full disk."""

    def __init__(self, cluster: Etcds | Consuls, fleet: Fleet, people: People) -> None:
        """`cluster` is whole."""
        self.cluster: Any = cluster
        self._fleet, self._people = fleet, people
        self._servers = threading.Lock()
        self._data = threading.Lock()
        """Who has it may change what a backup holds beside the documents, or put one back."""

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
        return {kind: self._one_at_a_time(fault) for kind, fault in found.items()}

    def backups(self) -> dict[str, Fault]:
        """What stops the whole fleet for a while."""
        return {"backup restored": self._restore}

    def store_kinds(self) -> dict[str, Fault]:
        """What happens to the data, the sessions and the credentials."""
        found: dict[str, Fault] = {
            "session revoked": self.cluster.revoked,
            "credentials changed": self.cluster.credentials,
            "certificates changed": self.cluster.certify,
        }
        if isinstance(self.cluster, Etcds):
            found |= {"compaction": self.cluster.compacted, "NOSPACE": self.cluster.filled}
        return {kind: self._alone(fault) for kind, fault in found.items()}

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

    def _one_at_a_time(self, fault: Fault) -> Fault:
        def one(draw: random.Random) -> str | None:
            with self._servers:
                return fault(draw)

        return one

    def _alone(self, fault: Fault) -> Fault:
        def alone(draw: random.Random) -> str | None:
            with self._data:
                return fault(draw)

        return alone

    def _restore(self, draw: random.Random) -> str:
        """By the book (docs/backup.md): the agents are kept away until the new epoch is said, and go on when all settled."""
        file = self.cluster.folder / f"backup-{time.monotonic_ns()}"
        with self._people.fleet_pause:
            with self._servers, self._data:
                self.cluster.save(file)
                time.sleep(draw.uniform(0.3, 2))
                self.cluster.net.cut_together(host.place for host in self._fleet.hosts)
                try:
                    self.cluster.put_back(file, self._say)
                finally:
                    self.cluster.net.mend_together()
                self._whole()
            file.unlink()
            return self._people.resume_after_restore()

    def _say(self, url: str) -> None:
        """The operator's configuration, with the address that only he knows."""
        self._people.restored([*self._fleet.operator, "--store", url])

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
