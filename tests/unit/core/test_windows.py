"""Windows against two judges: a table of locksmith's verified answers, and an oracle that scans minute by minute."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from locksmith.core.windows import (
    ClosedUntil,
    OpenUntil,
    Span,
    Start,
    ever_lasts,
    is_open,
    next_openings,
    parse_start,
    parse_window,
    parse_zone,
)

MINUTE = timedelta(minutes=1)
BERLIN, NEW_YORK, LORD_HOWE = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"


def utc(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def at(text, zone="UTC", fold=0):
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC)


# --- grammar -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "weekdays", "hour", "minute"),
    [
        # locksmith's forms, verified against it
        ("14:00", (), 14, 0),
        (" 14:00 ", (), 14, 0),
        ("Mon 14:00", (0,), 14, 0),
        ("  mon   14:00  ", (0,), 14, 0),
        ("MON 14:00", (0,), 14, 0),
        ("mOn 14:00", (0,), 14, 0),
        ("7:5", (), 7, 5),
        ("007:005", (), 7, 5),
        ("0:0", (), 0, 0),
        ("23:59", (), 23, 59),
        # what we add
        ("monday 14:00", (0,), 14, 0),
        ("Sunday 14:00", (6,), 14, 0),
        ("Mon,Tue 14:00", (0, 1), 14, 0),
        ("Mon Tue 14:00", (0, 1), 14, 0),
        ("tue , MON,saturday 14:00", (0, 1, 5), 14, 0),
        ("mon,mon,Monday 14:00", (0,), 14, 0),
    ],
)
def test_start(text, weekdays, hour, minute):
    start = parse_start(text)
    assert start == Start(weekdays, hour, minute)
    assert parse_start(str(start)) == start


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        # refused by locksmith, too
        ("", "write HH:MM"),
        ("24:00", "from 00:00 to 23:59"),
        ("23:60", "from 00:00 to 23:59"),
        ("-1:00", "write HH:MM"),
        ("5:-1", "write HH:MM"),
        ("14.00", "write HH:MM"),
        ("14: 00", "write HH:MM"),
        ("14 :00", "write HH:MM"),
        ("2pm", "write HH:MM"),
        ("0x0e:00", "write HH:MM"),
        ("1e1:00", "write HH:MM"),
        ("1_0:00", "write HH:MM"),
        ("99999999999999999999:00", "write HH:MM"),
        # locksmith takes these: it ignores what follows the minutes, and allows signs
        ("14:00:30", "write HH:MM"),
        ("14:00abc", "write HH:MM"),
        ("14:00Z", "write HH:MM"),
        ("14:0x1e", "write HH:MM"),
        ("+5:30", "write HH:MM"),
        ("5:+1", "write HH:MM"),
        # ours
        ("14:00 foo bar", "write HH:MM"),
        ("Mno 14:00", "did you mean 'Mon'"),
        ("Mon-Fri 14:00", "several as Mon,Tue,Wed"),
        ("Tues 14:00", "did you mean"),
        ("Mon,,Tue 14:00", "comma too many"),
        (",Mon 14:00", "comma too many"),
        ("Mon, 14:00", "comma too many"),
        ("Mon 14:00,", "write HH:MM"),
        ("Mon", "write HH:MM"),
        ("١٤:٠٠", "write HH:MM"),  # noqa: RUF001  digits, but not ours
    ],
)
def test_start_refused(text, remedy):
    with pytest.raises(ValueError, match=r"write") as caught:
        parse_start(text)
    assert remedy in str(caught.value)


@pytest.mark.parametrize(
    ("start", "length"),
    [
        ("14:00", "1h"),
        ("14:00", "24h"),  # locksmith: less than 24h only
        ("14:00", "1d"),  # locksmith has no "d"
        ("Mon 14:00", "24h"),
        ("Mon 14:00", "167h59m59s"),
        ("Mon 14:00", "168h"),  # locksmith: less than 168h only
        ("Mon 14:00", "90m"),
        ("Mon 14:00", "1.5h"),
        ("Mon 14:00", ".5h"),
        ("Mon 14:00", "1us"),
        ("Mon,Tue,Wed,Thu,Fri,Sat,Sun 14:00", "7d"),
    ],
)
def test_length(start, length):
    assert parse_window("w", start, length).length > timedelta(0)


@pytest.mark.parametrize(
    ("start", "length", "remedy"),
    [
        ("14:00", "24h0m1s", "at most 24h"),
        ("Mon 14:00", "168h1m", "at most 168h"),
        ("14:00", "0s", "never open"),  # locksmith: open at one instant
        ("14:00", "0", "with its unit"),  # locksmith: as 0s
        ("14:00", "90", "with its unit"),
        ("14:00", "1h 30m", "write 1h30m"),
        ("14:00", "1H", "write 1h"),
        ("14:00", "-1h", "not a duration"),
        ("14:00", "+1h", "not a duration"),  # locksmith takes the sign
        ("14:00", "", "not a duration"),
    ],
)
def test_length_refused(start, length, remedy):
    with pytest.raises(ValueError, match=r"write|at most") as caught:
        parse_window("w", start, length)
    assert remedy in str(caught.value)


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("Europe/Berln", "did you mean 'Europe/Berlin'"),
        ("europe/berlin", "did you mean 'Europe/Berlin'"),
        ("berlin", "did you mean 'Europe/Berlin'"),
        ("New York", "did you mean 'America/New_York'"),
        ("Local", "or local"),
        ("Europe", "IANA name"),
        ("", "IANA name"),
        ("../../etc/passwd", "IANA name"),
        ("/etc/localtime", "IANA name"),
        ("right/UTC", "IANA name"),
        ("a\0b", "IANA name"),
        ("x" * 5000, "IANA name"),
    ],
)
def test_unknown_zone_names_the_nearest(name, remedy):
    with pytest.raises(ValueError, match=r"unknown time zone") as caught:
        parse_zone(name)
    assert remedy in str(caught.value)


def test_local_is_the_machines_zone(tmp_path, monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")  # the caller's wish must not move an agent's window
    link = tmp_path / "localtime"
    assert parse_zone("local", localtime=link) == UTC
    tables = [Path(folder, "Asia/Kathmandu") for folder in ("/usr/share/zoneinfo", *_tzdata_folders())]
    link.symlink_to(next(table for table in tables if table.exists()))
    zone = parse_window("w", "02:00", "1h", "local", localtime=link).zone
    assert datetime(2026, 1, 1, tzinfo=zone).utcoffset() == timedelta(hours=5, minutes=45)
    link.unlink()
    link.write_text("not a zone")
    with pytest.raises(ValueError, match="cannot be read"):
        parse_zone("local", localtime=link)


def _tzdata_folders():
    import tzdata  # noqa: PLC0415  only for where it lies

    return [str(Path(folder, "zoneinfo")) for folder in tzdata.__path__]


# --- locksmith's verified evaluation table -----------------------------------------------------------------------


def to_start(start, length, instant, zone="UTC"):
    """locksmith's DurationToStart, from our answers: below zero since the start, above zero to the next one."""
    window = parse_window("w", start, length, zone)
    state = is_open([window], instant)
    return state.end - window.length - instant if isinstance(state, OpenUntil) else state.start - instant


