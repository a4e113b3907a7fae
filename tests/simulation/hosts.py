"""One simulated host: its agent's process can be killed between any two effects, its machine can lose power at any time."""

from collections import deque
from dataclasses import dataclass, field
from random import Random

from locksmith.agent.body import Body
from locksmith.agent.hands import Hands
from locksmith.agent.worker import NEEDS_JOURNAL
from locksmith.core import effects as do
from locksmith.core import events as ev
from locksmith.core import keys
from locksmith.core.documents import Holder
from locksmith.core.facts import Moment, Policy
from locksmith.core.ledger import Home, Ledger
from locksmith.core.machine import step
from locksmith.core.needs import Need, NotNeeded
from locksmith.core.states import Agent, Blocked, Starting, Steady
from locksmith.core.verdict import Closed, Open
from locksmith.errors import Damaged, LocksmithError, SessionLost
from locksmith.hooks import HookCancelled, HookDone
from locksmith.rebooters import Accepted, Firing, Idle, NotAccepted
from locksmith.semaphore.actor import Actor
from locksmith.semaphore.holding import CalledOff, Gone, Slot, watch_over
from tests.fakes.clock import VirtualClock
from tests.fakes.faulty import FaultyStore


class Broken(AssertionError):
    """An invariant does not hold."""


@dataclass
class MemoryJournal:
    """The journal of one host; `full` is a full disk."""

    data: bytes | None = None
    lost: int = 0

    def load(self) -> Ledger:
        return Ledger.decode("journal", self.data) if self.data is not None else Ledger()

    def save(self, ledger: Ledger) -> None:
        self.data = ledger.encode()


class _Watches:
    """What the scheduler looks at instead of threads."""

    def __init__(self, host: "Host") -> None:
        self.host = host
        self.wanted: tuple = ()
        self.slot: Slot | None = None
        self.next_look = 0.0
        self.sessions: list = []

    def keys(self, store, post, random) -> "_Watches":
        return self

    def want(self, watches) -> None:
        self.wanted = tuple(watches)

    def holder(self, actor, slot, mod, post) -> "_HolderLook":
        self.slot = slot
        self.next_look = actor.clock.boottime() + 5
        return _HolderLook(self)

    def session(self, session, post) -> "_Kept":
        kept = _Kept(self, session)
        self.sessions.append(kept)
        return kept

    def run(self, actor: Actor, post) -> None:
        """What the threads would do by now."""
        now = actor.clock.boottime()
        for key, mod in self.wanted:
            if actor.store.inner.read([key])[key].mod != mod:
                self.wanted = ()
                post(ev.Woken())
                break
        if self.slot is not None and now >= self.next_look:
            self.next_look = now + 5
            try:
                seen = watch_over(actor, self.slot)
            except LocksmithError as error:
                post(ev.StoreFailed("watch", error.kind, str(error)))
            else:
                match seen:
                    case Gone():
                        post(ev.HolderSeen(gone=True))
                    case CalledOff(_, kind, reason):
                        post(ev.HolderSeen(kind=kind, reason=reason))
                    case _:
                        post(ev.HolderSeen())
        for kept in list(self.sessions):
            if now >= kept.next:
                kept.next = now + kept.session.ttl.total_seconds() / 3
                try:
                    kept.session.keepalive()
                except SessionLost:
                    self.sessions.remove(kept)
                    post(ev.Woken())
                except LocksmithError:
                    continue


class _HolderLook:
    def __init__(self, watches: _Watches) -> None:
        self.watches = watches

    def stop(self) -> None:
        self.watches.slot = None


class _Kept:
    def __init__(self, watches: _Watches, session) -> None:
        self.watches, self.session = watches, session
        self.next = watches.host.clock.boottime() + session.ttl.total_seconds() / 3

    def stop(self) -> None:
        if self in self.watches.sessions:
            self.watches.sessions.remove(self)

    def end(self) -> None:
        self.stop()
        try:
            self.session.end()
        except LocksmithError:
            return


