"""Each planted fault applies to today's code and is caught by the rule that its header names."""

import pytest

from tests.simulation.judge import RULES
from tests.simulation.planting import catch, faults

FAULTS = faults()


def test_there_are_enough_of_them_and_they_break_different_rules():
    assert len(FAULTS) >= 14
    assert {fault.caught for fault in FAULTS} <= set(RULES)
    assert len({fault.caught for fault in FAULTS}) >= 10


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_planted_fault_is_caught_by_its_name(fault, tmp_path):
    found = catch(fault, tmp_path)
    assert found is not None, f"{fault.name} went through the seeds {fault.seeds}: {fault.fault}"
    _, rule, text = found
    assert rule == fault.caught, text
