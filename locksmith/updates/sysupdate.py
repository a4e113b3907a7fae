"""systemd-sysupdate: images with A/B partitions, from systemd 251 on.

The idea a reader would miss: `pending` ends with 0 when the newest installed version is newer than the booted one, and with
1 both when it is not *and* when anything went wrong (src/sysupdate/sysupdate.c, verb_pending_or_reboot). Only the message
on standard error tells them apart, so it is asked for in words that do not depend on our environment, and a 1 without one
of the two messages of an honest no is unknown.

systemd's own systemd-sysupdate-reboot.timer reboots without asking anybody: disable it.
"""

import re
import shutil
from collections.abc import Sequence
from datetime import timedelta

from locksmith.host.outcome import Finished, Outcome, describe, printable
from locksmith.host.process import run
from locksmith.updates import Answer, Need, NeedUnknown, NotNeeded
from locksmith.updates.fingerprint import fingerprint

PROGRAM = "systemd-sysupdate"
FALLBACK = "/usr/lib/systemd/systemd-sysupdate"
"""Where it is when PATH does not know it: systemd keeps it beside its daemons."""

_ENVIRONMENT = {
    "LC_ALL": "C",
    "SYSTEMD_COLORS": "0",
    "SYSTEMD_LOG_COLOR": "0",
    "SYSTEMD_LOG_LEVEL": "info",
    "SYSTEMD_LOG_LOCATION": "0",
    "SYSTEMD_LOG_TARGET": "console",
    "SYSTEMD_LOG_TID": "0",
    "SYSTEMD_LOG_TIME": "0",
}
_VERSIONS = re.compile(r"Newest installed version '(.*)' (is newer than|matches|is older than) booted version '(.*)'\.")


class Sysupdate:
    """Needed while a newer version is installed than the booted one. Versions are IMAGE_VERSION of os-release."""

    kind = "sysupdate"

    def __init__(self, name: str, timeout: timedelta, *, command: Sequence[str] | None = None) -> None:
        """Each question ends within `timeout`. The default command is looked up anew each time."""
        self._name = name
        self._timeout = timeout
        self._command = None if command is None else tuple(command)

    @property
    def name(self) -> str:
        """See Provider."""
        return self._name

    def ask(self) -> Answer:
        """See Provider."""
        command = self._command or (shutil.which(PROGRAM) or FALLBACK,)
        return self.read(run((*command, "pending"), timeout=self._timeout, environment=_ENVIRONMENT))

    def read(self, outcome: Outcome) -> Answer:
        """What the end of `systemd-sysupdate pending` says."""
        if not isinstance(outcome, Finished):
            return self._unknown(describe(outcome))
        found = _VERSIONS.findall(outcome.stderr)
        installed, relation, booted = map(printable, found[-1]) if found else ("", "", "")
        match outcome.code, relation:
            case 0, "is newer than":
                return Need(
                    provider=self._name,
                    kind=self.kind,
                    fingerprint=fingerprint(self.kind, installed),
                    reason=f"version {installed} is installed",
                    origin=booted or None,
                    target=installed or None,
                )
            case 1, "matches" | "is older than":
                return NotNeeded(self._name, running=booted or None)
            case 0 | 1, "":
                return self._unknown(f"no word about versions; {describe(outcome)}")
            case _:
                return self._unknown(describe(outcome))

    def _unknown(self, why: str) -> NeedUnknown:
        return NeedUnknown(self._name, f"{PROGRAM} pending: {why}")
