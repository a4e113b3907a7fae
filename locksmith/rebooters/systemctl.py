"""`systemctl reboot`, and what systemd can still do to this machine.

The ideas a reader would miss. `systemctl reboot` is asynchronous by itself (systemctl(1)). Called without a terminal it
ignores inhibitors, and `--check-inhibitors=yes` would also refuse while anyone is logged in; so block inhibitors are asked
for before, and sessions are a gate's business. A call that fails or hangs proves nothing: only when systemd itself says
that nothing is going on is it NotAccepted.
"""

from datetime import timedelta
from typing import assert_never

from locksmith.host.outcome import Finished, describe, printable
from locksmith.host.system import GoingDown, System, Unclear, Up
from locksmith.rebooters import Accepted, Firing, Idle, NotAccepted

_CALL_LIMIT = timedelta(seconds=30)
_SHOWN_JOBS = 5


class SystemctlRebooter:
    """Needs systemd as init; root, or a polkit rule for our user."""

    kind = "systemctl"

    def __init__(self, system: System, call_limit: timedelta = _CALL_LIMIT) -> None:
        """`call_limit` is for the call that asks for the reboot."""
        self._system = system
        self._limit = call_limit

    def reboot(self, reason: str, environment: dict[str, str]) -> Accepted | NotAccepted:  # noqa: ARG002 - a Protocol
        """See Rebooter. The reason becomes the wall message's and the log's (`--message`, systemd 253 logs it too)."""
        if not self._system.present():
            return NotAccepted("systemd is not the init of this machine: set reboot.kind to command")
        if isinstance(self.pending(), Firing):
            return Accepted()
        if self._system.inhibited():
            names = "; ".join(self._system.inhibitors()) or "see `systemd-inhibit --list`"
            return NotAccepted(f"an inhibitor blocks the shutdown: {printable(names)}")
        message = printable(f"locksmith: {reason}")
        outcome = self._system.call("systemctl", "reboot", f"--message={message}", limit=self._limit)
        if isinstance(outcome, Finished) and outcome.code == 0:
            return Accepted()
        if isinstance(self.pending(), Firing):
            return Accepted()
        return NotAccepted(f"systemctl reboot: {describe(outcome)}")

    def pending(self) -> Idle | Firing:
        """See Rebooter."""
        return pending(self._system)

    def explain(self) -> str:
        """Why the machine may still be up, for people: block inhibitors and the jobs that systemd works on."""
        found = [f"inhibitor: {line}" for line in self._system.inhibitors() if line.endswith("block")]
        jobs = self._system.jobs() or ()
        found += [f"job: {unit} {kind} {state}" for unit, kind, state in jobs if state == "running"][:_SHOWN_JOBS]
        return printable("; ".join(found)) or "systemd names no inhibitor and no running job"


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
