"""What the agent's watching threads would do, as steps of the scheduler."""

from typing import TYPE_CHECKING

from locksmith.core import events as ev
from locksmith.errors import LocksmithError, SessionLost
from locksmith.semaphore.holding import CalledOff, Gone, Slot, watch_over

if TYPE_CHECKING:
    from tests.simulation.machine import Host

HOLDER_LOOK = 5.0


class Watches:
    """The watches of one life of an agent; see locksmith.agent.watching.Watching. `run` is called for what is due."""

    def __init__(self, host: "Host") -> None:
        self.host = host
        self.wanted: tuple[tuple[str, int], ...] = ()
        self.slot: Slot | None = None
        self.next_look = 0.0
        self.kept: list[Kept] = []
        self.seen = -1

    def keys(self, store, post, random) -> "Watches":
        return self

    def want(self, watches) -> None:
        self.wanted, self.seen = tuple(watches), -1

    def holder(self, actor, slot, mod, post) -> "HolderLook":
        self.slot, self.next_look = slot, self.host.now() + HOLDER_LOOK
        return HolderLook(self)

    def session(self, session, post) -> "Kept":
        kept = Kept(self, session)
        self.kept.append(kept)
        return kept

    def run(self, revision: int) -> None:
        """Look at what is watched. `revision` changes with the store."""
        now = self.host.now()
        if self.wanted and revision != self.seen:
            self.seen = revision
            found = self.host.store.inner.read([key for key, _ in self.wanted])
            if any(found[key].mod != mod for key, mod in self.wanted):
                self.wanted = ()
                self.host.inbox.append(ev.Woken())
        if self.slot is not None and now >= self.next_look:
            self.next_look = now + HOLDER_LOOK
            self._look(self.slot)
        for kept in self.kept.copy():
            if now >= kept.next:
                kept.next = now + kept.session.ttl.total_seconds() / 3
                try:
                    kept.session.keepalive()
                except SessionLost:
                    self.kept.remove(kept)
                    self.host.inbox.append(ev.Woken())
                except LocksmithError:
                    continue

    def _look(self, slot: Slot) -> None:
        try:
            seen = watch_over(self.host.hands.body.actor, slot)
        except LocksmithError as error:
            self.host.inbox.append(ev.StoreFailed("watch", error.kind, str(error)))
            return
        match seen:
            case Gone():
                event = ev.HolderSeen(gone=True)
            case CalledOff(_, kind, reason):
                event = ev.HolderSeen(kind=kind, reason=reason)
            case _:
                event = ev.HolderSeen()
        self.host.inbox.append(event)


class HolderLook:
    """The look at the own holder; see Stops."""

    def __init__(self, watches: Watches) -> None:
        self.watches = watches

    def stop(self) -> None:
        self.watches.slot = None


class Kept:
    """A session that is kept; see Keeps."""

    def __init__(self, watches: Watches, session) -> None:
        self.watches, self.session = watches, session
        self.next = watches.host.now() + session.ttl.total_seconds() / 3

    def stop(self) -> None:
        if self in self.watches.kept:
            self.watches.kept.remove(self)

    def end(self) -> None:
        self.stop()
        try:
            self.session.end()
        except LocksmithError:
            return
