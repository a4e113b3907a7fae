"""Real Consul servers on loopback: one or three, with or without TLS and ACLs.

Plain HTTP stays open on a port of its own for the cluster's own questions (leader, voters, ACL set-up); `endpoints`
names the HTTPS ports when there is TLS. `raft_multiplier` 1 keeps elections at a second or two; Consul's default is 5.
"""

import http.client
import json
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from tests.servers.certs import Certificates, make_certificates
from tests.servers.fetch import consul as consul_program
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
)

_ATTEMPTS = 5


class ConsulMember:
    """One server of a cluster; keeps its ports and data over kill and restart."""

    def __init__(self, name: str, folder: Path, *, tls: bool, place: Place = HERE) -> None:
        """Choose ports; the cluster writes the configuration."""
        self.name = name
        self.place = place
        self.cut_off = False  # set by who cuts it off: nothing of ours reaches it
        self.http_port, self.https_port = free_port(), free_port()
        self.rpc_port, self.serf_port = free_port(), free_port()
        self.config = folder / f"{name}.json"
        self.process = ServerProcess(
            [*place.enter, consul_program(), "agent", "-config-file", self.config],
            folder / f"{name}.log",
            without="CONSUL",
        )
        self._tls = tls

    @property
    def endpoint(self) -> str:
        """`address:port` for clients; HTTPS when the cluster has TLS."""
        return f"{self.place.address}:{self.https_port if self._tls else self.http_port}"

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
        """Kill when it runs, start with the same data and ports; waits until it knows a leader, so for a quorum."""
        self.process.kill()
        self.process.start()
        if wait:
            self.process.wait_until(lambda: self.leader_rpc() != "")

    def leader_rpc(self) -> str:
        """The leader's `address:port` between servers, as this member sees it; empty without one."""
        return read(f"http://{self.place.address}:{self.http_port}/v1/status/leader").strip().strip('"')


