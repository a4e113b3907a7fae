"""`lockctl why`: what a node does, or the first thing that keeps it from rebooting."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from locksmith.cli import forms, render
from locksmith.cli.call import Call
from locksmith.cli.options import NODE, Given, Subject

if TYPE_CHECKING:
    from locksmith.semaphore.reading import Explanation, Step

VERDICTS = {"failed": "bold red", "unknown": "red", "waiting": "yellow", "not_needed": "green"}
STATES = {"passed": "green", "closed": "yellow", "unknown": "red"}


@click.command(cls=Subject)
@NODE
@click.pass_obj
def why(given: Given, node: str | None) -> None:
    """Say why a node does not reboot now, or what it is doing; without NODE, this machine."""
    from locksmith.semaphore.reading import why as explain

    with Call.short(given) as call:
        found = explain(call.actor, call.node(node, warn=False))
        if call.out.json:
            call.out.document(_json(found))
            return
        render.show(call.out, _blocks(call, found, call.actor.clock.wall()))


def _json(found: "Explanation") -> dict[str, Any]:
    return {
        "node": found.node,
        "host": found.host,
        "group": found.group,
        "seen": forms.instant(found.seen),
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
    }


def _blocks(call: Call, found: "Explanation", now: datetime) -> list[render.Block]:
    seen = f", seen {render.ago(found.seen, now)} ago" if found.seen else ""
    group = f"group {found.group}" if found.group else "no group"
    head = f"{found.host or found.node} ({render.node_id(call.out, found.node)}, {group}{seen})"
    shown: list[render.Block] = [
        render.Line(head, "bold"),
        render.Line(found.summary, VERDICTS.get(found.verdict, "")),
    ]
    columns = (
        render.Column("STEP"),
        render.Column("NAME"),
        render.Column("STATE"),
        render.Column("FOR", right=True),
        render.Column("REASON", prose=True),
    )
    rows = [_row(step, now) for step in found.steps]
    return [*shown, render.table(columns, rows)] if rows else shown


def _row(step: "Step", now: datetime) -> tuple[render.Cell | str, ...]:
    ends = f" ({render.until(step.until, now)})" if step.until else ""
    remedy = f"; {step.remedy}" if step.remedy and step.state != "passed" else ""
    state = render.Cell(step.state, STATES.get(step.state, ""))
    return step.step, step.name or "", state, render.ago(step.since, now), f"{step.reason}{ends}{remedy}"
