"""`lockctl reboot`: ask nodes to reboot once, through their agents and under a slot; follow them; take it back.

The one idea a reader would miss: nothing is rebooted from here. A request is a key that the node's agent serves when it
holds a slot and its gates are open, so following it means watching what the node says of itself.
"""

import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from locksmith.cli import forms, render
from locksmith.cli.call import Call
from locksmith.cli.options import NODES, REASON, Given, Subject, parsed
from locksmith.cli.output import Reported, line
from locksmith.cli.progress import progress
from locksmith.core.names import did_you_mean
from locksmith.errors import Damaged, Interrupted, TimedOut, UsageError

if TYPE_CHECKING:
    from locksmith.core.documents import Request
    from locksmith.semaphore.reading import NodeRef

IGNORABLE = ("window", "gate", "loop_guard", "min_interval")
POLL = 1.0
"""Seconds between two looks at the nodes that are followed."""


def _ignored(text: str) -> tuple[str, ...]:
    words = tuple(dict.fromkeys(word.strip() for word in text.split(",")))
    for word in words:
        if word not in IGNORABLE:
            raise ValueError(
                f"{word!r} cannot be ignored{did_you_mean(word, IGNORABLE)} (known: {', '.join(IGNORABLE)})"
            )
    return words


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, and the boot that the node was in when it was made."""

    ref: "NodeRef"
    request: "Request"

    @property
    def name(self) -> str:
        """The node for people."""
        return render.name(self.ref.host, self.ref.node)


@click.command(cls=Subject)
@NODES
@click.option("--all", "every", is_flag=True, help="Every node of the group, one slot after the other; asks first.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@REASON
@click.option(
    "--ignore", type=parsed("words", _ignored), default=(), metavar="WORDS",
    help="What may be passed over: window,gate,loop_guard,min_interval.",
)  # fmt: skip
@click.option("--wait", is_flag=True, help="Until they have rebooted and are well, up to --timeout if given.")
@click.option("--cancel", is_flag=True, help="Take requests back that no reboot has served yet.")
@click.pass_obj
def reboot(
    given: Given,
    *,
    nodes: tuple[str, ...],
    every: bool,
    yes: bool,
    reason: str | None,
    ignore: tuple[str, ...],
    wait: bool,
    cancel: bool,
) -> None:
    """Ask nodes to reboot once, through their agents and always under a slot; without NODE, this machine."""
    if every and nodes:
        raise UsageError("--all means every node of the group: leave out NODE")
    if cancel and (wait or ignore or reason):
        raise UsageError("--cancel takes requests back: leave out --wait, --ignore and --reason")
    with Call.waiting(given, for_ever=wait) as call:
        refs = _all(call, yes=yes, cancel=cancel) if every else [call.node(node) for node in nodes or (None,)]
        if cancel:
            _cancel(call, refs)
            return
        if wait and (silent := [ref for ref in refs if not ref.known]):
            raise UsageError(f"--wait follows an agent, and none has reported as {silent[0].node}; see lockctl nodes")
        asked = _ask(call, refs, reason or "asked for with lockctl reboot", ignore)
        results = _follow(call, asked) if wait else {}
        _tell(call, asked, results)


def _all(call: Call, *, yes: bool, cancel: bool) -> list["NodeRef"]:
    from locksmith.semaphore.reading import nodes, resolve

    members = nodes(call.actor, call.group)
    if not members:
        raise UsageError(f"no node of the group {call.group} has reported; see lockctl nodes, lockctl groups")
    if not (yes or cancel):
        if call.out.json or not sys.stdin.isatty():
            raise UsageError(f"--all asks first, and nobody can answer here: --yes reboots all {len(members)} nodes")
        if not click.confirm(f"Reboot all {len(members)} nodes of the group {call.group}, in turn?", err=True):
            raise Interrupted("not confirmed: no node was asked")
    return [resolve(call.actor, member.node) for member in members]


def _ask(call: Call, refs: list["NodeRef"], reason: str, ignore: tuple[str, ...]) -> list[Asked]:
    from locksmith.semaphore.operating import request_reboot

    asked = [Asked(ref, request_reboot(call.actor, ref.node, reason, ignore)) for ref in refs]
    call.poke()
    return asked


def _cancel(call: Call, refs: list["NodeRef"]) -> None:
    from locksmith.semaphore.operating import cancel_request

    taken = [(ref, cancel_request(call.actor, ref.node)) for ref in refs]
    call.poke()
    if call.out.json:
        call.out.document(
            {
                "cancelled": [
                    {"node": ref.node, "host": ref.host, "found": request is not None} for ref, request in taken
                ]
            }
        )
        return
    for ref, request in taken:
        name = render.name(ref.host, ref.node)
        line(f"{name}: the request is taken back" if request else f"{name}: there is no request (any more)")


def _follow(call: Call, asked: list[Asked]) -> dict[str, str]:
    """Look until every node has an end: `rebooted`, `failed` or `dropped`. Raises TimedOut."""
    results: dict[str, str] = {}
    with progress(call.out) as tell:
        while True:
            states: list[str] = []
            for each in asked:
                if each.ref.node not in results and (end := _look(call, each, states)):
                    results[each.ref.node] = end
            if len(results) == len(asked):
                return results
            tell(f"{len(results)} of {len(asked)} done; {'; '.join(states[:3])}")
            left = call.deadline.left()
            if left is not None and left.total_seconds() < POLL:
                raise TimedOut(
                    f"{len(asked) - len(results)} of {len(asked)} not done in time; the requests stand: {states[0]}"
                )
            time.sleep(POLL)


def _look(call: Call, each: Asked, states: list[str]) -> str | None:
    """How it has ended, or None and a sentence about what it does now."""
    from locksmith.core import keys
    from locksmith.core.documents import NodeRecord, Request
    from locksmith.semaphore.actor import look
    from locksmith.semaphore.claiming import held

    node, before = each.ref.node, each.ref.record
    record_key, request_key = keys.record(each.ref.group or call.group, node), keys.request(node)
    view = look(call.actor.store, [record_key, request_key, keys.own(node)])
    record, request, holder = (
        view.document(record_key, NodeRecord),
        view.document(request_key, Request),
        held(view, node),
    )
    if holder is not None and holder.holder.phase == "failed":
        return "failed"
    if holder is not None:
        states.append(f"{each.name} is {forms.doing(holder)}")
        return None
    if record is not None and before is not None and record.boot != before.boot:
        return "rebooted"
    if request is not None and request.gen == each.request.gen:
        states.append(f"{each.name} waits: {record.why if record and record.why else 'its agent has not looked yet'}")
        return None
    if record is not None and before is not None and record.seen > max(before.seen, each.request.since):
        # The request is gone, no slot is held, and the agent has spoken since from the same boot.
        return "dropped"
    states.append(f"{each.name} has begun")
    return None


def _tell(call: Call, asked: list[Asked], results: dict[str, str]) -> None:
    bad = [each for each in asked if results.get(each.ref.node, "rebooted") != "rebooted"]
    error = None
    if bad:
        words = ", ".join(f"{each.name} ({results[each.ref.node]})" for each in bad)
        error = Damaged(f"did not reboot well: {words}; see lockctl why")
    if call.out.json:
        requests = [
            {
                "node": each.ref.node,
                "host": each.ref.host,
                "by": each.request.by,
                "reason": each.request.reason,
                "since": forms.instant(each.request.since),
                "ignore": list(each.request.ignore),
                "result": results.get(each.ref.node),
            }
            for each in asked
        ]
        call.out.document({"requests": requests}, error)
    else:
        for each in asked:
            line(f"{each.name}: {results.get(each.ref.node, 'asked to reboot once it has a slot')}")
    if error is not None:
        raise Reported(error)
