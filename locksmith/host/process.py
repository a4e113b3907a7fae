"""The one door to subprocess: run a command of the operator, and surely come back.

The ideas a reader would miss. A command gets a session of its own and is ended as a group: TERM, then KILL after a grace.
The leader is reaped last, because its number is ours only while it is a zombie: a signal to the group after that may hit a
stranger. And output is read without ever waiting for its end, since a grandchild that left the group may keep the pipe open
for ever. Works from any thread; a child inherits nothing but its three standard files.
"""

import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from types import TracebackType
from typing import IO, Literal, Self

from locksmith.host.groups import members
from locksmith.host.outcome import Cancelled, Finished, NotStarted, Outcome, Signalled, TimedOut

KEPT_BYTES = 16 * 1024
"""Of each of the two outputs, unless a caller asks for more; the end says why something failed."""
GRACE = timedelta(seconds=5)
"""Between TERM and KILL."""

_TICK = 0.05
_KILL_WAIT = 2.0
"""Seconds to wait after KILL; what survives it hangs in the kernel, and waiting longer would not end it."""
_DRAIN_BYTES = 1024 * 1024
_OURS = (
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "JOURNAL_STREAM",
)
"""Variables that the service manager meant for us alone, sd_notify(3), sd_listen_fds(3)."""

_Ended = Literal["exited", "timeout", "cancelled"]


def run(  # noqa: PLR0913 - a command line is one argument, its limits are the others
    command: Sequence[str],
    *,
    timeout: timedelta,
    stdin: bytes = b"",
    environment: Mapping[str, str] | None = None,
    cancel: threading.Event | None = None,
    grace: timedelta = GRACE,
    keep: int = KEPT_BYTES,
) -> Outcome:
    """Run the command to its end, to the time limit or until `cancel` is set, whichever comes first.

    `environment` is added to our own. Of each output the last `keep` bytes come back: who needs a document whole asks for
    more than it can have, and takes that many bytes for one that was cut (host/said.py). Whatever the group still runs
    after its leader has ended is ended too. Comes back at the latest after `timeout` and `grace` and a few seconds; raises
    nothing for what a command or a host can do wrong.
    """
    if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
        # Inherited, or set by a library: the kernel then throws exit codes away, and a failure would look like success.
        return NotStarted("SIGCHLD is ignored in this process, exit codes are lost; start it with the default")
    try:
        child = _Child(command, stdin, environment, keep)
    except (OSError, ValueError) as error:
        return not_started(command, error)
    with child:
        ended = child.wait(time.monotonic() + timeout.total_seconds(), cancel)
        child.end_group(grace)
        child.drain()
        code = child.reap()
        stdout, stderr = child.output()
    match ended:
        case "timeout":
            return TimedOut(timeout, stdout, stderr)
        case "cancelled":
            return Cancelled()
        case "exited":
            return Signalled(-code, stdout, stderr) if code < 0 else Finished(code, stdout, stderr)


def not_started(command: Sequence[str], error: OSError | ValueError) -> NotStarted:
    """The words for a command that the kernel, or Python before it, refused."""
    if not command:
        return NotStarted("the command is an empty list")
    cause = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return NotStarted(f"{command[0]}: {cause[:1].lower()}{cause[1:]}")


def child_environment(added: Mapping[str, str] | None) -> dict[str, str]:
    """Our environment and what is added, without what the service manager meant for us alone."""
    environment = {name: value for name, value in os.environ.items() if name not in _OURS}
    return environment | dict(added or {})


