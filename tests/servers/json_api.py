"""What the stand-ins of HTTP APIs have in common: a threaded server on loopback (TCP, TLS) or on a Unix socket.

A stand-in says in `answer` what it would say; here are only the wire, the record of what was asked, and the faults:
answers that are wrong for a while, and none at all.
"""

import json
import socket
import socketserver
import ssl
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True, slots=True)
class Asked:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any = None

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(frozen=True, slots=True)
class Said:
    status: int
    document: Any = None
    headers: dict[str, str] = field(default_factory=dict)


class JsonApi:
    """Use it as a context. `asked` is every request, in order."""

    def __init__(self, *, unix: Path | None = None, context: ssl.SSLContext | None = None) -> None:
        self.asked: list[Asked] = []
        self.lock = threading.RLock()
        self.silent = threading.Event()
        """While it is set, requests are read and not answered."""
        self._faults: list[tuple[str, Said]] = []
        self._ended = threading.Event()
        self._unix = unix
        self._context = context
        self._server = _server(self, unix, context)

    def answer(self, asked: Asked) -> Said:
        raise NotImplementedError

    def fault(self, start: str, status: int, times: int = 1, document: Any = None) -> None:
        """Say this instead, to that many requests that begin so (`GET /api`); a space at the end stands for the end."""
        self._faults += [(start, Said(status, document))] * times

    @property
    def url(self) -> str:
        return f"{'https' if self._context else 'http'}://127.0.0.1:{self._server.server_address[1]}"

    def lines(self, *methods: str) -> list[str]:
        return [str(each) for each in self.asked if not methods or each.method in methods]

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()

    def respond(self, asked: Asked) -> Said | None:
        with self.lock:
            self.asked.append(asked)
        if self.silent.is_set():
            self._ended.wait(60)
            return None
        with self.lock:
            for fault in self._faults:
                if f"{asked} ".startswith(fault[0]):
                    self._faults.remove(fault)
                    return fault[1]
        return self.answer(asked)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    api: JsonApi

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        raw = self.rfile.read(length) if length else b""
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = json.loads(raw) if raw else None
        said = self.api.respond(Asked(self.command, parts.path, dict(parse_qsl(parts.query)), headers, body))
        if said is None:
            self.close_connection = True
            return
        data = b"" if said.document is None else json.dumps(said.document).encode()
        self.send_response(said.status)
        for name, value in {"Content-Type": "application/json", **said.headers}.items():
            self.send_header(name, value)
        if said.status not in (204, 304):
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if said.status not in (204, 304):
            self.wfile.write(data)

    do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815 - the names are http.server's

    def address_string(self) -> str:
        return "test"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is http.server's
        pass


class _Tcp(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is the client's right."""


class _Tls(_Tcp):
    context: ssl.SSLContext

    def finish_request(self, request: Any, client_address: Any) -> None:
        with self.context.wrap_socket(request, server_side=True) as wrapped:
            super().finish_request(wrapped, client_address)


class _Unix(_Tcp):
    address_family = socket.AF_UNIX


def _server(api: JsonApi, unix: Path | None, context: ssl.SSLContext | None) -> _Tcp:
    handler = type("Handler", (_Handler,), {"api": api})
    if unix is not None:
        return _Unix(str(unix), handler)
    if context is not None:
        return type("Tls", (_Tls,), {"context": context})(("127.0.0.1", 0), handler)
    return _Tcp(("127.0.0.1", 0), handler)
