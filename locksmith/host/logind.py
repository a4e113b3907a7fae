"""What logind knows and does: inhibitors, sessions, whether it prepares for a shutdown, and the reboot itself.

Origin of names, signatures and flags: org.freedesktop.login1(5) of systemd 252 and 256, its source for what they do. The
ideas a reader would miss. Before systemd 257 root's calls pass over block inhibitors, so whoever wants them honoured asks
first; from 257 on `block` stops root as well and the old kind is called `block-weak`, and only a flag passes over both.
Here both are block inhibitors. A session may end between the list and the question about it, and is then left out.
"""

import time
from dataclasses import dataclass
from datetime import timedelta
from enum import IntFlag
from typing import Any

from locksmith.host.bus import LIMIT, Caller, MethodFailed, NoAnswer, NoBus, NoService, Peer
from locksmith.host.outcome import printable
from locksmith.host.system import System

MANAGER = Peer("org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager")
WHO = "locksmith"
"""Of our own inhibitors."""
_SESSION = "org.freedesktop.login1.Session"
_GONE = frozenset(
    {"org.freedesktop.DBus.Error.UnknownObject", "org.freedesktop.DBus.Error.UnknownMethod",
     "org.freedesktop.login1.NoSuchSession"}
)  # fmt: skip
_MALFORMED = "logind's answer to {} is none that this version understands"


class RebootFlag(IntFlag):
    """SD_LOGIND_* of RebootWithFlags (since 248; the last one since 257)."""

    CHECK_INHIBITORS = 1 << 0
    KEXEC = 1 << 1
    SOFT_REBOOT = 1 << 2
    SKIP_INHIBITORS = 1 << 4


@dataclass(frozen=True, slots=True)
class Inhibitor:
    """One lock; `what` are its words, `mode` is block, block-weak or delay."""

    what: frozenset[str]
    who: str
    why: str
    mode: str
    uid: int
    pid: int

    @property
    def blocks_shutdown(self) -> bool:
        """Whether it forbids a reboot until it is given up."""
        return self.mode in ("block", "block-weak") and "shutdown" in self.what

    @property
    def delays_shutdown(self) -> bool:
        """Whether logind waits for it for a few seconds (InhibitDelayMaxSec=)."""
        return self.mode == "delay" and "shutdown" in self.what

    def __str__(self) -> str:
        """For people: who, why, uid and pid."""
        return printable(f"{self.who} ({self.why}; uid {self.uid}, pid {self.pid})")


@dataclass(frozen=True, slots=True)
class Session:
    """A session; `tty` is empty for one without a terminal, else as in /dev."""

    id: str
    user: str
    tty: str
    state: str
    kind: str

    @property
    def at_terminal(self) -> bool:
        """Whether a person sits at a terminal in it: no greeter, no background job, not on its way out."""
        return bool(self.tty) and self.state != "closing" and (self.kind == "user" or self.kind.startswith("user-"))


class Logind:
    """Asks and tells logind. Everything raises BusError unless it says otherwise."""

    def __init__(self, bus: Caller, limit: timedelta = LIMIT) -> None:
        """`limit` is for each answer as a whole, also for one that takes several calls."""
        self._bus = bus
        self._limit = limit

    def inhibitors(self) -> tuple[Inhibitor, ...]:
        """All locks."""
        body = self._bus.call(MANAGER, "ListInhibitors", limit=self._limit)
        try:
            [rows] = body
            return tuple(
                Inhibitor(frozenset(str(what).split(":")), str(who), str(why), str(mode), int(uid), int(pid))
                for what, who, why, mode, uid, pid in rows
            )
        except (ValueError, TypeError) as error:
            raise MethodFailed("", _MALFORMED.format("ListInhibitors")) from error

    def sessions(self) -> tuple[Session, ...]:
        """All sessions."""
        deadline = time.monotonic() + self._limit.total_seconds()
        body = self._bus.call(MANAGER, "ListSessions", limit=self._limit)
        try:
            rows = [(str(name), str(path)) for name, _, _, _, path in body[0]]
        except (ValueError, TypeError, IndexError) as error:
            raise MethodFailed("", _MALFORMED.format("ListSessions")) from error
        found = []
        for name, path in rows:
            left = timedelta(seconds=deadline - time.monotonic())
            if left <= timedelta(0):
                raise NoAnswer(f"logind takes too long to tell its {len(rows)} sessions: is it well?")
            try:
                properties = self._bus.get_all(Peer(MANAGER.name, path, _SESSION), limit=left)
            except MethodFailed as error:
                if error.name in _GONE:
                    continue
                raise
            found.append(_session(name, properties))
        return tuple(found)

    def preparing_for_shutdown(self) -> bool:
        """Whether it was told to take the machine down and waits for delay inhibitors."""
        return self._bus.get(MANAGER, "PreparingForShutdown", limit=self._limit) is True

    def inhibit(self, why: str) -> int:
        """Take a delay lock for shutdown; the descriptor whose closing gives it up."""
        [descriptor] = self._bus.call(MANAGER, "Inhibit", "ssss", ("shutdown", WHO, why, "delay"), limit=self._limit)
        return int(descriptor)

    def set_wall_message(self, message: str) -> None:
        """What logind writes to all terminals when it takes the machine down the next time."""
        self._bus.call(MANAGER, "SetWallMessage", "sb", (message, True), limit=self._limit)

    def reboot(self, flags: RebootFlag, limit: timedelta) -> None:
        """Reboot. Raises also NoAnswer, after which it may come or not."""
        self._bus.call(MANAGER, "RebootWithFlags", "t", (int(flags),), limit=limit)

    def reboot_plainly(self, limit: timedelta) -> None:
        """Reboot the way of systemd before 248. Raises like `reboot`."""
        self._bus.call(MANAGER, "Reboot", "b", (False,), limit=limit)


def is_missing(error: Exception, system: System) -> bool:
    """Whether an error means that this machine has no logind at all, so that there is nobody who could be asked."""
    return isinstance(error, NoService) or (isinstance(error, NoBus) and not system.present())


def _session(name: str, properties: dict[str, Any]) -> Session:
    def text(prop: str) -> str:
        return printable(str(properties.get(prop, "")))

    return Session(name, text("Name"), text("TTY"), text("State"), text("Class"))
