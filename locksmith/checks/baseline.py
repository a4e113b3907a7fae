"""What was so before the reboot, kept over it: one small file for an entry of the configuration.

The ideas a reader would miss. The first note of an attempt counts: a later one may be taken when half is drained already. And a
note that is missing, damaged or of another attempt is *no* note: the check judges without a comparison, and says why.
"""

import json
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from locksmith.host.files import write_durably

_VERSION = 1
_MAX_BYTES = 4 * 1024 * 1024

Names = Mapping[str, frozenset[str]]
"""What was so: a word of the check's, and the names of what it holds for."""


@dataclass(frozen=True, slots=True)
class Nothing:
    """There is no note of this attempt; the reason is for people."""

    reason: str


class Baseline:
    """The note in one file. One writer for a file."""

    def __init__(self, path: Path) -> None:
        """`path` stands in the state directory, which survives the reboot."""
        self._path = path

    def note(self, attempt: str, names: Mapping[str, AbstractSet[str]]) -> None:
        """Keep it, and wait until the disk has it. Raises Damaged; what was noted before stays then, for its attempt."""
        document = {"v": _VERSION, "attempt": attempt, "names": {word: sorted(each) for word, each in names.items()}}
        write_durably(self._path, json.dumps(document, indent=1).encode() + b"\n", mode=0o600)

    def noted(self, attempt: str) -> bool:
        """Whether there is a note of this attempt."""
        return not isinstance(self.read(attempt), Nothing)

    def read(self, attempt: str) -> Names | Nothing:
        """What was so before the drain of this attempt."""
        if not attempt:
            return Nothing("no attempt is known")
        try:
            with self._path.open("rb") as file:
                data = file.read(_MAX_BYTES)
        except FileNotFoundError:
            return Nothing("nothing was noted before the reboot")
        except OSError as error:
            return Nothing(f"cannot read {self._path}: {error.strerror}")
        document = _decoded(data)
        if document is None:
            return Nothing(f"{self._path} is damaged")
        if document.get("v") != _VERSION:
            return Nothing(f"{self._path} is of another version of locksmith")
        if document.get("attempt") != attempt:
            return Nothing("nothing was noted before this reboot, only before an earlier one")
        names = _names(document.get("names"))
        return Nothing(f"{self._path} is damaged") if names is None else names


def _decoded(data: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _names(value: Any) -> Names | None:
    if not isinstance(value, dict):
        return None
    for each in value.values():
        if not isinstance(each, list) or not all(isinstance(name, str) for name in each):
            return None
    return {word: frozenset(each) for word, each in value.items()}
