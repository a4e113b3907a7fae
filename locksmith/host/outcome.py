"""How a command can end, as one closed union, and the words for it.

The idea a reader would miss: a command that was not started, was killed or ran out of time is an *outcome*, not an
exception. Each caller decides what it means (a gate: unknown; a hook: failed), and all of them say it in the same words.
"""

import signal
import unicodedata
from dataclasses import dataclass
from datetime import timedelta
from typing import assert_never

from locksmith.core.durations import format_duration

MAX_LINE = 200
"""Characters of one line of foreign output that reach a reason."""


@dataclass(frozen=True, slots=True)
class Finished:
    """It ended by itself. `stdout` and `stderr` hold the end of each, 16 KiB unless the caller asked for more."""

    code: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class Signalled:
    """A signal that we did not send has ended it."""

    number: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class TimedOut:
    """It was still running after `limit`; its process group was ended."""

    limit: timedelta
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The caller asked to stop; its process group was ended."""


@dataclass(frozen=True, slots=True)
class NotStarted:
    """The kernel refused to run it; the reason names the file."""

    reason: str


Outcome = Finished | Signalled | TimedOut | Cancelled | NotStarted


def last_line(*texts: str) -> str:
    """The last line with something in it of the first text that has one, without control characters, at most MAX_LINE."""
    for text in texts:
        for line in reversed(text.splitlines()):
            if clean := printable(line):
                return clean
    return ""


def printable(line: str) -> str:
    """The line without control and format characters (no escape sequence reaches a terminal), at most MAX_LINE."""
    clean = "".join(char for char in line if char == " " or unicodedata.category(char)[0] not in "CZ").strip()
    return clean if len(clean) <= MAX_LINE else clean[: MAX_LINE - 1] + "…"


def describe(outcome: Outcome) -> str:
    """What happened and the last line that the command said, standard error first: `exit code 3: no such host`."""
    match outcome:
        case Finished(code=code):
            words = f"exit code {code}"
        case Signalled(number=number):
            words = f"killed by {signal_name(number)}"
        case TimedOut(limit=limit):
            words = f"no end within {format_duration(limit)}"
        case Cancelled():
            return "cancelled"
        case NotStarted(reason=reason):
            return f"cannot be started: {reason}"
        case _:
            assert_never(outcome)
    said = last_line(outcome.stderr, outcome.stdout)
    return f"{words}: {said}" if said else words


def signal_name(number: int) -> str:
    """`SIGKILL`, or `signal 40` for one without a name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
