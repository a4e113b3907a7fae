"""The door to D-Bus: blocking calls with one time limit each, properties, signals; jeepney's messages over bus_wire.

The ideas a reader would miss. What went wrong is told apart by what it means for the caller: `NoBus` and `NoService` were
surely not carried out, `NoAnswer` (no reply in time, or the connection ended after the message had left) may be carried out
now, later or never. A connection that was left waiting is thrown away, and one that the daemon closed while it lay idle is
noticed before it is used, so a restarted daemon costs nobody an error. Any thread may call; a slow answer to one holds up
no other. Signals come over a connection of their own, which says `Resumed` each time it had to be made anew, since what
was sent meanwhile is lost.
"""

import threading
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from jeepney import DBusAddress, HeaderFields, MatchRule, Message, MessageType, new_method_call
from jeepney.bus_messages import message_bus

from locksmith.core.durations import format_duration
from locksmith.host.bus_wire import Broken, Unreachable, Wire, connect, drop, plain
from locksmith.host.outcome import printable

LIMIT = timedelta(seconds=5)
"""Of one call, when the caller names none."""

_BUS = "org.freedesktop.DBus"
_PLACE = (HeaderFields.path, HeaderFields.interface, HeaderFields.member)
_IDLE = 2
"""Connections that are kept open for the next call."""
_AGAIN = 1.0
"""Seconds between two tries to listen again, doubling up to _AGAIN_CAP."""
_AGAIN_CAP = 15.0

_ERROR = "org.freedesktop.DBus.Error."
_NOBODY = frozenset({f"{_ERROR}ServiceUnknown", f"{_ERROR}NameHasNoOwner"})
_DENIED = frozenset(
    f"{_ERROR}{name}" for name in ("AccessDenied", "AuthFailed", "InteractiveAuthorizationRequired")
) | {"System.Error.EACCES", "System.Error.EPERM"}
_POLKIT = "org.freedesktop.PolicyKit1.Error."
_UNANSWERED = frozenset(f"{_ERROR}{name}" for name in ("NoReply", "Timeout", "TimedOut", "Disconnected"))


class BusError(Exception):
    """A call that brought no result; the message names the service and the remedy. Never leaves whoever uses the bus."""


class NoBus(BusError):
    """There is no bus, or it does not let us in: nothing was sent."""


class NoService(BusError):
    """Nobody owns the name and no service can be started for it: nothing was carried out."""


class BusDenied(BusError):
    """The bus, the service or polkit does not allow it."""


class NoAnswer(BusError):
    """Sent, and no reply within the limit, or the connection ended: carried out now, later or never."""


class MethodFailed(BusError):
    """The service answered with an error. `name` is D-Bus', such as org.freedesktop.DBus.Error.InvalidArgs."""

    def __init__(self, name: str, message: str) -> None:
        """`message` is for people."""
        super().__init__(message)
        self.name = name


@dataclass(frozen=True, slots=True)
class Peer:
    """One interface of one object of one service."""

    name: str
    path: str
    interface: str


@dataclass(frozen=True, slots=True)
class Signal:
    """One signal; `body` has its arguments."""

    path: str
    interface: str
    member: str
    body: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Resumed:
    """Listening (again): what was sent before is lost, so look for yourself."""


Heard = Signal | Resumed


class Hears(Protocol):
    """Who listens to signals."""

    def next(self, limit: timedelta) -> Heard | None:
        """The next signal; None when none came within the limit. Raises nothing, never spins. For one thread."""

    def close(self) -> None:
        """Listen no more."""


