"""A proxy that counts requests and bytes as the server sees them, whatever the client believes it has sent.

One HTTP/1 request, one gRPC call: each counts once, a long poll or a stream as one. The writes among them are known by what
they carry.
"""

import threading

from tests.servers.proxy import LostAnswer, TcpProxy

_WRITES = (b'"gen"', b'"Verb": "set"', b'"Verb": "lock"', b'"Verb": "delete"')


class Counting(TcpProxy):
    """See the module."""

    def __init__(self, upstream: str) -> None:
        """Nothing counted yet."""
        super().__init__(upstream)
        self._counted, self._written = LostAnswer(b"", 0), LostAnswer(b"", 0)
        self._counting = threading.Lock()
        self.requests = 0
        self.writes = 0
        self.bytes = 0

    def take(self, request: bytes, seen: set[LostAnswer]) -> LostAnswer | None:
        """Called with what has arrived of a request; `seen` is that request's own."""
        with self._counting:
            if self._counted not in seen:
                seen.add(self._counted)
                self.requests += 1
            if self._written not in seen and any(mark in request for mark in _WRITES):
                seen.add(self._written)
                self.writes += 1
        return super().take(request, seen)

    def moved(self, size: int) -> None:
        """Both directions, with everything that the protocol puts around keys and values."""
        with self._counting:
            self.bytes += size
