"""bootc: systems that boot from a container image (Fedora and CentOS bootc, RHEL image mode).

The ideas a reader would miss. `bootc status` always succeeds, also where bootc has nothing to say: `booted` null means that
the system did not boot from an image (docs, bootc-status(8)). And an image that was fetched with `--download-only` is
staged but locked: a reboot would throw it away instead of booting it (docs, upgrades.md), so it is no need until somebody
releases it with `bootc upgrade --from-downloaded`.

bootc's own bootc-fetch-apply-updates.timer reboots without asking anybody: mask it. Asking needs root. Known defect: with
the composefs backend and UKIs `rollbackQueued` was the wrong way round (bootc-dev/bootc#2405, 2026); the loop guard ends
what follows after one reboot.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from locksmith.host.outcome import printable
from locksmith.host.said import Document, Unsaid, said, word
from locksmith.updates import Answer, Need, NeedUnknown, NotNeeded
from locksmith.updates.fingerprint import fingerprint

COMMAND = ("bootc",)

_ASK = ("status", "--json", "--format-version=1")
_SHORT = 12
"""Digits of a digest that people are shown, and that tell images of one machine apart."""


class Bootc:
    """Needed while an image is staged or a rollback is queued. Versions are `41.20250105.2.0 (c4a15145a232)`."""

    kind = "bootc"

    def __init__(self, name: str, timeout: timedelta, *, command: Sequence[str] = COMMAND) -> None:
        """Each question ends within `timeout`."""
        self._name = name
        self._timeout = timeout
        self._command = tuple(command)

    @property
    def name(self) -> str:
        """See Provider."""
        return self._name

    def ask(self) -> Answer:
        """See Provider."""
        command = (*self._command, *_ASK)
        document = said(command, timeout=self._timeout)
        if isinstance(document, Unsaid):
            return NeedUnknown(self._name, document.reason)
        answer = self._read(document)
        return NeedUnknown(self._name, f"{' '.join(command)}: {answer}") if isinstance(answer, str) else answer

    def _read(self, document: Document) -> Need | NotNeeded | str:
        """The answer, or what is wrong with the document."""
        status = document.get("status")
        if not isinstance(status, dict) or "staged" not in status or "booted" not in status:
            return "the answer has no status"
        booted, staged = status["booted"], status["staged"]
        if booted is None:
            return "this machine did not boot from a bootc image"
        origin = _name(booted)
        if not origin:
            return "the answer does not say which image is booted"
        if staged is not None:
            return self._need(staged, origin, "is staged")
        if status.get("rollbackQueued") is True:
            return self._need(status.get("rollback"), origin, "is queued as a rollback")
        return NotNeeded(self._name, running=origin)

    def _need(self, entry: Any, origin: str, what: str) -> Need | NotNeeded | str:
        target = _name(entry)
        if not target:
            return f"the answer does not say which image {what}"
        if entry.get("downloadOnly") is True:
            return NotNeeded(self._name, running=origin)
        return Need(
            provider=self._name,
            kind=self.kind,
            # The image's name counts, too: `bootc switch` to another name for the running image is an update.
            fingerprint=fingerprint(self.kind, _identity(entry), _text(entry, "image", "image", "image")),
            reason=f"{target} {what}",
            origin=origin,
            target=target,
        )


def _identity(entry: Any) -> str:
    """The image's digest, or the commit or file system that was made of it when bootc does not know the image."""
    return (
        _text(entry, "image", "imageDigest")
        or _text(entry, "ostree", "checksum")
        or _text(entry, "composefs", "verity")
    )


def _name(entry: Any) -> str:
    """`41.20250105.2.0 (c4a15145a232)`; empty when the entry has neither digest nor checksum."""
    short = printable(_identity(entry).removeprefix("sha256:"))[:_SHORT]
    version = printable(_text(entry, "image", "version"))
    return f"{version} ({short})" if version and short else short


def _text(entry: Any, *path: str) -> str:
    for key in path:
        if not isinstance(entry, dict):
            return ""
        entry = entry.get(key)
    return word(entry)
