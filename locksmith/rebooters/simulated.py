"""A rebooter for simulated machines: it calls whoever plays the machine."""

from collections.abc import Callable, Mapping

from locksmith.rebooters import Accepted, Firing, Idle, NotAccepted


class SimulatedRebooter:
    """Tells a callable, and asks another one whether the simulated machine is still going down."""

    kind = "simulated"

    def __init__(
        self,
        reboot: Callable[[str, Mapping[str, str]], Accepted | NotAccepted],
        pending: Callable[[], Idle | Firing],
    ) -> None:
        """`reboot` gets the reason and the LOCKSMITH_* variables."""
        self._reboot = reboot
        self._pending = pending

    def reboot(self, reason: str, environment: dict[str, str]) -> Accepted | NotAccepted:
        """See Rebooter."""
        return self._reboot(reason, environment)

    def pending(self) -> Idle | Firing:
        """See Rebooter."""
        return self._pending()

    def explain(self) -> str:
        """See Rebooter."""
        pending = self._pending()
        return (
            pending.cause if isinstance(pending, Firing) else "the simulated machine was told, and nothing came of it"
        )
