"""What we tell the service manager: sd_notify(3) in a few lines, without its library.

The idea a reader would miss: nothing here may ever fail or wait long, because it says how we are and is not what we do.
Without NOTIFY_SOCKET every call does nothing.
"""

import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta

_SEND_SECONDS = 1.0


class Notifier:
    """The way to the service manager."""

    def __init__(self, address: str | None, watchdog: timedelta | None = None) -> None:
        """`address` is a path, or a name in the abstract namespace after `@`; None for nobody."""
        self._address = address
        self.watchdog_interval = watchdog
        """Within this time the manager wants a sign of life; None when it wants none."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], pid: int | None = None) -> "Notifier":
        """What the manager put into our environment, sd_watchdog_enabled(3): a watchdog meant for another pid is not ours."""
        address = environment.get("NOTIFY_SOCKET") or None
        meant_for = environment.get("WATCHDOG_PID")
        ours = meant_for is None or meant_for == str(os.getpid() if pid is None else pid)
        usec = environment.get("WATCHDOG_USEC", "")
        wanted = ours and usec.isascii() and usec.isdigit() and int(usec) > 0
        return cls(address, timedelta(microseconds=int(usec)) if wanted else None)

    def ready(self) -> None:
        """Start-up, or a reload, is complete."""
        self._send("READY=1")

    def status(self, text: str) -> None:
        """One sentence for `systemctl status`."""
        self._send(f"STATUS={' '.join(text.split())}")

    def watchdog(self) -> None:
        """A sign of life."""
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """We are on our way out."""
        self._send("STOPPING=1")

    def reloading(self) -> None:
        """The configuration is being read again; `ready` ends it. The time is what Type=notify-reload asks for."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def extend_timeout(self, by: timedelta) -> None:
        """Start or stop takes that much longer, counted from now."""
        self._send(f"EXTEND_TIMEOUT_USEC={by // timedelta(microseconds=1)}")

    def _send(self, message: str) -> None:
        if not self._address or self._address[0] not in "/@":
            return
        address = f"\0{self._address[1:]}" if self._address[0] == "@" else self._address
        with suppress(OSError, ValueError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.settimeout(_SEND_SECONDS)
            channel.sendto(message.encode(errors="replace"), address)
