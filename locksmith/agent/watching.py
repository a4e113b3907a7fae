"""Threads that wait for the store on the agent's behalf: for a key to change, for the own holder, for a session to be kept.

None of them decides anything: each puts an event into the inbox. They are daemons, each call they make is bounded in time,
and a failing store makes them wait with jitter, not end.
"""

import threading
from collections.abc import Callable, Iterable
from datetime import timedelta
from random import Random
from typing import Protocol

from locksmith.core.events import Event, HolderSeen, StoreFailed, Woken
from locksmith.errors import LocksmithError, SessionLost
from locksmith.semaphore.actor import Actor
from locksmith.semaphore.holding import CalledOff, Gone, Kept, Slot, watch_over
from locksmith.stores import Session, Store

POLL = timedelta(seconds=20)
"""One long poll of a key; well below the 55 s that any blocking call may last."""
HOLDER_POLL = timedelta(seconds=5)
"""The own holder is watched, pause, hold and halt are looked at this often."""

Post = Callable[[Event], None]


class Stops(Protocol):
    """What runs until it is stopped."""

    def stop(self) -> None:
        """No more events."""


class Keeps(Stops, Protocol):
    """What keeps a session."""

    def end(self) -> None:
        """Stop, and end the session."""


class Wants(Protocol):
    """What watches keys."""

    def want(self, watches: Iterable[tuple[str, int]]) -> None:
        """Watch just these (key, mod) from now on."""


class Watching(Protocol):
    """Makes the watches of one agent: threads in the real one, steps of the scheduler in a simulation."""

    def keys(self, store: Store, post: Post, random: Random) -> Wants:
        """For the queue."""

    def holder(self, actor: Actor, slot: Slot, mod: int, post: Post) -> Stops:
        """For the own holder, while it drains."""

    def session(self, session: Session, post: Post) -> Keeps:
        """For a ticket's session."""


class KeyWatches:
    """Watches of single keys, each in a thread of its own; what is not wanted any more ends with its long poll."""

    def __init__(self, store: Store, post: Post, random: Random) -> None:
        """`post` takes a Woken when a wanted key changed."""
        self._store = store
        self._post = post
        self._random = random
        self._lock = threading.Lock()
        self._wanted: dict[tuple[str, int], threading.Event] = {}

    def want(self, watches: Iterable[tuple[str, int]]) -> None:
        """Watch just these (key, mod) from now on."""
        with self._lock:
            wanted = set(watches)
            for watch in set(self._wanted) - wanted:
                self._wanted.pop(watch).set()
            for watch in wanted - set(self._wanted):
                stop = threading.Event()
                self._wanted[watch] = stop
                threading.Thread(target=self._run, args=(*watch, stop), daemon=True, name=f"watch {watch[0]}").start()

    def _run(self, key: str, mod: int, stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                changed = self._store.watch(key, mod, POLL)
            except LocksmithError:
                stop.wait(self._random.uniform(1, 5))
                continue
            if changed and not stop.is_set():
                with self._lock:
                    self._wanted.pop((key, mod), None)
                self._post(Woken())
                return


class HolderWatch:
    """Looks at the own holder while it drains and arms: on each change of it, and every HOLDER_POLL."""

    def __init__(self, actor: Actor, slot: Slot, mod: int, post: Post) -> None:
        """Starts at once; the first look comes after the first poll, for the claim has just looked."""
        self._actor = actor
        self._slot = slot
        self._mod = mod
        self._post = post
        self._stop = threading.Event()
        threading.Thread(target=self._run, daemon=True, name="holder watch").start()

    def stop(self) -> None:
        """No more events."""
        self._stop.set()

    def _run(self) -> None:
        mod = self._mod
        while not self._stop.is_set():
            try:
                self._actor.store.watch(self._slot.key, mod, HOLDER_POLL)
                if self._stop.is_set():
                    return
                seen = watch_over(self._actor, self._slot)
            except LocksmithError as error:
                self._tell(StoreFailed("watch", error.kind, str(error)))
                self._stop.wait(self._actor.random.uniform(1, 5))
                continue
            match seen:
                case Gone():
                    self._tell(HolderSeen(gone=True))
                    return
                case CalledOff(_, kind, reason):
                    self._tell(HolderSeen(kind=kind, reason=reason))
                    return
                case Kept(current):
                    mod = current.mod
                    self._tell(HolderSeen())

    def _tell(self, event: Event) -> None:
        if not self._stop.is_set():
            self._post(event)


class Keepalive:
    """Keeps the session of a ticket alive. That a session ended is a reason to look, not an answer."""

    def __init__(self, session: Session, post: Post) -> None:
        """Starts at once."""
        self.session = session
        self._post = post
        self._stop = threading.Event()
        threading.Thread(target=self._run, daemon=True, name="session").start()

    def stop(self) -> None:
        """No more keepalives."""
        self._stop.set()

    def end(self) -> None:
        """Stop, and end the session; one that cannot be ended ends by itself."""
        self.stop()
        try:
            self.session.end()
        except LocksmithError:
            return

    def _run(self) -> None:
        interval = self.session.ttl.total_seconds() / 3
        while not self._stop.wait(interval):
            try:
                self.session.keepalive()
            except SessionLost:
                self._post(Woken())
                return
            except LocksmithError:
                continue


class Threads:
    """Each watch a thread."""

    def keys(self, store: Store, post: Post, random: Random) -> Wants:
        """See Watching."""
        return KeyWatches(store, post, random)

    def holder(self, actor: Actor, slot: Slot, mod: int, post: Post) -> Stops:
        """See Watching."""
        return HolderWatch(actor, slot, mod, post)

    def session(self, session: Session, post: Post) -> Keeps:
        """See Watching."""
        return Keepalive(session, post)
