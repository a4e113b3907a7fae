"""The store contract on etcd v3.4 or newer, over its gRPC API.

What a reader would miss: a read is one transaction of ranges, linearizable because none of them is `serializable`, so
it is atomic over keys and prefixes. And "database space exceeded" does not prove that a commit was refused: the write
that crosses the quota in the very moment it is applied is applied *and* answered so (etcd's quotaApplierV3). The
commit's keys are read back then, and what they do not prove is Unknown.

Rejected: the libraries etcd3, etcd3-py, aetcd and their kin (retried writes, no fail-over, protobuf 3), and the JSON
gateway (half as fast, and a watch that cannot be asked whether it is alive).
"""

import math
import secrets
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from locksmith.errors import Conflict, Rejected, SessionLost, StoreError, StoreFull, Unknown
from locksmith.stores import (
    MIN_SESSION_TTL,
    Access,
    Check,
    Facts,
    Item,
    Put,
    Snapshot,
    validate_commit,
    validate_read,
)
from locksmith.stores import etcd_rpc_pb2 as rpc
from locksmith.stores.etcd_answers import Answer, CallFailed, refusal
from locksmith.stores.etcd_channel import LEASE_GRANT, LEASE_KEEP_ALIVE, LEASE_REVOKE, MEMBER_LIST, STATUS, TXN
from locksmith.stores.etcd_client import EtcdClient, Sending
from locksmith.stores.etcd_watch import watch

NO_ACCESS = Access()


class EtcdStore:
    """See Store. Safe for several threads; connects when it is first used."""

    kind = "etcd"

    def __init__(
        self,
        endpoints: Sequence[str],
        prefix: str,
        *,
        timeout: timedelta,
        tls: bool = False,
        access: Access = NO_ACCESS,
    ) -> None:
        """Endpoints are host:port, IPv6 in brackets; a key becomes <prefix>/<key>; `timeout` bounds each call.

        A login, when one is needed, has 5 s or more of its own on top. Raises ConfigError.
        """
        self._prefix = f"{prefix.strip('/')}/"
        self._client = EtcdClient(endpoints, access, tls=tls, timeout=timeout, harmless_key=self._key("cfg"))

    def read(self, keys: Sequence[str] = (), prefixes: Sequence[str] = ()) -> Snapshot:
        """See Store."""
        validate_read(keys, prefixes)
        ranges = [rpc.RangeRequest(key=self._key(key)) for key in keys]
        ranges += [rpc.RangeRequest(key=start, range_end=_after_all(start)) for start in map(self._key, prefixes)]
        request = rpc.TxnRequest(success=[rpc.RequestOp(request_range=range_) for range_ in ranges])
        response = self._client.call(TXN, request, Sending.READ)
        found = [kv for answer in response.responses for kv in answer.response_range.kvs]
        return Snapshot({self._name(kv.key): _item(kv) for kv in found})

    def probe(self, key: str) -> None:
        """See Store; etcd refuses a read without the right, so any read asks for it."""
        self.read([key])

    def commit(self, checks: Sequence[Check], puts: Sequence[Put] = (), deletes: Sequence[str] = ()) -> int | None:
        """See Store."""
        validate_commit(checks, puts, deletes)
        request = rpc.TxnRequest(
            compare=[
                rpc.Compare(result="EQUAL", target="MOD", key=self._key(check.key), mod_revision=check.mod)
                for check in checks
            ],
            success=[
                *(rpc.RequestOp(request_put=self._put(put)) for put in puts),
                *(
                    rpc.RequestOp(request_delete_range=rpc.DeleteRangeRequest(key=key))
                    for key in map(self._key, deletes)
                ),
            ],
        )
        try:
            response = self._client.attempt(TXN, request, Sending.ONCE)
        except CallFailed as failure:
            error = refusal(failure)
            if isinstance(error, StoreFull):
                error = self._when_full(error, checks, puts, deletes)
            raise error from failure
        if not response.succeeded:
            raise Conflict(f"changed since it was read: one of {', '.join(check.key for check in checks)}")
        return int(response.header.revision) if puts else None

    def _when_full(
        self, full: StoreFull, checks: Sequence[Check], puts: Sequence[Put], deletes: Sequence[str]
    ) -> StoreError:
        doubt = Unknown(f"{full}; this commit may be the one that filled it, and be applied")
        if not puts:
            return doubt
        try:
            snapshot = self.read([*(put.key for put in puts), *deletes])
        except StoreError:
            return doubt
        written = {put.key for put in puts} | set(deletes)
        checked = [check for check in checks if check.key in written]
        if any(snapshot[check.key].mod == check.mod for check in checked):
            return full
        # Another value under a checked key may be that of somebody who went on from ours. Without any check the last
        # writer wins, and ours is the same as never applied.
        overwritten = not checked and any(snapshot[put.key].value != put.value for put in puts)
        return full if overwritten else doubt

    def watch(self, key: str, after: int, timeout: timedelta) -> bool:
        """See Store."""
        return watch(self._client, self._key(key), after, timeout.total_seconds())

    def session(self, ttl: timedelta) -> "EtcdSession":
        """See Store. The lease's id is ours, so that asking a second endpoint cannot make a second one."""
        if ttl < MIN_SESSION_TTL:
            raise Rejected(f"a session of {ttl}; at least {MIN_SESSION_TTL}")
        number = secrets.randbelow(2**63 - 1) + 1
        seconds = math.ceil(ttl.total_seconds())
        try:
            response = self._client.attempt(
                LEASE_GRANT, rpc.LeaseGrantRequest(TTL=seconds, ID=number), Sending.REPEATABLE
            )
            seconds = response.TTL
        except CallFailed as failure:
            if failure.answer is not Answer.LEASE_EXISTS:  # our first request, whose answer was lost
                raise refusal(failure) from failure
        return EtcdSession(self._client, number, timedelta(seconds=seconds))

    def prepare(self) -> None:
        """See Store; etcd needs nothing."""

    def facts(self) -> Facts:
        """See Store; the identity is the cluster id as `etcdctl -w json` counts it, in hex."""
        self.probe("cfg")
        identity = f"{self._client.cluster_id:x}"
        members = self._if_allowed(MEMBER_LIST, rpc.MemberListRequest())
        status = self._if_allowed(STATUS, rpc.StatusRequest())
        return Facts(
            identity=identity,
            members=None if members is None else sum(not member.isLearner for member in members.members),
            version=None if status is None else status.version,
        )

    def _if_allowed(self, method: Any, request: Any) -> Any:
        try:
            return self._client.call(method, request, Sending.READ)
        except StoreError:
            return None

    def close(self) -> None:
        """See Store."""
        self._client.close()

    def _key(self, key: str) -> bytes:
        return (self._prefix + key).encode()

    def _name(self, key: bytes) -> str:
        return key.decode(errors="replace").removeprefix(self._prefix)

    def _put(self, put: Put) -> Any:
        if put.session is not None and not put.session.isdecimal():
            raise Rejected(f"{put.session!r} is no etcd session")
        return rpc.PutRequest(key=self._key(put.key), value=put.value, lease=int(put.session or 0))


