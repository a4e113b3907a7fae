"""The store contract on Consul's KV, through py-consul (the door is consul_door).

What a reader would miss: a read is a *transaction* in `consistent` mode, because only that is atomic over several keys;
denied reads come back empty instead of failing, hence `probe`; and sessions belong to an external catalog node, because
one that belongs to a server or agent dies with it (`prepare` registers that node, once, with an operator's token).
Rejected: `delete-cas`, which succeeds on an absent key; `get`, which fails the whole transaction for one.
"""

import json
import math
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from locksmith.errors import Denied, Rejected, SessionLost, WrongStore
from locksmith.stores import (
    MIN_SESSION_TTL,
    Access,
    Check,
    Facts,
    Put,
    Session,
    Snapshot,
    validate_commit,
    validate_read,
)
from locksmith.stores.consul_answers import NODE, NoSuchNode, found, reading, revision, writing
from locksmith.stores.consul_door import Client, Door, NotFound
from locksmith.stores.consul_watch import watch

_SHOWN = 200
"""Characters of an answer that is not understood."""


class ConsulStore:
    """A prefix of one datacenter's KV."""

    kind = "consul"

    def __init__(  # noqa: PLR0913 - what a store's URL and files can say
        self,
        endpoints: Sequence[str],
        prefix: str,
        *,
        timeout: timedelta,
        tls: bool = False,
        datacenter: str | None = None,
        unix_socket: str | None = None,
        access: Access = Access(),  # noqa: B008 - frozen
    ) -> None:
        """`endpoints` are host:port of servers or client agents of one datacenter; nothing is sent yet.

        `timeout` is for one call with all its tries; `unix_socket` is used instead of the endpoints. Raises ConfigError.
        """
        self._door = Door(
            endpoints, timeout=timeout, tls=tls, datacenter=datacenter, unix_socket=unix_socket, access=access
        )
        self._datacenter = datacenter
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""

    def read(self, keys: Sequence[str] = (), prefixes: Sequence[str] = ()) -> Snapshot:
        """One `consistent` transaction; see Store.read. Keys that may not be read are left out, as if absent."""
        validate_read(keys, prefixes)
        exact = {self._prefix + key for key in keys}
        trees = tuple(self._prefix + prefix for prefix in prefixes)
        body = reading([*exact, *trees])
        # get-tree matches by prefix for keys too: `n1` also brings `n10`.
        pairs = self._door.ask(lambda client: list(found(self._door.transact(client, body, consistent=True))))
        wanted = ((key, item) for key, item in pairs if key in exact or key.startswith(trees))
        return Snapshot({key.removeprefix(self._prefix): item for key, item in wanted})

    def commit(self, checks: Sequence[Check], puts: Sequence[Put] = (), deletes: Sequence[str] = ()) -> int | None:
        """One transaction, sent once; see Store.commit."""
        validate_commit(checks, puts, deletes)
        checks = [Check(self._prefix + check.key, check.mod) for check in checks]
        puts = [Put(self._prefix + put.key, put.value, put.session) for put in puts]
        body = writing(checks, puts, [self._prefix + key for key in deletes])
        return self._door.send(lambda client: revision(self._door.transact(client, body), puts))

    def watch(self, key: str, after: int, timeout: timedelta) -> bool:
        """Blocking queries of at most 5 s, one after another; see Store.watch."""
        return watch(self._door, self._prefix + key, after, timeout)

    def probe(self, key: str) -> None:
        """Read one key by itself, which Consul refuses when the right is missing; see Store.probe."""
        self._door.ask(lambda client: self._door.entry(client, self._prefix + key))

    def session(self, ttl: timedelta) -> Session:
        """A session on the external node; it ends at most twice its ttl after the last keepalive. See Store.session."""
        if ttl < MIN_SESSION_TTL:
            raise Rejected(f"a session of {ttl.total_seconds():g} s; at least {MIN_SESSION_TTL.total_seconds():g} s")
        try:
            return self._open(ttl)
        except NoSuchNode:
            pass
        try:
            self.prepare()
        except Denied as error:
            raise Denied(
                f"the catalog node {NODE!r} that sessions belong to is missing, and this token may not register it: "
                f"run `lockctl set-max` once with an operator's token ({error})"
            ) from error
        return self._open(ttl)

    def _open(self, ttl: timedelta) -> Session:
        seconds = math.ceil(ttl.total_seconds())
        name = self._door.send(
            lambda client: _given(
                client.session.create(name=NODE, node=NODE, checks=[], lock_delay=0, behavior="delete", ttl=seconds)
            )
        )
        return ConsulSession(self._door, str(name), timedelta(seconds=seconds))

    def prepare(self) -> None:
        """Register the external catalog node; needs `node "locksmith" { policy = "write" }`. See Store.prepare."""
        # py-consul's `catalog.register` writes the token into the URL, and into the body, which Consul refuses.
        body: dict[str, object] = {"Node": NODE, "Address": "127.0.0.1", "NodeMeta": {"external-node": "true"}}
        if self._datacenter is not None:
            body["Datacenter"] = self._datacenter  # this endpoint takes no notice of the parameter
        self._door.ask(lambda client: self._door.put(client, "/v1/catalog/register", json.dumps(body)))

    def facts(self) -> Facts:
        """Datacenter, raft peers and version; only the version needs a right (agent:read). See Store.facts.

        Raises WrongStore when the configured datacenter is not known there.
        """
        known = self._door.ask(lambda client: _texts(client.catalog.datacenters()))
        own = self._self()
        if self._datacenter is not None and self._datacenter not in known:
            raise WrongStore(
                f"datacenter {self._datacenter!r} is configured, but {', '.join(known)} answers; check dc="
            )
        identity = self._datacenter or own.get("Datacenter") or (known[0] if len(known) == 1 else None)
        if identity is None:
            raise Denied(
                f"cannot tell which of {', '.join(known)} answers: add ?dc=NAME to the store's URL, "
                "or the right agent:read to the token"
            )
        return Facts(str(identity), self._members(str(identity), own), own.get("Version"))

    def _self(self) -> dict[str, str]:
        try:
            answer = self._door.ask(lambda client: client.agent.self())
        except Denied:
            return {}
        config = answer.get("Config") if isinstance(answer, dict) else None
        if not isinstance(config, dict):
            return {}
        return {name: value for name, value in config.items() if isinstance(value, str)}

    def _members(self, identity: str, own: dict[str, str]) -> int | None:
        """The raft peers of the datacenter that was asked; the status endpoint knows the local one only."""
        if own.get("Datacenter", identity) != identity:
            return None
        return len(self._door.ask(lambda client: _texts(client.status.peers())))

    def close(self) -> None:
        """Close the connections; a running watch ends within 5 s."""
        self._door.close()


