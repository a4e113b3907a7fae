"""Checks: gates before a reboot and health after it, the same axis. Contract first, one module an implementation.

Two kinds of check are asked in a way of their own: a *courtesy* (a gate that does something to people, such as telling
them to log out) only when every other gate is open, so that nobody is bothered for a reboot that cannot come; and a
check that *remembers* compares what is so after the reboot with what was so before it.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol, runtime_checkable

from locksmith.core.verdict import Verdict

Role = Literal["gate", "health"]
Stage = Literal["queue", "drain", "arm", "health"]


@dataclass(frozen=True, slots=True)
class Occasion:
    """What a check may want to know about the moment it is asked in.

    `now` is aware; `clock_trusted` is False while the kernel's clock is unsynchronised or earlier than the build, where the
    configuration asks for that; `environment` holds the LOCKSMITH_* variables for commands; `payload` the same as one
    JSON document for standard input. `stage`: before a slot is asked for (and while waiting for it), with the slot before
    the drain, right before the reboot, after it. `attempt` names the reboot that is wanted or was made, "" before one began.
    """

    now: datetime
    clock_trusted: bool
    environment: dict[str, str]
    payload: bytes = b"{}"
    stage: Stage = "queue"
    attempt: str = ""


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


@runtime_checkable
class Remembering(Protocol):
    """A check that compares with the time before the reboot."""

    def remember(self, attempt: str) -> None:
        """Note what is so now, before anything is drained. For an attempt that was noted already: nothing.

        Bounded in time. Raises Damaged when it cannot be kept; then the check judges without a comparison.
        """
