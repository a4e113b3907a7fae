"""Rebooters: what makes the machine reboot. Contract first, one module an implementation.

The idea a reader would miss is `pending`: a slot may be given back only when *nothing can still fire*, so a rebooter must
be able to say whether a call it once made (perhaps in an earlier life of the agent, in this boot) may still take the
machine down. It therefore keeps what it started in `run_dir`, which a reboot empties. `explain` is for people only: nothing
is decided by it.
"""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Accepted:
    """The machine was told; what follows is waiting."""


@dataclass(frozen=True, slots=True)
class NotAccepted:
    """The call failed and surely nothing will come of it; the reason names the cause."""

    reason: str


@dataclass(frozen=True, slots=True)
class Idle:
    """Nothing that we or others started can still take the machine down."""


@dataclass(frozen=True, slots=True)
class Firing:
    """Something can still take the machine down, or is doing so. `cause` names it, for people."""

    cause: str


class Rebooter(Protocol):
    """One way to reboot."""

    @property
    def kind(self) -> str:
        """`command`, `systemctl`, `simulated` and so on."""

    def reboot(self, reason: str, environment: dict[str, str]) -> Accepted | NotAccepted:
        """Tell the machine to reboot now. Bounded in time. An unclear outcome is Accepted: it may still fire."""

    def pending(self) -> Idle | Firing:
        """Whether something can still take the machine down. Bounded in time; no answer is Firing."""

    def explain(self) -> str:
        """What keeps the machine up at this moment, in one line for people: inhibitors, jobs, units. Bounded in time.

        Never empty; says so when nothing is found. Asked when a reboot that was told does not come.
        """
