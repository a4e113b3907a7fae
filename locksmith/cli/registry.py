"""`lockctl groups`, `nodes` and `forget`: what there is, by what the store counts and what the nodes say of themselves."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from locksmith.cli import forms, render
from locksmith.cli.call import Call
from locksmith.cli.options import Given, Subject, node_names
from locksmith.cli.output import Output, line

if TYPE_CHECKING:
    from locksmith.semaphore.reading import GroupSummary, NodeLine


@click.command(cls=Subject)
@click.pass_obj
def groups(given: Given) -> None:
    """List the groups: slots, holders, waiting nodes, and what stops them."""
    from locksmith.semaphore.reading import groups as every

    with Call.short(given) as call:
        found = every(call.actor)
        if call.out.json:
            call.out.document({"groups": [_group_json(group) for group in found]})
            return
        if not found:
            call.out.say("no groups yet: lockctl set-max N --group NAME creates one")
            return
        columns = (
            render.Column("GROUP"),
            render.Column("SLOTS", right=True),
            render.Column("HELD", right=True),
            render.Column("FREE", right=True),
            render.Column("WAITING", right=True),
            render.Column("FAILED", right=True),
            render.Column("STATE", prose=True),
        )
        rows = [
            (
                each.group,
                str(each.slots),
                str(each.held),
                str(each.free),
                str(each.waiting),
                str(each.failed),
                _state(each),
            )
            for each in found
        ]
        render.show(call.out, [render.table(columns, rows)])


def _group_json(group: "GroupSummary") -> dict[str, Any]:
    return {
        "group": group.group,
        "slots": group.slots,
        "held": group.held,
        "free": group.free,
        "waiting": group.waiting,
        "failed": group.failed,
        "paused": forms.pause_line(group.paused),
        "halted": forms.halt(group.halted),
    }


def _state(group: "GroupSummary") -> render.Cell:
    if group.halted is not None:
        return render.Cell("halted", "bold red")
    if group.paused is not None:
        return render.Cell(f"paused ({group.paused.scope}): {group.paused.reason}", "yellow")
    return render.Cell("")


@click.command(cls=Subject)
@click.option("--all", "every", is_flag=True, help="Those of all groups; so it is without --group, too.")
@click.pass_obj
def nodes(given: Given, every: bool) -> None:
    """List the nodes that have reported, with what they do and why they wait; with --group, only that group's."""
    from locksmith.semaphore.reading import nodes as registered

    with Call.short(given) as call:
        found = registered(call.actor, call.group if call.group_is_explicit and not every else None)
        now = call.actor.clock.wall()
        if call.out.json:
            call.out.document({"nodes": [_node_json(each) for each in found]})
            return
        if not found:
            call.out.say("no node has reported yet: start locksmithd on one")
            return
        render.show(call.out, [render.table(_NODES, [_node_row(call.out, each, now) for each in found])])


_NODES = (
    render.Column("HOST"),
    render.Column("ID"),
    render.Column("GROUP"),
    render.Column("STATE"),
    render.Column("FOR", right=True),
    render.Column("SEEN", right=True),
    render.Column("VERSION", roomy=True),
    render.Column("OS", roomy=True),
    render.Column("WHY", prose=True),
)


def _node_row(out: Output, each: "NodeLine", now: datetime) -> tuple[render.Cell | str, ...]:
    record = each.record
    seen = f"{render.ago(record.seen, now)} ago"
    return (
        record.host,
        render.node_id(out, each.node),
        record.group,
        record.state,
        render.ago(record.state_since, now),
        render.Cell(seen, "red") if each.silent else seen,
        record.version,
        record.os,
        record.why,
    )


def _node_json(each: "NodeLine") -> dict[str, Any]:
    record = each.record
    return {
        "node": each.node,
        "host": record.host,
        "group": record.group,
        "labels": dict(record.labels),
        "state": record.state,
        "state_since": forms.instant(record.state_since),
        "kind": record.kind,
        "why": record.why or None,
        "seen": forms.instant(record.seen),
        "silent": each.silent,
        "strategy": record.strategy or None,
        "version": record.version or None,
        "os": record.os or None,
        "boot_id": record.boot or None,
        "need": record.need,
        "need_since": forms.instant(record.need_since),
        "from": record.origin,
        "to": record.target,
    }


@click.command(cls=Subject)
@click.argument("node", shell_complete=node_names)
@click.pass_obj
def forget(given: Given, node: str) -> None:
    """Remove what the store keeps of a node that is gone for good; refused while it holds a slot."""
    from locksmith.semaphore.repair import forget as remove

    with Call.short(given) as call:
        ref = call.node(node)
        removed = remove(call.actor, ref.node)
        if call.out.json:
            call.out.document({"node": ref.node, "host": ref.host, "removed": list(removed)})
        elif removed:
            line(f"{render.name(ref.host, ref.node)} is forgotten")
        else:
            line(f"{render.name(ref.host, ref.node)}: nothing was kept of it")
