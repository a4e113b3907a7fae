"""What a program says as one JSON object, whole or not at all.

The idea a reader would miss: of a long output only the end is kept (host/process.py), and half a document must never be
read as one. So as much is kept as no honest answer has, and an answer of that length counts as cut.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from locksmith.host.outcome import Finished, describe
from locksmith.host.process import run

MAX_BYTES = 4 * 1024 * 1024
"""`rpm-ostree status --json` has 28 KB for one deployment from a container, since it repeats the image's manifest."""

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Unsaid:
    """There is no document; the reason is the command and why."""

    reason: str


def said(
    command: Sequence[str],
    *,
    timeout: timedelta,
    environment: Mapping[str, str] | None = None,
    max_bytes: int = MAX_BYTES,
) -> Document | Unsaid:
    """Run the command, in the C locale; it has to end with 0 and to write one JSON object. Raises nothing."""
    name = " ".join(command)
    outcome = run(command, timeout=timeout, environment={"LC_ALL": "C"} | dict(environment or {}), keep=max_bytes)
    if not isinstance(outcome, Finished) or outcome.code != 0:
        return Unsaid(f"{name}: {describe(outcome)}")
    # Bytes that are no UTF-8, and a character that was cut in two, only make the text longer: a cut one is never missed.
    if len(outcome.stdout.encode()) >= max_bytes:
        return Unsaid(f"{name}: the answer is longer than {max_bytes} bytes")
    document = decoded(outcome.stdout)
    return Unsaid(f"{name}: the answer is not a JSON object") if document is None else document


def decoded(text: str) -> Document | None:
    """The object that the text is, None when it is anything else."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def word(value: Any) -> str:
    """A text or a number as text, anything else as nothing."""
    return str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else ""