@pytest.mark.parametrize(
    ("start", "length", "instant", "expected"),
    [
        ("00:00", "1h", "2015-05-21 01:00:01", timedelta(hours=22, minutes=59, seconds=59)),
        ("14:00", "1h", "2015-05-21 14:00:00", timedelta(0)),
        ("14:00", "1h", "2015-05-21 13:59:59", timedelta(seconds=1)),
        ("Sat 23:00", "167h", "2021-03-13 22:30", timedelta(minutes=30)),
        ("Sun 00:00", "1h", "2021-03-13 23:59:59", timedelta(seconds=1)),
        ("Mon 09:00", "1h", "2020-12-31 23:00", timedelta(hours=82)),
        ("Thu 12:00", "24h", "2016-02-29 00:00", timedelta(hours=84)),
        # Different from locksmith: the end is outside (there -1h, still inside).
        ("00:00", "1h", "2015-05-21 01:00:00", timedelta(hours=23)),
        ("Sat 23:30", "1h", "2021-03-14 00:30", timedelta(days=6, hours=23)),
        ("Sat 23:30", "1h", "2021-03-14 00:29:59", timedelta(seconds=-3599)),
    ],
)
def test_table_in_utc(start, length, instant, expected):
    assert to_start(start, length, utc(instant)) == expected


