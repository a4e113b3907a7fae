"""`lockctl why`: what a node does, or the first thing that keeps it from rebooting.

The one idea a reader would miss: with the store away there is still an answer on the node itself, from the status file of its
agent; that the store is away is part of it, and no failure of this command.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from locksmith.cli import forms, local, render
from locksmith.cli.call import Call
from locksmith.cli.deadline import OutOfTime
from locksmith.cli.options import NODE, Given, Subject
from locksmith.core.durations import rfc3339
from locksmith.errors import Damaged, LocksmithError, Throttled, Unavailable

if TYPE_CHECKING:
    from locksmith.semaphore.explanation import Explanation, Step

VERDICTS = {
    "failed": "bold red",
    "unknown": "red",
    "waiting": "yellow",
    "held": "magenta",
    "rebooting": "bold yellow",
    "verifying": "blue",
    "not_needed": "green",
}
STATES = {"passed": "green", "closed": "yellow", "unknown": "red"}
UNSEEN = ("update", "window", "gate", "drain", "reboot", "health")
"""The steps that only the agent can know."""


@click.command(cls=Subject)
@NODE
@click.pass_obj
def why(given: Given, node: str | None) -> None:
    """Say why a node does not reboot now, or what it is doing; without NODE, this machine.

    Every step between a staged update and a healthy new boot, in order; the first that is not passed is the answer. With
    the store away it still answers about this machine, from what its agent says.
    """
    with Call.short(given) as call:
        found = _explain(call, node)
        if call.out.json:
            call.out.document(_json(found))
            return
        render.show(call.out, _blocks(call, found, datetime.now(UTC)))


def _explain(call: Call, node: str | None) -> "Explanation":
    from locksmith.semaphore.reading import why as explain

    try:
        return explain(call.actor, call.node(node, warn=False))
    except (Unavailable, Throttled, OutOfTime) as error:
        here = _here(call, node, error)
        if here is None:
            raise
        return here


def _here(call: Call, node: str | None, error: LocksmithError) -> "Explanation | None":
    """What the agent on this machine says, when it is this machine that is meant and it has said anything."""
    from locksmith.host.identity import host_name
    from locksmith.semaphore.explanation import alone

    own, host = call.own_id(), host_name()
    mine = (own, host) if node is None or len(node) < render.SHORT_ID else (own, host, own[: len(node)])
    if node is not None and node not in mine:
        return None
    run_dir = Path(call.config.node.run_dir)
    said = local.status(run_dir)
    if said is None:
        return None
    problem = f"{call.where} does not answer in time" if isinstance(error, OutOfTime) else str(error)
    try:
        running = local.agent_pid(run_dir) is not None
    except OSError:
        running = True  # not to be seen from here: its word stands
    try:
        return alone(said, host, datetime.now(UTC), problem, running=running)
    except Damaged:
        return None


def _json(found: "Explanation") -> dict[str, Any]:
    place = found.queue
    return {
        "node": found.node,
        "host": found.host,
        "group": found.group,
        "seen": forms.instant(found.seen),
        "silent": found.silent,
        "source": found.source,
        "verdict": found.verdict,
        "summary": found.summary,
        "steps": [
            {
                "step": step.step,
                "name": step.name or None,
                "state": step.state,
                "kind": step.kind or None,
                "reason": step.reason or None,
                "since": forms.instant(step.since),
                "until": forms.instant(step.until),
                "remedy": step.remedy or None,
            }
            for step in found.steps
        ],
        "queue": None
        if place is None
        else {
            "position": place.position,
            "ahead": list(place.ahead),
            "expected_wait_seconds": None if place.wait is None else round(place.wait),
            "median_reboot_seconds": None if place.median is None else round(place.median),
            "measured_reboots": place.measured,
        },
    }


def _blocks(call: Call, found: "Explanation", now: datetime) -> list[render.Block]:
    seen = f", seen {render.ago(found.seen, now)} ago" if found.seen else ""
    group = f"group {found.group}" if found.group else "no group"
    named = found.host or found.node
    ident = "" if named == found.node else f"{render.node_id(call.out, found.node)}, "
    shown: list[render.Block] = [
        render.Line(f"{named} ({ident}{group}{seen})", "bold"),
        render.Line(found.summary, VERDICTS.get(found.verdict, "")),
    ]
    if found.source == "agent":
        shown.append(render.Line("The store does not answer: this is what the agent on this machine says.", "red"))
    elif found.silent and any(step.step in UNSEEN for step in found.steps):
        own = ", ".join(dict.fromkeys(step.step for step in found.steps if step.step in UNSEEN))
        shown.append(render.Line(f"Of then, not of now: {own}.", "red"))
    rows = [_row(step, now) for step in found.steps]
    return [*shown, render.Line(""), render.table(_COLUMNS, rows)] if rows else shown


_COLUMNS = (
    render.Column("STEP"),
    render.Column("NAME"),
    render.Column("STATE"),
    render.Column("FOR", right=True),
    render.Column("REASON", prose=True),
)


def _row(step: "Step", now: datetime) -> tuple[render.Cell | str, ...]:
    ends = f"until {rfc3339(step.until)}, {render.until(step.until, now)}" if step.until else ""
    remedy = f"to do: {step.remedy}" if step.remedy and step.state != "passed" else ""
    state = render.Cell(step.state, STATES.get(step.state, ""))
    return (
        step.step,
        step.name or "",
        state,
        render.ago(step.since, now),
        "; ".join(filter(None, (step.reason, ends, remedy))),
    )
