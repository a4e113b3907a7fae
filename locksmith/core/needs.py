"""What an update provider answers: a reboot is needed, is not needed, or nobody can say.

*Unknown* never causes a reboot and never withdraws one. A need carries a fingerprint, so that the loop guard can tell
"the same again after the reboot" from "something new".
"""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Need:
    """A reboot is needed.

    `provider` is the entry's name in the configuration, `kind` the implementation's. `fingerprint` names what is staged,
    in which version: equal means "the same update". `reason` is for people ("linux-image-6.1.0-27, libc6"). `origin` and
    `target` are the versions before and after where the provider knows them. `since` is when it was staged (aware, UTC),
    None when the provider cannot tell.
    """

    provider: str
    kind: str
    fingerprint: str
    reason: str
    origin: str | None = None
    target: str | None = None
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class NotNeeded:
    """Nothing is staged. `running` is the running version where it is known."""

    provider: str
    running: str | None = None


@dataclass(frozen=True, slots=True)
class NeedUnknown:
    """No answer could be had; the reason names the thing and the remedy."""

    provider: str
    reason: str


Answer = Need | NotNeeded | NeedUnknown
