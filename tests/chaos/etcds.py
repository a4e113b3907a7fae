"""Three etcd members, each in a network of its own, with TLS and users, and what may be done to them."""

import contextlib
import json
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

from tests.chaos.net import HUB, Net
from tests.chaos.record import EtcdRecord
from tests.chaos.trust import Rotation, served
from tests.servers.etcd import EtcdCluster, EtcdMember
from tests.servers.process import ServerFailed, ServerProcess, free_port, wait_until, without_prefix

_QUOTA = 8 * 1024 * 1024
_CHUNK = "x" * 1_000_000


class Etcds(EtcdCluster):
    """The cluster of a run. Every act leaves it whole again, or raises ServerFailed."""

    kind = "etcd"

    def __init__(self, net: Net) -> None:
        """Join the servers' networks; nothing runs."""
        self.net = net
        places = [net.join(f"s{number}", number + 1) for number in range(3)]
        super().__init__("3.4", members=3, tls=True, auth=True, quota_bytes=_QUOTA, places=places)

    def start(self) -> Self:
        """Start and begin to take down what happens."""
        super().start()
        assert self.certificates is not None
        addresses = [HUB, *(place.address for place in self._places)]
        self.rotation = Rotation(self.certificates, self.folder, addresses)
        self._put_certificates()
        self.record = EtcdRecord(self._watch, "locksmith")
        self._passwords = 0
        return self

    def stop(self) -> None:
        """End."""
        if hasattr(self, "record"):
            self.record.close()
        super().stop()

    @property
    def settings(self) -> tuple[tuple[str, str], ...]:
        """What a client is told beside the URL."""
        assert self.certificates is not None
        return (
            ("username", self.user),
            ("password_file", str(self.password_file)),
            ("ca_file", str(self.certificates.ca)),
        )

    def versions(self) -> str:
        """For the report."""
        text = subprocess.run(
            [self._programs.etcd, "--version"], capture_output=True, text=True, timeout=30, check=True
        )
        return text.stdout.splitlines()[0]

    def whole(self) -> bool:
        """All serve and somebody leads."""
        return all(member.alive and member.healthy() for member in self.members)

    def caught_up(self) -> bool:
        """Whether the record has everything up to now."""
        return self.record.reached(self.revision())

    # ---------------------------------------------------------------- what is done to it

    def replace(self, member: EtcdMember) -> None:
        """The member's disk is lost: it is taken out and comes back empty."""
        old = {item["ID"] for item in self._listed(member)}
        member.kill()
        shutil.rmtree(self.folder / member.name)
        wait_until(lambda: self._exchanged(member, old), f"{member.name} cannot be replaced", timeout=60)
        command = [*self._command(member), "--initial-cluster-state", "existing"]
        member.process = ServerProcess(command, member.process.log, without="ETCD")
        member.restart()

    def compacted(self, draw: random.Random) -> str:
        """All history is forgotten, and the space given back every other time."""
        revision = self.revision()
        if not self.record.reached(revision):
            raise ServerFailed("the record does not follow: nothing is compacted")
        self.compact(revision)
        if draw.random() < 0.5:
            self.etcdctl("defrag", check=False)  # a member that cannot just now does it the next time
            return f"to {revision}, defragmented"
        return f"to {revision}"

    def filled(self, draw: random.Random) -> str:
        """The quota is reached for a while: the space alarm."""
        try:
            full = (not self._etcdctl_in(("put", f"filler/{number}"), _CHUNK) for number in range(40))
            if not any(full):
                raise ServerFailed("the quota was not reached")
            time.sleep(draw.uniform(0.5, 2))
        finally:
            wait_until(self._emptied, "the space is not given back")
        return "NOSPACE"

    def revoked(self, draw: random.Random) -> str | None:
        """The lease of a waiting ticket is taken away."""
        answer = json.loads(self.etcdctl("get", "--prefix", "locksmith/q/", "--write-out", "json"))
        leases = sorted({item["lease"] for item in answer.get("kvs", []) if item.get("lease")})
        if not leases:
            return None
        lease = draw.choice(leases)
        self.etcdctl("lease", "revoke", f"{lease:x}")
        return f"lease {lease:x}"

    def save(self, file: Path) -> None:
        """A backup, as the leader has it."""
        self._etcdctl_in(("snapshot", "save", str(file)), "", [self.leader().endpoint])

    def put_back(self, file: Path, before: Callable[[str], None]) -> None:
        """All members go back to the backup, on ports that nobody knows until `before` was called with that URL."""
        if not self.caught_up():
            raise ServerFailed("the record does not follow: nothing is put back")
        revision = json.loads(self.etcdctl("snapshot", "status", str(file), "--write-out", "json"))["revision"]
        self.record.hold()
        peers = ",".join(f"{one.name}=http://{one.place.address}:{one.peer_port}" for one in self.members)
        for member in self.members:
            member.kill()
            shutil.rmtree(self.folder / member.name, ignore_errors=True)
            peer = f"http://{member.place.address}:{member.peer_port}"
            words = ["--name", member.name, "--data-dir", str(self.folder / member.name), "--initial-cluster", peers]
            words += ["--initial-advertise-peer-urls", peer, "--initial-cluster-token", self.folder.name]
            subprocess.run(
                [self._programs.etcdctl, "snapshot", "restore", file, *words],
                env={**without_prefix("ETCD"), "ETCDCTL_API": "3"},
                capture_output=True,
                timeout=60,
                check=True,
            )
        known = [member.client_port for member in self.members]
        for member in self.members:
            member.client_port = free_port()
        self._serve()
        self.record.restart_at(revision)
        self.credentials(random.Random())  # what was changed since the backup has to be changed again
        try:
            before(self.url())
        finally:
            for member, port in zip(self.members, known, strict=True):
                member.kill()
                member.client_port = port
            self._serve()

    def _serve(self) -> None:
        for member in self.members:
            member.process = ServerProcess(self._command(member), member.process.log, without="ETCD")
            member.process.start()
        for member in self.members:
            member.process.wait_until(member.healthy)

    def credentials(self, _: random.Random) -> str:
        """The agents' password changes, which ends every login."""
        self._passwords += 1
        password = f"another-password:{self._passwords}"  # etcdctl reads one word
        self._etcdctl_in(("user", "passwd", self.user, "--interactive=false"), password)
        self.password_file.write_text(password + "\n")
        return f"password {self._passwords}"

    def certify(self, draw: random.Random) -> str:
        """A new authority, and a new certificate of each server."""
        fresh = self.rotation.prepare()
        time.sleep(draw.uniform(0.2, 1))
        self.rotation.switch(fresh)
        reachable = [member for member in self.members if member.alive]
        wait_until(
            lambda: all(served(member.endpoint, fresh) for member in reachable if member.alive),
            "the new certificate is not shown",
        )
        return "authority and certificates"

    # ---------------------------------------------------------------- inner

    def _listed(self, member: EtcdMember) -> list[dict[str, Any]]:
        """The entries with the member's address: one, or none while it is exchanged."""
        peer = f"http://{member.place.address}:{member.peer_port}"
        members = json.loads(self.etcdctl("member", "list", "--write-out", "json"))["members"]
        return [item for item in members if peer in item["peerURLs"]]

    def _exchanged(self, member: EtcdMember, old: set[int]) -> bool:
        """One step; whatever of the earlier ones was done without an answer, counts."""
        with contextlib.suppress(ServerFailed):
            listed = self._listed(member)
            for item in listed:
                if item["ID"] not in old:
                    return True
                self.etcdctl("member", "remove", f"{item['ID']:x}")
            peer = f"http://{member.place.address}:{member.peer_port}"
            self.etcdctl("member", "add", member.name, f"--peer-urls={peer}")
        return False

    def _emptied(self) -> bool:
        with contextlib.suppress(ServerFailed, subprocess.SubprocessError):
            revision = self.revision()
            self.etcdctl("del", "--prefix", "filler/", check=False)
            self.record.reached(revision, 10)
            self.compact(self.record.last)
            self.etcdctl("defrag", check=False)
            self.etcdctl("alarm", "disarm")
            return "NOSPACE" not in self.etcdctl("alarm", "list")
        return False

    def _etcdctl_in(self, words: tuple[str, ...], text: str, endpoints: Sequence[str] = ()) -> bool:
        """With `text` as its input; whether there was space for it."""
        endpoints = endpoints or [member.endpoint for member in self.members if member.alive]
        command = [str(self._programs.etcdctl), "--endpoints", ",".join(endpoints), "--command-timeout", "10s"]
        done = subprocess.run(
            [*command, *self._credentials(as_user=False), *words],
            env={**without_prefix("ETCD"), "ETCDCTL_API": "3"},
            input=text,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        full = "database space exceeded" in done.stderr
        if done.returncode and not full:
            raise ServerFailed(f"etcdctl {words[0]} failed: {done.stderr.strip()}")
        return not full

    def _watch(self, revision: int) -> list[str]:
        endpoints = ",".join(member.endpoint for member in self.members if member.alive) or self.endpoints[0]
        command = ["/usr/bin/env", "ETCDCTL_API=3", str(self._programs.etcdctl), "--endpoints", endpoints]
        command += self._credentials(as_user=False)
        return [*command, "watch", "", "--prefix", "--rev", str(revision), "--write-out", "json"]

    def _put_certificates(self) -> None:
        """The hub's proxies show the servers' certificate, so it has to name the hub, which the first one does not."""
        fresh = self.rotation.prepare()
        self.rotation.switch(fresh)
