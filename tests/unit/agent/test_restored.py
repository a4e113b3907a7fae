"""A node that is not well while its store comes back from a backup that does not know its slot: with the agent's real hands."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from locksmith.core import effects as do
from locksmith.core import events as ev
from locksmith.core.documents import Phase
from locksmith.core.states import Failed, Starting, State, Steady, Verifying
from locksmith.core.verdict import Answer
from locksmith.errors import StoreFull
from locksmith.semaphore.operating import set_max
from locksmith.semaphore.restoring import restored
from locksmith.stores import Check, Item, Put
from tests.fakes.faulty import Fault, Planned, Raise
from tests.fakes.mind import BOOT, NEXT_BOOT, NODE, NOTHING, Mind, agent, closed, opened, policy
from tests.unit.agent.test_hands import Bench

SICK, WELL = closed("app", "health"), opened("app", "health")
RULES = policy(deadline=timedelta(seconds=600), dwell=timedelta(seconds=30))


def carry(bench: Bench, mind: Mind, health: Answer) -> None:
    """Carry out what was decided last, and what follows from it, one after the other as the worker does."""
    queue = list(mind.effects)
    for _ in range(50):
        if not queue:
            return
        match queue.pop(0):
            case do.AskHealth():
                answer: ev.Event | None = ev.HealthAnswered((health,))
            case do.AskProviders():
                answer = NOTHING
            case effect:
                answer = bench.hands.carry(mind.agent, effect)
        queue += mind.hear(answer) if answer is not None else ()
    raise AssertionError(f"a busy loop: {mind.state}")


def live(bench: Bench, mind: Mind, health: Answer, until: type[State] | None, seconds: float) -> None:
    """Until it is in that state, or so long."""
    end = mind.after + seconds
    while mind.after < end and (until is None or not isinstance(mind.state, until)):
        mind.wake()
        carry(bench, mind, health)
    assert until is None or isinstance(mind.state, until), mind.state


def put_back_the_backup(bench: Bench, rows: dict[str, Item]) -> None:
    store = bench.world.memory
    now = store.read(prefixes=[""]).items
    gone = [key for key in now if key not in rows]
    store.commit([Check(key, now[key].mod) for key in gone], [Put(key, item.value) for key, item in rows.items()], gone)
    bench.world.judge.off = True  # a holder that is put back counts even above the slots, and in a pause


@pytest.mark.parametrize("where", [Verifying, Failed])
@pytest.mark.parametrize("faults", [[], [Fault.DROP, Fault.LOSE] * 3, [Raise(StoreFull("no space"))] * 4])
def test_it_puts_its_slot_back_and_keeps_it_until_it_is_well(
    tmp_path: Path, where: type[State], faults: list[Planned]
) -> None:
    bench = Bench(tmp_path)
    world = bench.world
    set_max(world.operator, "web", 1)
    backup = dict(world.memory.read(prefixes=[""]).items)
    before = bench.mind(replace(bench.armed(), boot=BOOT, epoch=1)).ledger
    mind = Mind(replace(agent(Starting(), before, needs={}, policy=RULES), boot=NEXT_BOOT))
    mind.hear(ev.Begin())
    carry(bench, mind, SICK)
    live(bench, mind, SICK, where, 700)
    put_back_the_backup(bench, backup)
    epoch = restored(world.operator, "the disk died").epoch
    assert world.held(NODE) is None
    bench.faults.plan(*faults)
    live(bench, mind, SICK, None, 1500)
    assert isinstance(mind.state, Failed)
    assert (world.holder(NODE).phase, list(world.brake().failed), world.guard().count) == (Phase.FAILED, [NODE], 1)
    assert bench.hands.record(mind.agent, mind.told, ()).epoch == epoch
    live(bench, mind, WELL, Steady, 200)
    assert (world.held(NODE), world.guard().count, mind.agent.owed) == (None, 0, None)
