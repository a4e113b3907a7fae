"""A store in this process's memory: for tests, the simulation and the demo.

It keeps the whole contract, and it is the strictest store, so that a mistake shows here before it shows on Consul. The
one idea a reader would miss: sessions expire by the injected clock and only when somebody looks, so that a simulation
with a virtual clock decides when a ticket dies, and nothing here is random: two runs give the same revisions and
session ids.
"""

import threading
import time
from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Self

from locksmith.errors import Conflict, Rejected, SessionLost, Unavailable
from locksmith.host.clock import Clock, SystemClock
from locksmith.stores import (
    ABSENT,
    MIN_SESSION_TTL,
    Check,
    Facts,
    Item,
    Put,
    Session,
    Snapshot,
    validate_commit,
    validate_read,
)

_SYSTEM_CLOCK = SystemClock()
_EXPIRY_POLL = 0.05
"""Seconds between two looks at the clock while the watched key is ephemeral: its end notifies nobody."""


@dataclass(slots=True)
class MemoryState:
    """What the clients of one store share. `changed` guards everything else; call the rest with it held.

    What is read is found without looking at all keys, so that a simulated fleet may have hundreds of thousands of them.
    """

    clock: Clock = _SYSTEM_CLOCK
    items: dict[str, Item] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    """The keys of `items`, sorted."""
    expiries: dict[str, float] = field(default_factory=dict)
    """Boot-time seconds at which each live session ends."""
    ephemeral: dict[str, set[str]] = field(default_factory=dict)
    """The keys of each live session that has some."""
    next_sweep: float = 0.0
    """No session ends before this second of the boot-time clock."""
    revision: int = 0
    sessions_opened: int = 0
    changed: threading.Condition = field(default_factory=threading.Condition)

    def sweep(self) -> None:
        """Drop sessions whose time is over, and their keys."""
        now = self.clock.boottime()
        if now < self.next_sweep:
            return
        for session in [session for session, expiry in self.expiries.items() if expiry <= now]:
            self.drop(session)
        self.next_sweep = min(self.expiries.values(), default=float("inf"))

    def extend(self, session: str, ttl: float) -> None:
        """Begin a session, or let it live on, for so many seconds from now."""
        self.expiries[session] = self.clock.boottime() + ttl
        self.next_sweep = min(self.next_sweep, self.expiries[session])

    def drop(self, session: str) -> None:
        """End a session."""
        self.expiries.pop(session, None)
        for key in sorted(self.ephemeral.pop(session, ())):
            self.remove(key)
        self.changed.notify_all()

    def under(self, prefix: str) -> Iterator[tuple[str, Item]]:
        """The keys that start with the prefix, in order."""
        for place in range(bisect_left(self.order, prefix), len(self.order)):
            key = self.order[place]
            if not key.startswith(prefix):
                return
            yield key, self.items[key]

    def put(self, key: str, item: Item) -> None:
        """Write a key."""
        if key not in self.items:
            insort(self.order, key)
        self.items[key] = item
        if item.session is not None:
            self.ephemeral.setdefault(item.session, set()).add(key)

    def remove(self, key: str) -> None:
        """Delete a key, if it is there."""
        item = self.items.pop(key, None)
        if item is None:
            return
        del self.order[bisect_left(self.order, key)]
        if item.session is not None:
            self.ephemeral.get(item.session, set()).discard(key)


