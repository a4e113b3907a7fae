"""Values of the semaphore as the JSON and the sentences that lockctl promises: one function a value.

Ids, tokens and revisions are strings, times RFC 3339 in UTC, what is absent is null; an empty text counts as absent.
"""

from datetime import datetime
from typing import TYPE_CHECKING, Any

from locksmith.cli.render import short
from locksmith.core import keys
from locksmith.core.documents import Hold, Pause, Phase
from locksmith.core.durations import rfc3339
from locksmith.semaphore.claiming import Held
from locksmith.semaphore.vigil import Progress

if TYPE_CHECKING:
    from locksmith.semaphore.reading import Halt, PauseLine

AHEAD = 3
"""How many of those in front a sentence names."""

Fields = dict[str, Any]


def instant(at: datetime | None) -> str | None:
    """A time."""
    return None if at is None else rfc3339(at)


def overdue(held: Held, now: datetime) -> bool:
    """Whether a phase takes longer than it should; only a word, nothing acts on it."""
    return held.holder.expected_by is not None and now > held.holder.expected_by


def held(value: Held, now: datetime) -> Fields:
    """A holder."""
    holder = value.holder
    return {
        "node": keys.own_node(value.key),
        "host": holder.host or None,
        "phase": holder.phase,
        "since": instant(holder.since),
        "phase_since": instant(holder.phase_since),
        "expected_by": instant(holder.expected_by),
        "overdue": overdue(value, now),
        "reason": holder.reason or None,
        "by": holder.by,
        "token": str(value.token),
        "boot_id": holder.boot or None,
    }


def paused(scope: str, pause: Pause | Hold | None) -> Fields | None:
    """A pause of the fleet, a group or a node."""
    if pause is None:
        return None
    return {
        "scope": scope,
        "by": pause.by,
        "reason": pause.reason,
        "since": instant(pause.since),
        "until": instant(pause.until),
    }


def waiting(step: Progress) -> str:
    """What a waiting command says: the reason, and who is in front."""
    if not step.ahead:
        return step.reason
    named = ", ".join(short(node) for node in step.ahead[:AHEAD])
    more = f" and {len(step.ahead) - AHEAD} more" if len(step.ahead) > AHEAD else ""
    return f"{step.reason}; ahead: {named}{more}"


def doing(held: Held) -> str:
    """What a holder does, in a word or two."""
    return {Phase.ARMED: "rebooting", Phase.MAINTENANCE: "held by hand"}.get(
        Phase(held.holder.phase), held.holder.phase
    )


def pause_line(line: "PauseLine | None") -> Fields | None:
    """The pause in force of a group."""
    if line is None:
        return None
    return {
        "scope": line.scope,
        "by": line.by,
        "reason": line.reason,
        "since": instant(line.since),
        "until": instant(line.until),
    }


def halt(value: "Halt | None") -> Fields | None:
    """What halts a group."""
    if value is None:
        return None
    return {"since": instant(value.since), "nodes": list(value.nodes), "reason": value.reason}
