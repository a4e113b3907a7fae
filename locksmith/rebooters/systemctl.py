"""`systemctl reboot`, and what systemd can still do to this machine.

The ideas a reader would miss. `systemctl reboot` is asynchronous by itself (systemctl(1)). Called without a terminal it
ignores inhibitors, and `--check-inhibitors=yes` would also refuse while anyone is logged in; so block inhibitors are asked
for before, and sessions are a gate's business. On its own it turns into a kexec or a soft reboot when one was prepared: two
variables keep it from that, since what was not chosen is not done. A call that fails or hangs proves nothing: only when
systemd itself says that nothing is going on is it NotAccepted.
"""

import logging
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import assert_never

from locksmith.host.outcome import Finished, Outcome, describe, printable
from locksmith.host.system import GoingDown, System, Unclear, Up
from locksmith.rebooters import Accepted, Firing, Idle, NotAccepted
from locksmith.rebooters.method import Methods, Way

log = logging.getLogger(__name__)

_CALL_LIMIT = timedelta(seconds=30)
_SHOWN = 5
_IN_FULL = {"SYSTEMCTL_SKIP_AUTO_KEXEC": "1", "SYSTEMCTL_SKIP_AUTO_SOFT_REBOOT": "1"}


class SystemctlRebooter:
    """Needs systemd as init; root, or a polkit rule for our user."""

    kind = "systemctl"

    def __init__(
        self,
        system: System,
        call_limit: timedelta = _CALL_LIMIT,
        *,
        methods: Methods | None = None,
        honour_inhibitors: bool = True,
        ignore: Sequence[str] = (),
    ) -> None:
        """`call_limit` is for the call that asks for the reboot; `methods` None: in full; `ignore` are WHOs of inhibitors."""
        self._system = system
        self._limit = call_limit
        self._methods = methods or Methods("reboot", system)
        self._honour = honour_inhibitors
        self._ignore = tuple(ignore)

    def reboot(self, reason: str, environment: dict[str, str]) -> Accepted | NotAccepted:  # noqa: ARG002 - a Protocol
        """See Rebooter. The reason becomes the wall message's and the log's (`--message`, systemd 253 logs it too)."""
        if not self._system.present():
            return NotAccepted("systemd is not the init of this machine: set reboot.kind to command")
        if isinstance(self.pending(), Firing):
            return Accepted()
        if blocked := self.blocked():
            return NotAccepted(f"an inhibitor blocks the shutdown: {printable(blocked)}")
        choice = self._methods.choose()
        if choice.instead:
            log.warning("%s", choice.instead)
        answer = self._tell(choice.way, reason)
        if isinstance(answer, NotAccepted) and choice.way != "reboot":
            log.warning("%s: a full reboot instead", answer.reason)
            return self._tell("reboot", reason)
        return answer

    def pending(self) -> Idle | Firing:
        """See Rebooter."""
        return pending(self._system)

    def explain(self) -> str:
        """See Rebooter."""
        return explain(self._system, (line for line in self._system.inhibitors() if blocks(line)))

    def blocked(self) -> str:
        """Who forbids a shutdown now; empty when nobody does that counts."""
        if not self._honour or not self._system.inhibited():
            return ""
        lines = [line for line in self._system.inhibitors() if blocks(line)]
        counting = [line for line in lines if not any(is_of(line, who) for who in self._ignore)]
        return "; ".join(counting) if lines else "see `systemd-inhibit --list`"

    def _tell(self, way: Way, reason: str) -> Accepted | NotAccepted:
        words = [way, f"--message={printable(f'locksmith: {reason}')}"]
        if not self._honour or self._ignore:
            words.append("--check-inhibitors=no")
        outcome: Outcome = self._system.call("systemctl", *words, limit=self._limit, environment=_IN_FULL)
        if isinstance(outcome, Finished) and outcome.code == 0:
            return Accepted()
        if isinstance(self.pending(), Firing):
            return Accepted()
        return NotAccepted(f"systemctl {way}: {describe(outcome)}")


def pending(system: System) -> Idle | Firing:
    """Whether systemd can still take the machine down; no answer is Firing, no systemd is Idle."""
    condition = system.condition()
    match condition:
        case Up():
            return Idle()
        case GoingDown(cause=cause):
            return Firing(cause)
        case Unclear(reason=reason):
            return Firing(f"nobody can say whether the system stops: {reason}")
        case _:
            assert_never(condition)


def explain(system: System, inhibitors: Iterable[str]) -> str:
    """Inhibitors, the jobs that systemd works on and the units that do not stop, for people."""
    found = [f"inhibitor: {line}" for line in inhibitors][:_SHOWN]
    if system.present():
        jobs = system.jobs() or ()
        running = {unit: f"job: {unit} {kind} {state}" for unit, kind, state in jobs if state == "running"}
        found += list(running.values())[:_SHOWN]
        found += [f"still stopping: {unit}" for unit in system.hanging() if unit not in running][:_SHOWN]
    return "; ".join(map(printable, found)) or "nobody names an inhibitor, a running job or a unit that does not stop"


def is_of(line: str, who: str) -> bool:
    """Whether a line of `systemd-inhibit --list` is of this WHO, which may hold blanks; the number of the user follows it."""
    rest = line.removeprefix(" ".join(who.split()) + " ")
    return rest != line and rest.split(" ", 1)[0].isdigit()


def blocks(line: str) -> bool:
    """A line of `systemd-inhibit --list` ends in its mode; block-weak is what block was before systemd 257."""
    return line.endswith((" block", " block-weak"))
