"""Update providers: who says that this machine needs a reboot. Contract first, one module an implementation.

The answers themselves are values of the core: `locksmith.core.needs`.
"""

from datetime import timedelta
from typing import Protocol, runtime_checkable

from locksmith.core.needs import Answer, Need, NeedUnknown, NotNeeded

__all__ = ["Answer", "Need", "NeedUnknown", "NotNeeded", "Provider", "Signalling"]


class Provider(Protocol):
    """One source of needs."""

    @property
    def name(self) -> str:
        """The entry's name in the configuration."""

    @property
    def kind(self) -> str:
        """`reboot-required`, `command` and so on."""

    def ask(self) -> Answer:
        """Ask now; bounded in time; never raises for what a host can do wrong (that is NeedUnknown)."""


@runtime_checkable
class Signalling(Protocol):
    """A provider that also hears of a change by itself. Signals can be missed, so it is polled all the same."""

    def wait(self, limit: timedelta) -> bool:
        """Wait for a change, at most `limit`; True when `ask` may answer otherwise now. Raises nothing, never spins.

        Called again and again from one thread of its own, beside `ask` from others.
        """
