"""What an agent is built from: everything that `assemble` (or the demo, or a simulation) chooses for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from locksmith.agent.journal import Journal
from locksmith.checks import Check
from locksmith.core.facts import Policy
from locksmith.hooks import Hooks
from locksmith.rebooters import Rebooter
from locksmith.semaphore.actor import Actor
from locksmith.updates import Provider

BUILD_TIME = datetime(2026, 1, 1, tzinfo=UTC)
"""A clock earlier than this is wrong, whatever the kernel says of it."""


@dataclass(frozen=True, slots=True)
class Body:
    """The agent's parts. `boot`, `fingerprint`, `version`, `os` describe this machine in this boot.

    `courtesies` are gates that are asked only when all `gates` are open: they do something to people.
    """

    actor: Actor
    policy: Policy
    boot: str
    fingerprint: str
    journal: Journal
    providers: Sequence[Provider]
    gates: Sequence[Check]
    health: Sequence[Check]
    hooks: Hooks
    rebooter: Rebooter
    labels: dict[str, str]
    os: str = ""
    courtesies: Sequence[Check] = ()
    heartbeat: timedelta = timedelta(minutes=15)
    require_time_sync: bool = True
    session_ttl: timedelta = timedelta(seconds=60)

    def clock_trusted(self, now: datetime) -> bool:
        """Whether windows may be judged by this reading of the wall clock."""
        return now >= BUILD_TIME and (not self.require_time_sync or self.actor.clock.synchronised())
