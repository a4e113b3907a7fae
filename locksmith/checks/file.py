"""A file that stands in the way while it is there, or while it is not there.

The idea a reader would miss: only what is surely absent is absent. A link to nothing is in the way of both, and a folder that
may not be searched is no answer; the first line of a regular file is the reason, and of nothing else, since a pipe or a
device would have to be waited for.
"""

import os
import stat
from pathlib import Path
from typing import Literal

from locksmith.checks import Occasion, Role
from locksmith.core.verdict import Closed, Open, Unknown, Verdict
from locksmith.host.outcome import printable

_LINE_BYTES = 4096


class FileCheck:
    """Closed while the path is as `closed_when` says."""

    def __init__(
        self, name: str, role: Role, path: Path, closed_when: Literal["present", "absent"] = "present"
    ) -> None:
        """Any kind of file counts, folders too. A file system that hangs is not bounded: keep it on a local one."""
        self._name = name
        self._role = role
        self._path = path
        self._closed_when = closed_when

    @property
    def name(self) -> str:
        """See Check."""
        return self._name

    @property
    def kind(self) -> str:
        """See Check: `gate` or `health`."""
        return self._role

    def ask(self, occasion: Occasion) -> Verdict:  # noqa: ARG002 - as the protocol has it
        """See Check."""
        try:
            mode = self._path.stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            return self._absent()
        except OSError as error:
            return Unknown(f"cannot look for {self._path}: {error.strerror}")
        if self._closed_when == "absent":
            return Open(f"{self._path} is there")
        said = self._first_line() if stat.S_ISREG(mode) else ""
        return Closed(
            f"{self._path}: {said}" if said else f"{self._path} is there: remove it when it is no longer needed"
        )

    def _absent(self) -> Verdict:
        if self._path.is_symlink():
            return Closed(f"{self._path} is a link to nothing: remove or correct it")
        if self._closed_when == "present":
            return Open()
        return Closed(f"{self._path} is not there")

    def _first_line(self) -> str:
        """Without control characters, and short; empty when it cannot be read."""
        try:
            # What was a file a moment ago may be a pipe now: NONBLOCK, so that opening it never waits for a writer.
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb", buffering=0) as file:
                data = file.read(_LINE_BYTES) or b""
        except OSError:
            return ""
        return printable(data.decode(errors="replace").partition("\n")[0])
