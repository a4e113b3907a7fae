"""The store contract: four verbs that etcd, Consul, SQLite and memory all keep.

`read`, `commit`, `watch` and `session` are all that the semaphore knows. The one idea a reader would miss: revisions
are compared for equality only, and there is no revision of the whole store, because Consul has none. The rules are those of
the protocol's document (docs/protocol.md); tests/conformance runs them against every implementation.

Keys are relative: an adapter is built with its prefix, puts it in front and takes it off again.
Adapters are safe to use from several threads at once, and every call ends within the adapter's time limit
(a watch within its own). No adapter ever sends a commit twice.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from locksmith.errors import Rejected

MAX_OPERATIONS = 60
"""Checks, puts and deletes of one commit together; keys and prefixes of one read together (Consul allows 64)."""
MAX_VALUE = 64 * 1024
"""Bytes of one value."""
MAX_COMMIT = 256 * 1024
"""Bytes of all values of one commit (Consul: 512 KiB of base64 in one request)."""
MIN_SESSION_TTL = timedelta(seconds=10)
"""Consul refuses less."""


@dataclass(frozen=True, slots=True)
class Item:
    """One key in a snapshot.

    `mod` changes with every write of the key and is 0 when it is absent; `create` is the revision of the first write of
    this life of the key, so it orders keys made in different commits; `session` is the id of the session that an
    ephemeral key depends on, else None.
    """

    value: bytes
    mod: int
    create: int
    session: str | None = None

    def __bool__(self) -> bool:
        """Whether the key exists."""
        return self.mod != 0


ABSENT = Item(b"", 0, 0)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One atomic, linearizable view of the keys and prefixes that were asked for."""

    items: Mapping[str, Item]

    def __getitem__(self, key: str) -> Item:
        """The item of a key; `ABSENT` when there is none."""
        return self.items.get(key, ABSENT)

    def under(self, prefix: str) -> Iterator[tuple[str, Item]]:
        """The existing keys that start with the prefix, in key order."""
        for key in sorted(self.items):
            if key.startswith(prefix) and self.items[key]:
                yield key, self.items[key]


@dataclass(frozen=True, slots=True)
class Check:
    """The commit applies only if the key's mod revision is this one; 0 means absent."""

    key: str
    mod: int


@dataclass(frozen=True, slots=True)
class Put:
    """Write a value; with a session the key is ephemeral and must not exist yet."""

    key: str
    value: bytes
    session: str | None = None


@dataclass(frozen=True, slots=True)
class Access:
    """How to prove who we are. Files are read again when they change; None means not used."""

    username: str | None = None
    password_file: Path | None = None
    token_file: Path | None = None
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What a store says about itself, for status and doctor; it costs requests of its own.

    `identity` is etcd's cluster id in hex, Consul's datacenter, SQLite's random id; `members` the voting members, None
    when the rights do not allow asking; `version` the server's.
    """

    identity: str
    members: int | None = None
    version: str | None = None


class Session(Protocol):
    """What an ephemeral key depends on."""

    @property
    def id(self) -> str:
        """The store's name for it."""

    @property
    def ttl(self) -> timedelta:
        """Without a keepalive for this long (on Consul: twice this long) it ends."""

    def keepalive(self) -> None:
        """Extend it by its ttl. Raises SessionLost, Unavailable, Denied."""

    def end(self) -> None:
        """End it, and its keys with it. Ending a dead one is no error. Raises Unavailable, Unknown, Denied."""


class Store(Protocol):
    """The four verbs."""

    @property
    def kind(self) -> str:
        """`etcd`, `consul`, `sqlite` or `memory`."""

    def read(self, keys: Sequence[str] = (), prefixes: Sequence[str] = ()) -> Snapshot:
        """Read all of it in one linearizable snapshot.

        Raises Unavailable, Throttled, Denied and its kinds; Rejected above MAX_OPERATIONS keys and prefixes.
        """

    def commit(self, checks: Sequence[Check], puts: Sequence[Put] = (), deletes: Sequence[str] = ()) -> int | None:
        """Apply all writes if all checks hold, atomically, once.

        Returns the new revision (the mod, and for new keys the create, of every put), None for a commit of deletes
        only. Raises Conflict, SessionLost, Denied, Rejected: surely not applied; Unknown: now, later or never.
        """

    def watch(self, key: str, after: int, timeout: timedelta) -> bool:
        """Wait until the key is not at mod `after` any more, at most `timeout` (at most 55 s).

        Only for a key that existed in a snapshot with that mod. True means "read again": it may wake for nothing, and a
        key that is gone or changed before the call wakes at once; False means that the time passed. Raises Unavailable,
        Throttled, Denied.
        """

    def probe(self, key: str) -> None:
        """Ask once for the right to read a key, whether or not it exists; nothing when it may be read.

        `read` cannot tell a key that is absent from one that is kept from us, because Consul leaves those out in
        silence. Raises Denied and its kinds, Unavailable, Throttled.
        """

    def session(self, ttl: timedelta) -> Session:
        """Open a session of at least MIN_SESSION_TTL.

        Raises Unavailable, StoreFull, Denied; Unknown: one that may exist ends by itself.
        """

    def prepare(self) -> None:
        """Do once what the store needs besides keys (Consul: the external catalog node), with an operator's rights.

        Harmless when repeated. Raises Unavailable, Denied.
        """

    def facts(self) -> Facts:
        """Ask the store about itself. Raises Unavailable, Denied."""

    def close(self) -> None:
        """Free sockets and files; a running watch ends soon after."""


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit as a value: what the semaphore computes from a snapshot before it sends it."""

    checks: tuple[Check, ...]
    puts: tuple[Put, ...] = ()
    deletes: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=(), compare=False)


def validate_read(keys: Sequence[str], prefixes: Sequence[str]) -> None:
    """Refuse what some store could not do. Raises Rejected."""
    if len(keys) + len(prefixes) > MAX_OPERATIONS:
        raise Rejected(f"a read of {len(keys) + len(prefixes)} keys and prefixes; at most {MAX_OPERATIONS}")
    if not keys and not prefixes:
        raise Rejected("a read of nothing")


def validate_commit(checks: Sequence[Check], puts: Sequence[Put], deletes: Sequence[str]) -> None:
    """Refuse what some store could not do, before it is sent. Raises Rejected."""
    writes = [put.key for put in puts] + list(deletes)
    checked = [check.key for check in checks]
    if not writes:
        raise Rejected("a commit without a write")
    if len(set(writes)) != len(writes) or len(set(checked)) != len(checked):
        raise Rejected("a commit names a key twice")
    if len(writes) + len(checked) > MAX_OPERATIONS:
        raise Rejected(f"a commit of {len(writes) + len(checked)} operations; at most {MAX_OPERATIONS}")
    if unchecked := set(deletes) - set(checked):
        raise Rejected(f"a delete without a check: {sorted(unchecked)}")
    mods = {check.key: check.mod for check in checks}
    if ephemeral := [put.key for put in puts if put.session is not None and mods.get(put.key) != 0]:
        raise Rejected(f"an ephemeral key needs a check that it is absent: {ephemeral}")
    if any(len(put.value) > MAX_VALUE for put in puts):
        raise Rejected(f"a value above {MAX_VALUE} bytes")
    if sum(len(put.value) for put in puts) > MAX_COMMIT:
        raise Rejected(f"values above {MAX_COMMIT} bytes in one commit")
