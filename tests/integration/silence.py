"""Servers that misbehave in a way that the real ones cannot be brought to: one falls silent, one asks for fewer requests."""

import contextlib
import http.server
import threading
from collections.abc import Iterator

from tests.servers.proxy import LostAnswer, TcpProxy

FOR_EVER = 3600.0


class Silencing(TcpProxy):
    """Lets one request through to the server, which applies it, and from then on keeps every answer to itself."""

    def __init__(self, upstream: str) -> None:
        """Everything passes until `fall_silent_after`."""
        super().__init__(upstream)
        self._word: bytes | None = None
        self._skip = 0
        self._counted: list[set[LostAnswer]] = []
        self.silent = threading.Event()

    def fall_silent_after(self, containing: bytes, *, skip: int = 0) -> None:
        """Name the request; `skip` such requests are answered before."""
        self._word, self._skip = containing, skip

    def take(self, request: bytes, seen: set[LostAnswer]) -> LostAnswer | None:
        """Called with each request before the server has it, perhaps more than once as it arrives in pieces."""
        if self._word is not None and self._word in request and not any(seen is one for one in self._counted):
            self._counted.append(seen)
            self._skip -= 1
            if self._skip < 0:
                self.seconds = FOR_EVER
                self.silent.set()
        return super().take(request, seen)


class _TooMany(http.server.BaseHTTPRequestHandler):
    """Answers everything with 429."""

    def _refuse(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        text = b"rate limit exceeded"
        self.send_response(429)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_PUT = _refuse  # noqa: N815 - names that http.server asks for

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextlib.contextmanager
def too_many_requests() -> Iterator[str]:
    """An HTTP server that answers 429 to all; its `127.0.0.1:port`.

    Consul 1.8.7 has no limit that answers so: above `http_max_conns_per_client` it resets the connection.
    """
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _TooMany)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
