"""The courtesy towards people who are logged in: they are told, and have a grace to log out before a slot is asked for.

The ideas a reader would miss. The grace is spent while nothing is held, so a slot never waits for a person; it ends early
when they have left. What was once spent stays so for the whole attempt: whoever logs in later is told at once, and neither
renews the grace nor holds up a drain. An attempt that was called off, and a grace that was not asked for in a while because
something else came in between, start anew with the next one. "Nobody can say who is logged in" is not "nobody is": unknown.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from locksmith.checks import Occasion
from locksmith.core.durations import rfc3339
from locksmith.core.verdict import Closed, Open, Unknown, Verdict
from locksmith.host.bus import LIMIT, BusError, Caller
from locksmith.host.clock import Clock, SystemClock
from locksmith.host.identity import host_name
from locksmith.host.logind import Logind, Session, is_missing
from locksmith.host.system import System
from locksmith.host.terminals import Terminals

log = logging.getLogger(__name__)

AGAIN = timedelta(seconds=5)
"""How soon it is asked again while people are there."""
FORGET = timedelta(minutes=5)
"""So long without a question and without an attempt, and the next reboot is another one for those who were told."""
_SHOWN = 5


@dataclass(slots=True)
class _Round:
    """What people were told for one reboot. `ends` is of the boot-time clock, `until` the same for people."""

    attempt: str = ""
    asked: float = 0.0
    ends: float | None = None
    until: datetime | None = None
    spent: float | None = None
    announced: bool = False
    told: set[str] = field(default_factory=set)


class SessionsCheck:
    """A gate; see the module."""

    kind = "gate"

    def __init__(  # noqa: PLR0913 - a person, a machine and two clocks
        self,
        name: str,
        bus: Caller,
        grace: timedelta,
        terminals: Terminals | None = None,
        clock: Clock | None = None,
        *,
        system: System | None = None,
        host: str = "",
        limit: timedelta = LIMIT,
    ) -> None:
        """`grace` 0: they are told, and nobody waits. `host` is for the message, `limit` for logind's answer."""
        self._name = name
        self._logind = Logind(bus, limit)
        self._grace = grace
        self._terminals = terminals or Terminals()
        self._clock = clock or SystemClock()
        self._system = system or System()
        self._host = host or host_name()
        self._round = _Round()

    @property
    def name(self) -> str:
        """See Check."""
        return self._name

    def ask(self, occasion: Occasion) -> Verdict:
        """See Check. Tells people on its way."""
        now = self._clock.boottime()
        round_ = self._this_round(occasion, now)
        try:
            people = [session for session in self._logind.sessions() if session.at_terminal]
        except BusError as error:
            return self._nobody_knows(error, round_, now)
        if not people:
            return self._spend(round_, now, "nobody is logged in on a terminal")
        if round_.spent is None and occasion.stage == "queue" and self._is_waiting(round_, occasion, now):
            self._tell(people, round_, occasion, now)
            reason = f"{_names(people)} may log out until {_shown(round_.until)}"
            return Closed(reason, round_.until, AGAIN)
        verdict = self._spend(round_, now, f"told, and not waited for: {_names(people)}")
        self._tell(people, round_, occasion, now)
        return verdict

    def _this_round(self, occasion: Occasion, now: float) -> _Round:
        """The round that this question belongs to: the one so far, or a new one."""
        round_, forget = self._round, FORGET.total_seconds()
        over = round_.attempt not in ("", occasion.attempt)
        idle = now - round_.asked > forget or (round_.spent is not None and now - round_.spent > forget)
        if over or (idle and not occasion.attempt):
            round_ = self._round = _Round()
        if occasion.stage != "queue" and round_.spent is None:
            round_.spent = now  # begun by an earlier life of the agent, or without a queue: never held up here
        round_.attempt, round_.asked = occasion.attempt, now
        return round_

    def _is_waiting(self, round_: _Round, occasion: Occasion, now: float) -> bool:
        if round_.ends is None:
            round_.ends = now + self._grace.total_seconds()
            round_.until = occasion.now + self._grace
        return now < round_.ends

    def _spend(self, round_: _Round, now: float, reason: str) -> Open:
        if round_.spent is None:
            round_.spent = now
        return Open(reason)

    def _nobody_knows(self, error: BusError, round_: _Round, now: float) -> Verdict:
        if is_missing(error, self._system):
            return self._spend(round_, now, f"no logind, so nobody can be told: {error}")
        if round_.spent is not None:
            return Open(f"the grace is spent; nobody can be told now: {error}")
        return Unknown(f"logind does not say who is logged in: {error}", again=AGAIN)

    def _tell(self, people: Sequence[Session], round_: _Round, occasion: Occasion, now: float) -> None:
        """Each session once what comes, and all of them once that it comes now."""
        reason = occasion.environment.get("LOCKSMITH_REASON", "")
        because = f"Reason: {reason}" if reason else "It has updates to activate, see `lockctl why`."
        if occasion.stage == "arm" and not round_.announced:
            round_.announced = True
            lines = ["This machine reboots now.", because]
            listeners = list(people)
        else:
            listeners = [session for session in people if session.id not in round_.told]
            waits = round_.spent is None and round_.ends is not None and now < round_.ends
            when = (
                f"at {_shown(round_.until)}, or as soon as everybody has logged out" if waits else "in its turn, soon"
            )
            lines = [
                f"This machine will reboot: {when}.",
                because,
                "To keep it up: lockctl pause --node " + self._host + " --reason TEXT",
            ]
        if listeners:
            round_.told |= {session.id for session in listeners}
            ttys = {session.tty for session in listeners}
            deaf = ttys - set(self._terminals.tell(sorted(ttys), lines, self._host, occasion.now))
            if deaf:
                log.warning(
                    "%s: cannot write to %s: stopped, or not ours to write to", self._name, ", ".join(sorted(deaf))
                )


def _names(people: Sequence[Session]) -> str:
    names = sorted({f"{session.user} ({session.tty})" for session in people})
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _shown(until: datetime | None) -> str:
    return rfc3339(until) if until is not None else ""