@pytest.mark.parametrize(
    ("zone", "start", "length", "instant", "expected"),
    [
        # New York, 2021-03-14: 02:00 becomes 03:00. locksmith moves 02:30 to 01:30; here it begins as the gap ends.
        (NEW_YORK, "02:30", "1h", at("2021-03-14 01:59:59", NEW_YORK), timedelta(seconds=1)),
        (NEW_YORK, "02:30", "1h", at("2021-03-14 03:00", NEW_YORK), timedelta(0)),
        (NEW_YORK, "02:30", "1h", at("2021-03-14 03:59:59", NEW_YORK), timedelta(seconds=-3599)),
        (NEW_YORK, "02:30", "1h", at("2021-03-14 04:00", NEW_YORK), timedelta(hours=22, minutes=30)),
        (NEW_YORK, "Sun 02:30", "1h", at("2021-03-14 03:45", NEW_YORK), timedelta(minutes=-45)),
        # Elapsed time, as in locksmith: 4 hours from 23:00 end at 04:00 on the clock.
        (NEW_YORK, "Sat 23:00", "4h", at("2021-03-14 03:30", NEW_YORK), timedelta(hours=-3, minutes=-30)),
        (NEW_YORK, "Sat 23:00", "4h", at("2021-03-14 04:00", NEW_YORK), timedelta(days=6, hours=19)),
        # New York, 2021-11-07: 01:30 comes twice; the window is the first, for one elapsed hour.
        (NEW_YORK, "01:30", "1h", at("2021-11-07 01:30", NEW_YORK), timedelta(0)),
        (NEW_YORK, "01:30", "1h", at("2021-11-07 01:29:59", NEW_YORK, fold=1), timedelta(seconds=-3599)),
        (NEW_YORK, "01:30", "1h", at("2021-11-07 01:30", NEW_YORK, fold=1), timedelta(hours=24)),
        (NEW_YORK, "01:30", "1h", at("2021-11-07 02:15", NEW_YORK), timedelta(hours=23, minutes=15)),
        # Berlin, 2021-03-28: 02:00 becomes 03:00. locksmith shifts 02:30 to 03:30 here; the rule is one for all zones.
        (BERLIN, "02:30", "1h", at("2021-03-28 01:59:59", BERLIN), timedelta(seconds=1)),
        (BERLIN, "02:30", "1h", at("2021-03-28 03:00", BERLIN), timedelta(0)),
        (BERLIN, "02:30", "1h", at("2021-03-28 04:00", BERLIN), timedelta(hours=22, minutes=30)),
        # Berlin, 2021-10-31: locksmith takes the second 02:30, here it is the first.
        (BERLIN, "02:30", "1h", at("2021-10-31 02:30", BERLIN), timedelta(0)),
        (BERLIN, "02:30", "1h", at("2021-10-31 02:15", BERLIN, fold=1), timedelta(minutes=-45)),
        (BERLIN, "02:30", "1h", at("2021-10-31 02:30", BERLIN, fold=1), timedelta(hours=24)),
        (BERLIN, "02:30", "1h", at("2021-10-31 03:15", BERLIN), timedelta(hours=23, minutes=15)),
        # Lord Howe changes by half an hour: on 2021-10-03 02:00 becomes 02:30, on 2021-04-04 02:00 becomes 01:30.
        (LORD_HOWE, "02:15", "1h", at("2021-10-03 02:30", LORD_HOWE), timedelta(0)),
        (LORD_HOWE, "01:45", "1h", at("2021-04-04 01:45", LORD_HOWE, fold=1), timedelta(minutes=-30)),
        # Samoa had no 2011-12-30, a Friday: its window begins as the gap ends.
        ("Pacific/Apia", "Fri 10:00", "2h", at("2011-12-31 00:00", "Pacific/Apia"), timedelta(0)),
    ],
)
def test_table_over_changes_of_the_clock(zone, start, length, instant, expected):
    assert to_start(start, length, instant, zone) == expected


# --- several windows ---------------------------------------------------------------------------------------------


def test_no_windows_is_always_open():
    assert is_open([], utc("2026-01-01")) == OpenUntil(None)
    assert next_openings([], utc("2026-01-01"), 3) == ()
    assert ever_lasts([], timedelta(days=999), utc("2026-01-01"))


def test_overlapping_and_touching_windows_are_one_opening():
    windows = [
        parse_window("a", "22:00", "2h"),
        parse_window("b", "00:00", "1h"),
        parse_window("c", "00:30", "1h"),
        parse_window("d", "00:40", "10m"),
        parse_window("e", "12:00", "1h"),
    ]
    assert is_open(windows, utc("2026-01-01 22:00")) == OpenUntil(utc("2026-01-02 01:30"))
    assert is_open(windows, utc("2026-01-02 01:30")) == ClosedUntil(utc("2026-01-02 12:00"))
    assert next_openings(windows, utc("2026-01-01 23:00"), 2) == (
        Span(utc("2026-01-02 12:00"), utc("2026-01-02 13:00")),
        Span(utc("2026-01-02 22:00"), utc("2026-01-03 01:30")),
    )


