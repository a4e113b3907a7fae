"""A bus whose services are tables; see locksmith.host.bus.Caller."""

from collections import deque
from datetime import timedelta
from typing import Any

from locksmith.host.bus import BusError, Heard, NoService, Peer


class FakeListener:
    """Hears what is put into `queue`; never waits."""

    def __init__(self) -> None:
        self.queue: deque[Heard] = deque()
        self.closed = False

    def next(self, limit: timedelta) -> Heard | None:
        return self.queue.popleft() if self.queue else None

    def close(self) -> None:
        self.closed = True


class FakeBus:
    """`methods` by name and `props` by (path, name): a value, or a BusError to raise; `calls` are the calls made, in order.

    A list as the answer of a method is taken from the front, one a call; its last element stays.
    """

    def __init__(self) -> None:
        self.methods: dict[str, Any] = {}
        self.props: dict[tuple[str, str], Any] = {}
        self.calls: list[tuple[Any, ...]] = []
        self.listener = FakeListener()

    def call(
        self,
        peer: Peer,
        method: str,
        signature: str = "",
        body: tuple[Any, ...] = (),
        *,
        limit: timedelta | None = None,
    ) -> tuple[Any, ...]:
        self.calls.append((method, *body))
        answer = self.methods.get(method, NoService(f"nobody provides {peer.name} on the bus"))
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if isinstance(answer, BusError):
            raise answer
        return answer

    def get(self, peer: Peer, prop: str, *, limit: timedelta | None = None) -> Any:
        answer = self.props.get((peer.path, prop), NoService(f"nobody provides {peer.name} on the bus"))
        if isinstance(answer, BusError):
            raise answer
        return answer

    def get_all(self, peer: Peer, *, limit: timedelta | None = None) -> dict[str, Any]:
        answer = self.props.get((peer.path, ""), NoService(f"nobody provides {peer.name} on the bus"))
        if isinstance(answer, BusError):
            raise answer
        return dict(answer)

    def listen(self, peer: Peer, member: str) -> FakeListener:
        return self.listener

    def made(self, method: str) -> list[tuple[Any, ...]]:
        """The arguments of the calls of one method."""
        return [call[1:] for call in self.calls if call[0] == method]
