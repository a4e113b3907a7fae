"""Stand-ins for the parts of an agent's body, and a body made of them."""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from locksmith.agent.body import Body
from locksmith.agent.journal import Journal
from locksmith.agent.watching import Post
from locksmith.checks import Occasion
from locksmith.core.needs import Answer as NeedAnswer
from locksmith.core.needs import NotNeeded
from locksmith.core.verdict import Open, Verdict
from locksmith.errors import Damaged
from locksmith.hooks import HookContext, HookDone, HookResult, Stage
from locksmith.rebooters import Accepted, Firing, Idle, NotAccepted
from locksmith.semaphore.actor import Actor
from locksmith.semaphore.holding import Slot
from locksmith.stores import Session, Store
from tests.fakes.mind import BOOT, policy


@dataclass
class FakeProvider:
    """Says what it is told to say."""

    answer: NeedAnswer = field(default_factory=lambda: NotNeeded("file"))
    name: str = "file"
    kind: str = "fake"
    asked: int = 0

    def ask(self) -> NeedAnswer:
        self.asked += 1
        return self.answer


@dataclass
class FakeCheck:
    """Says what it is told to say, and remembers the occasions."""

    name: str
    kind: str = "gate"
    verdict: Verdict = field(default_factory=Open)
    occasions: list[Occasion] = field(default_factory=list)

    def ask(self, occasion: Occasion) -> Verdict:
        self.occasions.append(occasion)
        return self.verdict


@dataclass
class RememberingCheck(FakeCheck):
    """Notes the attempts for which it was to remember; or cannot."""

    remembered: list[str] = field(default_factory=list)
    problem: Damaged | None = None

    def remember(self, attempt: str) -> None:
        if self.problem is not None:
            raise self.problem
        self.remembered.append(attempt)


@dataclass
class FakeHooks:
    """Hooks by stage. `run_as` is called for each; `unreadable` are the stages whose folder cannot be read."""

    stages: dict[str, tuple[str, ...]] = field(default_factory=dict)
    run_as: Callable[[str, threading.Event | None], HookResult] = lambda name, cancel: HookDone()
    unreadable: set[str] = field(default_factory=set)
    ran: list[tuple[str, str, HookContext]] = field(default_factory=list)

    def names(self, stage: Stage) -> tuple[str, ...]:
        if str(stage) in self.unreadable:
            raise Damaged(f"cannot read {stage}.d")
        return self.stages.get(str(stage), ())

    def run(self, stage: Stage, name: str, context: HookContext, cancel: threading.Event | None = None) -> HookResult:
        self.ran.append((str(stage), name, context))
        return self.run_as(name, cancel)


@dataclass
class FakeRebooter:
    """Remembers that it was told."""

    outcome: Accepted | NotAccepted = field(default_factory=Accepted)
    fires: Idle | Firing = field(default_factory=Idle)
    told: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    kind: str = "fake"

    def reboot(self, reason: str, environment: dict[str, str]) -> Accepted | NotAccepted:
        self.told.append((reason, environment))
        return self.outcome

    def pending(self) -> Idle | Firing:
        return self.fires

    def explain(self) -> str:
        return "held up by a test"


@dataclass
class FakeWatches:
    """Watching without threads: what is watched now, to be looked at."""

    wanted: list[tuple[str, int]] = field(default_factory=list)
    holders: list[tuple[Slot, int]] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)

    def keys(self, store: Store, post: Post, random: Random) -> "FakeWatches":
        return self

    def want(self, watches: Iterable[tuple[str, int]]) -> None:
        self.wanted = list(watches)

    def holder(self, actor: Actor, slot: Slot, mod: int, post: Post) -> "_Stops":
        self.holders.append((slot, mod))
        return _Stops(self.holders, (slot, mod))

    def session(self, session: Session, post: Post) -> "_Keeps":
        self.sessions.append(session)
        return _Keeps(self.sessions, session)


@dataclass
class _Stops:
    among: list[Any]
    one: Any

    def stop(self) -> None:
        if self.one in self.among:
            self.among.remove(self.one)


@dataclass
class _Keeps(_Stops):
    def end(self) -> None:
        self.stop()
        self.one.end()


def body(actor: Actor, folder: Path, **changes: Any) -> Body:
    """A body for node n1 of group web, without checks, hooks or windows."""
    parts: dict[str, Any] = {
        "policy": policy(),
        "boot": BOOT,
        "fingerprint": "hw",
        "journal": Journal(folder / "journal.json"),
        "providers": [FakeProvider()],
        "gates": [],
        "health": [],
        "hooks": FakeHooks(),
        "rebooter": FakeRebooter(),
        "labels": {"zone": "a"},
    }
    return Body(actor=actor, **{**parts, **changes})
