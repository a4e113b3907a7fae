"""`lockctl pause` and `resume`: stop new reboots of the group, the fleet or one node, and let them go on."""

from datetime import UTC, datetime

import click

from locksmith.cli import forms, render
from locksmith.cli.call import Call
from locksmith.cli.options import NEEDED_REASON, REASON, TIME, Given, Subject, node_names
from locksmith.cli.output import line
from locksmith.core import keys
from locksmith.core.documents import Hold, Pause
from locksmith.core.durations import rfc3339
from locksmith.errors import UsageError

FLEET = click.option("--fleet", is_flag=True, help="All groups.")
ONE_NODE = click.option(
    "--node", metavar="NODE", shell_complete=node_names, help="One node, which then must not reboot."
)


@click.command(cls=Subject)
@FLEET
@ONE_NODE
@click.option("--until", type=TIME, metavar="TIME", help="Ends by itself: 2h from now, or 2026-01-31T02:00:00Z.")
@NEEDED_REASON
@click.pass_obj
def pause(given: Given, fleet: bool, node: str | None, until: datetime | None, reason: str) -> None:
    """Stop new reboots of the group, or of the fleet or a node.

    No slot is given out and no node starts its reboot; a node that drains takes it back. Those that wait keep their
    places. Nodes that are rebooting already go on, and are named.
    """
    from locksmith.semaphore import operating

    _one_scope(given, fleet=fleet, node=node)
    if until is not None and until <= datetime.now(UTC):
        raise UsageError(f"--until: {rfc3339(until)} is over already: write a time to come, such as 2h")
    with Call.short(given) as call:
        if fleet:
            whom, target, done = "the fleet", None, operating.pause_fleet(call.actor, reason, until)
        elif node is not None:
            ref = call.node(node)
            whom, target = render.name(ref.host, ref.node), ref.node
            done = operating.pause_node(call.actor, ref.node, reason, until)
        else:
            whom, target = f"group {call.group}", None
            done = operating.pause_group(call.actor, call.group, reason, until)
        call.poke()
        if call.out.json:
            now = call.actor.clock.wall()
            call.out.document(
                {
                    "scope": done.scope,
                    "group": call.group if done.scope == "group" else None,
                    "node": target,
                    "paused": forms.paused(done.scope, done.pause),
                    "before": forms.paused(done.scope, done.before),
                    "armed": [forms.held(held, now) for held in done.armed],
                }
            )
            return
        ends = f" until {rfc3339(until)}" if until else ""
        line(f"{whom} is paused{ends}")
        for held in done.armed:
            line(f"{render.name(held.holder.host, keys.own_node(held.key))} is rebooting already and goes on")


@click.command(cls=Subject)
@FLEET
@ONE_NODE
@click.option("--failed", is_flag=True, help="Acknowledge the failed nodes instead: they no longer halt the group.")
@REASON
@click.pass_obj
def resume(given: Given, fleet: bool, node: str | None, failed: bool, reason: str | None) -> None:
    """End a pause of the group, the fleet or a node; or acknowledge the group's failed nodes.

    Failed nodes that are acknowledged keep their slots until they are well or unlocked.
    """
    _one_scope(given, fleet=fleet, node=node)
    if failed and (fleet or node is not None):
        raise UsageError("--failed is about one group: leave out --fleet and --node")
    if failed and not reason:
        raise UsageError("--failed needs --reason TEXT: it is kept on the record")
    with Call.short(given) as call:
        if failed:
            _acknowledge(call, reason or "")
        else:
            _resume(call, fleet=fleet, node=node)


def _acknowledge(call: Call, reason: str) -> None:
    from locksmith.semaphore import operating

    done = operating.acknowledge(call.actor, call.group, reason)
    if call.out.json:
        call.out.document({"group": call.group, "acknowledged": list(done.nodes)})
    elif done.nodes:
        line(f"group {call.group} is no longer halted by {', '.join(render.clean(node) for node in done.nodes)}")
    else:
        line(f"group {call.group} has no failed node that is not acknowledged")


def _resume(call: Call, *, fleet: bool, node: str | None) -> None:
    from locksmith.semaphore import operating

    target = None
    if fleet:
        whom, done = "the fleet", operating.resume_fleet(call.actor)
    elif node is not None:
        ref = call.node(node)
        whom, target = render.name(ref.host, ref.node), ref.node
        done = operating.resume_node(call.actor, ref.node)
    else:
        whom, done = f"group {call.group}", operating.resume_group(call.actor, call.group)
    call.poke()
    if call.out.json:
        call.out.document(
            {
                "scope": done.scope,
                "group": call.group if done.scope == "group" else None,
                "node": target,
                "was": forms.paused(done.scope, done.was),
            }
        )
        return
    line(f"{whom} goes on{_said(done.was)}" if done.was else f"{whom} was not paused")


def _said(was: Pause | Hold) -> str:
    return f"; it was paused by {render.clean(was.by)}: {render.clean(was.reason)}"


def _one_scope(given: Given, *, fleet: bool, node: str | None) -> None:
    if fleet + (node is not None) + (given.group is not None) > 1:
        raise UsageError("--fleet, --node and --group exclude each other: say which one is meant")
