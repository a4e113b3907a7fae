"""The store goes away for each host at the same instant, and what each host then tries is written down.

While away, a host's way to the store first takes connections and resets them, so that every attempt can be seen and dated;
later it refuses them, as a machine does on which nothing listens.
"""

import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from tests.servers.proxy import TcpProxy

_LOOK = 0.01


class Roads:
    """One way to the store for each host. A context manager, open at first."""

    def __init__(self, upstream: str, count: int) -> None:
        """`upstream` is the store's `host:port`."""
        self.proxies = [TcpProxy(upstream) for _ in range(count)]
        self.attempts: list[list[float]] = [[] for _ in self.proxies]
        self._counting = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._count, name="outage", daemon=True)

    def __enter__(self) -> Self:
        """Open."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close all."""
        self._ended.set()
        self._thread.join(30)
        for proxy in self.proxies:
            proxy.close()

    @property
    def endpoints(self) -> Sequence[str]:
        """`127.0.0.1:port`, one a host."""
        return [proxy.endpoint for proxy in self.proxies]

    def reset_all(self) -> float:
        """From now on each connection is taken, noted and reset; the instant on the monotonic clock."""
        for proxy in self.proxies:
            proxy.black_hole()
        self._seen = [proxy.connections for proxy in self.proxies]
        now = time.monotonic()
        for proxy in self.proxies:
            proxy.reset_connections()
        self._counting.set()
        return now

    def refuse_all(self) -> None:
        """From now on nobody listens."""
        self._counting.clear()
        for proxy in self.proxies:
            proxy.cut()

    def open_all(self) -> None:
        """The store is back."""
        for proxy in self.proxies:
            proxy.pass_all()

    def _count(self) -> None:
        while not self._ended.wait(_LOOK):
            if not self._counting.is_set():
                continue
            for place, proxy in enumerate(self.proxies):
                new = proxy.connections - self._seen[place]
                if new:
                    self._seen[place] += new
                    self.attempts[place].append(time.monotonic())
                    proxy.reset_connections()
