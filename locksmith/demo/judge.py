"""The judge: how many hosts are out of service at once, by their own word.

It shares nothing with the lock. It hears of a host when the machine goes down and when it is back and well, from the
machine itself, so a semaphore that lets in one too many is caught by it.
"""

import threading


class Judge:
    """Counts the hosts that are out of service. `most` is the most at once, `broken` whether that was too many."""

    def __init__(self, allowed: int) -> None:
        """All hosts are in service."""
        self.allowed = allowed
        self.most = 0
        self.worst: tuple[str, ...] = ()
        self._out: set[str] = set()
        self._lock = threading.Lock()

    @property
    def now(self) -> int:
        """How many are out of service."""
        return len(self._out)

    @property
    def broken(self) -> bool:
        """Whether more were out of service at once than are allowed."""
        return self.most > self.allowed

    def out(self, host: str) -> None:
        """The host goes down."""
        with self._lock:
            self._out.add(host)
            if len(self._out) > self.most:
                self.most, self.worst = len(self._out), tuple(sorted(self._out))

    def back(self, host: str) -> None:
        """The host is up and well."""
        with self._lock:
            self._out.discard(host)
