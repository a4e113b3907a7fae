"""What the chapters of docs/performance.md are written with: tables, figures for people, drawings."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

Told = dict[str, Any]
NAMES = {"sqlite": "SQLite", "etcd": "etcd", "consul": "Consul"}
TOOLS = {"etcd": "etcdctl lock", "consul": "consul lock -n 2"}
PEERS = ("Flatcar locksmith", "airlock + zincati")


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table of Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def number(value: float) -> str:
    """Three digits, thousands apart."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def size(value: float) -> str:
    """Bytes for people."""
    for unit, scale in (("MB", 1e6), ("kB", 1e3)):
        if value >= scale:
            return f"{number(value / scale)} {unit}"
    return f"{value:.0f} bytes"


def milliseconds(value: float) -> str:
    """In brackets: of this machine."""
    return f"({number(value * 1000)} ms)"


def drawing(folder: Path, name: str, told: str) -> str:
    """A line that shows it."""
    return f"![{told}]({folder.name}/{name}.svg)"
