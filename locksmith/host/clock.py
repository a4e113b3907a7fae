"""The machine's clocks, behind one Protocol so that a simulation can bring its own.

Wall time is for windows and for people. Every wait uses the boot-time clock (CLOCK_BOOTTIME: it goes on through suspend
and does not jump), see clock_gettime(2).
"""

import ctypes
import time
from datetime import UTC, datetime
from functools import cache
from typing import Protocol

STA_UNSYNC = 0x0040
"""adjtimex(2): the clock is unsynchronised."""
TIME_ERROR = 5
"""adjtimex(2): its return value while unsynchronised."""


class Clock(Protocol):
    """Two clocks and whether the first can be trusted."""

    def wall(self) -> datetime:
        """The time of day, aware, UTC."""

    def boottime(self) -> float:
        """Seconds since the boot, suspend included."""

    def synchronised(self) -> bool:
        """Whether the kernel says that the wall clock is disciplined."""

    def sleep(self, seconds: float) -> None:
        """Wait; used between retries only."""


@cache
def _libc() -> ctypes.CDLL:
    """The C library that this process runs on; looked up once, since walks ask often."""
    return ctypes.CDLL(None, use_errno=True)


class SystemClock:
    """The kernel's clocks."""

    def wall(self) -> datetime:
        """See Clock."""
        return datetime.now(UTC)

    def boottime(self) -> float:
        """See Clock."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def sleep(self, seconds: float) -> None:
        """See Clock."""
        time.sleep(seconds)

    def synchronised(self) -> bool:
        """See Clock: adjtimex(2) in read-only mode, the way timedatectl asks; no answer is False."""
        libc = _libc()
        # struct timex is 208 bytes on 64-bit Linux; `modes` (first int) 0 means read only, `status` stands at byte 40.
        buffer = ctypes.create_string_buffer(512)
        state = libc.adjtimex(buffer)
        if state in (-1, TIME_ERROR):
            return False
        status = int.from_bytes(buffer.raw[40:44], "little")
        return not status & STA_UNSYNC