class Caller(Protocol):
    """What the rest of the program needs of a bus."""

    def call(
        self,
        peer: Peer,
        method: str,
        signature: str = "",
        body: tuple[Any, ...] = (),
        *,
        limit: timedelta | None = None,
    ) -> tuple[Any, ...]:
        """Call a method; the arguments of its reply, file descriptors as numbers for the caller to close. Raises BusError."""

    def get(self, peer: Peer, prop: str, *, limit: timedelta | None = None) -> Any:
        """One property. Raises BusError."""

    def get_all(self, peer: Peer, *, limit: timedelta | None = None) -> dict[str, Any]:
        """All properties. Raises BusError."""

    def listen(self, peer: Peer, member: str) -> Hears:
        """Listen to a signal of a peer, and to the comings and goings of its service (NameOwnerChanged). Does not wait."""


class Bus:
    """See Caller. Nothing is connected before the first call."""

    def __init__(self, address: str | None = None, limit: timedelta = LIMIT) -> None:
        """`address` None: the system bus, DBUS_SYSTEM_BUS_ADDRESS honoured. `limit` is that of a call that names none."""
        self._address = address or "SYSTEM"
        self._limit = limit
        self._lock = threading.Lock()
        self._idle: list[Wire] = []

    def close(self) -> None:
        """Close what lies idle; the bus can be used on."""
        with self._lock:
            idle, self._idle = self._idle, []
        for wire in idle:
            wire.close()

    def call(
        self,
        peer: Peer,
        method: str,
        signature: str = "",
        body: tuple[Any, ...] = (),
        *,
        limit: timedelta | None = None,
    ) -> tuple[Any, ...]:
        """See Caller. Raises ValueError and TypeError for arguments that are none of the signature's: a bug."""
        address = DBusAddress(peer.path, bus_name=peer.name, interface=peer.interface)
        reply = self._exchange(new_method_call(address, method, signature or None, body), peer, limit or self._limit)
        if reply.header.message_type is MessageType.error:
            raise _error(peer, method, reply)
        return tuple(plain(value) for value in reply.body)

    def get(self, peer: Peer, prop: str, *, limit: timedelta | None = None) -> Any:
        """See Caller."""
        body = self.call(_properties(peer), "Get", "ss", (peer.interface, prop), limit=limit)
        try:
            [(_, value)] = body
        except (ValueError, TypeError) as error:
            raise _odd(peer, prop) from error
        return value

    def get_all(self, peer: Peer, *, limit: timedelta | None = None) -> dict[str, Any]:
        """See Caller."""
        body = self.call(_properties(peer), "GetAll", "s", (peer.interface,), limit=limit)
        try:
            [found] = body
            return {name: value for name, (_, value) in found.items()}
        except (ValueError, TypeError, AttributeError) as error:
            raise _odd(peer, "GetAll") from error

    def listen(self, peer: Peer, member: str) -> "Listener":
        """See Caller."""
        return Listener(self._address, peer, member, self._limit)

    def _exchange(self, message: Message, peer: Peer, limit: timedelta) -> Message:
        deadline = time.monotonic() + limit.total_seconds()
        connected = False
        try:
            wire = self._take(deadline)
            connected = True
            try:
                reply = wire.exchange(message, deadline)
            except BaseException:
                wire.close()
                raise
        except Unreachable as error:
            raise NoBus(f"no message bus ({self._shown()}): {error}; is dbus running?") from error
        except TimeoutError as error:
            if not connected:
                raise NoBus(f"the message bus ({self._shown()}) does not greet us: is dbus well?") from error
            raise NoAnswer(
                f"{peer.name} does not answer within {format_duration(limit)}: is the service well?"
            ) from error
        except Broken as error:
            if error.sent:
                raise NoAnswer(f"the message bus went away before {peer.name} answered: {error}") from error
            raise NoBus(f"the message bus ({self._shown()}) went away: {error}") from error
        self._give_back(wire)
        return reply

    def _take(self, deadline: float) -> Wire:
        """An idle connection that is still there, or a new one."""
        while True:
            with self._lock:
                wire = self._idle.pop() if self._idle else None
            if wire is None:
                return connect(self._address, deadline)
            if wire.alive():
                return wire
            wire.close()

    def _give_back(self, wire: Wire) -> None:
        wire.signals.clear()
        with self._lock:
            if len(self._idle) < _IDLE:
                self._idle.append(wire)
                return
        wire.close()

    def _shown(self) -> str:
        return "the system bus" if self._address == "SYSTEM" else self._address