def _given(answer: Any) -> Any:
    """py-consul makes nothing of a 404 where Consul knows none: it came from somebody else. Raises ValueError."""
    if not answer:
        raise ValueError("no Consul answers there (404)")
    return answer


def _texts(answer: Any) -> list[str]:
    """A list of texts that is not empty. Raises ValueError."""
    if not (isinstance(answer, list) and answer and all(isinstance(each, str) for each in answer)):
        raise ValueError(f"no answer of Consul's: {str(answer)[:_SHOWN]}")
    return answer


class ConsulSession:
    """A session of Consul; any server renews it."""

    def __init__(self, door: Door, name: str, ttl: timedelta) -> None:
        """It is open already."""
        self._door = door
        self._id = name
        self._ttl = ttl

    @property
    def id(self) -> str:
        """Consul's uuid."""
        return self._id

    @property
    def ttl(self) -> timedelta:
        """Consul waits up to twice as long."""
        return self._ttl

    def keepalive(self) -> None:
        """Renew; see Session.keepalive."""
        self._door.ask(self._renew)

    def _renew(self, client: Client) -> None:
        try:
            answer = client.session.renew(self._id)
        except NotFound as error:
            if self._id not in str(error):  # somebody else's 404; Consul's names the session
                raise
            raise SessionLost(f"session {self._id} has ended") from error
        if not isinstance(answer, dict) or answer.get("ID") != self._id:
            raise ValueError(f"no answer about a session: {str(answer)[:_SHOWN]}")

    def end(self) -> None:
        """Destroy; Consul does not mind when it is gone. See Session.end."""
        self._door.ask(lambda client: _given(client.session.destroy(self._id)), changes=True)
