"""The door to Apprise (https://github.com/caronc/apprise), which knows chats, mail and a hundred other services by URL.

The ideas a reader would miss. The package is an extra: it is imported when a channel of this kind is made, and its absence is
then an error that says how to install it. Its URLs are passwords, and its own log may hold them, so that log goes nowhere and
no reason of ours names more than the kind of service. Services that took an event are not told it again when another did not.
"""

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from locksmith.errors import ConfigError
from locksmith.notify import Delivered, Outcome, Undelivered
from locksmith.notify.webhook import why

_SCHEME = re.compile(r"([a-z0-9+-]{1,20})://", re.IGNORECASE)
_WARNINGS = ("failed", "overdue", "halted", "forced")


class Apprise:
    """The services in one file: one URL a line, # begins a comment. The file is read at each event."""

    def __init__(self, key: str, url_file: Path) -> None:
        """`key` is the configuration's, for errors. Raises ConfigError without the package, or without a usable URL."""
        try:
            import apprise  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise ConfigError(
                f"{key}: kind apprise needs a package that is not installed: pip install 'locksmith-reboot[apprise]', "
                'or use kind = "webhook"'
            ) from error
        own = logging.getLogger("apprise")
        own.addHandler(logging.NullHandler())
        own.propagate = False
        self._apprise: Any = apprise
        self._url_file = url_file
        self._done: tuple[object, set[str]] = ("", set())
        try:
            services = self._services()
        except (OSError, ValueError) as error:
            raise ConfigError(f"{key}: {self._why(error)}") from error
        for number, (kind, service) in enumerate(services.values(), 1):
            if service is None:
                raise ConfigError(f"{key}: {url_file}: URL {number} ({kind}) is none that Apprise understands")

    def send(self, document: Mapping[str, Any]) -> Outcome:
        """See Sink. Bounded by the time limits of the services, some seconds each."""
        try:
            services = self._services()
        except (OSError, ValueError) as error:
            return Undelivered(self._why(error))
        done = self._done[1] if self._done[0] == document["id"] else set()
        self._done = (document["id"], done)
        failed = []
        for url, (kind, service) in services.items():
            if url in done:
                continue
            if service is not None and self._tell(service, document):
                done.add(url)
            else:
                failed.append(kind)
        if failed:
            return Undelivered(f"not taken by {', '.join(sorted(failed))} (of {len(services)} services)")
        return Delivered()

    def _tell(self, service: Any, document: Mapping[str, Any]) -> bool:
        kind = self._apprise.NotifyType.WARNING if document["event"] in _WARNINGS else self._apprise.NotifyType.INFO
        title = f"{document['host']}: {document['event']} (group {document['group']})"
        try:
            return bool(service.notify(body=_body(document), title=title, notify_type=kind))
        except (TypeError, OSError):  # what it raises for an event that it cannot write, and what slips through
            return False

    def _services(self) -> dict[str, tuple[str, Any]]:
        """By URL, the kind of service and what speaks to it. Raises OSError, ValueError."""
        lines = (line.strip() for line in self._url_file.read_text().splitlines())
        urls = [line for line in lines if line and not line.startswith("#")]
        if not urls:
            raise ValueError("holds no URL: write one a line")
        return {url: (_kind(url), self._apprise.Apprise.instantiate(url)) for url in urls}

    def _why(self, error: OSError | ValueError) -> str:
        return f"url_file {self._url_file}: {why(error)}"


def _kind(url: str) -> str:
    """The kind of service, which may be shown; of a line that is no URL nothing may."""
    return found[1] if (found := _SCHEME.match(url)) else "no scheme"


def _body(document: Mapping[str, Any]) -> str:
    lines = [str(document["text"])]
    if document["reason"] and document["reason"] not in lines[0]:
        lines.append(f"reason: {document['reason']}")
    if document["from"] or document["to"]:
        lines.append(f"from {document['from'] or 'unknown'} to {document['to'] or 'unknown'}")
    lines.append(f"at {document['time']}, state {document['state']}")
    return "\n".join(lines)
