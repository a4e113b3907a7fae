"""The grammar of locksmith's REBOOT_WINDOW_START and REBOOT_WINDOW_LENGTH, exactly.

The idea a reader would miss: this is Go's way to read numbers, white space and durations (`fmt.Sscanf`, `strings.Fields`,
`time.ParseDuration`), slips included, because files that were accepted for years must go on to mean the same. Our own
windows have a stricter and richer grammar, see `windows`. What differs on purpose: a window of no length is refused.
Origin: flatcar/locksmith pkg/timeutil/periodic.go, tried with Go 1.19.
"""

import re
from datetime import timedelta
from fractions import Fraction

START, LENGTH = "REBOOT_WINDOW_START", "REBOOT_WINDOW_LENGTH"

_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_WEEK, _DAY = timedelta(days=7), timedelta(days=1)
_SPACE = re.compile("[\t\n\v\f\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+")
"""What Go takes for white space; Python's idea of it has four control characters more."""
_CLOCK = re.compile(r"([+-]?[0-9]+):([+-]?[0-9]+)")
_HOURS, _MINUTES = 24, 60
_MAX_TEXT = 100
_TOO_LONG = 2**63
"""Nanoseconds that Go cannot count any more."""


def parse_start(text: str) -> tuple[str, timedelta]:
    """Read REBOOT_WINDOW_START, `Thu 23:00` or `23:00`, exactly as locksmith does: (our spelling, a week or a day).

    One weekday of three letters in any case; numbers may have signs and zeros in front; what follows the minutes is
    ignored, as C's scanf would. Raises ValueError with the remedy.
    """
    fields = [field for field in _SPACE.split(text) if field]
    if len(fields) not in (1, 2):
        raise ValueError(f"{text[:40]!r} is not the start of a window: write 23:00 or Thu 23:00")
    day = fields[0].lower() if len(fields) > 1 else ""
    if day and day not in _WEEKDAYS:
        raise ValueError(
            f"{fields[0][:40]!r} is not a weekday to locksmith: write Sun, Mon, Tue, Wed, Thu, Fri or Sat "
            "(several days, or several windows, are for [windows.NAME] of locksmith.toml)"
        )
    match = _CLOCK.match(fields[-1])
    hour, minute = (int(match[1]), int(match[2])) if match is not None and len(match[0]) < _MAX_TEXT else (-1, -1)
    if not (0 <= hour < _HOURS and 0 <= minute < _MINUTES):
        raise ValueError(f"{fields[-1][:40]!r} is no time on a clock: write HH:MM, from 00:00 to 23:59")
    clock = f"{hour:02}:{minute:02}"
    return (f"{day.capitalize()} {clock}", _WEEK) if day else (clock, _DAY)


_UNITS = {
    "ns": Fraction(1, 1000),
    "us": Fraction(1),
    "µs": Fraction(1),
    "\u03bcs": Fraction(1),
    "ms": Fraction(1_000),
    "s": Fraction(1_000_000),
    "m": Fraction(60_000_000),
    "h": Fraction(3_600_000_000),
}
"""Microseconds of each unit of Go's durations."""
_TERM = re.compile(rf"([0-9]*)(?:\.([0-9]*))?({'|'.join(sorted(_UNITS, key=len, reverse=True))})(?=[0-9.]|\Z)")


def parse_length(text: str, period: timedelta) -> timedelta:
    """Read REBOOT_WINDOW_LENGTH, a duration as Go writes it (`1h30m`, `.5h`, `30m1h`), shorter than the period.

    Raises ValueError with the remedy, also for a length below a microsecond: locksmith opens such a window for a single
    instant, which no reboot can hit. The rest of a microsecond is cut.
    """
    exact = _go_duration(text)
    if exact < 0:
        raise ValueError(f"{text!r} is below zero: write a length such as 1h30m")
    lasts = timedelta(microseconds=min(int(exact), period // timedelta(microseconds=1)))
    if exact >= period // timedelta(microseconds=1):
        raise ValueError(
            f"{text!r} is too long: a {'weekly' if period == _WEEK else 'daily'} window is shorter than "
            f"{period // timedelta(hours=1)}h; for no window at all leave out {START} and {LENGTH}"
        )
    if not lasts:
        raise ValueError(f"{text!r} makes a window that is never open: write a length such as 1h30m")
    return lasts


def _go_duration(text: str) -> Fraction:
    """Microseconds. Units in any order and as often as one likes; a bare 0 is the one number without a unit."""
    wrong = f"{text[:_MAX_TEXT]!r} is not a duration: write numbers with the units h, m or s, such as 1h30m"
    if not text or len(text) > _MAX_TEXT:
        raise ValueError(wrong)
    sign, rest = (-1 if text[0] == "-" else 1), text[1:] if text[0] in "+-" else text
    if rest == "0":
        return Fraction(0)
    total, at = Fraction(0), 0
    while at < len(rest):
        match = _TERM.match(rest, at)
        if match is None or not (match[1] or match[2]):
            raise ValueError(wrong)
        total += Fraction(f"{match[1] or 0}.{match[2] or 0}") * _UNITS[match[3]]
        at = match.end()
    if not rest or total * 1000 >= _TOO_LONG:
        raise ValueError(wrong)
    return sign * total
