"""A TCP proxy on loopback that can cut, delay, swallow, and lose exactly one answer after the server gave it.

The lost answer is the point. That the server applied a write shows in its answer, so the proxy lets the request
through, waits for the first bytes of the answer *to that request*, drops them and resets the client's connection.
For HTTP/1 these are the next bytes from upstream. In HTTP/2 they may be a ping or another call's answer, so frames are
read, and only HEADERS or DATA on the request's own stream count. The proxy sees nothing inside TLS.
"""

import contextlib
import enum
import socket
import struct
import threading
from typing import Self

from tests.servers.http2 import DATA, HEADERS, PREFACE, FrameReader
from tests.servers.process import AddressInUse, free_port

_CHUNK = 65_536
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_CONNECT_SECONDS = 10
_JOIN_SECONDS = 10


class _Mode(enum.Enum):
    PASS = "pass"
    CUT = "cut"
    BLACK_HOLE = "black-hole"


class LostAnswer:
    """An order to lose the answer to one request; `wait` tells whether it was carried out."""

    def __init__(self, containing: bytes, skip: int) -> None:
        """`skip` matching requests are let through first."""
        self.containing = containing
        self._skip = skip
        self._lost = threading.Event()

    @property
    def lost(self) -> bool:
        """Whether the answer has been lost."""
        return self._lost.is_set()

    def wait(self, timeout: float = 30) -> bool:
        """Whether the answer has been lost, after waiting up to `timeout` seconds."""
        return self._lost.wait(timeout)

    def count(self) -> bool:
        """A matching request passes: whether it is the one. The proxy's lock is held."""
        self._skip -= 1
        return self._skip < 0

    def carried_out(self) -> None:
        """The answer is lost."""
        self._lost.set()


