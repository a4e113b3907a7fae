"""The door to HTTP for everything but the stores: one request, one answer or the reason why there is none.

The ideas a reader would miss. There is *one* time limit, for the look-up, the connection, TLS, the request, the headers and
the whole body together, and one for the size, so that no server can hold a caller or fill its memory. An answer of whatever
status is a `Response`: a redirect is a status as any other, and is not followed. No reason holds a secret: it names the host,
never the rest of the URL. Nothing is tried again, and the environment's proxies do not count.

It stands on `http.client` and not, as the Consul store does, on urllib3, whose pools, retries and redirects would only have
to be turned off.
"""

import contextlib
import http.client
import json
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from locksmith.core.durations import format_duration
from locksmith.host import tls as files
from locksmith.host.addresses import Address, address_of, url_of
from locksmith.host.dialling import Limited, LimitedTls, connected, limit, missed
from locksmith.host.tls import NO_FILES, Tls

__all__ = [
    "NO_FILES",
    "Address",
    "Failed",
    "Kind",
    "Request",
    "Response",
    "Tls",
    "address_of",
    "deadline_of",
    "decoded",
    "fetch",
    "url_of",
]

MAX_BYTES = 4 * 1024 * 1024
"""Of a body, where the request does not say."""
_PIECE = 64 * 1024
_FRAMING = 1024 * 1024
"""Bytes for headers and the lines between the pieces of a body, beyond what the body may have."""

Kind = Literal[
    "url", "absent", "lookup", "refused", "denied", "unreachable", "timeout", "tls", "credentials", "protocol", "lost"
]


@dataclass(frozen=True, slots=True)
class Request:
    """What to ask. `url` is http or https; a user and password in it are sent as basic authentication.

    `timeout` is for everything. With `unix` that socket is spoken to, and the URL only gives path and Host. `max_bytes` of
    the body are read. Redirects are never followed.
    """

    url: str = field(repr=False)
    timeout: timedelta
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    unix: Path | None = None
    tls: Tls = NO_FILES
    max_bytes: int = MAX_BYTES


@dataclass(frozen=True, slots=True)
class Response:
    """An answer of whatever status. Header names are in lower case; `truncated`: the body is longer than was asked for."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class Failed:
    """No answer. `reason` names the host and, where there is one, the remedy; it holds no secret.

    `url`: it cannot be used. `absent`: no such Unix socket. `credentials`: a file of `Tls` cannot be used. `protocol`: what
    came is no HTTP. `lost`: the connection ended within the answer. The rest say what they are. After `url`, `absent`,
    `lookup`, `refused`, `denied`, `unreachable` and `credentials` the request has surely not been sent.
    """

    kind: Kind
    reason: str


def fetch(request: Request, deadline: float | None = None) -> Response | Failed:
    """Ask once. Comes back within the request's time; raises nothing for what a host or a server can do wrong.

    `deadline` is for several requests that share one time limit, see `deadline_of`: it takes the place of the request's own,
    which is then the one that reasons name.
    """
    deadline = deadline_of(request.timeout) if deadline is None else deadline
    try:
        address = address_of(request.url)
    except ValueError as error:
        return Failed("url", str(error))
    where = f"unix:{request.unix}" if request.unix is not None else address.authority
    try:
        headers = _headers(request, address)
        context = files.context(request.tls) if address.tls and request.unix is None else None
    except files.FilesUnusable as error:
        return Failed("credentials", f"{where}: {error}")
    line = _Line(address.host, address.port)
    try:
        try:
            _connect(line, request, address, context, deadline)
        except (OSError, ValueError) as error:
            return _unmade(error, where, request)
        return _exchange(line, request, address, headers)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return _broken(error, where, request)
    finally:
        line.close()


def deadline_of(timeout: timedelta) -> float:
    """When a time limit that begins now is over, on the monotonic clock."""
    return time.monotonic() + timeout.total_seconds()


def decoded(response: Response) -> Any:
    """The body as JSON. Raises ValueError, also for a truncated one and for one that is nested beyond reason."""
    if response.truncated:
        raise ValueError(f"the answer is longer than {len(response.body)} bytes")
    try:
        return json.loads(response.body)
    except RecursionError:
        raise ValueError("the answer is nested too deeply") from None
    except ValueError:
        raise ValueError("the answer is not JSON") from None


class _Crowded(http.client.HTTPException):
    """More bytes came than the body's size explains."""


class _Metered:
    """What both kinds of socket here have in common: a deadline for sending, too, and a count of what is received."""

    deadline: float | None
    budget: int

    def _count(self, received: int) -> int:
        self.budget -= received
        if self.budget < 0:
            raise _Crowded
        return received