@dataclass
class Host:
    """The machine, and the process on it (None while down or killed)."""

    name: str
    store: FaultyStore
    clock: VirtualClock
    random: Random
    policy: dict
    slots: int
    version: int = 1
    target: int = 1
    boots: int = 1
    sick_until: float = 0.0
    gate_closed_until: float = 0.0
    up: bool = True
    down_at: float | None = None
    up_at: float | None = None
    process_at: float = 0.0
    reboot_calls: int = 0
    sanctioned: bool = False
    journal: MemoryJournal = field(default_factory=MemoryJournal)
    agent: Agent | None = None
    hands: Hands | None = None
    inbox: deque = field(default_factory=deque)
    jobs: deque = field(default_factory=deque)
    problem: str | None = None
    """Why the journal could not be written when the last batch began."""
    hook_log: list = field(default_factory=list)

    # -------------------------------------------------------------- adapters

    kind = "simulated"

    def ask_update(self):
        if self.version != self.target:
            return Need("sim", "sim", f"v{self.target}", f"v{self.target}", f"v{self.version}", f"v{self.target}")
        return NotNeeded("sim", f"v{self.version}")

    def reboot(self, reason, environment):
        self.reboot_calls += 1
        owned = self.store.inner.read([keys.own(self.name)])[keys.own(self.name)]
        holder = Holder.decode("own", owned.value) if owned else None
        owed = self.agent.owed
        if holder is None or holder.phase != "armed" or owed is None or holder.attempt != owed.attempt:
            raise Broken(f"{self.name} is told to reboot without an armed holder of this attempt: {holder} {owed}")
        if self.random.random() < 0.1:
            return NotAccepted("refused")
        if self.random.random() < 0.15:
            return Accepted()  # and nothing ever comes of it
        self.down_at = self.clock.boottime() + self.random.uniform(0, 20)
        self.sanctioned = True
        return Accepted()

    def explain(self):
        return "simulated"

    def pending(self):
        return Firing("going down") if self.down_at is not None else Idle()

    # -------------------------------------------------------------- process

    def start(self) -> None:
        watches = _Watches(self)
        actor = Actor(self.store, self.clock, self.random, "agent", self.name)
        body = Body(
            actor=actor,
            policy=Policy(**self.policy, home=Home(store="sim", prefix="", node=self.name)),
            boot=f"boot-{self.boots}/0",
            fingerprint=f"hw-{self.name}",
            journal=self.journal,
            providers=[_Provider(self)],
            gates=[_Check(self, "gate")],
            health=[_Check(self, "health")],
            hooks=_Hooks(self),
            rebooter=self,
            labels={},
        )
        self.watches = watches
        self.hands = Hands(body, self.inbox.append, watches)
        self.inbox.clear()
        self.jobs.clear()
        self.agent = Agent(body.policy, body.boot, body.fingerprint, self.journal.load(), Starting(), self.moment())
        self.turn(ev.Begin())

    def kill(self, restart_in: float) -> None:
        self.agent = self.hands = None
        self.inbox.clear()
        self.jobs.clear()
        self.process_at = self.clock.boottime() + restart_in

    def power_off(self, back_in: float) -> None:
        self.up = False
        self.down_at = None
        self.up_at = self.clock.boottime() + back_in
        self.kill(0)

    def boot(self) -> None:
        self.up, self.up_at = True, None
        self.boots += 1
        self.version = self.target  # whatever is staged is what boots, whoever caused the boot
        self.sanctioned = False
        self.start()

    def moment(self) -> Moment:
        return Moment(
            self.clock.wall(), self.clock.boottime(), self.random.random(), f"{self.random.getrandbits(64):016x}"
        )

    def turn(self, event) -> None:
        before = self.agent
        self.agent, effects = step(before, event, self.moment())
        if any(isinstance(effect, do.StopHook) for effect in effects):
            self.hands.stop_hooks()
        numbered = [(e, self.hands.number_hook() if isinstance(e, do.RunHook) else 0) for e in effects]
        if effects or self.agent.ledger is not before.ledger:
            self.jobs.append((self.agent, "save", 0))
            self.jobs.extend((self.agent, effect, number) for effect, number in numbered)

    def due(self) -> float | None:
        if self.agent is None:
            return None
        wakes = [self.agent.wake_at] if self.agent.wake_at is not None else []
        if isinstance(self.agent.state, Steady | Blocked):
            wakes.append(self.agent.next_look)
        return min(wakes) if wakes else None

    def work(self) -> bool:
        """One event or one effect; False when there was nothing to do."""
        if self.agent is None:
            return False
        if self.jobs and (not self.inbox or self.random.random() < 0.6):
            agent, effect, number = self.jobs.popleft()
            if effect == "save":
                try:
                    self.journal.save(agent.ledger)
                    self.problem = None
                except Damaged as error:
                    self.problem = str(error)
                self.hands.unwritten = self.problem
                return True
            drains = isinstance(effect, do.RunHook) and effect.stage == "pre-reboot"
            if self.problem is not None and (isinstance(effect, NEEDS_JOURNAL) or drains):
                self.inbox.append(ev.JournalFailed(type(effect).__name__.lower(), self.problem))
                return True
            event = self.hands.carry(agent, effect, number)
            if event is not None:
                self.inbox.append(event)
            return True
        if self.inbox:
            self.turn(self.inbox.popleft())
            return True
        return False


class _Provider:
    name = kind = "sim"

    def __init__(self, host: Host) -> None:
        self.host = host

    def ask(self):
        return self.host.ask_update()


class _Check:
    def __init__(self, host: Host, kind: str) -> None:
        self.host, self.kind, self.name = host, kind, kind

    def ask(self, occasion):
        until = self.host.sick_until if self.kind == "health" else self.host.gate_closed_until
        return Closed("not now") if self.host.clock.boottime() < until else Open()


class _Hooks:
    """Two pre hooks, one undo hook, one post hook; what runs is noted, and what is undone must have been begun."""

    def __init__(self, host: Host) -> None:
        self.host = host

    def names(self, stage) -> tuple:
        return {"pre-reboot": ("10-a", "20-b"), "undo": ("10-a",), "post-reboot": ("10-a",)}[str(stage)]

    def run(self, stage, name, context, cancel):
        self.host.hook_log.append((str(stage), name, self.host.boots))
        if cancel is not None and cancel.is_set():
            return HookCancelled()
        return HookDone()