class TcpProxy:
    """Stands before one `host:port`; clients connect to `endpoint`, which stays the same over all switches."""

    def __init__(self, upstream: str, address: str = "127.0.0.1") -> None:
        """Listen on `address` and pass."""
        host, _, port = upstream.rpartition(":")
        self.upstream = (host, int(port))
        self.lock = threading.Lock()
        self.seconds = 0.0
        self.connections = 0
        self._mode = _Mode.PASS
        self._orders: list[LostAnswer] = []
        self._links: list[_Link] = []
        self._listener = _bound(address)
        self._address = f"{address}:{self._listener.getsockname()[1]}"
        self._acceptor = self._accept()

    def __enter__(self) -> Self:
        """The running proxy."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    @property
    def endpoint(self) -> str:
        """`address:port` for clients."""
        return self._address

    @property
    def swallows(self) -> bool:
        """Whether bytes go nowhere at the moment."""
        return self._mode is _Mode.BLACK_HOLE

    def pass_all(self) -> None:
        """Back to normal: no delay, no orders; connections that lost bytes meanwhile are reset."""
        with self.lock:
            self.seconds = 0.0
            self._orders.clear()
        self._switch(_Mode.PASS)

    def cut(self) -> None:
        """Reset every connection and refuse new ones."""
        self._switch(_Mode.CUT)

    def black_hole(self) -> None:
        """Accept connections and keep those there are; nothing gets through in either direction."""
        self._switch(_Mode.BLACK_HOLE)

    def delay(self, seconds: float) -> None:
        """Hold every chunk from the server back for this long."""
        with self.lock:
            self.seconds = seconds

    def lose_next_answer(self, containing: bytes = b"", *, skip: int = 0) -> LostAnswer:
        """Lose the answer to the next request that holds `containing`, after letting `skip` such requests pass.

        A gRPC request holds keys and values as they are; Consul's transactions hold keys as they are and values in
        base64. Empty matches every request; a message on an open stream, such as a keepalive, is a request too.
        """
        order = LostAnswer(containing, skip)
        with self.lock:
            self._orders.append(order)
        return order

    def reset_connections(self) -> None:
        """Reset every connection now; new ones are as before."""
        with self.lock:
            links, self._links = self._links, []
        for link in links:
            link.reset()

    def close(self) -> None:
        """Refuse, reset every connection, wait for the threads."""
        self._switch(_Mode.CUT)
        self._listener.close()

    def take(self, request: bytes, seen: set[LostAnswer]) -> LostAnswer | None:
        """The order that this request is the one for; `seen` holds the orders that counted it already."""
        with self.lock:
            for order in self._orders:
                if order in seen or order.containing not in request:
                    continue
                seen.add(order)
                if order.count():
                    self._orders.remove(order)
                    return order
        return None

    def moved(self, size: int) -> None:
        """So many bytes are passed on, in either direction; for who counts them."""

    def _switch(self, mode: _Mode) -> None:
        with self.lock:
            before, self._mode = self._mode, mode
            spoiled = [link for link in self._links if link.spoiled]
        if mode is _Mode.CUT and before is not _Mode.CUT:
            # on Linux this ends listening and keeps the port: connecting is refused, and nobody else gets it
            self._listener.shutdown(socket.SHUT_RDWR)
            self._acceptor.join(_JOIN_SECONDS)
            self.reset_connections()
        elif before is _Mode.CUT and mode is not _Mode.CUT:
            self._acceptor = self._accept()
        if mode is _Mode.PASS:
            for link in spoiled:
                link.reset()

    def _accept(self) -> threading.Thread:
        self._listener.listen(512)
        thread = threading.Thread(target=self._accept_loop, name=f"proxy-{self._address}", daemon=True)
        thread.start()
        return thread

    def _accept_loop(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            link = _Link(self, client)
            with self.lock:
                self.connections += 1
                self._links = [one for one in self._links if not one.ended.is_set()] + [link]
            link.start()


class _Link:
    """One client's connection and ours to the server; two threads, the last of which closes both sockets."""

    def __init__(self, proxy: TcpProxy, client: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._server = socket.socket()
        self._threads: list[threading.Thread] = []
        self._running = 2
        self._hurry = threading.Event()
        self._requests = _Requests(proxy)
        self.ended = threading.Event()
        self.spoiled = False  # bytes were swallowed: nothing sensible can follow

    def start(self) -> None:
        self._client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for target in (self._up, self._down):
            self._threads.append(threading.Thread(target=target, name=target.__name__, daemon=True))
        self._threads[0].start()

    def reset(self) -> None:
        """Close with a reset instead of an end of file; waits for the threads unless one of them asks."""
        self._hurry.set()
        with contextlib.suppress(OSError):
            self._client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        for end in (self._client, self._server):
            with contextlib.suppress(OSError):
                # wakes whoever waits; towards the client nothing may go out before the reset
                end.shutdown(socket.SHUT_RD if end is self._client else socket.SHUT_RDWR)
        if threading.current_thread() not in self._threads:
            self.ended.wait(_JOIN_SECONDS)

    def _up(self) -> None:
        """Client to server."""
        try:
            self._server.settimeout(_CONNECT_SECONDS)
            self._server.connect(self._proxy.upstream)
            self._server.settimeout(None)
        except OSError:
            self._running = 1
            self.reset()
            self._finish()
            return
        self._threads[1].start()
        with contextlib.suppress(OSError):
            while chunk := self._client.recv(_CHUNK):
                if self._proxy.swallows:
                    self.spoiled = True
                    continue
                self._requests.sent(chunk)  # before the server has it, so that no answer can be earlier
                self._server.sendall(chunk)
                self._proxy.moved(len(chunk))
            self._server.shutdown(socket.SHUT_WR)
        self._finish()

    def _down(self) -> None:
        """Server to client."""
        with contextlib.suppress(OSError):
            while chunk := self._server.recv(_CHUNK):
                self._hurry.wait(self._proxy.seconds)
                if self._proxy.swallows:
                    self.spoiled = True
                    continue
                if order := self._requests.answered(chunk):
                    self.reset()
                    order.carried_out()
                    break
                self._client.sendall(chunk)
                self._proxy.moved(len(chunk))
            if self._proxy.swallows:
                self.spoiled = True
            elif not self._hurry.is_set():
                self._client.shutdown(socket.SHUT_WR)
        self._finish()

    def _finish(self) -> None:
        with self._proxy.lock:
            self._running -= 1
            last = self._running == 0
        if last:
            self._client.close()
            self._server.close()
            self.ended.set()


class _Requests:
    """Which requests of one connection wait for an answer that is to be lost."""

    def __init__(self, proxy: TcpProxy) -> None:
        self._proxy = proxy
        self._lock = threading.Lock()
        self._start = b""
        self._up: FrameReader | None = None
        self._down = FrameReader()
        self._request = b""  # HTTP/1: since the last answer; HTTP/2: of the frame that is passing
        self._seen: dict[int, set[LostAnswer]] = {}
        self._awaited: dict[int, LostAnswer] = {}

    def sent(self, chunk: bytes) -> None:
        """The client sends these bytes."""
        with self._lock:
            if len(self._start) < len(PREFACE):
                self._start += chunk
                if self._start.startswith(PREFACE):
                    self._up = FrameReader(skip=len(PREFACE))
                    chunk = self._start
            if self._up is None:
                self._request = (self._request + chunk)[-2 * _CHUNK :]
                self._look(0)
                return
            for piece in self._up.feed(chunk):
                if piece.kind == DATA:
                    self._request = b"" if piece.first else self._request + piece.payload
                    if piece.payload:
                        self._look(piece.stream)

    def answered(self, chunk: bytes) -> LostAnswer | None:
        """The server sends these bytes: the order to lose them, if they begin an awaited answer."""
        with self._lock:
            if self._up is None:
                self._request = b""
                self._seen.clear()
                return self._awaited.pop(0, None)
            for piece in self._down.feed(chunk):
                if piece.kind in (DATA, HEADERS) and piece.first and piece.stream in self._awaited:
                    return self._awaited.pop(piece.stream)
            return None

    def _look(self, stream: int) -> None:
        order = self._proxy.take(self._request, self._seen.setdefault(stream, set()))
        if order is not None:
            self._awaited[stream] = order


def _bound(address: str) -> socket.socket:
    for _ in range(20):
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((address, free_port()))
        except OSError:
            listener.close()
            continue
        return listener
    raise AddressInUse(f"no port of {address} could be bound: end what holds them")
