"""The reboot windows as a gate.

The ideas a reader would miss. Windows mean nothing while the clock is wrong, so an untrusted clock is *unknown* and not
"closed"; what stands in the way then has the word `clock`, see `WindowCheck.blocked_by`. And reasons name instants, never
"in 3 minutes", since a reason that changes with every question would be logged with every question.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from locksmith.checks import Occasion
from locksmith.core.durations import format_duration, rfc3339
from locksmith.core.verdict import Closed, Open, Unknown, Verdict
from locksmith.core.windows import ClosedUntil, Window, is_open, next_openings

_LOOK_AHEAD = 50
"""Openings that are looked at for one that is long enough."""


class WindowCheck:
    """Open while a window is open and lasts long enough from now on; without windows always."""

    kind = "window"

    def __init__(self, windows: Sequence[Window], needed: timedelta = timedelta(0), name: str = "windows") -> None:
        """`needed` is the time for drain and reboot that must be left before the windows close."""
        self._windows = tuple(windows)
        self._needed = needed
        self._name = name

    @property
    def name(self) -> str:
        """See Check."""
        return self._name

    def blocked_by(self, occasion: Occasion) -> str:
        """The word of `locksmith_blocked{kind}` on this occasion: `clock` while the clock is not trusted, else `window`."""
        return "clock" if self._windows and not occasion.clock_trusted else self.kind

    def ask(self, occasion: Occasion) -> Verdict:
        """See Check."""
        if not self._windows:
            return Open("no windows are configured")
        if not occasion.clock_trusted:
            return Unknown("the clock is not synchronised, so nobody can say whether a window is open")
        try:
            return self._answer(occasion.now)
        except ValueError as error:
            return Unknown(str(error))

    def _answer(self, now: datetime) -> Verdict:
        state = is_open(self._windows, now)
        if isinstance(state, ClosedUntil):
            return Closed(f"the next window opens at {_shown(state.start)}", self._long_enough(now) or state.start)
        if state.end is None:
            return Open()
        closes = f"the window closes at {_shown(state.end)}"
        if state.end - now >= self._needed:
            return Open(closes, until=state.end)
        return Closed(f"{closes}, and {format_duration(self._needed)} are needed", self._long_enough(now))

    def _long_enough(self, now: datetime) -> datetime | None:
        """When the next opening begins that lasts as long as needed; None when there is none in sight."""
        spans = next_openings(self._windows, now, _LOOK_AHEAD)
        return next((span.start for span in spans if span.end is None or span.end - span.start >= self._needed), None)


def _shown(at: datetime) -> str:
    return rfc3339(at, keep_offset=True)
