"""needrestart of Debian and Ubuntu: whether a newer kernel, or newer CPU microcode, waits for a reboot.

The ideas a reader would miss. Batch mode (`-b`) never restarts anything and never asks (needrestart's README.batch.md); with
`-k` only the kernel is looked at, and `-r l` keeps a configured `restart = 'a'` from mattering at all. The exit code says
nothing, it is 0 for every answer. And three of its answers are not to be taken at their word (tried with 3.6):

* KSTA 3, "version upgrade", only means that the highest number in /boot is not what runs. It comes as well where only an
  *older* kernel is installed, as on machines whose kernel the hypervisor brings: no reboot would ever clear it. Unknown.
* KSTA 2, "ABI compatible upgrade", is a newer build of the running release, so a need; but the two builds have one release,
  so there is no other version to come back with. Its target is None, that a finished reboot is not taken for a rollback;
  its fingerprint holds the image file, that the next build is another update and a build that does not boot is not.
* KSTA 2 is also what a user without rights gets who cannot read /boot/vmlinuz-* (0600 on Ubuntu). Unknown.

Inside a container it prints its version and nothing else. In a virtual machine it says nothing about microcode, which then
is the hypervisor's affair. UCSTA: 0 unknown, 1 current, 2 obsolete (NeedRestart/uCode.pm).
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from locksmith.host.outcome import Finished, describe, printable
from locksmith.host.process import run
from locksmith.updates import Answer, Need, NeedUnknown, NotNeeded
from locksmith.updates.boot_loader import Boots, Untold, next_kernel
from locksmith.updates.fingerprint import fingerprint
from locksmith.updates.kernel_versions import is_newer

_PREFIX = "NEEDRESTART-"
_ENVIRONMENT = {"LC_ALL": "C", "LANGUAGE": "", "DEBIAN_FRONTEND": "noninteractive"}


@dataclass(frozen=True, slots=True)
class _Pending:
    """One thing that waits for a reboot."""

    reason: str
    parts: tuple[str, ...]
    target: str | None = None


_Found = _Pending | str | None
"""Pending, the reason why nobody can say, or nothing to do."""


class Needrestart:
    """Needed while a newer kernel (and with `microcode` a newer microcode) is installed than runs."""

    kind = "needrestart"

    def __init__(  # noqa: PLR0913 - three that a configuration has, three for tests
        self,
        name: str,
        timeout: timedelta,
        microcode: bool = False,
        *,
        command: Sequence[str] = ("needrestart",),
        boot: Path = Path("/boot"),
        privileged: Callable[[], bool] = lambda: os.geteuid() == 0,
    ) -> None:
        """`timeout` is for one run of needrestart; `boot` is where it looks for kernels."""
        self._name = name
        self._timeout = timeout
        self._microcode = microcode
        self._command = (*command, "-b", "-k", *(("-w",) if microcode else ()), "-r", "l")
        self._boot = boot
        self._privileged = privileged

    @property
    def name(self) -> str:
        """See Provider."""
        return self._name

    def ask(self) -> Answer:
        """See Provider."""
        outcome = run(self._command, timeout=self._timeout, environment=_ENVIRONMENT)
        match outcome:
            case Finished(code=0, stdout=stdout):
                return self.judge(stdout)
            case _:
                return NeedUnknown(self._name, f"needrestart: {describe(outcome)}")

    def judge(self, output: str) -> Answer:
        """What needrestart's output means, when it ended well."""
        said = _fields(output)
        found = (self._kernel(said), self._ucode(said) if self._microcode else None)
        pending = [one for one in found if isinstance(one, _Pending)]
        doubts = [one for one in found if isinstance(one, str)]
        running = said.get("KCUR") or None
        if pending:
            return Need(
                provider=self._name,
                kind=self.kind,
                fingerprint=fingerprint(self.kind, *(part for one in pending for part in one.parts)),
                reason=", ".join(one.reason for one in pending),
                origin=running,
                target=pending[0].target,
            )
        if doubts:
            return NeedUnknown(self._name, "; ".join(doubts))
        return NotNeeded(self._name, running=running)

    def _kernel(self, said: dict[str, str]) -> _Found:
        current, expected = said.get("KCUR", ""), said.get("KEXP", "")
        match said.get("KSTA"):
            case None if "VER" not in said:
                return "needrestart printed nothing that its batch mode prints: run `needrestart -b -k` to see what it says"
            case None:
                return "needrestart says nothing about the kernel, as in a container: its host decides, remove this provider"
            case "1" if current:
                return None
            case "2" if current and not self._privileged():
                return "needrestart cannot read the kernel images in /boot without root, and then takes any for a newer build"
            case "2" if current:
                image = _identity(self._boot / f"vmlinuz-{expected or current}")
                return _Pending(f"a newer build of kernel {current}", ("build", expected or current, image))
            case "3" if current and expected and is_newer(current, expected, debian=True):
                return (
                    f"kernel {current} runs and only older ones are installed ({expected}): needrestart does not know "
                    "which boots next"
                )
            case "3" if current and expected and self._held(current):
                return None  # a reboot would bring the same kernel again
            case "3" if current and expected and current != expected:
                return _Pending(f"kernel {expected}", ("kernel", expected), expected)
            case "0":
                return "needrestart found no kernel image that it can read in /boot"
            case state:
                return (
                    f"needrestart's answer makes no sense (KSTA {state}, KCUR {current or '-'}, KEXP {expected or '-'})"
                )

    def _held(self, current: str) -> bool:
        """Whether the boot loader is told to start the running kernel again, whatever newer one is installed."""
        match next_kernel(self._boot.parent):
            case Boots(release):
                return release == current
            case Untold():
                return False

    def _ucode(self, said: dict[str, str]) -> _Found:
        """In a virtual machine there is no line, and so nothing to do."""
        match said.get("UCSTA"):
            case None | "1":
                return None
            case "2":
                revision = said.get("UCEXP", "")
                return _Pending(f"CPU microcode {revision}".rstrip(), ("microcode", revision))
            case "0":
                return (
                    "needrestart cannot tell the microcode: install intel-microcode or amd64-microcode, or leave it out"
                )
            case state:
                return f"needrestart's answer makes no sense (UCSTA {state})"


def _fields(text: str) -> dict[str, str]:
    """The lines by their names without the prefix; a name that comes with two values has neither."""
    said: dict[str, str] = {}
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon and name.startswith(_PREFIX):
            key, clean = name.removeprefix(_PREFIX), printable(value)
            said[key] = clean if said.get(key, clean) == clean else ""
    return said


def _identity(path: Path) -> str:
    """When the file was made and how big it is; empty when nobody can look."""
    try:
        seen = path.stat()
    except (OSError, ValueError):
        return ""
    return f"{seen.st_mtime_ns}/{seen.st_size}"
