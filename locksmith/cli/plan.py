"""`lockctl plan`: in which order and until when the nodes that want a reboot will have had it, and who will not fit.

The idea a reader would miss: a forecast is worth what its assumptions are, so each one is written below it, in words.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from locksmith.cli import forms, render
from locksmith.cli.call import Call
from locksmith.cli.options import DURATION, Given, Subject
from locksmith.core.durations import format_duration
from locksmith.core.forecast import Calendar, Pace, Turn, first_opening, turns

if TYPE_CHECKING:
    from locksmith.core.windows import Span
    from locksmith.semaphore.planning import Candidate, Prospect

ASSUMED = timedelta(minutes=10)
"""For a reboot, while none was measured and nothing else was said."""
_SHORTEST = timedelta(seconds=1)


@click.command(cls=Subject)
@click.option(
    "--per-node",
    type=DURATION,
    metavar="DURATION",
    help="How long a node has its slot; default: the median of the group's last reboots, else 10m.",
)
@click.pass_obj
def plan(given: Given, per_node: timedelta | None) -> None:
    """Forecast in which order and until when the group's nodes that want a reboot will have had it.

    From the queue, the registry, the slots, the windows of this machine's configuration and the reboots so far. What is
    assumed is said below. Nothing is changed and nobody is bound by it.
    """
    from locksmith.semaphore.planning import prospect

    with Call.short(given) as call:
        found = prospect(call.actor, call.group)
        now = call.actor.clock.wall()
        shown = _Plan(call, found, now, _pace(found, per_node))
        if call.out.json:
            call.out.document(shown.as_json())
        else:
            render.show(call.out, list(shown.blocks()))


def _pace(found: "Prospect", per_node: timedelta | None) -> Pace:
    if per_node is not None:
        whole = max(per_node, _SHORTEST)
        drain = found.pace.drain if found.pace is not None else timedelta(0)
        return Pace(whole, min(drain, whole))
    return found.pace or Pace(ASSUMED, timedelta(0))


class _Plan:
    """The forecast of one group."""

    def __init__(self, call: Call, found: "Prospect", now: datetime, pace: Pace) -> None:
        self._call, self._found, self._now, self._pace = call, found, now, pace
        config = call.config
        paused = found.status.paused
        start = max(now, paused.until) if paused is not None and paused.until is not None else now
        self.opening = first_opening(config.windows, now)
        calendar = Calendar(config.windows, now, start, max(config.agent.time_needed, pace.drain))
        self._turns = turns(len(found.candidates), found.free(now, pace), calendar, pace.whole)

    @property
    def _rows(self) -> "list[tuple[int, Candidate, Turn]]":
        pairs = zip(self._found.candidates, self._turns, strict=True)
        return [(place, each, turn) for place, (each, turn) in enumerate(pairs, start=1)]

    @property
    def _done(self) -> datetime | None:
        """When the last one is done; None when there is none, or no telling."""
        ends = [turn.done for turn in self._turns]
        known = [end for end in ends if end is not None]
        return max(known) if known and len(known) == len(ends) else None

    def as_json(self) -> dict[str, Any]:
        """The document."""
        seen, pace = self._found.status, self._pace
        return {
            "group": seen.group,
            "exists": seen.exists,
            "slots": seen.slots,
            "held": seen.held,
            "paused": forms.pause_line(seen.paused),
            "halted": forms.halt(seen.halted),
            "per_node_seconds": pace.whole.total_seconds(),
            "drain_seconds": pace.drain.total_seconds(),
            "measured_reboots": pace.measured,
            "opening": None
            if self.opening is None
            else {"start": forms.instant(self.opening.start), "end": forms.instant(self.opening.end)},
            "done": forms.instant(self._done),
            "nodes": [
                {
                    "node": each.node,
                    "host": each.host,
                    "position": place,
                    "queued": each.queued,
                    "since": forms.instant(each.since),
                    "begins": forms.instant(turn.begins),
                    "done": forms.instant(turn.done),
                    "fits": turn.first,
                    "reason": each.reason or None,
                    "note": each.note or None,
                }
                for place, each, turn in self._rows
            ],
            "left_out": [
                {"node": each.node, "host": each.host, "reason": each.reason} for each in self._found.left_out
            ],
            "assumptions": list(self._assumptions()),
        }

    def blocks(self) -> Iterator[render.Block]:
        """The forecast for people."""
        yield from self._head()
        if self._rows:
            yield render.table(_COLUMNS, [self._row(*row) for row in self._rows])
        if self._found.left_out:
            yield render.Line("")
            yield render.Line("not planned, because somebody must act first:", "yellow")
            rows = [(each.host, self._id(each.host, each.node), each.reason) for each in self._found.left_out]
            yield render.table((render.Column("NODE"), render.Column("ID"), render.Column("WHY", prose=True)), rows)
        if self._rows:
            yield render.Line("")
            for assumption in self._assumptions():
                yield render.Line(f"assumed: {assumption}", "dim")

    def _head(self) -> Iterator[render.Block]:
        seen, count = self._found.status, len(self._rows)
        if not count:
            whose = "no other node" if self._found.left_out else "no node"
            yield render.Line(f"group {seen.group}: {whose} wants a reboot", "green")
            return
        nodes = "1 node wants" if count == 1 else f"{count} nodes want"
        slots = seen.slots if seen.slots is not None else 1
        done = self._done
        when = (
            f"done by {_clock(done, zone=True)} ({render.until(done, self._now)})"
            if done
            else "no telling when they are done"
        )
        yield render.Line(
            f"group {seen.group}: {nodes} a reboot, {slots} at once, {render.span(self._pace.whole)} each: {when}",
            "bold",
        )
        late = sum(not turn.first for turn in self._turns)
        if late and self.opening is not None:
            yield render.Line(
                f"{late} of {count} will not fit into the window {_opening(self.opening, self._now)}", "yellow"
            )
        elif self.opening is not None:
            yield render.Line(f"all of them fit into the window {_opening(self.opening, self._now)}", "green")

    def _row(self, place: int, each: "Candidate", turn: Turn) -> tuple[render.Cell | str, ...]:
        fits = "" if self.opening is None else "yes" if turn.first else "later" if turn.begins else "no"
        return (
            str(place),
            each.host,
            self._id(each.host, each.node),
            _clock(turn.begins) if turn.begins else "?",
            _clock(turn.done) if turn.done else "?",
            render.Cell(fits, "green" if turn.first else "yellow"),
            "queued" if each.queued else "staged",
            each.note or each.reason,
        )

    def _id(self, host: str, node: str) -> str:
        return "" if host == node else render.node_id(self._call.out, node)

    def _assumptions(self) -> Iterator[str]:
        seen, pace, config = self._found.status, self._pace, self._call.config
        if pace.measured:
            reboots = "1 reboot" if pace.measured == 1 else f"{pace.measured} reboots"
            yield f"a node has its slot for {render.span(pace.whole)}, the median of {reboots} of this group"
        elif self._found.pace is not None:
            measured = f"{render.span(self._found.pace.whole)}, {self._found.pace.measured} times"
            yield f"a node has its slot for {render.span(pace.whole)}, as --per-node says; measured were {measured}"
        else:
            yield f"a node has its slot for {render.span(pace.whole)}; no reboot of this group was measured yet (--per-node)"
        if config.windows:
            names = ", ".join(
                f"{each.name} {each.start} for {format_duration(each.length)} {each.timezone}"
                for each in config.windows
            )
            yield f"all nodes have the windows of this machine's configuration: {names}"
        else:
            yield "all nodes may reboot at any time: this machine's configuration has no windows"
        if any(not each.queued for each in self._found.candidates):
            yield "nodes that have not queued yet come after the queue, those first that have wanted it longest"
        if seen.paused is not None:
            ends = f"ends {_clock(seen.paused.until)}" if seen.paused.until else "is resumed now"
            yield f"the pause of {seen.paused.by} ({seen.paused.reason}) {ends}"
        if seen.halted is not None:
            yield f"somebody lets the group go on now, which {len(seen.halted.nodes)} failed halt (lockctl resume --failed)"
        if self._found.kept:
            slots = "1 slot stays" if self._found.kept == 1 else f"{self._found.kept} slots stay"
            yield f"{slots} held until somebody acts: failed, or held by hand"
        if late := len(self._found.busy) - len(self._found.ends(self._now, pace)):
            yield f"{late} that reboot longer than any before do not come back in time: their slots are not counted on"
        if not seen.exists:
            yield "the group has 1 slot, which its first claim would give it"
        yield "gates are open, and every node comes back well"


def _opening(opening: "Span", now: datetime) -> str:
    closes = f"closes {_clock(opening.end, zone=True)}" if opening.end is not None else "does not close"
    if opening.start <= now:
        return f"that is open and {closes}"
    return f"that opens {_clock(opening.start)} and {closes}"


def _clock(at: datetime, *, zone: bool = False) -> str:
    """On this machine's clock."""
    return render.here(at).strftime(f"%a %m-%d %H:%M{' %Z' if zone else ''}")


_COLUMNS = (
    render.Column("#", right=True),
    render.Column("NODE"),
    render.Column("ID", roomy=True),
    render.Column("BEGINS"),
    render.Column("DONE"),
    render.Column("FITS"),
    render.Column("STATE", roomy=True),
    render.Column("WHY", prose=True),
)
