"""`lockctl history` and `lockctl audit`: what was done, and the proof that no limit was ever exceeded."""

import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from locksmith.cli import forms, render
from locksmith.cli.call import Call
from locksmith.cli.deadline import Deadline
from locksmith.cli.options import SINCE, Given, Subject, node_names
from locksmith.cli.output import Output, Reported, line
from locksmith.core.durations import rfc3339
from locksmith.errors import Damaged, Throttled, Unavailable

if TYPE_CHECKING:
    from locksmith.core.audit import Finding, Replay
    from locksmith.semaphore.history import Event, Follower

INTERVAL = 1.0
"""Seconds between two looks of --follow."""
SHOWN = 50
"""Lines without --since and --last."""

_STYLES = {
    "failed": "bold red",
    "taken": "bold red",
    "paused": "yellow",
    "held": "yellow",
    "armed": "bold yellow",
    "acquired": "cyan",
    "released": "green",
}


@click.command(cls=Subject)
@click.option("--node", metavar="NODE", shell_complete=node_names, help="Only this node.")
@click.option("--since", type=SINCE, metavar="TIME", help="From then on: 2026-01-31T02:00:00Z, or 2h30m ago.")
@click.option("--last", type=click.IntRange(1), metavar="N", help=f"So many lines; default {SHOWN}, all with --since.")
@click.option("--follow", is_flag=True, help="Go on with what is done from now on, until Ctrl-C or --timeout.")
@click.pass_obj
def history(given: Given, *, node: str | None, since: datetime | None, last: int | None, follow: bool) -> None:
    """Show who took a slot, rebooted, came back as what after how long, failed, was forced or paused, and by whom.

    Of the whole fleet; with --group only that group, with --node that node.
    """
    from locksmith.semaphore.history import Follower

    limit = last or (None if since is not None else SHOWN)
    with Call(given, None) if follow else Call.short(given) as call:
        who = call.node(node).node if node is not None else None
        follower = Follower(call.actor, call.group if call.group_is_explicit else None, who)
        events = follower.begin(since)
        _show(call.out, events[-limit:] if limit is not None else events, follow=follow)
        if follow:
            _follow(call.out, follower, Deadline.after(given.timeout))


def _follow(out: Output, follower: "Follower", end: Deadline) -> None:
    """Until told to stop. An outage that begins meanwhile is told once, and waited for."""
    away = False
    while (left := end.left()) is None or left.total_seconds() >= INTERVAL:
        time.sleep(INTERVAL)
        try:
            _show(out, follower.more(), follow=True)
            away = False
        except (Unavailable, Throttled) as error:
            if not away:
                out.warn(f"no answer, and what is done meanwhile comes later: {error}")
            away = True


def _show(out: Output, events: "tuple[Event, ...]", *, follow: bool) -> None:
    if out.json and follow:
        for event in events:
            out.document({"event": _json(event)})
    elif out.json:
        out.document({"events": [_json(event) for event in events]})
    elif follow:
        for event in events:
            words = (_time(out, event.at), event.group, _who(event), event.act, _what(event))
            line(render.clean("  ".join(filter(None, words))))
    elif not events:
        out.say("nothing was done yet, or it is older than the history")
    else:
        columns = (
            render.Column("TIME"),
            render.Column("GROUP"),
            render.Column("NODE"),
            render.Column("ACT"),
            render.Column("BY", roomy=True),
            render.Column("WHAT", prose=True),
        )
        rows = [
            (
                _time(out, event.at),
                event.group,
                _who(event),
                render.Cell(event.act, _STYLES.get(event.act, "")),
                event.by,
                _what(event),
            )
            for event in events
        ]
        render.show(out, [render.table(columns, rows)])


def _time(out: Output, at: datetime) -> str:
    return render.here(at).strftime("%m-%d %H:%M:%S") if out.pretty else rfc3339(at)


def _who(event: "Event") -> str:
    return event.host or event.node


def _what(event: "Event") -> str:
    """The act in words: the reason, and for what ended how it went."""
    entry = event.entry
    if entry is None or event.act in ("resized", "recounted"):
        number = f"{entry.count} of {entry.slots} slots held" if entry is not None else ""
        return ", ".join(filter(None, (event.reason, number)))
    parts = [event.reason]
    if event.act == "taken":
        parts = [entry.outcome, f"was {entry.phase}"]
    elif entry.outcome:
        parts.insert(0, entry.outcome.replace("_", " "))
    if entry.check:
        parts.append(f"check {entry.check}")
    if entry.came_as:
        parts.append(f"came as {entry.came_as}")
    if entry.waited is not None and entry.waited >= 1:
        parts.append(f"waited {render.span(timedelta(seconds=entry.waited))}")
    parts += [f"{phase} {render.span(seconds)}" for phase, seconds in _phases(event)]
    parts.append(f"{entry.count}/{entry.slots}")
    return ", ".join(filter(None, parts))


