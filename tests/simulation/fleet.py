"""The scheduler: picks who acts next, breaks things, and looks at every invariant after each step."""

from datetime import timedelta
from random import Random

from locksmith.core import keys
from locksmith.core.documents import Brake, Guard, Holder
from locksmith.core.events import ProvidersAnswered, Tick
from locksmith.errors import LocksmithError
from locksmith.semaphore import by_hand, operating, recovery
from locksmith.semaphore.actor import Actor
from locksmith.semaphore.history import audit
from locksmith.stores.memory import MemoryStore
from tests.fakes.clock import VirtualClock
from tests.fakes.faulty import Fault, FaultyStore
from tests.simulation.hosts import Broken, Host

QUIET = {
    "poll_interval": timedelta(seconds=30),
    "min_uptime": timedelta(0),
    "min_interval": timedelta(0),
    "dwell": timedelta(seconds=10),
    "deadline": timedelta(seconds=120),
    "reboot_timeout": timedelta(seconds=90),
    "store_grace": timedelta(seconds=60),
    "cooldown": timedelta(seconds=20),
    "cooldown_cap": timedelta(seconds=120),
}


class Fleet:
    """A fleet of hosts under one seed."""

    def __init__(self, seed: int, nodes: int, slots: int, *, trouble: float = 0.02) -> None:
        self.random = Random(seed)
        self.clock = VirtualClock()
        self.memory = MemoryStore(self.clock)
        self.slots = slots
        self.trouble = trouble
        self.operator = Actor(self.memory.client(), self.clock, Random(seed + 1), "op@sim", "sim")
        self.hosts = []
        recovery.setup(self.operator)
        operating.set_max(self.operator, "web", slots)
        policy = {**QUIET, "group": "web", "limits": ("group/web",)}
        for number in range(nodes):
            store = FaultyStore(self.memory.client(), self.clock)
            host = Host(f"node{number}", store, self.clock, Random(seed * 1000 + number), policy, slots)
            self.hosts.append(host)
            host.start()
        self.most_down = 0
        self.steps = 0

    def run(self, virtual_seconds: float) -> None:
        end = self.clock.boottime() + virtual_seconds
        while self.clock.boottime() < end:
            self.step()

    def step(self) -> None:
        self.steps += 1
        now = self.clock.boottime()
        self._break_something()
        self._machines(now)
        for host in self.random.sample(self.hosts, len(self.hosts)):
            if host.agent is not None:
                host.watches.run(host.hands.body.actor, host.inbox.append)
        busy = [host for host in self.hosts if host.agent is not None and (host.inbox or host.jobs)]
        if busy:
            host = self.random.choice(busy)
            self._plan_fault(host)
            host.work()
            host.store.clear()
            self.check(host)
            return
        self._advance(now)

    def _advance(self, now: float) -> None:
        times = [now + 1.0]
        due = [(host.due(), host) for host in self.hosts if host.due() is not None]
        times += [max(now + 0.001, at) for at, _ in due]
        self.clock.advance(min(times) - now)
        for at, host in due:
            if at <= self.clock.boottime():
                host.turn(Tick())
        for host in self.hosts:
            if host.agent is not None and self.random.random() < 0.03:
                host.inbox.append(ProvidersAnswered((host.ask_update(),)))

    def _machines(self, now: float) -> None:
        for host in self.hosts:
            if host.up and host.down_at is not None and now >= host.down_at:
                host.power_off(self.random.uniform(5, 60))
            elif not host.up and now >= host.up_at:
                host.boot()
            elif host.up and host.agent is None and now >= host.process_at:
                host.start()
        down = [host for host in self.hosts if not host.up and host.sanctioned]
        self.most_down = max(self.most_down, len(down))
        if len(down) > self.slots:
            raise Broken(f"{len(down)} down with {self.slots} slots")

    def _plan_fault(self, host: Host) -> None:
        if self.random.random() < self.trouble:
            faults = [Fault.DROP, Fault.LOSE, Fault.DELAY, Fault.CONFLICT, Fault.UNAVAILABLE]
            host.store.plan(self.random.choice(faults))

    def _break_something(self) -> None:
        if self.random.random() >= self.trouble / 2:
            return
        host = self.random.choice(self.hosts)
        match self.random.randrange(9):
            case 0 | 1 if host.agent is not None:
                host.kill(self.random.uniform(0, 20))
            case 2 if host.up:
                host.power_off(self.random.uniform(5, 60))  # nobody asked for it
            case 3:
                host.sick_until = self.clock.boottime() + self.random.uniform(1, 200)
            case 4:
                host.gate_closed_until = self.clock.boottime() + self.random.uniform(1, 60)
            case 5:
                host.target += 1
            case 6 if host.store.delayed:
                host.store.deliver()
            case 7:
                host.journal.data = None if self.random.random() < 0.3 else host.journal.data
            case 8:
                self._operate(host)
            case _:
                return

    def _operate(self, host: Host) -> None:
        try:
            match self.random.randrange(4):
                case 0:
                    operating.pause_group(
                        self.operator, "web", "sim", self.operator.clock.wall() + timedelta(seconds=60)
                    )
                case 1:
                    operating.resume_group(self.operator, "web")
                case 2:
                    operating.acknowledge(self.operator, "web", "sim")
                case 3:
                    by_hand.force_unlock(self.operator, host.name, "sim", armed_too=False)
        except LocksmithError:
            return

    def check(self, host: Host) -> None:
        snapshot = self.memory.read([keys.guard("group/web"), keys.brake("web")], [keys.OWNERS])
        guard = Guard.decode("guard", snapshot[keys.guard("group/web")].value)
        holders = {key: Holder.decode(key, item.value) for key, item in snapshot.under(keys.OWNERS)}
        if guard.count != len(holders):
            raise Broken(f"count {guard.count}, holders {sorted(holders)} after {host.name}")
        if len(holders) > self.slots:
            raise Broken(f"{len(holders)} holders with {self.slots} slots")
        brake_item = snapshot[keys.brake("web")]
        failed = set(Brake.decode("brake", brake_item.value).failed) if brake_item else set()
        really = {keys.own_node(key) for key, holder in holders.items() if holder.phase == "failed"}
        if failed != really:
            raise Broken(f"brake says {failed}, holders say {really}")

    def settle(self, virtual_seconds: float) -> None:
        """No more trouble: everything must come to an end."""
        self.trouble = 0
        for host in self.hosts:
            host.sick_until = host.gate_closed_until = 0
            while host.store.delayed:
                host.store.deliver()
        operating.resume_group(self.operator, "web")
        end = self.clock.boottime() + virtual_seconds
        while self.clock.boottime() < end:
            self.step()
            if self.quiet():
                return
        states = {host.name: (host.agent and host.agent.state, host.version, host.target) for host in self.hosts}
        raise Broken(f"not settled: {states}")

    def audit(self) -> None:
        """The history agrees: nothing went past it, whatever was lost, late or killed."""
        report = audit(self.operator, "web")
        if report.findings or not report.limits[0].whole:
            raise Broken(f"the audit says {report}")

    def quiet(self) -> bool:
        if any(h.agent is None or h.inbox or h.jobs or h.version != h.target or h.agent.owed for h in self.hosts):
            return False
        snapshot = self.memory.read([], [keys.OWNERS, keys.QUEUES])
        return not any(True for _ in snapshot.under(""))
