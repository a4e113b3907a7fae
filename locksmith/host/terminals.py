"""Messages to the terminals of logged-in people, the way wall(1) does it.

The ideas a reader would miss. A terminal can be stopped (Ctrl-S, a dead modem) or be the end of a connection that nobody
reads: so it is opened and written without waiting, and what cannot be written within a moment is given up. And only text
goes out: a reason comes from packages, files and strangers, and must not move cursors or answer for the person.
"""

import errno
import os
import re
import select
import stat
import time
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

from locksmith.core.durations import rfc3339
from locksmith.host.outcome import printable

PATIENCE = timedelta(seconds=1)
"""For one terminal; for many of them together five times as much."""
_ALL = 5
_TTY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")
_BELL = "\a"


class Terminals:
    """The terminals below /dev."""

    def __init__(self, root: Path = Path("/dev"), patience: timedelta = PATIENCE) -> None:
        """`patience` is for one terminal."""
        self._root = root
        self._patience = patience.total_seconds()

    def tell(self, ttys: Iterable[str], lines: Iterable[str], host: str, now: datetime) -> tuple[str, ...]:
        """Write to each; those that could be told. Bounded in time, raises nothing for what a terminal can do wrong."""
        banner = f"Broadcast message from locksmith on {printable(host)} ({rfc3339(now)}):"
        text = "\r\n".join(("", _BELL + banner, "", *map(printable, lines), "", ""))
        data = text.encode(errors="replace")
        deadline = time.monotonic() + _ALL * self._patience
        return tuple(tty for tty in dict.fromkeys(ttys) if self._write(tty, data, deadline))

    def _write(self, tty: str, data: bytes, deadline: float) -> bool:
        if not _TTY.fullmatch(tty):
            return False
        until = min(deadline, time.monotonic() + self._patience)
        try:
            terminal = os.open(self._root / tty, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            if not stat.S_ISCHR(os.fstat(terminal).st_mode) or not os.isatty(terminal):
                return False
            return _send(terminal, data, until)
        except OSError:
            return False
        finally:
            os.close(terminal)


def _send(terminal: int, data: bytes, until: float) -> bool:
    """Raises OSError."""
    poll = select.poll()
    poll.register(terminal, select.POLLOUT)
    while data:
        left = until - time.monotonic()
        if left <= 0 or not poll.poll(left * 1000):
            return False
        try:
            data = data[os.write(terminal, data) :]
        except OSError as error:
            if error.errno != errno.EAGAIN:
                raise
            # Ready for less than it said, or stopped in between: a moment, not a busy loop.
            time.sleep(min(0.05, max(0.0, until - time.monotonic())))
    return True
