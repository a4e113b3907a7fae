"""lockctl in this process on a SQLite store, and how it may end."""

import io
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from locksmith.cli.program import run

EXITS = {0, 1, 2, 3, 4, 5, 6, 130}
"""docs/reference.md, "Exit codes"."""


@contextmanager
def captured() -> Iterator[tuple[io.TextIOWrapper, io.TextIOWrapper]]:
    """Standard output and error as the program has them: UTF-8, and nothing that cannot be shown."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (
        io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="backslashreplace") for _ in range(2)
    )
    try:
        yield sys.stdout, sys.stderr
    finally:
        sys.stdout, sys.stderr = before


def outcome(words: Sequence[str]) -> tuple[int, str]:
    """Exit code and everything that was said."""
    with captured() as streams:
        code = run(words)
        said = []
        for stream in streams:
            stream.flush()
            said.append(stream.buffer.getvalue().decode())  # type: ignore[attr-defined]
    return code, "".join(said)


def lockctl(*words: str) -> None:
    """Run it, and judge how it ends."""
    code, told = outcome(words)
    assert code in EXITS
    assert "internal error" not in told, (words, told)
    assert "Traceback" not in told
    if "--color" not in words:
        assert "\x1b" not in told, (words, told)
    if "--json" not in words:
        assert "\0" not in told
        assert "\u202e" not in told
