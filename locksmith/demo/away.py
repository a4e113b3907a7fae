"""A store that can be away: between the agents and the real store, for as long as the story wants it.

What reaches the real store while it is away is nothing; a long poll that had begun may still end, and then finds the
store away like everybody else.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from locksmith.errors import Unavailable
from locksmith.stores import Check, Facts, Put, Session, Snapshot, Store


class Outage:
    """One switch for the stores of all hosts."""

    def __init__(self) -> None:
        """The store is there."""
        self.on = False
        self._calls = 0
        self._changed = threading.Condition()

    def begin(self) -> None:
        """Every call that begins from here on fails."""
        with self._changed:
            self.on = True

    def end(self) -> None:
        """The store is back."""
        with self._changed:
            self.on = False

    def for_good(self, patience: float) -> None:
        """Begin, and wait at most so many seconds for the calls that are under way (long polls do not count)."""
        with self._changed:
            self.on = True
            self._changed.wait_for(lambda: not self._calls, patience)

    def refuse(self) -> None:
        """Raises Unavailable while the store is away."""
        if self.on:
            raise Unavailable("no endpoint answers (the demo has taken the store away)")

    @contextmanager
    def call(self) -> Iterator[None]:
        """One call of the store. Raises Unavailable while it is away."""
        with self._changed:
            self.refuse()
            self._calls += 1
        try:
            yield
        finally:
            with self._changed:
                self._calls -= 1
                self._changed.notify_all()


@dataclass(frozen=True, slots=True)
class AwayStore:
    """Any store, behind the switch."""

    store: Store
    outage: Outage = field(repr=False)

    @property
    def kind(self) -> str:
        """See Store."""
        return self.store.kind

    def read(self, keys: Sequence[str] = (), prefixes: Sequence[str] = ()) -> Snapshot:
        """See Store."""
        with self.outage.call():
            return self.store.read(keys, prefixes)

    def commit(self, checks: Sequence[Check], puts: Sequence[Put] = (), deletes: Sequence[str] = ()) -> int | None:
        """See Store."""
        with self.outage.call():
            return self.store.commit(checks, puts, deletes)

    def watch(self, key: str, after: int, timeout: timedelta) -> bool:
        """See Store."""
        self.outage.refuse()
        changed = self.store.watch(key, after, timeout)
        self.outage.refuse()
        return changed

    def probe(self, key: str) -> None:
        """See Store."""
        with self.outage.call():
            self.store.probe(key)

    def session(self, ttl: timedelta) -> Session:
        """See Store."""
        with self.outage.call():
            return AwaySession(self.store.session(ttl), self.outage)

    def prepare(self) -> None:
        """See Store."""
        with self.outage.call():
            self.store.prepare()

    def facts(self) -> Facts:
        """See Store."""
        with self.outage.call():
            return self.store.facts()

    def close(self) -> None:
        """See Store."""
        self.store.close()


@dataclass(frozen=True, slots=True)
class AwaySession:
    """See Session."""

    session: Session
    outage: Outage = field(repr=False)

    @property
    def id(self) -> str:
        """See Session."""
        return self.session.id

    @property
    def ttl(self) -> timedelta:
        """See Session."""
        return self.session.ttl

    def keepalive(self) -> None:
        """See Session."""
        with self.outage.call():
            self.session.keepalive()

    def end(self) -> None:
        """See Session."""
        with self.outage.call():
            self.session.end()
