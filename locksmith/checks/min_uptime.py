"""How long this boot has to be running before the next reboot.

The ideas a reader would miss. The time is the kernel's, CLOCK_BOOTTIME, so that a step of the wall clock or a suspend is no
boot; in a container the kernel is its host's, and so is the time. And the instant at which the gate opens is computed from two
clocks and trembles: it is kept until it is off by seconds, so that the same answer stays the same.
"""

from datetime import datetime, timedelta

from locksmith.checks import Occasion
from locksmith.core.durations import format_duration
from locksmith.core.verdict import Closed, Open, Verdict
from locksmith.host.clock import Clock, SystemClock

_TREMBLE = timedelta(seconds=5)


class MinUptime:
    """A gate: closed while the machine has been up for less than that."""

    kind = "gate"

    def __init__(self, name: str, uptime: timedelta, clock: Clock | None = None) -> None:
        """`uptime` is since the boot, suspend included; `clock` is the kernel's when it is left out."""
        self._name = name
        self._uptime = uptime
        self._clock = clock or SystemClock()
        self._opens: datetime | None = None

    @property
    def name(self) -> str:
        """See Check."""
        return self._name

    def ask(self, occasion: Occasion) -> Verdict:
        """See Check. `retry_at` is when it will have been up long enough, None while the wall clock is not trusted."""
        missing = self._uptime - timedelta(seconds=self._clock.boottime())
        if missing <= timedelta(0):
            return Open(f"up for more than {format_duration(self._uptime)}")
        reason = f"the machine has not been up for {format_duration(self._uptime)} yet"
        return Closed(reason, self._instant(occasion.now + missing) if occasion.clock_trusted else None)

    def _instant(self, at: datetime) -> datetime:
        if self._opens is None or abs(at - self._opens) > _TREMBLE:
            self._opens = at.replace(microsecond=0) + timedelta(seconds=1)  # not before it is over
        return self._opens
