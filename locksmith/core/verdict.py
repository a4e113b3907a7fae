"""How the answers of gates and health checks look, and how several combine.

Gates before a reboot and health after it are one axis: *open* means "go on" before and "well" after. Unknown is the
safe side everywhere: it is never open.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Open:
    """Nothing stands in the way; for health: well. `until` is when that is known to end."""

    reason: str = ""
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Closed:
    """It stands in the way; for health: not well. `retry_at` is when that may end, and people are told so.

    `again`: ask after so long already, for it may end before; that is nobody's business but the agent's.
    """

    reason: str
    retry_at: datetime | None = None
    again: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Unknown:
    """No answer could be had: counts as closed, and is shown as unknown. `retry_at` and `again` are as in Closed."""

    reason: str
    retry_at: datetime | None = None
    again: timedelta | None = None


Verdict = Open | Closed | Unknown


@dataclass(frozen=True, slots=True)
class Answer:
    """What one named check said. `kind` is the word of `blocked` (window, gate, clock …)."""

    name: str
    kind: str
    verdict: Verdict
    remedy: str = ""


def blockers(answers: Iterable[Answer]) -> tuple[Answer, ...]:
    """The answers that are not open, closed ones before unknown ones."""
    return tuple(
        sorted(
            (answer for answer in answers if not isinstance(answer.verdict, Open)),
            key=lambda answer: isinstance(answer.verdict, Unknown),
        )
    )
