"""One simulated machine and the agent on it: real step, real hands; killed between any two effects and inside any commit.

The one idea a reader would miss: the machine knows what no agent does (what is really drained, whether it is well, whether
it goes down), and the judge asks the machine. Its clocks are its own: the wall clock jumps, the boot-time clock begins anew
with each boot.
"""

import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from random import Random
from typing import Any

from locksmith.agent.body import Body
from locksmith.agent.hands import Hands
from locksmith.agent.worker import NEEDS_JOURNAL
from locksmith.core import effects as do
from locksmith.core import events as ev
from locksmith.core.facts import Moment, Policy
from locksmith.core.ledger import Home, Ledger
from locksmith.core.machine import step
from locksmith.core.needs import Need, NotNeeded
from locksmith.core.states import Agent, Blocked, Conflicted, Queued, Starting, Steady, Unready
from locksmith.core.verdict import Closed, Open
from locksmith.errors import Damaged
from locksmith.hooks import HookCancelled, HookDone, HookFailed
from locksmith.rebooters import Accepted, Firing, Idle, NotAccepted
from locksmith.semaphore.actor import Actor
from tests.fakes.clock import VirtualClock
from tests.simulation.judge import Judge
from tests.simulation.net import Died, TroubledStore
from tests.simulation.watches import Watches

SECONDS = ("min_interval", "dwell", "deadline", "reboot_timeout", "store_grace")
FIXED = {
    "poll_interval": timedelta(seconds=30),
    "look_interval": timedelta(seconds=120),
    "min_uptime": timedelta(0),
    "cooldown": timedelta(seconds=20),
    "cooldown_cap": timedelta(seconds=120),
}
LEAVABLE = (Steady, Blocked, Queued, Starting, Conflicted, Unready)
"""As in locksmith.daemon: the states in which another configuration may be taken."""
HOOKS = {"pre-reboot": ("10-a", "20-b"), "undo": ("10-a",), "post-reboot": ("10-a",)}


class MachineClock:
    """The clocks of one machine."""

    def __init__(self, shared: VirtualClock) -> None:
        self.shared, self.skew, self.trusted, self.booted_at = shared, 0.0, True, shared.now - 5

    def wall(self) -> datetime:
        return self.shared.wall() + timedelta(seconds=self.skew)

    def boottime(self) -> float:
        return self.shared.now - self.booted_at

    def synchronised(self) -> bool:
        return self.trusted

    def sleep(self, seconds: float) -> None:
        self.shared.advance(seconds)


@dataclass
class MemoryJournal:
    """The journal of one host. `full`: the disk takes no more."""

    data: bytes | None = None
    full: bool = False

    def load(self) -> Ledger:
        return Ledger.decode("journal", self.data) if self.data is not None else Ledger()

    def save(self, ledger: Ledger) -> None:
        data = ledger.encode()
        if self.full and data != self.data:
            raise Damaged("no space left")
        self.data = data


