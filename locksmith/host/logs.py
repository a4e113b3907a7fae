"""Where log lines go: the journal with fields, JSON lines, or plain text.

The ideas a reader would miss. `auto` talks to the journal only while standard error *is* the journal (JOURNAL_STREAM names
its device and inode, systemd.exec(5)), so that `locksmithd 2>file` writes a file. Fields are given with `extra=` of the
standard library and named in FIELDS. And every line is redacted here, whoever wrote it.
"""

import json
import logging
import os
import re
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TextIO

LogFormat = Literal["auto", "text", "json", "journal"]

FIELDS = (
    "node", "group", "old_state", "state", "event", "kind", "reason", "gate", "provider", "hook", "token", "attempt",
)  # fmt: skip
"""Attributes of a record that the journal and JSON show as fields of their own; in the journal `LOCKSMITH_NODE` and so on."""
JOURNAL_SOCKET = Path("/run/systemd/journal/socket")

_LOGGER = "locksmith"
_MAX_MESSAGE = 32 * 1024
_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
_DEBUG_PRIORITY = 7
_PASSWORD = re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s/@:]*):[^\s/@]+@", re.IGNORECASE)
_PARAMETER = re.compile(r"([?&][a-z0-9_.-]*(?:token|secret|passw(?:or)?d|api_?key)=)[^&\s\"']+", re.IGNORECASE)
_HEADER = re.compile(r"\b(Bearer|Basic) +[A-Za-z0-9._~+/=-]{6,}")


def setup(
    log_format: LogFormat,
    level: str,
    *,
    stream: TextIO | None = None,
    environment: Mapping[str, str] | None = None,
    journal: Path = JOURNAL_SOCKET,
) -> logging.Handler:
    """Send the records of `locksmith` and below to one handler, instead of the one of an earlier call.

    `level` is debug, info, warning or error; `stream` defaults to standard error.
    """
    stream = sys.stderr if stream is None else stream
    handler = _handler(log_format, stream, os.environ if environment is None else environment, journal)
    logger = logging.getLogger(_LOGGER)
    for old in list(logger.handlers):
        logger.removeHandler(old)
        old.close()
    logger.addHandler(handler)
    logger.setLevel(level.upper())
    logger.propagate = False
    return handler


def connected_to_journal(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Whether the stream is the one that the service manager connected to the journal."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environment.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def redact(text: str) -> str:
    """The text without the password of any URL, what looks like one among its parameters, and headers that are one."""
    text = _PASSWORD.sub(r"\1:***@", text)
    return _HEADER.sub(r"\1 ***", _PARAMETER.sub(r"\1***", text))


class Belonging(logging.Filter):
    """Says of each record whose it is, unless it says so itself."""

    def __init__(self, node: str, group: str) -> None:
        """The agent's node and group."""
        super().__init__()
        self._said = {"node": node, "group": group}

    def filter(self, record: logging.LogRecord) -> bool:
        """See logging.Filter; lets everything through."""
        for name, value in self._said.items():
            if not hasattr(record, name):
                setattr(record, name, value)
        return True


def belong(node: str, group: str) -> None:
    """From now on every record names this node and group; until the next `setup`."""
    for handler in logging.getLogger(_LOGGER).handlers:
        for old in [each for each in handler.filters if isinstance(each, Belonging)]:
            handler.removeFilter(old)
        handler.addFilter(Belonging(node, group))


def _handler(log_format: LogFormat, stream: TextIO, environment: Mapping[str, str], journal: Path) -> logging.Handler:
    if log_format == "auto":
        log_format = "journal" if connected_to_journal(stream, environment) else "text"
    if log_format == "journal":
        return JournalHandler(journal, stream)
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLine() if log_format == "json" else TextLine())
    return handler


def _fields(record: logging.LogRecord) -> dict[str, str]:
    present = ((name, getattr(record, name, None)) for name in FIELDS)
    return {name: redact(str(value)) for name, value in present if value is not None}


def _time(record: logging.LogRecord) -> str:
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03d}Z"


class TextLine(logging.Formatter):
    """`2026-01-01T00:05:00.000Z warning: message`. The message alone says everything; fields are for machines."""

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter."""
        return f"{_time(record)} {record.levelname.lower()}: {_message(self, record)}"


class JsonLine(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and the fields that the record has."""

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter."""
        head = {"time": _time(record), "level": record.levelname.lower(), "logger": record.name}
        return json.dumps(head | {"message": _message(self, record)} | _fields(record), ensure_ascii=False)


class JournalHandler(logging.Handler):
    """Datagrams to the journal in its native protocol (https://systemd.io/JOURNAL_NATIVE_PROTOCOL/).

    A record that the journal does not take (it restarts, its queue is full) goes to the stream as text.
    """

    def __init__(self, address: Path, stream: TextIO) -> None:
        """The socket is not connected: the journal may be restarted at any time."""
        super().__init__()
        self._address = str(address)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._otherwise = logging.StreamHandler(stream)
        self._otherwise.setFormatter(TextLine())
        self.setFormatter(logging.Formatter())

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler."""
        try:
            self._socket.sendto(self._datagram(record), self._address)
        except OSError:
            self._otherwise.handle(record)

    def close(self) -> None:
        """See logging.Handler."""
        self._socket.close()
        super().close()

    def _datagram(self, record: logging.LogRecord) -> bytes:
        message = _message(self.formatter or logging.Formatter(), record)
        priority = next((number for level, number in _PRIORITIES if record.levelno >= level), _DEBUG_PRIORITY)
        fields = {
            "MESSAGE": message[:_MAX_MESSAGE],
            "PRIORITY": str(priority),
            "SYSLOG_IDENTIFIER": "locksmithd",
            "LOCKSMITH_LOGGER": record.name,
        }
        fields |= {f"LOCKSMITH_{name.upper()}": value for name, value in _fields(record).items()}
        return b"".join(_entry(name, value.encode(errors="replace")) for name, value in fields.items())


def _entry(name: str, value: bytes) -> bytes:
    if b"\n" in value:
        return name.encode() + b"\n" + len(value).to_bytes(8, "little") + value + b"\n"
    return name.encode() + b"=" + value + b"\n"


def _message(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    """The message, and the traceback of an unexpected error after it."""
    text = record.getMessage()
    if record.exc_info:
        text = f"{text}\n{formatter.formatException(record.exc_info)}"
    return redact(text)
