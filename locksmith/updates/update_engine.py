"""Flatcar's update_engine: a staged update waits for a reboot when its status says so, and only then.

Origin: hosts.md and peers.md 2.11, and Flatcar's update_attempter.cc: the status `UPDATE_STATUS_UPDATED_NEED_REBOOT` is set
together with a marker file in /run, and after a restart of the service restored from that file; the version is not, it
reads 0.0.0 from then on. `ResetStatus` withdraws (status IDLE, marker removed) and sends no signal: hence the poll.

What was chosen about the version, which carries the loop guard and the check after the reboot:

* The fingerprint is made of the version alone. The marker's time would be steady over a restart of the service too, but an
  update that failed to boot is staged again with a new marker: by that fingerprint the machine would reboot for it for ever.
* A version that was seen is remembered together with the marker's time, in memory and in `memory` (below /run), so that
  neither a restart of the service nor one of the agent changes the fingerprint. Another marker is another update.
* A version that nobody saw is unknown: no target, and a fingerprint made of the version that runs now. It blocks one reboot
  too many rather than one too few: after a fall back to the same version, nothing unknown is tried twice.

A marker beside any other status contradicts itself, and no status is an answer while the service is away: both are unknown.
"""

import json
import threading
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from locksmith.errors import Damaged
from locksmith.host.bus import BusError, Caller, Hears, NoService, Peer, Resumed
from locksmith.host.files import stamped, write_durably
from locksmith.host.identity import OS_RELEASE, os_release
from locksmith.host.outcome import printable
from locksmith.updates import Answer, Need, NeedUnknown, NotNeeded
from locksmith.updates.fingerprint import fingerprint

MANAGER = Peer("com.coreos.update1", "/com/coreos/update1", "com.coreos.update1.Manager")
MARKER = Path("/run/update_engine_autoupdate_completed")
NEED_REBOOT = "UPDATE_STATUS_UPDATED_NEED_REBOOT"
NOTHING_STAGED = frozenset(
    f"UPDATE_STATUS_{word}"
    for word in (
        "IDLE",
        "CHECKING_FOR_UPDATE",
        "UPDATE_AVAILABLE",
        "DOWNLOADING",
        "VERIFYING",
        "FINALIZING",
        "REPORTING_ERROR_EVENT",
    )
)
"""A staged update never goes back to one of these: update_engine only pings its server until the reboot."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """The version of the update whose marker was written at `marked` (ns since the epoch; None: no marker is to be seen)."""

    marked: int | None
    version: str


class UpdateEngine:
    """Asks update_engine, and hears its StatusUpdate."""

    kind = "update-engine"

    def __init__(  # noqa: PLR0913 - the files of a host, which a test has elsewhere
        self,
        name: str,
        bus: Caller,
        *,
        os_release: Path | None = None,
        marker: Path = MARKER,
        timeout: timedelta = timedelta(seconds=10),
        memory: Path | None = None,
    ) -> None:
        """`os_release` None: the machine's. `memory`: where the version is kept over a restart of the agent."""
        self._name = name
        self._bus = bus
        self._release = OS_RELEASE if os_release is None else (os_release,)
        self._marker = marker
        self._timeout = timeout
        self._memory = memory
        self._seen = _recall(memory)
        self._listener: Hears | None = None
        self._lock = threading.Lock()
        self._told: tuple[str, str] | None = None

    @property
    def name(self) -> str:
        """See Provider."""
        return self._name

    def ask(self) -> Answer:
        """See Provider."""
        try:
            marked = self._marked()
            body = self._bus.call(MANAGER, "GetStatus", limit=self._timeout)
            status, version = _status(body)
        except OSError as error:
            return NeedUnknown(self._name, f"cannot look at {self._marker}: {error.strerror}")
        except NoService as error:
            return NeedUnknown(self._name, f"{error}: is update-engine.service running?")
        except (BusError, ValueError) as error:
            return NeedUnknown(self._name, str(error))
        with self._lock:
            self._told = _shown(status, version)
        if status == NEED_REBOOT:
            return self._need(version, marked)
        if status not in NOTHING_STAGED:
            return NeedUnknown(
                self._name, f"update_engine has the status {printable(status)!r}, which means nothing here"
            )
        if marked is not None and self._marker.exists():  # still, for a reset may have come in between
            reason = f"update_engine has the status {status}, but {self._marker} says that an update waits for a reboot"
            return NeedUnknown(self._name, f"{reason}: remove the file, or restart update-engine.service")
        self._note(None)
        return NotNeeded(self._name, running=self._running())

    def wait(self, limit: timedelta) -> bool:
        """See Signalling. Progress of a download is no change."""
        deadline = time.monotonic() + limit.total_seconds()
        if self._listener is None:
            self._listener = self._bus.listen(MANAGER, "StatusUpdate")
        while (left := deadline - time.monotonic()) > 0:
            heard = self._listener.next(timedelta(seconds=left))
            if heard is None:
                return False
            if isinstance(heard, Resumed) or heard.member != "StatusUpdate":
                return True
            if self._is_news(heard.body):
                return True
        return False

    def _is_news(self, body: tuple[Any, ...]) -> bool:
        try:
            told = _shown(*_status(body))
        except ValueError:
            return True
        with self._lock:
            news = told != self._told
            self._told = told
        return news

    def _need(self, version: str, marked: int | None) -> Need:
        target = self._version(version, marked)
        origin = self._running()
        return Need(
            provider=self._name,
            kind=self.kind,
            fingerprint=fingerprint(self.kind, target)
            if target is not None
            else fingerprint(self.kind, "unknown", origin or ""),
            reason=f"update_engine has staged {target or 'an update'}",
            origin=origin,
            target=target,
            since=stamped(marked) if marked is not None else None,
        )

    def _version(self, version: str, marked: int | None) -> str | None:
        """The version that is staged; after a restart of update_engine the one that was seen before."""
        if version.strip("0."):
            self._note(_Seen(marked, version))
            return version
        seen = self._seen
        return seen.version if seen is not None and seen.marked == marked else None

    def _note(self, seen: _Seen | None) -> None:
        if seen == self._seen:
            return
        self._seen = seen
        if self._memory is None:
            return
        try:
            if seen is None:
                self._memory.unlink(missing_ok=True)
            elif seen.marked is not None:
                document = {"marked": seen.marked, "version": seen.version}
                write_durably(self._memory, json.dumps(document).encode() + b"\n")
        except (OSError, Damaged):
            return  # it only helps after a restart of both

    def _marked(self) -> int | None:
        """Raises OSError when nobody can say whether it is there."""
        try:
            return self._marker.stat().st_mtime_ns
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _running(self) -> str | None:
        return os_release(*self._release).get("VERSION_ID")


def _status(body: tuple[Any, ...]) -> tuple[str, str]:
    """Status and version of (last_checked x, progress d, operation s, version s, size x). Raises ValueError."""
    match body:
        case (_, _, str(status), str(version), _):
            return status, printable(version)
        case _:
            raise ValueError("update_engine answers with something else than a status: is it Flatcar's?")


def _shown(status: str, version: str) -> tuple[str, str]:
    """What of a status can change an answer."""
    return (status, version) if status == NEED_REBOOT else ("" if status in NOTHING_STAGED else status, "")


def _recall(memory: Path | None) -> _Seen | None:
    if memory is None:
        return None
    try:
        document: Any = json.loads(memory.read_text())
    except (OSError, ValueError):
        return None
    match document:
        case {"marked": int(marked), "version": str(version)}:
            return _Seen(marked, printable(version))
        case _:
            return None
