"""A store that can be away: between the agents and the real store, for as long as the story wants it.

What reaches the real store while it is away is nothing; a long poll that had begun may still end, and then finds the
store away like everybody else.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from locksmith.errors import Unavailable
from locksmith.stores import Check, Facts, Put, Session, Snapshot, Store


class Outage:
    """One switch for the stores of all hosts."""

    def __init__(self) -> None:
        """The store is there."""
        self._away = threading.Event()

    @property
    def on(self) -> bool:
        """Whether the store is away."""
        return self._away.is_set()

    def begin(self) -> None:
        """From here on every call fails."""
        self._away.set()

    def end(self) -> None:
        """The store is back."""
        self._away.clear()

    def pass_through(self) -> None:
        """Raises Unavailable while the store is away."""
        if self._away.is_set():
            raise Unavailable("no endpoint answers (the demo has taken the store away)")


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
        self.outage.pass_through()
        return self.store.read(keys, prefixes)

    def commit(self, checks: Sequence[Check], puts: Sequence[Put] = (), deletes: Sequence[str] = ()) -> int | None:
        """See Store."""
        self.outage.pass_through()
        return self.store.commit(checks, puts, deletes)

    def watch(self, key: str, after: int, timeout: timedelta) -> bool:
        """See Store."""
        self.outage.pass_through()
        changed = self.store.watch(key, after, timeout)
        self.outage.pass_through()
        return changed

    def probe(self, key: str) -> None:
        """See Store."""
        self.outage.pass_through()
        self.store.probe(key)

    def session(self, ttl: timedelta) -> Session:
        """See Store."""
        self.outage.pass_through()
        return AwaySession(self.store.session(ttl), self.outage)

    def prepare(self) -> None:
        """See Store."""
        self.outage.pass_through()
        self.store.prepare()

    def facts(self) -> Facts:
        """See Store."""
        self.outage.pass_through()
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
        self.outage.pass_through()
        self.session.keepalive()

    def end(self) -> None:
        """See Session."""
        self.outage.pass_through()
        self.session.end()