class _Plain(_Metered, Limited):
    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        return self._count(super().recv_into(*args, **kwargs))

    def sendall(self, *args: Any) -> None:
        limit(self, self.deadline)
        super().sendall(*args)


class _Tls(_Metered, LimitedTls):
    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        return self._count(super().recv_into(*args, **kwargs))

    def send(self, *args: Any) -> int:
        """The module `ssl` sends everything through here, in pieces."""
        limit(self, self.deadline)
        return super().send(*args)


class _Line(http.client.HTTPConnection):
    """http.client on a socket that is connected before."""

    auto_open = 0


def _headers(request: Request, address: Address) -> dict[str, str]:
    headers = dict(request.headers)
    given = {name.lower() for name in headers}
    if "authorization" not in given:
        word = files.token(request.tls)
        if word is not None:
            headers["Authorization"] = f"Bearer {word}"
        elif address.basic is not None:
            headers["Authorization"] = address.basic
    if "host" not in given:
        headers["Host"] = address.authority
    headers.setdefault("Connection", "close")
    return headers


def _connect(line: _Line, request: Request, address: Address, context: ssl.SSLContext | None, deadline: float) -> None:
    made: Any = _unix(request.unix, deadline) if request.unix is not None else _tcp(address, deadline)
    try:
        if context is not None:
            limit(made, deadline)
            context.sslsocket_class = _Tls
            made = context.wrap_socket(made, server_hostname=address.host)
    except BaseException:
        made.close()
        raise
    made.deadline = deadline
    made.budget = request.max_bytes * 2 + _FRAMING
    line.sock = made


def _tcp(address: Address, deadline: float) -> _Plain:
    made = connected(address.host, address.port, max(deadline - time.monotonic(), 0.001))
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return _Plain(made.family, made.type, made.proto, made.detach())


def _unix(path: Path, deadline: float) -> _Plain:
    made = _Plain(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        limit(made, deadline)
        made.connect(str(path))
    except BaseException:
        made.close()
        raise
    return made


def _exchange(line: _Line, request: Request, address: Address, headers: Mapping[str, str]) -> Response:
    # When the server has closed, what it said before (a refusal, an alert) may be there to be read.
    with contextlib.suppress(ssl.SSLEOFError, ConnectionError):
        line.request(request.method, address.target, request.body or None, dict(headers))
    answer = line.getresponse()
    body = bytearray()
    while len(body) <= request.max_bytes and (piece := answer.read(min(_PIECE, request.max_bytes + 1 - len(body)))):
        body += piece
    truncated = len(body) > request.max_bytes
    if not truncated and answer.length:  # http.client says nothing when a body of known length is cut
        raise http.client.IncompleteRead(b"", answer.length)
    merged: dict[str, str] = {}
    for name, value in answer.getheaders():
        key = name.lower()
        merged[key] = f"{merged[key]}, {value}" if key in merged else value
    return Response(answer.status, merged, bytes(body[: request.max_bytes]), truncated)


def _unmade(error: OSError | ValueError, where: str, request: Request) -> Failed:
    """Why there is no connection."""
    match error:
        case ssl.SSLEOFError() | ssl.SSLZeroReturnError() | ConnectionResetError() | BrokenPipeError():
            return Failed("tls", f"{where}: connection lost within the TLS handshake; check that the port speaks TLS")
        case ssl.SSLError():
            return Failed("tls", f"{where}: {files.explained(error, request.tls.trusting(), plain='http://')}")
        case TimeoutError():
            return Failed("timeout", _late(where, request))
        case OSError():
            kind, text = missed(error)
            return Failed(kind, f"{where}: {text}")
        case _:
            return Failed("url", f"{where}: no host name that can be asked for")


def _broken(error: Exception, where: str, request: Request) -> Failed:
    """Why there is no answer although there was a connection. Texts of http.client may hold the URL: they are not shown."""
    match error:
        case ssl.SSLEOFError() | ssl.SSLZeroReturnError():
            return Failed("lost", f"{where}: connection lost before the answer was complete")
        case ssl.SSLError():
            return Failed("tls", f"{where}: {files.explained(error, request.tls.trusting(), plain='http://')}")
        case TimeoutError():
            return Failed("timeout", _late(where, request))
        case OSError() | http.client.IncompleteRead():  # RemoteDisconnected is one, too
            return Failed("lost", f"{where}: connection lost before the answer was complete")
        case _:
            return Failed("protocol", f"{where}: the answer is not HTTP ({type(error).__name__})")


def _late(where: str, request: Request) -> str:
    return f"{where}: no answer within the time limit of {format_duration(request.timeout)}"
