"""A command that waits at a gate until its process is on record: how a reboot command is started.

The idea a reader would miss: whoever starts first and writes the pid afterwards has a moment in which the command can fire
while no later life of the agent could know of it. Here a shell waits for one line on its standard input before it becomes
the command. When the agent dies before it has written that line, the shell reads the end of the file and leaves: nothing
has fired. The command runs in a session of its own, outlives the agent, and writes to a file instead of a pipe.
"""

import os
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from locksmith.host.groups import start_ticks
from locksmith.host.outcome import NotStarted
from locksmith.host.process import KEPT_BYTES, child_environment, not_started

_GATE = 'IFS= read -r _ && exec "$@" </dev/null'
_GONE_WAIT = 5.0


class Gated:
    """A process that is not yet the command. `pid` is also its process group's number."""

    def __init__(self, popen: "subprocess.Popen[bytes]", output: Path, ticks: int) -> None:
        """Take over a shell that waits; use `start`."""
        self._popen = popen
        self._output = output
        self.pid = popen.pid
        self.start_ticks = ticks

    def let_go(self) -> None:
        """Open the gate: from now on the command may fire."""
        if self._popen.stdin is not None:
            with suppress(BrokenPipeError):
                os.write(self._popen.stdin.fileno(), b"\n")
            self._popen.stdin.close()

    def abandon(self) -> None:
        """Close the gate for ever: the command surely does not run."""
        if self._popen.stdin is not None:
            self._popen.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self._popen.wait(timeout=_GONE_WAIT)

    def wait(self, limit: timedelta) -> int | None:
        """The exit code (minus the signal), None while it runs on after the limit."""
        try:
            return self._popen.wait(timeout=limit.total_seconds())
        except subprocess.TimeoutExpired:
            return None

    def output(self) -> str:
        """The end of what it has written so far."""
        try:
            with self._output.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - KEPT_BYTES))
                return file.read().decode(errors="replace")
        except OSError:
            return ""


def start(command: Sequence[str], *, environment: Mapping[str, str], output: Path) -> Gated | NotStarted:
    """Start the process that will become the command; it waits until `let_go`. `output` is written anew."""
    if not command:
        return NotStarted("the command is an empty list")
    try:
        file = output.open("wb")
    except OSError as error:
        return NotStarted(f"cannot write {output}: {error.strerror}")
    try:
        with file:
            popen = subprocess.Popen(
                ["/bin/sh", "-c", _GATE, command[0], *command],
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=child_environment(environment),
                start_new_session=True,
                bufsize=0,
            )
    except (OSError, ValueError) as error:
        return not_started(command, error)
    ticks = start_ticks(popen.pid)
    gated = Gated(popen, output, 0 if ticks is None else ticks)
    if ticks is None:
        gated.abandon()
        return NotStarted(f"{command[0]}: /proc does not show the process {popen.pid}; mount it without hidepid")
    return gated
