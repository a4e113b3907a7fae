"""`lockctl windows`: when reboots may begin, for the configured windows or for one that is only asked about.

The idea a reader would miss: every instant stands on the clock of its window, because that is how its owner thinks of it,
and in UTC beside it, because that is what everybody else can compare with.
"""

from datetime import UTC, datetime

import click

from locksmith.cli import render
from locksmith.cli.call import Call
from locksmith.cli.options import TIME, Given, Subject
from locksmith.cli.output import Json, Reported
from locksmith.core.durations import rfc3339
from locksmith.core.windows import ClosedUntil, OpenUntil, Span, Window, is_open, next_openings, parse_window
from locksmith.errors import UsageError, WindowClosed

MOST = 1000


@click.command(cls=Subject)
@click.option("--at", type=TIME, metavar="TIME", help="Instead of now: 2026-01-31T02:00:00Z, or 2h30m from now.")
@click.option(
    "--next", "count", type=click.IntRange(0, MOST), default=3, metavar="N", help="Openings to show; default 3."
)
@click.option("--start", metavar="START", help="Ask about this window instead: 23:00, or 'Mon,Thu 23:00'.")
@click.option("--length", metavar="DURATION", help="Its length, such as 1h30m.")
@click.option("--timezone", metavar="ZONE", help="Its time zone: an IANA name, local, or UTC (default).")
@click.option("--check", is_flag=True, help="Exit 3 when it is not open.")
@click.pass_obj
def windows(
    given: Given,
    *,
    at: datetime | None,
    count: int,
    start: str | None,
    length: str | None,
    timezone: str | None,
    check: bool,
) -> None:
    """Show whether reboots may begin now, and the next openings."""
    with Call.short(given) as call:
        chosen = _given_window(start, length, timezone) or call.config.windows
        moment = at or datetime.now(UTC)
        try:
            state = is_open(chosen, moment)
            coming = next_openings(chosen, moment, count)
        except ValueError as error:
            raise UsageError(f"--at: {error}") from error
        refusal = WindowClosed("no reboot window is open") if check and isinstance(state, ClosedUntil) else None
        if call.out.json:
            call.out.document(_json(chosen, moment, state, coming), refusal)
        else:
            render.show(call.out, _blocks(chosen, moment, state, coming))
        if refusal is not None:
            raise Reported(refusal)


def _given_window(start: str | None, length: str | None, timezone: str | None) -> tuple[Window, ...]:
    if start is None and length is None and timezone is None:
        return ()
    if start is None or length is None:
        raise UsageError("a window needs --start and --length, such as --start 'Thu 23:00' --length 1h30m")
    try:
        return (parse_window("given", start, length, timezone or "UTC"),)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _shown(at: datetime, chosen: tuple[Window, ...]) -> datetime:
    """On the clock of the windows, when they share one."""
    zones = {window.timezone: window.zone for window in chosen}
    return at.astimezone(next(iter(zones.values()))) if len(zones) == 1 else at.astimezone(UTC)


def _json(chosen: tuple[Window, ...], at: datetime, state: OpenUntil | ClosedUntil, coming: tuple[Span, ...]) -> Json:
    closes = state.end if isinstance(state, OpenUntil) else None
    return {
        "at": rfc3339(_shown(at, chosen), keep_offset=True),
        "windows": [
            {
                "name": window.name,
                "start": str(window.start),
                "length_seconds": window.length.total_seconds(),
                "timezone": window.timezone,
            }
            for window in chosen
        ],
        "open": isinstance(state, OpenUntil),
        "closes": None if closes is None else rfc3339(closes, keep_offset=True),
        "next": [
            {
                "start": rfc3339(span.start, keep_offset=True),
                "end": None if span.end is None else rfc3339(span.end, keep_offset=True),
            }
            for span in coming
        ],
    }


def _blocks(
    chosen: tuple[Window, ...], at: datetime, state: OpenUntil | ClosedUntil, coming: tuple[Span, ...]
) -> list[render.Block]:
    if not chosen:
        return [render.Line("open: no windows are configured, so reboots may begin at any time", "green")]
    when = _clock(_shown(at, chosen))
    if isinstance(state, ClosedUntil):
        first = render.Line(
            f"closed at {when}, opens {_clock(state.start)}{_too(state.start)} ({render.until(state.start, at)})",
            "yellow",
        )
    elif state.end is None:
        first = render.Line(f"open at {when}, and for more than a year on", "green")
    else:
        ends = f"closes {_clock(state.end)}{_too(state.end)} ({render.until(state.end, at)})"
        first = render.Line(f"open at {when}, {ends}", "green")
    columns = (
        render.Column("OPENS"),
        render.Column("CLOSES"),
        render.Column("LENGTH"),
        render.Column("OPENS IN UTC"),
    )
    rows = [
        (
            _clock(span.start),
            "" if span.end is None else _clock(span.end),
            _length(span),
            f"{span.start.astimezone(UTC):%a %H:%M}" if span.start.utcoffset() else "",
        )
        for span in coming
    ]
    return [first, render.table(columns, rows)] if rows else [first]


def _length(span: Span) -> str:
    return "" if span.end is None else render.span(span.end - span.start)


def _too(at: datetime) -> str:
    """The same in UTC, where the window's clock is another."""
    return f" = {at.astimezone(UTC):%a %H:%M} UTC" if at.utcoffset() else ""


def _clock(at: datetime) -> str:
    offset = at.strftime("%z")
    return f"{at:%a %Y-%m-%d %H:%M} {'UTC' if offset == '+0000' else f'{offset[:3]}:{offset[3:5]}'}"
