"""The states of the agent, and the agent as one value.

States carry their own data and nothing else does; what outlives a state is in the `Ledger` (journal) and in `Agent`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from locksmith.core.facts import HoldFact, Moment, Policy, Reason, RequestFact, SlotFact
from locksmith.core.ledger import Ledger, Owed
from locksmith.core.needs import Need
from locksmith.core.verdict import Answer


@dataclass(frozen=True, slots=True)
class Starting:
    """The stale ticket is being deleted, the own holder read."""

    tries: int = 0


@dataclass(frozen=True, slots=True)
class Steady:
    """No update is staged."""


@dataclass(frozen=True, slots=True)
class Blocked:
    """An update is staged (or an operator holds this node by hand), and something stands in between."""

    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class Queued:
    """Waits for slots. `enqueued` False: the ticket is about to be put; `leaving`: it is being cancelled, for these reasons."""

    enqueued: bool = False
    rank: int | None = None
    kind: str = "queue"
    reason: str = "about to enqueue"
    ahead: tuple[str, ...] = ()
    leaving: tuple[Reason, ...] | None = None
    next_gates: float = 0.0
    failures: int = 0


@dataclass(frozen=True, slots=True)
class Draining:
    """The slot is held: gates asked again, pre hooks run. `hook` is the one running, since `hook_since`."""

    hook: str | None = None
    pending: tuple[str, ...] | None = None
    store_away_since: float | None = None
    hook_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Undoing:
    """Takes back what was done. `hook` is the undo hook running; `disarm`: the holder may still be armed."""

    kind: str
    reason: str
    hook: str | None = None
    pending: tuple[str, ...] | None = None
    slot_gone: bool = False


@dataclass(frozen=True, slots=True)
class Arming:
    """Gates are asked once more, the arm commit is under way. `attempt` empty: not answered yet; `gates_at`: when they did."""

    attempt: str = ""
    tries: int = 0
    gates_at: float = 0.0
    store_away_since: float | None = None


@dataclass(frozen=True, slots=True)
class Rebooting:
    """The machine was told to reboot, or (`told` False) is going down by an earlier call."""

    since: float
    told: bool = True
    asking: bool = False


@dataclass(frozen=True, slots=True)
class Stuck:
    """Same boot after the time limit. `cause` says by what; `disarming`: the disarm commit is under way."""

    since: float
    cause: str
    disarming: bool = False


@dataclass(frozen=True, slots=True)
class Verifying:
    """A new boot: post hooks, health. Times are boot-time seconds.

    `marked` False: the store does not know yet; `mark_at` is when to tell it again. `pending` None: the hooks are not listed
    yet. `asking`: hooks are being listed, or health is being asked; nothing else is begun until that is answered.
    """

    since: float
    marked: bool = False
    mark_at: float = 0.0
    mark_tries: int = 0
    pending: tuple[str, ...] | None = None
    hook: str | None = None
    healthy_since: float | None = None
    problem: str = ""
    check: str = ""
    asking: bool = False
    slot_gone: bool = False


@dataclass(frozen=True, slots=True)
class Failed:
    """Not healthy by the deadline: keeps the slot; health is asked on."""

    since: float
    check: str
    problem: str
    marked: bool = False
    pending: tuple[str, ...] | None = None
    hook: str | None = None
    healthy_since: float | None = None
    asking: bool = False


@dataclass(frozen=True, slots=True)
class Releasing:
    """Owes a release; retried for ever."""

    tries: int = 0
    called_off: bool = False
    kind: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Conflicted:
    """Another machine uses this node's id."""

    other: str


@dataclass(frozen=True, slots=True)
class Unready:
    """Something forbids any act."""

    kind: str
    cause: str


State = (
    Starting
    | Steady
    | Blocked
    | Queued
    | Draining
    | Undoing
    | Arming
    | Rebooting
    | Stuck
    | Verifying
    | Failed
    | Releasing
    | Conflicted
    | Unready
)

STATE_NAMES = {
    cls: cls.__name__.lower()
    for cls in (
        Starting, Steady, Blocked, Queued, Draining, Undoing, Arming, Rebooting, Stuck, Verifying, Failed, Releasing,
        Conflicted, Unready,
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Agent:
    """Everything the machine decides by.

    `needs` are the providers' last known needs, `unsure` those without an answer; `gates` the last answers of gates and
    windows; `crowded` the reason that the queue was too full, which holds until the boot-time second `crowded_until`;
    `wake_at` the boot-time second at which a Tick is wanted; `next_look` that of the next steady look; `stopping` says that
    the process was asked to end and `done` that it may.
    """

    policy: Policy
    boot: str
    fingerprint: str
    ledger: Ledger
    state: State
    since: Moment
    needs: Mapping[str, Need] = field(default_factory=dict)
    running: Mapping[str, str] = field(default_factory=dict)
    unsure: Mapping[str, str] = field(default_factory=dict)
    asked_providers: bool = False
    gates: tuple[Answer, ...] = ()
    health: tuple[Answer, ...] = ()
    request: RequestFact | None = None
    hold: HoldFact | None = None
    slot: SlotFact | None = None
    store_error: str | None = None
    store_down_since: Moment | None = None
    crowded: Reason | None = None
    crowded_until: float = 0.0
    reason_since: Mapping[str, datetime] = field(default_factory=dict)
    wake_at: float | None = None
    next_look: float = 0.0
    stopping: bool = False
    done: bool = False
    would: str = ""

    @property
    def owed(self) -> Owed | None:
        """The attempt that is not over."""
        return self.ledger.owed
