"""From the loop's pictures to the channels: a thread of its own, since the loop must wait neither for a disk nor for anybody.

The idea a reader would miss: the loop only ever puts a picture into a bounded queue. What does not fit is lost, with the
sentence that it was; the loop goes on.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence

from locksmith.agent.snapshot import Snapshot
from locksmith.errors import ConfigError
from locksmith.notify.channel import Channel
from locksmith.notify.events import changes

log = logging.getLogger("locksmith.notify")

MAX_PICTURES = 1000
END_WAIT = 1.0
"""Seconds that the end of the process, and so perhaps a reboot, waits at most for what is still to be kept and sent."""


Channels = Callable[[], Sequence[Channel]]
"""Makes the channels that are to be. Raises ConfigError."""


class Announcer:
    """Hears every picture of one loop, tells every channel."""

    def __init__(self, channels: Sequence[Channel], host: str) -> None:
        """`host` is this machine's name, for people."""
        self._channels = channels
        self._host = host
        self._inbox: queue.Queue[Snapshot | Channels | None] = queue.Queue(MAX_PICTURES)
        self._thread = threading.Thread(target=self._run, daemon=True, name="announcer")
        self._lost = False

    def start(self) -> None:
        """Begin; what was kept from before the reboot is sent at once."""
        for channel in self._channels:
            channel.start()
        self._thread.start()

    def hear(self, snapshot: Snapshot) -> None:
        """One more picture. Comes back at once."""
        self._put(snapshot)

    def replace(self, channels: Channels) -> None:
        """Use other channels from the next picture on, which is told them anew. Comes back at once."""
        self._put(channels)

    def close(self, wait: float = END_WAIT) -> None:
        """End, after at most `wait` seconds. What is not sent by then stays kept for the next start."""
        end = time.monotonic() + wait
        self._put(None)
        self._thread.join(wait)
        _end(self._channels, end)

    def _put(self, item: Snapshot | Channels | None) -> None:
        try:
            self._inbox.put_nowait(item)
        except queue.Full:
            if not self._lost:
                log.warning("notifications cannot keep up: some of what happens is not told")
            self._lost = True
        else:
            self._lost = False

    def _run(self) -> None:
        before: Snapshot | None = None
        while (item := self._inbox.get()) is not None:
            if not isinstance(item, Snapshot):
                self._replace(item)
                before = None
            elif item is not before:
                found = changes(before, item)
                before = item
                for channel in self._channels if found else ():
                    channel.offer(found, self._host, item.agent.policy.home.store)

    def _replace(self, channels: Channels) -> None:
        _end(self._channels, time.monotonic() + END_WAIT)
        try:
            self._channels = channels()
        except ConfigError as error:
            self._channels = ()
            log.error("going on without notifications: %s", error)  # noqa: TRY400 - the message says it all
        for channel in self._channels:
            channel.start()


def _end(channels: Sequence[Channel], end: float) -> None:
    for channel in channels:
        channel.close()
    for channel in channels:
        channel.join(max(0.0, end - time.monotonic()))
