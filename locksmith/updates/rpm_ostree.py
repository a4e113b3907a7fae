"""rpm-ostree: Fedora CoreOS, IoT and Silverblue, RHEL for Edge, RHEL CoreOS.

The ideas a reader would miss. What boots next decides, not the word `staged` alone: an update that was finalized in an
earlier boot and a rollback that somebody asked for are needs as well. And what makes two needs equal is the commit without
its serial number, since a commit that failed, was rolled back and is staged again gets another one; only when the commit
is the running one (other kernel arguments) does the number count.
"""

from collections.abc import Sequence
from datetime import timedelta

from locksmith.host import rpm_ostree
from locksmith.host.rpm_ostree import Deployment, Status
from locksmith.host.said import Unsaid
from locksmith.updates import Answer, Need, NeedUnknown, NotNeeded
from locksmith.updates.fingerprint import fingerprint


class RpmOstree:
    """Needed while another deployment than the booted one boots next. Versions are `39.20240407.3.0 (4f5997a887d9)`."""

    kind = "rpm-ostree"

    def __init__(self, name: str, timeout: timedelta, *, command: Sequence[str] = rpm_ostree.COMMAND) -> None:
        """Each question ends within `timeout`; it starts rpm-ostree's daemon, which takes a second or two."""
        self._name = name
        self._timeout = timeout
        self._command = tuple(command)

    @property
    def name(self) -> str:
        """See Provider."""
        return self._name

    def ask(self) -> Answer:
        """See Provider."""
        status = rpm_ostree.status(self._command, self._timeout)
        if isinstance(status, Unsaid):
            return NeedUnknown(self._name, status.reason)
        if status.next == status.booted:
            return NotNeeded(self._name, running=status.booted.name())
        return Need(
            provider=self._name,
            kind=self.kind,
            fingerprint=fingerprint(self.kind, *_what(status)),
            reason=_reason(status.next),
            origin=status.booted.name(),
            target=status.next.name(),
        )


def _what(status: Status) -> tuple[str, ...]:
    checksum = status.next.checksum
    return (checksum, str(status.next.serial)) if checksum == status.booted.checksum else (checksum,)


def _reason(waiting: Deployment) -> str:
    if not waiting.staged:
        return f"{waiting.name()} boots next"
    return f"{waiting.name()} is staged" + (", finalization locked" if waiting.locked else "")
