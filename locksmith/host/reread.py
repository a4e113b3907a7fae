"""What stands in files that somebody else renews: read again when they change, and the last good reading kept.

The one idea a reader would miss: files are replaced one after the other, and may be gone, empty or not fit each other for
a moment. Then the last good reading stays in use, so that a renewal is never an outage; only the first one can fail.
"""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")


class Reread(Generic[T]):
    """One value made of some files, for all threads."""

    def __init__(self, paths: Sequence[Path | None], read: Callable[[], T]) -> None:
        """`read` makes the value of `paths` (None: not used), and raises OSError or ValueError when they are no good."""
        self._paths = [path for path in paths if path is not None]
        self._read = read
        self._lock = threading.Lock()
        self._stamp: tuple[object, ...] = ()
        self._value: tuple[T] | None = None

    def now(self) -> T:
        """The value; the same object until a file changes. Raises what `read` raises while there never was a good one."""
        with self._lock:
            try:
                stamp = self._stamped()
                if self._value is None or stamp != self._stamp:
                    self._value, self._stamp = (self._read(),), stamp
            except (OSError, ValueError):
                if self._value is None:
                    raise
            return self._value[0]

    def _stamped(self) -> tuple[object, ...]:
        stats = [path.stat() for path in self._paths]
        return tuple((stat.st_mtime_ns, stat.st_size, stat.st_ino) for stat in stats)
