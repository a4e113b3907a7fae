"""What `rpm-ostree status --json` says, for the provider and the rebooter.

The ideas a reader would miss. The list is in the order of the boot menu: the first deployment is what boots next, the
booted one stands behind it while something is staged or a rollback was asked for, and what stands behind the booted one is
kept for a rollback. A version names a deployment only together with its checksum: a layered package changes the checksum
and not the version, and `rpm-ostree kargs` changes only the serial number.

Fields as rpm-ostree writes them in src/daemon/rpmostreed-deployment-utils.cxx and rust/src/deployment_utils.rs; `staged` is
left out by versions before 2023, `finalization-locked` by all while it does not hold.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from locksmith.host.outcome import printable
from locksmith.host.said import Document, Unsaid, said, word

COMMAND = ("rpm-ostree",)

_SHORT = 12
"""Digits of a checksum that people are shown, and that tell deployments of one machine apart."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """One entry. `base` is the checksum without layered packages, `digest` that of the container image, if it has them."""

    checksum: str
    serial: int
    version: str
    base: str
    digest: str
    booted: bool
    staged: bool
    locked: bool

    def name(self) -> str:
        """`39.20240407.3.0 (4f5997a887d9)`; `.1` behind the checksum when it is deployed a second time."""
        short = self.checksum[:_SHORT] + (f".{self.serial}" if self.serial else "")
        return printable(f"{self.version} ({short})") if self.version else short


@dataclass(frozen=True, slots=True)
class Status:
    """`next` is what boots next, `booted` what runs now: the same entry when nothing waits. `transaction`: at work."""

    next: Deployment
    booted: Deployment
    transaction: str = ""


def status(command: Sequence[str], timeout: timedelta) -> Status | Unsaid:
    """Ask rpm-ostree. Unsaid also for a system that did not boot from a deployment. Raises nothing."""
    document = said((*command, "status", "--json"), timeout=timeout)
    if isinstance(document, Unsaid):
        return document
    read = parse(document)
    return Unsaid(f"{' '.join(command)} status --json: {read}") if isinstance(read, str) else read


def parse(document: Document) -> Status | str:
    """The status, or what is wrong with it."""
    entries = document.get("deployments")
    if not isinstance(entries, list):
        return "the answer has no list of deployments"
    deployments = [deployment for entry in entries if (deployment := _deployment(entry)) is not None]
    if len(deployments) != len(entries):
        return "the answer has a deployment without a checksum"
    booted = [deployment for deployment in deployments if deployment.booted]
    if not booted:
        return "no deployment is booted: this is a live system, or a container"
    if len(booted) > 1:
        return "the answer has more than one booted deployment"
    waiting = next((deployment for deployment in deployments if deployment.staged), deployments[0])
    if waiting.staged and waiting.booted:
        return "the answer has a deployment that is booted and staged"
    return Status(waiting, booted[0], _transaction(document.get("transaction")))


def _deployment(entry: Any) -> Deployment | None:
    if not isinstance(entry, dict):
        return None
    checksum = word(entry.get("checksum"))
    if not checksum or printable(checksum) != checksum:
        return None
    serial = entry.get("serial")
    return Deployment(
        checksum=checksum,
        serial=serial if isinstance(serial, int) and not isinstance(serial, bool) else 0,
        version=word(entry.get("version")),
        base=word(entry.get("base-checksum")),
        digest=word(entry.get("container-image-reference-digest")),
        booted=entry.get("booted") is True,
        staged=entry.get("staged") is True,
        locked=entry.get("finalization-locked") is True,
    )


def _transaction(value: Any) -> str:
    """What rpm-ostree is doing: (method, caller, object) on the bus; empty when it does nothing."""
    if value is None:
        return ""
    method = word(value[0]) if isinstance(value, list) and value else ""
    return printable(method) or "a transaction without a name"
