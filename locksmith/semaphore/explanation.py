"""The answer to "why does this node not reboot?" as a value, and how an agent's own steps are read.

The one idea a reader would miss: steps come from a record or a file that another program wrote, perhaps a newer or a broken
one; what does not fit is left out, and a step without a sensible state is unknown.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from locksmith.core.steps import SILENT, STEPS
from locksmith.errors import Damaged

Verdict = Literal["not_needed", "waiting", "rebooting", "verifying", "failed", "held", "unknown"]
VERDICTS: tuple[Verdict, ...] = ("not_needed", "waiting", "rebooting", "verifying", "failed", "held", "unknown")
State = Literal["passed", "closed", "unknown"]


@dataclass(frozen=True, slots=True)
class Step:
    """One thing between a staged update and a healthy new boot, as `why --json` shows it."""

    step: str
    name: str | None
    state: State
    kind: str | None = None
    reason: str = ""
    since: datetime | None = None
    until: datetime | None = None
    remedy: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a ticket stands. `ahead` are nodes; `wait` the seconds that `measured` reboots of `median` seconds let expect."""

    position: int
    ahead: tuple[str, ...]
    wait: float | None = None
    median: float | None = None
    measured: int = 0


@dataclass(frozen=True, slots=True)
class Explanation:
    """The answer; the first step that is not passed decides.

    `seen` is when the agent last wrote its record; `silent`: too long ago, so what only it can know is of then. `source`
    "agent": the store was not there to be asked, all of it is the word of the agent on this machine.
    """

    node: str
    host: str | None
    group: str | None
    seen: datetime | None
    verdict: Verdict
    summary: str
    steps: tuple[Step, ...]
    silent: bool = False
    queue: Place | None = None
    source: Literal["store", "agent"] = "store"


def in_order(steps: Iterable[Step]) -> tuple[Step, ...]:
    """As an update meets them."""
    return tuple(sorted(steps, key=lambda step: STEPS.index(step.step) if step.step in STEPS else len(STEPS)))


def first(steps: Iterable[Step]) -> Step | None:
    """The answer: the first that is not passed; None: nothing stands in the way."""
    return next((step for step in steps if step.state != "passed"), None)


def told(raw: Mapping[str, Any]) -> Step:
    """One step of an agent."""
    said = _text(raw, "state")
    state: State = "passed" if said == "passed" else "closed" if said == "closed" else "unknown"
    return Step(
        _text(raw, "step") or "gate",
        _text(raw, "name"),
        state,
        _text(raw, "kind"),
        _text(raw, "reason") or "",
        _moment(raw, "since"),
        _moment(raw, "until"),
        _text(raw, "remedy"),
    )


def _text(raw: Mapping[str, Any], name: str) -> str | None:
    value = raw.get(name)
    return value if isinstance(value, str) else None


def _moment(raw: Mapping[str, Any], name: str) -> datetime | None:
    try:
        value = datetime.fromisoformat(_text(raw, name) or "")
    except ValueError:
        return None
    return value if value.tzinfo is not None else None


def alone(raw: Mapping[str, Any], host: str, now: datetime, problem: str, *, running: bool) -> Explanation:
    """What the agent on this machine says in its status file, when the store does not answer (`problem`).

    Raises Damaged for a file that is not one.
    """
    node, written, steps = _text(raw, "node"), _moment(raw, "time"), raw.get("steps")
    if node is None or written is None or not isinstance(steps, list):
        raise Damaged("not a status of locksmithd")
    found = [told(step) for step in steps if isinstance(step, Mapping)]
    if not any(step.kind == "store" for step in found) and _needs_the_store(found):
        found.append(Step("queue", None, "closed", "store", problem, remedy="lockctl doctor"))
    summary = f"{host}: {_text(raw, 'summary') or 'its agent says nothing'}"
    if not running:
        text = "its agent does not run; this is what it last said"
        found.append(Step("agent", None, "unknown", SILENT, text, written, remedy="systemctl status locksmithd"))
        summary = f"{host}: {text}: {_text(raw, 'summary') or 'nothing'}"
    verdict: Verdict = next((word for word in VERDICTS if word == raw.get("verdict")), "unknown")
    return Explanation(
        node=node,
        host=host,
        group=_text(raw, "group"),
        seen=now if running else written,
        verdict=verdict if running else "unknown",
        summary=summary,
        steps=in_order(found),
        silent=not running,
        source="agent",
    )


def _needs_the_store(steps: Iterable[Step]) -> bool:
    """Whether a slot is still to be taken: who has one needs the store only to go on or to give it back, and says so."""
    return all(step.step not in ("slot", "drain", "reboot", "health") for step in steps)
