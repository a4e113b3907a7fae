"""How long a place in the queue is likely to take."""

from datetime import timedelta

import pytest

from locksmith.core.history import Entry, Step
from locksmith.core.waits import SAMPLES, expected, measured, remaining
from tests.fakes.mind import NOON


def reboot(
    seq: int, seconds: float, *, act: str = "released", outcome: str = "healthy", first: str = "acquired"
) -> Entry:
    steps = (Step(phase=first, at=NOON - timedelta(seconds=seconds)), Step(phase="armed", at=NOON))
    return Entry(seq=seq, act=act, at=NOON, by="a", count=0, slots=1, outcome=outcome, steps=steps)


def test_what_is_measured_is_how_long_slots_were_held_newest_first():
    assert measured([reboot(1, 60), reboot(3, 20), reboot(2, 30, outcome="rolled_back")]) == (20, 30, 60)


def test_what_says_nothing_about_a_reboot_is_left_out():
    assert measured([]) == ()
    for entry in (
        reboot(1, 60, act="acquired"),
        reboot(1, 60, act="taken"),
        reboot(1, 60, outcome="gate"),
        reboot(1, 60, outcome="recovered"),
        reboot(1, 60, first="armed"),
        reboot(1, 60, first="maintenance"),
        Entry(seq=1, act="released", at=NOON, by="a", count=0, slots=1, outcome="healthy"),
    ):
        assert measured([entry]) == ()


def test_a_clock_that_was_set_back_makes_no_negative_time():
    assert measured([reboot(1, -5)]) == (0.0,)


def test_only_the_last_ones_count():
    assert measured([reboot(seq, seq) for seq in range(100)]) == tuple(range(99, 99 - SAMPLES, -1))


def test_what_remains_is_known_from_those_that_took_longer():
    assert remaining((60, 100, 140), 0) == 100
    assert remaining((60, 100, 140), 80) == 40
    assert remaining((60, 100, 140), 140) is None


@pytest.mark.parametrize(
    ("elapsed", "free", "ahead", "seconds"),
    [
        ((), 1, 0, 0),
        ((), 1, 3, 300),
        ((40,), 0, 0, 60),
        ((40,), 0, 2, 260),
        ((40, 90), 0, 0, 10),
        ((40, 90), 0, 1, 60),
        ((40, 90), 0, 2, 110),
        ((40, 90), -1, 0, 60),
        ((40,), 1, 1, 60),
        ((40, 500), 0, 1, 160),  # who takes longer than any before gives nothing back that could be counted on
        ((500,), 0, 0, None),
        ((), 0, 0, None),
        ((40,), -1, 0, None),
    ],
)
def test_the_wait(elapsed, free, ahead, seconds):
    assert expected((100, 100, 100), elapsed, free, ahead) == seconds


def test_without_a_history_there_is_no_number():
    assert expected((), (10,), 1, 0) is None
