"""What a simulated host has besides its agent: clocks, a package system, and the service that it is there for."""

from locksmith.checks import Occasion
from locksmith.core.needs import Answer, Need, NotNeeded
from locksmith.core.verdict import Closed, Open
from locksmith.demo.plan import BEFORE
from locksmith.host.clock import SystemClock


class HostClock(SystemClock):
    """The clocks of this machine; simulated hosts trust theirs."""

    def synchronised(self) -> bool:
        """See Clock."""
        return True


class Release:
    """What is installed and what is staged: an update provider."""

    name = "release"
    kind = "simulated"

    def __init__(self) -> None:
        """The old version runs."""
        self.running = BEFORE
        self.staged: str | None = None

    def ask(self) -> Answer:
        """See Provider."""
        staged = self.staged
        if staged is None:
            return NotNeeded(self.name, self.running)
        return Need(self.name, self.kind, f"release {staged}", f"release {staged}", self.running, staged)


class Service:
    """What the host is there for: a health check."""

    name = "web"
    kind = "health"

    def __init__(self) -> None:
        """It answers."""
        self.well = True

    def ask(self, occasion: Occasion) -> Open | Closed:
        """See Check."""
        del occasion
        return Open() if self.well else Closed("answers 503")
