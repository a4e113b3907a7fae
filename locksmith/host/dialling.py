"""A TCP connection to a host within a time limit, the lookup of its name and all its addresses included; and its reading.

The ideas a reader would miss. The C library's lookup can be neither bounded nor cancelled, and takes up to 5 s for each
name server, twice; so it runs in a thread of its own that may be left behind: one for each name, however often it is asked.
And a socket's time-out starts anew with every packet; the sockets here have a deadline as well, for all that is received.
"""

import errno
import socket
import ssl
import threading
import time
from collections.abc import Iterable
from typing import Any, Literal

Missed = Literal["absent", "lookup", "refused", "denied", "unreachable", "timeout"]
"""Why there is no connection, as one word. `absent`: there is no such Unix socket."""

_Found = list[tuple[Any, ...]]
"""What `socket.getaddrinfo` gives."""


def connected(host: str, port: int, seconds: float, options: Iterable[tuple[Any, ...]] = ()) -> socket.socket:
    """A connection to one of the host's addresses, with what is left of `seconds` as its time-out.

    `options` are for `setsockopt`. Raises OSError, TimeoutError among them; the address that failed last says why.
    """
    deadline = time.monotonic() + seconds
    found = _lookup(host, port, seconds)
    failure: OSError = TimeoutError(errno.ETIMEDOUT, "no connection within the time")
    for number, (family, kind, protocol, _, address) in enumerate(found):
        if (left := deadline - time.monotonic()) <= 0:
            break
        made = socket.socket(family, kind, protocol)
        try:
            for option in options:
                made.setsockopt(*option)
            made.settimeout(left / (len(found) - number))
            made.connect(address)
        except OSError as error:
            made.close()
            failure = error
        else:
            made.settimeout(max(deadline - time.monotonic(), 0.001))
            return made
    raise failure


def missed(error: OSError) -> tuple[Missed, str]:
    """What a connection that could not be made means, and what to do about it; the caller says with whom and how long."""
    match error:
        case TimeoutError():
            return "timeout", "no connection within the time limit"
        case socket.gaierror():
            return "lookup", f"the name cannot be resolved ({(error.strerror or 'no address').lower()})"
        case FileNotFoundError():
            return "absent", "there is no such socket; is the service installed and running?"
        case PermissionError():
            return "denied", "permission denied; run as a user who may open the socket"
        case ConnectionRefusedError() | BlockingIOError():  # the latter: a Unix socket whose queue is full
            return "refused", "connection refused; check that the service runs and listens there"
        case _:
            text = error.strerror or errno.errorcode.get(error.errno or 0) or str(error) or type(error).__name__
            return "unreachable", text.lower()


class Limited(socket.socket):
    """Every receive gets only what is left until `deadline`, on the monotonic clock; None: the time-out alone counts."""

    deadline: float | None = None

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        """Receive. Raises TimeoutError at the deadline."""
        limit(self, self.deadline)
        return super().recv_into(*args, **kwargs)


class LimitedTls(ssl.SSLSocket):
    """The same over TLS; the module `ssl` builds it itself, see `SSLContext.sslsocket_class`."""

    deadline: float | None = None

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        """Receive. Raises TimeoutError at the deadline."""
        limit(self, self.deadline)
        return super().recv_into(*args, **kwargs)


def limit(sock: socket.socket, deadline: float | None) -> None:
    """Give the socket's next operation what is left. Raises TimeoutError when that is nothing."""
    if deadline is None:
        return
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    sock.settimeout(left)


class _Lookup:
    """One question to the resolver, for all threads that ask it meanwhile."""

    def __init__(self, host: str, port: int) -> None:
        self.done = threading.Event()
        self.found: _Found = []
        self.error: OSError | None = None
        self._host = host
        self._port = port

    def run(self) -> None:
        try:
            self.found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except UnicodeError:
            self.error = socket.gaierror(socket.EAI_NONAME, f"{self._host!r} is no host name")
        except OSError as error:
            self.error = error
        finally:
            with _lock:
                del _open_lookups[self._host, self._port]
            self.done.set()


_lock = threading.Lock()
_open_lookups: dict[tuple[str, int], _Lookup] = {}


def _lookup(host: str, port: int, seconds: float) -> _Found:
    try:  # an address asks nobody
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        pass
    with _lock:
        lookup = _open_lookups.get((host, port))
        if lookup is None:
            lookup = _open_lookups[host, port] = _Lookup(host, port)
            threading.Thread(target=lookup.run, name=f"lookup {host}", daemon=True).start()
    if not lookup.done.wait(seconds):
        raise TimeoutError(errno.ETIMEDOUT, f"the name {host} is not resolved within the time")
    if lookup.error is not None:
        raise lookup.error
    return lookup.found
