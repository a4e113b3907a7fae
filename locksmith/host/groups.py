"""Process groups as the kernel shows them, so that a command can be found again by a later life of the agent.

The idea a reader would miss: a pid alone names nothing after a while, because the kernel gives it out again; pid and start
time together do (proc_pid_stat(5), field 22, in clock ticks since the boot). A zombie runs nothing and counts as gone.
"""

import os
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class _Process:
    """What we need of /proc/<pid>/stat."""

    pid: int
    state: str
    group: int
    start_ticks: int


def start_ticks(pid: int) -> int | None:
    """When the process was started, in clock ticks since the boot; None when there is no such process."""
    process = _process(str(pid))
    return None if process is None else process.start_ticks


def members(pgid: int) -> tuple[int, ...]:
    """The pids of the group that still run something; processes that /proc hides from us are not among them."""
    return tuple(process.pid for process in _processes() if process.group == pgid and process.state not in "ZX")


def group_alive(pgid: int, start_ticks: int) -> bool:
    """Whether the group that a process with this pid and start time has led still runs something.

    When in doubt it is alive: its leader is gone but members are left, or the kernel knows members that /proc hides
    (hidepid, another user).
    """
    try:
        os.killpg(pgid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        hidden = True
    else:
        hidden = False
    leader = _process(str(pgid))
    if leader is not None and leader.start_ticks != start_ticks:
        return False  # the number was given out again, which the kernel does only after the last member has gone
    return hidden or bool(members(pgid))


def _processes() -> tuple[_Process, ...]:
    names = (name for name in os.listdir(PROC) if name.isdigit())  # noqa: PTH208 - twice as fast, and asked often
    return tuple(process for name in names if (process := _process(name)) is not None)


def _process(pid: str) -> _Process | None:
    try:
        text = (PROC / pid / "stat").read_bytes()
    except OSError:
        return None
    # The name in brackets may hold anything, brackets and blanks too: everything else stands after the last one.
    fields = text[text.rfind(b")") + 2 :].split()
    return _Process(pid=int(pid), state=fields[0].decode(), group=int(fields[2]), start_ticks=int(fields[19]))
