"""Checks: gates before a reboot and health after it, the same axis. Contract first, one module an implementation."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from locksmith.core.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Occasion:
    """What a check may want to know about the moment it is asked in.

    `now` is aware; `clock_trusted` is False while the kernel's clock is unsynchronised or earlier than the build, where the
    configuration asks for that; `environment` holds the LOCKSMITH_* variables for commands; `payload` the same as one
    JSON document for standard input.
    """

    now: datetime
    clock_trusted: bool
    environment: dict[str, str]
    payload: bytes = b"{}"


class Check(Protocol):
    """One named gate or health check."""

    @property
    def name(self) -> str:
        """The entry's name in the configuration."""

    @property
    def kind(self) -> str:
        """The word of `locksmith_blocked{kind}` when it is not open: `window`, `gate` and so on."""

    def ask(self, occasion: Occasion) -> Verdict:
        """Ask now; bounded by the check's own time limit; never raises for what a host can do wrong (that is Unknown)."""
