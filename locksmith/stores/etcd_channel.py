"""The door to grpcio: one channel to one endpoint, unary calls and one kind of stream, failures as `CallFailed`.

The one idea a reader would miss: gRPC's own comforts are switched off, because each of them may send a commit twice or
hide which member answered. No retries, no load balancing (one channel an endpoint, etcd_endpoints.py rotates), no
service configuration from DNS, no HTTP proxy from the environment, no connection shared between two stores.

While a gRPC channel exists, its threads wake about ten times a second, even when nothing is asked. So a channel that
nobody has used for a while is put away, and made anew at the next call (3 ms): an agent at rest does not wake for it.
"""

import contextlib
import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from locksmith.stores import etcd_rpc_pb2 as rpc
from locksmith.stores.etcd_answers import Answer, CallFailed, classify

# gRPC's core writes handshake errors to standard error by itself; they arrive here as answers, and lockctl's standard
# error is for people. It reads the variable once, on import; hooks that we start must not inherit it.
_OURS = "GRPC_VERBOSITY" not in os.environ
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
import grpc  # noqa: E402  (after its variable is set)

if _OURS:
    del os.environ["GRPC_VERBOSITY"]

_OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.keepalive_time_ms", 10_000),  # less gets GOAWAY too_many_pings from etcd
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_retries", 0),
    ("grpc.service_config_disable_resolution", 1),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_receive_message_length", -1),  # 10,000 holders are 4.3 MB, gRPC's default is 4
)

REST_AFTER = 20.0
"""Seconds without a call after which the connection is given up until it is needed again."""

Metadata = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Method:
    """One of etcd's calls: its path on the wire and the messages of ours that fit."""

    path: str
    request: Any
    response: Any


RANGE = Method("/etcdserverpb.KV/Range", rpc.RangeRequest, rpc.RangeResponse)
TXN = Method("/etcdserverpb.KV/Txn", rpc.TxnRequest, rpc.TxnResponse)
WATCH = Method("/etcdserverpb.Watch/Watch", rpc.WatchRequest, rpc.WatchResponse)
LEASE_GRANT = Method("/etcdserverpb.Lease/LeaseGrant", rpc.LeaseGrantRequest, rpc.LeaseGrantResponse)
LEASE_REVOKE = Method("/etcdserverpb.Lease/LeaseRevoke", rpc.LeaseRevokeRequest, rpc.LeaseRevokeResponse)
LEASE_KEEP_ALIVE = Method("/etcdserverpb.Lease/LeaseKeepAlive", rpc.LeaseKeepAliveRequest, rpc.LeaseKeepAliveResponse)
"""A stream of etcd's, called with one message: on the wire that is a unary call, and it needs no thread here."""
MEMBER_LIST = Method("/etcdserverpb.Cluster/MemberList", rpc.MemberListRequest, rpc.MemberListResponse)
STATUS = Method("/etcdserverpb.Maintenance/Status", rpc.StatusRequest, rpc.StatusResponse)
AUTHENTICATE = Method("/etcdserverpb.Auth/Authenticate", rpc.AuthenticateRequest, rpc.AuthenticateResponse)


@dataclass(frozen=True, slots=True)
class TlsMaterial:
    """PEM bytes; None means gRPC's own roots, or no client certificate."""

    roots: bytes | None = None
    cert: bytes | None = None
    key: bytes | None = None


class Stream:
    """The answers of a running stream."""

    def __init__(self, endpoint: str, call: Any) -> None:
        """`call` is gRPC's; it is iterated by one thread and may be cancelled by any."""
        self._endpoint = endpoint
        self._call = call

    def __iter__(self) -> Iterator[Any]:
        """Each answer as it comes. Raises CallFailed at the end, whatever ended it."""
        try:
            yield from self._call
        except grpc.RpcError as error:
            raise _failed(self._endpoint, error) from error
        raise CallFailed(self._endpoint, Answer.LOST, "the stream was closed")

    def cancel(self) -> None:
        """End it soon."""
        self._call.cancel()