def test_what_never_closes_says_so():
    now = utc("2026-06-01 12:34:56")
    assert is_open([parse_window("w", "03:00", "24h")], now) == OpenUntil(None)
    assert next_openings([parse_window("w", "03:00", "24h")], now, 3) == ()
    assert is_open([parse_window("w", "Mon 03:00", "168h")], now) == OpenUntil(None)
    both = [parse_window("a", "00:00", "12h", "Asia/Tokyo"), parse_window("b", "12:00", "12h", "Asia/Tokyo")]
    assert is_open(both, now) == OpenUntil(None)


def test_a_full_day_closes_for_the_hour_by_which_a_day_is_longer():
    window = [parse_window("w", "00:00", "24h", BERLIN)]
    # The last Sundays of October 2026 and 2027 lie 371 days apart: more than a year, still an end.
    assert is_open(window, at("2026-10-26", BERLIN)) == OpenUntil(at("2027-10-31 23:00", BERLIN))
    assert is_open(window, at("2027-10-31 23:30", BERLIN)) == ClosedUntil(at("2027-11-01", BERLIN))


def test_an_opening_without_an_end_is_the_last_one():
    # Brazil ended summer time for good on 2019-02-17, with a day of 25 hours before it.
    zone = "America/Sao_Paulo"
    openings = next_openings([parse_window("w", "00:00", "24h", zone)], at("2017-06-01", zone), 10)
    assert [(span.start, span.end) for span in openings] == [
        (at("2018-02-18", zone), at("2019-02-16 23:00", zone, fold=1)),
        (at("2019-02-17", zone), None),
    ]


def test_answers_carry_the_offset_of_the_instant():
    night = parse_window("night", "Sat 23:00", "4h", BERLIN)
    (span,) = next_openings([night], at("2021-03-27", BERLIN), 1)
    assert (span.start.isoformat(), span.end.isoformat()) == ("2021-03-27T23:00:00+01:00", "2021-03-28T04:00:00+02:00")
    # By the clock face it would be five hours.
    assert span.end - span.start == timedelta(hours=4)


def test_a_merged_opening_is_told_in_the_zone_that_opens_first():
    night = parse_window("night", "Sat 23:00", "4h", BERLIN)
    (span,) = next_openings([parse_window("b", "01:00", "3h", "UTC"), night], at("2021-03-27 12:00", BERLIN), 1)
    assert (span.start.isoformat(), span.end.isoformat()) == ("2021-03-27T23:00:00+01:00", "2021-03-28T06:00:00+02:00")


def test_ever_lasts():
    now = utc("2026-01-01 12:30")
    windows = [parse_window("a", "12:00", "1h"), parse_window("b", "Sun 13:00", "30m")]
    assert ever_lasts(windows, timedelta(minutes=90), now)
    assert not ever_lasts(windows, timedelta(minutes=91), now)
    assert ever_lasts([parse_window("w", "12:00", "24h")], timedelta(days=30), now)


@pytest.mark.parametrize("year", [1969, 9001])
def test_instants_out_of_reach_are_refused(year):
    with pytest.raises(ValueError, match="1970 to 9000"):
        is_open([parse_window("w", "12:00", "1h")], datetime(year, 6, 1, tzinfo=UTC))
    with pytest.raises(ValueError, match="time zone"):
        next_openings([], datetime(2026, 6, 1), 1)  # noqa: DTZ001  the refusal is the point


# --- the oracle --------------------------------------------------------------------------------------------------

SCENES = [
    (BERLIN, "2026-03-29"),
    (BERLIN, "2026-10-25"),
    (NEW_YORK, "2026-03-08"),
    (NEW_YORK, "2026-11-01"),
    (LORD_HOWE, "2026-04-05"),
    (LORD_HOWE, "2026-10-04"),
    ("Africa/Casablanca", "2026-02-15"),
    ("Africa/Casablanca", "2026-03-22"),
    ("Asia/Kathmandu", "2026-03-29"),
    ("Pacific/Apia", "2011-12-30"),
    ("UTC", "2026-12-31"),
]
BEFORE, AFTER = timedelta(days=17), timedelta(days=10)
TOTAL = (BEFORE + AFTER) // MINUTE
BLIND = timedelta(days=9) // MINUTE
"""The first days, whose openings the oracle may not have seen begin."""


