"""What a check of `lockctl doctor` says."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from locksmith.cli.deadline import OutOfTime
from locksmith.errors import LocksmithError

State = Literal["pass", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: what was tried and found, and what to do when it is not well."""

    name: str
    state: State
    text: str
    remedy: str = ""


def guarded(name: str, check: Callable[[], Finding | Iterator[Finding] | None]) -> Iterator[Finding]:
    """The check's findings; an error of it is a finding too."""
    try:
        found = check()
        if isinstance(found, Finding):
            yield found
        elif found is not None:
            yield from found
    except OutOfTime:
        yield Finding(name, "fail", "not tried, or not to its end: the time of this command is over", "--timeout 60s")
    except LocksmithError as error:
        yield Finding(name, "fail", str(error))