@dataclass(eq=False)
class Host:
    """The machine, and the process on it (`agent` None while it does not run)."""

    name: str
    store: TroubledStore
    shared: VirtualClock
    random: Random
    policy: dict[str, Any]
    group: str
    limits: tuple[str, ...]
    judge: Judge
    version: int = 1
    target: int = 2
    newest: int = 2
    """The last version that there ever was; one that was withdrawn does not come again."""
    boots: int = 1
    up: bool = True
    down_at: float | None = None
    firing: bool = False
    """Our own reboot is on its way: whatever happens now, the machine goes down."""
    up_at: float = 0.0
    process_at: float = 0.0
    sick_until: float = 0.0
    gate_closed_until: float = 0.0
    hooks_fail_until: float = 0.0
    well_boot: int = 0
    well_since: float | None = None
    well_for: float = 0.0
    proved_boot: int = 0
    """The last boot in which it was well for the whole dwell time."""
    drained: set[str] = field(default_factory=set)
    told: set[str] = field(default_factory=set)
    """The attempts for which the rebooter was called."""
    forced: bool = False
    excused: bool = False
    """It was armed in a store that a backup has replaced since: it may go down all the same."""
    bereft: bool = False
    """The journal was lost since the last restore: nobody knows what the backup does not."""
    forgotten: bool = False
    """The journal was lost, and no START has looked at the store since."""
    pending: tuple[str, tuple[str, ...]] | None = None
    """Another group and limits, as the configuration says now."""
    journal: MemoryJournal = field(default_factory=MemoryJournal)
    agent: Agent | None = None
    hands: Hands | None = None
    inbox: deque = field(default_factory=deque)
    jobs: deque = field(default_factory=deque)
    lives: int = 0
    hook_ends: float | None = None
    """When the hook ends that runs now; meanwhile only events are heard."""
    acting: bool = False
    before_arm: list[Callable[[], object]] = field(default_factory=list)
    """What an operator does just before it arms."""

    kind = "simulated"

    def __post_init__(self) -> None:
        self.clock = MachineClock(self.shared)

    def now(self) -> float:
        """The seconds of the shared clock."""
        return self.shared.now

    # -------------------------------------------------------------- what the machine is

    def owes(self, nonce: str) -> bool:
        """Whether the journal as it stands on the disk knows of this attempt."""
        if self.forgotten or self.journal.data is None:
            return True
        owed = json.loads(self.journal.data)["owed"]
        return owed is not None and owed["nonce"] == nonce

    def may_give_back(self, granted: int) -> bool:
        """Whether a slot of this boot (its number at the grant) needs nobody any more."""
        if self.boots > granted:
            # As the judge measures it: until now, as long as nobody saw the machine unwell.
            well = self.well_boot == self.boots and self.well_since is not None
            return self.proved_boot > granted or (well and self.now() - self.well_since >= self.policy["dwell"])
        return not self.firing and not self.drained

    def ask_update(self):
        if self.version != self.target:
            return Need("sim", "sim", f"v{self.target}", f"v{self.target}", f"v{self.version}", f"v{self.target}")
        return NotNeeded("sim", f"v{self.version}")

    def ask(self, kind: str):
        """A gate, or the machine's health."""
        if self.now() < (self.sick_until if kind == "health" else self.gate_closed_until):
            if kind == "health":
                self.well_since, self.well_boot = None, 0
            return Closed("not now")
        if kind == "health":
            self.well_since = self.now() if self.well_since is None else self.well_since
            self.well_boot, self.well_for = self.boots, self.now() - self.well_since
            if self.well_for >= self.policy["dwell"]:
                self.proved_boot = self.boots
        return Open()

    def reboot(self, reason, environment):
        attempt = self.agent.owed.attempt
        self.judge.told_to_reboot(self, attempt)
        self.told.add(attempt)
        match self.random.randrange(20):
            case 0 | 1:
                return NotAccepted("refused")
            case 2 | 3 | 4:
                return Accepted()  # and nothing ever comes of it
            case 5 if self.down_at is None:
                # It hangs on the way, for longer than anybody waits, and goes down all the same.
                self.down_at = self.now() + self.random.uniform(30, 300)
        if self.down_at is None:
            self.down_at = self.now() + self.random.uniform(0, 20)
        self.firing = True
        return Accepted()

    def explain(self):
        return "simulated"

    def pending_reboot(self):
        return Firing("going down") if self.down_at is not None else Idle()

    def power_off(self, back_in: float) -> None:
        if self.firing:
            self.judge.goes_down(self)
        self.up, self.down_at, self.firing = False, None, False
        self.up_at = self.now() + back_in
        self.kill(0)

    def boot(self) -> None:
        self.up, self.forced, self.excused = True, False, False
        self.boots += 1
        self.clock.booted_at = self.now() - 1 - 10 * self.random.random()
        if self.version == self.target and json.loads(self.journal.data or b"{}").get("owed"):
            self.target = self.newest  # withdrawn too late: it boots all the same
        self.version = self.target  # whatever is staged is what boots, whoever caused the boot
        self.well_since, self.well_boot = None, 0
        self.drained.clear()
        self.start()

    # -------------------------------------------------------------- process

    def start(self) -> None:
        """A process begins, with the configuration as it is now."""
        if self.pending is not None:
            (self.group, self.limits), self.pending = self.pending, None
        self.lives += 1
        policy = {key: timedelta(seconds=one) if key in SECONDS else one for key, one in self.policy.items()}
        home = Home(store="sim", prefix="", node=self.name)
        body = Body(
            actor=Actor(self.store, self.clock, self.random, "agent", self.name),
            policy=Policy(group=self.group, limits=self.limits, home=home, **FIXED, **policy),
            boot=f"boot-{self.boots}/0",
            fingerprint=f"hw-{self.name}",
            journal=self.journal,
            providers=[Provider(self)],
            gates=[Check(self, "gate")],
            health=[Check(self, "health")],
            hooks=Hooks(self),
            rebooter=Rebooter(self),
            labels={},
        )
        self.watches = Watches(self)
        self.hands = Hands(body, self.inbox.append, self.watches)
        self.problem: str | None = None
        self.inbox.clear()
        self.jobs.clear()
        self.agent = Agent(body.policy, body.boot, body.fingerprint, self.journal.load(), Starting(), self.moment())
        self.turn(ev.Begin())

    def kill(self, restart_in: float) -> None:
        self.agent = self.hands = self.hook_ends = None
        self.inbox.clear()
        self.jobs.clear()
        self.process_at = self.now() + restart_in

    def moment(self) -> Moment:
        clock, random = self.clock, self.random
        return Moment(clock.wall(), clock.boottime(), random.random(), f"{random.getrandbits(64):016x}")

    def turn(self, event) -> None:
        before = self.agent
        self.agent, effects = step(before, event, self.moment())
        if any(isinstance(effect, do.StopHook) for effect in effects):
            self.hands.stop_hooks()
        numbered = [(e, self.hands.number_hook() if isinstance(e, do.RunHook) else 0) for e in effects]
        if effects or self.agent.ledger is not before.ledger:
            self.jobs.append((self.agent, "save", 0))
            self.jobs.extend((self.agent, effect, number) for effect, number in numbered)
        if self.pending is not None and not self.agent.stopping and isinstance(self.agent.state, LEAVABLE):
            self.inbox.append(ev.StopAsked(going_down=False))

    def due(self) -> float | None:
        """When the agent wants to be woken, by the shared clock."""
        if self.agent is None:
            return None
        wakes = [self.agent.wake_at] if self.agent.wake_at is not None else []
        if isinstance(self.agent.state, Steady | Blocked):
            wakes.append(self.agent.next_look)
        return min(wakes) + self.clock.booted_at if wakes else None

    @property
    def busy(self) -> bool:
        """Whether there is something to do at once."""
        if self.agent is None or self.acting:
            return False
        return bool(self.inbox) or self._at_work

    @property
    def _at_work(self) -> bool:
        return bool(self.jobs) and (self.hook_ends is None or self.now() >= self.hook_ends)

    def work(self) -> None:
        """One event or one effect."""
        self.acting = True
        try:
            if self._at_work and (not self.inbox or self.random.random() < 0.6):
                self._next_job()
            elif self.inbox:
                self.turn(self.inbox.popleft())
        except Died as death:
            self.kill(self.random.uniform(0, death.away))
        finally:
            self.acting = False
        if self.agent is not None and self.agent.done and not self.jobs:
            # A new configuration is taken at once; who was stopped is started again by somebody.
            self.kill(0 if self.pending is not None else self.random.uniform(1, 30))

    def _next_job(self) -> None:
        """A pre hook takes its time first, and may be stopped meanwhile."""
        _, effect, _ = self.jobs[0]
        if self.hook_ends is None and isinstance(effect, do.RunHook) and effect.stage == "pre-reboot":
            self.hook_ends = self.now() + self.random.choice((0, 0.1, 3, 15))
            if effect.name in HOOKS["undo"] and self.problem is None:
                self.drained.add(effect.name)
            return
        self.hook_ends = None
        self._carry(*self.jobs.popleft())

    def _carry(self, agent: Agent, effect, number: int) -> None:
        if effect == "save":
            try:
                self.journal.save(agent.ledger)
                self.problem = None
            except Damaged as error:
                self.problem = str(error)
            self.hands.unwritten = self.problem
            return
        drains = isinstance(effect, do.RunHook) and effect.stage == "pre-reboot"
        if self.problem is not None and (isinstance(effect, NEEDS_JOURNAL) or drains):
            self.inbox.append(ev.JournalFailed(type(effect).__name__.lower(), self.problem))
            return
        if isinstance(effect, do.Arm) and self.before_arm:
            self.before_arm.pop()()
        late = self.store.late
        event = self.hands.carry(agent, effect, number)
        if isinstance(effect, do.Recover) and isinstance(event, ev.FoundAtStart) and event.known and not event.clash:
            self.judge.has_started(self, late)
            self.store.started()
        if isinstance(effect, do.Recover) and isinstance(event, ev.FoundAtStart) and self.forgotten:
            self.forgotten = False
            if event.slot is None or event.slot.phase == "maintenance":
                self.drained.clear()  # without a journal and a slot nobody can know of it
        if event is not None:
            self.inbox.append(event)

    def lose_journal(self) -> None:
        """The disk is replaced, or somebody has deleted the file; a file nobody reads before the next start."""
        self.journal.data = None
        self.forgotten = self.bereft = True
        if self.agent is not None:
            self.kill(1.0)

    def swap(self, **changes: Any) -> None:
        """A configuration that leaves group and limits as they are is taken between two steps."""
        if self.agent is not None:
            self.agent = replace(self.agent, policy=replace(self.agent.policy, **changes))
            self.inbox.append(ev.Poke())


