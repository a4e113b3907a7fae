"""What happens to the agent: every event that the machine takes."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from locksmith.core.facts import HoldFact, RequestFact, SlotFact
from locksmith.core.needs import Answer as NeedAnswer
from locksmith.core.verdict import Answer


@dataclass(frozen=True, slots=True)
class Begin:
    """The loop has started."""


@dataclass(frozen=True, slots=True)
class Tick:
    """The time in `wake_at` has come, or the loop looked at the clock."""


@dataclass(frozen=True, slots=True)
class Poke:
    """`lockctl` on this machine says: look now."""


@dataclass(frozen=True, slots=True)
class StopAsked:
    """SIGTERM. `going_down`: the whole system stops."""

    going_down: bool


@dataclass(frozen=True, slots=True)
class StoreFailed:
    """An effect that needed the store failed. `act` names it; `kind` is the error's word."""

    act: str
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class JournalFailed:
    """The journal could not be written: the act that it was to name was not done."""

    act: str
    text: str


@dataclass(frozen=True, slots=True)
class SetUp:
    """`cfg` exists now."""


@dataclass(frozen=True, slots=True)
class FoundAtStart:
    """What START or a steady look saw. `config` None: not set up. `unlocked` are the tokens of the unlock record."""

    known: bool
    identity: str = ""
    epoch: int = 0
    slot: SlotFact | None = None
    clash: SlotFact | None = None
    unlocked: tuple[str, ...] = ()
    hold: HoldFact | None = None
    request: RequestFact | None = None
    start: bool = True


@dataclass(frozen=True, slots=True)
class PutBack:
    """Our holder stands again in a restored store."""

    slot: SlotFact


@dataclass(frozen=True, slots=True)
class ProvidersAnswered:
    """One round over all update providers."""

    answers: tuple[NeedAnswer, ...]


@dataclass(frozen=True, slots=True)
class GatesAnswered:
    """The gates and windows, asked for `stage`: queue, drain or arm. `courtesies`: those were to be asked as well."""

    stage: str
    answers: tuple[Answer, ...]
    courtesies: bool = True


@dataclass(frozen=True, slots=True)
class HealthAnswered:
    """The health checks."""

    answers: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class EnqueueDone:
    """The ticket stands."""


@dataclass(frozen=True, slots=True)
class EnqueueRefused:
    """No ticket: the queue is full, or something else stands in the way."""

    kind: str
    reason: str
    retry_after: timedelta | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class StandingInLine:
    """Not our turn. `epoch` is the fleet's now, where it was read."""

    kind: str
    reason: str
    rank: int
    ahead: tuple[str, ...] = ()
    retry: bool = False
    epoch: int | None = None


@dataclass(frozen=True, slots=True)
class TicketGone:
    """The ticket was lost."""


@dataclass(frozen=True, slots=True)
class OwnKeyTaken:
    """The own key carries another nonce."""

    slot: SlotFact


@dataclass(frozen=True, slots=True)
class SlotTaken:
    """The claim applied."""

    slot: SlotFact
    epoch: int


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The ticket is surely gone; `slot` when a claim of ours had won."""

    slot: SlotFact | None


@dataclass(frozen=True, slots=True)
class Woken:
    """A watched key changed."""


@dataclass(frozen=True, slots=True)
class HolderSeen:
    """The own holder was looked at while draining: `gone`, or called off for `kind`, or as it should be (kind None)."""

    gone: bool = False
    kind: str | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class HooksListed:
    """The executable hooks of a stage, in order."""

    stage: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HookEnded:
    """One hook ended; `problem` None: well."""

    stage: str
    name: str
    problem: str | None
    cancelled: bool = False


@dataclass(frozen=True, slots=True)
class PhaseMarked:
    """A phase was written: draining (also disarmed), verifying or failed."""

    phase: str
    slot: SlotFact


@dataclass(frozen=True, slots=True)
class SlotGone:
    """The holder is not ours any more. `epoch` is the fleet's in the look that saw it, where there was one."""

    epoch: int | None = None


@dataclass(frozen=True, slots=True)
class ArmDone:
    """The holder carries the attempt."""

    attempt: str


@dataclass(frozen=True, slots=True)
class ArmRefused:
    """Ours, and may not arm now."""

    kind: str
    reason: str


@dataclass(frozen=True, slots=True)
class ArmUnsettled:
    """The arm did not apply or its fate is open."""

    reason: str


@dataclass(frozen=True, slots=True)
class RebootTold:
    """The rebooter accepted, or surely failed with `problem`."""

    problem: str | None = None


@dataclass(frozen=True, slots=True)
class PendingSeen:
    """What can still take the machine down; None: nothing."""

    cause: str | None


@dataclass(frozen=True, slots=True)
class ReleaseDone:
    """The slot is back, or left to an operator by hand."""

    by_hand: bool = False


Event = (
    Begin | Tick | Poke | StopAsked | StoreFailed | JournalFailed | SetUp | FoundAtStart | PutBack | ProvidersAnswered
    | GatesAnswered | HealthAnswered | EnqueueDone | EnqueueRefused | StandingInLine | TicketGone | OwnKeyTaken
    | SlotTaken | Cancelled | Woken | HolderSeen | HooksListed | HookEnded | PhaseMarked | SlotGone | ArmDone
    | ArmRefused | ArmUnsettled | RebootTold | PendingSeen | ReleaseDone
)  # fmt: skip
