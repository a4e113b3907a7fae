"""What lockctl writes and where: one document or one answer on standard output, everything else on standard error.

The one idea a reader would miss: a command that both reports and fails (fsck, doctor, `windows --check`) puts the error
into its own document, so that standard output still holds exactly one.
"""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from locksmith.core.durations import rfc3339
from locksmith.errors import LocksmithError

SCHEMA = 1

Json = Mapping[str, Any]


class Reported(LocksmithError):
    """A failure that the document on standard output already tells; only the message and the exit code are left to give."""

    def __init__(self, error: LocksmithError) -> None:
        """`error` has the kind and the exit code."""
        super().__init__(str(error))
        self.error = error


@dataclass(frozen=True, slots=True)
class Output:
    """How this call speaks."""

    json: bool = False
    quiet: bool = False
    color: str = "auto"

    @property
    def pretty(self) -> bool:
        """Whether standard output may have colours, boxes and repainting: a terminal, or when told so."""
        if self.color != "auto":
            return self.color == "always"
        return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"

    @property
    def colored(self) -> bool:
        """Whether colours are wanted: NO_COLOR of the environment counts, unless told otherwise."""
        return self.pretty and (self.color == "always" or not os.environ.get("NO_COLOR"))

    def document(self, fields: Json, error: LocksmithError | None = None) -> None:
        """Write one JSON document in one line, with `schema` and `time` in front."""
        failed = {} if error is None else {"error": error_fields(error)}
        whole = {"schema": SCHEMA, "time": rfc3339(datetime.now(UTC)), **fields, **failed}
        line(json.dumps(whole, ensure_ascii=False))

    def say(self, text: str) -> None:
        """A message for people, on standard error."""
        if not self.quiet:
            complain(text)

    def warn(self, text: str) -> None:
        """A message that matters; -q does not silence it."""
        complain(f"lockctl: warning: {text}")

    def failed(self, error: LocksmithError) -> None:
        """Tell why the command failed: on standard error, and as the document with --json."""
        if isinstance(error, Reported):
            complain(f"lockctl: {error}")
            return
        if self.json:
            self.document({}, error)
        complain(f"lockctl: {error}")


def error_fields(error: LocksmithError) -> dict[str, str]:
    """The `error` of a document."""
    return {"kind": error.kind, "message": str(error)}


def line(text: str) -> None:
    """Write to standard output, at once: somebody may be waiting for it."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def complain(text: str) -> None:
    """Write to standard error."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
