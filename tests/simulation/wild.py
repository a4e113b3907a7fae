"""A wilder fleet: operators of every kind, stops, shutdowns, a store that is away or silent, full disks, moving limits."""

from dataclasses import replace
from datetime import timedelta

from locksmith.core import events as ev
from locksmith.core import keys
from locksmith.errors import Damaged, Denied, LocksmithError, Unavailable
from locksmith.semaphore import by_hand, operating
from locksmith.semaphore.actor import look
from locksmith.semaphore.claiming import held
from locksmith.stores import Snapshot
from tests.fakes.faulty import FaultyStore
from tests.fakes.world import Judge
from tests.simulation.fleet import Fleet
from tests.simulation.hosts import Broken, Host, MemoryJournal


class FickleStore(FaultyStore):
    """Away for a while, or silent about what may not be read for a while."""

    away_until = 0.0
    silent_until = 0.0

    def _reach(self) -> bool:
        """Whether everything may be read now."""
        if self.clock.boottime() < self.away_until:
            raise Unavailable("away")
        return self.clock.boottime() >= self.silent_until

    def read(self, keys=(), prefixes=()):
        return super().read(keys, prefixes) if self._reach() else Snapshot({})

    def commit(self, checks, puts=(), deletes=()):
        if not self._reach():
            raise Denied("no right to write")
        return super().commit(checks, puts, deletes)

    def probe(self, key):
        if not self._reach():
            raise Denied(f"{key}: no right to read")

    def session(self, ttl):
        self._reach()
        return super().session(ttl)


class FullJournal(MemoryJournal):
    """A journal on a disk that may be full."""

    full = False

    def save(self, ledger):
        if self.full and ledger.encode() != self.data:
            raise Damaged("no space left")
        super().save(ledger)


class WildFleet(Fleet):
    """See the module. `slots` is the highest limit that was ever in force."""

    def __init__(self, seed: int, nodes: int, slots: int, *, trouble: float = 0.05) -> None:
        super().__init__(seed, nodes, slots, trouble=trouble)
        self.judge = Judge(self.memory)
        judged = FaultyStore(self.memory.client(), self.clock)
        judged.applied = self.judge
        self.operator = replace(self.operator, store=judged)
        for host in self.hosts:
            host.store = FickleStore(self.memory.client(), self.clock)
            host.store.applied = self.judge
            host.journal = FullJournal()
            host.start()

    def step(self) -> None:
        for host in self.hosts:
            agent = host.agent
            if agent is not None and agent.done and not host.jobs:
                host.kill(self.random.uniform(1, 30))
        super().step()

    def check(self, host: Host) -> None:
        self.judge()

    def _break_something(self) -> None:
        super()._break_something()
        if self.random.random() >= self.trouble / 2:
            return
        host, now = self.random.choice(self.hosts), self.clock.boottime()
        match self.random.randrange(12):
            case 0 if host.agent is not None:
                host.inbox.append(ev.StopAsked(going_down=False))
            case 1 if host.agent is not None and host.up:
                host.inbox.append(ev.StopAsked(going_down=True))
                if host.down_at is None:
                    host.down_at = now + self.random.uniform(1, 20)
            case 2:
                for other in self.hosts:
                    other.store.away_until = now + self.random.uniform(1, 150)
            case 3:
                host.store.silent_until = now + self.random.uniform(1, 60)
            case 4:
                host.journal.full = not host.journal.full
            case 5 if host.agent is not None:
                host.inbox.append(ev.Poke())
            case 6:
                self._quietly(lambda: operating.set_max(self.operator, "web", self.random.randint(1, self.slots)))
            case 7:
                until = self.clock.wall() + timedelta(seconds=self.random.uniform(1, 120))
                self._quietly(lambda: operating.pause_node(self.operator, host.name, "sim", until))
            case 8:
                ignore = ("gate",) if self.random.random() < 0.5 else ()
                self._quietly(lambda: operating.request_reboot(self.operator, host.name, "sim", ignore))
            case 9:
                self._quietly(lambda: operating.cancel_request(self.operator, host.name))
            case 10:
                self._by_hand(host)
            case 11:
                self.clock.trusted = not self.clock.trusted
            case _:
                return

    def _quietly(self, act) -> None:
        try:
            act()
        except LocksmithError:
            return

    def _by_hand(self, host: Host) -> None:
        """Take the slot by hand, or give one back."""
        current = held(look(self.memory, [keys.own(host.name)]), host.name)
        if current is None or current.holder.phase != "maintenance":
            self._quietly(
                lambda: by_hand.lock(
                    self.operator, host.name, host.name, "web", "sim",
                    wait=False, patience=timedelta(seconds=1), progress=lambda _: None, stop=_NEVER,
                )
            )  # fmt: skip
        else:
            self._quietly(lambda: by_hand.force_unlock(self.operator, host.name, "sim", armed_too=False))

    def settle(self, virtual_seconds: float) -> None:
        self.clock.trusted = True
        for host in self.hosts:
            host.store.away_until = host.store.silent_until = 0.0
            host.journal.full = False
            current = held(look(self.memory, [keys.own(host.name)]), host.name)
            if current is not None and current.holder.phase == "maintenance":
                by_hand.force_unlock(self.operator, host.name, "sim", armed_too=False)
            self._quietly(lambda host=host: operating.resume_node(self.operator, host.name))
            self._quietly(lambda host=host: operating.cancel_request(self.operator, host.name))
        operating.resume_fleet(self.operator)
        super().settle(virtual_seconds)


class _Never:
    """An event that is never set."""

    def is_set(self) -> bool:
        return False

    def wait(self, timeout: float | None = None) -> bool:
        return False


_NEVER = _Never()
__all__ = ["Broken", "WildFleet"]
