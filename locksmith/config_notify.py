"""[notify.NAME]: which ways there are to tell people and programs what becomes of this node, and the keys of each.

The one idea a reader would miss: URLs that are passwords are not for this file, which everybody may read; `url_file` names
a file, or a credential of the unit, that holds them. It is looked at when locksmithd starts, and not when lockctl, which may have
neither the credential nor the rights, reads the same configuration.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from locksmith.config_checks import tls, web_address
from locksmith.config_table import NOTHING, Table
from locksmith.core.names import did_you_mean

if TYPE_CHECKING:
    from locksmith.host.tls import Tls

NotifyKind = Literal["webhook", "apprise"]
NotifyEvent = Literal["staged", "acquired", "rebooting", "back", "failed", "overdue", "halted", "forced", "paused"]
NOTIFY_KEYS = (
    "url", "url_file", "timeout", "retry_for", "events", "ca_file", "cert_file", "key_file", "token_file",
)  # fmt: skip
"""Every key that some kind has."""


@dataclass(frozen=True, slots=True)
class WebhookSpec:
    """Kind webhook: one of `url` and `url_file`. `retry_for` is how long one event is tried; `timeout` is for one try."""

    name: str
    url: str | None
    url_file: Path | None
    timeout: timedelta
    tls: "Tls"
    retry_for: timedelta
    events: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AppriseSpec:
    """Kind apprise: `url_file` holds URLs that Apprise understands."""

    name: str
    url_file: Path
    retry_for: timedelta
    events: tuple[str, ...]


NotifySpec = WebhookSpec | AppriseSpec


def notification(entry: Table, environ: Mapping[str, str]) -> NotifySpec:
    """Read one entry. Raises ConfigError."""
    kind, name = entry.kind(NotifyKind), entry.entry_name
    events, retry_for = _events(entry), entry.duration("retry_for", "1d", above=NOTHING)
    url_file = entry.credential("url_file", environ)
    if kind == "webhook":
        url = entry.parsed("url", None, web_address)
        if (url is None) == (url_file is None):
            entry.fail("url", "write either url, or url_file with a file that holds the URL")
        timeout = entry.duration("timeout", "10s", above=NOTHING)
        spec: NotifySpec = WebhookSpec(
            name, url, url_file, timeout, tls(entry, environ, url or "https://"), retry_for, events
        )
    else:
        if url_file is None:
            entry.fail("url_file", 'is missing: write url_file = "/etc/locksmith/apprise", a file with one URL a line')
        spec = AppriseSpec(name, url_file, retry_for, events)
    entry.finish()
    return spec


def _events(entry: Table) -> tuple[str, ...]:
    """Which events are told; all unless it says so."""
    known: tuple[str, ...] = get_args(NotifyEvent)
    wanted = entry.texts("events")
    for event in wanted:
        if event not in known:
            entry.fail(
                "events", f"unknown event {event[:40]!r}{did_you_mean(event, known)} (known: {', '.join(known)})"
            )
    return wanted or known
