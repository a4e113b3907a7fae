"""Tables and words for people: drawn with rich on a terminal, as plain columns in a pipe.

The ideas a reader would miss. What is shown comes from a store that others write, so control characters are taken out
before anything reaches a terminal. And a pipe gets whole ids and whole sentences: only a terminal has a width to fit into.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from locksmith.cli.output import Output, line

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

SHORT_ID = 8
"""Digits of an id on a terminal: as many as NODE needs."""
_MACHINE = re.compile(r"[0-9a-f]{32}")
GAP = "  "
LEGIBLE = 28
"""Columns that prose should have, where there are as many on the terminal."""
SHORTEST = 20
"""Columns to which a name is cut for that, at most."""
ROOM = 110
"""Columns of a terminal below which it is narrow."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One text of a table; `style` is a style of rich, used on terminals only."""

    text: str
    style: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """`prose` may be wrapped on a terminal, other columns keep to one line; `roomy` ones are left out on a narrow one."""

    title: str
    prose: bool = False
    right: bool = False
    roomy: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """A sentence of its own."""

    text: str
    style: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Columns and rows; columns that are empty in every row are left out."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def filled(self, width: int | None = None) -> "Table":
        """Without the empty columns, and on a narrow terminal without the roomy ones."""
        narrow = width is not None and width < ROOM
        used = [
            place
            for place, column in enumerate(self.columns)
            if any(row[place].text for row in self.rows) and not (column.roomy and narrow)
        ]
        return Table(
            tuple(self.columns[place] for place in used),
            tuple(tuple(row[place] for place in used) for row in self.rows),
        )


Block = Line | Table

PHASES = {
    "acquired": "cyan",
    "draining": "cyan",
    "armed": "bold yellow",
    "verifying": "blue",
    "failed": "bold red",
    "maintenance": "magenta",
}
VERDICTS = {"pass": "green", "warn": "yellow", "fail": "bold red"}


def table(columns: Sequence[Column], rows: Iterable[Sequence[Cell | str | None]]) -> Table:
    """A table of texts; None is an empty cell."""
    return Table(tuple(columns), tuple(tuple(_cell(cell) for cell in row) for row in rows))


def _cell(cell: Cell | str | None) -> Cell:
    if isinstance(cell, Cell):
        return Cell(clean(cell.text), cell.style)
    return Cell(clean(cell or ""))


def clean(text: str) -> str:
    """The text without characters that a terminal would obey."""
    return "".join("?" if unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Zl", "Zp") else letter for letter in text)


def node_id(out: Output, node: str) -> str:
    """An id as far as it is needed: whole in a pipe, and whole when it is a name that somebody chose."""
    return short(node) if out.pretty else node


def short(node: str) -> str:
    """The first digits of a machine's id; NODE may be given so. A name that somebody chose stays as it is."""
    return node[:SHORT_ID] if _MACHINE.fullmatch(node) else node


def name(host: str | None, node: str) -> str:
    """How a node is called in a sentence."""
    return clean(host or node)


def span(duration: timedelta) -> str:
    """A duration as people say it: its two largest units, `3d4h`, `12m`, `40s`."""
    seconds = int(abs(duration).total_seconds())
    sign = "-" if duration < timedelta(0) and seconds else ""
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if days:
        rest = hours % 24
        return f"{sign}{days}d{rest}h" if rest else f"{sign}{days}d"
    if hours:
        rest = minutes % 60
        return f"{sign}{hours}h{rest:02}m" if rest else f"{sign}{hours}h"
    if minutes:
        return f"{sign}{minutes}m"
    return f"{sign}{seconds}s"


def here(at: datetime) -> datetime:
    """On this machine's clock; the first and the last instants, which have no year there, as they are."""
    try:
        return at.astimezone()
    except OverflowError:
        return at


def ago(then: datetime | None, now: datetime) -> str:
    """How long something has lasted; empty when nobody knows."""
    return "" if then is None else span(max(now - then, timedelta(0)))


def until(then: datetime | None, now: datetime) -> str:
    """`in 5m`, or `5m late`."""
    if then is None:
        return ""
    return f"in {span(then - now)}" if then >= now else f"{span(now - then)} late"


def show(out: Output, blocks: Sequence[Block]) -> None:
    """Write them to standard output."""
    if not out.pretty:
        for text in plain(blocks):
            line(text)
        return
    console = _console(out)
    for block in blocks:
        console.print(_drawn(block, console.width))


def plain(blocks: Sequence[Block]) -> Iterator[str]:
    """Columns padded with blanks, nothing cut, nothing drawn."""
    for block in blocks:
        if isinstance(block, Line):
            yield clean(block.text)
            continue
        filled = block.filled()
        grid = [[column.title for column in filled.columns], *([cell.text for cell in row] for row in filled.rows)]
        widths = [max(_width(row[place]) for row in grid) for place in range(len(filled.columns))]
        for row in grid:
            padded = [
                _pad(text, width, right=column.right)
                for text, width, column in zip(row, widths, filled.columns, strict=True)
            ]
            yield GAP.join(padded).rstrip()


def _width(text: str) -> int:
    """Cells on a terminal: wide characters count twice, combining ones not at all."""
    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in text
    )


