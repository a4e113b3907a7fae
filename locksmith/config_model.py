"""What a configuration is once it has been read: frozen values, every one checked, every default filled in.

Kinds of entries are closed unions (`config_updates`, `config_checks`): a new provider or check is a new dataclass there, one
more member of its union and one more row that reads it; type checking then finds every place that must learn of it.
Words are Literals, not enums, so that modules below, which must not import this one, can name the same type.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from locksmith.config_checks import CheckSpec
from locksmith.config_notify import NotifySpec
from locksmith.config_table import Setting
from locksmith.config_updates import Update
from locksmith.core.store_url import StoreUrl
from locksmith.core.windows import Window
from locksmith.stores import Access

if TYPE_CHECKING:
    from locksmith.hooks import HookRule

Strategy = Literal["lock", "observe", "reboot", "off"]
LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["auto", "text", "json"]
Rollback = Literal["hold", "release"]
RebootKind = Literal["auto", "logind", "systemctl", "command", "simulated"]
RebootMethod = Literal["reboot", "kexec", "soft-reboot", "requested"]
Inhibitors = Literal["honour", "ignore"]


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
    """[agent]. `time_needed` is what must be left of a window; `metrics_listen` None is off.

    `allow_coordinators` are the names of other reboot coordinators beside which this one runs all the same.
    """

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
    allow_coordinators: tuple[str, ...]


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
    method: RebootMethod
    inhibitors: Inhibitors
    command: tuple[str, ...]
    timeout: timedelta
    retries: int


@dataclass(frozen=True, slots=True)
class HookSettings:
    """[hooks]. `timeout` is for each hook that has none of its own; `each` are [hooks.each."NAME"], NAME being a file's."""

    directory: Path
    timeout: timedelta
    each: "Mapping[str, HookRule]"


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """[gateway]. The store is read for the fleet's metrics at most once in `cache`; `metrics_listen` None is off."""

    metrics_listen: Listen | None
    cache: timedelta


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
    gateway: GatewaySettings
    notify: tuple[NotifySpec, ...]
    files: tuple[Path, ...] = field(compare=False)
    settings: tuple[Setting, ...] = field(compare=False)

    @property
    def origin(self) -> Mapping[str, str]:
        """Where each dotted key comes from: `file:PATH`, `environment NAME`, `--OPTION` or `default`."""
        return MappingProxyType({setting.key: setting.origin for setting in self.settings})
