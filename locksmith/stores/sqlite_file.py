"""The file under the SQLite store: may it be used, how it is opened, and what SQLite's errors mean.

The one idea a reader would miss: whether a commit may have been applied is decided here. Every error before COMMIT is
surely not applied; an error at COMMIT is Unknown, with one exception. A full disk is surely not applied even there: the
write-ahead log is written front to back with the commit frame last, and a frame that is cut short has no valid checksum.
"""

import contextlib
import os
import random
import sqlite3
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from locksmith.errors import (
    ConfigError,
    Corrupt,
    Denied,
    LocksmithError,
    NewerFormat,
    StoreFull,
    Unavailable,
    Unknown,
)

APPLICATION = 0x6C6F636B
"""`lock`, in the database's header: tells our file from other programs' (`file`(1) and PRAGMA application_id show it)."""
FORMAT = 1
"""PRAGMA user_version. A file with a higher one is left alone."""
NETWORK_FILE_SYSTEMS = frozenset(
    {
        "9p",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "coda",
        "gfs2",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "ocfs2",
        "orangefs",
    }
    | {"pvfs2", "smb2", "smb3", "smbfs"}
    | {f"fuse.{kind}" for kind in ("ceph", "cephfs", "glusterfs", "rclone", "s3fs", "sshfs")}
)
"""Types as /proc/self/mountinfo names them, where locks or shared memory do not hold between machines."""
MOUNTINFO = Path("/proc/self/mountinfo")

_SCHEMA = (
    "CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "CREATE TABLE revision (one INTEGER PRIMARY KEY CHECK (one = 1), value INTEGER NOT NULL)",
    "CREATE TABLE session (id TEXT PRIMARY KEY, boot TEXT NOT NULL, expires REAL NOT NULL)",
    """CREATE TABLE item (key TEXT PRIMARY KEY, value BLOB NOT NULL, created INTEGER NOT NULL,
    modified INTEGER NOT NULL, session TEXT)""",
    "CREATE INDEX item_session ON item (session) WHERE session IS NOT NULL",
    "INSERT INTO revision VALUES (1, 0)",
    "INSERT INTO facts VALUES ('identity', lower(hex(randomblob(16))))",
)
_random = random.SystemRandom()
Result = TypeVar("Result")


def patiently(action: Callable[[], Result], limit: float) -> tuple[Result, bool]:
    """Repeat an action that takes a lock until it is not busy, at most `limit` seconds; and whether it had to wait.

    SQLite's own busy handler sleeps longer and longer (up to 100 ms), so that one eager process keeps the others out:
    with 16 processes one of them got nothing in 5 s. Short sleeps with jitter give everybody the same chance.
    """
    deadline = time.monotonic() + limit
    waited = False
    while True:
        try:
            return action(), waited
        except sqlite3.OperationalError as error:
            if _primary(error) not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) or time.monotonic() >= deadline:
                raise
        waited = True
        time.sleep(_random.uniform(0.0005, 0.005))


def give_way() -> None:
    """Pause a moment after a commit that had to wait for others, so that they come to the lock as well."""
    time.sleep(_random.uniform(0, 0.01))


def open_database(path: Path, limit: float) -> sqlite3.Connection:
    """A connection that is ready for use; the file is made when there is none.

    Raises ConfigError (a folder, a network file system), Denied, Unavailable, StoreFull, Corrupt, NewerFormat.
    """
    _ready_folder(path)
    refuse_network(path)
    _ready_file(path)
    try:
        db = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise translated(error, path) from error
    try:
        patiently(lambda: _set_up(db, path), limit)
    except sqlite3.Error as error:
        db.close()
        raise translated(error, path) from error
    except LocksmithError:
        db.close()
        raise
    return db


def refuse_network(path: Path, mountinfo: Path = MOUNTINFO) -> None:
    """Raises ConfigError for a file on a network file system; without /proc nothing is known and nothing refused."""
    try:
        lines = mountinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    folder = Path(os.path.realpath(path)).parent  # SQLite follows links, and makes its log where the file is
    try:
        device = folder.stat().st_dev
    except OSError as error:
        raise Unavailable(f"sqlite store {path}: {folder} cannot be looked at: {error.strerror}") from error
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in lines:
        mount, _, source = line.partition(" - ")
        if mount.split()[2:3] == [wanted] and (kind := source.split(" ", 1)[0]) in NETWORK_FILE_SYSTEMS:
            raise ConfigError(
                f"sqlite store in {folder}: this is a network file system ({kind}), where file locks do not keep a "
                "semaphore safe; use a folder on a local disk, or etcd or consul for several machines"
            )


