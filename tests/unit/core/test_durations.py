"""Durations and instants: what is read, what is refused and with which remedy, and that writing inverts reading."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locksmith.core.durations import (
    LONGEST,
    format_duration,
    parse_duration,
    parse_rfc3339,
    parse_time,
    rfc3339,
)

NOW = datetime(2026, 1, 1, 0, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("15m", 900),
        ("1h30m", 5400),
        ("2d", 172_800),
        ("500ms", 0.5),
        ("1us", 0.000_001),
        ("1µs", 0.000_001),
        ("1\u03bcs", 0.000_001),
        ("1.5h", 5400),
        (".5h", 1800),
        ("1.h", 3600),
        ("0s", 0),
        ("007m", 420),
        ("1d2h3m4s5ms6us", 93_784.005_006),
        ("36500d", 36500 * 86400),
    ],
)
def test_read(text, seconds):
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("90", "90s or 90m"),
        ("0", "0s or 0m"),
        ("", "such as 90s"),
        ("-1h", "such as 90s"),
        ("+1h", "such as 90s"),
        ("1h 30m", "write 1h30m, without spaces"),
        (" 1h", "write 1h, without spaces"),
        ("1h\n", "write 1h, without spaces"),
        ("1H", "write 1h"),
        ("1hour", "such as 90s"),
        ("30m1h", "large to small"),
        ("1h1h", "large to small"),
        ("1w", "such as 90s"),
        ("5ns", "such as 90s"),
        (".h", "such as 90s"),
        ("1e3s", "such as 90s"),
        ("1_0s", "such as 90s"),
        ("\u0661s", "such as 90s"),
        ("23h59m59.9999999s", "fewer decimals"),
        ("36501d", "at most 36500d"),
        ("9" * 90 + "d", "at most 36500d"),
        ("9" * 10_000, "such as 90s"),
        ("inf", "such as 90s"),
    ],
)
def test_refuse_with_the_remedy(text, remedy):
    with pytest.raises(ValueError, match=r"write ") as caught:
        parse_duration(text)
    assert remedy in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (timedelta(0), "0s"),
        (timedelta(minutes=90), "1h30m"),
        (timedelta(days=2, seconds=1), "2d1s"),
        (timedelta(milliseconds=1500), "1s500ms"),
        (timedelta(microseconds=7), "7us"),
        (timedelta(minutes=-90), "-1h30m"),
    ],
)
def test_write(duration, text):
    assert format_duration(duration) == text


@given(st.timedeltas(min_value=timedelta(0), max_value=LONGEST))
def test_what_is_written_is_read_back(duration):
    assert parse_duration(format_duration(duration)) == duration


@given(st.text(alphabet="0123456789.dhmsu -+µ", max_size=12))
def test_any_text_is_a_duration_or_a_value_error(text):
    try:
        duration = parse_duration(text)
    except ValueError:
        return
    assert timedelta(0) <= duration <= LONGEST
    assert any(letter in text for letter in "dhms")


def test_instants_are_written_in_utc_whole_seconds():
    at = datetime(2026, 1, 1, 1, 5, 0, 999_999, tzinfo=timezone(timedelta(hours=1)))
    assert rfc3339(at) == "2026-01-01T00:05:00Z"
    assert rfc3339(at, keep_offset=True) == "2026-01-01T01:05:00+01:00"
    assert rfc3339(NOW, keep_offset=True) == "2026-01-01T00:05:00Z"
    with pytest.raises(ValueError, match="without a time zone"):
        rfc3339(datetime(2026, 1, 1))  # noqa: DTZ001  the refusal is the point


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-01-01T00:05:00Z", NOW),
        ("2026-01-01t00:05:00z", NOW),
        ("2026-01-01T01:05:00+01:00", NOW),
        ("2025-12-31T19:05:00-05:00", NOW),
        ("2026-01-01T00:05:00-00:00", NOW),
        ("2026-01-01T00:05:00.25Z", NOW + timedelta(milliseconds=250)),
        ("2026-01-01T00:05:00.1234567899Z", NOW + timedelta(microseconds=123_456)),
        ("9999-12-31T23:59:59Z", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_read_an_instant(text, at):
    found = parse_rfc3339(text)
    assert found == at
    assert found.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-01T00:05:00",
        "2026-01-01",
        "2026-01-01 00:05",
        "2026-13-01T00:05:00Z",
        "2026-01-01T24:05:00Z",
        "2026-01-01T00:05:60Z",
        "2026-01-01T00:05:00+0100",
        "20260101T000500Z",
        "2026-W01-1T00:00:00Z",
        "9999-12-31T23:59:59-01:00",
        "0001-01-01T00:00:00+01:00",
        "tomorrow",
        "",
        "2026-01-01T00:05:00Z\n",
    ],
)
def test_refuse_what_is_no_instant(text):
    with pytest.raises(ValueError, match=r"not a time|no offset"):
        parse_rfc3339(text)


def test_time_is_an_instant_or_a_duration_from_now():
    assert parse_time("2h30m", NOW) == NOW + timedelta(hours=2.5)
    assert parse_time("2026-01-01T01:05:00+01:00", NOW) == NOW
    with pytest.raises(ValueError, match="no offset"):
        parse_time("2026-01-01T01:05:00", NOW)
    with pytest.raises(ValueError, match="duration from now"):
        parse_time("tomorrow", NOW)
    with pytest.raises(ValueError, match="duration from now"):
        parse_time("36500d", datetime(9990, 1, 1, tzinfo=UTC))


@given(st.datetimes(timezones=st.just(UTC), min_value=datetime(1000, 1, 1)))  # noqa: DTZ001  hypothesis wants it naive
def test_instants_survive_to_the_second(at):
    assert parse_rfc3339(rfc3339(at)) == at.replace(microsecond=0)
