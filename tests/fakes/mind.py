"""Agents as values, for tests of the pure machine, and a mind that hears one event after the other."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from locksmith.core import events as ev
from locksmith.core.effects import Effect
from locksmith.core.facts import Moment, Policy, RequestFact, SlotFact
from locksmith.core.ledger import Home, Ledger, Owed, Stage
from locksmith.core.machine import step
from locksmith.core.needs import Answer as NeedAnswer
from locksmith.core.needs import Need, NotNeeded
from locksmith.core.states import Agent, Starting, State
from locksmith.core.telling import Telling, tell
from locksmith.core.verdict import Answer, Closed, Open, Unknown, Verdict

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
"""The wall time at UPTIME."""
UPTIME = 100_000.0
OLD_BOOT, BOOT, NEXT_BOOT = "boot-1/0", "boot-2/0", "boot-3/0"
NODE, GROUP, LIMIT, NONCE, TOKEN = "n1", "web", "group/web", "nonce-1", 7
HOME = Home(store="sqlite:///s", prefix="locksmith", node=NODE, identity="store-1", epoch=1)
NEED = Need("file", "reboot-required", "fp-1", "linux-image", "v1", "v2", NOON - timedelta(hours=1))
REQUEST = RequestFact("req-1", "alice@bastion1", "please", NOON - timedelta(minutes=3))


def policy(**changes: Any) -> Policy:
    """The defaults of the product, with changes."""
    return replace(Policy(GROUP, (LIMIT,), replace(HOME, identity="", epoch=0)), **changes)


def at(after: float = 0.0, *, chance: float = 0.5, nonce: str = "abad1dea") -> Moment:
    """So many seconds after noon."""
    return Moment(NOON + timedelta(seconds=after), UPTIME + after, chance, nonce)


def owed(**changes: Any) -> Owed:
    """An attempt of this boot that holds a slot."""
    made = Owed(
        node=NODE,
        nonce=NONCE,
        group=GROUP,
        limits=(LIMIT,),
        stage=Stage.HELD,
        boot=BOOT,
        since=NOON - timedelta(minutes=5),
        ticket=f"q/{GROUP}/{NODE}",
        token=TOKEN,
        epoch=1,
        provider="file",
        fingerprint="fp-1",
        reason="file: linux-image",
    )
    return replace(made, **changes)


def ledger(owed: Owed | None = None, **changes: Any) -> Ledger:
    """A journal of this boot."""
    return replace(Ledger(boot=BOOT, home=HOME, owed=owed), **changes)


def slot(**changes: Any) -> SlotFact:
    """Our holder of this boot, as the store shows it."""
    made = SlotFact(TOKEN, NONCE, GROUP, (LIMIT,), "acquired", BOOT, fingerprint="hw", host="host-n1", mod=11)
    return replace(made, **changes)


def by_hand(**changes: Any) -> SlotFact:
    """This node held by an operator."""
    return slot(**{"nonce": "theirs", "phase": "maintenance", "by": "alice", "reason": "disk", **changes})


def agent(state: State | None = None, book: Ledger | None = None, **changes: Any) -> Agent:
    """An agent in a state, with an update staged unless `needs` says otherwise."""
    made = Agent(policy(), BOOT, "hw", ledger() if book is None else book, state or Starting(), at(-60))
    staged = {"needs": {"file": NEED}, "asked_providers": True, "next_look": at(300).boottime}
    return replace(made, **{**staged, **changes})


def found(held: SlotFact | None = None, **changes: Any) -> ev.FoundAtStart:
    """What START sees in our store."""
    return replace(ev.FoundAtStart(known=True, identity="store-1", epoch=1, slot=held), **changes)


def says(*answers: NeedAnswer) -> ev.ProvidersAnswered:
    """One round over the providers."""
    return ev.ProvidersAnswered(answers)


def staged(fingerprint: str = "fp-1", name: str = "file") -> Need:
    """A provider's need."""
    return replace(NEED, provider=name, fingerprint=fingerprint)


NOTHING = says(NotNeeded("file"))


def opened(name: str = "backup", kind: str = "gate") -> Answer:
    """A check that is open, or well."""
    return Answer(name, kind, Open())


def closed(name: str = "backup", kind: str = "gate", retry_at: datetime | None = None) -> Answer:
    """A check that is closed, or not well."""
    return Answer(name, kind, Closed("not now", retry_at))


def unknown(name: str = "backup", kind: str = "gate") -> Answer:
    """A check without an answer."""
    verdict: Verdict = Unknown("no answer")
    return Answer(name, kind, verdict)


class Mind:
    """One agent and its clock; `effects` are those of the last event."""

    def __init__(self, start: Agent, after: float = 0.0) -> None:
        self.agent = start
        self.after = after
        self.chance = 0.5
        self.nonces = 0
        self.effects: tuple[Effect, ...] = ()

    @property
    def state(self) -> State:
        """The state that the agent is in."""
        return self.agent.state

    @property
    def book(self) -> Ledger:
        """What would be in the journal."""
        return self.agent.ledger

    @property
    def owed(self) -> Owed:
        """The attempt; there must be one."""
        assert self.agent.owed is not None
        return self.agent.owed

    @property
    def told(self) -> Telling:
        """What it says of itself."""
        return tell(self.agent)

    @property
    def moment(self) -> Moment:
        """Now."""
        return at(self.after, chance=self.chance, nonce=f"draw-{self.nonces}")

    def hear(self, *events: ev.Event, wait: float = 0.0) -> tuple[Effect, ...]:
        """Let time pass, then hear events, all at that moment; gives the effects of the last."""
        self.after += wait
        for event in events:
            self.nonces += 1
            self.agent, self.effects = step(self.agent, event, self.moment)
        return self.effects

    def wake(self) -> tuple[Effect, ...]:
        """Wait for as long as the agent asked for, then tick."""
        assert self.agent.wake_at is not None, f"nothing wakes it: {self.agent.state}"
        return self.hear(ev.Tick(), wait=max(0.0, self.agent.wake_at - self.moment.boottime))
