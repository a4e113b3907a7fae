"""A command that says whether a reboot is needed: 0 needed, 1 not needed, anything else unknown.

The idea a reader would miss: without a fingerprint of its own the command's whole output is the fingerprint. A command
that prints a date or a counter therefore never meets the loop guard; one that prints nothing meets it after one reboot.
"""

import json
from collections.abc import Sequence
from datetime import timedelta

from locksmith.host.outcome import Finished, describe, printable
from locksmith.host.process import run
from locksmith.updates import Answer, Need, NeedUnknown, NotNeeded
from locksmith.updates.fingerprint import of_text


class CommandProvider:
    """Standard output is text, its first line the reason, or a JSON object with `reason`, `fingerprint`, `from`, `to`."""

    kind = "command"

    def __init__(self, name: str, command: Sequence[str], timeout: timedelta) -> None:
        """`command` is a list, run without a shell; after `timeout` its process group is ended."""
        self._name = name
        self._command = tuple(command)
        self._timeout = timeout

    @property
    def name(self) -> str:
        """See Provider."""
        return self._name

    def ask(self) -> Answer:
        """See Provider."""
        outcome = run(self._command, timeout=self._timeout)
        match outcome:
            case Finished(code=0, stdout=stdout):
                return self._need(stdout)
            case Finished(code=1):
                return NotNeeded(self._name)
            case _:
                return NeedUnknown(self._name, describe(outcome))

    def _need(self, stdout: str) -> Need:
        said = _object(stdout)
        first = "" if said else next((line for line in map(printable, stdout.splitlines()) if line), "")
        return Need(
            provider=self._name,
            kind=self.kind,
            fingerprint=said.get("fingerprint") or of_text(stdout),
            reason=printable(said.get("reason", "")) or first or f"the command of updates.{self._name} says so",
            origin=said.get("from"),
            target=said.get("to"),
        )


def _object(text: str) -> dict[str, str]:
    """The members of a JSON object that hold text or a number; empty when it is no JSON object."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(document, dict):
        return {}
    said = {key: str(value) for key, value in document.items() if isinstance(value, (str, int)) and value != ""}
    # JSON can hold half of a surrogate pair, which the journal cannot: an answer must never end the agent.
    return {key: value.encode(errors="replace").decode() for key, value in said.items()}
