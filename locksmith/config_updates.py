"""[updates.NAME]: which kinds of update providers there are, and the keys of each.

The one idea a reader would miss: a provider that is detected has the same defaults as one that is written down, because
`default_update` reads an empty entry.
"""

from dataclasses import dataclass, fields
from datetime import timedelta
from pathlib import Path
from typing import Literal, cast, get_args

from locksmith.config_files import Layers
from locksmith.config_table import NOTHING, Table

Program = Literal["rpm-ostree", "bootc", "sysupdate"]
Tool = Literal["auto", "dnf4", "dnf5", "yum-utils", "zypper"]
UpdateKind = Literal[
    "reboot-required",
    "update-engine",
    "rpm-ostree",
    "bootc",
    "transactional-update",
    "needrestart",
    "needs-restarting",
    "snapd",
    "k3os",
    "sysupdate",
    "kernel",
    "command",
]


@dataclass(frozen=True, slots=True)
class RebootRequiredUpdate:
    """Kind reboot-required: a file says it, another lists the packages."""

    name: str
    path: Path
    pkgs_path: Path


@dataclass(frozen=True, slots=True)
class UpdateEngineUpdate:
    """Kind update-engine: Flatcar's service on the system bus."""

    name: str
    timeout: timedelta


@dataclass(frozen=True, slots=True)
class ProgramUpdate:
    """Kinds rpm-ostree, bootc, sysupdate: the system's own program is asked. `program` is the kind."""

    name: str
    program: Program
    timeout: timedelta


@dataclass(frozen=True, slots=True)
class TransactionalUpdate:
    """Kind transactional-update: MicroOS and other openSUSE, a file says it and how."""

    name: str
    path: Path


@dataclass(frozen=True, slots=True)
class NeedrestartUpdate:
    """Kind needrestart. `microcode`: a pending one is a need as well."""

    name: str
    timeout: timedelta
    microcode: bool


@dataclass(frozen=True, slots=True)
class NeedsRestartingUpdate:
    """Kind needs-restarting: the RPM world's programs; `tool` auto takes the one that is there."""

    name: str
    timeout: timedelta
    tool: Tool


@dataclass(frozen=True, slots=True)
class SnapdUpdate:
    """Kind snapd: its socket is asked."""

    name: str
    socket: Path
    timeout: timedelta


@dataclass(frozen=True, slots=True)
class K3osUpdate:
    """Kind k3os: links below `root` against what runs."""

    name: str
    root: Path


@dataclass(frozen=True, slots=True)
class KernelUpdate:
    """Kind kernel: the running one against the installed one."""

    name: str


@dataclass(frozen=True, slots=True)
class CommandUpdate:
    """Kind command: exit 0 needed, 1 not."""

    name: str
    command: tuple[str, ...]
    timeout: timedelta


Update = (
    RebootRequiredUpdate
    | UpdateEngineUpdate
    | ProgramUpdate
    | TransactionalUpdate
    | NeedrestartUpdate
    | NeedsRestartingUpdate
    | SnapdUpdate
    | K3osUpdate
    | KernelUpdate
    | CommandUpdate
)

UPDATE_KEYS = tuple(sorted({field.name for kind in get_args(Update) for field in fields(kind)} - {"name", "program"}))
"""Every key that some kind has."""


def update(entry: Table) -> Update:
    """Read one entry. Raises ConfigError."""
    return _read(cast("UpdateKind", entry.kind(UpdateKind)), entry)


def default_update(kind: UpdateKind) -> Update:
    """The provider that is meant when nothing was written: its kind is its name."""
    return _read(kind, Table(f"updates.{kind}", Layers(), [], {}))


def _read(kind: UpdateKind, entry: Table) -> Update:
    found = _of_kind(kind, entry.entry_name, entry)
    entry.finish()
    return found


def _of_kind(kind: UpdateKind, name: str, entry: Table) -> Update:
    match kind:
        case "reboot-required":
            path = entry.path("path", "/run/reboot-required")
            return RebootRequiredUpdate(name, path, entry.path("pkgs_path", f"{path}.pkgs"))
        case "update-engine":
            return UpdateEngineUpdate(name, _timeout(entry, "10s"))
        case "rpm-ostree" | "bootc" | "sysupdate":
            return ProgramUpdate(name, kind, _timeout(entry))
        case "transactional-update":
            return TransactionalUpdate(name, entry.path("path", "/run/reboot-needed"))
        case "needrestart":
            return NeedrestartUpdate(name, _timeout(entry, "2m"), entry.flag("microcode", default=False))
        case "needs-restarting":
            return NeedsRestartingUpdate(name, _timeout(entry, "2m"), entry.word("tool", "auto", Tool))
        case "snapd":
            return SnapdUpdate(name, entry.path("socket", "/run/snapd.socket"), _timeout(entry, "10s"))
        case "k3os":
            return K3osUpdate(name, entry.path("root", "/k3os/system"))
        case "kernel":
            return KernelUpdate(name)
        case "command":
            return CommandUpdate(name, entry.needed_command(), _timeout(entry))


def _timeout(entry: Table, default: str = "30s") -> timedelta:
    return entry.duration("timeout", default, above=NOTHING)