class EtcdSession:
    """See Session: a lease."""

    def __init__(self, client: EtcdClient, number: int, ttl: timedelta) -> None:
        """A lease that was granted."""
        self._client = client
        self._number = number
        self._ttl = ttl

    @property
    def id(self) -> str:
        """The lease's id, decimal (etcdctl shows it in hex)."""
        return f"{self._number}"

    @property
    def ttl(self) -> timedelta:
        """See Session."""
        return self._ttl

    def keepalive(self) -> None:
        """See Session."""
        response = self._client.call(LEASE_KEEP_ALIVE, rpc.LeaseKeepAliveRequest(ID=self._number), Sending.READ)
        if response.TTL <= 0:
            raise _lost(self.id)

    def end(self) -> None:
        """See Session."""
        try:
            self._client.attempt(LEASE_REVOKE, rpc.LeaseRevokeRequest(ID=self._number), Sending.REPEATABLE)
        except CallFailed as failure:
            if failure.answer is not Answer.LEASE_GONE:
                raise refusal(failure) from failure


def _lost(session: str) -> SessionLost:
    return SessionLost(f"the session {session} has ended, and its keys with it")


def _after_all(start: bytes) -> bytes:
    """The end of the range of all keys that start so; every key of ours ends in UTF-8, so its last byte has a next."""
    return start[:-1] + bytes([start[-1] + 1])


def _item(kv: Any) -> Item:
    return Item(kv.value, kv.mod_revision, kv.create_revision, f"{kv.lease}" if kv.lease else None)
