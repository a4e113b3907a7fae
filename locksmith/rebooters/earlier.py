"""What another kind of rebooter began in this boot, before the configuration was changed.

The idea a reader would miss: the operator changes `reboot.kind` just when the one that is set hangs. What that one has
started may still take the machine down, and the new one cannot know: without this, DISARM would give the slot back under a
command that fires an hour later. Only where a record of the other kind is left in `run_dir` is that kind asked.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from locksmith.rebooters import Accepted, Firing, Idle, NotAccepted, Rebooter


class EarlierCalls:
    """The inner rebooter, but for what others may still do. `kind` is the inner one's."""

    def __init__(self, inner: Rebooter, others: Sequence[tuple[Path, Rebooter]]) -> None:
        """`others` are the records that other kinds leave, each with whoever can say what is behind it."""
        self._inner = inner
        self._others = tuple(others)

    @property
    def kind(self) -> str:
        """See Rebooter."""
        return self._inner.kind

    def reboot(self, reason: str, environment: dict[str, str]) -> Accepted | NotAccepted:
        """See Rebooter. While an earlier call may fire, no second one."""
        return Accepted() if isinstance(self._earlier(), Firing) else self._inner.reboot(reason, environment)

    def pending(self) -> Idle | Firing:
        """See Rebooter."""
        earlier = self._earlier()
        return earlier if isinstance(earlier, Firing) else self._inner.pending()

    def explain(self) -> str:
        """See Rebooter."""
        earlier = self._earlier()
        own = earlier.cause if isinstance(earlier, Firing) else ""
        return "; ".join(filter(None, (own, self._inner.explain())))

    def _earlier(self) -> Idle | Firing:
        for record, other in self._others:
            if os.path.lexists(record) and isinstance(pending := other.pending(), Firing):
                return pending
        return Idle()
