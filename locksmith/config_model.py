"""What a configuration is once it has been read: frozen values, every one checked, every default filled in.

Kinds of entries are closed unions: a new provider or check is a new dataclass here, one more member of its union, and
one more row where `config.py` reads it; type checking then finds every place that must learn of it.
Words are Literals, not enums, so that modules below, which must not import this one, can name the same type.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from locksmith.core.store_url import StoreUrl
from locksmith.core.windows import Window
from locksmith.stores import Access

Strategy = Literal["lock", "observe", "reboot", "off"]
LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["auto", "text", "json"]
Rollback = Literal["hold", "release"]
RebootKind = Literal["auto", "systemctl", "command", "simulated"]


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """[store]. `timeout` is that of one call; `access` holds what of the credentials fits the URL."""

    url: StoreUrl
    timeout: timedelta
    access: Access


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """[node]. `id` None: derived from `machine_id_file`. A missing `product_uuid_file` means no fingerprint."""

    group: str
    labels: Mapping[str, str]
    id: str | None
    machine_id_file: Path
    boot_id_file: Path
    product_uuid_file: Path
    state_dir: Path
    run_dir: Path


@dataclass(frozen=True, slots=True)
class TcpListen:
    """Serve on a host (IPv6 without brackets) and port; port 0 is any free one."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class UnixListen:
    """Serve on a Unix socket."""

    path: Path


Listen = TcpListen | UnixListen


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """[agent]. `time_needed` is what must be left of a window; `metrics_listen` None is off."""

    strategy: Strategy
    poll_interval: timedelta
    min_uptime: timedelta
    min_interval: timedelta
    store_grace: timedelta
    heartbeat: timedelta
    time_needed: timedelta
    require_time_sync: bool
    metrics_listen: Listen | None
    log_level: LogLevel
    log_format: LogFormat


@dataclass(frozen=True, slots=True)
class RebootRequiredUpdate:
    """[updates.NAME] kind reboot-required: a file says it, another lists the packages."""

    name: str
    path: Path
    pkgs_path: Path


@dataclass(frozen=True, slots=True)
class CommandUpdate:
    """[updates.NAME] kind command: exit 0 needed, 1 not."""

    name: str
    command: tuple[str, ...]
    timeout: timedelta


Update = RebootRequiredUpdate | CommandUpdate


@dataclass(frozen=True, slots=True)
class CommandCheck:
    """[gates.NAME] or [health.NAME] kind command: exit 0 open or good; a gate's 1 is closed; health's others are bad."""

    name: str
    command: tuple[str, ...]
    timeout: timedelta


CheckSpec = CommandCheck


@dataclass(frozen=True, slots=True)
class VerifySettings:
    """[verify]."""

    dwell: timedelta
    deadline: timedelta
    rollback: Rollback


@dataclass(frozen=True, slots=True)
class RebootSettings:
    """[reboot]. `command` is empty unless kind is command; `retries` is beyond the first attempt."""

    kind: RebootKind
    command: tuple[str, ...]
    timeout: timedelta
    retries: int


@dataclass(frozen=True, slots=True)
class HookSettings:
    """[hooks]. `timeout` is for each hook."""

    directory: Path
    timeout: timedelta


@dataclass(frozen=True, slots=True)
class Setting:
    """One key as it was read: dotted, its value as text (None: unset), and where it comes from."""

    key: str
    value: str | None
    origin: str


@dataclass(frozen=True, slots=True)
class Config:
    """Everything. Two are equal when they mean the same, wherever it was written.

    `store` is None when nothing names one. Entries stand in the order of their names, without those switched off.
    `detect_updates` is True when no [updates.*] was written at all: providers are then detected. `files` are those read.
    """

    store: StoreSettings | None
    node: NodeSettings
    agent: AgentSettings
    updates: tuple[Update, ...]
    detect_updates: bool
    gates: tuple[CheckSpec, ...]
    windows: tuple[Window, ...]
    health: tuple[CheckSpec, ...]
    verify: VerifySettings
    reboot: RebootSettings
    hooks: HookSettings
    files: tuple[Path, ...] = field(compare=False)
    settings: tuple[Setting, ...] = field(compare=False)

    @property
    def origin(self) -> Mapping[str, str]:
        """Where each dotted key comes from: `file:PATH`, `environment NAME`, `--OPTION` or `default`."""
        return MappingProxyType({setting.key: setting.origin for setting in self.settings})
