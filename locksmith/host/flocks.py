"""Who holds a file lock of flock(2).

The idea a reader would miss: it is looked up in proc(5)'s list of locks and never tried, because a try that succeeds holds
the lock for a moment, and the program that it belongs to, if it starts in that moment, fails.
"""

import os
from pathlib import Path

LOCKS = Path("/proc/locks")


def flock_holder(path: Path, locks: Path = LOCKS) -> int | None:
    """The process that has the exclusive or shared lock of the file; None when nobody has, or the file is missing.

    The number is that of the process that took it; a child may have inherited it since. Raises OSError when the file or the
    list cannot be read.
    """
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    wanted = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    for row in locks.read_text().splitlines():
        # 1: FLOCK  ADVISORY  WRITE 1234 fe:01:5678 0 EOF; one that waits has "->" behind the number
        fields = row.split()
        if "FLOCK" in fields[1:2] and wanted in fields[5:6]:
            return int(fields[4])
    return None
