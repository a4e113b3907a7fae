"""A small fleet does everything in any order while commits are dropped, lost, late or refused; the judge sees each revision.

What must hold at each of them is in `Judge`: counts equal holders, nothing is granted above the slots, the failed sets fit.
At the end of each run everything late arrives, everybody finishes, and nothing may be left. A failure names its seed.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from random import Random

import pytest

from locksmith.core.admission import Patience
from locksmith.core.documents import Phase
from locksmith.errors import LocksmithError, StoreError
from locksmith.semaphore.actor import Actor
from locksmith.semaphore.claiming import Attempt, Claimed, cancel, claim, enqueue
from locksmith.semaphore.holding import Armed, Slot, arm, fail, release, slot_of, to_phase, verify
from locksmith.semaphore.operating import (
    acknowledge,
    pause_fleet,
    pause_group,
    pause_node,
    resume_fleet,
    resume_group,
    resume_node,
    set_max,
)
from locksmith.semaphore.recovery import Found, start
from locksmith.semaphore.repair import fsck
from locksmith.semaphore.taking import force_unlock
from tests.fakes.faulty import Fault
from tests.fakes.world import World

NODES = ("n0", "n1", "n2")
SHORT = timedelta(seconds=1)
FAULTS = (Fault.NONE, Fault.NONE, Fault.DROP, Fault.LOSE, Fault.DELAY, Fault.DELAY, Fault.CONFLICT, Fault.UNAVAILABLE)


@dataclass
class Agent:
    """What one agent knows of itself; the store is never asked on its behalf."""

    actor: Actor
    attempt: Attempt | None = None
    slot: Slot | None = None


class Fleet:
    """Three nodes in one group and an operator, driven by one seed."""

    def __init__(self, seed: int, unchecked: str | None = None) -> None:
        """Checks of keys that begin with `unchecked` are dropped on their way: for the negative controls."""
        self.random = Random(seed)
        self.world = World(seed=seed, ignore=lambda key: unchecked is not None and key.startswith(unchecked))
        self.agents = {node: Agent(self.world.actor(f"agent@{node}")) for node in NODES}
        self.operator = self.world.actor("bob@b")
        self.late = [self.operator, *(one.actor for one in self.agents.values())]
        self.serial = 0
        self.forced: list[Fault] | None = None
        self.done: dict[str, int] = {}
        set_max(self.world.operator, "web", self.random.randint(1, 2))

    def run(self, steps: int) -> None:
        acts: list[Callable[[], object]] = [
            *[self.queue, self.take, self.arrive] * 3,
            *[self.reboot, self.go_on, self.give_back] * 2,
            *[self.say, self.race] * 3,
            *(self.give_up, self.crash, self.take_away, self.resize, self.mend, self.time_passes),
        ]
        for _ in range(steps):
            act = self.random.choice(acts)
            # A store error ends what was under way, as it ends a step of the agent; it never ends the fleet.
            with contextlib.suppress(LocksmithError):
                act()
                self.done[act.__name__] = self.done.get(act.__name__, 0) + 1
            self.world.judge()

    def plan(self, actor: Actor) -> None:
        store = self.world.faults(actor)
        store.clear()
        store.plan(*(self.forced or self.random.choices(FAULTS, k=self.random.randint(0, 3))))
        self.forced = None

    def agent(self, *, holding: bool) -> tuple[str, Agent]:
        """Some agent that believes so; Unready, in the guise of a store error, when there is none."""
        fitting = [node for node, one in self.agents.items() if (one.slot is not None) == holding]
        if not fitting:
            raise StoreError("nobody")
        node = self.random.choice(fitting)
        self.plan(self.agents[node].actor)
        return node, self.agents[node]

    def slot(self) -> tuple[str, Agent, Slot]:
        node, one = self.agent(holding=True)
        assert one.slot is not None
        return node, one, one.slot

    def queue(self) -> None:
        node, one = self.agent(holding=False)
        one.attempt = one.attempt or self.world.attempt(one.actor, node)
        session = one.actor.store.session(timedelta(minutes=1))
        enqueue(one.actor, one.attempt, session.id, timedelta(0))

    def take(self) -> None:
        _, one = self.agent(holding=False)
        if one.attempt is None:
            self.queue()
        else:
            outcome = claim(one.actor, one.attempt, Patience(), self.random.randint(1, 3))
            if isinstance(outcome, Claimed):
                one.slot, one.attempt = slot_of(outcome.held), None

    def give_up(self) -> None:
        _, one = self.agent(holding=False)
        if one.attempt is not None:
            won = cancel(one.actor, one.attempt, SHORT)
            one.attempt, one.slot = None, slot_of(won) if won is not None else None

    def reboot(self) -> None:
        """A licence to reboot is worth something only while the very attempt stands in the store."""
        node, one, slot = self.slot()
        self.serial += 1
        attempt = f"arm-{self.serial}"
        if isinstance(arm(one.actor, slot, epoch=1, attempt=attempt, request=None, expected=None), Armed):
            current = self.world.held(node)
            assert current is not None, "a reboot without a slot"
            assert (current.token, current.holder.attempt) == (slot.token, attempt), "a reboot without a slot"

    def go_on(self) -> None:
        _, one, slot = self.slot()
        self.serial += 1
        match self.random.choice(["drain", "verify", "fail", "fail"]):
            case "verify":
                verify(one.actor, slot, f"boot-{self.serial}", None)
            case "fail":
                fail(one.actor, slot, "app")
            case _:
                to_phase(one.actor, slot, Phase.DRAINING, None)

    def give_back(self) -> None:
        node, one, slot = self.slot()
        release(one.actor, slot, SHORT)
        one.slot = None
        current = self.world.held(node)
        assert current is None or current.token != slot.token, "released, and still held"

    def crash(self) -> None:
        """Another process takes over, without a journal; what the old one sent may still arrive."""
        node = self.random.choice(NODES)
        fresh = Agent(self.world.actor(f"agent@{node}"))
        self.plan(fresh.actor)
        self.late.append(fresh.actor)
        found = start(fresh.actor, node, f"board-{node}", None)
        assert isinstance(found, Found)
        fresh.slot = slot_of(found.held) if found.held is not None else None
        self.agents[node] = fresh

    def arrive(self) -> None:
        senders = [store for actor in self.late if (store := self.world.faults(actor)).delayed]
        if senders:
            store = self.random.choice(senders)
            store.delayed.rotate(self.random.randint(0, len(store.delayed)))
            store.deliver()

    def race(self) -> None:
        """What one agent sends is late; somebody else is faster; then it arrives."""
        waiting = {id(one) for one in self.late if self.world.faults(one).delayed}
        self.forced = [Fault.DELAY, *[Fault.DROP] * 50]
        with contextlib.suppress(LocksmithError):
            self.random.choice([self.reboot, self.reboot, self.take, self.take, self.give_back, self.go_on])()
        self.forced = None
        with contextlib.suppress(LocksmithError):
            self.random.choice([self.say, self.say, self.take_away, self.resize, self.mend, self.take, self.go_on])()
        for actor in self.late:
            if self.world.faults(actor).delayed and id(actor) not in waiting:
                self.world.faults(actor).deliver()

    def take_away(self) -> None:
        self.plan(self.operator)
        force_unlock(self.operator, self.random.choice(NODES), "r", armed_too=True)

    def resize(self) -> None:
        self.plan(self.operator)
        set_max(self.operator, "web", self.random.randint(1, 3))

    def say(self) -> None:
        self.plan(self.operator)
        self.random.choice(
            [
                lambda: pause_fleet(self.operator, "r", None),
                lambda: pause_group(self.operator, "web", "r", None),
                lambda: pause_node(self.operator, self.random.choice(NODES), "r", None),
                *[self.resume_some] * 4,
                *[lambda: resume_fleet(self.operator), lambda: resume_group(self.operator, "web")] * 4,
                *[lambda: acknowledge(self.operator, "web", "r")] * 4,
            ]
        )()

    def resume_some(self) -> None:
        for node in NODES:
            resume_node(self.operator, node)

    def mend(self) -> None:
        self.plan(self.operator)
        report = fsck(self.operator, repair=True)
        assert {one.kind for one in report.findings} <= {"no_record"}

    def time_passes(self) -> None:
        self.world.clock.advance(self.random.choice([1, 30, 90]))

    def finish(self) -> None:
        """Everything late arrives, everybody comes to an end: nothing is left, and nothing is leaked."""
        for actor in self.late:
            store = self.world.faults(actor)
            store.clear()
            while store.delayed:
                store.deliver()
        for node, one in self.agents.items():
            if one.attempt is not None:
                cancel(one.actor, one.attempt)
            found = start(one.actor, node, f"board-{node}", None)
            assert isinstance(found, Found)
            if found.held is not None:
                release(one.actor, slot_of(found.held))
        self.world.judge()
        assert not [key for key in self.world.rows() if key.startswith(("own/", "q/"))]
        assert self.world.guard().count == 0
        assert not self.world.brake().failed


@pytest.mark.parametrize("seed", range(40))
def test_a_fleet_is_sound_at_every_revision(seed: int) -> None:
    fleet = Fleet(seed)
    fleet.run(400)
    fleet.finish()
    assert fleet.world.judge.grants > 1, "nothing happened"


@pytest.mark.parametrize("unchecked", ["lim/", "own/", "brake/", "cfg", "hold/"])
def test_negative_control_a_store_that_drops_a_check_is_found_out(unchecked: str) -> None:
    for seed in range(200):
        fleet = Fleet(seed, unchecked)
        try:
            fleet.run(400)
            fleet.finish()
        except AssertionError:
            return
    pytest.fail("no seed shows the damage: the judge is blind")
