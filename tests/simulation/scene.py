"""One fleet under its plan: who acts next, what breaks, and whether everybody comes to the end.

The one idea a reader would miss: all chance of the run comes from streams that the seed names, one for each party, so that
a trouble left out moves as little as possible of the rest.
"""

from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import replace
from random import Random

from locksmith.core import events as ev
from locksmith.core import keys
from locksmith.core.documents import Guard
from locksmith.core.history import Entry
from locksmith.semaphore import operating, recovery, repair, taking
from locksmith.semaphore.history import audit
from locksmith.semaphore.recording import counted
from locksmith.stores import Check
from locksmith.stores.memory import MemoryStore
from tests.fakes.clock import VirtualClock
from tests.simulation.judge import Broken, Judge
from tests.simulation.machine import Host
from tests.simulation.net import Died, TroubledStore
from tests.simulation.operators import Operator
from tests.simulation.plan import COMMIT_KINDS, OPERATOR, OPERATOR_KINDS, READ_KINDS, Plan, Trouble
from tests.simulation.restores import Backups

PROVIDERS_EVERY = 30.0
SETTLE = 6000.0
"""Seconds that a fleet has to come to rest when the trouble is over."""
STEPS = 60_000
"""Steps of the scheduler, far more than any fleet takes: who takes more runs in circles."""


