"""Reboot windows: when a node may reboot, in any time zone, over midnight, the week's end and changes of the clock.

One rule for changes of the clock: **the length is elapsed time; a start that the clock skips begins when the skipped
time ends; a start that the clock shows twice counts once, at the first.** A window is half open: its start is inside, its
end is not. The weekday belongs to the start. (locksmith let the programming language decide: the same window moved
earlier in New York and later in Berlin, and lasted longer or shorter.) A consequence: `00:00` for `24h` is closed for the
hour by which a day is longer, when summer time ends.

All arithmetic is done in UTC, and answers carry a fixed offset instead of a zone: Python compares and subtracts two
instants of one zone by their clock faces, which is wrong over a change of the clock.
"""

import heapq
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from itertools import count, islice
from pathlib import Path
from zoneinfo import ZoneInfo, available_timezones

from locksmith.core.durations import format_duration, parse_duration
from locksmith.core.names import did_you_mean

DAY = timedelta(days=1)
WEEK = timedelta(days=7)
LOCALTIME = Path("/etc/localtime")
"""The machine's own zone, see localtime(5)."""

_NAMES = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_WEEKDAYS = {spelling: number for number, name in enumerate(_NAMES) for spelling in (name[:3], name)}
_CLOCK = re.compile(r"([0-9]{1,3}):([0-9]{1,3})")
_HOURS = 24
_MINUTES = 60
_ENDLESS = timedelta(days=400)
"""Open for longer than this is "no end". More than a year and a week: a full day closes for an hour once a year, and
those Sundays lie up to 371 days apart."""
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = datetime(9000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Start:
    """When a window begins, on the clock of its zone. `weekdays`: 0 is Monday; empty is every day."""

    weekdays: tuple[int, ...]
    hour: int
    minute: int

    def __str__(self) -> str:
        days = ",".join(_NAMES[day][:3].capitalize() for day in self.weekdays)
        return f"{days} {self.hour:02}:{self.minute:02}".lstrip()


@dataclass(frozen=True, slots=True)
class Window:
    """One reboot window. `name` is the configuration's; `timezone` the zone as it was written, `zone` what it means."""

    name: str
    start: Start
    length: timedelta
    timezone: str
    zone: tzinfo


@dataclass(frozen=True, slots=True)
class Span:
    """One opening of all windows together, [start, end).

    Both have the fixed offset that the zone of the window which opens first has at that instant, so they can be
    subtracted and compared safely. `end` is None when it stays open for more than 400 days.
    """

    start: datetime
    end: datetime | None


@dataclass(frozen=True, slots=True)
class OpenUntil:
    """Open; `end` is the first instant at which it is not, None when there is none within 400 days."""

    end: datetime | None


@dataclass(frozen=True, slots=True)
class ClosedUntil:
    """Closed; `start` is the next instant at which it is open."""

    start: datetime


def parse_window(name: str, start: str, length: str, timezone: str = "UTC", *, localtime: Path = LOCALTIME) -> Window:
    """Read one window: `Thu 23:00`, `1h30m`, `Europe/Berlin`.

    `start` is an optional weekday or list of weekdays (`Mon,Wed 02:00`, `monday wednesday 2:00`, any case) and a time of
    day; `length` a duration above zero, at most 24h for a daily window and 168h for a weekly one; `timezone` an IANA name
    or `local`, which is the machine's zone and never that of the caller's TZ. Raises ValueError with the remedy.
    """
    begins = parse_start(start)
    lasts = parse_duration(length)
    longest, period = (WEEK, "weekly") if begins.weekdays else (DAY, "daily")
    if not lasts:
        raise ValueError("a window of length 0 is never open: write a length such as 1h30m")
    if lasts > longest:
        raise ValueError(
            f"{length} is too long for a {period} window: at most {longest // timedelta(hours=1)}h "
            f"({format_duration(longest)})"
        )
    return Window(name, begins, lasts, timezone, parse_zone(timezone, localtime=localtime))


def parse_start(text: str) -> Start:
    """Read `23:00`, `Thu 23:00`, `Mon,Wed 02:00` or `Mon Wed 02:00`. Raises ValueError with the remedy."""
    words = text.replace(",", " , ").split()
    if not words:
        raise ValueError("a window needs a start: write HH:MM, or weekdays and HH:MM such as Mon,Wed 02:00")
    hour, minute = _time_of_day(words[-1])
    days = words[:-1]
    commas = [index for index, word in enumerate(days) if word == ","]
    if any(index in (0, len(days) - 1) or index + 1 in commas for index in commas):
        raise ValueError(f"{text!r} has a comma too many: write weekdays and HH:MM such as Mon,Wed 02:00")
    return Start(tuple(sorted({_weekday(day) for day in days if day != ","})), hour, minute)


def _weekday(word: str) -> int:
    number = _WEEKDAYS.get(word.lower())
    if number is None:
        near = did_you_mean(word, [name.capitalize() for name in _WEEKDAYS])
        raise ValueError(f"{word!r} is not a weekday{near} (write Mon or Monday; several as Mon,Tue,Wed)")
    return number


def _time_of_day(word: str) -> tuple[int, int]:
    match = _CLOCK.fullmatch(word)
    if match is None:
        raise ValueError(f"{word!r} is not a time of day: write HH:MM, from 00:00 to 23:59")
    hour, minute = int(match[1]), int(match[2])
    if hour >= _HOURS or minute >= _MINUTES:
        raise ValueError(f"{word!r} is no time on a clock: write HH:MM, from 00:00 to 23:59")
    return hour, minute


def parse_zone(name: str, *, localtime: Path = LOCALTIME) -> tzinfo:
    """Return the zone of an IANA name or of `local`. Raises ValueError that names the nearest zone.

    The system's zone data win over those of the tzdata package, which is there for machines without.
    """
    if name == "local":
        return _machine_zone(localtime)
    try:
        # Beside the zones stand copies that count leap seconds ("right/…"): seconds off, so unknown to us.
        if not name.startswith(("right/", "posix/")):
            return ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # KeyError is ZoneInfoNotFoundError; OSError a folder such as "Europe"
        pass
    raise ValueError(
        f"unknown time zone {name!r}{_nearest_zone(name)} (write an IANA name such as Europe/Berlin, or local)"
    )


def _machine_zone(localtime: Path) -> tzinfo:
    """The machine's zone; without the file it is UTC, see localtime(5)."""
    try:
        with localtime.open("rb") as data:
            return ZoneInfo.from_file(data, key="local")
    except FileNotFoundError:
        return UTC
    except (ValueError, OSError) as error:
        raise ValueError(
            f"the time zone 'local' cannot be read from {localtime}: {error}; write an IANA name"
        ) from error


def _nearest_zone(name: str) -> str:
    """Somebody who writes only the city means the zone that ends with it."""
    zones = sorted(available_timezones())
    city = name.casefold().replace(" ", "_")
    for zone in zones:
        if city in (zone.casefold(), zone.casefold().rpartition("/")[2]):
            return f"; did you mean {zone!r}?"
    return did_you_mean(name, zones)


def is_open(windows: Iterable[Window], at: datetime) -> OpenUntil | ClosedUntil:
    """Whether a reboot may begin at that aware instant. No windows at all means always open.

    Openings that overlap or touch are one. Raises ValueError outside of the years 1970 to 9000.
    """
    instant = _instant(at)
    chosen = tuple(windows)
    if not chosen:
        return OpenUntil(None)
    for span in _spans(chosen, instant):
        if span.end is None or span.end > instant:
            return OpenUntil(span.end) if span.start <= instant else ClosedUntil(span.start)
    raise AssertionError("windows recur for ever")


def next_openings(windows: Iterable[Window], at: datetime, n: int) -> tuple[Span, ...]:
    """The next `n` openings that begin after that aware instant, in order; fewer when one has no end.

    An opening that is under way at `at` is not among them. Raises ValueError outside of the years 1970 to 9000.
    """
    instant = _instant(at)
    chosen = tuple(windows)
    if not chosen:
        return ()
    return tuple(islice((span for span in _spans(chosen, instant) if span.start > instant), n))


def ever_lasts(windows: Iterable[Window], needed: timedelta, at: datetime) -> bool:
    """Whether any of the openings in some weeks from `at` lasts as long as that; without windows, yes."""
    chosen = tuple(windows)
    state = is_open(chosen, at)
    if isinstance(state, OpenUntil) and (state.end is None or state.end - at >= needed):
        return True
    return any(span.end is None or span.end - span.start >= needed for span in next_openings(chosen, at, 50))


def _instant(at: datetime) -> datetime:
    if at.tzinfo is None:
        raise ValueError("reboot windows need an instant with a time zone")
    if not _EARLIEST <= at <= _LATEST:
        raise ValueError(f"reboot windows are computed for the years 1970 to 9000, not for {at.year}")
    return at.astimezone(UTC)


def _spans(windows: Sequence[Window], since: datetime) -> Iterator[Span]:
    """All openings, merged, from before `since` on, for ever or until one has no end.

    The first may have begun earlier than it says, if others touch it from before: its end is right, which is all that
    anybody asks of an opening that is under way.
    """
    openings = heapq.merge(*(_openings(window, since) for window in windows), key=lambda opening: opening[0])
    first, last, zone = next(openings)
    for start, end, opener in openings:
        if start > last:
            yield Span(_fixed(first, zone), _fixed(last, zone))
            first, last, zone = start, end, opener
        else:
            last = max(last, end)
        if last - max(first, since) > _ENDLESS:
            yield Span(_fixed(first, zone), None)
            return


def _openings(window: Window, since: datetime) -> Iterator[tuple[datetime, datetime, tzinfo]]:
    """Each opening of one window as start and end in UTC, in order, from those on that may still be open at `since`."""
    # Two more days: one since the zone's date may be another than that of UTC, one for a start that was skipped.
    first = (since - window.length).date() - 2 * DAY
    for days in count():
        day = first + days * DAY
        if not window.start.weekdays or day.weekday() in window.start.weekdays:
            start = _begins(day, window.start, window.zone)
            yield start, start + window.length, window.zone


def _begins(day: date, start: Start, zone: tzinfo) -> datetime:
    """The instant, in UTC, at which a window of that day starts, by the rule at the head of this module."""
    wall = datetime(day.year, day.month, day.day, start.hour, start.minute, tzinfo=zone)
    first = wall.astimezone(UTC)
    second = wall.replace(fold=1).astimezone(UTC)
    # PEP 495: of a wall time shown twice, fold 0 is the first; of a skipped one, fold 0 is the later instant.
    return first if first <= second else _change(second, first, zone)


def _change(before: datetime, after: datetime, zone: tzinfo) -> datetime:
    """The second at which the zone's offset changes in (before, after]."""
    low, high = 0, int((after - before).total_seconds())
    old = before.astimezone(zone).utcoffset()
    while high - low > 1:
        middle = (low + high) // 2
        if (before + timedelta(seconds=middle)).astimezone(zone).utcoffset() == old:
            low = middle
        else:
            high = middle
    return before + timedelta(seconds=high)


def _fixed(at: datetime, zone: tzinfo) -> datetime:
    """The same instant on the zone's clock, with the offset of that instant instead of the zone."""
    return at.astimezone(timezone(at.astimezone(zone).utcoffset() or timedelta(0)))
