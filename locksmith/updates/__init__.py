"""Update providers: who says that this machine needs a reboot. Contract first, one module an implementation.

The answers themselves are values of the core: `locksmith.core.needs`.
"""

from typing import Protocol

from locksmith.core.needs import Answer, Need, NeedUnknown, NotNeeded

__all__ = ["Answer", "Need", "NeedUnknown", "NotNeeded", "Provider"]


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
