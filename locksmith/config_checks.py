"""[gates.NAME] and [health.NAME]: which kinds of checks there are, and the keys of each.

The one idea a reader would miss: gates and health are one axis, but a few kinds make sense only before a reboot
(sessions, inhibitors, min-uptime); as health they are refused here, with the reason.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast, get_args
from urllib.parse import urlsplit

from locksmith.checks import Role
from locksmith.config_table import NOTHING, Table

if TYPE_CHECKING:
    from locksmith.host.tls import Tls

CheckKind = Literal[
    "command",
    "url",
    "tcp",
    "units",
    "containers",
    "kubernetes-node",
    "alerts",
    "consul-health",
    "sessions",
    "inhibitors",
    "min-uptime",
    "file",
]
OnError = Literal["closed", "open"]
AlertSource = Literal["prometheus", "alertmanager"]
Presence = Literal["present", "absent"]

_GATES_ONLY = {
    "sessions": "nobody has to log out after a reboot",
    "inhibitors": "nothing has to be inhibited after a reboot",
    "min-uptime": "use verify.dwell, which waits after a reboot",
}
_STATUSES = range(100, 600)
_ADDRESS = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9_.-]+)):(?P<port>[0-9]{1,5})")
_PORTS = range(1, 65536)


@dataclass(frozen=True, slots=True)
class CommandSpec:
    """Kind command: exit 0 open or good; a gate's 1 is closed; health's others are bad."""

    name: str
    command: tuple[str, ...]
    timeout: timedelta


@dataclass(frozen=True, slots=True)
class UrlSpec:
    """Kind url: HTTP. `status` empty is any of 200 to 299; `body` a pattern that must be found."""

    name: str
    url: str
    timeout: timedelta
    status: tuple[int, ...]
    body: str | None
    tls: "Tls"


@dataclass(frozen=True, slots=True)
class TcpSpec:
    """Kind tcp: a connection can be made to `address`, here a host and a port."""

    name: str
    address: tuple[str, int]
    timeout: timedelta


@dataclass(frozen=True, slots=True)
class UnitsSpec:
    """Kind units: what systemd says of its units."""

    name: str
    timeout: timedelta
    units: tuple[str, ...]
    ignore: tuple[str, ...]
    failed_units: bool
    system_running: bool
    boot_complete: bool
    greenboot: bool


@dataclass(frozen=True, slots=True)
class ContainersSpec:
    """Kind containers: of Docker or Podman, over its API socket."""

    name: str
    socket: Path
    timeout: timedelta
    ignore: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KubernetesNodeSpec:
    """Kind kubernetes-node. `node` None: this host's name."""

    name: str
    node: str | None
    kubeconfig: Path | None
    timeout: timedelta


@dataclass(frozen=True, slots=True)
class AlertsSpec:
    """Kind alerts. `expressions` and `pending` are Prometheus', `matchers` Alertmanager's."""

    name: str
    source: AlertSource
    url: str
    timeout: timedelta
    expressions: tuple[str, ...]
    pending: bool
    matchers: tuple[str, ...]
    ignore: str | None
    on_error: OnError
    tls: "Tls"


@dataclass(frozen=True, slots=True)
class ConsulHealthSpec:
    """Kind consul-health. `services` empty: all of this host."""

    name: str
    url: str
    timeout: timedelta
    services: tuple[str, ...]
    tags: tuple[str, ...]
    min_passing: int
    tls: "Tls"


@dataclass(frozen=True, slots=True)
class SessionsSpec:
    """Kind sessions: who is logged in on a terminal is told, and has `grace` to leave."""

    name: str
    grace: timedelta


@dataclass(frozen=True, slots=True)
class InhibitorsSpec:
    """Kind inhibitors: systemd-inhibit's block locks; `ignore` are WHOs."""

    name: str
    ignore: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MinUptimeSpec:
    """Kind min-uptime."""

    name: str
    uptime: timedelta


@dataclass(frozen=True, slots=True)
class FileSpec:
    """Kind file: closed while it is there, or while it is not."""

    name: str
    path: Path
    closed_when: Presence


CheckSpec = (
    CommandSpec
    | UrlSpec
    | TcpSpec
    | UnitsSpec
    | ContainersSpec
    | KubernetesNodeSpec
    | AlertsSpec
    | ConsulHealthSpec
    | SessionsSpec
    | InhibitorsSpec
    | MinUptimeSpec
    | FileSpec
)

_TLS_KEYS = ("ca_file", "cert_file", "key_file", "token_file")
CHECK_KEYS = tuple(
    sorted({*_TLS_KEYS, *(field.name for kind in get_args(CheckSpec) for field in fields(kind))} - {"name", "tls"})
)
"""Every key that some kind has."""


def check(entry: Table, role: Role, environ: Mapping[str, str]) -> CheckSpec:
    """Read one entry. Raises ConfigError."""
    kind = cast("CheckKind", entry.kind(CheckKind, {"window": _WINDOWS}))
    if role == "health" and kind in _GATES_ONLY:
        entry.fail("kind", f"{kind} is a gate: {_GATES_ONLY[kind]}; write it under [gates.{entry.entry_name}]")
    found = _of_kind(kind, entry.entry_name, entry, environ)
    entry.finish()
    return found


_WINDOWS = "windows have a table of their own: write [windows.NAME] with start and length"


