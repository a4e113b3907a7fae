"""What a look at a group costs, whatever the number of nodes that have ever registered."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

import pytest

from locksmith.core import keys
from locksmith.core.admission import MAX_TICKETS
from locksmith.core.documents import Hold, NodeRecord, Request
from locksmith.semaphore.actor import Actor
from locksmith.semaphore.operating import set_max
from locksmith.semaphore.reading import resolve, status, store_seen, why
from locksmith.stores import Check, Put, Snapshot
from locksmith.stores.measured import Measured
from locksmith.stores.measured import Request as Asked
from tests.fakes.faulty import FaultyStore
from tests.fakes.world import World

FEW, MANY = 10, 10_000
SLOTS = 4
A_COMMIT = 30


@dataclass
class Costs:
    """What went over to the store, and what came back, by the first word of the keys."""

    requests: Counter[str] = field(default_factory=Counter)
    bytes: int = 0
    read: Counter[str] = field(default_factory=Counter)

    def __call__(self, asked: Asked) -> None:
        self.requests[asked.op] += 1
        self.bytes += asked.bytes_read


class Reading(FaultyStore):
    """Counts the keys that a read gave."""

    costs: Costs

    def read(self, keys: Sequence[str] = (), prefixes: Sequence[str] = ()) -> Snapshot:
        snapshot = super().read(keys, prefixes)
        self.costs.read.update(key.split("/")[0] for key, item in snapshot.items.items() if item)
        return snapshot


def registered(world: World, count: int) -> None:
    """So many nodes have registered; some are held, some are to be rebooted, all by commits of their own."""

    def puts() -> Iterator[Put]:
        now = world.clock.wall()
        for number in range(count):
            node = f"{number:032x}"
            record = NodeRecord(host=f"h{number}", group="web", state="steady", seen=now, heartbeat=900, why="x" * 200)
            yield Put(keys.record("web", node), record.encode())
            if number % 10 == 0:
                yield Put(keys.hold(node), Hold(by="b", reason="r", since=now).encode())
                yield Put(keys.request(node), Request(by="b", reason="r", since=now).encode())

    every = puts()
    while batch := tuple(islice(every, A_COMMIT)):
        world.memory.commit([Check(put.key, 0) for put in batch], batch)


def cost(count: int, look: str) -> Costs:
    """In a world of so many nodes, with four holders and a full queue: what the look costs."""
    world = World()
    agent = world.actor("agent@n")
    set_max(world.operator, "web", SLOTS)
    for number in range(SLOTS):
        world.holding(agent, f"holder{number}")
    for number in range(MAX_TICKETS):
        world.queued(agent, world.attempt(agent, f"waiter{number}"))
    registered(world, count)
    counted = Costs()
    store = Reading(world.memory.client(), world.clock)
    store.costs = counted
    asker: Actor = replace(world.operator, store=Measured(store, counted))
    if look == "status":
        store_seen(asker)
        assert len(status(asker, "web").queue) == MAX_TICKETS
    else:
        assert why(asker, resolve(asker, f"{0:032x}", "web")).group == "web"
    return counted


@pytest.mark.slow
def test_a_status_costs_the_same_with_ten_nodes_and_with_ten_thousand() -> None:
    few, many = cost(FEW, "status"), cost(MANY, "status")
    assert few == many
    assert many.requests == {"read": 2}
    # cfg with each read; one guard; the holders; the tickets; and nothing of the registry, the holds or the history
    assert many.read == {"cfg": 2, "lim": 1, "own": SLOTS, "q": MAX_TICKETS}


@pytest.mark.slow
def test_why_of_ones_own_node_reads_one_record() -> None:
    few, many = cost(FEW, "why"), cost(MANY, "why")
    assert few == many
    assert many.read["node"] == 1