def translated(error: sqlite3.Error, path: Path) -> LocksmithError:
    """What an error before COMMIT means; nothing was applied."""
    match _primary(error):
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return Unavailable(
                f"sqlite store {path} is busy: another process keeps its write lock; `fuser {path}` shows which"
            )
        case sqlite3.SQLITE_FULL:
            return StoreFull(f"sqlite store {path} cannot grow: free some space on its file system")
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | sqlite3.SQLITE_AUTH:
            return _denied(path)
        case sqlite3.SQLITE_CANTOPEN if not os.access(path.parent, os.R_OK | os.W_OK | os.X_OK):
            return _denied(path.parent)
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_ERROR:
            return damaged(path, f"{error}")
        case _:
            return Unavailable(f"sqlite store {path} cannot be used: {error}")


def damaged(path: Path, what: str) -> Corrupt:
    """The error for a file that is not what we made."""
    return Corrupt(
        f"sqlite store {path} is damaged or not a locksmith store ({what}): stop what uses it, then restore "
        "it from a backup or move it away together with its -wal and -shm"
    )


def translated_at_commit(error: sqlite3.Error, path: Path) -> LocksmithError:
    """What an error of COMMIT itself means; see the module's head for the one that is not Unknown."""
    if _primary(error) == sqlite3.SQLITE_FULL:
        return translated(error, path)
    return Unknown(f"sqlite store {path}: the commit failed half way ({error}); read it back")


def _primary(error: sqlite3.Error) -> int:
    # Errors that Python itself raises have no code; they are no state of the file.
    return getattr(error, "sqlite_errorcode", -1) & 0xFF


def _denied(path: Path) -> Denied:
    owner = ""
    with contextlib.suppress(OSError):
        owner = f" (uid {path.stat().st_uid})"
    return Denied(
        f"sqlite store: {path} cannot be read and written by uid {os.geteuid()}: run as root or as its owner{owner}, "
        "and see that its file system is not mounted read-only"
    )


def _ready_folder(path: Path) -> None:
    folder = path.parent
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        pass
    except FileNotFoundError:
        raise Unavailable(
            f"sqlite store {path}: there is no folder {folder.parent}; create it, or correct the path"
        ) from None
    except PermissionError:
        raise Denied(
            f"sqlite store {path}: uid {os.geteuid()} may not create the folder {folder}; run as root, or create it and "
            "give it to this user"
        ) from None
    except OSError as error:
        raise Unavailable(f"sqlite store {path}: the folder cannot be made: {error.strerror}") from error
    if not folder.is_dir():
        raise ConfigError(f"sqlite store {path}: {folder} is not a folder")
    # The write-ahead log and its index are made beside the database.
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise _denied(folder)


def _ready_file(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise Unavailable(f"sqlite store {path}: {error.strerror}") from error
    if not stat.S_ISREG(mode):
        raise ConfigError(f"sqlite store {path} is not a file; name the file of the database, such as {path}/store.db")
    if not os.access(path, os.R_OK | os.W_OK):
        raise _denied(path)


def _set_up(db: sqlite3.Connection, path: Path) -> None:
    application, tables, version = _stamp(db)
    if application not in (0, APPLICATION):
        raise Corrupt(f"sqlite store {path} is another program's (application id {application:#x}); name another file")
    if not application and tables:
        raise Corrupt(f"sqlite store {path} is a database of another program; name another file")
    if version > FORMAT:
        raise NewerFormat(f"sqlite store {path} has format {version}, written by a newer locksmith; update this one")
    (mode,) = db.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise Unavailable(f"sqlite store {path}: its file system cannot carry a write-ahead log (mode {mode})")
    # FULL: a commit is on the disk when it returns. WAL's default would lose the last grants at a power cut.
    db.execute("PRAGMA synchronous = FULL")
    if version < FORMAT:
        _create(db)


def _stamp(db: sqlite3.Connection) -> tuple[int, int, int]:
    """Application id, number of tables, format: of one moment, else a file that is just being made looks foreign."""
    db.execute("BEGIN")
    try:
        return (
            _number(db, "PRAGMA application_id"),
            _number(db, "SELECT count(*) FROM sqlite_master"),
            _number(db, "PRAGMA user_version"),
        )
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")


def _number(db: sqlite3.Connection, query: str) -> int:
    (number,) = db.execute(query).fetchone()
    return int(number)


def _create(db: sqlite3.Connection) -> None:
    db.execute("BEGIN IMMEDIATE")
    try:
        if _number(db, "PRAGMA user_version") < FORMAT:
            for statement in _SCHEMA:
                db.execute(statement)
            db.execute(f"PRAGMA application_id = {APPLICATION}")
            db.execute(f"PRAGMA user_version = {FORMAT}")
            db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")
