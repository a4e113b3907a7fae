"""Ctrl-C and SIGTERM: both end lockctl with exit 130, after what it was doing has cleaned up.

The one idea a reader would miss: while a ticket of ours stands in a queue, an exception in the middle of some line would
leave it there, so then a signal only sets an event that the waiting code looks at. The second signal does not wait: a
ticket that is left behind ends with its session.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from locksmith.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """Whether somebody asked this process to end."""

    def __init__(self) -> None:
        """Nobody has."""
        self.event = threading.Event()
        self._deferred = False

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Handle the signals; outside of the main thread, where Python allows no handlers, do nothing."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._arrived) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def deferred(self) -> Iterator[threading.Event]:
        """Inside, the first signal only sets the event."""
        self._deferred = True
        try:
            yield self.event
        finally:
            self._deferred = False

    def _arrived(self, number: int, _frame: FrameType | None) -> None:
        first = not self.event.is_set()
        self.event.set()
        if not (first and self._deferred):
            raise Interrupted(f"interrupted by {signal.Signals(number).name}")
