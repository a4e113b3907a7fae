"""The journal's content as a value: what this host still owes, and what must survive a reboot.

The store is the authority for slots; this is the authority for local obligations: which hooks are to be undone, which
attempt was under way, which update a reboot has already been spent on. It is written (fsync) before each act that it
describes. Everything in it can be lost without harm to the limit; then the store alone decides.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from locksmith.core.codec import Document
from locksmith.core.history import Unsanctioned


class Stage(StrEnum):
    """How far an attempt has come, as the journal knows it."""

    CLAIMING = "claiming"
    HELD = "held"
    ARMED = "armed"
    VERIFYING = "verifying"
    RELEASING = "releasing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """Whose journal this is: the store (URL without secrets), its identity, the prefix, the node."""

    store: str
    prefix: str
    node: str
    identity: str = ""
    epoch: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Owed:
    """An attempt that is not over. `token` None: the claim may have won, nobody knows.

    `slotless` marks an attempt of strategy `reboot`. `request` is the operator's request that it serves, `ignore` what that one
    passes over; both outlive the request, which the first arm deletes. `arms` counts the arms in `boot`, the boot it began
    in. `started` are the pre hooks begun, `finished` those ended well, `undone` those taken back, `post_done` the post hooks
    finished in `verify_boot`; `verify_since` is that boot's boot-time clock in seconds at the first VERIFY. `result` is what
    the attempt will be counted as when it is released. `given_back`: a release was sent at least once, so one that was late may
    have applied whatever came after it. `lost`: made up without a journal, so any pre hook may have been begun.
    """

    node: str
    nonce: str
    group: str
    limits: tuple[str, ...]
    stage: str
    boot: str
    since: datetime
    ticket: str = ""
    token: int | None = None
    epoch: int = 0
    slotless: bool = False
    provider: str = ""
    fingerprint: str = ""
    reason: str = ""
    origin: str | None = None
    target: str | None = None
    request: str | None = None
    ignore: tuple[str, ...] = ()
    attempt: str = ""
    arms: int = 0
    started: tuple[str, ...] = ()
    finished: tuple[str, ...] = ()
    undone: tuple[str, ...] = ()
    called_off: str | None = None
    called_off_reason: str = ""
    armed_at: datetime | None = None
    verify_boot: str = ""
    verify_since: float = 0.0
    post_done: tuple[str, ...] = ()
    result: str = ""
    check: str = ""
    given_back: bool = False
    lost: bool = False

    @property
    def to_undo(self) -> tuple[str, ...]:
        """The pre hooks that still have to be undone, last first."""
        return tuple(name for name in reversed(self.started) if name not in self.undone)


@dataclass(frozen=True, slots=True, kw_only=True)
class LastReboot:
    """The last boot change that the agent knows of."""

    at: datetime
    result: str
    reason: str = ""
    origin: str | None = None
    target: str | None = None
    came_as: str | None = None
    ours: bool = True
    phases: Mapping[str, float] = field(default_factory=dict)


REBOOT_RESULTS = ("healthy", "recovered", "failed", "rolled_back", "stuck", "unsanctioned")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger(Document):
    """The whole journal.

    `boot` is the boot it was last written in. `wanted` are the fingerprints of the updates that were staged then, by
    provider; at a boot change they become `spent`: a reboot has been spent on them, and the loop guard blocks them.
    `left` are the versions, by provider, that a reboot of ours for another version has left: as long as such a one still
    runs, that reboot has failed, and "nothing is staged" lifts no guard.
    `cooldown_until` is wall time.
    `unsanctioned` are the last boots that began without an armed slot, oldest first.
    `served` is the operator's request that the last reboot without a slot served.
    """

    boot: str = ""
    home: Home | None = None
    owed: Owed | None = None
    wanted: Mapping[str, str] = field(default_factory=dict)
    spent: Mapping[str, str] = field(default_factory=dict)
    left: Mapping[str, str] = field(default_factory=dict)
    last: LastReboot | None = None
    last_ours: datetime | None = None
    served: str = ""
    failures: int = 0
    cooldown_until: datetime | None = None
    reboots: Mapping[str, int] = field(default_factory=dict)
    unsanctioned: tuple[Unsanctioned, ...] = ()
    called_off: Mapping[str, int] = field(default_factory=dict)
