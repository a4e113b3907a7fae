"""The built-in gate against a second coordinator: closed while something else on this host reboots it by rules of its own.

The ideas a reader would miss. Two coordinators with a lock each are no lock at all, so the gate is closed until somebody
stops the other one, or says that both are meant (`agent.allow_coordinators`, by the names in KNOWN). We are never "another":
not by our lock on coordinator.conf, not by the name locksmithd, which the program of Flatcar has as well and which is told
from ours by being a program of its own and no Python script. And it is asked with every question about gates: two listings
of /proc, a few small files, one call of systemctl.

Seen is what can be seen on a host: the lock, processes (kured and Flatcar's Kubernetes agent run in pods, whose processes
are in the host's /proc), units and settings. Where the answer should have come and did not, it is unknown, which is closed.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from locksmith.checks import Occasion
from locksmith.core.environment_file import parse_environment_file
from locksmith.core.verdict import Closed, Open, Unknown, Verdict
from locksmith.host import self_rebooting
from locksmith.host.flocks import flock_holder
from locksmith.host.outcome import Finished, describe, printable
from locksmith.host.self_rebooting import UnattendedUpgrades, Unreadable
from locksmith.host.system import System

LOCKSMITHD = "locksmithd"
FILE = "coordinator-file"
KNOWN = (
    LOCKSMITHD,
    FILE,
    "kured",
    "flatcar-update-agent",
    "zincati",
    "rebootmgr",
    "unattended-upgrades",
    "dnf-automatic",
    "rpm-ostreed-automatic",
    "transactional-update",
    "bootc",
    "sysupdate",
)
"""The names that `allow` may have."""

ROOT, PROC = Path("/"), Path("/proc")

_AT_WORK = ("active", "activating", "reloading", "refreshing")
_PROCESSES = {
    LOCKSMITHD: (LOCKSMITHD, "stop its unit, or put ours in its place, see docs/flatcar.md"),
    "kured": ("kured", "delete its DaemonSet, or keep it off this node"),
    "update-agent": ("flatcar-update-agent", "delete flatcar-linux-update-agent, or keep it off this node"),
}
"""By the name of the process: our name for it, and how it is stopped."""
_UNITS = {
    "kured.service": ("kured", "systemctl disable --now kured.service"),
    "zincati.service": ("zincati", "systemctl mask --now zincati.service"),
    "rebootmgr.service": ("rebootmgr", "systemctl disable --now rebootmgr.service"),
    "bootc-fetch-apply-updates.timer": ("bootc", "systemctl mask --now bootc-fetch-apply-updates.timer"),
    "systemd-sysupdate-reboot.timer": ("sysupdate", "systemctl disable --now systemd-sysupdate-reboot.timer"),
}
"""Units that reboot whenever they run."""
_Setting = Callable[[Path], str | None]
_UNITS_BY_SETTING: Mapping[str, tuple[str, _Setting, str, str]] = {
    **{
        f"{unit}.timer": ("dnf-automatic", self_rebooting.dnf_reboots, "reboot", "never")
        for unit in ("dnf-automatic", "dnf-automatic-install", "dnf5-automatic", "dnf5-automatic-install")
    },
    "rpm-ostreed-automatic.timer": (
        "rpm-ostreed-automatic",
        self_rebooting.rpm_ostree_reboots,
        "AutomaticUpdatePolicy",
        "stage",
    ),
    "transactional-update.timer": (
        "transactional-update",
        self_rebooting.transactional_update_reboots,
        "REBOOT_METHOD",
        "none",
    ),
}
"""Units that reboot when a setting says so: name, how it is read, its key, and what to write instead."""
_OUR_UNIT = "locksmithd.service"


@dataclass(frozen=True, slots=True)
class _Other:
    """Another coordinator: its name, what was seen of it, and how it is stopped."""

    name: str
    seen: str
    remedy: str


class CoordinatorCheck:
    """Open while nobody else reboots this host. One thread at a time."""

    kind = "coordinator"

    def __init__(  # noqa: PLR0913 - all but `allow` are where tests put something else
        self,
        name: str = "coordinators",
        *,
        allow: tuple[str, ...] = (),
        system: System | None = None,
        root: Path = ROOT,
        proc: Path = PROC,
        unattended: UnattendedUpgrades | None = None,
    ) -> None:
        """`allow` are names of KNOWN that do not count. `root` and `proc` are where this host's files are."""
        self._name = name
        self._allow = allow
        self._system = system or System()
        self._root = root
        self._proc = proc
        self._unattended = unattended or UnattendedUpgrades(root)

    @property
    def name(self) -> str:
        """See Check."""
        return self._name

    def ask(self, occasion: Occasion) -> Verdict:
        """See Check."""
        del occasion
        others: dict[str, _Other] = {}
        unclear: list[str] = []
        for look in (self._processes, self._file, self._units, self._settings):
            try:
                for other in look():
                    others.setdefault(other.name, other)
            except Unreadable as error:
                unclear.append(str(error))
            except OSError as error:
                unclear.append(f"{error.filename or self._proc}: {error.strerror or error}")
        found = [others[name] for name in sorted(others) if name not in self._allow]
        if found:
            seen = "; ".join(f"{other.name}: {other.seen}; to stop it: {other.remedy}" for other in found)
            names = ", ".join(f'"{other.name}"' for other in found)
            return Closed(f"{seen}; to run beside it all the same: agent.allow_coordinators = [{names}]")
        if unclear:
            return Unknown(f"whether something else reboots this host cannot be seen: {'; '.join(unclear)}")
        return Open("nothing else reboots this host")

    # ---------------------------------------------------------------- processes

    def _processes(self) -> Iterator[_Other]:
        for folder in sorted(self._proc.iterdir(), key=lambda path: (len(path.name), path.name)):
            if not folder.name.isdigit() or (command := _read(folder / "comm").strip()) not in _PROCESSES:
                continue
            if self._is_another(folder, command):
                name, remedy = _PROCESSES[command]
                yield _Other(name, f"process {folder.name} ({command})", remedy)

    def _is_another(self, folder: Path, command: str) -> bool:
        match command:
            case "locksmithd":
                return self._is_foreign(folder)
            case "update-agent":  # others have programs of that name; this one lives in a pod
                return "kubepods" in _read(folder / "cgroup")
            case _:
                return True

    def _is_foreign(self, folder: Path) -> bool:
        """Whether the process is a program of the name locksmithd: ours is a script, run by Python, or what we are."""
        program = _read(folder / "cmdline").partition("\0")[0]
        if Path(program).name != LOCKSMITHD:
            return False
        try:
            return not (folder / "exe").samefile(self._proc / "self/exe")
        except OSError:
            return program != _read(self._proc / "self/cmdline").partition("\0")[0]

    # ---------------------------------------------------------------- the lock

    def _file(self) -> Iterator[_Other]:
        """Who holds the lock of coordinator.conf. A locksmithd has been seen among the processes already."""
        path = self._root / "run/update-engine/coordinator.conf"
        holder = flock_holder(path, self._proc / "locks")
        if holder is None or holder == os.getpid():
            return
        named = printable(parse_environment_file(_read(path)).get("NAME", "")) or "unnamed"
        folder = self._proc / str(holder)
        program = printable(_read(folder / "comm")) or "unknown"
        name = LOCKSMITHD if named == LOCKSMITHD and program == LOCKSMITHD and self._is_foreign(folder) else FILE
        yield _Other(
            name, f"process {holder} ({program}) holds {path} as {named}", f"stop the unit of process {holder}"
        )

    # ---------------------------------------------------------------- units

    def _units(self) -> Iterator[_Other]:
        if not self._system.present():
            return
        units = self._ask_units()
        for unit, (name, remedy) in _UNITS.items():
            if units[unit] is not None:
                yield _Other(name, f"{unit} is active", remedy)
        for unit, (name, setting, key, instead) in _UNITS_BY_SETTING.items():
            if units[unit] is None or name in self._allow:  # what is allowed need not be readable
                continue
            if (value := setting(self._root)) is not None:
                yield _Other(
                    name, f"{unit} is active with {key} = {printable(value)}", f"set {key} to {instead}, or disable it"
                )
        if (main := units[_OUR_UNIT]) is not None and not self._is_our_unit(main):
            yield _Other(LOCKSMITHD, f"{_OUR_UNIT} is active", f"systemctl mask --now {_OUR_UNIT}")

    def _is_our_unit(self, main: str) -> bool:
        """Whether it is the unit that runs us, or another agent of ours, which has a store and a lock like we do."""
        if f"/{_OUR_UNIT}" in _read(self._proc / "self/cgroup"):
            return True
        folder = self._proc / main
        return main.isdigit() and main != "0" and _read(folder / "comm") != "" and not self._is_foreign(folder)

    def _ask_units(self) -> dict[str, str | None]:
        """Of each unit the main process (0 without one) while it is at work, else None."""
        asked = (*_UNITS, *_UNITS_BY_SETTING, _OUR_UNIT)
        outcome = self._system.call("systemctl", "show", "--property=Id,Names,ActiveState,MainPID", *asked)
        if not isinstance(outcome, Finished) or outcome.code != 0:
            raise Unreadable(f"systemctl show: {describe(outcome)}")
        found: dict[str, str | None] = {}
        for block in outcome.stdout.split("\n\n"):
            fields = dict(line.partition("=")[::2] for line in block.splitlines())
            at_work = fields.get("MainPID", "0") if fields.get("ActiveState") in _AT_WORK else None
            found |= dict.fromkeys((fields.get("Id", ""), *fields.get("Names", "").split()), at_work)
        if missing := [unit for unit in asked if unit not in found]:
            raise Unreadable(f"systemctl show: no word about {missing[0]}")
        return found

    # ---------------------------------------------------------------- settings

    def _settings(self) -> Iterator[_Other]:
        if "unattended-upgrades" not in self._allow and self._unattended.reboots():
            yield _Other(
                "unattended-upgrades",
                "Unattended-Upgrade::Automatic-Reboot is true",
                'set it to "false" in /etc/apt/apt.conf.d/52locksmith',
            )


def _read(path: Path) -> str:
    """A small file of /proc or /run; empty when it has gone, or is none of our business."""
    try:
        return path.read_bytes().decode(errors="replace")
    except OSError:
        return ""
