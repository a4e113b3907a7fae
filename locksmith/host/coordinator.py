"""Says on a Flatcar host that we are its update coordinator: /run/update-engine/coordinator.conf, as locksmithd does.

The ideas a reader would miss. The *lock* on the file says that there is a coordinator, its text only what it does; so the
lock is held as long as we are one, also while the file is replaced: the new file is locked before it gets the name. Who
takes the lock must look whether the file still has its name afterwards. And while we do not coordinate anything (observe,
off) we do not hold it, so that observing beside an old locksmithd, or starting it again, works.

NAME stays `locksmithd`, and STRATEGY `etcd-lock` whatever our store is: tools know these words.
Origin: flatcar/locksmith pkg/coordinatorconf/conf.go.
"""

import fcntl
import logging
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Literal, assert_never

from locksmith.core.facts import Strategy
from locksmith.core.states import (
    Arming,
    Blocked,
    Conflicted,
    Draining,
    Failed,
    Queued,
    Rebooting,
    Releasing,
    Starting,
    State,
    Steady,
    Stuck,
    Undoing,
    Unready,
    Verifying,
)
from locksmith.host.flocks import LOCKS, flock_holder

FOLDER = Path("/run/update-engine")
NAME = "locksmithd"

log = logging.getLogger(__name__)

CoordinatorState = Literal["starting", "disabled", "running", "reboot-planned", "rebooting"]

_FILE = "coordinator.conf"
_TRIES = 10
"""A lock that was taken on a file that had just been replaced is taken again, so often at most."""


def coordinator_state(state: State) -> CoordinatorState:
    """What locksmithd would call it: a reboot is planned while it waits for the lock, and after."""
    match state:
        case Starting():
            return "starting"
        case Queued() | Draining() | Arming():
            return "reboot-planned"
        case Rebooting() | Stuck():
            return "rebooting"
        case Steady() | Blocked() | Undoing() | Verifying() | Failed() | Releasing() | Conflicted() | Unready():
            return "running"
        case _:
            assert_never(state)


def coordinator_strategy(strategy: Strategy) -> str | None:
    """Its word for ours; None while nothing is coordinated."""
    return {Strategy.LOCK: "etcd-lock", Strategy.REBOOT: "reboot"}.get(strategy)


class CoordinatorFile:
    """The file of this host and the lock on it. Use from one thread. `publish` is bounded: nothing in it waits."""

    def __init__(self, folder: Path = FOLDER, *, make_folder: bool = False, locks: Path = LOCKS) -> None:
        """Nothing is done without the folder, which is how a host without update_engine is known.

        `make_folder` makes it: for a host whose updates come from update_engine.
        """
        self._folder = folder
        self._path = folder / _FILE
        self._make = make_folder
        self._locks = locks
        self._descriptor: int | None = None
        self._written = ""
        self._trouble = ""

    def publish(self, state: State, strategy: Strategy) -> None:
        """Write what we do if it changed, and take the lock first where that has not been possible yet.

        Raises nothing: what goes wrong is logged, once until it changes, and tried again at the next call.
        """
        word = coordinator_strategy(strategy)
        if word is None and self._descriptor is None:
            return
        try:
            if not self._there():
                return
            self._write(word or str(strategy), coordinator_state(state) if word is not None else "disabled")
        except OSError as error:
            self._complain(f"cannot write {error.filename or self._path}: {error.strerror or error}")
        else:
            self._complain("")
        if word is None:
            self.close()

    def close(self) -> None:
        """Give the lock back and leave the file, as locksmithd does; harmless when it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor, self._written = None, ""

    def _there(self) -> bool:
        if self._make:
            self._folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        return self._folder.is_dir()

    def _write(self, strategy: str, state: CoordinatorState) -> None:
        text = f"NAME={NAME}\nSTRATEGY={strategy}\nSTATE={state}"
        if self._descriptor is not None and text == self._written:
            return
        if self._descriptor is None:
            self._descriptor = self._take()
        if self._descriptor is not None:
            before, self._descriptor = self._descriptor, self._replace(text)
            os.close(before)
            self._written = text

    def _take(self) -> int:
        """Lock the file that has the name now. Raises OSError, also when somebody else has it."""
        for _ in range(_TRIES):
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(descriptor), self._path.stat()):
                    return descriptor
            except BlockingIOError:
                os.close(descriptor)
                raise OSError(0, f"another coordinator holds its lock{self._holder()}", str(self._path)) from None
            except FileNotFoundError:
                pass
            except OSError:
                os.close(descriptor)
                raise
            os.close(descriptor)
        raise OSError(0, "it is replaced again and again by somebody else", str(self._path))

    def _holder(self) -> str:
        with suppress(OSError):
            if (pid := flock_holder(self._path, self._locks)) is not None:
                return f" (pid {pid})"
        return ""

    def _replace(self, text: str) -> int:
        """Put a new file that we have locked in the place of the old one; gives its descriptor."""
        descriptor, name = tempfile.mkstemp(prefix=f".{_FILE}", dir=self._folder)  # close-on-exec, see PEP 446
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.write(descriptor, text.encode())
            os.fchmod(descriptor, 0o644)
            Path(name).replace(self._path)
        except OSError:
            os.close(descriptor)
            with suppress(OSError):
                Path(name).unlink()
            raise
        return descriptor

    def _complain(self, trouble: str) -> None:
        if trouble and trouble != self._trouble:
            log.warning("%s; other tools cannot see what this agent does", trouble)
        elif self._trouble and not trouble:
            log.info("%s is written again", self._path)
        self._trouble = trouble
