"""Which gates and health checks an agent gets: the configured ones, and those that every agent has.

Each implementation is imported only when it is used: an agent needs a few of them.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import assert_never

from locksmith.checks import Check, Role
from locksmith.config_checks import (
    AlertsSpec,
    CheckSpec,
    CommandSpec,
    ConsulHealthSpec,
    ContainersSpec,
    FileSpec,
    InhibitorsSpec,
    KubernetesNodeSpec,
    MinUptimeSpec,
    SessionsSpec,
    TcpSpec,
    UnitsSpec,
    UrlSpec,
)
from locksmith.config_model import Config
from locksmith.host.clock import SystemClock
from locksmith.host.identity import KERNEL_BOOT_ID, host_name
from locksmith.host.system import System


def gates(config: Config) -> tuple[list[Check], list[Check]]:
    """The gates, and the courtesies among them (see `locksmith.checks`)."""
    from locksmith.checks.window import WindowCheck

    plain: list[Check] = []
    if config.windows:
        plain.append(WindowCheck(config.windows, config.agent.time_needed))
    plain += _built_in(config)
    plain += [_check(spec, "gate", config) for spec in config.gates if not isinstance(spec, SessionsSpec)]
    return plain, [_check(spec, "gate", config) for spec in config.gates if isinstance(spec, SessionsSpec)]


def health(config: Config) -> list[Check]:
    """The health checks."""
    return [_check(spec, "health", config) for spec in config.health]


def _check(spec: CheckSpec, role: Role, config: Config) -> Check:
    match spec:
        case CommandSpec(name, command, timeout):
            from locksmith.checks.command import CommandCheck

            return CommandCheck(name, command, timeout, role)
        case UrlSpec(name, url, timeout, status, body, tls):
            from locksmith.checks.url import UrlCheck

            return UrlCheck(name, role, url, timeout, status=status, body=body, tls=tls)
        case TcpSpec(name, (host, port), timeout):
            from locksmith.checks.tcp import TcpCheck

            return TcpCheck(name, role, host, port, timeout)
        case UnitsSpec():
            return _units(spec, role, config)
        case ContainersSpec(name, socket, timeout, ignore):
            from locksmith.checks.containers import ContainersCheck

            return ContainersCheck(name, role, socket, timeout, ignore=ignore, baseline=_baseline(config, name))
        case KubernetesNodeSpec(name, node, kubeconfig, timeout):
            from locksmith.checks.kubernetes_node import KubernetesNode

            return KubernetesNode(name, role, node or host_name(), kubeconfig, timeout, _booted_at())
        case AlertsSpec():
            return _alerts(spec, role)
        case _:
            return _other(spec, role)


def _other(
    spec: ConsulHealthSpec | SessionsSpec | InhibitorsSpec | MinUptimeSpec | FileSpec,
    role: Role,
) -> Check:
    match spec:
        case ConsulHealthSpec(name, url, timeout, services, tags, min_passing, tls):
            from locksmith.checks.consul_health import ConsulHealth

            return ConsulHealth(
                name, role, url, timeout, services=services, tags=tags, min_passing=min_passing, tls=tls
            )
        case SessionsSpec(name, grace):
            from locksmith.checks.sessions import SessionsCheck
            from locksmith.host.bus import Bus

            return SessionsCheck(name, Bus(), grace, host=host_name())
        case InhibitorsSpec(name, ignore):
            from locksmith.checks.inhibitors import InhibitorsCheck
            from locksmith.host.bus import Bus

            return InhibitorsCheck(name, Bus(), ignore)
        case MinUptimeSpec(name, uptime):
            from locksmith.checks.min_uptime import MinUptime

            return MinUptime(name, uptime)
        case FileSpec(name, path, closed_when):
            from locksmith.checks.file import FileCheck

            return FileCheck(name, role, path, closed_when)
        case _:
            assert_never(spec)


def _units(spec: UnitsSpec, role: Role, config: Config) -> Check:
    from locksmith.checks.units import UnitsCheck

    return UnitsCheck(
        spec.name,
        role,
        System(),
        spec.timeout,
        units=spec.units,
        ignore=spec.ignore,
        failed_units=spec.failed_units,
        system_running=spec.system_running,
        boot_complete=spec.boot_complete,
        greenboot=spec.greenboot,
        baseline=_baseline(config, spec.name),
    )


def _alerts(spec: AlertsSpec, role: Role) -> Check:
    from locksmith.checks.alerts import AlertmanagerAlerts, PrometheusAlerts

    if spec.source == "alertmanager":
        return AlertmanagerAlerts(
            spec.name,
            role,
            spec.url,
            spec.timeout,
            matchers=spec.matchers,
            ignore=spec.ignore,
            tls=spec.tls,
            on_error=spec.on_error,
        )
    return PrometheusAlerts(
        spec.name,
        role,
        spec.url,
        spec.timeout,
        expressions=spec.expressions,
        ignore=spec.ignore,
        pending=spec.pending,
        tls=spec.tls,
        on_error=spec.on_error,
    )


def _built_in(config: Config) -> list[Check]:
    """Gates that nobody has to write down: other coordinators, and the block inhibitors that root's reboot would ignore."""
    from locksmith.checks.coordinators import CoordinatorCheck

    found: list[Check] = []
    if (
        config.node.boot_id_file == KERNEL_BOOT_ID
    ):  # else it only plays a machine, and what runs on this one is not its own
        found.append(CoordinatorCheck(allow=config.agent.allow_coordinators))
    written = any(isinstance(spec, InhibitorsSpec) for spec in config.gates)
    if config.reboot.kind in ("auto", "logind", "systemctl") and config.reboot.inhibitors == "honour" and not written:
        from locksmith.checks.inhibitors import InhibitorsCheck
        from locksmith.host.bus import Bus

        found.append(InhibitorsCheck("inhibitors", Bus(), ()))
    return found


def _baseline(config: Config, name: str) -> Path:
    return config.node.state_dir / f"before-{name}.json"


def _booted_at() -> Callable[[], datetime]:
    clock = SystemClock()
    return lambda: clock.wall() - timedelta(seconds=clock.boottime())
