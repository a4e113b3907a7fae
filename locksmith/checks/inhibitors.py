"""logind's block inhibitors as a gate: package managers, backups and people who say "not now".

The idea a reader would miss: before systemd 257 root's own reboot call passes over them in silence, so somebody has to ask.
Without any logind nobody can take an inhibitor and the gate is open, which lets one configuration serve a mixed fleet; a
logind that is there and does not answer, or not to us, is unknown.
"""

from collections.abc import Sequence
from datetime import timedelta

from locksmith.checks import Occasion
from locksmith.core.verdict import Closed, Open, Unknown, Verdict
from locksmith.host.bus import LIMIT, BusError, Caller
from locksmith.host.logind import Logind, is_missing
from locksmith.host.outcome import printable
from locksmith.host.system import System


class InhibitorsCheck:
    """Closed while somebody blocks a shutdown."""

    kind = "gate"

    def __init__(
        self,
        name: str,
        bus: Caller,
        ignore: Sequence[str] = (),
        system: System | None = None,
        *,
        limit: timedelta = LIMIT,
    ) -> None:
        """`ignore` are the WHOs, as `systemd-inhibit --list` shows them, whose inhibitors do not count."""
        self._name = name
        self._logind = Logind(bus, limit)
        self._ignore = frozenset(ignore)
        self._system = system or System()

    @property
    def name(self) -> str:
        """See Check."""
        return self._name

    def ask(self, occasion: Occasion) -> Verdict:  # noqa: ARG002 - a Protocol
        """See Check."""
        try:
            found = [lock for lock in self._logind.inhibitors() if lock.blocks_shutdown]
        except BusError as error:
            if is_missing(error, self._system):
                return Open(f"no logind: {error}")
            return Unknown(f"logind does not say who blocks a shutdown: {error}")
        closing = sorted(str(lock) for lock in found if lock.who not in self._ignore)
        if closing:
            return Closed(f"a shutdown is blocked by {'; '.join(closing)}")
        ignored = sorted({lock.who for lock in found})
        return Open(printable(f"ignored: {', '.join(ignored)}") if ignored else "nobody blocks a shutdown")
