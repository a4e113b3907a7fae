"""`lockctl status`: a group, or all of them, at one instant; once, or again and again."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from locksmith.cli import forms, render
from locksmith.cli.call import Call
from locksmith.cli.deadline import Deadline
from locksmith.cli.options import Given, Subject
from locksmith.cli.output import Output
from locksmith.errors import StoreError, Throttled, Unavailable

if TYPE_CHECKING:
    from locksmith.semaphore.reading import GroupStatus, HolderLine, StoreSeen

INTERVAL = 1.0
"""Seconds between two looks of --watch."""


@dataclass(frozen=True, slots=True)
class Picture:
    """What one look saw."""

    store: "StoreSeen"
    prefix: str
    groups: tuple["GroupStatus", ...]
    now: datetime
    every: bool


@click.command(cls=Subject)
@click.option("--all", "every", is_flag=True, help="Every group.")
@click.option("--watch", is_flag=True, help="Again whenever something changes, until Ctrl-C or --timeout.")
@click.pass_obj
def status(given: Given, every: bool, watch: bool) -> None:
    """Show slots, who holds them, who waits in which order, and what stops the group."""
    if watch:
        _watch(given, every=every)
        return
    with Call.short(given) as call:
        picture = _look(call, every=every)
        if call.out.json:
            call.out.document(as_json(picture))
        else:
            render.show(call.out, list(blocks(call.out, picture)))


def _look(call: Call, *, every: bool) -> Picture:
    from locksmith.semaphore.reading import status as one
    from locksmith.semaphore.reading import status_all, store_seen

    seen = store_seen(call.actor)
    groups = status_all(call.actor) if every else (one(call.actor, call.group),)
    return Picture(seen, call.settings.url.prefix, groups, call.actor.clock.wall(), every)


def _watch(given: Given, *, every: bool) -> None:
    """Look until told to stop. An outage that begins meanwhile is shown like everything else, and waited for."""
    end = Deadline.after(given.timeout)
    last: object = None
    with Call(given, None) as call, render.screen(call.out) as screen:
        while True:
            found: Picture | StoreError
            try:
                found = _look(call, every=every)
            except (Unavailable, Throttled) as error:
                if last is None:
                    raise
                found = error
            facts = str(found) if isinstance(found, StoreError) else as_json(found)
            if facts != last or (call.out.pretty and not call.out.json):
                _frame(call.out, screen, found)
            last = facts
            left = end.left()
            if left is not None and left.total_seconds() < INTERVAL:
                return
            time.sleep(INTERVAL)


def _frame(out: Output, screen: render.Screen, found: Picture | StoreError) -> None:
    if out.json:
        if isinstance(found, StoreError):
            out.document({}, found)
        else:
            out.document(as_json(found))
    elif isinstance(found, StoreError):
        screen.show([render.Line(f"no answer: {found}", "red")])
    else:
        screen.show(list(blocks(out, found)))


def as_json(picture: Picture) -> dict[str, Any]:
    """The document of `status`, or of `status --all`."""
    seen = picture.store
    store = {
        "kind": seen.kind,
        "id": seen.id,
        "prefix": picture.prefix,
        "members": seen.members,
        "version": seen.version,
        "registered_nodes": None,
    }
    groups = [_group_json(group) for group in picture.groups]
    return {"store": store, "groups": groups} if picture.every else {"store": store, **groups[0]}


def _group_json(group: "GroupStatus") -> dict[str, Any]:
    return {
        "group": group.group,
        "exists": group.exists,
        "slots": group.slots,
        "held": group.held,
        "free": group.free,
        "failed": group.failed,
        "max_failed": group.max_failed,
        "paused": forms.pause_line(group.paused),
        "halted": forms.halt(group.halted),
        "holders": [_holder_json(line) for line in group.holders],
        "queue": [
            {
                "node": line.node,
                "host": line.host,
                "position": line.position,
                "since": forms.instant(line.since),
                "reason": line.reason or None,
                "by": line.by,
            }
            for line in group.queue
        ],
        "waiting_unqueued": group.waiting_unqueued,
    }


def _holder_json(line: "HolderLine") -> dict[str, Any]:
    return {
        "node": line.node,
        "host": line.host,
        "phase": line.phase,
        "since": forms.instant(line.since),
        "phase_since": forms.instant(line.phase_since),
        "expected_by": forms.instant(line.expected_by),
        "overdue": line.overdue,
        "reason": line.reason or None,
        "by": line.by,
        "token": line.token,
        "boot_id": line.boot_id or None,
        "check": line.check or None,
        "acknowledged": line.acked,
        "asked_back_by": line.asked,
    }


def blocks(out: Output, picture: Picture) -> Iterator[render.Block]:
    """The picture for people."""
    if picture.store.incarnation is None:
        yield render.Line(
            f"nothing is set up yet in this {picture.store.kind} store (prefix {picture.prefix}); begin with:"
        )
        yield render.Line("  lockctl set-max 1")
        return
    if picture.every and not picture.groups:
        yield render.Line("no groups yet: lockctl set-max N --group NAME creates one")
    for place, group in enumerate(picture.groups):
        if place:
            yield render.Line("")
        yield from _group_blocks(out, group, picture.now)


def _group_blocks(out: Output, group: "GroupStatus", now: datetime) -> Iterator[render.Block]:
    if not group.exists:
        yield render.Line(
            f"group {group.group} does not exist yet: its first claim gives it 1 slot, or lockctl set-max N"
        )
    else:
        below = ", more than it has" if group.free is not None and group.free < 0 else ""
        words = f"group {group.group}: {group.held} of {group.slots} slots held{below}, {len(group.queue)} waiting"
        yield render.Line(words + (f", {group.failed} failed" if group.failed else ""), "bold")
    if group.paused is not None:
        pause = group.paused
        ends = f", ends {render.until(pause.until, now)}" if pause.until else ""
        whom = "the fleet is paused" if pause.scope == "fleet" else "paused"
        yield render.Line(f"{whom} by {pause.by} for {render.ago(pause.since, now)}{ends}: {pause.reason}", "yellow")
    if group.halted is not None:
        hosts = {line.node: line.host for line in group.holders}
        named = ", ".join(hosts.get(node, node) for node in group.halted.nodes)
        since = render.ago(group.halted.since, now)
        yield render.Line(
            f"halted for {since}: {named} failed ({group.halted.reason}); lockctl why, resume --failed", "bold red"
        )
    if group.holders:
        yield render.table(_HOLDERS, [_holder_row(out, line, now) for line in group.holders])
    if group.holders and group.queue:
        yield render.Line("")
    if group.queue:
        yield render.table(
            _QUEUE,
            [
                (
                    str(line.position),
                    line.host,
                    _id(out, line.host, line.node),
                    render.ago(line.since, now),
                    line.reason,
                )
                for line in group.queue
            ],
        )


_HOLDERS = (
    render.Column("HOLDER"),
    render.Column("ID"),
    render.Column("PHASE"),
    render.Column("FOR", right=True),
    render.Column("DUE"),
    render.Column("REASON", prose=True),
)
_QUEUE = (
    render.Column("#", right=True),
    render.Column("WAITS"),
    render.Column("ID"),
    render.Column("FOR", right=True),
    render.Column("REASON", prose=True),
)


def _holder_row(out: Output, line: "HolderLine", now: datetime) -> tuple[render.Cell | str, ...]:
    reason = "; ".join(
        part
        for part in (
            line.reason,
            f"by {line.by}" if line.by else "",
            f"failed {line.check}" if line.check else "",
            "acknowledged" if line.acked else "",
            f"asked back by {line.asked}" if line.asked else "",
        )
        if part
    )
    due = render.Cell(render.until(line.expected_by, now), "bold red" if line.overdue else "")
    phase = render.Cell(line.phase, render.PHASES.get(line.phase, ""))
    return line.host, _id(out, line.host, line.node), phase, render.ago(line.phase_since, now), due, reason


def _id(out: Output, host: str, node: str) -> str:
    """Nothing for a node whose name is its id."""
    return "" if host == node else render.node_id(out, node)
