"""`lockctl restored`: say that the store came back from a backup, and see which nodes have settled with it."""

from typing import TYPE_CHECKING, Any

import click

from locksmith.cli import forms, render
from locksmith.cli.call import Call
from locksmith.cli.options import REASON, Given, Subject
from locksmith.cli.output import Output, line
from locksmith.errors import UsageError

if TYPE_CHECKING:
    from locksmith.semaphore.registry import NodeLine
    from locksmith.semaphore.restoring import Restored


@click.command(cls=Subject)
@REASON
@click.option("--show", is_flag=True, help="Change nothing: say which nodes have settled since the last time.")
@click.pass_obj
def restored(given: Given, reason: str | None, show: bool) -> None:
    """After the store was restored from a backup: pause the fleet and have every node look at what it owes.

    It raises the fleet's epoch. Each agent then starts over, and one that holds a slot which the backup does not know puts it
    back. Look with --show until all have settled, then let the fleet go on with lockctl resume --fleet.
    """
    from locksmith.semaphore.restoring import restored as say
    from locksmith.semaphore.restoring import since_restore

    if show == bool(reason):
        raise UsageError(
            "say either --reason TEXT, after the store was restored from a backup, or --show, to see who has settled"
        )
    with Call.short(given) as call:
        done = since_restore(call.actor) if reason is None else say(call.unconfirmed, reason)
        call.poke()
        if call.out.json:
            call.out.document(_json(done))
            return
        _tell(call.out, done)


def _json(done: "Restored") -> dict[str, Any]:
    return {
        "epoch": done.epoch,
        "before": done.before,
        "cluster": done.cluster,
        "paused": forms.paused("fleet", done.pause),
        "settled": len(done.settled),
        "missing": [_node(each) for each in done.missing],
        "stuck": [_node(each) for each in done.stuck],
        "unreadable": list(done.unreadable),
    }


def _node(each: "NodeLine") -> dict[str, Any]:
    record = each.record
    return {
        "node": each.node,
        "host": record.host,
        "group": record.group,
        "state": record.state,
        "why": record.why or None,
        "seen": forms.instant(record.seen),
        "silent": each.silent,
        "version": record.version or None,
    }


def _tell(out: Output, done: "Restored") -> None:
    if done.before is not None:
        line(f"the fleet is paused and in epoch {done.epoch}; before it was {done.before}")
    if done.cluster is not None:
        line(f"the store was {done.cluster} and is another cluster now: restart the agents that ran all the while")
    every = len(done.settled) + len(done.missing) + len(done.stuck) + len(done.unreadable)
    line(f"settled in epoch {done.epoch}: {len(done.settled)} of {every} nodes")
    rows = [
        *((each, "has not looked at the store in this epoch") for each in done.missing),
        *((each, each.record.why) for each in done.stuck),
    ]
    if rows or done.unreadable:
        shown: list[tuple[render.Cell | str, ...]] = [
            (each.record.host, render.node_id(out, each.node), each.record.group, each.record.state, _seen(each), text)
            for each, text in rows
        ]
        shown += [
            ("", node, "", "", "", "its record cannot be read; its agent writes it anew") for node in done.unreadable
        ]
        render.show(out, [render.table(_COLUMNS, shown)])
        out.say("lockctl restored --show says it again; a node that is gone for good: lockctl forget NODE")
    elif done.pause is not None:
        out.say("lockctl fsck, then lockctl resume --fleet lets the fleet go on")


def _seen(each: "NodeLine") -> render.Cell:
    return render.Cell("silent", "red") if each.silent else render.Cell("")


_COLUMNS = (
    render.Column("HOST"),
    render.Column("ID"),
    render.Column("GROUP"),
    render.Column("STATE"),
    render.Column(""),
    render.Column("WHY", prose=True),
)
