"""Forecasts: by hand for what can be reckoned in one's head, and by what must hold whatever comes."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from locksmith.core.forecast import NEVER, Calendar, first_opening, turns
from locksmith.core.windows import OpenUntil, Span, is_open, parse_window

MINUTE = timedelta(minutes=1)
NIGHT = (parse_window("night", "23:00", "1h"),)


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"2026-01-{text}").replace(tzinfo=UTC)


def forecast(count, free, windows, now, whole, *, start=None, needed=timedelta(0)):
    return turns(count, free, Calendar(windows, now, start or now, needed), whole * MINUTE)


def begins(found):
    return [f"{turn.begins:%d %H:%M}" for turn in found]


def test_two_slots_without_windows() -> None:
    now = at("01 12:00")
    found = forecast(5, [now, now], (), now, 10)
    assert begins(found) == ["01 12:00", "01 12:00", "01 12:10", "01 12:10", "01 12:20"]
    assert found[-1].done == at("01 12:30")
    assert all(turn.first for turn in found)


def test_a_slot_that_is_not_free_yet() -> None:
    now = at("01 12:00")
    assert begins(forecast(3, [at("01 12:25"), now], (), now, 10)) == ["01 12:00", "01 12:10", "01 12:20"]
    assert forecast(2, [], (), now, 10) == (NEVER, NEVER)
    assert forecast(0, [now], NIGHT, now, 10) == ()


def test_who_does_not_fit_comes_at_the_next_opening() -> None:
    now = at("01 12:00")
    found = forecast(8, [now], NIGHT, now, 20)
    assert begins(found)[:5] == ["01 23:00", "01 23:20", "01 23:40", "02 23:00", "02 23:20"]
    assert [turn.first for turn in found] == [True] * 3 + [False] * 5
    assert first_opening(NIGHT, now) == Span(at("01 23:00"), at("02 00:00"))


def test_the_drain_must_fit_before_the_window_closes() -> None:
    now = at("01 23:30")
    assert first_opening(NIGHT, now) == Span(now, at("02 00:00"))
    assert begins(forecast(3, [now], NIGHT, now, 15, needed=20 * MINUTE)) == ["01 23:30", "02 23:00", "02 23:15"]
    assert begins(forecast(1, [now], NIGHT, now, 15, needed=30 * MINUTE)) == ["01 23:30"]
    assert forecast(2, [now], NIGHT, now, 15, needed=61 * MINUTE) == (NEVER, NEVER)


def test_a_pause_that_ends() -> None:
    now = at("01 23:05")
    assert begins(forecast(2, [now], NIGHT, now, 30, start=at("01 23:20"))) == ["01 23:20", "01 23:50"]
    found = forecast(1, [now], NIGHT, now, 30, start=at("03 12:00"))
    assert begins(found) == ["03 23:00"]
    assert not found[0].first


def test_a_forecast_ends_somewhere() -> None:
    now = at("01 12:00")
    found = forecast(500, [now], NIGHT, now, 60)
    assert found[0] is not NEVER
    assert found[-1] is NEVER
    assert [turn is NEVER for turn in found] == sorted(turn is NEVER for turn in found)


@settings(max_examples=200, deadline=None)
@given(
    count=st.integers(0, 30),
    ends=st.lists(st.integers(0, 300), max_size=5),
    whole=st.integers(1, 90),
    needed=st.integers(0, 70),
    pause=st.integers(0, 3000),
    minute=st.integers(0, 1439),
    windows=st.lists(st.tuples(st.integers(0, 23), st.integers(10, 300)), max_size=3),
)
def test_whatever_comes(*, count, ends, whole, needed, pause, minute, windows) -> None:
    now = at("01 00:00") + minute * MINUTE
    chosen = tuple(parse_window(f"w{n}", f"{hour}:00", f"{length}m") for n, (hour, length) in enumerate(windows))
    free = [now + end * MINUTE for end in ends]
    found = forecast(count, free, chosen, now, whole, start=now + pause * MINUTE, needed=needed * MINUTE)
    assert len(found) == count
    known = [turn for turn in found if turn.begins is not None]
    assert known == list(found[: len(known)])
    for one, two in pairwise(known):
        assert one.begins <= two.begins
    for turn in known:
        assert turn.begins >= now + pause * MINUTE
        assert turn.done == turn.begins + whole * MINUTE
        state = is_open(chosen, turn.begins)
        assert isinstance(state, OpenUntil)
        assert state.end is None or state.end - turn.begins >= needed * MINUTE
        # of the slots that are free by then no more are in use than there are
        busy = sum(other.begins <= turn.begins < other.done for other in known)
        assert busy <= sum(end <= turn.begins for end in free)
        if turn.first:
            assert first_opening(chosen, now) is None or turn.begins < (first_opening(chosen, now).end or turn.done)
