"""The running kernel against the one that boots next: for machines on which nothing else tells that a reboot is due.

The ideas a reader would miss. The question is not "is there a higher number" but "would a reboot bring a newer kernel", so the
boot loader's own files are asked (`boot_loader`), and an *older* next kernel is no need: somebody held or downgraded it on
purpose. One exception: when the modules of the running kernel are gone (Arch removes them with the update), any kernel that
boots next is better than the one that runs. Where files cannot tell, the answer is unknown. A machine whose running kernel was
never installed here (a virtual machine whose kernel the hypervisor brings) is told by its command line, and is unknown too:
no reboot would ever clear it.

A rebuild of the same release is not seen; needrestart sees it.
"""

import re
from collections.abc import Callable
from functools import cmp_to_key
from pathlib import Path, PurePosixPath

from locksmith.host.identity import running_kernel
from locksmith.updates import Answer, Need, NeedUnknown, NotNeeded
from locksmith.updates.boot_loader import Boots, Untold, next_kernel
from locksmith.updates.container import in_container
from locksmith.updates.fingerprint import fingerprint
from locksmith.updates.kernel_images import has_modules, installed
from locksmith.updates.kernel_versions import compare_debian, compare_rpm, is_debian, is_newer

_FROM_HERE = re.compile(r"(?:BOOT_IMAGE|initrd)=(\S+)")
"""GRUB and the EFI stub leave on the command line which file they loaded."""


class Kernel:
    """Needed while a newer kernel boots next than runs."""

    kind = "kernel"

    def __init__(self, name: str, *, root: Path = Path("/"), running: Callable[[], str] = running_kernel) -> None:
        """`root` is where /boot, /proc and the modules are looked for."""
        self._name = name
        self._root = root
        self._running = running

    @property
    def name(self) -> str:
        """See Provider."""
        return self._name

    def ask(self) -> Answer:
        """See Provider."""
        try:
            return self._judge(self._running())
        except (OSError, ValueError) as error:
            return self._unknown(f"cannot look for installed kernels: {error}")

    def _judge(self, running: str) -> Answer:
        """Raises OSError for what cannot be looked at."""
        if in_container(self._root):
            return self._unknown("this is a container, its kernel is the host's: remove this provider")
        kernels = installed(self._root)
        if not kernels:
            return self._unknown("no kernel is installed in /boot or /usr/lib/modules: is /boot mounted?")
        gone = running not in kernels and not has_modules(self._root, running)
        if gone and not self._came_from_here(running):
            return self._unknown(
                f"kernel {running} runs and was not booted from this file system: remove this provider"
            )
        match next_kernel(self._root):
            case Boots(release=release):
                return self._against(running, release, gone=gone)
            case Untold(reason=reason):
                return self._without_loader(running, kernels, reason, gone=gone)

    def _against(self, running: str, release: str, *, gone: bool) -> Answer:
        newer = is_newer(release, running, debian=is_debian(self._root))
        if release == running or not (newer or gone):
            return NotNeeded(self._name, running=running)
        return self._need(running, release, f"kernel {release}" if newer else f"kernel {release}, {running} is removed")

    def _without_loader(self, running: str, kernels: frozenset[str], reason: str, *, gone: bool) -> Answer:
        """What can be said all the same: the highest one runs, or the running one is not there any more."""
        if gone:
            target = next(iter(kernels)) if len(kernels) == 1 else None
            return self._need(running, target, f"kernel {target or running}{'' if target else ' is removed'}")
        order = compare_debian if is_debian(self._root) else compare_rpm
        highest = max(sorted(kernels), key=cmp_to_key(order))
        if order(highest, running) <= 0:
            return NotNeeded(self._name, running=running)
        return self._unknown(
            f"kernel {highest} is installed and {running} runs, and which boots next is unknown: {reason}"
        )

    def _need(self, running: str, target: str | None, reason: str) -> Need:
        return Need(
            provider=self._name,
            kind=self.kind,
            fingerprint=fingerprint(self.kind, target or "", "" if target else running),
            reason=reason,
            origin=running,
            target=target,
        )

    def _came_from_here(self, running: str) -> bool:
        """Whether the command line names a file of this /boot, or one that carries the running release."""
        try:
            line = (self._root / "proc/cmdline").read_text(errors="replace")
        except FileNotFoundError:
            return False
        names = (PurePosixPath(path.replace("\\", "/")).name for path in _FROM_HERE.findall(line))
        return any(name and (running in name or (self._root / "boot" / name).exists()) for name in names)

    def _unknown(self, reason: str) -> NeedUnknown:
        return NeedUnknown(self._name, reason)
