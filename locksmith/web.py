"""One small HTTP server for pages that are made when they are asked for: on an address, or on a Unix socket.

The ideas a reader would miss. The standard library's server looks up its own name in the DNS when it binds and wakes twice
a second to see whether it should end; this one does neither. And nobody may hold it: a request has a few seconds from its
first byte to its last, however slowly it drips, and there are so many at a time and no more.
"""

import io
import logging
import os
import socket
import stat
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import TCPServer, ThreadingMixIn
from typing import Any, assert_never

from locksmith.config_model import Listen, TcpListen, UnixListen
from locksmith.errors import ConfigError

log = logging.getLogger(__name__)

PATIENCE = 5.0
"""Seconds for a whole request to arrive, and again for the answer to leave."""
AT_ONCE = 8
"""Requests answered at a time; a connection beyond that is closed at once."""
SOCKET_MODE = 0o660
_PROBE = 1.0
_END_WAIT = 5.0
_AFTER_ERROR = 1.0
_TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Page:
    """An answer."""

    body: bytes
    status: int = 200
    content_type: str = _TEXT


Pages = Mapping[str, Callable[[], Page]]
"""By path. Called in the thread of the request, several at a time."""


class Web:
    """The pages, at one address after the other. Any thread may call; nothing waits for a client."""

    def __init__(self, key: str, pages: Pages, patience: float = PATIENCE, other: str = 'write "" for off') -> None:
        """`key` is the configuration's, for errors; `patience` in seconds, see PATIENCE. Nothing listens yet.

        `other` is what else can be done about an address that is not to be had.
        """
        self._key = key
        self._other = other
        self._patience = patience
        self._pages = pages
        self._lock = threading.Lock()
        self._at: Listen | None = None
        self._open: _Open | None = None

    @property
    def address(self) -> str | None:
        """Where the pages are now, as an operator would write it; None: nowhere."""
        opened = self._open
        return opened.address if opened is not None else None

    def listen(self, at: Listen | None) -> None:
        """Serve there and nowhere else; None is off. Raises ConfigError: then it goes on where it was."""
        with self._lock:
            if at == self._at:
                return
            before = self._at
            self._close()  # the new address may contain the old one
            try:
                self._begin(at)
            except ConfigError:
                with suppress(ConfigError):
                    self._begin(before)
                raise

    def close(self) -> None:
        """Listen no longer; the address is free again. Requests under way end by themselves."""
        with self._lock:
            self._close()

    def _begin(self, at: Listen | None) -> None:
        if at is None:
            return
        try:
            self._open = _open(at, self._pages, self._patience)
        except OSError as error:
            problem = error.strerror or str(error)
            raise ConfigError(
                f"{self._key}: cannot listen on {_written(at)}: {problem.lower()}; end what uses it, give another address, "
                f"or {self._other}"
            ) from error
        self._at = at

    def _close(self) -> None:
        if self._open is not None:
            self._open.close()
        self._open, self._at = None, None


