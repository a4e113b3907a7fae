"""Durations and instants as text: the one parser for files, command lines and windows.

A number without a unit is refused everywhere, because half of the world reads `90` as seconds and the other half as
minutes. Units go from large to small and each stands once, so that `1h30m` has one spelling and `30m1h` is a slip.
Decimals are allowed, since locksmith's REBOOT_WINDOW_LENGTH has them (`1.5h`).
"""

import re
from datetime import UTC, datetime, timedelta
from fractions import Fraction

MICROSECOND = timedelta(microseconds=1)
LONGEST = timedelta(days=36500)
"""A century: adding it to any sane instant stays inside what datetime can say."""

_UNITS = {
    "d": 86_400_000_000,
    "h": 3_600_000_000,
    "m": 60_000_000,
    "s": 1_000_000,
    "ms": 1_000,
    "us": 1,
}
_NUMBER = r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+"
_DURATION = re.compile("".join(rf"(?:(?P<{unit}>{_NUMBER}){unit})?" for unit in _UNITS))
_RFC3339 = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt]([0-9]{2}:[0-9]{2}:[0-9]{2})(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_NO_OFFSET = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([Tt ][0-9:.]*)?")
_MAX_TEXT = 100


def parse_duration(text: str) -> timedelta:
    """Read `500ms`, `90s`, `15m`, `1h30m`, `2d`; units d h m s ms us (also µs), from large to small.

    Zero is `0s`. Raises ValueError, with the remedy, for a bare number, a sign, a space, anything else, for more than
    36500 days, and for a fraction of a microsecond.
    """
    # Two characters look like µ: U+00B5 of old keyboards and U+03BC of Greek ones; Go's parser takes both.
    match = _DURATION.fullmatch(text.replace("µs", "us").replace("\u03bcs", "us")) if len(text) <= _MAX_TEXT else None
    if not text or match is None:
        raise ValueError(f"{text[:_MAX_TEXT]!r} is not a duration: write {_suggestion(text)}")
    exact = sum(
        (Fraction(number.rstrip(".")) * _UNITS[unit] for unit, number in match.groupdict().items() if number),
        start=Fraction(0),
    )
    if exact.denominator != 1:
        raise ValueError(f"{text!r} is finer than a microsecond: write fewer decimals")
    if exact > LONGEST // MICROSECOND:
        raise ValueError(f"{text!r} is too long: write at most {LONGEST.days}d")
    return timedelta(microseconds=int(exact))


def _suggestion(text: str) -> str:
    """What the writer may have meant, or the forms that exist."""
    if len(text) <= _MAX_TEXT and text.isascii() and text.isdigit():
        return f"a number with its unit, such as {text}s or {text}m"
    compact = "".join(text.split()).lower()
    if compact and compact != text and len(text) <= _MAX_TEXT and _DURATION.fullmatch(compact):
        return f"{compact}, without spaces and in small letters"
    return "numbers with units from large to small, such as 90s, 15m, 1h30m or 2d"


def format_duration(duration: timedelta) -> str:
    """Write it the way `parse_duration` reads it, exactly: `1h30m`, `1s500ms`; zero is `0s`; below zero a `-` in front."""
    left = abs(duration) // MICROSECOND
    words = []
    for unit, size in _UNITS.items():
        count, left = divmod(left, size)
        if count:
            words.append(f"{count}{unit}")
    return ("-" if duration < timedelta(0) else "") + ("".join(words) or "0s")


def rfc3339(at: datetime, *, keep_offset: bool = False) -> str:
    """Write an aware instant in whole seconds (cut, not rounded): `2026-01-01T00:05:00Z`.

    Everything of ours is written in UTC; `keep_offset` is for reboot windows, whose readers think in the window's zone.
    Raises ValueError for a naive datetime.
    """
    if at.tzinfo is None:
        raise ValueError("an instant without a time zone cannot be written")
    shown = at if keep_offset else at.astimezone(UTC)
    text = shown.isoformat(timespec="seconds")
    return text.removesuffix("+00:00") + "Z" if text.endswith("+00:00") else text


def parse_rfc3339(text: str) -> datetime:
    """Read an instant with its offset (RFC 3339), as UTC; more than six decimals are cut. Raises ValueError with the remedy."""
    match = _RFC3339.fullmatch(text)
    if match is None:
        if _NO_OFFSET.fullmatch(text):
            raise ValueError(
                f"{text!r} has no offset or no time: write it like 2026-01-31T02:00:00Z or …T02:00:00+01:00"
            )
        raise ValueError(f"{text[:_MAX_TEXT]!r} is not a time: write it like 2026-01-31T02:00:00Z or …T02:00:00+01:00")
    day, clock, fraction, offset = match.groups()
    try:
        return datetime.fromisoformat(f"{day}T{clock}{(fraction or '')[:7]}{offset.upper()}").astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{text!r} is not a time: {error}") from error


def parse_time(text: str, now: datetime) -> datetime:
    """Read an instant (RFC 3339 with offset) or a duration from `now` (aware), as UTC. Raises ValueError with the remedy."""
    if _NO_OFFSET.match(text):
        return parse_rfc3339(text)
    try:
        return now.astimezone(UTC) + parse_duration(text)
    except (ValueError, OverflowError) as error:
        raise ValueError(
            f"{text[:_MAX_TEXT]!r} is no time: write 2026-01-31T02:00:00Z, or a duration from now such as 2h30m"
        ) from error