class ConsulCluster:
    """A cluster with a temporary data folder; a context manager, usable without pytest.

    With `acl`, everything is denied by default and `master_token` may do everything; `create_policy` and
    `create_token` make the rights under test. With `tls`, `verify_clients` asks for a client certificate too.
    """

    def __init__(
        self,
        *,
        members: int = 1,
        tls: bool = False,
        verify_clients: bool = False,
        acl: bool = False,
        raft_multiplier: int = 1,
        options: dict[str, Any] | None = None,
        places: Sequence[Place] = (),
    ) -> None:
        """Start nothing yet; raises ServerMissing when there is no Consul to be had."""
        consul_program()
        self.tls = tls or verify_clients
        self.verify_clients = verify_clients
        self.acl = acl
        self.raft_multiplier = raft_multiplier
        self.master_token = str(uuid.uuid4()) if acl else ""
        self._size = members
        self._places = places or [HERE] * members
        self._options = options or {}
        self._data: DataFolder | None = None
        self.members: list[ConsulMember] = []
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
            raise ServerFailed("the consul cluster is not started: call start() first")
        return self._data.path

    def url(self, prefix: str = "locksmith") -> str:
        """The store URL of interfaces.md."""
        return f"{'consuls' if self.tls else 'consul'}://{','.join(self.endpoints)}/{prefix}"

    def start(self) -> Self:
        """Start every member; returns when there is a leader and all are voters. On failure nothing is left running."""
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
        self._data = DataFolder("consul")
        if self.tls:
            where = [place.address for place in self._places if place is not HERE]
            self.certificates = make_certificates(self.folder / "certs", addresses=where)
        self.members = [
            ConsulMember(f"consul{n}", self.folder, tls=self.tls, place=place) for n, place in enumerate(self._places)
        ]
        for member in self.members:
            member.config.write_text(json.dumps(self._config(member)))
            member.process.start()
        for member in self.members:
            member.process.wait_until(lambda member=member: member.leader_rpc() != "")  # type: ignore[misc]
        if self.acl:
            wait_until(self._acl_is_up, "consul's ACL system is not up")
        self.wait_for_voters()

    def stop(self) -> None:
        """End every member and delete the data."""
        for member in self.members:
            member.kill()
        if self._data is not None:
            self._data.remove()
            self._data = None

    def leader(self, timeout: float = 30) -> ConsulMember:
        """The running member that all running ones follow; waits for an election up to `timeout` seconds."""
        found: list[ConsulMember] = []

        def agreed() -> bool:
            alive = [member for member in self.members if member.alive]
            names = {member.leader_rpc() for member in alive}
            found[:] = [member for member in alive if names == {f"{member.place.address}:{member.rpc_port}"}]
            return len(found) == 1

        wait_until(agreed, "consul has no leader that all agree on", timeout=timeout)
        return found[0]

    def followers(self) -> list[ConsulMember]:
        """The running members that do not lead."""
        leader = self.leader()
        return [member for member in self.members if member.alive and member is not leader]

    def wait_for_voters(self, timeout: float = 30) -> None:
        """Return when every member that was started votes, so that the loss of one leaves a quorum."""
        wait_until(lambda: self._voters() == self._size, f"consul has not {self._size} voters", timeout=timeout)

    def _voters(self) -> int:
        status, answer = self.request("GET", "/v1/operator/raft/configuration", check=False)
        return sum(bool(server["Voter"]) for server in answer["Servers"]) if status == http.client.OK else 0

    def create_policy(self, name: str, rules: str) -> None:
        """Make an ACL policy; `rules` in Consul's own language."""
        self.request("PUT", "/v1/acl/policy", {"Name": name, "Rules": rules})

    def create_token(self, policies: Sequence[str] = ()) -> str:
        """Make a token with these policies and return its secret."""
        links = [{"Name": name} for name in policies]
        return str(self.request("PUT", "/v1/acl/token", {"Policies": links})[1]["SecretID"])

    def delete_token(self, secret: str) -> None:
        """Revoke a token."""
        tokens = self.request("GET", "/v1/acl/token/self", token=secret)[1]
        self.request("DELETE", f"/v1/acl/token/{tokens['AccessorID']}")

    def request(
        self, method: str, path: str, body: Any = None, *, token: str | None = None, check: bool = True
    ) -> tuple[int, Any]:
        """One call of the HTTP API on the first running member: status and decoded answer (text when not JSON).

        `token` defaults to the master token. Bodies that are not bytes are sent as JSON.

        Raises:
            ServerFailed: no good answer, unless `check` is False; then status 0 means no answer at all.
        """
        alive = [member for member in self.members if member.alive]
        if not alive:
            raise ServerFailed("no consul server runs: restart one first")
        where = f"{alive[0].place.address}:{alive[0].http_port}"
        status, text = _call(where, method, path, body, self.master_token if token is None else token)
        if check and status != http.client.OK:
            raise ServerFailed(f"consul: {method} {path} answered {status}: {text}")
        try:
            return status, json.loads(text)
        except ValueError:
            return status, text

    def _acl_is_up(self) -> bool:
        return self.request("GET", "/v1/acl/token/self", check=False)[0] == http.client.OK

    def _config(self, member: ConsulMember) -> dict[str, Any]:
        config: dict[str, Any] = {
            "server": True,
            "node_name": member.name,
            "datacenter": "dc1",
            "data_dir": str(self.folder / member.name),
            "bind_addr": member.place.address,
            "client_addr": member.place.address,
            "bootstrap_expect": self._size,
            "retry_join": [f"{other.place.address}:{other.serf_port}" for other in self.members if other is not member],
            "retry_interval": "200ms",
            "ports": {
                "http": member.http_port,
                "https": member.https_port if self.tls else -1,
                "server": member.rpc_port,
                "serf_lan": member.serf_port,
                "serf_wan": -1,
                "dns": -1,
                "grpc": -1,
            },
            "performance": {"raft_multiplier": self.raft_multiplier},
            # a killed server is to come back as the voter it was, not after ten seconds of probation
            "autopilot": {"cleanup_dead_servers": False},
            # the whole fleet of a test comes from one address
            "limits": {"http_max_conns_per_client": 10_000, "rpc_max_conns_per_client": 10_000},
            "disable_update_check": True,
            "disable_remote_exec": True,
            "log_level": "warn",
        }
        if self.certificates is not None:
            config["cert_file"] = str(self.certificates.server_cert)
            config["key_file"] = str(self.certificates.server_key)
            config["ca_file"] = str(self.certificates.ca)
            config["verify_incoming_https"] = self.verify_clients
        if self.acl:
            tokens = {"master": self.master_token, "agent": self.master_token}
            config["acl"] = {"enabled": True, "default_policy": "deny", "tokens": tokens}
        return {**config, **self._options}


def _call(where: str, method: str, path: str, body: Any, token: str) -> tuple[int, str]:
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    connection = http.client.HTTPConnection(where, timeout=10)
    try:
        connection.request(method, path, data, {"X-Consul-Token": token} if token else {})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except (OSError, http.client.HTTPException) as error:
        return 0, str(error)
    finally:
        connection.close()