def _phases(event: "Event") -> "list[tuple[str, Any]]":
    """How long each phase of a slot that ended took."""
    entry = event.entry
    if entry is None or event.act not in ("released", "taken") or not entry.steps:
        return []
    ends = [*(step.at for step in entry.steps[1:]), entry.at]
    return [(step.phase, max(end - step.at, end - end)) for step, end in zip(entry.steps, ends, strict=True)]


def _json(event: "Event") -> dict[str, Any]:
    entry = event.entry
    told: dict[str, Any] = {
        "at": forms.instant(event.at),
        "act": event.act,
        "by": event.by,
        "group": event.group or None,
        "node": event.node or None,
        "host": event.host or None,
        "reason": event.reason or None,
    }
    if entry is None:
        return told | dict.fromkeys(
            ("seq", "token", "outcome", "check", "from", "to", "came_as", "waited_seconds", "held", "slots", "phases")
        )
    return told | {
        "seq": entry.seq,
        "token": entry.token or None,
        "outcome": entry.outcome or None,
        "check": entry.check or None,
        "from": entry.origin,
        "to": entry.target,
        "came_as": entry.came_as,
        "waited_seconds": entry.waited,
        "held": entry.count,
        "slots": entry.slots,
        "phases": [{"phase": phase, "duration_seconds": span.total_seconds()} for phase, span in _phases(event)],
    }


@click.command(cls=Subject)
@click.option("--since", type=SINCE, metavar="TIME", help="Tell only what was found of then and later, or 2h30m ago.")
@click.pass_obj
def audit(given: Given, since: datetime | None) -> None:
    """Replay the history and prove, or disprove, that no limit was ever exceeded; with --group, of that group only.

    Exit 1 when something is wrong, also when it was long ago: --since passes over what was explained before.
    What the history has forgotten is told, and is no error.
    """
    from locksmith.semaphore.history import audit as examine

    with Call.short(given) as call:
        report = examine(call.actor, call.group if call.group_is_explicit else None, since)
        wrong = sum(finding.disproves for finding in report.findings)
        error = Damaged(f"{wrong} found that {'is' if wrong == 1 else 'are'} wrong") if report.disproved else None
        if call.out.json:
            fields = {
                "limits": [_limit_json(each) for each in report.limits],
                "findings": [_finding_json(each) for each in report.findings],
            }
            call.out.document(fields, error)
        else:
            _show_audit(call.out, report.limits, report.findings)
        if error is not None:
            raise Reported(error)


def _show_audit(out: Output, limits: "tuple[Replay, ...]", findings: "tuple[Finding, ...]") -> None:
    if not limits:
        out.say("no group has a guard yet: there is nothing to replay")
    wrong = {finding.limit for finding in findings if finding.disproves}
    columns = (
        render.Column("LIMIT"),
        render.Column("SINCE"),
        render.Column("CHANGES", right=True),
        render.Column("GRANTS", right=True),
        render.Column("MOST HELD", right=True),
        render.Column("VERDICT", prose=True),
    )
    rows = [
        (
            each.limit,
            "the beginning" if each.whole else (rfc3339(each.since) if each.since else ""),
            str(each.entries),
            str(each.grants),
            str(each.most),
            render.Cell("wrong", "bold red") if each.limit in wrong else _verdict(each),
        )
        for each in limits
    ]
    blocks: list[render.Block] = [render.table(columns, rows)] if rows else []
    told = (
        render.Column("KIND"),
        render.Column("LIMIT"),
        render.Column("CHANGE", right=True),
        render.Column("TIME"),
        render.Column("FOUND", prose=True),
    )
    lines = [
        (
            render.Cell(each.kind, "bold red" if each.disproves else "yellow"),
            each.limit,
            str(each.seq) if each.seq is not None else "",
            rfc3339(each.at) if each.at else "",
            each.text,
        )
        for each in findings
    ]
    render.show(out, [*blocks, render.table(told, lines)] if lines else blocks)


def _verdict(each: "Replay") -> render.Cell:
    if not each.entries:
        return render.Cell("no history yet", "yellow")
    if any(finding.kind == "gap" for finding in each.findings):
        return render.Cell("never exceeded, as far as it is known", "yellow")
    return render.Cell("never exceeded", "green")


def _limit_json(each: "Replay") -> dict[str, Any]:
    return {
        "limit": each.limit,
        "since": forms.instant(each.since),
        "whole": each.whole,
        "changes": each.entries,
        "grants": each.grants,
        "returns": each.returns,
        "most_held": each.most,
    }


def _finding_json(each: "Finding") -> dict[str, Any]:
    return {
        "kind": each.kind,
        "limit": each.limit,
        "wrong": each.disproves,
        "seq": each.seq,
        "at": forms.instant(each.at),
        "node": each.node or None,
        "message": each.text,
    }
