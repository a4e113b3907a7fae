"""k3OS (archived in 2023): components that are unpacked beside the running ones and switched by links.

The idea a reader would miss: an upgrade only moves the links `current` (pkg/system/component.go), so what runs is told by
the running system, never by a link: VERSION_ID in os-release and the kernel's release, as `k3os` itself tells them
(pkg/system/version.go). Boards without a kernel component of k3OS (arm) have only the first. k3s restarts without a reboot:
its link is only told to people.

There is no systemd here: reboot with the `command` rebooter. The system-upgrade-controller's plan passes `--reboot`, which
reboots without asking anybody: take it out.
"""

from pathlib import Path

from locksmith.host.identity import os_release, running_kernel
from locksmith.host.outcome import printable
from locksmith.updates import Answer, Need, NeedUnknown, NotNeeded
from locksmith.updates.fingerprint import fingerprint

ROOT = Path("/k3os/system")


class K3os:
    """Needed while a link points to another version than runs. Versions are `v0.20.7-k3s1r0, kernel 5.4.0-73-generic`."""

    kind = "k3os"

    def __init__(self, name: str, root: Path = ROOT, *, release: Path | None = None, kernel: str | None = None) -> None:
        """`root` holds the components. `release` is the running system's os-release file, `kernel` its kernel's release."""
        self._name = name
        self._root = root
        self._release = () if release is None else (release,)
        self._kernel = kernel

    @property
    def name(self) -> str:
        """See Provider."""
        return self._name

    def ask(self) -> Answer:
        """See Provider."""
        running = printable(os_release(*self._release).get("VERSION_ID", ""))
        if not running:
            return NeedUnknown(self._name, "os-release has no VERSION_ID: is this k3OS?")
        kernel = self._kernel or running_kernel()
        try:
            staged = self._current("k3os")
            staged_kernel = self._current("kernel")
            k3s = self._current("k3s")
        except OSError as error:
            return NeedUnknown(self._name, f"cannot read the link {error.filename}: {error.strerror}")
        if not staged:
            return NeedUnknown(self._name, f"there is no {self._root / 'k3os' / 'current'}: is this k3OS?")
        staged_kernel = staged_kernel or kernel
        if (staged, staged_kernel) == (running, kernel):
            return NotNeeded(self._name, running=_version(running, kernel))
        changed = [
            f"{component} {new}"
            for component, old, new in (("k3OS", running, staged), ("kernel", kernel, staged_kernel))
            if old != new
        ]
        return Need(
            provider=self._name,
            kind=self.kind,
            fingerprint=fingerprint(self.kind, staged, staged_kernel),
            reason=" and ".join(changed) + (f"; k3s is {k3s}" if k3s else ""),
            origin=_version(running, kernel),
            target=_version(staged, staged_kernel),
        )

    def _current(self, component: str) -> str:
        """The version that the component's link names, empty when there is no link. Raises OSError."""
        try:
            return printable((self._root / component / "current").readlink().name)
        except (FileNotFoundError, NotADirectoryError):
            return ""


def _version(system: str, kernel: str) -> str:
    return f"{system}, kernel {kernel}"
