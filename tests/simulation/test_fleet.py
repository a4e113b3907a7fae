"""Fixed seeds of the simulated fleet; a failing seed replays exactly."""

import pytest

from tests.simulation.fleet import Fleet


@pytest.mark.parametrize("seed", range(20))
def test_a_fleet_in_trouble_never_breaks_the_limit_and_comes_to_rest(seed):
    fleet = Fleet(seed, nodes=5, slots=1 + seed % 3)
    for host in fleet.hosts:
        host.target = 2
    fleet.run(1500)
    fleet.settle(20000)
    fleet.audit()
    assert all(host.version == host.target for host in fleet.hosts)
    assert 0 < fleet.most_down <= fleet.slots


def test_without_trouble_each_host_reboots_once():
    fleet = Fleet(7, nodes=6, slots=2, trouble=0)
    for host in fleet.hosts:
        host.target = 2
        host.random.random = lambda: 0.5
    fleet.settle(20000)
    assert [host.boots for host in fleet.hosts] == [2] * 6
    assert [host.reboot_calls for host in fleet.hosts] == [1] * 6
