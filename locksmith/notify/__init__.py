"""Notifications: what becomes of this node, told to people and programs outside.

The ideas a reader would miss. Nobody here decides anything and nobody waits for anything here: events are derived from the
pictures that the loop publishes (`events`), kept in `state_dir` (`channel`) and sent from threads of their own, so that a
receiver that is slow, wrong or away never holds up a reboot. An event that could not be sent before the machine went down is
sent after the boot, with the time at which it happened. And a dead node says nothing: that one is missing or overdue is for
the alert rules to say, which look at the store.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Delivered:
    """The receiver has it."""


@dataclass(frozen=True, slots=True)
class Undelivered:
    """Not now: it is tried again. `reason` holds no secret; `wait` is what the receiver asks for, if it does."""

    reason: str
    wait: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """The receiver will never take this one. `reason` holds no secret."""

    reason: str


Outcome = Delivered | Undelivered | Refused


class Sink(Protocol):
    """A way to one receiver."""

    def send(self, document: Mapping[str, Any]) -> Outcome:
        """Tell one event, bounded in time. Its `id` is the same at each try, for the receiver to know it again."""
