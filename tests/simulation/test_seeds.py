"""Fixed seeds of the simulated fleets, and what the simulation says of itself: it replays, it shrinks, it knows its rules."""

import pytest

from locksmith.core.needs import NotNeeded
from tests.simulation.judge import Broken
from tests.simulation.plan import draw
from tests.simulation.run import broken, fleet, main
from tests.simulation.scene import Scene
from tests.simulation.shrink import shrink

FOUND = (77, 1257)
"""Seeds that once found something."""


@pytest.mark.parametrize("start", range(0, 240, 40))
def test_fleets_in_trouble_keep_every_rule_and_come_to_the_end(start):
    outcomes = [fleet(seed) for seed in range(start, start + 40)]
    assert [one.text for one in outcomes if one.rule is not None] == []
    assert sum(one.counts.get("reboots", 0) for one in outcomes) > 40


@pytest.mark.parametrize("seed", FOUND)
def test_what_was_found_once_stays_mended(seed):
    assert broken(draw(seed), ()) is None


def test_a_seed_replays_exactly():
    stories = []
    for _ in range(2):
        lines: list[str] = []
        Scene(draw(5), tell=lines.append).run()
        stories.append(lines)
    assert stories[0] == stories[1]
    assert len(stories[0]) > 100


def test_without_trouble_each_machine_reboots_until_it_has_the_new_version():
    plan = draw(3)
    scene = Scene(plan, range(len(plan.troubles)))
    scene.run()
    assert all(host.version == host.target == 2 for host in scene.hosts)
    assert scene.judge.counts["grants"] >= len(scene.hosts)


def test_a_fleet_that_cannot_come_to_the_end_is_told():
    scene = Scene(draw(3), range(len(draw(3).troubles)))
    for host in scene.hosts:
        host.ask_update = lambda: NotNeeded("sim", "v1")  # so nobody ever gets the version that is wanted
    with pytest.raises(Broken, match="liveness"):
        scene.run()


def test_shrinking_leaves_what_is_needed_and_nothing_else():
    assert shrink(range(40), lambda kept: {7, 23, 31} <= set(kept)) == [7, 23, 31]
    assert shrink(range(40), lambda kept: 5 in kept) == [5]
    assert shrink(range(40), lambda _: True) == []


def test_the_command_tells_how_many_fleets_there_were(capsys):
    assert main(["--seeds", "0-2"]) == 0
    assert capsys.readouterr().out.startswith("3 fleets in ")
    assert main(["--replay", "0"]) == 0
    assert "every rule kept" in capsys.readouterr().out
    assert main(["--shrink", "0"]) == 0
    assert "breaks nothing" in capsys.readouterr().out
