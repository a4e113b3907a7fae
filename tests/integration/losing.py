"""A proxy that knows the four commits of a reboot by sight, lets one reach the server, and loses the answer.

A request is recognised by the keys it names: etcd's carry keys and values as they are, Consul's keys as they are. The
checks of a commit come before its writes, so all of its keys have been seen when the first write is.
"""

import threading

from tests.servers.proxy import LostAnswer, TcpProxy

STEPS = ("ticket", "claim", "arm", "release")
_WRITES = (b'"gen"', b'"Verb": "set"', b'"Verb": "lock"')


def step_of(request: bytes) -> str | None:
    """Which of the four commits it is; None for everything else, reads among it."""
    if not any(mark in request for mark in _WRITES):
        return None
    ticket, own, guard, hold = (part in request for part in (b"/q/", b"/own/", b"/lim/", b"/hold/"))
    match (ticket, own, guard, hold):
        case (True, False, False, False):
            return "ticket"
        case (True, True, True, True):
            return "claim"
        case (False, True, False, True):
            return "arm"
        case (False, True, True, False):
            return "release"
        case _:
            return None


class Losing(TcpProxy):
    """Loses the answer to the next commit of each step named by `lose`."""

    def __init__(self, upstream: str) -> None:
        """Everything passes."""
        super().__init__(upstream)
        self._wanted: dict[str, LostAnswer] = {}
        self._wanted_lock = threading.Lock()

    def lose(self, *steps: str) -> dict[str, LostAnswer]:
        """The orders, by step; each is carried out once."""
        orders = {step: LostAnswer(b"", 0) for step in steps}
        with self._wanted_lock:
            self._wanted.update(orders)
        return orders

    def take(self, request: bytes, seen: set[LostAnswer]) -> LostAnswer | None:
        """See TcpProxy; `seen` is one request's, which may arrive in pieces."""
        step = step_of(request)
        with self._wanted_lock:
            if step is not None and step in self._wanted and not seen:
                order = self._wanted.pop(step)
                seen.add(order)
                return order
        return super().take(request, seen)