def _pad(text: str, width: int, *, right: bool) -> str:
    blanks = " " * (width - _width(text))
    return blanks + text if right else text + blanks


def _console(out: Output) -> "Console":
    from rich.console import Console

    return Console(
        highlight=False,
        no_color=not out.colored,
        color_system="auto" if out.colored else None,  # else bold and dim would still be written
        force_terminal=out.color == "always" or None,
        soft_wrap=False,
    )


def _drawn(block: Block, width: int) -> "RenderableType":
    from rich.table import Table as Drawn
    from rich.text import Text

    if isinstance(block, Line):
        return Text(clean(block.text), style=block.style)
    filled = block.filled(width)
    drawn = Drawn(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", show_edge=False)
    for column, most in zip(filled.columns, _widths(filled, width), strict=True):
        drawn.add_column(
            column.title,
            no_wrap=not column.prose,
            overflow="fold" if column.prose else "ellipsis",
            justify="right" if column.right else "left",
            max_width=most,
        )
    for row in filled.rows:
        drawn.add_row(*(Text(cell.text, style=cell.style) for cell in row))
    return drawn


def _widths(filled: Table, width: int) -> list[int | None]:
    """How wide each column may be; None for prose, which has the rest.

    Long names are cut before a sentence is squeezed: what is said about a node is worth more than the end of its name.
    """
    natural = [
        max(_width(text) for text in (column.title, *(row[place].text for row in filled.rows)))
        for place, column in enumerate(filled.columns)
    ]
    prose = sum(min(length, LEGIBLE) for length, column in zip(natural, filled.columns, strict=True) if column.prose)
    fixed = [0 if column.prose else length for length, column in zip(natural, filled.columns, strict=True)]
    room = width - prose - len(GAP) * len(fixed)
    while sum(fixed) > room and max(fixed) > SHORTEST:
        fixed[fixed.index(max(fixed))] -= 1
    return [None if column.prose else length for length, column in zip(fixed, filled.columns, strict=True)]


class Screen(Protocol):
    """Where a picture is shown again and again."""

    def show(self, blocks: Sequence[Block]) -> None:
        """Put this picture in the place of the last one."""


@dataclass(slots=True)
class _Log:
    """A pipe: each picture below the last one, with a blank line between."""

    first: bool = True

    def show(self, blocks: Sequence[Block]) -> None:
        if not self.first:
            line("")
        self.first = False
        for text in plain(blocks):
            line(text)


@contextmanager
def screen(out: Output) -> Iterator[Screen]:
    """A screen that repaints in place on a terminal; the last picture stays when it is over."""
    if not out.pretty:
        yield _Log()
        return
    from rich.console import Group
    from rich.live import Live

    with Live(console=_console(out), auto_refresh=False, transient=False, vertical_overflow="crop") as live:

        class Painted:
            def show(self, blocks: Sequence[Block]) -> None:
                live.update(Group(*(_drawn(block, live.console.width) for block in blocks)), refresh=True)

        yield Painted()
