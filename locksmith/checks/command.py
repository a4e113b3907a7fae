"""A command as a gate or as a health check.

The idea a reader would miss: the two roles differ only in what a failure means. For a gate exit code 1 is an answer and
every other failure is none; a health check that fails in whatever way says "not well", since a sick machine is where
commands crash and hang.
"""

from collections.abc import Sequence
from datetime import timedelta

from locksmith.checks import Occasion, Role
from locksmith.core.verdict import Closed, Open, Unknown, Verdict
from locksmith.host.outcome import Finished, describe, last_line
from locksmith.host.process import run


class CommandCheck:
    """Gate: 0 open, 1 closed, else unknown. Health: 0 well, else not. The reason is the last line of the output."""

    def __init__(self, name: str, command: Sequence[str], timeout: timedelta, role: Role) -> None:
        """`command` is a list, run without a shell; after `timeout` its process group is ended."""
        self._name = name
        self._command = tuple(command)
        self._timeout = timeout
        self._role = role

    @property
    def name(self) -> str:
        """See Check."""
        return self._name

    @property
    def kind(self) -> str:
        """See Check: `gate` or `health`."""
        return self._role

    def ask(self, occasion: Occasion) -> Verdict:
        """See Check."""
        outcome = run(self._command, timeout=self._timeout, stdin=occasion.payload, environment=occasion.environment)
        if isinstance(outcome, Finished) and outcome.code == 0:
            return Open(last_line(outcome.stdout, outcome.stderr))
        if self._role == "health":
            return Closed(describe(outcome))
        if isinstance(outcome, Finished) and outcome.code == 1:
            return Closed(last_line(outcome.stdout, outcome.stderr) or "exit code 1")
        return Unknown(describe(outcome))