class _Request(BaseHTTPRequestHandler):
    """One connection, one request. HTTP/1.0, so that nobody keeps a thread for a next one."""

    server: "_Server"
    server_version, sys_version = "locksmith", ""

    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        self.rfile = io.BufferedReader(_UntilDeadline(self.connection, time.monotonic() + self.server.patience))

    def do_GET(self) -> None:
        """Answer with the page, or with which pages there are."""
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        """The same without the page."""
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        pages = self.server.pages
        make = pages.get(self.path.partition("?")[0])
        page = make() if make is not None else Page(f"there is {' and '.join(sorted(pages))}\n".encode(), 404)
        self.connection.settimeout(self.server.patience)
        self.send_response(page.status)
        self.send_header("Content-Type", page.content_type)
        self.send_header("Content-Length", str(len(page.body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if with_body:
            self.wfile.write(page.body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the standard library's name
        """Who looks at the metrics is not worth a line."""


class _UntilDeadline(io.RawIOBase):
    """Bytes from a connection until an instant of the monotonic clock; after that TimeoutError."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the request took too long")
        self._connection.settimeout(left)
        return self._connection.recv_into(buffer)


class _Server(ThreadingMixIn, TCPServer):
    """The standard library's, without its polling and with a limit."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 16

    def __init__(self, family: socket.AddressFamily, address: Any, pages: Pages, patience: float) -> None:
        """Makes the socket; neither binds nor listens."""
        self.address_family = family
        self.pages = pages
        self.patience = patience
        self._said = ""
        self._room = threading.BoundedSemaphore(AT_ONCE)
        self._closing = threading.Event()
        super().__init__(address, _Request, bind_and_activate=False)

    def serve(self) -> None:
        """Until `stop`. Sleeps in the kernel while nobody asks."""
        while not self._closing.is_set():
            self.handle_request()
        self.server_close()

    def stop(self) -> None:
        """Wakes `serve`, which then closes the socket."""
        self._closing.set()
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def get_request(self) -> tuple[socket.socket, Any]:
        try:
            return super().get_request()
        except OSError:
            # Out of files, say: the connection still waits, and asking again at once would spin.
            self._closing.wait(_AFTER_ERROR)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread could be started
            self._room.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Called with an exception under way: a client that left is nothing, everything else is a bug of ours."""
        del request, client_address
        error = sys.exception()
        # Whoever scrapes comes again every few seconds: the same bug is told once.
        known = isinstance(error, OSError) or repr(error) == self._said
        log.log(logging.DEBUG if known else logging.ERROR, "a request ended with an error", exc_info=error)
        if not known:
            self._said = repr(error)


@dataclass(frozen=True, slots=True)
class _Open:
    """A server that listens. `path` is its socket's file, `inode` says whether the file is still ours."""

    server: _Server
    thread: threading.Thread
    address: str
    path: Path | None = None
    inode: int = 0

    def close(self) -> None:
        self.server.stop()
        self.thread.join(_END_WAIT)
        if self.path is not None:
            with suppress(OSError):
                if self.path.lstat().st_ino == self.inode:
                    self.path.unlink()


def _open(at: Listen, pages: Pages, patience: float) -> _Open:
    """Bind and listen. Raises OSError."""
    match at:
        case TcpListen(host, port):
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            family, _, _, _, address = found[0]
            server = _listening(_Server(family, address, pages, patience))
            return _Open(server, _serving(server), _written(TcpListen(host, server.socket.getsockname()[1])))
        case UnixListen(path):
            return _open_socket_file(path, pages, patience)
        case _:
            assert_never(at)


def _open_socket_file(path: Path, pages: Pages, patience: float) -> _Open:
    """Made under another name and moved there, so that it never stands there with the wrong rights or without a server."""
    _must_be_free(path)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    new.unlink(missing_ok=True)
    try:
        server = _Server(socket.AF_UNIX, str(new), pages, patience)
        _listening(server, before=lambda: new.chmod(SOCKET_MODE))
        try:
            inode = new.lstat().st_ino
            new.replace(path)
        except OSError:
            server.server_close()
            raise
    except OSError:
        new.unlink(missing_ok=True)
        raise
    return _Open(server, _serving(server), _written(UnixListen(path)), path, inode)


def _must_be_free(path: Path) -> None:
    """Nothing, or a socket that nobody listens on any more. Raises OSError: no other file is ever replaced."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError(f"{path} is no socket, and nothing else is replaced")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return
    raise OSError(f"another process answers on {path}")


def _listening(server: _Server, before: Callable[[], None] = lambda: None) -> _Server:
    """Bind, do `before`, listen; on an error nothing stays open. Raises OSError."""
    try:
        server.server_bind()
        before()
        server.server_activate()
    except OSError:
        server.server_close()
        raise
    return server


def _serving(server: _Server) -> threading.Thread:
    thread = threading.Thread(target=server.serve, daemon=True, name="web")
    thread.start()
    return thread


def _written(at: Listen) -> str:
    match at:
        case TcpListen(host, port):
            return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        case UnixListen(path):
            return f"unix:{path}"
        case _:
            assert_never(at)
