"""The small values that states, events and the machine share: a moment, the policy, what the store shows of a node."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from locksmith.core.ledger import Home


@dataclass(frozen=True, slots=True)
class Moment:
    """When an event happened, with the randomness that the step may use.

    `boottime` is in seconds; `chance` is a random number in [0, 1); `nonce` 64 random bits in hex. Both are drawn by the
    loop for this event alone.
    """

    wall: datetime
    boottime: float
    chance: float = 0.5
    nonce: str = ""


class Strategy(StrEnum):
    """What the agent does about a staged update."""

    LOCK = "lock"
    OBSERVE = "observe"
    REBOOT = "reboot"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Policy:
    """What the configuration says about behaviour. `providers` False: none is configured and none was found."""

    group: str
    limits: tuple[str, ...]
    home: Home
    strategy: Strategy = Strategy.LOCK
    providers: bool = True
    poll_interval: timedelta = timedelta(seconds=60)
    look_interval: timedelta = timedelta(minutes=5)
    queue_poll: timedelta = timedelta(seconds=60)
    min_uptime: timedelta = timedelta(minutes=5)
    min_interval: timedelta = timedelta(minutes=30)
    store_grace: timedelta = timedelta(minutes=10)
    jitter: timedelta = timedelta(seconds=5)
    dwell: timedelta = timedelta(seconds=30)
    deadline: timedelta = timedelta(minutes=10)
    health_interval: timedelta = timedelta(seconds=5)
    rollback_holds: bool = True
    reboot_timeout: timedelta = timedelta(minutes=15)
    retries: int = 1
    max_boots: int = 3
    cooldown: timedelta = timedelta(minutes=1)
    cooldown_cap: timedelta = timedelta(hours=1)
    hook_timeout: timedelta = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class SlotFact:
    """A holder as the store shows it, reduced to what the machine decides by."""

    token: int
    nonce: str
    group: str
    limits: tuple[str, ...]
    phase: str
    boot: str
    attempt: str = ""
    boots: int = 0
    fingerprint: str = ""
    host: str = ""
    by: str | None = None
    reason: str = ""
    origin: str | None = None
    target: str | None = None
    need: str = ""
    since: datetime | None = None
    phase_since: datetime | None = None
    mod: int = 0


@dataclass(frozen=True, slots=True)
class RequestFact:
    """An operator's request for one reboot."""

    identity: str
    by: str
    reason: str
    since: datetime
    ignore: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HoldFact:
    """An operator's hold of this node, in force."""

    reason: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that stands between this node and its reboot. `kind` is a closed word of `blocked`.

    `again`: it is worth asking after so long, whatever `until` says.
    """

    kind: str
    name: str
    text: str
    since: datetime
    until: datetime | None = None
    remedy: str = ""
    unknown: bool = False
    again: timedelta | None = None
