"""Fixed seeds of the wilder fleet; a failing seed replays exactly."""

import pytest

from tests.simulation.wild import WildFleet


@pytest.mark.parametrize("seed", [*range(10), 16, 21, 39])
def test_a_fleet_among_operators_stops_and_outages_keeps_the_limit_and_comes_to_rest(seed):
    fleet = WildFleet(seed, nodes=5, slots=1 + seed % 3, trouble=0.1)
    for host in fleet.hosts:
        host.target = 2
    fleet.run(1000)
    fleet.settle(20000)
    assert all(host.version == host.target for host in fleet.hosts)
    assert fleet.most_down <= fleet.slots
    assert fleet.judge.grants > 0
