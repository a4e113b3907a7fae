"""What the loop writes into the log: one line a change, and silence while something stays as it is or goes round in circles.

The ideas a reader would miss. A step that changes the state, or what stands in the way, is worth a line; one that changes only
the words is for who wants details. And an agent that cannot go on tries again for ever, from one state to another and back: a
try that was told before is held back for a moment, and when the next step only throws it back both are dropped. So a disk
that is full for a week is three lines and not twenty thousand.
"""

import logging
from dataclasses import dataclass
from typing import Any

from locksmith.agent.snapshot import Snapshot
from locksmith.core import events as ev
from locksmith.core.states import Agent, Blocked, Draining, Failed, Queued, Undoing, Verifying

log = logging.getLogger("locksmith.agent")

CIRCLE = 30.0
"""Seconds for which a step is held back that may turn out to be half of a circle."""

_ALARMING = ("failed", "stuck", "conflicted", "unready")
"""States that wait for somebody."""
_TRYING = ("starting", "queued")
"""States in which an agent that was stopped tries to go on."""


@dataclass(frozen=True, slots=True)
class _Line:
    """A step that moves, as it is or would be written."""

    old: str
    new: str
    text: str
    about: object
    """What makes it the same line again, besides the states: the words may name a time."""
    fields: dict[str, Any]

    @property
    def key(self) -> tuple[object, ...]:
        """The same for the same line."""
        return self.old, self.new, self.about

    def write(self, level: int | None = None) -> None:
        """Now; without a level, at that of the state."""
        level = level or (logging.WARNING if self.new in _ALARMING else logging.INFO)
        log.log(level, "%s -> %s: %s", self.old, self.new, self.text, extra=self.fields)


class Lines:
    """The lines of one loop; only its thread calls."""

    def __init__(self) -> None:
        """Nothing was said yet."""
        self._said: list[tuple[object, ...]] = []
        self._held: _Line | None = None
        self._held_since = 0.0
        self._store_away = False
        self._unrecorded = ""

    def step(self, before: Agent, event: ev.Event, after: Snapshot, *, changed: bool) -> None:
        """One step; `changed`: the state or its sentence is another."""
        self.wait(after.at.boottime)
        self._store(event, after)
        self._providers(before, event, after)
        old, told, now = type(before.state).__name__.lower(), after.told, _obstacles(after.agent)
        line = _Line(old, told.state, told.text, now or told.text, {**_fields(event, after), "old_state": old})
        if old != told.state:
            self._moved(line, after.at.boottime)
        elif now is not None and now != _obstacles(before):
            self._flush()
            line.write()
        elif changed:
            line.write(logging.DEBUG)

    def wait(self, boottime: float) -> None:
        """Nothing happened: what was held back is no half of a circle, when it has stood for so long."""
        if self._held is not None and boottime - self._held_since >= CIRCLE:
            self._flush()

    def _moved(self, line: _Line, boottime: float) -> None:
        if self._held is not None:
            if self._said[-1:] == [line.key]:
                # The circle is closed: neither half is news.
                self._held.write(logging.DEBUG)
                line.write(logging.DEBUG)
                self._held = None
                return
            self._flush()
        if line.new in _TRYING and self._said[:1] == [line.key] and self._said[-1][1] == line.old:
            self._held, self._held_since = line, boottime
            return
        self._write(line)

    def _write(self, line: _Line) -> None:
        line.write()
        self._said = [*self._said, line.key][-2:]

    def _flush(self) -> None:
        if self._held is not None:
            held, self._held = self._held, None
            self._write(held)

    # ---------------------------------------------------------------- what fails and goes on failing

    def _store(self, event: ev.Event, after: Snapshot) -> None:
        """One line when the store goes away and one when it is back, in whatever state, however often it is asked meanwhile."""
        agent = after.agent
        if agent.store_error is None:
            if self._store_away:
                log.info("the store answers again", extra=_fields(event, after))
            self._store_away = False
        elif isinstance(event, ev.StoreFailed) and not self._store_away:
            fields = {**_fields(event, after), "kind": event.kind}
            if event.act == "record" and event.kind != "unavailable":
                # Only this write fails: the next answer will say that the store is there.
                if event.kind != self._unrecorded:
                    log.warning("this node's entry in the registry is not written: %s", event.text, extra=fields)
                self._unrecorded = event.kind
                return
            self._store_away = True
            what = "is away" if event.kind == "unavailable" else "fails"
            log.warning("the store %s: %s", what, event.text, extra=fields)

    def recorded(self) -> None:
        """The entry in the registry is as it should be."""
        if self._unrecorded:
            log.info("this node's entry in the registry is written again")
        self._unrecorded = ""

    def _providers(self, before: Agent, event: ev.Event, after: Snapshot) -> None:
        """A provider that cannot say, and one that can again; its reason may be in other words each time."""
        now = after.agent.unsure
        for name in sorted(now.keys() - before.unsure.keys()):
            fields = {**_fields(event, after), "kind": "provider", "provider": name}
            log.warning("update provider %s cannot say: %s", name, now[name], extra=fields)
        for name in sorted(before.unsure.keys() - now.keys()):
            log.info("update provider %s can say again", name, extra={**_fields(event, after), "provider": name})


def _obstacles(agent: Agent) -> tuple[object, ...] | None:
    """What stands in the way, without the words for it and the place in the queue; None: this state has no such thing."""
    match agent.state:
        case Blocked(reasons):
            return tuple(sorted((reason.kind, reason.name, reason.unknown) for reason in reasons))
        case Queued(leaving=None, kind=kind):
            return (kind,)
        case Verifying(check=check) | Failed(check=check):
            return (check,)
        case _:
            return None


def _fields(event: ev.Event, after: Snapshot) -> dict[str, Any]:
    """What every line of a step says besides its words; see `locksmith.host.logs.FIELDS`."""
    agent, told, owed = after.agent, after.told, after.agent.owed
    state = agent.state
    return {
        "event": type(event).__name__,
        "state": told.state,
        "kind": told.kind,
        "reason": told.text,
        "node": agent.policy.home.node,
        "group": agent.policy.group,
        "token": str(owed.token) if owed is not None and owed.token is not None else None,
        "attempt": owed.arms or None if owed is not None else None,
        "gate": next((one.name for one in state.reasons if one.kind == "gate"), None)
        if isinstance(state, Blocked)
        else None,
        "provider": owed.provider or None if owed is not None else None,
        "hook": state.hook if isinstance(state, Draining | Undoing | Verifying | Failed) else None,
    }
