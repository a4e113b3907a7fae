from datetime import UTC, datetime, timedelta

import pytest

from locksmith.checks import Check, Occasion
from locksmith.checks.window import WindowCheck
from locksmith.core.verdict import Closed, Open, Unknown
from locksmith.core.windows import parse_window

NIGHT = parse_window("night", "22:00", "8h")
THURSDAY = parse_window("thursday", "Thu 12:00", "10m")
SATURDAY = parse_window("saturday", "Sat 12:00", "2h")
HOUR = timedelta(hours=1)


def at(hour, minute=0, day=1, *, trusted=True):
    """A Thursday in winter, or some days later."""
    return Occasion(datetime(2026, 1, day, hour, minute, tzinfo=UTC), clock_trusted=trusted, environment={})


def test_without_windows_it_is_always_open():
    check: Check = WindowCheck([])
    assert check.ask(at(3, trusted=False)) == Open("no windows are configured")
    assert check.kind == "window"
    assert WindowCheck([]).blocked_by(at(3, trusted=False)) == "window"


def test_open_and_closed():
    check = WindowCheck([NIGHT])
    closes = datetime(2026, 1, 1, 6, tzinfo=UTC)
    assert check.ask(at(3)) == Open("the window closes at 2026-01-01T06:00:00Z", until=closes)
    opens = datetime(2026, 1, 1, 22, tzinfo=UTC)
    assert check.ask(at(6)) == Closed("the next window opens at 2026-01-01T22:00:00Z", retry_at=opens)
    assert isinstance(check.ask(at(22)), Open)


@pytest.mark.parametrize(("hour", "minute", "is_open"), [(4, 59, True), (5, 0, True), (5, 1, False)])
def test_enough_time_must_be_left(hour, minute, is_open):
    verdict = WindowCheck([NIGHT], HOUR).ask(at(hour, minute))
    assert isinstance(verdict, Open) is is_open
    if not is_open:
        opens = datetime(2026, 1, 1, 22, tzinfo=UTC)
        assert verdict == Closed("the window closes at 2026-01-01T06:00:00Z, and 1h are needed", retry_at=opens)


def test_asking_again_makes_sense_when_a_window_is_long_enough():
    check = WindowCheck([THURSDAY, SATURDAY], HOUR)
    saturday = datetime(2026, 1, 3, 12, tzinfo=UTC)
    assert check.ask(at(12, 5)) == Closed(
        "the window closes at 2026-01-01T12:10:00Z, and 1h are needed", retry_at=saturday
    )
    # The next opening is Thursday's in a week, which is too short; the one after it is not.
    next_week = datetime(2026, 1, 10, 12, tzinfo=UTC)
    assert check.ask(at(15, day=3)) == Closed("the next window opens at 2026-01-08T12:00:00Z", retry_at=next_week)


def test_no_window_is_ever_long_enough():
    check = WindowCheck([THURSDAY], HOUR)
    assert check.ask(at(12, 5)) == Closed("the window closes at 2026-01-01T12:10:00Z, and 1h are needed", None)


def test_the_reason_stays_the_same_while_nothing_changes():
    check = WindowCheck([NIGHT])
    assert check.ask(at(7)) == check.ask(at(8))


def test_an_untrusted_clock_is_unknown_and_has_its_own_word():
    check = WindowCheck([NIGHT])
    assert isinstance(check.ask(at(3, trusted=False)), Unknown)
    assert check.blocked_by(at(3, trusted=False)) == "clock"
    assert check.blocked_by(at(3)) == "window"


def test_a_clock_beyond_reason_is_unknown():
    occasion = Occasion(datetime(1960, 1, 1, tzinfo=UTC), clock_trusted=True, environment={})
    assert isinstance(WindowCheck([NIGHT]).ask(occasion), Unknown)
