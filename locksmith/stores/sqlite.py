"""A store in one SQLite file, for the processes of one machine or behind the gateway.

Commits run under SQLite's write lock (`BEGIN IMMEDIATE`), reads in one deferred transaction: both are linearizable. The
idea a reader would miss: a watch polls the key's own revision and nothing else. SQLite's `data_version` says only that
other connections wrote, a revision of the whole file would wake everybody for everything, and an expired session writes
nothing at all; looking one key up by its index costs no more than either.

Sessions are rows with an end by boot id and boot-time clock, so that a step of the wall clock changes nothing. Their
keys are hidden from the moment they expire and swept by the next write.
"""

import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from locksmith.errors import Conflict, Rejected, SessionLost, StoreFull, Unavailable, Unknown
from locksmith.host.clock import Clock, SystemClock
from locksmith.stores import (
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
from locksmith.stores.sqlite_file import damaged, give_way, open_database, patiently, translated, translated_at_commit

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_POLL = timedelta(seconds=0.2)
_SYSTEM_CLOCK = SystemClock()
_LIVE = "(session IS NULL OR session IN (SELECT id FROM session WHERE boot = :boot AND expires > :now))"
_ITEM = f"SELECT key, value, modified, created, session FROM item WHERE {_LIVE} AND "  # noqa: S608 - constants only


class SqliteStore:
    """One client of the database at `path`. Nothing is opened or made before the first call.

    `timeout` bounds the wait for the write lock, `poll` is how often a watch looks; `boot` is this boot's id.
    """

    kind = "sqlite"

    def __init__(  # noqa: PLR0913 - two of them are for tests
        self,
        path: Path,
        prefix: str,
        *,
        timeout: timedelta,
        poll: timedelta = _POLL,
        boot: str | None = None,
        clock: Clock = _SYSTEM_CLOCK,
    ) -> None:
        """See the class."""
        self._path = path.absolute()
        self._prefix = f"{prefix}/" if prefix else ""
        self._limit = timeout.total_seconds()
        self._poll = poll.total_seconds()
        self._boot = BOOT_ID.read_text(encoding="utf-8").strip() if boot is None else boot
        self._clock = clock
        self._idle: list[_Connection] = []
        self._closed = threading.Event()
        self._lock = threading.Lock()

    def read(self, keys: Sequence[str] = (), prefixes: Sequence[str] = ()) -> Snapshot:
        """See Store. Reading creates nothing: a file that is not there holds no keys."""
        validate_read(keys, prefixes)
        if self._missing():
            return Snapshot({})
        with self._borrowed() as db:
            items, _ = patiently(lambda: self._select(db, keys, prefixes), self._limit)
        return Snapshot(items)

    def probe(self, key: str) -> None:
        """See Store; who may open the file may read every key."""
        self.read([key])

    def commit(self, checks: Sequence[Check], puts: Sequence[Put] = (), deletes: Sequence[str] = ()) -> int | None:
        """See Store. A plain put over an ephemeral key is Rejected: no two stores agree on what it does."""
        validate_commit(checks, puts, deletes)
        with self._writing() as db:
            self._verify(db, checks, puts)
            db.execute("UPDATE revision SET value = value + 1")
            revision = self._only(db, "SELECT value FROM revision")
            db.executemany(
                "INSERT INTO item (key, value, created, modified, session) VALUES (?, ?, ?, ?, ?) ON CONFLICT (key)"
                " DO UPDATE SET value = excluded.value, modified = excluded.modified, session = excluded.session",
                [(self._prefix + put.key, bytes(put.value), revision, revision, put.session) for put in puts],
            )
            db.executemany("DELETE FROM item WHERE key = ?", [(self._prefix + key,) for key in deletes])
        return int(revision) if puts else None

    def watch(self, key: str, after: int, timeout: timedelta) -> bool:
        """See Store; it wakes at most one poll late, and never for another key."""
        deadline = time.monotonic() + timeout.total_seconds()
        while self.read([key])[key].mod == after:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return False
            self._closed.wait(min(remaining, self._poll))
        return True

    def session(self, ttl: timedelta) -> Session:
        """See Store; Rejected below MIN_SESSION_TTL."""
        if ttl < MIN_SESSION_TTL:
            raise Rejected(f"a session of {ttl.total_seconds():g} s; at least {MIN_SESSION_TTL.total_seconds():g} s")
        name = secrets.token_hex(16)
        with self._writing() as db:
            expires = self._clock.boottime() + ttl.total_seconds()
            db.execute("INSERT INTO session (id, boot, expires) VALUES (?, ?, ?)", (name, self._boot, expires))
        return SqliteSession(self, name, ttl)

    def prepare(self) -> None:
        """See Store; makes the file when there is none."""
        with self._borrowed():
            pass

    def facts(self) -> Facts:
        """See Store; the identity is a random id, written when the file was made, and empty before that."""
        if self._missing():
            return Facts(identity="", members=1, version=sqlite3.sqlite_version)
        with self._borrowed() as db:
            select = "SELECT value FROM facts WHERE name = 'identity'"
            identity, _ = patiently(lambda: self._only(db, select), self._limit)
        return Facts(identity=str(identity), members=1, version=sqlite3.sqlite_version)

    def _only(self, db: sqlite3.Connection, select: str) -> str | int:
        """The one value of a row that is there since the file was made. Raises Corrupt."""
        row: tuple[str | int] | None = db.execute(select).fetchone()
        if row is None:
            raise damaged(self._path, "a row is missing")
        return row[0]

    def _missing(self) -> bool:
        """Whether there is no file yet; one that may not be looked at is left for opening it to report."""
        try:
            self._path.stat()
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return False

    def close(self) -> None:
        """See Store; a connection that is in use closes when its call ends."""
        with self._lock:
            self._closed.set()
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.db.close()

    def extend_session(self, session: str, ttl: timedelta) -> None:
        """Let the session end `ttl` from now. Raises SessionLost, Unavailable, StoreFull, Unknown, Denied."""
        with self._writing() as db:
            expires = self._clock.boottime() + ttl.total_seconds()
            if not db.execute("UPDATE session SET expires = ? WHERE id = ?", (expires, session)).rowcount:
                raise SessionLost(f"the session {session} has ended")

    def end_session(self, session: str) -> None:
        """Delete a session and its keys. Raises Unavailable, StoreFull, Unknown, Denied."""
        with self._writing() as db:
            db.execute("DELETE FROM item WHERE session = ?", (session,))
            db.execute("DELETE FROM session WHERE id = ?", (session,))

    def _select(self, db: sqlite3.Connection, keys: Sequence[str], prefixes: Sequence[str]) -> dict[str, Item]:
        moment = {"boot": self._boot, "now": self._clock.boottime()}
        rows: list[tuple[str, bytes, int, int, str | None]] = []
        db.execute("BEGIN")
        try:
            for prefix in prefixes:
                first = self._prefix + prefix
                last = first + "\U0010ffff"
                rows += db.execute(_ITEM + "key >= :first AND key < :last", moment | {"first": first, "last": last})
            for key in keys:
                rows += db.execute(_ITEM + "key = :key", moment | {"key": self._prefix + key})
        finally:
            if db.in_transaction:
                db.execute("ROLLBACK")
        return {
            key.removeprefix(self._prefix): Item(value, modified, created, session)
            for key, value, modified, created, session in rows
        }

    def _verify(self, db: sqlite3.Connection, checks: Sequence[Check], puts: Sequence[Put]) -> None:
        def find(key: str) -> tuple[int, str | None]:
            select = "SELECT modified, session FROM item WHERE key = ?"
            return db.execute(select, (self._prefix + key,)).fetchone() or (0, None)

        if stale := [check.key for check in checks if find(check.key)[0] != check.mod]:
            raise Conflict(f"changed since it was read: {', '.join(stale)}")
        for session in {put.session for put in puts if put.session is not None}:
            if not db.execute("SELECT 1 FROM session WHERE id = ?", (session,)).fetchone():
                raise SessionLost(f"the session {session} has ended")
        if ephemeral := [put.key for put in puts if find(put.key)[1] is not None]:
            raise Rejected(f"a put over an ephemeral key: {', '.join(ephemeral)}; delete it in a commit of its own")

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A write transaction without expired sessions in it; committed at the end, rolled back on any error."""
        with self._borrowed() as db:
            _, waited = patiently(lambda: db.execute("BEGIN IMMEDIATE"), self._limit)
            over = {"boot": self._boot, "now": self._clock.boottime()}
            db.execute(f"DELETE FROM item WHERE NOT {_LIVE}", over)  # noqa: S608 - a constant
            db.execute("DELETE FROM session WHERE boot != :boot OR expires <= :now", over)
            yield db
            try:
                db.execute("COMMIT")
            except sqlite3.Error as error:
                raise translated_at_commit(error, self._path) from error
        if waited:
            give_way()

    @contextmanager
    def _borrowed(self) -> Iterator[sqlite3.Connection]:
        """A connection for this thread alone. It is kept for the next call unless an error of SQLite has touched it."""
        connection = self._take()
        sound = False
        try:
            yield connection.db
            sound = True
        except (Conflict, SessionLost):
            sound = True
            raise
        except sqlite3.Error as error:
            raise translated(error, self._path) from error
        finally:
            self._give_back(connection, sound=sound)

    def _take(self) -> "_Connection":
        with self._lock:
            if self._closed.is_set():
                raise Unavailable(f"the sqlite store {self._path} was closed")
            idle = self._idle.pop() if self._idle else None
        if idle is not None and idle.file == _file(self._path):
            return idle
        if idle is not None:
            # The file was moved or replaced: who went on with the old one would be alone in a semaphore of his own.
            idle.db.close()
        return _Connection(open_database(self._path, self._limit), _file(self._path))

    def _give_back(self, connection: "_Connection", *, sound: bool) -> None:
        if sound and connection.db.in_transaction:
            try:
                connection.db.execute("ROLLBACK")
            except sqlite3.Error:
                sound = False
        with self._lock:
            kept = sound and not self._closed.is_set()
            if kept:
                self._idle.append(connection)
        if not kept:
            # Whatever was not committed is rolled back by this.
            connection.db.close()


@dataclass(frozen=True, slots=True)
class _Connection:
    db: sqlite3.Connection
    file: tuple[int, int] | None
    """Device and inode of the file that it has open."""


def _file(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


@dataclass(frozen=True, slots=True)
class SqliteSession:
    """See Session."""

    store: SqliteStore = field(repr=False)
    id: str
    ttl: timedelta

    def keepalive(self) -> None:
        """See Session. Whether it applied does not matter: the next one says so."""
        try:
            self.store.extend_session(self.id, self.ttl)
        except (Unknown, StoreFull) as error:
            raise Unavailable(str(error)) from error

    def end(self) -> None:
        """See Session."""
        try:
            self.store.end_session(self.id)
        except StoreFull as error:
            raise Unavailable(str(error)) from error