@lru_cache(maxsize=64)
def clock_of(zone, centre):
    """What the zone's clock first shows, or jumps over, at each minute of UTC around a date.

    A map from hour and minute to pairs of minute number (0 is `BEFORE` the date) and weekday.
    """
    tz, begin = ZoneInfo(zone), utc(centre) - BEFORE
    shown = [(begin + n * MINUTE).astimezone(tz) for n in range(-1, TOTAL)]
    found = defaultdict(list)
    for n, (old, new) in enumerate(pairwise(shown)):
        # The same zone on both sides: Python subtracts the clock faces, which is what is wanted here.
        skipped = [old + step * MINUTE for step in range(1, (new - old) // MINUTE)]
        for clock in skipped if new.fold else [*skipped, new]:
            found[clock.hour, clock.minute].append((n, clock.weekday()))
    return found


def oracle_open_minutes(windows, centre):
    """The minutes at which any window is open, by counting: no calendar, no offsets, no search."""
    open_minutes = set()
    for window in windows:
        start, length = window.start, window.length // MINUTE
        for n, weekday in clock_of(window.timezone, centre)[start.hour, start.minute]:
            if not start.weekdays or weekday in start.weekdays:
                open_minutes.update(range(n, n + length))
    return open_minutes


def number(instant, centre):
    return (instant - (utc(centre) - BEFORE)) // MINUTE


def our_openings(windows, begin, centre):
    """Our answers as pairs of minute numbers: the opening under way, then the next ones."""
    state = is_open(windows, begin)
    edges = [(begin, state.end)] if isinstance(state, OpenUntil) else []
    edges += [(span.start, span.end) for span in next_openings(windows, begin, 60)]
    return [(number(first, centre), TOTAL if last is None else number(last, centre)) for first, last in edges]


def window_around(zone):
    """Starts crowd where clocks change, and anywhere else."""
    days = st.sets(st.sampled_from(["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]), max_size=3).map(sorted)
    hours = st.sampled_from([0, 1, 2, 2, 3, 23]) | st.integers(0, 23)
    minutes = st.sampled_from([0, 1, 15, 30, 45, 59]) | st.integers(0, 59)

    def build(days, hour, minute, length):
        longest = 7 * 1440 if days else 1440
        return parse_window("w", f"{' '.join(days)} {hour}:{minute}", f"{min(length, longest)}m", zone)

    lengths = st.sampled_from([1, 30, 60, 61, 1440, 10_080]) | st.integers(1, 10_080)
    return st.builds(build, days, hours, minutes, lengths)


@st.composite
def scenes(draw):
    zone, centre = draw(st.sampled_from(SCENES))
    other = draw(st.sampled_from(SCENES))[0]
    windows = draw(st.lists(window_around(zone), min_size=1, max_size=2))
    return windows + draw(st.lists(window_around(other), max_size=1)), centre


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(scenes())
def test_openings_agree_with_the_oracle(scene):
    windows, centre = scene
    openings = our_openings(windows, utc(centre) - BEFORE + BLIND * MINUTE, centre)
    found = {minute for first, last in openings for minute in range(first, min(last, TOTAL))}
    assert found == {minute for minute in oracle_open_minutes(windows, centre) if BLIND <= minute < TOTAL}
    assert all(last < start for (_, last), (start, _) in pairwise(openings))


@settings(max_examples=100, deadline=None)
@given(scenes(), st.integers(BLIND, TOTAL - 1), st.integers(0, 59))
def test_every_instant_agrees_with_the_oracle(scene, minute, seconds):
    windows, centre = scene
    expected = oracle_open_minutes(windows, centre)
    state = is_open(windows, utc(centre) - BEFORE + minute * MINUTE + timedelta(seconds=seconds))
    assert isinstance(state, OpenUntil) == (minute in expected)
    edge = state.end if isinstance(state, OpenUntil) else state.start
    if edge is not None and (n := number(edge, centre)) < TOTAL:
        assert n > minute
        assert (n in expected) != isinstance(state, OpenUntil)
        assert (n - 1 in expected) == isinstance(state, OpenUntil)


def test_the_oracle_itself_knows_the_rule():
    gap = oracle_open_minutes([parse_window("w", "Sun 02:30", "1h", BERLIN)], "2026-03-29")
    assert number(at("2026-03-29 03:00", BERLIN), "2026-03-29") in gap
    assert number(at("2026-03-29 01:59", BERLIN), "2026-03-29") not in gap
    assert number(at("2026-03-29 04:00", BERLIN), "2026-03-29") not in gap
    repeat = oracle_open_minutes([parse_window("w", "Sun 02:30", "30m", BERLIN)], "2026-10-25")
    assert number(at("2026-10-25 02:30", BERLIN), "2026-10-25") in repeat
    assert number(at("2026-10-25 02:30", BERLIN, fold=1), "2026-10-25") not in repeat