class Channel:
    """A channel to one endpoint; connects when it is first used, and again after a rest. Safe for several threads."""

    def __init__(self, endpoint: str, tls: TlsMaterial | None, rest_after: float = REST_AFTER) -> None:
        """`endpoint` is host:port, IPv6 in brackets; without `tls` it is plain text; `rest_after` is in seconds."""
        self._endpoint = endpoint
        self._tls = tls
        self._rest_after = rest_after
        self._channel: Any = None
        self._calls: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._running = 0
        self._retired = False
        self._closed = threading.Event()
        self._used = time.monotonic()
        self._sees_to_rest = False

    def call(self, method: Method, request: Any, timeout: float, metadata: Metadata) -> Any:
        """Send once and wait at most `timeout` seconds. Raises CallFailed."""
        with self._in_use() as channel:
            call = self._calls.get(method.path)
            if call is None:
                call = channel.unary_unary(
                    method.path,
                    request_serializer=method.request.SerializeToString,
                    response_deserializer=method.response.FromString,
                )
                self._calls[method.path] = call
            return call(request, timeout=timeout, metadata=metadata)

    @contextlib.contextmanager
    def stream(self, method: Method, requests: Iterator[Any], timeout: float, metadata: Metadata) -> Iterator[Stream]:
        """A stream that lives at most `timeout` seconds; gRPC takes the requests in a thread of its own."""
        with self._in_use() as channel:
            open_stream = channel.stream_stream(
                method.path,
                request_serializer=method.request.SerializeToString,
                response_deserializer=method.response.FromString,
            )
            call = open_stream(requests, timeout=timeout, metadata=metadata)
            try:
                yield Stream(self._endpoint, call)
            finally:
                call.cancel()

    @contextlib.contextmanager
    def _in_use(self) -> Iterator[Any]:
        channel = self._taken()
        try:
            yield channel
        except grpc.RpcError as error:
            raise _failed(self._endpoint, error) from error
        except ValueError as error:  # gRPC's word for a closed channel; nothing was sent
            raise CallFailed(self._endpoint, Answer.RETIRED, f"{error}") from error
        finally:
            self._given_back()

    def _taken(self) -> Any:
        with self._lock:
            if self._closed.is_set():
                raise CallFailed(self._endpoint, Answer.RETIRED, "the channel is closed")
            if self._channel is None:
                self._channel = _opened(self._endpoint, self._tls)
            self._running += 1
            return self._channel

    def _given_back(self) -> None:
        with self._lock:
            self._running -= 1
            self._used = time.monotonic()
            last = self._retired and not self._running
            wanted = not (last or self._sees_to_rest or self._closed.is_set())
            self._sees_to_rest = self._sees_to_rest or wanted
        if last:
            self.close()
        elif wanted:
            threading.Thread(target=self._see_to_rest, daemon=True, name=f"rest {self._endpoint}").start()

    def _see_to_rest(self) -> None:
        """Wait until nobody has used it for long enough, and put it away; the next use starts this again."""
        wait = self._rest_after
        while not self._closed.wait(wait):
            with self._lock:
                wait = self._rest_after if self._running else self._used + self._rest_after - time.monotonic()
                if wait > 0:
                    continue
                self._sees_to_rest = False
                channel, self._channel, self._calls = self._channel, None, {}
            channel.close()
            return

    def retire(self) -> None:
        """Close it when what runs on it has ended; for other threads' sake nothing is cancelled."""
        with self._lock:
            self._retired = True
            idle = not self._running
        if idle:
            self.close()

    def close(self) -> None:
        """Cancel what runs and free the socket."""
        with self._lock:
            self._closed.set()
            channel = self._channel
        if channel is not None:
            with contextlib.suppress(ValueError):
                channel.close()


def _opened(endpoint: str, tls: TlsMaterial | None) -> Any:
    if tls is None:
        return grpc.insecure_channel(endpoint, _OPTIONS)
    credentials = grpc.ssl_channel_credentials(tls.roots, tls.key, tls.cert)
    return grpc.secure_channel(endpoint, credentials, _OPTIONS)


def _failed(endpoint: str, error: Any) -> CallFailed:
    code, text = error.code().name, error.details() or ""
    return CallFailed(endpoint, classify(code, text), text or code.lower())
