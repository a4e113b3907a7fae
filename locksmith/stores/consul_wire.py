"""The wire to one Consul endpoint: its socket, its TLS, and the adapter that py-consul's requests session sends through.

Two things that requests cannot do by itself, and why this module exists. Its time-out starts anew with every packet; here
it is a limit for the whole answer, so that a server which trickles cannot hold a call for ever. And it cannot say whether
a request may have left: here *everything* that fails before the connection stands (name, TCP, TLS) is a
`NewConnectionError` with its cause, so that only such a commit may go to another endpoint.
"""

import re
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, HTTPError, MaxRetryError, NewConnectionError, ReadTimeoutError

from locksmith.errors import TlsFailed, Unavailable
from locksmith.host.dialling import Limited, LimitedTls, connected
from locksmith.host.tls import explained, refused_us
from locksmith.stores.consul_answers import Fate, Trouble

FAILURES = (requests.RequestException, HTTPError)
"""What a request raises when there is no answer."""
_PORT, _TLS_PORT = 8500, 8501
_CONNECT_SECONDS = 5.0
"""Where nobody has said how long: that does not happen."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where one server or client agent listens; `path` is set for a Unix socket."""

    host: str
    port: int
    path: str | None = None

    @classmethod
    def parse(cls, text: str, *, tls: bool) -> "Endpoint":
        """`host`, `host:port`, `[ipv6]` or `[ipv6]:port`. Raises ValueError."""
        found = re.fullmatch(r"(?:\[(?P<six>[^\]]+)\]|(?P<host>[^:\[\]]+))(?::(?P<port>\d+))?", text)
        if found is None:
            raise ValueError(f"{text!r} is no host:port; an IPv6 address stands in brackets")
        port = found["port"] or (_TLS_PORT if tls else _PORT)
        return cls(found["six"] or found["host"], int(port))

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class _Dialled(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        """urllib3's own waits for the name as long as the resolver likes, and gives each address all of the time."""
        try:
            return connected(self.host, self.port, _seconds(self) or _CONNECT_SECONDS, self.socket_options or ())
        except OSError as error:
            raise NewConnectionError(self, str(error)) from error


class _Plain(_Dialled):
    def _new_conn(self) -> socket.socket:
        made = super()._new_conn()
        return Limited(made.family, made.type, made.proto, made.detach())

    def getresponse(self) -> Any:
        _start(self)
        return super().getresponse()


class _Unix(_Plain):
    path = ""

    def _new_conn(self) -> socket.socket:
        made = Limited(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            made.settimeout(_seconds(self))
            made.connect(self.path)
        except OSError as error:
            made.close()
            raise NewConnectionError(self, str(error)) from error
        return made


class _Tls(_Dialled, HTTPSConnection):
    def connect(self) -> None:
        try:
            super().connect()
        except OSError as error:  # a reset, a time-out or a certificate inside the handshake: no request has left
            raise NewConnectionError(self, str(error)) from error

    def send(self, data: Any) -> None:
        """With TLS 1.3 a server looks at our certificate after the handshake: its refusal may be there, not read yet."""
        try:
            super().send(data)
        except (ssl.SSLEOFError, ConnectionError):
            if self.sock is not None:
                self.sock.recv(1)  # raises the alert that tells why
            raise

    def getresponse(self) -> Any:
        _start(self)
        return super().getresponse()


def _seconds(connection: HTTPConnection) -> float | None:
    return connection.timeout if isinstance(connection.timeout, int | float) else None


def _start(connection: HTTPConnection) -> None:
    """The request has left, and urllib3 has set what remains of its time: the clock of the answer runs from now."""
    seconds = _seconds(connection)
    if isinstance(connection.sock, Limited | LimitedTls) and seconds is not None:
        connection.sock.deadline = time.monotonic() + seconds


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Plain


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _Tls


def _pool(endpoint: Endpoint, context: ssl.SSLContext | None) -> HTTPConnectionPool:
    if endpoint.path is not None:
        pool = HTTPConnectionPool(endpoint.host, endpoint.port, maxsize=1)
        pool.ConnectionCls = type("_UnixAt", (_Unix,), {"path": endpoint.path})
        return pool
    if context is None:
        return _PlainPool(endpoint.host, endpoint.port, maxsize=1)
    context.sslsocket_class = LimitedTls
    return _TlsPool(endpoint.host, endpoint.port, maxsize=1, ssl_context=context)


class Wire(HTTPAdapter):
    """One connection to one endpoint, under our own TLS context: never requests' bundled one, and no proxies."""

    def __init__(self, endpoint: Endpoint, context: ssl.SSLContext | None, connect_seconds: float) -> None:
        """`connect_seconds` bounds name, TCP and TLS; what a call has left bounds it further."""
        super().__init__()
        self._pool = _pool(endpoint, context)
        self._connect_seconds = connect_seconds

    def get_connection_with_tls_context(self, *_args: object, **_kwargs: object) -> HTTPConnectionPool:
        """Always the same one."""
        return self._pool

    def cert_verify(self, *_args: object, **_kwargs: object) -> None:
        """The context has all of it; requests would add its own certificate authorities to ours."""

    def send(  # noqa: PLR0913, PLR0917 - the signature is that of requests
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: bool | str = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Send within `timeout` seconds in all, connecting included."""
        limit: Any = Timeout(total=timeout, connect=min(timeout, self._connect_seconds))
        return super().send(request, stream, limit, verify, cert, proxies)

    def close(self) -> None:
        """Close the connection."""
        self._pool.close()
        super().close()


def trouble(error: Exception, endpoint: Endpoint, files: str) -> Trouble:
    """What a request without an answer means; `files` are the options to look at when TLS fails."""
    inner = error.args[0] if error.args else None
    reason = inner.reason if isinstance(inner, MaxRetryError) else None
    # Only what requests says in its own words is read here: a chain of contexts could lead into the caller's errors.
    if isinstance(reason, NewConnectionError | ConnectTimeoutError):
        cause = reason.__cause__
        if isinstance(cause, ssl.SSLError):
            return Trouble(Fate.UNMADE, TlsFailed(_tls_text(cause, endpoint, files)))
        text = cause.strerror if isinstance(cause, OSError) and cause.strerror else "no connection within the time"
        return Trouble(Fate.UNMADE, Unavailable(f"{endpoint}: {text.lower()}"))
    for each in _wrapped(error):
        if isinstance(each, ssl.SSLError) and refused_us(each):
            return Trouble(Fate.REFUSED, TlsFailed(_tls_text(each, endpoint, files)))
    if any(isinstance(each, TimeoutError | ReadTimeoutError | requests.Timeout) for each in _wrapped(error)):
        return Trouble(Fate.OPEN, Unavailable(f"{endpoint}: no answer within the time"))
    return Trouble(Fate.OPEN, Unavailable(f"{endpoint}: connection lost ({type(error).__name__})"), cut=True)


def _wrapped(error: BaseException) -> Iterator[BaseException]:
    yield error
    for inner in (*error.args, getattr(error, "reason", None)):
        if isinstance(inner, BaseException):
            yield from _wrapped(inner)


def _tls_text(error: ssl.SSLError, endpoint: Endpoint, files: str) -> str:
    return f"{endpoint}: {explained(error, files, plain='consul://')}"
