"""Files that must survive a power cut, and the lock that keeps a host to one agent.

The idea a reader would miss: a rename is durable only after an fsync of the folder, and a full disk shows only at fsync,
so a write counts when `write_durably` has come back and not before. The lock is held by the open file, so it ends with the
process, however that ends; the file itself stays, since removing it would let two agents lock two files of one name.
"""

import fcntl
import os
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from locksmith.errors import ConfigError, Damaged


def stamped(nanoseconds: int) -> datetime | None:
    """The instant of a file's time stamp, as st_mtime_ns; None for one in no year that there is, as some file systems keep."""
    try:
        return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=nanoseconds // 1000)
    except OverflowError:
        return None


def write_durably(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Put `data` in the place of `path`, whole or not at all, and wait until the disk has it. One writer for a path.

    Raises Damaged when the disk is full, read-only or forbidden; the old content is still there then.
    """
    temporary = path.with_name(f".{path.name}.new")
    try:
        _write(temporary, data, mode)
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise Damaged(f"cannot write {path}: {error.strerror or error}") from error


def remove_durably(path: Path) -> None:
    """Remove the file if it is there. Raises Damaged like `write_durably`."""
    try:
        path.unlink(missing_ok=True)
        _sync_folder(path.parent)
    except OSError as error:
        raise Damaged(f"cannot remove {path}: {error.strerror or error}") from error


def _write(path: Path, data: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class HostLock:
    """At most one agent for a run_dir. The lock is not inherited by commands that the agent starts."""

    def __init__(self, path: Path) -> None:
        """`path` is the lock's file, `run_dir/locksmithd.lock`."""
        self._path = path
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take it now, and write our pid into it.

        Raises ConfigError when another agent has it, with its pid, or when the file cannot be made.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise ConfigError(f"cannot open {self._path}: {error.strerror}; see node.run_dir") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError:
            owner = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            raise ConfigError(
                f"another locksmithd runs here already (pid {owner}, {self._path}): stop it, or give this one a "
                "node.run_dir of its own"
            ) from None
        except OSError as error:
            os.close(descriptor)
            raise ConfigError(f"cannot lock {self._path}: {error.strerror}; see node.run_dir") from error
        self._descriptor = descriptor

    def release(self) -> None:
        """Give it back; harmless when it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
