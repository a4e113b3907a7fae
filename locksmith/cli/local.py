"""What can be learnt of, and told to, the agent on this machine, through its run_dir."""

import json
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

from locksmith.host.flocks import flock_holder

POKE = b"poke"
SOCKET = "poke.sock"
LOCK = "locksmithd.lock"
STATUS = "status.json"


def poke(run_dir: Path) -> None:
    """Let it look at the store now instead of at its next turn. Nobody there, or no right to: it looks later by itself."""
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.setblocking(False)
        channel.sendto(POKE, str(run_dir / SOCKET))


def agent_pid(run_dir: Path) -> int | None:
    """The process that holds the agent's file lock, None when nobody does. Raises OSError when that cannot be seen."""
    return flock_holder(run_dir / LOCK)


def status(run_dir: Path) -> dict[str, Any] | None:
    """What the agent last wrote of itself; None when there is nothing to be read."""
    try:
        raw = json.loads((run_dir / STATUS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return raw if isinstance(raw, dict) else None
