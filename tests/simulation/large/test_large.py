"""A thousand nodes in ten groups roll to the end: counts, no times. (10 to 100,000: python -m tests.benchmarks.makespan.)"""

import pytest

from locksmith.core import keys
from locksmith.semaphore import operating
from tests.simulation.large.fleet import Fleet, Unfinished
from tests.simulation.large.node import Node
from tests.simulation.large.site import FleetClock, LimitPassed, Site

# Twenty seconds of computing; on a machine that is busy with other tests that takes long.
pytestmark = pytest.mark.timeout(400)

BOUND = 1.05
"""The makespan may be so many times the ideal: what is asked of fleets of every size."""


@pytest.mark.slow
def test_a_thousand_nodes_roll_to_the_end_in_nearly_the_ideal_time_and_ask_no_more_than_a_hundred_do() -> None:
    # A hundred nodes of a group on five slots: 36 find the queue full at first, and must not be missed at the end.
    ten_groups = Fleet(seed=1, groups=10, size=100, slots=5).run()
    assert ten_groups.nodes == 1000
    assert ten_groups.most_held == 5
    assert len(ten_groups.groups) == 10
    for group in ten_groups.groups:
        assert 1 <= group.makespan / group.ideal <= BOUND
    alone = Fleet(seed=2, groups=1, size=100, slots=5).run()
    assert ten_groups.ops["commit"] <= 5.1 * ten_groups.nodes
    for op, number in ten_groups.ops.items():
        assert number / ten_groups.nodes <= 1.15 * alone.ops[op] / alone.nodes, op
    assert ten_groups.read / ten_groups.nodes <= 1.15 * alone.read / alone.nodes
    assert ten_groups.busiest <= 2 * alone.busiest


def test_the_same_seed_gives_the_same_fleet() -> None:
    assert Fleet(3, 2, 10, 2).run() == Fleet(3, 2, 10, 2).run()
    assert Fleet(3, 2, 10, 2).run() != Fleet(4, 2, 10, 2).run()


def test_those_who_have_read_the_same_guard_collide() -> None:
    """Without time between a read and its commit nobody would ever be in another's way, and the figures would flatter."""
    crowded = Fleet(1, 1, 10, 5)
    crowded.random.uniform = lambda low, high: low
    for node in crowded.nodes:
        node.random.random = lambda: 0.5
    assert crowded.run().conflicts > 0


def test_a_holder_beyond_the_slots_is_seen() -> None:
    site = Site(FleetClock(), slots=1)
    nodes = [Node(site, number, "web", 1, lambda _: None) for number in range(2)]
    site._count(keys.own(nodes[0].id))
    with pytest.raises(LimitPassed, match="2 holders of web with 1 slots"):
        site._count(keys.own(nodes[1].id))


def test_a_node_that_is_left_over_is_seen() -> None:
    fleet = Fleet(1, 1, 3, 1)
    operating.pause_node(fleet.operator, fleet.nodes[1].id, "not this one", None)
    with pytest.raises(Unfinished, match="1 nodes are left after 3000 s"):
        fleet.run(patience=3000)
