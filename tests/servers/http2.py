"""The frames of one direction of an HTTP/2 connection, as far as needed to see whose bytes are passing."""

from collections.abc import Iterator
from dataclasses import dataclass

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS = 0, 1
_HEADER_BYTES = 9


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a frame: what came of its payload with one read."""

    kind: int
    stream: int
    payload: bytes
    first: bool  # the frame's head has just been seen; the payload may still be empty


class FrameReader:
    """Splits a byte stream into frames without waiting for their ends."""

    def __init__(self, *, skip: int = 0) -> None:
        """`skip` bytes come before the first frame: the client's preface."""
        self._skip = skip
        self._head = b""
        self._left = 0
        self._kind = self._stream = 0

    def feed(self, data: bytes) -> Iterator[Piece]:
        """The pieces that these bytes bring."""
        data, self._skip = data[self._skip :], max(0, self._skip - len(data))
        while data:
            if self._left:
                part, data = data[: self._left], data[self._left :]
                self._left -= len(part)
                yield Piece(self._kind, self._stream, part, first=False)
                continue
            missing = _HEADER_BYTES - len(self._head)
            self._head, data = self._head + data[:missing], data[missing:]
            if len(self._head) == _HEADER_BYTES:
                self._left = int.from_bytes(self._head[:3])
                self._kind = self._head[3]
                self._stream = int.from_bytes(self._head[5:]) & 0x7FFFFFFF
                self._head = b""
                yield Piece(self._kind, self._stream, b"", first=True)
