"""The watches of one node as events of the clock instead of threads; each long poll that a real one makes is counted."""

from collections.abc import Callable, Iterable
from random import Random

from locksmith.agent.watching import HOLDER_POLL, POLL, Post
from locksmith.core import events as ev
from locksmith.errors import SessionLost
from locksmith.semaphore.actor import Actor
from locksmith.semaphore.holding import CalledOff, Gone, Kept, Slot, watch_over
from locksmith.stores import Session, Store
from tests.simulation.large.site import Site


class Watches:
    """See agent.watching.Watching, whose three kinds are made here. `polled` takes how many long polls one watch was."""

    def __init__(self, site: Site, polled: Callable[[int], None]) -> None:
        self.site = site
        self.polled = polled

    def keys(self, store: Store, post: Post, random: Random) -> "KeyWatches":
        return KeyWatches(self, post)

    def holder(self, actor: Actor, slot: Slot, mod: int, post: Post) -> "HolderWatch":
        return HolderWatch(self, actor, slot, mod, post)

    def session(self, session: Session, post: Post) -> "Keepalive":
        return Keepalive(self.site, session, post)


class KeyWatches:
    """See agent.watching.KeyWatches."""

    def __init__(self, watches: Watches, post: Post) -> None:
        self._watches, self._site = watches, watches.site
        self._post = post
        self._wanted: dict[tuple[str, int], tuple[int, float]] = {}

    def want(self, watches: Iterable[tuple[str, int]]) -> None:
        wanted = set(watches)
        for watch in sorted(set(self._wanted) - wanted):
            self._end(watch)
        for key, mod in sorted(wanted - set(self._wanted)):
            now = self._site.clock.boottime()
            number = self._site.on_change(key, mod, lambda watch=(key, mod): self._wake(watch))
            self._wanted[key, mod] = (number, now)

    def _wake(self, watch: tuple[str, int]) -> None:
        if watch in self._wanted:
            self._end(watch)
            self._post(ev.Woken())

    def _end(self, watch: tuple[str, int]) -> None:
        number, since = self._wanted.pop(watch)
        self._site.forget(watch[0], number)
        self._watches.polled(1 + int((self._site.clock.boottime() - since) / POLL.total_seconds()))


class HolderWatch:
    """See agent.watching.HolderWatch: looks when the holder changes, and every HOLDER_POLL."""

    def __init__(self, watches: Watches, actor: Actor, slot: Slot, mod: int, post: Post) -> None:
        self._watches, self._site = watches, watches.site
        self._actor, self._slot, self._post = actor, slot, post
        self._stopped = False
        self._look_number = 0
        self._watch(mod)

    def stop(self) -> None:
        if not self._stopped:
            self._stopped = True
            self._site.forget(self._slot.key, self._number)

    def _watch(self, mod: int) -> None:
        self._look_number += 1
        self._watches.polled(1)
        look = lambda number=self._look_number: self._look(number)  # noqa: E731 - bound to this one look
        self._number = self._site.on_change(self._slot.key, mod, look)
        self._site.clock.after(HOLDER_POLL.total_seconds(), look)

    def _look(self, number: int) -> None:
        if self._stopped or number != self._look_number:
            return
        self._site.forget(self._slot.key, self._number)
        match watch_over(self._actor, self._slot):
            case Gone():
                self._post(ev.HolderSeen(gone=True))
            case CalledOff(_, kind, reason):
                self._post(ev.HolderSeen(kind=kind, reason=reason))
            case Kept(current):
                self._watch(current.mod)
                self._post(ev.HolderSeen())


class Keepalive:
    """See agent.watching.Keepalive."""

    def __init__(self, site: Site, session: Session, post: Post) -> None:
        self._site, self._session, self._post = site, session, post
        self._stopped = False
        self._next()

    def stop(self) -> None:
        self._stopped = True

    def end(self) -> None:
        self.stop()
        self._session.end()

    def _next(self) -> None:
        self._site.clock.after(self._session.ttl.total_seconds() / 3, self._keep)

    def _keep(self) -> None:
        if self._stopped:
            return
        try:
            self._session.keepalive()
        except SessionLost:
            self._post(ev.Woken())
        else:
            self._next()
