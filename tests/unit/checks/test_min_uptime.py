from datetime import timedelta

import pytest

from locksmith.checks import Occasion
from locksmith.checks.min_uptime import MinUptime
from locksmith.core.verdict import Closed, Open
from tests.fakes.clock import VirtualClock

CLOSED = "the machine has not been up for 1h yet"


def occasion(clock, trusted=True):
    return Occasion(clock.wall(), clock_trusted=trusted, environment={})


@pytest.fixture
def clock():
    found = VirtualClock()
    found.now = 600.25  # ten minutes after the boot, which was at no even second
    found.start += timedelta(milliseconds=600)
    return found


@pytest.fixture
def gate(clock):
    return MinUptime("young", timedelta(hours=1), clock)


def test_closed_until_it_was_up_for_long_enough(clock, gate):
    verdict = gate.ask(occasion(clock))
    assert verdict == Closed(CLOSED, verdict.retry_at)
    clock.advance((verdict.retry_at - clock.wall()).total_seconds())
    assert clock.boottime() >= 3600
    assert gate.ask(occasion(clock)) == Open("up for more than 1h")


def test_the_instant_does_not_come_a_second_too_late(clock, gate):
    clock.advance(3600 - 600.25 - 1.5)
    assert gate.ask(occasion(clock)).retry_at - clock.wall() <= timedelta(seconds=2.5)


def test_the_same_answer_while_the_clocks_tremble(clock, gate):
    first = gate.ask(occasion(clock))
    for step in (0.3, 10.0, 0.7):
        clock.advance(step)
        clock.start += timedelta(milliseconds=400)
        assert gate.ask(occasion(clock)) == first


def test_a_step_of_the_wall_clock_moves_the_instant_and_nothing_else(clock, gate):
    first = gate.ask(occasion(clock)).retry_at
    clock.start += timedelta(days=1)
    verdict = gate.ask(occasion(clock))
    assert verdict == Closed(CLOSED, first + timedelta(days=1))


def test_no_instant_of_a_clock_that_is_wrong(clock, gate):
    assert gate.ask(occasion(clock, trusted=False)) == Closed(CLOSED)


def test_the_kernels_clock_is_the_default(clock):
    assert MinUptime("young", timedelta(microseconds=1)).ask(occasion(clock)) == Open("up for more than 1us")
    young = MinUptime("young", timedelta(days=36500)).ask(occasion(clock, trusted=False))
    assert young == Closed("the machine has not been up for 36500d yet")


def test_names(gate):
    assert (gate.name, gate.kind) == ("young", "gate")
