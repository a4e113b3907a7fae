"""Watching one key of etcd: a stream from the revision after the one that was read, on one endpoint after another.

The one idea a reader would miss: a member that hangs keeps its streams open and silent, and gRPC's keepalive does not
always notice. So the stream is asked for its progress every few seconds, and when nothing at all comes back the next
endpoint is watched. The revision in such an answer is never used: etcd 3.4 may send it before older events.
"""

import threading
import time
from collections.abc import Iterator
from typing import Any

from locksmith.stores import etcd_rpc_pb2 as rpc
from locksmith.stores.etcd_answers import Answer, CallFailed, classify, refusal
from locksmith.stores.etcd_channel import RANGE, WATCH, Stream
from locksmith.stores.etcd_client import EtcdClient, Sending, metadata
from locksmith.stores.etcd_endpoints import ROTATING, Endpoint

PULSE = 5.0
"""Seconds between two questions for progress; twice this is the longest that a hung member goes unnoticed."""


def watch(client: EtcdClient, key: bytes, after: int, timeout: float) -> bool:
    """Wait at most `timeout` seconds until the key is not at mod `after` any more; see Store.watch."""
    deadline = time.monotonic() + timeout
    tour = client.tour(client.timeout)
    renewed, start = 0, after + 1
    while not client.closed and (left := deadline - time.monotonic()) > 0:
        endpoint, share = tour.next()
        attempt = _Attempt(key, start, patience=share)
        token: str | None = None
        try:
            token = client.token(endpoint, share)
            return attempt.run(client, endpoint, token, left)
        except _Compacted:
            # A key that nobody touches outlives its history. Saying "read again" each time would spin.
            item = client.call(RANGE, rpc.RangeRequest(key=key), Sending.READ)
            if [kv.mod_revision for kv in item.kvs] != [after]:
                return True
            tour, start = client.tour(client.timeout), item.header.revision + 1
        except CallFailed as failure:
            if client.closed or time.monotonic() >= deadline:
                break
            # etcd 3.4 says "permission denied" to a watch with a token that it does not know
            answer = Answer.TOKEN_UNKNOWN if failure.answer is Answer.NO_RIGHT else failure.answer
            if client.renew(answer, token, renewed):
                tour, renewed = client.tour(client.timeout), renewed + 1
                continue
            if failure.answer not in ROTATING:
                raise refusal(failure) from failure
            if attempt.established:
                # It served, so its time begins anew; not at once, or members that drop every stream would be hammered.
                client.rest(deadline - time.monotonic())
                tour, renewed = client.tour(client.timeout), 0
            tour.failed(endpoint, failure)
    return False


class _Compacted(Exception):
    """The history that was asked for is gone."""


class _Attempt:
    """One stream on one endpoint."""

    def __init__(self, key: bytes, start: int, patience: float) -> None:
        self.established = False
        self._start = start
        self._create = rpc.WatchRequest(create_request=rpc.WatchCreateRequest(key=key, start_revision=start))
        self._patience = patience
        self._finished = threading.Event()
        self._heard = False
        self._silent = False
        self._stream: Stream | None = None

    def run(self, client: EtcdClient, endpoint: Endpoint, token: str | None, timeout: float) -> bool:
        """True when the key has changed. Raises _Compacted, and CallFailed for everything else that ends it."""
        try:
            with endpoint.channel.stream(WATCH, self._requests(), timeout, metadata(token)) as self._stream:
                for response in self._stream:
                    client.identify(endpoint, response)
                    self._heard = True
                    if self._tells_a_change(endpoint, response):
                        return True
                    self.established = True
        except CallFailed as failure:
            if self._silent:
                raise CallFailed(endpoint.name, Answer.LOST, "the watch is not answered any more") from failure
            raise
        finally:
            self._finished.set()
        return False

    def _requests(self) -> Iterator[Any]:
        """What gRPC sends, from a thread of its own: the watch, then the pulse."""
        yield self._create
        patience = self._patience
        while not self._finished.wait(patience):
            if not self._heard:
                self._silent = True
                if self._stream is not None:
                    self._stream.cancel()
                return
            self._heard, patience = False, PULSE
            yield rpc.WatchRequest(progress_request=rpc.WatchProgressRequest())

    def _tells_a_change(self, endpoint: Endpoint, response: Any) -> bool:
        if response.events:
            return True
        if response.compact_revision:
            raise _Compacted
        if response.canceled:
            reason = response.cancel_reason or "the watch was cancelled"
            raise CallFailed(endpoint.name, classify("CANCELLED", reason), reason)
        # A store younger than what we have read was restored: our revision may be long in its future.
        return bool(response.created and response.header.revision < self._start - 1)
