"""What can be learnt of, and told to, the agent on this machine, through its run_dir."""

import os
import socket
from contextlib import suppress
from pathlib import Path

POKE = b"poke"
SOCKET = "poke.sock"
LOCK = "locksmithd.lock"
LOCKS = Path("/proc/locks")


def poke(run_dir: Path) -> None:
    """Let it look at the store now instead of at its next turn. Nobody there, or no right to: it looks later by itself."""
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.setblocking(False)
        channel.sendto(POKE, str(run_dir / SOCKET))


def agent_pid(run_dir: Path, locks: Path = LOCKS) -> int | None:
    """The process that holds the agent's file lock, None when nobody does.

    It is looked up in proc(5)'s list of locks and not tried: trying would make an agent that starts at that moment fail.
    Raises OSError when the list cannot be read.
    """
    try:
        status = (run_dir / LOCK).stat()
    except FileNotFoundError:
        return None
    wanted = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    for row in locks.read_text().splitlines():
        # 1: FLOCK  ADVISORY  WRITE 1234 fe:01:5678 0 EOF; one that waits has "->" behind the number
        fields = row.split()
        if "FLOCK" in fields[1:2] and wanted in fields[5:6]:
            return int(fields[4])
    return None
