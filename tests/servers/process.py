"""One server process on loopback: started with a free port, hurt by signals, ended with the process that started it.

The kernel kills the server when the *thread* that forked it ends (PR_SET_PDEATHSIG), so all servers are forked by one
thread that lives as long as this process; a fixture may then start a server from any thread. The wish is made by a
small wrapper that turns into the server, because `preexec_fn` is unsafe beside threads and a warning on new Pythons.
"""

import contextlib
import fcntl
import http.client
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

_FORKER = ThreadPoolExecutor(max_workers=1, thread_name_prefix="server-forker")
_WRAPPER = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); "
    "os.getppid() == int(sys.argv[1]) or sys.exit('the starter is gone'); os.execv(sys.argv[2], sys.argv[2:])"
)
_POLL_SECONDS = 0.02
_FOLDER_PREFIX = "locksmith-server-"
_SWEEP_AFTER_SECONDS = 60
_PORTS = random.SystemRandom()  # not the tests' seeded one: workers with one seed would race for the same ports


_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True, slots=True)
class Place:
    """Where a process runs: the address that it has there, and the words before its command that bring it there."""

    address: str = "127.0.0.1"
    enter: tuple[str, ...] = ()


HERE = Place()
"""This network, on loopback."""


class ServerFailed(Exception):
    """A server did not start, did not get ready, or ended by itself; the message has the end of its log."""


class AddressInUse(ServerFailed):
    """Somebody took the port between choosing and binding it: choose again."""


class ServerProcess:
    """A command that can be killed, frozen and started again with the same arguments."""

    def __init__(self, command: Sequence[str | Path], log: Path, *, without: str = "") -> None:
        """Do not start yet; `without` is the prefix of environment variables that must not reach the server."""
        self.command = [str(word) for word in command]
        self.log = log
        self._environment = without_prefix(without) if without else dict(os.environ)
        self._popen: subprocess.Popen[bytes] | None = None
        self._frozen = False

    @property
    def pid(self) -> int:
        """The server's process id; 0 when it does not run."""
        return self._popen.pid if self._popen is not None and self._popen.poll() is None else 0

    @property
    def alive(self) -> bool:
        """Running and not frozen."""
        return self.pid != 0 and not self._frozen

    def start(self) -> None:
        """Start it when it does not run; returns before it listens."""
        if self.pid:
            return
        self._frozen = False
        self._popen = _FORKER.submit(self._fork).result(timeout=30)

    def _fork(self) -> subprocess.Popen[bytes]:
        wrapper = [sys.executable, "-I", "-S", "-c", _WRAPPER, str(os.getpid()), *self.command]
        with self.log.open("ab") as log:
            return subprocess.Popen(
                wrapper, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment, start_new_session=True
            )

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone. Frozen processes die too."""
        if self._popen is not None:
            self._popen.kill()
            self._popen.wait(timeout=30)
            self._frozen = False

    def freeze(self) -> None:
        """SIGSTOP: connections stay open and nothing answers, from when this returns.

        The signal only asks: a thread on another processor runs on until it next enters the kernel, and may answer by then.
        """
        self._signal(signal.SIGSTOP)
        self._frozen = True
        wait_until(lambda: not self.pid or _stopped(self.pid), f"{self.command[0]} does not stop", self.tail)

    def thaw(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)
        self._frozen = False

    def _signal(self, number: signal.Signals) -> None:
        if not self.pid:
            raise ServerFailed(f"{self.command[0]} does not run: start it before sending {number.name}")
        os.kill(self.pid, number)

    def wait_until(self, ready: Callable[[], bool], *, timeout: float = 30) -> None:
        """Poll `ready` for `timeout` seconds.

        Raises:
            AddressInUse: it ended because its port was taken.
            ServerFailed: it ended, or is not ready in time.
        """
        wait_until(lambda: self._check_running() and ready(), f"{self.command[0]} is not ready", self.tail, timeout)

    def _check_running(self) -> bool:
        if self.pid:
            return True
        tail = self.tail()
        raise (AddressInUse if "address already in use" in tail else ServerFailed)(f"{self.command[0]} ended:\n{tail}")

    def tail(self) -> str:
        """The last 4 KiB of the log."""
        if not self.log.exists():
            return "(no log)"
        with self.log.open("rb") as log:
            log.seek(max(0, self.log.stat().st_size - 4096))
            return log.read().decode(errors="replace")


def _stopped(pid: int) -> bool:
    """Whether every thread stands still (proc_pid_stat(5): the state follows the name in brackets)."""
    with contextlib.suppress(OSError):  # a thread, or all of it, ended meanwhile
        stats = [file.read_text() for file in Path(f"/proc/{pid}/task").glob("*/stat")]
        return all(stat.rpartition(")")[2].split()[0] in "TtZX" for stat in stats)
    return False


def wait_until(ready: Callable[[], bool], what: str, details: Callable[[], str] = str, timeout: float = 30) -> None:
    """Poll `ready` until true; after `timeout` seconds raise ServerFailed with `what` and `details()`."""
    deadline = time.monotonic() + timeout
    while not ready():
        if time.monotonic() > deadline:
            raise ServerFailed(f"{what} after {timeout} s\n{details()}")
        time.sleep(_POLL_SECONDS)


def read(url: str, headers: Mapping[str, str] | None = None) -> str:
    """The body at `url`, past any proxy of the environment; empty when there is no good answer within 2 s."""
    with contextlib.suppress(OSError, http.client.HTTPException):  # HTTP errors are OSErrors too
        answer = _DIRECT.open(urllib.request.Request(url, headers=dict(headers or {})), timeout=2)
        with answer:
            return str(answer.read().decode())
    return ""


def free_port() -> int:
    """A loopback port that nobody listens on, outside the range that outgoing connections take theirs from.

    Below that range a server that was killed gets its port again: a client's connection cannot sit on it.
    """
    low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for _ in range(100):
        port = _PORTS.randrange(10_000, low) if low > 11_000 else 0
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise ServerFailed(f"no free port found on 127.0.0.1 between 10000 and {low}")


class DataFolder:
    """A temporary folder in memory where there is one: the servers' fsync costs nothing there.

    It is locked while its maker lives. What a killed run left behind is not locked, and the next one removes it.
    """

    def __init__(self, name: str) -> None:
        """Make the folder."""
        shm = Path("/dev/shm")
        where = shm if os.access(shm, os.W_OK) else Path(tempfile.gettempdir())
        _sweep(where)
        self.path = Path(tempfile.mkdtemp(prefix=_FOLDER_PREFIX + name + "-", dir=where))
        self._lock = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def remove(self) -> None:
        """Delete it with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def _sweep(where: Path) -> None:
    for folder in where.glob(_FOLDER_PREFIX + "*"):
        with contextlib.suppress(OSError):  # another user's, locked, or gone meanwhile
            if time.time() - folder.stat().st_ctime < _SWEEP_AFTER_SECONDS:  # its maker may be about to lock it
                continue
            lock = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)


def without_prefix(prefix: str) -> dict[str, str]:
    """This process's environment without the variables of `prefix`."""
    return {k: v for k, v in os.environ.items() if not k.startswith(prefix)}
