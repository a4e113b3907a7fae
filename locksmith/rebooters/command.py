"""A command of the operator that reboots the machine.

The ideas a reader would miss. The command's process is on record in `run_dir` before it can do anything (host/gated.py),
so a later life of the agent in the same boot knows that it may still fire. And a failure counts as "nothing will come of
it" only when its whole process group is gone and systemd, where there is one, is not going down either: `shutdown -r +1`
ends at once and fires a minute later. A command that leaves its session by other means cannot be followed: don't.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from locksmith.errors import Damaged
from locksmith.host import gated
from locksmith.host.files import write_durably
from locksmith.host.groups import group_alive
from locksmith.host.outcome import NotStarted, last_line, signal_name
from locksmith.host.system import System
from locksmith.rebooters import Accepted, Firing, Idle, NotAccepted
from locksmith.rebooters.systemctl import blocks
from locksmith.rebooters.systemctl import explain as systemd_explain
from locksmith.rebooters.systemctl import pending as systemd_pending

_SAID = 4096
_WAIT = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class _Record:
    """The command that was started last, `run_dir/reboot-command.json`."""

    boot: str
    pid: int
    start_ticks: int


class CommandRebooter:
    """Runs a command and remembers it."""

    kind = "command"

    def __init__(
        self, command: Sequence[str], run_dir: Path, boot: str, system: System, wait: timedelta = _WAIT
    ) -> None:
        """`boot` names this boot; `wait` is how long a call looks for an early end of the command."""
        self._command = tuple(command)
        self._record = run_dir / "reboot-command.json"
        self._output = run_dir / "reboot-command.log"
        self._boot = boot
        self._system = system
        self._wait = wait
        self._running: gated.Gated | None = None

    def reboot(self, reason: str, environment: dict[str, str]) -> Accepted | NotAccepted:
        """See Rebooter. The command finds the reason in its environment. While an earlier one may fire, no second one."""
        if isinstance(self.pending(), Firing):
            return Accepted()
        started = gated.start(
            self._command, environment={"LOCKSMITH_REASON": reason} | environment, output=self._output
        )
        if isinstance(started, NotStarted):
            return NotAccepted(f"the reboot command cannot be started: {started.reason}")
        try:
            self._write(_Record(self._boot, started.pid, started.start_ticks))
        except Damaged as error:
            started.abandon()
            return NotAccepted(f"the reboot command was not started, since it cannot be recorded: {error}")
        started.let_go()
        self._running = started
        code = started.wait(self._wait)
        if code is None or code == 0 or isinstance(self.pending(), Firing):
            return Accepted()
        said = last_line(started.output())
        words = f"exit code {code}" if code > 0 else f"killed by {signal_name(-code)}"
        return NotAccepted(f"the reboot command {self._command[0]}: {words}{': ' if said else ''}{said}")

    def pending(self) -> Idle | Firing:
        """See Rebooter."""
        try:
            record = self._read()
        except (OSError, ValueError) as error:
            return Firing(f"cannot read {self._record} ({error}): remove it when no reboot command runs")
        if record is not None and record.boot == self._boot and group_alive(record.pid, record.start_ticks):
            return Firing(f"the reboot command still runs, pid {record.pid}")
        if self._running is not None:
            self._running.wait(timedelta(0))  # it has ended: reap it
        return systemd_pending(self._system)

    def explain(self) -> str:
        """See Rebooter: the command that still runs and what it said last, then what systemd has to say."""
        found = []
        pending = self.pending()
        if isinstance(pending, Firing):
            found.append(pending.cause)
        said = self._said()
        if said:
            found.append(f"the reboot command said: {said}")
        locks = [line for line in self._system.inhibitors() if blocks(line)] if self._system.present() else []
        return "; ".join([*found, systemd_explain(self._system, locks)])

    def _said(self) -> str:
        """The last line of the command's output, where there is one."""
        try:
            with self._output.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - _SAID))
                return last_line(file.read().decode(errors="replace"))
        except OSError:
            return ""

    def _write(self, record: _Record) -> None:
        document = {"boot": record.boot, "pid": record.pid, "start_ticks": record.start_ticks}
        write_durably(self._record, json.dumps(document).encode() + b"\n")

    def _read(self) -> _Record | None:
        """Raises OSError or ValueError when what is there cannot be read."""
        try:
            text = self._record.read_text()
        except FileNotFoundError:
            return None
        document: Any = json.loads(text)
        match document:
            case {"boot": str(boot), "pid": int(pid), "start_ticks": int(ticks)} if pid > 1:
                return _Record(boot, pid, ticks)
            case _:
                raise ValueError("not a record of ours")