class MemoryStore:
    """One client of a memory store; `client()` makes another one of the same store."""

    kind = "memory"

    def __init__(self, clock: Clock = _SYSTEM_CLOCK, *, prefix: str = "", state: MemoryState | None = None) -> None:
        """A new empty store with its clock, or with `state` a client of that one (whose clock counts)."""
        self._state = MemoryState(clock) if state is None else state
        self._prefix = f"{prefix}/" if prefix else ""
        self._closed = False

    def client(self, prefix: str | None = None) -> Self:
        """Another client of the same store, with the same prefix unless another is given."""
        other = self._prefix.removesuffix("/") if prefix is None else prefix
        return type(self)(self._state.clock, prefix=other, state=self._state)

    def read(self, keys: Sequence[str] = (), prefixes: Sequence[str] = ()) -> Snapshot:
        """See Store."""
        validate_read(keys, prefixes)
        with self._state.changed:
            self._ready()
            items = self._state.items
            found = {full: items[full] for key in keys if (full := self._prefix + key) in items}
            for prefix in prefixes:
                found.update(self._state.under(self._prefix + prefix))
        return Snapshot({key.removeprefix(self._prefix): item for key, item in found.items()})

    def probe(self, key: str) -> None:
        """See Store; there are no rights here that could be missing."""
        self.read([key])

    def commit(self, checks: Sequence[Check], puts: Sequence[Put] = (), deletes: Sequence[str] = ()) -> int | None:
        """See Store. A plain put over an ephemeral key is Rejected: no two stores agree on what it does."""
        validate_commit(checks, puts, deletes)
        with self._state.changed:
            self._ready()
            if stale := [check.key for check in checks if self._item(check.key).mod != check.mod]:
                raise Conflict(f"changed since it was read: {', '.join(stale)}")
            if lost := {put.session for put in puts if put.session} - set(self._state.expiries):
                raise SessionLost(f"the session has ended: {', '.join(sorted(lost))}")
            if ephemeral := [put.key for put in puts if self._item(put.key).session is not None]:
                raise Rejected(f"a put over an ephemeral key: {', '.join(ephemeral)}; delete it in a commit of its own")
            self._state.revision += 1
            revision = self._state.revision
            for put in puts:
                create = self._item(put.key).create or revision
                self._state.put(self._prefix + put.key, Item(bytes(put.value), revision, create, put.session))
            for key in deletes:
                self._state.remove(self._prefix + key)
            self._state.changed.notify_all()
        return revision if puts else None

    def watch(self, key: str, after: int, timeout: timedelta) -> bool:
        """See Store. The time limit is real time, whatever the clock of the sessions."""
        deadline = time.monotonic() + timeout.total_seconds()
        with self._state.changed:
            while not self._closed:
                self._state.sweep()
                item = self._item(key)
                if item.mod != after:
                    return True
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    return False
                self._state.changed.wait(remaining if item.session is None else min(remaining, _EXPIRY_POLL))
        raise Unavailable("the memory store was closed")

    def session(self, ttl: timedelta) -> Session:
        """See Store; Rejected below MIN_SESSION_TTL."""
        if ttl < MIN_SESSION_TTL:
            raise Rejected(f"a session of {ttl.total_seconds():g} s; at least {MIN_SESSION_TTL.total_seconds():g} s")
        with self._state.changed:
            self._ready()
            self._state.sessions_opened += 1
            name = f"session-{self._state.sessions_opened}"
            self._state.extend(name, ttl.total_seconds())
        return MemorySession(self._state, name, ttl)

    def prepare(self) -> None:
        """See Store; nothing to do."""

    def facts(self) -> Facts:
        """See Store."""
        return Facts(identity="memory", members=1)

    def close(self) -> None:
        """See Store; the other clients go on."""
        with self._state.changed:
            self._closed = True
            self._state.changed.notify_all()

    def _item(self, key: str) -> Item:
        return self._state.items.get(self._prefix + key, ABSENT)

    def _ready(self) -> None:
        if self._closed:
            raise Unavailable("the memory store was closed")
        self._state.sweep()


@dataclass(frozen=True, slots=True)
class MemorySession:
    """See Session."""

    state: MemoryState = field(repr=False)
    id: str
    ttl: timedelta

    def keepalive(self) -> None:
        """See Session."""
        with self.state.changed:
            self.state.sweep()
            if self.id not in self.state.expiries:
                raise SessionLost(f"the session {self.id} has ended")
            self.state.extend(self.id, self.ttl.total_seconds())

    def end(self) -> None:
        """See Session."""
        with self.state.changed:
            self.state.drop(self.id)
