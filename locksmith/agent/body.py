"""What an agent is built from: everything that `assemble` (or the demo, or a simulation) chooses for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from locksmith.agent.journal import Journal
from locksmith.checks import Check
from locksmith.core.facts import Policy
from locksmith.hooks import Hooks
from locksmith.rebooters import Rebooter
from locksmith.semaphore.actor import Actor
from locksmith.updates import Provider


@dataclass(frozen=True, slots=True)
class Body:
    """The agent's parts. `boot`, `fingerprint`, `version`, `os` describe this machine in this boot."""

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
    heartbeat: timedelta = timedelta(minutes=15)
    require_time_sync: bool = True
    session_ttl: timedelta = timedelta(seconds=60)
