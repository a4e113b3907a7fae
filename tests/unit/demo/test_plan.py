"""One seed, one plan; and a plan has everybody in it once."""

import pytest

from locksmith.demo.plan import Settings, draw


def test_the_same_seed_draws_the_same_plan():
    assert draw(Settings(seed=7)) == draw(Settings(seed=7))
    assert draw(Settings(seed=7)) != draw(Settings(seed=8))


@pytest.mark.parametrize(("nodes", "sick"), [(2, 0), (2, 1), (3, 2), (12, 1), (12, 5), (60, 59)])
@pytest.mark.parametrize("seed", range(5))
def test_each_host_gets_its_update_once_and_one_well_host_loses_its_agent_first(nodes: int, sick: int, seed: int):
    plan = draw(Settings(nodes=nodes, sick=sick, seed=seed))
    first = [name for _, name in plan.first_wave]
    second = [name for _, name in plan.second_wave]
    assert sorted(first + second) == sorted(plan.fates)
    assert len(plan.fates) == nodes
    dying = [name for name, fate in plan.fates.items() if fate.dies_armed]
    assert len(dying) == 1
    assert dying[0] in first
    sick_ones = {name for name, fate in plan.fates.items() if fate.comes_back_sick}
    assert sick_ones == set(second[:sick])
    assert len(sick_ones) == sick
    for wave in (plan.first_wave, plan.second_wave):
        assert [at for at, _ in wave] == sorted(at for at, _ in wave)


def test_speed_shortens_the_story_and_never_the_patience_to_nothing():
    assert Settings(speed=4).real(2) == 0.5
    assert Settings(speed=50).limit() > 100
    assert Settings(patience=3).limit() == 3
    assert Settings(nodes=60, slots=1).limit() > Settings(nodes=60, slots=10).limit()
