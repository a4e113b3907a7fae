"""Who acts on the store, and how a commit is brought to an end.

The one idea a reader would miss: a commit is never repeated as it was. `settle` reads again, lets the caller decide anew
from that snapshot (and find its own nonce there), and only then sends another commit, whose checks make an earlier one of
unknown fate impossible.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import count
from random import Random
from typing import Generic, TypeVar

from locksmith.core import keys
from locksmith.core.codec import Document
from locksmith.core.documents import Config
from locksmith.errors import Conflict, Corrupt, Denied, LocksmithError, Rejected, Unavailable, Unknown, WrongStore
from locksmith.host.clock import Clock
from locksmith.stores import Commit, Item, Snapshot, Store

T = TypeVar("T")
D = TypeVar("D", bound=Document)

PATIENCE = timedelta(seconds=30)
"""How long an operation goes on reading back and trying again, if the caller says nothing."""
FIRST_JITTER = 0.02
"""Seconds: upper bound of the first pause after a conflict; it doubles up to LAST_JITTER."""
LAST_JITTER = 0.6


@dataclass(frozen=True, slots=True)
class Actor:
    """One party: an agent or an operator. `by` is who it says it is, `host` where it runs."""

    store: Store
    clock: Clock
    random: Random
    by: str
    host: str

    def nonce(self) -> str:
        """64 random bits as hex: names an attempt or one write."""
        return f"{self.random.getrandbits(64):016x}"

    def rest(self, tries: int) -> None:
        """A pause with full jitter between two tries."""
        self.clock.sleep(self.random.uniform(0, min(LAST_JITTER, FIRST_JITTER * 2 ** min(tries, 10))))

    def trusted_now(self) -> datetime | None:
        """The wall time to judge an `until` by; None while the clock is not synchronised."""
        return self.clock.wall() if self.clock.synchronised() else None


@dataclass(frozen=True, slots=True)
class View:
    """A snapshot with the fleet's configuration, which every read carries."""

    snapshot: Snapshot
    config: Config | None
    _decoded: dict[str, Document] = field(default_factory=dict, init=False, repr=False, compare=False)
    """A snapshot does not change, so what is asked for again is not decoded again."""

    def item(self, key: str) -> Item:
        """The item of a key."""
        return self.snapshot[key]

    def mod(self, key: str) -> int:
        """Its mod revision, 0 when absent: what a check names."""
        return self.snapshot[key].mod

    def document(self, key: str, cls: type[D]) -> D | None:
        """The document of a key, None when it is absent. Raises Corrupt."""
        known = self._decoded.get(key)
        if isinstance(known, cls):
            return known
        item = self.snapshot[key]
        if not item:
            return None
        document = cls.decode(key, item.value)
        self._decoded[key] = document
        return document

    def documents(self, prefix: str, cls: type[D]) -> Iterable[tuple[str, Item, D]]:
        """The documents below a prefix, in key order. Raises Corrupt."""
        for key, item in self.snapshot.under(prefix):
            yield key, item, cls.decode(key, item.value)


def look(store: Store, wanted: Sequence[str] = (), prefixes: Sequence[str] = ()) -> View:
    """Read, with `cfg`. Raises Unavailable, Denied, WrongStore, Corrupt."""
    asked = list(dict.fromkeys([keys.CFG, *wanted]))
    snapshot = store.read(asked, prefixes)
    item = snapshot[keys.CFG]
    return View(snapshot, _config(item.value) if item else None)


@lru_cache(maxsize=4)
def _config(value: bytes) -> Config:
    """Decode it once: it comes with every read, and changes when an operator pauses the fleet. Raises Corrupt, each time."""
    return Config.decode(keys.CFG, value)


def believe_absent(store: Store, view: View, key: str) -> None:
    """Make sure that a key which the view does not show is absent, and not kept from us: Consul does that in silence.

    Raises Denied, Unavailable.
    """
    if view.config is None:
        store.probe(keys.CFG)
        raise Denied("nothing is set up in the store under this prefix, or these credentials may not read it")
    if not view.item(key):
        store.probe(key)


@dataclass(frozen=True, slots=True)
class Done(Generic[T]):
    """Nothing (more) is to be written."""

    value: T


@dataclass(frozen=True, slots=True)
class Try(Generic[T]):
    """Send this; `then` turns the commit's revision into the result."""

    commit: Commit
    then: Callable[[int | None], T]


def settle(actor: Actor, step: Callable[[], Done[T] | Try[T]], patience: timedelta = PATIENCE) -> T:
    """Call `step` (it reads and decides) until it is done or its commit applied.

    Raises what the store raises when surely nothing of ours was applied; Unknown when a commit of ours may still apply and
    reading back did not settle it within `patience`; Unavailable when conflicts never end.
    """
    deadline = actor.clock.boottime() + patience.total_seconds()
    unknown: Unknown | None = None
    for tries in count():
        try:
            move = step()
            if isinstance(move, Done):
                return move.value
            return move.then(actor.store.commit(move.commit.checks, move.commit.puts, move.commit.deletes))
        except Conflict:
            cause: LocksmithError = Unavailable("the keys change faster than this commit can follow; try again")
        except Unknown as error:
            unknown = cause = error
        except (Rejected, Denied, Corrupt) as error:
            # A store that went away, a password that changed or a document that a newer agent rewrote after an unclear
            # answer leaves it unclear: go on reading back. (A session that ended does not: its commits fail for ever.)
            if unknown is None:
                raise
            cause = error
        if actor.clock.boottime() >= deadline:
            raise unknown or cause
        actor.rest(tries)
    raise AssertionError("unreachable")


def confirm_cluster(store: Store, config: Config) -> None:
    """Refuse a store that is not the recorded one. Raises WrongStore, Unavailable, Denied."""
    identity = store.facts().identity
    if config.cluster is not None and config.cluster != identity:
        raise WrongStore(
            f"the store answers as {identity}, but {config.cluster} is recorded under this prefix: check the store's URL"
        )