class Scene:
    """A fleet. `left_out` are the places of the troubles that do not take place; `tell` hears each line of a replay."""

    def __init__(self, plan: Plan, left_out: Collection[int] = (), tell: Callable[[str], object] | None = None) -> None:
        self.plan, self.tell = plan, tell
        self.clock = VirtualClock()
        self.memory = MemoryStore(self.clock)
        self.judge = Judge(self.memory, self.clock)
        self.random = Random(f"scene {plan.seed}")
        self.steps = 0
        self.operating = False
        self.backups = Backups(self.memory, self.judge)
        self.begin = self.clock.now
        self.troubles = [one for place, one in enumerate(plan.troubles) if place not in left_out]
        self.troubles.reverse()
        self.operator = Operator(self._store("operator"), self.clock, self.judge, Random(f"operator {plan.seed}"))
        self.hosts: list[Host] = []
        for number in range(len(plan.groups)):
            host = self._host(number)
            self.judge.hosts[host.name] = host
            self.hosts.append(host)
        self.next_asking = [self.clock.now + self.random.uniform(0, PROVIDERS_EVERY) for _ in self.hosts]

    def _store(self, party: str) -> TroubledStore:
        store = TroubledStore(party, self.memory.client(), self.clock, self.judge)
        store.races, store.operate = self._others, self._interfere
        return store

    def _host(self, number: int) -> Host:
        plan, group = self.plan, self.plan.groups[number]
        limits = plan.limits_of(group, plan.zones[number])
        name = f"node{number}"
        random = Random(f"{name} {plan.seed}")
        return Host(name, self._store(name), self.clock, random, plan.policy, group, limits, self.judge)

    def _set_up(self) -> None:
        """Groups as an operator makes them; the other limits, which no command makes yet, in the same way."""
        actor = self.operator.actor
        recovery.setup(actor)
        for limit, slots in self.plan.limits.items():
            if limit.startswith("group/"):
                operating.set_max(actor, limit.removeprefix("group/"), slots)
                continue
            if self.plan.bare:
                continue
            gen, now = actor.nonce(), self.clock.wall()
            entry = Entry(gen=gen, seq=0, act="resized", at=now, by=actor.by, count=0, slots=0)
            puts = counted(limit, Guard(slots=slots, effective=slots), entry)
            actor.store.commit([Check(keys.guard(limit), 0)], puts)

    # ---------------------------------------------------------------- the run

    def run(self) -> None:
        """All of it. Raises Broken, and Broken("crash") for whatever nobody expected."""
        try:
            self._set_up()
            for host in self.hosts:
                host.start()
            end = self.begin + self.plan.span
            while self.clock.now < end:
                self.step()
            self._settle()
        except (Broken, KeyboardInterrupt):
            raise
        except Exception as error:
            raise Broken("crash", f"{type(error).__name__}: {error}") from error

    def step(self) -> None:
        """One unit of work of somebody, or time passes."""
        self.steps += 1
        if self.steps > STEPS:
            raise Broken("liveness", f"after {STEPS} steps nobody has come to the end")
        while self.troubles and self.clock.now - self.begin >= self.troubles[-1].at:
            self._trouble(self.troubles.pop())
        self.backups.resume(self.operator, self.hosts)
        self._machines()
        if not self._one(self.random):
            self._pass()

    def _machines(self) -> None:
        now = self.clock.now
        for host in self.hosts:
            if host.acting:
                continue
            if not host.up:
                if now >= host.up_at:
                    self._say(host, "boots")
                    host.boot()
            elif host.down_at is not None and now >= host.down_at:
                self._say(host, "goes down")
                host.power_off(host.random.uniform(5, 60))
            elif host.agent is None and now >= host.process_at:
                self._say(host, "starts")
                host.start()

    def _one(self, random: Random) -> bool:
        """Somebody does one thing, if anybody has anything to do."""
        revision = self.memory._state.revision
        for host in self.hosts:
            if host.agent is not None and not host.acting:
                host.watches.run(revision)
        busy = [host for host in self.hosts if host.busy]
        if not busy:
            return False
        host = random.choice(busy)
        if self.tell is None:
            host.work()
        else:
            self._tell_of(host)
        return True

    def _pass(self) -> None:
        """Time passes up to the next thing that is due, a second at most."""
        now = self.clock.now
        due = [(host.due(), host) for host in self.hosts if not host.acting]
        times = [now + 1.0, *(max(now + 0.001, at) for at, _ in due if at is not None)]
        self.clock.advance(min(times) - now)
        now = self.clock.now
        for at, host in due:
            if at is not None and at <= now and host.agent is not None:
                host.turn(ev.Tick())
        for number, host in enumerate(self.hosts):
            if now >= self.next_asking[number] and not host.acting:
                self.next_asking[number] = now + PROVIDERS_EVERY * (0.5 + host.random.random())
                if host.agent is not None:
                    host.inbox.append(ev.ProvidersAnswered((host.ask_update(),)))

    def _others(self, count: int) -> None:
        """While somebody waits for an answer the others go on."""
        for _ in range(min(count, 40)):
            self._operators()
            if not self._one(self.random):
                self._pass()

    def _operators(self) -> None:
        """An operator does what he does at this time, also while a machine waits for an answer."""
        now = self.clock.now - self.begin
        for trouble in reversed(self.troubles) if not self.operating else ():
            if trouble.at > now:
                return
            if trouble.kind in OPERATOR_KINDS and trouble.kind != "force_dead":
                self.troubles.remove(trouble)
                self._trouble(trouble)
                return

    def _interfere(self) -> None:
        """An operator does anything, just now."""
        if not self.operating:
            kind = self.random.choice([kind for kind in OPERATOR_KINDS if kind != "force_dead"])
            number, amount = self.random.randrange(len(self.hosts)), self.random.uniform(1, 60)
            self._trouble(Trouble(self.clock.now - self.begin, kind, number, amount, self.random.randrange(1000)))

    # ---------------------------------------------------------------- trouble

    def _trouble(self, trouble: Trouble) -> None:
        if self.tell is not None:
            self.tell(f"--- {trouble}")
        kind, now = trouble.kind, self.clock.now
        host = self.hosts[trouble.node]
        store = self.operator.store if trouble.node == OPERATOR else host.store
        if kind in COMMIT_KINDS:
            store.commit_troubles.append((kind, trouble.amount))
        elif kind in READ_KINDS:
            store.read_troubles.append((kind, trouble.amount))
        elif kind in OPERATOR_KINDS:
            if self.backups.settling:
                return  # first everybody settles
            self.operating = True
            try:
                self.operator.act(trouble, host, self.plan.limits)
            finally:
                self.operating = False
        elif kind == "regroup_kill":
            self._regroup(host)
        elif kind == "claim_dies":
            host.store.claims_die.append(trouble.amount)
        elif kind == "claim_race":
            host.store.claim_races += 1
        elif kind == "lock_at_arm":
            host.before_arm.append(lambda: self._lock(trouble))
        elif kind == "guard_lost":
            self.backups.lose_guard(trouble.choice)
        elif kind == "backup":
            self.backups.take()
        elif kind == "restore":
            self.backups.restore(self.operator, self.hosts, now + trouble.amount)
        else:
            self._break(trouble, host, now)

    def _regroup(self, host: Host) -> None:
        """Another group, and the process is killed before it can leave the old one."""
        group = next((name for name in sorted(set(self.plan.groups)) if name != host.group), host.group)
        host.pending = (group, self.plan.limits_of(group, "a"))
        if host.agent is not None:
            host.kill(0.5)

    def _lock(self, trouble: Trouble) -> None:
        """Just before it arms somebody asks for the slot by hand, and is killed as soon as the mark stands."""
        if self.operating:
            return
        self.operator.store.commit_troubles.appendleft(("die_for_good", 0.0))
        with suppress(Died):
            self._trouble(replace(trouble, kind="lock_wait", amount=1.0))
        self.operator.store.calm()

    def _break(self, trouble: Trouble, host: Host, now: float) -> None:
        """What happens to a machine or to its way to the store."""
        amount, store = trouble.amount, host.store
        match trouble.kind:
            case "power_cut" if host.up:
                host.power_off(5 + amount / 5)
            case "sick":
                host.sick_until = now + amount
            case "gate":
                host.gate_closed_until = now + amount / 2
            case "hook_fails":
                host.hooks_fail_until = now + amount
            case "new_version":
                host.newest += 1
                host.target = host.newest
            case "withdraw":
                host.target = host.version
            case "away":
                store.away_until = now + amount
            case "all_away":
                for other in self.hosts:
                    other.store.away_until = now + amount / 2
            case "silent":
                store.silent_until = now + amount / 4
            case "disk_full":
                host.journal.full = not host.journal.full
            case "journal_lost":
                host.lose_journal()
            case "clock_jump":
                host.clock.skew = (trouble.choice - 500) * amount / 100
            case "distrust":
                host.clock.trusted = not host.clock.trusted
            case "regroup":
                groups = sorted(set(self.plan.groups))
                group = groups[trouble.choice % len(groups)]
                host.pending = (group, self.plan.limits_of(group, "ab"[trouble.choice // 2 % 2]))
            case _ if host.agent is not None:
                self._disturb(trouble, host, now)

    def _disturb(self, trouble: Trouble, host: Host, now: float) -> None:
        """What happens to a process that runs."""
        match trouble.kind:
            case "kill":
                host.kill(trouble.amount / 10)
            case "stop":
                host.inbox.append(ev.StopAsked(going_down=False))
            case "shutdown":
                host.inbox.append(ev.StopAsked(going_down=True))
                host.down_at = host.down_at or now + 1 + trouble.amount / 20
            case "session_loss":
                for kept in host.watches.kept:
                    kept.session.inner.end()
            case "poke":
                host.inbox.append(ev.Poke())

    # ---------------------------------------------------------------- the end

    def _settle(self) -> None:
        """No more trouble: operators take back what they said, and everybody comes to the end."""
        self.troubles.clear()
        for store in (self.operator.store, *(host.store for host in self.hosts)):
            store.calm()
        for host in self.hosts:
            host.before_arm.clear()
        for host in self.hosts:
            host.sick_until = host.gate_closed_until = host.hooks_fail_until = 0.0
            host.journal.full, host.clock.trusted = False, True
        end = self.clock.now + SETTLE
        while self.backups.settling:
            if self.clock.now > end:
                raise Broken("liveness", f"after a restore not settled: {self.backups.waiting(self.hosts)}")
            self.step()
        for host in self.hosts:
            self._given_up(host)
        operating.resume_fleet(self.operator.actor)
        for limit, slots in self.plan.limits.items():
            if limit.startswith("group/"):
                group = limit.removeprefix("group/")
                operating.set_max(self.operator.actor, group, slots)
                operating.resume_group(self.operator.actor, group)
        if self.judge.damaged:
            repair.fsck(self.operator.actor, repair=True)
        end = self.clock.now + SETTLE
        while not self._quiet():
            if self.clock.now > end:
                states = {one.name: (one.agent and one.agent.state, one.version, one.target) for one in self.hosts}
                raise Broken("liveness", f"not at rest after {SETTLE} s: {states}; {self._left()}")
            self.step()
        self._look_back()

    def _given_up(self, host: Host) -> None:
        """What operators hold or ask for on this node is over; an attempt by hand of unknown fate ends with its session."""
        actor = self.operator.actor
        key = keys.own(host.name)
        holder = self.judge.documents.get(key)
        if holder is not None and holder["phase"] == "maintenance":
            taking.force_unlock(actor, host.name, "over", armed_too=False)
        self.operator.quietly(lambda: operating.resume_node(actor, host.name))
        self.operator.quietly(lambda: operating.cancel_request(actor, host.name))

    def _left(self) -> list[str]:
        return list(self.memory.read([], [keys.OWNERS, keys.QUEUES]).items)

    def _quiet(self) -> bool:
        for host in self.hosts:
            # What an operator said late, or an agent left to its operator: others may wait for that very slot.
            holder = self.judge.documents.get(keys.own(host.name))
            by_hand = holder is not None and holder["phase"] == "maintenance"
            if by_hand or keys.hold(host.name) in self.judge.documents:
                self._given_up(host)
        if any(h.agent is None or h.inbox or h.jobs or h.version != h.target or h.agent.owed for h in self.hosts):
            return False
        return not self._left()

    def _look_back(self) -> None:
        self.judge.compare()
        actor = self.operator.actor
        report = audit(actor, None)
        # Nobody wrote registry records here, so those findings cannot be; a ring that came round proves less.
        if report.disproved and not self.judge.damaged:
            raise Broken("audit", f"{report.findings}")
        unsound = [one for one in repair.fsck(actor, repair=False).findings if one.kind != "no_record"]
        if unsound:
            raise Broken("fsck", f"{unsound}")

    # ---------------------------------------------------------------- the replay

    def _say(self, host: Host, text: str) -> None:
        if self.tell is not None:
            self.tell(f"{self.clock.now - self.begin:8.2f} {host.name} {text}")

    def _tell_of(self, host: Host) -> None:
        before, jobs = host.agent, len(host.jobs)
        doing = host.jobs[0][1] if jobs else None
        event = host.inbox[0] if host.inbox else None
        host.work()
        if len(host.jobs) == jobs - 1:
            self._say(host, f"does    {doing}")
        else:
            self._say(host, f"hears   {event}")
        if host.agent is None:
            self._say(host, "is killed")
        elif type(before.state) is not type(host.agent.state):
            self._say(host, f"becomes {host.agent.state}")
        held = {keys.own_node(key): one["phase"] for key, one in self.judge.documents.items() if key.startswith("own/")}
        self._say(host, f"        holders {held}")
