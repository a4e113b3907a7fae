"""snapd: Ubuntu Core, and kernels and bases from snaps on other systems; its REST API on a Unix socket.

The ideas a reader would miss. There are two ways in which snapd waits for a reboot. On Ubuntu Core it *makes* the reboot:
every response carries `maintenance.kind` = `system-restart`, it schedules a shutdown in ten minutes, and while it is down
itself the same object stands in maintenance.json (daemon/daemon.go, daemon/response.go). Everywhere else, and while an
update is held, it waits: the change has the status `Wait` (overlord/state/change.go) and nothing happens until somebody
reboots. maintenance.json outlives the reboot and is removed only when snapd serves again, so an old one says nothing.

What an operator of Ubuntu Core has to set, or snapd reboots without a slot: hold refreshes (`snap set system
refresh.hold=forever`, or `snap refresh --hold`), say that one is due with a `command` provider over `snap refresh --list`,
and refresh in a pre-reboot hook, which has the slot: the reboot that snapd makes then is the one that was asked for. On
Ubuntu Classic without kernel snaps nothing is needed here: use `reboot-required`, which snapd writes, too.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from locksmith.host.clock import Clock, SystemClock
from locksmith.host.http import Failed, Request, decoded, fetch
from locksmith.host.identity import running_kernel
from locksmith.host.outcome import printable
from locksmith.host.said import decoded as decoded_text
from locksmith.host.said import word
from locksmith.updates import Answer, Need, NeedUnknown, NotNeeded
from locksmith.updates.fingerprint import fingerprint

SOCKET = Path("/run/snapd.socket")
MAINTENANCE = Path("/var/lib/snapd/maintenance.json")

_OK = 200
_SHOWN = 3
"""Summaries of changes in a reason."""
_SLACK = timedelta(seconds=5)
"""The time of the boot is computed from two clocks that are read one after the other."""


@dataclass(frozen=True, slots=True)
class _Change:
    """A change that waits."""

    id: str
    kind: str
    summary: str


class Snapd:
    """Needed while snapd restarts the system, or a change waits for that. The version is the running kernel's."""

    kind = "snapd"

    def __init__(
        self,
        name: str,
        socket: Path = SOCKET,
        timeout: timedelta = timedelta(seconds=10),
        *,
        maintenance: Path = MAINTENANCE,
        clock: Clock | None = None,
    ) -> None:
        """Each of the two requests of a question ends within `timeout`. Reading needs no privilege."""
        self._name = name
        self._socket = socket
        self._timeout = timeout
        self._maintenance = maintenance
        self._clock = clock or SystemClock()
        self._seen: tuple[str, ...] = ()
        """The waiting changes of the last list, for the questions for which there is none because snapd goes down."""

    @property
    def name(self) -> str:
        """See Provider."""
        return self._name

    def ask(self) -> Answer:
        """See Provider."""
        info = self._get("/v2/system-info")
        if isinstance(info, str):
            left = self._left_behind()
            return NeedUnknown(self._name, info) if left is None else self._restart(left, ())
        maintenance = info.get("maintenance")
        restart = maintenance if isinstance(maintenance, dict) and maintenance.get("kind") == "system-restart" else None
        changes = self._waiting()
        if isinstance(changes, str):
            return NeedUnknown(self._name, changes) if restart is None else self._restart(restart, ())
        self._seen = tuple(sorted(f"{change.id} {change.kind}" for change in changes))
        if restart is not None:
            return self._restart(restart, changes)
        if changes:
            return self._need(_reason(changes))
        return NotNeeded(self._name, running=running_kernel())

    def _restart(self, maintenance: Mapping[str, Any], changes: tuple[_Change, ...]) -> Need | NeedUnknown:
        value = maintenance.get("value")
        action = word(value.get("op")) if isinstance(value, dict) else ""
        message = printable(word(maintenance.get("message")))
        if action not in ("", "reboot"):  # halt, poweroff; older versions have no value
            return NeedUnknown(self._name, f"snapd is taking the machine down without a reboot: {message or action}")
        return self._need("; ".join(filter(None, (f"snapd: {message or 'system-restart'}", _reason(changes)))))

    def _need(self, reason: str) -> Need:
        return Need(
            provider=self._name,
            kind=self.kind,
            fingerprint=fingerprint(self.kind, *(self._seen or ("system-restart",))),
            reason=reason,
            origin=running_kernel(),
        )

    def _waiting(self) -> tuple[_Change, ...] | str:
        """The changes that wait for a reboot, or why they cannot be had."""
        answer = self._get("/v2/changes?select=in-progress")
        if isinstance(answer, str):
            return answer
        changes = answer.get("result")
        if changes is None:  # Go's word for an empty list
            return ()
        if not isinstance(changes, list) or not all(isinstance(change, dict) for change in changes):
            return f"unix:{self._socket}: the answer has no list of changes"
        return tuple(
            _Change(word(change.get("id")), word(change.get("kind")), printable(word(change.get("summary"))))
            for change in changes
            if change.get("status") == "Wait"
        )

    def _get(self, path: str) -> dict[str, Any] | str:
        """The response's object, or why there is none."""
        response = fetch(Request(f"http://localhost{path}", self._timeout, unix=self._socket))
        if isinstance(response, Failed):
            return response.reason
        where = f"unix:{self._socket}: GET {path}"
        if response.status != _OK:
            return f"{where}: status {response.status}; is that snapd, and may we read from it?"
        try:
            document = decoded(response)
        except ValueError as error:
            return f"{where}: {error}"
        if not isinstance(document, dict) or document.get("type") != "sync":
            return f"{where}: the answer is not snapd's"
        return document

    def _left_behind(self) -> dict[str, Any] | None:
        """The maintenance object of this boot's snapd, when it tells of a restart of the system."""
        booted = self._clock.wall().timestamp() - self._clock.boottime()
        try:
            if self._maintenance.stat().st_mtime < booted - _SLACK.total_seconds():
                return None
            document = decoded_text(self._maintenance.read_text(errors="replace"))
        except OSError:
            return None
        return document if document is not None and document.get("kind") == "system-restart" else None


def _reason(changes: tuple[_Change, ...]) -> str:
    """`Refresh "pc-kernel" snap waits for a reboot`."""
    if not changes:
        return ""
    shown = [change.summary or change.kind or f"change {change.id}" for change in changes[:_SHOWN]]
    more = len(changes) - _SHOWN
    verb = "waits" if len(changes) == 1 else "wait"
    return f"{', '.join(shown)}{f' and {more} more' if more > 0 else ''} {verb} for a reboot"