@dataclass
class Provider:
    """The update that is staged on a machine."""

    host: Host
    name: str = "sim"
    kind: str = "sim"

    def ask(self):
        return self.host.ask_update()


class Check:
    """A gate or a health check of a machine."""

    def __init__(self, host: Host, kind: str) -> None:
        self.host, self.kind, self.name = host, kind, kind

    def ask(self, occasion):
        return self.host.ask(self.kind)


@dataclass
class Rebooter:
    """See locksmith.rebooters.Rebooter."""

    host: Host
    kind: str = "simulated"

    def reboot(self, reason, environment):
        return self.host.reboot(reason, environment)

    def explain(self):
        return "simulated"

    def pending(self):
        return self.host.pending_reboot()


@dataclass
class Hooks:
    """Two pre hooks, of which one can be undone, and a post hook."""

    host: Host

    def names(self, stage) -> tuple[str, ...]:
        return HOOKS[str(stage)]

    def run(self, stage, name, context, cancel):
        if cancel is not None and cancel.is_set():
            return HookCancelled()
        if str(stage) == "pre-reboot" and name in HOOKS["undo"]:
            self.host.drained.add(name)  # also by one that fails in the middle
        if self.host.now() < self.host.hooks_fail_until and str(stage) != "undo":
            return HookFailed("does not work now")
        if str(stage) == "undo":
            self.host.drained.discard(name)
        return HookDone()
