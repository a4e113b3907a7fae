"""Whether somebody takes connections at a port.

The idea a reader would miss: for a gate a refused connection is an answer (nobody listens there), while a name that is not
resolved or a host that says nothing is none. A health check calls all of it "not well".
"""

from datetime import timedelta

from locksmith.checks import Occasion, Role
from locksmith.core.durations import format_duration
from locksmith.core.verdict import Closed, Open, Unknown, Verdict
from locksmith.host.dialling import connected, missed


class TcpCheck:
    """Open when a connection stands within the time; nothing is sent or read."""

    def __init__(self, name: str, role: Role, host: str, port: int, timeout: timedelta) -> None:
        """`host` is a name or an address; all its addresses are tried within `timeout`."""
        self._name = name
        self._role = role
        self._host = host
        self._port = port
        self._timeout = timeout

    @property
    def name(self) -> str:
        """See Check."""
        return self._name

    @property
    def kind(self) -> str:
        """See Check: `gate` or `health`."""
        return self._role

    def ask(self, occasion: Occasion) -> Verdict:  # noqa: ARG002 - as the protocol has it
        """See Check."""
        try:
            connected(self._host, self._port, self._timeout.total_seconds()).close()
        except OSError as error:
            word, text = missed(error)
            within = f" of {format_duration(self._timeout)}" if word == "timeout" else ""
            reason = f"{self._shown()}: {text}{within}"
            return Closed(reason) if self._role == "health" or word == "refused" else Unknown(reason)
        return Open(f"{self._shown()} takes connections")

    def _shown(self) -> str:
        return f"[{self._host}]:{self._port}" if ":" in self._host else f"{self._host}:{self._port}"
