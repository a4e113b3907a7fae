"""Real etcd members on loopback: one or three, plain or TLS, with or without users.

Each member has a third port of its own that serves /health and /metrics in the clear. The cluster is watched there, so
that readiness and the leader are known without TLS, a login, or a client of ours that might be what is being tested.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Self

from tests.servers.certs import Certificates, make_certificates
from tests.servers.fetch import etcd as etcd_programs
from tests.servers.process import (
    HERE,
    AddressInUse,
    DataFolder,
    Place,
    ServerFailed,
    ServerProcess,
    free_port,
    read,
    wait_until,
    without_prefix,
)

_ATTEMPTS = 5


class EtcdMember:
    """One server of a cluster; keeps its ports and data over kill and restart."""

    def __init__(self, name: str, folder: Path, place: Place = HERE) -> None:
        """Choose ports; the cluster writes the command."""
        self.name = name
        self.place = place
        self.cut_off = False  # set by who cuts it off: nothing of ours reaches it
        self.folder = folder
        self.client_port, self.peer_port, self.metrics_port = free_port(), free_port(), free_port()
        self.process = ServerProcess([], folder / f"{name}.log")

    @property
    def endpoint(self) -> str:
        """`address:port` for clients."""
        return f"{self.place.address}:{self.client_port}"

    @property
    def alive(self) -> bool:
        """Running, not frozen and not cut off."""
        return self.process.alive and not self.cut_off

    def kill(self) -> None:
        """SIGKILL and wait."""
        self.process.kill()

    def stop_process(self) -> None:
        """SIGSTOP: accepts connections, answers nothing."""
        self.process.freeze()

    def cont(self) -> None:
        """SIGCONT."""
        self.process.thaw()

    def restart(self, *, wait: bool = True) -> None:
        """Kill when it runs, start with the same data and ports; waits until it serves, which needs a quorum."""
        self.process.kill()
        self.process.start()
        if wait:
            self.process.wait_until(self.healthy)

    def healthy(self) -> bool:
        """It answers and reads through a quorum; an alarm for space does not count."""
        return '"true"' in self._get("health?exclude=NOSPACE")

    def leads(self) -> bool:
        """It takes itself for the leader."""
        return self.alive and re.search(r"^etcd_server_is_leader 1$", self._get("metrics"), re.MULTILINE) is not None

    def _get(self, path: str) -> str:
        return read(f"http://{self.place.address}:{self.metrics_port}/{path}")


class EtcdCluster:
    """A cluster with a temporary data folder; a context manager, usable without pytest.

    With `auth`, user `locksmith` (password in `password_file`) may do nothing but read and write keys below `prefix`;
    with `client_cert_auth` that user is also the client certificate's common name. `token_ttl` is in seconds and
    counts from a token's last use. `quota_bytes` makes the space alarm reachable.
    """

    user = "locksmith"
    password = "a password: with/odd%signs"
    root_password = "root-of-all"

    def __init__(
        self,
        version: str | None = "3.4",
        *,
        members: int = 1,
        tls: bool = False,
        client_cert_auth: bool = False,
        auth: bool = False,
        token_ttl: int | None = None,
        prefix: str = "locksmith/",
        quota_bytes: int | None = None,
        options: Sequence[str] = (),
        places: Sequence[Place] = (),
    ) -> None:
        """Start nothing yet; raises ServerMissing when there is no such etcd to be had."""
        self.version = version
        self.tls = tls or client_cert_auth
        self.client_cert_auth = client_cert_auth
        self.auth = auth
        self.prefix = prefix
        self._programs = etcd_programs(version)
        self._size = members
        self._places = places or [HERE] * members
        self._options = [*options, "--bcrypt-cost", "4"]  # a login at the default cost is 90 ms of processor time
        self._options += ["--auth-token-ttl", str(token_ttl)] if token_ttl is not None else []
        self._options += ["--quota-backend-bytes", str(quota_bytes)] if quota_bytes is not None else []
        self._data: DataFolder | None = None
        self._auth_is_on = False
        self.members: list[EtcdMember] = []
        self.certificates: Certificates | None = None

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.stop()

    @property
    def endpoints(self) -> list[str]:
        """`address:port` of each member."""
        return [member.endpoint for member in self.members]

    @property
    def folder(self) -> Path:
        """The temporary folder with data, logs and certificates."""
        if self._data is None:
            raise ServerFailed("the etcd cluster is not started: call start() first")
        return self._data.path

    @property
    def password_file(self) -> Path:
        """A file with the user's password."""
        return self.folder / "password"

    def url(self, prefix: str = "locksmith") -> str:
        """The store URL of interfaces.md."""
        return f"{'etcds' if self.tls else 'etcd'}://{','.join(self.endpoints)}/{prefix}"

    def start(self) -> Self:
        """Start every member and return when all of them serve; on failure nothing is left running."""
        for attempt in range(_ATTEMPTS):
            try:
                self._start_once()
            except BaseException as error:
                self.stop()
                if isinstance(error, AddressInUse) and attempt + 1 < _ATTEMPTS:
                    continue
                raise
            return self
        raise AssertionError("unreachable")

    def _start_once(self) -> None:
        self._data = DataFolder("etcd")
        self.password_file.write_text(self.password + "\n")
        if self.tls:
            where = [place.address for place in self._places if place is not HERE]
            self.certificates = make_certificates(self.folder / "certs", client_name=self.user, addresses=where)
            make_certificates(self.folder / "root-certs", client_name="root")
        self.members = [EtcdMember(f"etcd{n}", self.folder, place) for n, place in enumerate(self._places)]
        for member in self.members:
            member.process = ServerProcess(self._command(member), member.process.log, without="ETCD")
            member.process.start()
        for member in self.members:
            member.process.wait_until(member.healthy)
        if self.auth:
            self._enable_auth()

    def stop(self) -> None:
        """End every member and delete the data."""
        for member in self.members:
            member.kill()
        self._auth_is_on = False
        if self._data is not None:
            self._data.remove()
            self._data = None

    def leader(self, timeout: float = 15) -> EtcdMember:
        """The one running member that leads; waits for an election up to `timeout` seconds."""
        found: list[EtcdMember] = []

        def one_leads() -> bool:
            found[:] = [member for member in self.members if member.leads()]
            return len(found) == 1

        wait_until(one_leads, "etcd has no single leader", timeout=timeout)
        return found[0]

    def followers(self) -> list[EtcdMember]:
        """The running members that do not lead."""
        leader = self.leader()
        return [member for member in self.members if member.alive and member is not leader]

    def etcdctl(self, *arguments: str, check: bool = True, as_user: bool = False) -> str:
        """Run etcdctl against the running members with root's rights (or the least ones, `as_user`).

        Raises:
            ServerFailed: it exited with an error, unless `check` is False.
        """
        endpoints = ",".join(member.endpoint for member in self.members if member.alive)
        command = [str(self._programs.etcdctl), "--endpoints", endpoints, "--command-timeout", "10s"]
        command += self._credentials(as_user=as_user)
        done = subprocess.run(
            [*command, *arguments],
            env={**without_prefix("ETCD"), "ETCDCTL_API": "3"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if check and done.returncode != 0:
            raise ServerFailed(f"etcdctl {' '.join(arguments)} failed: {done.stderr.strip()}")
        return done.stdout

    def revision(self) -> int:
        """The cluster's current revision."""
        return int(json.loads(self.etcdctl("get", "no-such-key", "--write-out", "json"))["header"]["revision"])

    def compact(self, revision: int | None = None) -> int:
        """Compact up to `revision` (default: all history) and return it."""
        revision = revision or self.revision()
        self.etcdctl("compact", str(revision), "--physical")
        return revision

    def fill(self) -> None:
        """Write until the space alarm is raised (give `quota_bytes`, e.g. 4 MiB); keys are named `filler/…`."""
        for number in range(200):
            if "NOSPACE" in self.etcdctl("alarm", "list"):
                return
            for part in range(4):
                self.etcdctl("put", f"filler/{number}/{part}", "x" * 120_000, check=False)
        raise ServerFailed("the quota was not reached with 100 MB: give a smaller quota_bytes")

    def make_space(self) -> None:
        """Delete the filling, compact, defragment and lift the alarm."""
        self.etcdctl("del", "--prefix", "filler/")
        self.compact()
        self.etcdctl("defrag")
        self.etcdctl("alarm", "disarm")

    def save(self, file: Path) -> None:
        """A backup, as the first member has it."""
        self.etcdctl("snapshot", "save", str(file))

    def restore(self, file: Path, before: Callable[[str], None], *, token: str | None = None) -> None:
        """Put the only member back to a backup, under its old name, as etcd's disaster recovery says.

        It runs on a port of its own first, that no client knows; `before` is called with that URL. With another `token`
        it is another cluster by its id.
        """
        (member,) = self.members
        member.kill()
        shutil.rmtree(self.folder / member.name)
        peer = f"http://127.0.0.1:{member.peer_port}"
        words = ["--name", member.name, "--data-dir", str(self.folder / member.name), "--initial-cluster"]
        words += [f"{member.name}={peer}", "--initial-advertise-peer-urls", peer]
        self.etcdctl("snapshot", "restore", str(file), *words, "--initial-cluster-token", token or self.folder.name)
        known = member.client_port
        member.client_port = free_port()
        try:
            self._serve(member)
            before(self.url())
        finally:
            member.kill()
            member.client_port = known
        self._serve(member)

    def _serve(self, member: EtcdMember) -> None:
        member.process = ServerProcess(self._command(member), member.process.log, without="ETCD")
        member.process.start()
        member.process.wait_until(member.healthy)

    def expire_tokens(self) -> None:
        """Make every login invalid at once: each member is restarted, and simple tokens live in memory."""
        for member in self.members:
            member.restart()

    def _command(self, member: EtcdMember) -> list[str | Path]:
        scheme = "https" if self.tls else "http"
        client, peer = f"{scheme}://{member.endpoint}", _peer_url(member)
        peers = ",".join(f"{one.name}={_peer_url(one)}" for one in self.members)
        command: list[str | Path] = [
            *member.place.enter,
            self._programs.etcd,
            "--name",
            member.name,
            "--data-dir",
            self.folder / member.name,
        ]
        command += ["--listen-client-urls", client, "--advertise-client-urls", client]
        command += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", peers]
        command += ["--initial-cluster-token", self.folder.name, "--logger", "zap", "--log-level", "warn"]
        command += ["--listen-metrics-urls", f"http://{member.place.address}:{member.metrics_port}"]
        if self.certificates is not None:
            command += ["--cert-file", self.certificates.server_cert, "--key-file", self.certificates.server_key]
            if self.client_cert_auth:
                command += ["--client-cert-auth", "--trusted-ca-file", self._trusted()]
        return [*command, *self._options]

    def _trusted(self) -> Path:
        """The users' authority and root's: a file of both."""
        both = self.folder / "trusted-clients.pem"
        parts = [self.folder / folder / "ca.pem" for folder in ("certs", "root-certs")]
        both.write_text("".join(part.read_text() for part in parts))
        return both

    def _credentials(self, *, as_user: bool) -> Iterator[str]:
        if self.certificates is not None:
            folder = self.folder / ("certs" if as_user or not self._auth_is_on else "root-certs")
            yield from ("--cacert", str(self.certificates.ca))
            if self.client_cert_auth:
                yield from ("--cert", str(folder / "client.pem"), "--key", str(folder / "client-key.pem"))
        if self._auth_is_on and not self.client_cert_auth:
            name, password = (self.user, self.password) if as_user else ("root", self.root_password)
            yield from ("--user", name, "--password", password)

    def _enable_auth(self) -> None:
        for words in (
            ("user", "add", "root", "--new-user-password", self.root_password),
            ("user", "grant-role", "root", "root"),
            ("role", "add", "locksmith"),
            ("role", "grant-permission", "locksmith", "readwrite", "--prefix=true", self.prefix),
            ("user", "add", self.user, "--new-user-password", self.password),
            ("user", "grant-role", self.user, "locksmith"),
            ("auth", "enable"),
        ):
            self.etcdctl(*words)
        self._auth_is_on = True


def _peer_url(member: EtcdMember) -> str:
    return f"http://{member.place.address}:{member.peer_port}"
