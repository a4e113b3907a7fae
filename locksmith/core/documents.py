"""What the store holds, as values. The layout of the keys is in `keys`, the bytes are in `codec`.

What VERIFY, RELEASE and unlock need (a holder's nonce, limits, phase and group, a guard's count, a brake's failed set) is
frozen for ever: no newer format may change it, so giving a slot back is never barred by a version.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from locksmith.core.codec import BEGUN_ANEW, Document, Part
from locksmith.core.history import Step, Unsanctioned


class Phase(StrEnum):
    """Where a holder stands."""

    ACQUIRED = "acquired"
    DRAINING = "draining"
    ARMED = "armed"
    VERIFYING = "verifying"
    FAILED = "failed"
    MAINTENANCE = "maintenance"


def still(until: datetime | None, now: datetime | None) -> bool:
    """Whether what ends at `until` (None: never) holds at `now`; None while the clock cannot be trusted, and then it does."""
    return until is None or now is None or now < until


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause(Part):
    """An operator stopped new claims and arms. `until` None: until somebody resumes."""

    by: str
    reason: str
    since: datetime
    until: datetime | None = None

    def in_force(self, now: datetime | None) -> bool:
        """See `still`."""
        return still(self.until, now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(Document):
    """`cfg`: the fleet. `store` is a random identity written once; `cluster` the store's own (cluster id, datacenter)."""

    store: str
    cluster: str | None = None
    epoch: int = 1
    pause: Pause | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure(Part):
    """A holder that did not come back well, in its group's brake. `acked`: an operator let the group go on."""

    token: str
    check: str
    since: datetime
    host: str = ""
    acked: bool = False
    acked_by: str = ""
    acked_reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Brake(Document):
    """`brake/<group>`: what stops a group. `failed` is keyed by node id."""

    pause: Pause | None = None
    failed: Mapping[str, Failure] = field(default_factory=dict)
    max_failed: int = 0

    @property
    def halted(self) -> bool:
        """More failed and not acknowledged holders than allowed; computed, never stored."""
        return len(self.unacked) > self.max_failed

    @property
    def unacked(self) -> tuple[str, ...]:
        """The nodes whose failure nobody has acknowledged, longest first."""
        open_failures = [(failure.since, node) for node, failure in self.failed.items() if not failure.acked]
        return tuple(node for _, node in sorted(open_failures))


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold(Document):
    """`hold/<node>`: this node must not reboot."""

    by: str
    reason: str
    since: datetime
    until: datetime | None = None

    def in_force(self, now: datetime | None) -> bool:
        """See `still`."""
        return still(self.until, now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request(Document):
    """`req/<node>`: an operator asks for one reboot; `gen` is its identity. `ignore` names what it may pass over."""

    by: str
    reason: str
    since: datetime
    ignore: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard(Document):
    """`lim/<kind>/<name>`: a limit. `count` is the number of holders that name it, at every revision.

    `seq` is the number of its last change: each has an entry in the history, written in the same commit. `months` has the
    number of the last change of each month, so that the commit knows without a read which entries are too old, and `gone`
    up to which number they were dropped for that.
    """

    slots: int = 1
    effective: int = 1
    count: int = 0
    seq: int = field(default=0, metadata=BEGUN_ANEW)
    months: Mapping[str, int] = field(default_factory=dict, metadata=BEGUN_ANEW)
    gone: int = field(default=0, metadata=BEGUN_ANEW)

    @property
    def free(self) -> int:
        """Slots that may be granted now; negative after a limit was lowered."""
        return self.effective - self.count


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoke(Part):
    """An operator asks an agent for its slot back."""

    by: str
    reason: str
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Then(Part):
    """An operator wants the slot by hand once the agent has undone its drain."""

    by: str
    host: str
    reason: str
    nonce: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder(Document):
    """`own/<xx>/<node>`: a node has a slot of every limit in `limits`.

    `attempt` is the arm that wrote phase armed; `boot` the boot in which the present phase began, `boots` how many boots
    have verified; `fingerprint` the hardware's; `need` the fingerprint of the update; `by` the operator of a hold by hand.
    `steps` are its last phases.
    """

    nonce: str
    group: str
    limits: tuple[str, ...]
    phase: str
    boot: str
    since: datetime
    phase_since: datetime
    attempt: str = ""
    boots: int = 0
    fingerprint: str = ""
    need: str = ""
    reason: str = ""
    origin: str | None = None
    target: str | None = None
    expected_by: datetime | None = None
    host: str = ""
    by: str | None = None
    check: str = ""
    revoke: Revoke | None = None
    then: Then | None = None
    steps: tuple[Step, ...] = field(default=(), metadata=BEGUN_ANEW)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket(Document):
    """`q/<group>/<node>`: waits for slots of all its limits; a smaller priority goes first."""

    nonce: str
    limits: tuple[str, ...]
    since: datetime
    priority: int = 0
    host: str = ""
    reason: str = ""
    by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRecord(Document):
    """`node/<group>/<xx>/<node>`: what a node says of itself, rewritten when it changes.

    `unsanctioned` are the last boots that began without an armed slot, from an agent since 0.2; each has a note in the history.
    `state` is the agent's state, `kind` the closed word of what it waits for, `why` the sentence, `steps` the list that
    `lockctl why` shows. `reboots` are its totals by result, `last_reboot` what became of the last one. `epoch` is the fleet's in
    which it last ran START, None from an agent before 0.2.
    """

    host: str
    group: str
    state: str
    seen: datetime
    labels: Mapping[str, str] = field(default_factory=dict)
    version: str = ""
    os: str = ""
    strategy: str = ""
    state_since: datetime | None = None
    kind: str | None = None
    why: str = ""
    boot: str = ""
    fingerprint: str = ""
    heartbeat: int = 0
    epoch: int | None = None
    need: str | None = None
    need_since: datetime | None = None
    origin: str | None = None
    target: str | None = None
    steps: tuple[Mapping[str, Any], ...] = ()
    reboots: Mapping[str, int] = field(default_factory=dict, metadata=BEGUN_ANEW)
    last_reboot: Mapping[str, Any] | None = field(default=None, metadata=BEGUN_ANEW)
    unsanctioned: tuple[Unsanctioned, ...] = field(default=(), metadata=BEGUN_ANEW)


EXPLAINED = 32
"""So many earlier slots of a node an unlock record explains."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlocked(Document):
    """`ev/unlock/<node>`: an operator took a slot away. `earlier` are the tokens of those that he took before it.

    A node that was off may owe any of them: taken by force, held by hand for the repair, unlocked again.
    """

    token: str
    nonce: str
    phase: str
    by: str
    reason: str
    since: datetime
    earlier: tuple[str, ...] = ()

    @property
    def tokens(self) -> tuple[str, ...]:
        """All slots that this record explains, the last one at the end."""
        return (*self.earlier, self.token)
