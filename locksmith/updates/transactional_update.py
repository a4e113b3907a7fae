"""openSUSE and SUSE (MicroOS, Leap, SLE): /run/reboot-needed, written by zypp-boot-plugin, libzypp or tukit.

The ideas a reader would miss. The word in the file says how little would do (`reboot`, `kexec`, `soft-reboot`, see
zypp-boot-plugin's README), and libzypp itself leaves the file empty: *that* it exists is the need, as for `zypper
needs-rebooting`, whatever is in it. As with Debian's flag the time at which it was written makes it a new need: a reboot
empties /run, and after a soft reboot, which does not, the flag is the old one to the loop guard. And on a transactional
system the versions are snapshots of btrfs: the booted one stands in the kernel's list of mounts, the one that boots next is
btrfs's default subvolume (btrfs-subvolume(8)); health-checker goes back to the former when the latter fails.

Set `REBOOT_METHOD=none` in transactional-update.conf(5) and switch rebootmgr off, or they reboot without asking anybody.
"""

import re
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from locksmith.host.clock import Clock, SystemClock
from locksmith.host.files import stamped
from locksmith.host.identity import running_kernel
from locksmith.host.outcome import Finished, printable
from locksmith.host.process import run
from locksmith.updates import Answer, Need, NeedUnknown, NotNeeded
from locksmith.updates.fingerprint import fingerprint

DEFAULT_PATH = Path("/run/reboot-needed")
MOUNTS = Path("/proc/self/mountinfo")
DEFAULT_SUBVOLUME = ("btrfs", "subvolume", "get-default", "/")

_READ = 256
"""Characters of the file that are looked at; one word stands there."""
_LIMIT = timedelta(seconds=10)
_SNAPSHOT = re.compile(r"/\.snapshots/([0-9]+)/snapshot")
_MOUNT_FIELDS = 5

_REASONS = {
    "": "packages were installed that need a reboot",
    "reboot": "packages were installed that need a reboot",
    "kexec": "packages were installed that need a reboot (kexec would do)",
    "soft-reboot": "packages were installed that need a reboot (soft-reboot would do)",
}


class TransactionalUpdate:
    """Needed while the file exists. Versions are `snapshot 12`, or the kernel's release where / is no snapshot."""

    kind = "transactional-update"

    def __init__(
        self,
        name: str,
        path: Path = DEFAULT_PATH,
        *,
        mounts: Path = MOUNTS,
        default_subvolume: Sequence[str] = DEFAULT_SUBVOLUME,
        clock: Clock | None = None,
    ) -> None:
        """`default_subvolume` is the command that names what boots next; it needs root, and is asked only for a need."""
        self._name = name
        self._path = path
        self._mounts = mounts
        self._default = tuple(default_subvolume)
        self._clock = clock or SystemClock()

    @property
    def name(self) -> str:
        """See Provider."""
        return self._name

    def ask(self) -> Answer:
        """See Provider."""
        booted = self._booted()
        running = booted or running_kernel()
        try:
            written = self._path.stat().st_mtime_ns
            with self._path.open(errors="replace") as file:
                word = printable(file.read(_READ))
        except (FileNotFoundError, NotADirectoryError):
            return NotNeeded(self._name, running=running)
        except OSError as error:
            return NeedUnknown(self._name, f"cannot read {self._path}: {error.strerror}")
        target, now = self._next() if booted else "", self._clock.wall()
        return Need(
            provider=self._name,
            kind=self.kind,
            fingerprint=fingerprint(self.kind, str(written), word),
            reason=_REASONS.get(word, f"{self._path} says {word!r}"),
            origin=running,
            target=target if target not in ("", booted) else None,
            since=min(stamped(written) or now, now),
        )

    def _booted(self) -> str:
        """The snapshot that / is, from proc_pid_mountinfo(5): the fourth field is the root within the file system."""
        try:
            lines = self._mounts.read_text(errors="replace").splitlines()
        except OSError:
            return ""
        roots = [fields[3] for line in lines if len(fields := line.split(" ")) > _MOUNT_FIELDS and fields[4] == "/"]
        return _snapshot(roots[-1]) if roots else ""

    def _next(self) -> str:
        outcome = run(self._default, timeout=_LIMIT, environment={"LC_ALL": "C"})
        return _snapshot(outcome.stdout) if isinstance(outcome, Finished) and outcome.code == 0 else ""


def _snapshot(text: str) -> str:
    """`snapshot 12` for a path like @/.snapshots/12/snapshot, empty for anything else."""
    found = _SNAPSHOT.search(text)
    return f"snapshot {found[1]}" if found else ""
