"""The configuration: drop-in TOML, environment and options become one frozen `Config`, or one error that says what to do.

`config_files` finds, reads and merges; `config_table` reads keys; `config_model` is the result; this module says which
keys there are, what they default to, and what must fit together. Nothing is patched in later and nothing is optional to
check: a `Config` that exists is a valid one. Slots are not here, they live in the store, where all nodes see one number.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, assert_never

from locksmith.checks import Role
from locksmith.config_checks import CHECK_KEYS, CheckSpec, SessionsSpec, check
from locksmith.config_files import ROOTS, gather
from locksmith.config_flatcar import lock_left_out, without_store
from locksmith.config_model import (
    AgentSettings,
    Config,
    GatewaySettings,
    HookSettings,
    Inhibitors,
    Listen,
    LogFormat,
    LogLevel,
    NodeSettings,
    RebootKind,
    RebootMethod,
    RebootSettings,
    Rollback,
    StoreSettings,
    Strategy,
    TcpListen,
    UnixListen,
    VerifySettings,
)
from locksmith.config_notify import NOTIFY_KEYS, NotifySpec, notification
from locksmith.config_table import DEFAULT, NOTHING, Setting, Table, absolute_path, is_file
from locksmith.config_updates import UPDATE_KEYS, update
from locksmith.core import names
from locksmith.core.durations import format_duration, parse_duration
from locksmith.core.store_url import FORMS, StoreUrl, parse_store_url
from locksmith.core.windows import Window, ever_lasts, parse_start, parse_window, parse_zone
from locksmith.errors import ConfigError
from locksmith.stores import Access

if TYPE_CHECKING:
    from locksmith.hooks import HookRule

__all__ = ["ROOTS", "Config", "describe", "load", "require_store"]

_TLS_FILES = ("ca_file", "cert_file", "key_file")
_LISTEN = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9_.-]+)):(?P<port>[0-9]{1,5})")
_MAX_PORT = 65535
_SOME_DAY = datetime(2026, 1, 1, tzinfo=UTC)
"""Any day does to see whether windows are ever long enough; a fixed one gives the same answer every time."""


def load(
    file: Path | None = None,
    *,
    environ: Mapping[str, str],
    roots: Sequence[Path] = ROOTS,
    overrides: Mapping[str, str] | None = None,
) -> Config:
    """Read the configuration. Raises ConfigError, whose message says file, key and remedy.

    `file` (of --config), else LOCKSMITH_CONFIG, is read alone; else the files under `roots`, the strongest first.
    `overrides` are dotted keys with the text that an option gave: {"store.url": "etcd://…"}.
    """
    layers = gather(file, environ, roots, overrides or {})
    settings: list[Setting] = []

    def table(name: str) -> Table:
        return Table(name, layers, settings)

    updates = table("updates")
    store, node, agent = _store(table("store"), environ), _node(table("node")), _agent(table("agent"))
    config = Config(
        store=store,
        node=node,
        agent=agent,
        updates=tuple(update(entry) for entry in _enabled(updates, UPDATE_KEYS)),
        detect_updates=updates.is_empty(),
        gates=_checks(table("gates"), "gate", environ),
        windows=_windows(table("windows")),
        health=_checks(table("health"), "health", environ),
        verify=_verify(table("verify")),
        reboot=_reboot(table("reboot")),
        hooks=_hooks(table("hooks")),
        gateway=_gateway(table("gateway")),
        notify=_notify(table("notify"), environ),
        files=tuple(layers.files),
        settings=tuple(settings),
    )
    if not ever_lasts(config.windows, agent.time_needed, _SOME_DAY):
        table("agent").fail(
            "time_needed",
            f"no window lasts {format_duration(agent.time_needed)}, so this node would never reboot: "
            "shorten it, or lengthen a window",
        )
    if problem := lock_left_out(config.agent.strategy, config.origin):
        table("agent").fail("strategy", problem)
    return config


def describe(config: Config) -> Iterator[tuple[str, str | None, str]]:
    """Every key with its value as text (None: unset) and its origin, in the order of the tables. No secret is in it."""
    for setting in config.settings:
        yield setting.key, setting.value, setting.origin


def require_store(config: Config) -> StoreSettings:
    """The store's settings. Raises ConfigError that names the choices when nothing is configured.

    SQLite is never a silent default: every node with a store of its own would get every slot.
    """
    if config.store is None:
        raise ConfigError(
            "no store is configured: set url in [store] of /etc/locksmith/locksmith.toml, LOCKSMITH_STORE or --store; "
            f"one of {', '.join(FORMS)} (sqlite is for one host); to see locksmith at work without one, run: lockctl demo"
            f"{without_store(config.origin)}"
        )
    return config.store


def _store(table: Table, environ: Mapping[str, str]) -> StoreSettings | None:
    url = table.parsed("url", None, parse_store_url)
    timeout = table.duration("timeout", "5s", above=NOTHING)
    username = table.parsed("username", None, _username)
    access = Access(
        username=username,
        password_file=table.credential("password_file", environ),
        token_file=table.credential("token_file", environ),
        ca_file=table.credential("ca_file", environ),
        cert_file=table.credential("cert_file", environ),
        key_file=table.credential("key_file", environ),
    )
    table.finish()
    return None if url is None else StoreSettings(url, timeout, _fitting(table, url, access))


def _username(text: str) -> str:
    if not text or not text.isprintable():
        raise ValueError("a user's name is printable and not empty: write it, or leave the key out")
    return text


def _fitting(table: Table, url: StoreUrl, access: Access) -> Access:
    """Keep what this store can use, and see that it is complete.

    What it cannot use is an error, unless the URL was given in a stronger place (--store over a variable over a file):
    then it belongs to the store that was put aside, and is left out.
    """
    usable = _usable(url)
    for key in (field.name for field in fields(Access)):
        if getattr(access, key) is None or key in usable:
            continue
        if table.strength(key) >= table.strength("url"):
            secure = key in _TLS_FILES and url.kind in ("etcd", "consul") and url.unix_socket is None
            table.fail(key, f"has no use with the store {url}: {f'write {url.kind}s://' if secure else 'leave it out'}")
        access = replace(access, **{key: None})
    for one, other in (("username", "password_file"), ("cert_file", "key_file")):
        if (getattr(access, one) is None) != (getattr(access, other) is None):
            missing, there = (other, one) if getattr(access, other) is None else (one, other)
            table.fail(there, f"needs {missing} beside it: write both or neither")
    for key in (field.name for field in fields(Access)):
        path = getattr(access, key)
        if isinstance(path, Path) and not is_file(path):
            table.fail(key, f"there is no file {path}: create it, or name a credential of the unit")
    return access


def _usable(url: StoreUrl) -> set[str]:
    """The keys of [store] that mean something to that store."""
    secure = set(_TLS_FILES) if url.tls else set()
    match url.kind:
        case "etcd":
            return {"username", "password_file"} | secure
        case "consul":
            return {"token_file"} | secure
        case "sqlite" | "memory":
            return set()
        case never:
            assert_never(never)


def _node(table: Table) -> NodeSettings:
    node = NodeSettings(
        group=table.parsed("group", "default", names.group_name) or "default",
        labels=table.mapping("labels", names.label_name, names.label_value),
        id=table.parsed("id", None, names.node_id),
        machine_id_file=table.path("machine_id_file", "/etc/machine-id"),
        boot_id_file=table.path("boot_id_file", "/proc/sys/kernel/random/boot_id"),
        product_uuid_file=table.path("product_uuid_file", "/sys/class/dmi/id/product_uuid"),
        state_dir=table.path("state_dir", "/var/lib/locksmith"),
        run_dir=table.path("run_dir", "/run/locksmith"),
    )
    table.finish()
    return node


def _agent(table: Table) -> AgentSettings:
    agent = AgentSettings(
        strategy=table.word("strategy", "lock", Strategy),
        poll_interval=table.duration("poll_interval", "60s", above=NOTHING),
        min_uptime=table.duration("min_uptime", "5m"),
        min_interval=table.duration("min_interval", "30m"),
        store_grace=table.duration("store_grace", "10m"),
        require_time_sync=table.flag("require_time_sync", default=True),
        heartbeat=table.duration("heartbeat", "15m", above=NOTHING),
        time_needed=table.duration("time_needed", "0s"),
        metrics_listen=table.parsed("metrics_listen", "127.0.0.1:9810", _listen),
        log_level=table.word("log_level", "info", LogLevel),
        log_format=table.word("log_format", "auto", LogFormat),
        allow_coordinators=table.texts("allow_coordinators"),
    )
    table.finish()
    return agent


def _gateway(table: Table) -> GatewaySettings:
    gateway = GatewaySettings(
        metrics_listen=table.parsed("metrics_listen", "127.0.0.1:9811", _listen),
        cache=table.duration("cache", "10s"),
    )
    table.finish()
    return gateway


def _listen(text: str) -> Listen | None:
    if not text:
        return None
    if text.startswith("unix:"):
        return UnixListen(absolute_path(text.removeprefix("unix:")))
    match = _LISTEN.fullmatch(text)
    if match is None or int(match["port"]) > _MAX_PORT:
        raise ValueError(
            f'{text!r} is no address to listen on: write HOST:PORT such as "127.0.0.1:9810", "0.0.0.0:9810" for all, '
            '"unix:/run/locksmith/metrics.sock", or "" for off'
        )
    return TcpListen(match["six"] or match["host"], int(match["port"]))


def _enabled(table: Table, known: Sequence[str]) -> Iterator[Table]:
    """The entries that are not switched off; of those that are, only the names of the keys are judged."""
    for entry in table.entries():
        if entry.flag("enabled", default=True):
            yield entry
        else:
            entry.finish(("kind", *known))


def _checks(table: Table, role: Role, environ: Mapping[str, str]) -> tuple[CheckSpec, ...]:
    specs = tuple(check(entry, role, environ) for entry in _enabled(table, CHECK_KEYS))
    if len(people := [spec.name for spec in specs if isinstance(spec, SessionsSpec)]) > 1:
        # Each would tell the same people, and their times could wait for each other for ever.
        table.fail(people[1], f"one entry of kind sessions is enough, and {people[0]} is one: remove this one")
    return specs


def _notify(table: Table, environ: Mapping[str, str]) -> tuple[NotifySpec, ...]:
    return tuple(notification(entry, environ) for entry in _enabled(table, NOTIFY_KEYS))


def _windows(table: Table) -> tuple[Window, ...]:
    return tuple(_window(entry) for entry in _enabled(table, ("start", "length", "timezone")))


def _window(entry: Table) -> Window:
    start = entry.required("start", "Thu 23:00", _checked(parse_start))
    length = entry.required("length", "1h30m", _checked(parse_duration))
    zone = entry.parsed("timezone", "UTC", _checked(parse_zone)) or "UTC"
    entry.finish()
    try:
        return parse_window(entry.entry_name, start, length, zone)
    except ValueError as error:
        entry.fail("length", str(error))


def _checked(check: Callable[[str], object]) -> Callable[[str], str]:
    """The text itself, once the check has nothing against it: so that each key of a window has errors of its own."""

    def same(text: str) -> str:
        check(text)
        return text

    return same


def _verify(table: Table) -> VerifySettings:
    verify = VerifySettings(
        dwell=table.duration("dwell", "30s"),
        deadline=table.duration("deadline", "10m", above=NOTHING),
        rollback=table.word("rollback", "hold", Rollback),
    )
    table.finish()
    if verify.deadline <= verify.dwell:
        table.fail("deadline", f"must be longer than dwell ({format_duration(verify.dwell)}), or no node is ever well")
    return verify


def _reboot(table: Table) -> RebootSettings:
    reboot = RebootSettings(
        kind=table.word("kind", "auto", RebootKind),
        method=table.word("method", "reboot", RebootMethod),
        inhibitors=table.word("inhibitors", "honour", Inhibitors),
        command=table.command("command"),
        timeout=table.duration("timeout", "15m", above=NOTHING),
        retries=table.whole("retries", 1),
    )
    table.finish()
    if reboot.kind == "command" and not reboot.command:
        table.fail("command", 'is missing: kind command needs command = ["/path/of/program"]')
    if reboot.kind != "command" and reboot.command:
        table.fail("command", f'has no use with kind {reboot.kind}: write kind = "command", or leave it out')
    return reboot


def _hooks(table: Table) -> HookSettings:
    directory = table.path("directory", "/etc/locksmith/hooks")
    timeout = table.duration("timeout", "10m", above=NOTHING)
    each = {entry.entry_name: _hook(entry, timeout) for entry in table.inner("each")}
    table.finish()
    return HookSettings(directory, timeout, MappingProxyType(each))


def _hook(entry: Table, timeout: timedelta) -> "HookRule":
    from locksmith.hooks import HookRule, OnFailure  # noqa: PLC0415 - lockctl starts faster without

    rule = HookRule(
        timeout=entry.duration("timeout", format_duration(timeout), above=NOTHING),
        on_failure=entry.word("on_failure", "abort", OnFailure),
        force_after=entry.duration("force_after", "1h", above=NOTHING),
    )
    if rule.on_failure != "force" and entry.origin("force_after") != DEFAULT:
        entry.fail("force_after", 'has no use here: write on_failure = "force" beside it, or leave it out')
    entry.finish()
    return rule
