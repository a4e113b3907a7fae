"""What the machine wants done: the hands carry these out in order and answer each with an event."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Recover:
    """START: probe, delete the stale ticket (`ticket` None: search), read what is owed."""

    ticket: str | None


@dataclass(frozen=True, slots=True)
class SetUpStore:
    """Write `cfg` if there is none."""


@dataclass(frozen=True, slots=True)
class SteadyLook:
    """Read hold, request, own key, epoch."""


@dataclass(frozen=True, slots=True)
class PutHolderBack:
    """Restore our holder in a restored store."""


@dataclass(frozen=True, slots=True)
class AskProviders:
    """Ask all update providers."""


@dataclass(frozen=True, slots=True)
class AskGates:
    """Ask all gates and windows; `courtesies`: when all are open, those as well that do something to people."""

    stage: str
    courtesies: bool = True


@dataclass(frozen=True, slots=True)
class AskHealth:
    """Ask all health checks."""


@dataclass(frozen=True, slots=True)
class Enqueue:
    """Open a session and put the ticket. `age` is how long the need has waited."""

    age: timedelta


@dataclass(frozen=True, slots=True)
class Claim:
    """Walk, and claim if it is our turn; else watch what may change it."""


@dataclass(frozen=True, slots=True)
class CancelTicket:
    """Delete the ticket until confirmed, end the session, look at the own key."""


@dataclass(frozen=True, slots=True)
class WatchHolder:
    """Look at the own holder from a thread of its own until the attempt leaves draining."""


@dataclass(frozen=True, slots=True)
class UnwatchHolder:
    """Stop that."""


@dataclass(frozen=True, slots=True)
class WatchOwnKey:
    """Wake when the own key changes (a hold by hand)."""


@dataclass(frozen=True, slots=True)
class ListHooks:
    """Which hooks a stage has."""

    stage: str


@dataclass(frozen=True, slots=True)
class RunHook:
    """Run one hook."""

    stage: str
    name: str


@dataclass(frozen=True, slots=True)
class StopHook:
    """End the hook that is running, now (not in the worker's turn)."""


@dataclass(frozen=True, slots=True)
class MarkPhase:
    """Write a phase: draining (also to disarm) or verifying."""

    phase: str


@dataclass(frozen=True, slots=True)
class MarkFailed:
    """Write phase failed and the brake's entry."""

    check: str


@dataclass(frozen=True, slots=True)
class Arm:
    """One arm commit with the attempt that the ledger names."""


@dataclass(frozen=True, slots=True)
class Reboot:
    """Tell the machine to reboot."""


@dataclass(frozen=True, slots=True)
class AskPending:
    """What can still take the machine down?"""


@dataclass(frozen=True, slots=True)
class Release:
    """Give the slot back."""


@dataclass(frozen=True, slots=True)
class DropRequest:
    """Delete an operator's request that was served without a slot, or cannot be."""

    identity: str


Effect = (
    Recover | SetUpStore | SteadyLook | PutHolderBack | AskProviders | AskGates | AskHealth | Enqueue | Claim
    | CancelTicket | WatchHolder | UnwatchHolder | WatchOwnKey | ListHooks | RunHook | StopHook | MarkPhase | MarkFailed
    | Arm | Reboot | AskPending | Release | DropRequest
)  # fmt: skip