class Listener:
    """Signals that match, over a connection of its own."""

    def __init__(self, address: str, peer: Peer, member: str, limit: timedelta) -> None:
        """Nothing is connected yet; `limit` is for making the connection."""
        signal = MatchRule(type="signal", sender=peer.name, path=peer.path, interface=peer.interface, member=member)
        owner = MatchRule(type="signal", sender=_BUS, interface=_BUS, member="NameOwnerChanged")
        owner.add_arg_condition(0, peer.name)
        self._address = address
        self._rules = (signal, owner)
        self._wanted = ((peer.interface, member), (_BUS, "NameOwnerChanged"))
        self._limit = limit.total_seconds()
        self._wire: Wire | None = None
        self._tries = 0
        self._closed = threading.Event()

    def close(self) -> None:
        """See Hears. A `next` under way in another thread ends within its limit."""
        self._closed.set()

    def next(self, limit: timedelta) -> Heard | None:
        """See Hears."""
        deadline = time.monotonic() + limit.total_seconds()
        while not self._closed.is_set():
            if self._wire is None:
                if self._connect(deadline):
                    return Resumed()
                if time.monotonic() >= deadline:
                    return None
                continue
            try:
                message = self._wire.signal(deadline)
            except Broken:
                self._hang_up()
                continue
            if message is None:
                return None
            path, interface, member = (str(message.header.fields.get(field, "")) for field in _PLACE)
            if (interface, member) in self._wanted:  # the bus also tells us our own name
                return Signal(path, interface, member, tuple(message.body))
            drop(message)
        self._hang_up()
        self._closed.wait(max(0.0, deadline - time.monotonic()))
        return None

    def _connect(self, deadline: float) -> bool:
        """Try once, after a pause that grows with each failure."""
        if self._tries:
            pause = min(_AGAIN_CAP, _AGAIN * 2 ** min(self._tries - 1, 8))
            self._closed.wait(max(0.0, min(pause, deadline - time.monotonic())))
            if self._closed.is_set() or time.monotonic() >= deadline:
                return False
        until = time.monotonic() + self._limit
        self._tries += 1
        try:
            self._wire = connect(self._address, until)
            for rule in self._rules:
                reply = self._wire.exchange(message_bus.AddMatch(rule), until)
                if reply.header.message_type is MessageType.error:
                    self._hang_up()
                    return False
        except (Unreachable, Broken, TimeoutError):
            self._hang_up()
            return False
        self._tries = 0
        return True

    def _hang_up(self) -> None:
        if self._wire is not None:
            self._wire.close()
            self._wire = None


def _properties(peer: Peer) -> Peer:
    return Peer(peer.name, peer.path, "org.freedesktop.DBus.Properties")


def _odd(peer: Peer, what: str) -> MethodFailed:
    return MethodFailed("", f"{peer.name} answers {what} with something else than a property")


def _error(peer: Peer, method: str, reply: Message) -> BusError:
    """What an error reply means. The names are those of the D-Bus specification, of sd-bus (System.Error.*) and of polkit."""
    name = str(reply.header.fields.get(HeaderFields.error_name, ""))
    said = printable(str(reply.body[0])) if reply.body and isinstance(reply.body[0], str) else name
    if name in _NOBODY:
        return NoService(f"nobody provides {peer.name} on the bus: {said}")
    if name in _DENIED or name.startswith(_POLKIT):
        return BusDenied(
            f"{peer.name} does not allow {method}: {said}; run as root, or give this user a bus or polkit rule"
        )
    if name in _UNANSWERED:
        return NoAnswer(f"{peer.name} did not answer {method}: {said}")
    return MethodFailed(name, f"{peer.name} {method}: {said}")