class _Child:
    """A started command with its pipes."""

    def __init__(self, command: Sequence[str], stdin: bytes, environment: Mapping[str, str] | None, keep: int) -> None:
        if not command:
            raise ValueError("the command is an empty list")
        self._popen = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=child_environment(environment),
            start_new_session=True,
            bufsize=0,
        )
        self._selector = selectors.DefaultSelector()
        self._unsent = memoryview(stdin)
        self._keep = keep
        self._kept: dict[str, bytearray] = {"stdout": bytearray(), "stderr": bytearray()}
        self._add(self._popen.stdout, selectors.EVENT_READ, "stdout")
        self._add(self._popen.stderr, selectors.EVENT_READ, "stderr")
        self._add(self._popen.stdin, selectors.EVENT_WRITE, "stdin")
        self._pidfd = _pidfd(self._popen.pid)
        if self._pidfd is not None:
            self._selector.register(self._pidfd, selectors.EVENT_READ, "exit")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave nothing behind, also when we were interrupted half way."""
        if self._popen.returncode is None:
            self._signal(signal.SIGKILL)
            self.reap()
        for pipe in (self._popen.stdin, self._popen.stdout, self._popen.stderr):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        if self._pidfd is not None:
            os.close(self._pidfd)
        self._selector.close()

    def wait(self, deadline: float, cancel: threading.Event | None) -> _Ended:
        """Until the leader has ended, the deadline of the monotonic clock, or the event."""
        tick = _TICK if self._pidfd is None else (2 * _TICK if cancel is not None else 60.0)
        while not self._exited():
            if cancel is not None and cancel.is_set():
                return "cancelled"
            if (left := deadline - time.monotonic()) <= 0:
                return "timeout"
            self._pump(min(left, tick))
        return "exited"

    def end_group(self, grace: timedelta) -> None:
        """End what the group still runs. The leader stays unreaped, so its number is surely ours."""
        for number, seconds in ((signal.SIGTERM, grace.total_seconds()), (signal.SIGKILL, _KILL_WAIT)):
            if not members(self._popen.pid):
                return
            self._signal(number)
            self._signal(signal.SIGCONT)  # a stopped process sees TERM only when it goes on
            deadline = time.monotonic() + seconds
            while members(self._popen.pid) and time.monotonic() < deadline:
                self._pump(_TICK)

    def drain(self) -> None:
        """Read what is already in the pipes. Never waits for their end: see the module."""
        for key in list(self._selector.get_map().values()):
            read = 0
            while key.data in self._kept and read < _DRAIN_BYTES and (got := self._read(key)):
                read += got

    def reap(self) -> int:
        """The exit code, or minus the signal."""
        try:
            return self._popen.wait(timeout=_KILL_WAIT)
        except subprocess.TimeoutExpired:
            return -signal.SIGKILL  # sent, and pending in a process that hangs in the kernel

    def output(self) -> tuple[str, str]:
        """The ends of standard output and standard error."""
        stdout, stderr = (bytes(kept[-self._keep :]).decode(errors="replace") for kept in self._kept.values())
        return stdout, stderr

    def _add(self, pipe: IO[bytes] | None, events: int, name: str) -> None:
        if pipe is not None:
            os.set_blocking(pipe.fileno(), False)
            self._selector.register(pipe, events, name)

    def _exited(self) -> bool:
        return os.waitid(os.P_PID, self._popen.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._popen.pid, number)

    def _pump(self, seconds: float) -> None:
        """Move what can be moved now, or wait that long for something to happen."""
        for key, _ in self._selector.select(seconds):
            match key.data:
                case "exit":
                    self._selector.unregister(key.fileobj)
                case "stdin":
                    self._write(key)
                case _:
                    self._read(key)

    def _read(self, key: selectors.SelectorKey) -> int:
        """How many bytes came; 0 when there is nothing now or nothing ever again."""
        try:
            data = os.read(key.fd, 64 * 1024)
        except BlockingIOError:
            return 0
        if not data:
            self._selector.unregister(key.fileobj)
            return 0
        kept = self._kept[key.data]
        kept += data
        del kept[: -self._keep]
        return len(data)

    def _write(self, key: selectors.SelectorKey) -> None:
        try:
            sent = os.write(key.fd, self._unsent[: 64 * 1024])
        except BlockingIOError:
            return
        except OSError:
            sent = len(self._unsent)  # nobody reads it, which is the command's right
        self._unsent = self._unsent[sent:]
        if not self._unsent and self._popen.stdin is not None:
            self._selector.unregister(key.fileobj)
            self._popen.stdin.close()


def _pidfd(pid: int) -> int | None:
    """A file that becomes readable when the process ends; None on kernels before 5.3, where we look every tick."""
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None
