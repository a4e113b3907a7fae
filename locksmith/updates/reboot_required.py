"""The flag file of Debian and Ubuntu, /run/reboot-required, with the packages that asked for it.

The idea a reader would miss is what makes two needs equal for the loop guard: the set of packages *and* the time at which
the flag was written. /run is emptied by a reboot, so a flag that is still there with its old time was not cleared by the
reboot and must not cause another one; a flag written after the boot is a new reason, even if it names the same packages
(their next build). The order of the packages and repeated lines mean nothing.
"""

from pathlib import Path

from locksmith.host.clock import Clock, SystemClock
from locksmith.host.files import stamped
from locksmith.host.identity import running_kernel
from locksmith.host.outcome import printable
from locksmith.updates import Answer, Need, NeedUnknown, NotNeeded
from locksmith.updates.fingerprint import of_text
from locksmith.updates.packages import named

DEFAULT_PATH = Path("/run/reboot-required")


class RebootRequired:
    """Needed while the file exists."""

    kind = "reboot-required"

    def __init__(
        self, name: str, path: Path = DEFAULT_PATH, packages: Path | None = None, clock: Clock | None = None
    ) -> None:
        """`packages` is the list beside it, one name a line; default `path` with `.pkgs` behind it."""
        self._name = name
        self._path = path
        self._packages = packages or path.with_name(f"{path.name}.pkgs")
        self._clock = clock or SystemClock()

    @property
    def name(self) -> str:
        """See Provider."""
        return self._name

    def ask(self) -> Answer:
        """See Provider."""
        try:
            written = self._path.stat().st_mtime_ns
        except (FileNotFoundError, NotADirectoryError):
            return NotNeeded(self._name, running=running_kernel())
        except OSError as error:
            return NeedUnknown(self._name, f"cannot look at {self._path}: {error.strerror}")
        try:
            packages = _names(self._packages)
        except OSError as error:
            return NeedUnknown(self._name, f"cannot read {self._packages}: {error.strerror}")
        now = self._clock.wall()
        return Need(
            provider=self._name,
            kind=self.kind,
            fingerprint=of_text("\n".join((self._name, str(written), *sorted(packages)))),
            reason=self._reason(packages),
            origin=running_kernel(),
            since=min(stamped(written) or now, now),
        )

    def _reason(self, packages: tuple[str, ...]) -> str:
        if not packages:
            return f"{self._path} exists"
        return named(packages)


def _names(path: Path) -> tuple[str, ...]:
    """Each package once, in the order of the file; none when there is no such file."""
    try:
        text = path.read_text(errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return ()
    return tuple(dict.fromkeys(name for line in text.splitlines() if (name := printable(line))))
