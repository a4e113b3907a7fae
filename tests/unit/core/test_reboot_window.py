"""The grammar of REBOOT_WINDOW_*, row by row as the original was seen to read it (peers.md 2.4, Go 1.19)."""

from datetime import UTC, datetime, timedelta

import pytest

from locksmith.core.durations import format_duration
from locksmith.core.reboot_window import parse_length, parse_start
from locksmith.core.windows import OpenUntil, is_open, next_openings, parse_window

DAY, WEEK = timedelta(days=1), timedelta(days=7)
MICROSECOND = timedelta(microseconds=1)

STARTS = {
    "14:00": "14:00",
    "Mon 14:00": "Mon 14:00",
    " 14:00 ": "14:00",
    "  mon   14:00  ": "Mon 14:00",
    "MON 14:00": "Mon 14:00",
    "mOn 14:00": "Mon 14:00",
    "7:5": "07:05",
    "007:005": "07:05",
    "0:0": "00:00",
    "23:59": "23:59",
    "+5:30": "05:30",
    "5:+1": "05:01",
    "14:00:30": "14:00",
    "14:00abc": "14:00",
    "14:00Z": "14:00",
    "14:0x1e": "14:00",
    "Mon\u00a014:00": "Mon 14:00",
}
NO_STARTS = [
    "",
    "monday 14:00",
    "Mon,Tue 14:00",
    "24:00",
    "23:60",
    "-1:00",
    "5:-1",
    "14.00",
    "14: 00",
    "14 :00",
    "2pm",
    "0x0e:00",
    "1e1:00",
    "1_0:00",
    "99999999999999999999:00",
    "Mon 14:00 foo",
    "Mon\x1f14:00",
    "٣:00",
]
LENGTHS = [
    (DAY, "1h", timedelta(hours=1)),
    (DAY, "23h59m59.999999999s", DAY - MICROSECOND),
    (WEEK, "24h", DAY),
    (WEEK, "167h59m59s", WEEK - timedelta(seconds=1)),
    (WEEK, "90m", timedelta(minutes=90)),
    (WEEK, "1.5h", timedelta(minutes=90)),
    (WEEK, ".5h", timedelta(minutes=30)),
    (WEEK, "1.h", timedelta(hours=1)),
    (WEEK, "+1h", timedelta(hours=1)),
    (WEEK, "1us", MICROSECOND),
    (WEEK, "1µs", MICROSECOND),
    (WEEK, "1\u03bcs", MICROSECOND),
    (WEEK, "1999ns", MICROSECOND),
    (WEEK, "30m1h", timedelta(minutes=90)),
    (WEEK, "1h1h", timedelta(hours=2)),
]
NO_LENGTHS = [
    (DAY, "24h"),
    (WEEK, "168h"),
    (WEEK, "1d"),
    (WEEK, "90"),
    (WEEK, "1h 30m"),
    (WEEK, " 1h"),
    (WEEK, "1H"),
    (WEEK, ""),
    (WEEK, "-1h"),
    (WEEK, "+"),
    (WEEK, "+-1h"),
    (WEEK, ".h"),
    (WEEK, "1h\n"),
    (WEEK, "9999999h"),
    (WEEK, "9" * 200 + "h"),
]


@pytest.mark.parametrize(("written", "means"), STARTS.items())
def test_a_start(written, means):
    assert parse_start(written) == (means, WEEK if means[0] == "M" else DAY)


@pytest.mark.parametrize("written", NO_STARTS)
def test_no_start(written):
    with pytest.raises(ValueError, match="write"):
        parse_start(written)


@pytest.mark.parametrize(("period", "written", "means"), LENGTHS)
def test_a_length(period, written, means):
    assert parse_length(written, period) == means


@pytest.mark.parametrize(("period", "written"), NO_LENGTHS)
def test_no_length(period, written):
    with pytest.raises(ValueError, match=r"write|shorter"):
        parse_length(written, period)


@pytest.mark.parametrize("nothing", ["0", "0s", "-0s", "+0", "1ns"])
def test_a_window_without_a_length_was_open_for_an_instant_and_is_refused(nothing):
    with pytest.raises(ValueError, match="never open"):
        parse_length(nothing, DAY)


# start, length, instant (UTC), then what the original's DurationToStart said: the time to the start, at most 0 inside.
EVALUATION = [
    ("00:00", "1h", "2015-05-21 00:59:59", timedelta(0)),
    ("00:00", "1h", "2015-05-21 01:00:01", timedelta(hours=22, minutes=59, seconds=59)),
    ("14:00", "1h", "2015-05-21 13:59:59", timedelta(seconds=1)),
    ("Sat 23:00", "167h", "2021-03-13 22:30:00", timedelta(minutes=30)),
    ("Sun 00:00", "1h", "2021-03-13 23:59:59", timedelta(seconds=1)),
    ("Sat 23:30", "1h", "2021-03-14 00:29:59", timedelta(0)),
    ("Mon 09:00", "1h", "2020-12-31 23:00:00", timedelta(hours=82)),
    ("Thu 12:00", "24h", "2016-02-29 00:00:00", timedelta(hours=84)),
]


@pytest.mark.parametrize(("start", "length", "at", "to_start"), EVALUATION)
def test_as_a_window_of_ours_it_opens_when_it_did(start, length, at, to_start):
    now = datetime.fromisoformat(at).replace(tzinfo=UTC)
    begins, period = parse_start(start)
    window = parse_window("locksmith", begins, format_duration(parse_length(length, period)), "UTC")
    if to_start:
        assert next_openings([window], now, 1)[0].start - now == to_start
    else:
        assert isinstance(is_open([window], now), OpenUntil)


@pytest.mark.parametrize("at", ["2015-05-21 01:00:00", "2015-05-22 01:00:00"])
def test_its_last_instant_is_not_inside_any_more(at):
    """The one difference without a change of the clock: the original's end was inclusive."""
    window = parse_window("locksmith", "00:00", "1h", "UTC")
    assert not isinstance(is_open([window], datetime.fromisoformat(at).replace(tzinfo=UTC)), OpenUntil)


# zone, start, the day of the change, and when we open (UTC); the original moved the first earlier and the second later.
CHANGES = [
    ("America/New_York", "02:30", "2021-03-14", "07:00"),
    ("Europe/Berlin", "02:30", "2021-03-28", "01:00"),
    ("America/New_York", "01:30", "2021-11-07", "05:30"),
    ("Europe/Berlin", "02:30", "2021-10-31", "00:30"),
]


@pytest.mark.parametrize(("zone", "start", "day", "opens"), CHANGES)
def test_over_a_change_of_the_clock_our_one_rule_holds(zone, start, day, opens):
    window = parse_window("locksmith", start, "1h", zone)
    span = next_openings([window], datetime.fromisoformat(f"{day} 00:00").replace(tzinfo=UTC), 1)[0]
    assert span.start.astimezone(UTC) == datetime.fromisoformat(f"{day} {opens}").replace(tzinfo=UTC)
    assert span.end is not None
    assert span.end - span.start == timedelta(hours=1)
