"""One connection to a message bus: bytes in, bytes out, and never longer than it may take.

The idea a reader would miss: jeepney's own connections bound the wait for an answer, but neither the greeting of the bus
nor the sending; a daemon that hangs would hold the agent for ever. So the messages are jeepney's and the waiting is ours:
each step gets what is left of one deadline. File descriptors that come in are closed in programs that we start.
"""

import array
import select
import socket
import struct
import time
import weakref
from collections import deque
from typing import Any

from jeepney import HeaderFields, Message, MessageType, Parser
from jeepney.auth import AuthenticationError
from jeepney.bus import get_bus
from jeepney.bus_messages import message_bus
from jeepney.fds import FileDescriptor, fds_buf_size
from jeepney.io.blocking import prep_socket

_KEPT_SIGNALS = 1000
"""Of those that nobody has fetched; more of them would only say the same again."""

_NONSENSE = (ValueError, TypeError, LookupError, AssertionError, RecursionError, struct.error)
"""What jeepney's parser raises for bytes that are no message."""


class Unreachable(Exception):
    """No connection: nobody listens, or who listens does not speak D-Bus to us."""


class Broken(Exception):
    """The connection ended. `sent` says whether the message had left before."""

    def __init__(self, why: str, *, sent: bool) -> None:
        """`why` is for people."""
        super().__init__(why)
        self.sent = sent


def connect(address: str, deadline: float) -> "Wire":
    """Connect and say hello before the monotonic `deadline`. Raises Unreachable, TimeoutError."""
    try:
        path = get_bus(address)
    except (ValueError, RuntimeError, StopIteration) as error:
        raise Unreachable(f"{address!r} is no address of a bus that can be used here: {error}") from error
    try:
        wire = Wire(prep_socket(path, enable_fds=True, timeout=_left(deadline)))
    except AuthenticationError as error:
        raise Unreachable(f"the bus does not let us in: {error}") from error
    except OSError as error:
        if isinstance(error, TimeoutError):
            raise
        raise Unreachable(error.strerror or str(error)) from error
    try:
        wire.exchange(message_bus.Hello(), deadline)
    except Broken as error:
        raise Unreachable(f"the bus does not let us in: {error}") from error
    return wire


class Wire:
    """A connection that has been greeted. Used by one thread at a time."""

    def __init__(self, connected: socket.socket) -> None:
        """`connected` is past the bus's authentication, and ours from now on."""
        self._socket = connected
        # What nobody holds any more ends: a configuration that is read again leaves doors behind.
        weakref.finalize(self, connected.close)
        self._parser = Parser()
        self._serial = 0
        self.signals: deque[Message] = deque(maxlen=_KEPT_SIGNALS)

    def close(self) -> None:
        """End it. What was sent and is not answered may still be carried out by whom it was sent to."""
        self._socket.close()
        for descriptor in self._parser.fds:
            descriptor.close()

    def alive(self) -> bool:
        """Whether the other end is still there, as far as can be seen without waiting."""
        self._socket.setblocking(False)  # Python itself would wait as long as the last sending was allowed to
        try:
            return self._socket.recv(1, socket.MSG_PEEK) != b""
        except BlockingIOError:
            return True
        except OSError:
            return False

    def exchange(self, message: Message, deadline: float) -> Message:
        """Send and wait for the answer, a return or an error. Raises TimeoutError, Broken."""
        self._serial += 1
        serial = self._serial
        self._send(message.serialise(serial=serial, fds=array.array("i")), deadline)
        while True:
            got = self._next(deadline)
            if got.header.fields.get(HeaderFields.reply_serial) == serial:
                return got
            self._keep(got)

    def signal(self, deadline: float) -> Message | None:
        """The next signal; None when none came before the deadline. Raises Broken."""
        while not self.signals:
            try:
                self._keep(self._next(deadline))
            except TimeoutError:
                return None
        return self.signals.popleft()

    def _keep(self, message: Message) -> None:
        if message.header.message_type is MessageType.signal:
            self.signals.append(message)
        else:
            drop(message)

    def _send(self, data: bytes, deadline: float) -> None:
        # A message that has left in part is none for the bus: it drops it with the connection.
        self._socket.settimeout(_left(deadline))
        try:
            self._socket.sendall(data)
        except OSError as error:
            if isinstance(error, TimeoutError):
                raise
            raise Broken(error.strerror or str(error), sent=False) from error

    def _next(self, deadline: float) -> Message:
        """The next whole message. Raises TimeoutError, Broken."""
        while True:
            try:
                message: Message | None = self._parser.get_next_message()
            except _NONSENSE as error:
                raise Broken(f"the bus sent what is no message: {error}", sent=True) from error
            if message is not None:
                return message
            data, descriptors = self._receive(deadline)
            self._parser.add_data(data, fds=descriptors)

    def _receive(self, deadline: float) -> tuple[bytes, list[FileDescriptor]]:
        self._socket.setblocking(False)
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise TimeoutError
        try:
            data, ancillary, _, _ = self._socket.recvmsg(
                self._parser.bytes_desired(), fds_buf_size(), socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            return b"", []
        except OSError as error:
            raise Broken(error.strerror or str(error), sent=True) from error
        if not data:
            raise Broken("the bus closed the connection", sent=True)
        return data, FileDescriptor.from_ancdata(ancillary)


def drop(message: Message) -> None:
    """Close the descriptors of a message that nobody waits for."""
    for value in message.body:
        if isinstance(value, FileDescriptor):
            value.close()


def plain(value: Any) -> Any:
    """A value as Python has it: variants without their signature, descriptors as numbers that the caller closes."""
    return value.to_raw_fd() if isinstance(value, FileDescriptor) else value


def _left(deadline: float) -> float:
    """Seconds left. Raises TimeoutError when there are none: a socket would take 0 for "do not wait" and say so otherwise."""
    if (left := deadline - time.monotonic()) <= 0:
        raise TimeoutError
    return left