def _of_kind(kind: CheckKind, name: str, entry: Table, environ: Mapping[str, str]) -> CheckSpec:
    match kind:
        case "command":
            return CommandSpec(name, entry.needed_command(), _timeout(entry, "30s"))
        case "url":
            url = entry.required("url", "https://127.0.0.1/healthz", web_address)
            status = tuple(entry.numbers("status", _STATUSES))
            body = entry.parsed("body", None, pattern)
            return UrlSpec(name, url, _timeout(entry), status, body, tls(entry, environ, url))
        case "tcp":
            return TcpSpec(name, entry.required("address", "127.0.0.1:443", address), _timeout(entry))
        case "units":
            return UnitsSpec(
                name,
                _timeout(entry, "20s"),
                units=entry.texts("units"),
                ignore=entry.texts("ignore"),
                failed_units=entry.flag("failed_units", default=True),
                system_running=entry.flag("system_running", default=False),
                boot_complete=entry.flag("boot_complete", default=False),
                greenboot=entry.flag("greenboot", default=False),
            )
        case "containers":
            socket = entry.path("socket", "/run/docker.sock")
            return ContainersSpec(name, socket, _timeout(entry), entry.texts("ignore"))
        case "kubernetes-node":
            node = entry.parsed("node", None, _word)
            return KubernetesNodeSpec(name, node, entry.credential("kubeconfig", environ), _timeout(entry))
        case _:
            return _of_other_kind(kind, name, entry, environ)


def _of_other_kind(
    kind: Literal["alerts", "consul-health", "sessions", "inhibitors", "min-uptime", "file"],
    name: str,
    entry: Table,
    environ: Mapping[str, str],
) -> CheckSpec:
    match kind:
        case "alerts":
            return _alerts(name, entry, environ)
        case "consul-health":
            url = entry.parsed("url", "http://127.0.0.1:8500", web_address) or ""
            return ConsulHealthSpec(
                name,
                url,
                _timeout(entry),
                services=entry.texts("services"),
                tags=entry.texts("tags"),
                min_passing=entry.whole("min_passing", 1),
                tls=tls(entry, environ, url),
            )
        case "sessions":
            return SessionsSpec(name, entry.duration("grace", "5m"))
        case "inhibitors":
            return InhibitorsSpec(name, entry.texts("ignore"))
        case "min-uptime":
            return MinUptimeSpec(name, entry.duration("uptime", "10m", above=NOTHING))
        case "file":
            path = entry.required("path", "/run/no-reboot", entry.absolute)
            return FileSpec(name, path, entry.word("closed_when", "present", Presence))


def _alerts(name: str, entry: Table, environ: Mapping[str, str]) -> AlertsSpec:
    source: AlertSource = entry.word("source", "prometheus", AlertSource)
    port = {"prometheus": 9090, "alertmanager": 9093}[source]
    url = entry.required("url", f"http://127.0.0.1:{port}", web_address)
    expressions, matchers = entry.texts("expressions"), entry.texts("matchers")
    pending = entry.flag("pending", default=False)
    if source == "alertmanager" and (expressions or pending):
        entry.fail(
            "expressions" if expressions else "pending", 'is Prometheus\': write source = "prometheus", or use matchers'
        )
    if source == "prometheus" and matchers:
        entry.fail("matchers", 'is Alertmanager\'s: write source = "alertmanager", or use expressions')
    return AlertsSpec(
        name,
        source,
        url,
        _timeout(entry),
        expressions=expressions,
        pending=pending,
        matchers=matchers,
        ignore=entry.parsed("ignore", None, pattern),
        on_error=entry.word("on_error", "closed", OnError),
        tls=tls(entry, environ, url),
    )


def tls(entry: Table, environ: Mapping[str, str], url: str) -> "Tls":
    """The files of a connection. Raises ConfigError for those that have no use with this address."""
    from locksmith.host.tls import Tls  # noqa: PLC0415 - most configurations have no use for it, and lockctl starts faster

    files = {key: entry.credential(key, environ) for key in _TLS_KEYS}
    for key in _TLS_KEYS[:3]:
        if files[key] is not None and not url.startswith("https://"):
            entry.fail(key, "has no use without TLS: write https:// in url, or leave it out")
    if files["key_file"] is not None and files["cert_file"] is None:
        entry.fail("key_file", "needs cert_file beside it: write both or neither")
    return Tls(**files)


def web_address(text: str) -> str:
    """An http or https URL without credentials. Raises ValueError."""
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port  # a port that is no number is told when it is asked for
    except ValueError as error:
        raise ValueError(f"{text!r} is no URL: {error}") from error
    if parts.scheme not in ("http", "https") or not host or not text.isprintable() or " " in text:
        raise ValueError(f"{text!r} is no URL: write one such as http://127.0.0.1:8080/healthz")
    if parts.username is not None or parts.password is not None:
        raise ValueError("no user or password in a URL: write a token into a file and name it in token_file")
    return text


def address(text: str) -> tuple[str, int]:
    """HOST:PORT, IPv6 in brackets. Raises ValueError."""
    match = _ADDRESS.fullmatch(text)
    if match is None or int(match["port"]) not in _PORTS:
        raise ValueError(f'{text!r} is no address: write HOST:PORT such as "127.0.0.1:443" or "[::1]:443"')
    return match["six"] or match["host"], int(match["port"])


def pattern(text: str) -> str:
    """A regular expression as Python's `re` reads it. Raises ValueError."""
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"{text!r} is no regular expression: {error}") from error
    return text


def _word(text: str) -> str:
    if not text or not text.isprintable() or " " in text:
        raise ValueError(f"{text!r} is no name: write one without spaces, or leave the key out")
    return text


def _timeout(entry: Table, default: str = "10s") -> timedelta:
    return entry.duration("timeout", default, above=NOTHING)
