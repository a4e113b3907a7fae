"""How the machine is to go down and come up: in full, over kexec, or with the kernel kept; and when that cannot be done.

The idea a reader would miss: a soft reboot keeps the boot id, so it is proven by systemd's own count alone. Where that
count does not exist (it is younger than soft reboots) the agent would wait for ever for a reboot that took place: there it
is a full one.
Origin: /run/reboot-needed is written by transactional-update and zypp-boot-plugin (hosts.md, 2); reboot(2) and
/sys/kernel/kexec_loaded are the kernel's.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, assert_never

from locksmith.host.outcome import printable
from locksmith.host.system import System

Method = Literal["reboot", "kexec", "soft-reboot", "requested"]
"""What the configuration says; `requested`: what the update system wrote down, else a full reboot."""
Way = Literal["reboot", "kexec", "soft-reboot"]

REQUESTED = Path("/run/reboot-needed")
KEXEC_LOADED = Path("/sys/kernel/kexec_loaded")


@dataclass(frozen=True, slots=True)
class Choice:
    """The way to go; `instead` says why it is not the one that was wanted, "" when it is."""

    way: Way
    instead: str = ""


class Methods:
    """Looks at the machine each time, since a kernel is loaded and a file is written while the agent runs."""

    def __init__(
        self, method: Method, system: System, requested: Path = REQUESTED, kexec_loaded: Path = KEXEC_LOADED
    ) -> None:
        """`requested` and `kexec_loaded` are elsewhere in tests."""
        self._method = method
        self._system = system
        self._requested = requested
        self._kexec_loaded = kexec_loaded

    def choose(self) -> Choice:
        """What is wanted if it can be done, else a full reboot. Bounded in time; raises nothing."""
        wanted = self._wanted()
        match wanted:
            case "reboot":
                return Choice("reboot")
            case "kexec":
                if self._is_loaded():
                    return Choice("kexec")
                return Choice("reboot", "no kernel is loaded for kexec: a full reboot instead")
            case "soft-reboot":
                if self._system.counts_soft_reboots():
                    return Choice("soft-reboot")
                return Choice(
                    "reboot", "systemd here does not count soft reboots (SoftRebootsCount): a full reboot instead"
                )
            case str():
                return Choice("reboot", f"{self._requested} asks for {printable(wanted)!r}: a full reboot instead")
            case _:
                assert_never(wanted)

    def _wanted(self) -> str:
        if self._method != "requested":
            return self._method
        try:
            return self._requested.read_text(errors="replace").strip() or "reboot"
        except OSError:
            return "reboot"

    def _is_loaded(self) -> bool:
        try:
            return self._kexec_loaded.read_text().strip() == "1"
        except OSError:
            return False
