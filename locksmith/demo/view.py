"""What the demo looks like: a live table on a terminal, plain lines elsewhere, and the summary at the end.

On a terminal what happens is written above the table and stays; the table itself vanishes at the end, so that the summary
has the screen. What the agents say of themselves is shown in their own words, cut to the width that there is.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from locksmith.demo.fleet import Picture, View
from locksmith.demo.hosts import Row
from locksmith.demo.plan import BEFORE, TARGET
from locksmith.demo.proof import Report

FRAME = 0.1
"""Seconds between two pictures."""
FIXED = 8
"""Lines of the screen that are no rows: the head, the titles, and some of what happened above."""
STYLES = {
    "queued": "yellow",
    "blocked": "yellow",
    "draining": "cyan",
    "arming": "cyan",
    "rebooting": "bold yellow",
    "down": "bold yellow",
    "killed": "bold magenta",
    "starting": "blue",
    "verifying": "blue",
    "releasing": "blue",
    "failed": "bold red",
    "undoing": "magenta",
    "stuck": "bold red",
}
QUIET_STATES = ("steady",)


class Lines:
    """For a pipe or a log: one line for each thing that happens, nothing repainted."""

    def __init__(self, stream: TextIO) -> None:
        """Write there."""
        self._stream = stream

    def told(self, seconds: float, text: str) -> None:
        """See View."""
        self._write(f"{seconds:6.1f}s  * {text}")

    def moved(self, seconds: float, row: Row) -> None:
        """See View."""
        self._write(f"{seconds:6.1f}s    {row.host}  {row.version:9}  {row.state:9}  {row.why}")

    def see(self, picture: Picture) -> None:
        """See View."""

    def _write(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()


class Silence:
    """For nobody."""

    def told(self, seconds: float, text: str) -> None:
        """See View."""

    def moved(self, seconds: float, row: Row) -> None:
        """See View."""

    def see(self, picture: Picture) -> None:
        """See View."""


class Screen:
    """For a terminal."""

    def __init__(self, live: Live) -> None:
        """`live` is started."""
        self._live = live
        self._next = 0.0

    def told(self, seconds: float, text: str) -> None:
        """See View."""
        line = Text.assemble((f"{seconds:5.1f}s  ", "dim"), text, no_wrap=True, overflow="ellipsis")
        self._live.console.print(line)

    def moved(self, seconds: float, row: Row) -> None:
        """See View: the picture shows it."""

    def see(self, picture: Picture) -> None:
        """See View."""
        if picture.seconds < self._next:
            return
        self._next = picture.seconds + FRAME
        size = self._live.console.size
        self._live.update(drawn(picture, size.width, size.height), refresh=True)


@contextmanager
def screen(console: Console) -> Iterator[View]:
    """A screen that repaints in place until the context ends."""
    with Live(console=console, auto_refresh=False, transient=True, vertical_overflow="crop") as live:
        yield Screen(live)


def drawn(picture: Picture, width: int, height: int) -> Group:
    """The whole picture for a terminal of this size."""
    rows, hidden = _fitting(picture.rows, max(4, height - FIXED))
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim", width=width - 1)
    table.add_column("NODE", no_wrap=True)
    table.add_column("VERSION", no_wrap=True, min_width=len(f"{BEFORE} > {TARGET}"))
    table.add_column("STATE", no_wrap=True, min_width=9)
    table.add_column("WHY", no_wrap=True, overflow="ellipsis", ratio=1)
    for row in rows:
        style = STYLES.get(row.state, "green" if row.version == TARGET else "")
        dim = "dim" if row.state in QUIET_STATES else ""
        table.add_row(row.host, _version(row), Text(row.state, style=style), Text(row.why, style=dim))
    below = [Text(f"and {hidden} more that are steady", style="dim")] if hidden else []
    return Group(Text(""), _head(picture, width), table, *below)


def _fitting(rows: Sequence[Row], room: int) -> tuple[list[Row], int]:
    """As many rows as there is room for: steady ones go first, the order stays."""
    surplus = len(rows) - room
    kept: list[Row] = []
    hidden = 0
    for row in rows:
        if hidden < surplus and row.state in QUIET_STATES:
            hidden += 1
        else:
            kept.append(row)
    return kept, hidden


def _version(row: Row) -> Text:
    return Text(row.version, style="green" if row.version == TARGET else "")


def _head(picture: Picture, width: int) -> Text:
    settings = picture.settings
    dots = "●" * picture.out + "○" * max(0, settings.slots - picture.out)
    head = Text(no_wrap=True, overflow="ellipsis")
    head.append(f"{picture.seconds:5.1f}s  ", style="dim")
    head.append(dots, style="bold yellow" if picture.out <= settings.slots else "bold red")
    head.append(f" {picture.out} of {settings.slots} out of service (most {picture.most})  ")
    head.append(f"{picture.updated}/{settings.nodes} updated  ", style="green")
    if picture.away:
        head.append("store away", style="bold red")
    elif any(row.state == "failed" for row in picture.rows):
        head.append("group halted", style="bold red")
    else:
        head.append(picture.store, style="dim")
    if width >= 100:  # noqa: PLR2004 - the rest has room there
        head.append(f"  {picture.requests} requests  seed {settings.seed}", style="dim")
    return head


def summary(report: Report) -> Iterator[tuple[str, str]]:
    """The lines of the end, each with its style."""
    yield "", ""
    yield ("proved" if report.proved else "NOT PROVED"), ("bold green" if report.proved else "bold red")
    for claim in report.claims:
        yield f"  {'ok' if claim.holds else 'NO'}  {claim.text}", "" if claim.holds else "bold red"
    for text in report.missing:
        yield f"  NO  {text}", "bold red"
    total = sum(report.requests.values())
    each = f", {total / report.reboots:.0f} a reboot" if report.reboots else ""
    parts = ", ".join(f"{count} {_plural(op, count)}" for op, count in report.requests.items())
    yield f"  {total} requests{each}: {parts}", "dim"
    yield f"  {report.seconds:.1f} s on {report.store}, --seed {report.settings.seed}", "dim"


def _plural(op: str, count: int) -> str:
    name = {"watch": "long poll"}.get(op, op)
    return name if count == 1 else f"{name}s"
