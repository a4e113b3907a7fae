"""Three Consul servers, each in a network of its own and on a small disk, with TLS and tokens, and what may be done to them."""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from tests.chaos.net import HUB, Net
from tests.chaos.record import ConsulRecord
from tests.chaos.trust import Rotation, served
from tests.servers.consul import ConsulCluster, ConsulMember
from tests.servers.fetch import consul as consul_program
from tests.servers.process import ServerFailed, ServerProcess, wait_until

_DISK = "256m"
_RIGHTS = """
key "locksmith/cfg" { policy = "read" }
key_prefix "locksmith/brake/" { policy = "write" }
key_prefix "locksmith/hold/" { policy = "write" }
key_prefix "locksmith/req/" { policy = "write" }
key_prefix "locksmith/lim/" { policy = "write" }
key_prefix "locksmith/own/" { policy = "write" }
key_prefix "locksmith/q/" { policy = "write" }
key_prefix "locksmith/node/" { policy = "write" }
key_prefix "locksmith/ev/" { policy = "write" }
session "locksmith" { policy = "write" }
"""
"""The agent's policy of the reference."""


class Consuls(ConsulCluster):
    """The cluster of a run. Every act leaves it whole again, or raises ServerFailed."""

    kind = "consul"

    def __init__(self, net: Net) -> None:
        """Join the servers' networks; nothing runs."""
        self.net = net
        places = [net.join(f"s{number}", number + 1) for number in range(3)]
        super().__init__(members=3, tls=True, acl=True, places=places)
        self.disk_full = 0

    def start(self) -> Self:
        """Start, make the agents' token, and begin to take down what happens."""
        super().start()
        assert self.certificates is not None
        self.rotation = Rotation(self.certificates, self.folder, [HUB, *(place.address for place in self._places)])
        fresh = self.rotation.prepare()
        self.rotation.switch(fresh)
        self._reload()
        self.create_policy("agent", _RIGHTS)
        self.token = self.create_token(["agent"])
        self.token_file.write_text(self.token)
        (self.folder / "master").write_text(self.master_token)
        self.record = ConsulRecord(self.ask, "locksmith")
        return self

    def stop(self) -> None:
        """End."""
        if hasattr(self, "record"):
            self.record.close()
        if self._data is not None:
            for disk in self.folder.glob("disk-*"):
                subprocess.run(["umount", "-l", disk], check=False, timeout=30)
        super().stop()

    @property
    def token_file(self) -> Path:
        """The agents' token."""
        return self.folder / "token"

    @property
    def settings(self) -> tuple[tuple[str, str], ...]:
        """What a client is told beside the URL."""
        assert self.certificates is not None
        return (("token_file", str(self.token_file)), ("ca_file", str(self.certificates.ca)))

    def versions(self) -> str:
        """For the report."""
        text = subprocess.run([consul_program(), "version"], capture_output=True, text=True, timeout=30, check=True)
        return text.stdout.splitlines()[0]

    def whole(self) -> bool:
        """All serve and agree who leads. A server that replaced another one may still be on probation, without a vote."""
        leaders = {member.leader_rpc() if member.alive else "" for member in self.members}
        return len(leaders) == 1 and "" not in leaders

    def caught_up(self) -> bool:
        """Whether the record has everything up to now."""
        items = self.ask("/v1/kv/locksmith/?recurse&consistent") or []
        return self.record.reached(max([0, *(item["ModifyIndex"] for item in items)]))

    # ---------------------------------------------------------------- what is done to it

    def replace(self, member: ConsulMember) -> None:
        """The server's disk is lost: another one with a new name comes in its place, and the leader takes the old one out."""
        self.wait_for_voters()
        old = member.name
        member.kill()
        shutil.rmtree(self._disk(member) / old, ignore_errors=True)
        member.name = f"{old.split('-')[0]}-{time.monotonic_ns() // 1_000_000}"
        member.config = self.folder / f"{member.name}.json"
        member.config.write_text(json.dumps(self._config(member)))
        command = [*member.place.enter, consul_program(), "agent", "-config-file", member.config]
        member.process = ServerProcess(command, member.process.log, without="CONSUL")
        member.restart()

    def fill_disk(self, member: ConsulMember, draw: random.Random) -> str:
        """The server's disk is full for a while; one that gave up because of it is started again."""
        before = _complaints(member)
        filler = self._disk(member) / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(b"\0" * 1_048_576)
        with contextlib.suppress(OSError), filler.open("ab", buffering=0) as file:  # the last pages, too
            while True:
                file.write(b"\0" * 4096)
        time.sleep(draw.uniform(0.8, 1.5))
        filler.unlink(missing_ok=True)
        bit = _complaints(member) > before
        self.disk_full += bit
        if not member.process.pid:
            member.restart(wait=False)
        return f"{member.name}, {'writes failed' if bit else 'no write failed'}"

    def revoked(self, draw: random.Random) -> str | None:
        """The session of a waiting ticket is destroyed."""
        items = self.ask("/v1/kv/locksmith/q/?recurse&consistent") or []
        sessions = sorted({item["Session"] for item in items if item.get("Session")})
        if not sessions:
            return None
        session = draw.choice(sessions)
        self.request("PUT", f"/v1/session/destroy/{session}")
        return f"session {session[:8]}"

    def save(self, file: Path) -> None:
        """A backup."""
        self._snapshot("save", file)

    def put_back(self, file: Path, before: Callable[[str], None]) -> None:
        """In place: whoever calls keeps the agents away until `before` was called."""
        self.record.put_back()
        self._snapshot("restore", file)
        self.token = self.create_token(["agent"])  # the one in use may be younger than the backup
        self.token_file.write_text(self.token)
        before(self.url())

    def _snapshot(self, verb: str, file: Path) -> None:
        leader = self.leader()
        where = f"http://{leader.place.address}:{leader.http_port}"
        words = [consul_program(), "snapshot", verb, f"-http-addr={where}", f"-token={self.master_token}", file]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode:
            raise ServerFailed(f"consul snapshot {verb} failed: {done.stderr}")

    def credentials(self, draw: random.Random) -> str:
        """The agents get another token, and the old one ends."""
        old, self.token = self.token, self.create_token(["agent"])
        self.token_file.write_text(self.token)
        time.sleep(draw.uniform(0, 0.5))
        self.delete_token(old)
        return "another token"

    def certify(self, draw: random.Random) -> str:
        """A new authority, and a new certificate of each server."""
        fresh = self.rotation.prepare()
        time.sleep(draw.uniform(0.2, 1))
        self.rotation.switch(fresh)
        self._reload()
        reachable = [member for member in self.members if member.alive]
        wait_until(
            lambda: all(served(member.endpoint, fresh) for member in reachable if member.alive),
            "the new certificate is not shown",
        )
        return "authority and certificates"

    # ---------------------------------------------------------------- inner

    def request(
        self, method: str, path: str, body: Any = None, *, token: str | None = None, check: bool = True
    ) -> tuple[int, Any]:
        """See ConsulCluster; while an election goes on it is asked again for some seconds when `check` is True."""
        end = time.monotonic() + 15
        while True:
            try:
                return super().request(method, path, body, token=token, check=check)
            except ServerFailed as error:
                if time.monotonic() > end or " 404" in str(error):
                    raise
                time.sleep(0.2)

    def ask(self, path: str) -> Any:
        """GET: the decoded answer, an empty list for what is not there, None without an answer."""
        try:
            status, answer = super().request("GET", path, check=False)
        except ServerFailed:
            return None
        return answer if status == 200 else [] if status == 404 and answer == "" else None

    def _reload(self) -> None:
        for member in self.members:
            if member.process.pid:
                os.kill(member.process.pid, signal.SIGHUP)

    def _config(self, member: ConsulMember) -> dict[str, Any]:
        disk = self._disk(member)
        if not disk.exists():
            disk.mkdir()
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_DISK}", "tmpfs", disk], check=True, timeout=30)
        return {**super()._config(member), "data_dir": str(disk / member.name)}

    def _disk(self, member: ConsulMember) -> Path:
        return self.folder / f"disk-{member.place.address}"


def _complaints(member: ConsulMember) -> int:
    return member.process.log.read_text(errors="replace").count("no space left")
