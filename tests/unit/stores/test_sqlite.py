"""What the SQLite store promises beyond the contract: its file, its errors, its sessions' clock.

That several processes may use it, and die in it, is for tests/integration/test_store_sqlite.py.
"""

import contextlib
import os
import sqlite3
import stat
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from locksmith.errors import (
    ConfigError,
    Conflict,
    Corrupt,
    NewerFormat,
    Rejected,
    SessionLost,
    StoreFull,
    Unavailable,
    Unknown,
)
from locksmith.stores import ABSENT, Check, Put
from locksmith.stores.sqlite import SqliteStore
from locksmith.stores.sqlite_file import FORMAT, refuse_network, translated_at_commit

TTL = timedelta(seconds=10)
NOW = timedelta(0)


@dataclass
class HandClock:
    """Moves when told."""

    now: float = 1000.0

    def wall(self) -> datetime:
        return datetime.fromtimestamp(self.now, UTC)

    def boottime(self) -> float:
        return self.now

    def synchronised(self) -> bool:
        return True

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "locksmith" / "store.db"


Connect = Callable[..., SqliteStore]


@pytest.fixture
def connect(path: Path, clock: HandClock):
    stores: list[SqliteStore] = []

    def make(boot: str = "this boot", prefix: str = "x", at: Path = path) -> SqliteStore:
        stores.append(SqliteStore(at, prefix, timeout=timedelta(seconds=0.05), boot=boot, clock=clock))
        return stores[-1]

    yield make
    for store in stores:
        store.close()


@pytest.fixture
def store(connect: Connect) -> SqliteStore:
    return connect()


def put(store: SqliteStore, key: str = "a", value: bytes = b"1", mod: int = 0, session: str | None = None) -> int:
    revision = store.commit([Check(key, mod)], [Put(key, value, session)])
    assert revision is not None
    return revision


def pragma(path: Path, name: str) -> object:
    db = sqlite3.connect(path)
    try:
        return db.execute(f"PRAGMA {name}").fetchone()[0]
    finally:
        db.close()


# --- the file ---


def test_nothing_is_made_before_the_first_call(store: SqliteStore, path: Path) -> None:
    assert not path.parent.exists()
    store.prepare()
    assert path.exists()


def test_reading_creates_nothing(store: SqliteStore, path: Path) -> None:
    assert store.read(["a"], ["b/"])["a"] == ABSENT
    assert store.facts().identity == ""
    assert not path.parent.exists()


def test_the_folder_is_made_for_its_owner_alone(store: SqliteStore, path: Path) -> None:
    store.prepare()
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_it_is_kept_with_a_write_ahead_log_and_marked_as_ours(store: SqliteStore, path: Path) -> None:
    put(store)
    assert pragma(path, "journal_mode") == "wal"
    assert (pragma(path, "user_version"), pragma(path, "application_id")) == (FORMAT, 0x6C6F636B)


def test_everything_is_there_after_closing_and_opening(connect: Connect) -> None:
    first = connect()
    mod = put(first)
    identity = first.facts().identity
    first.close()
    second = connect()
    assert second.read(["a"])["a"].mod == mod
    assert second.facts().identity == identity
    assert put(second, mod=mod) > mod


def test_the_identity_is_of_the_file(connect: Connect, tmp_path: Path) -> None:
    connect().prepare()
    identity = connect().facts().identity
    assert len(identity) == 32
    assert connect("another boot", "another prefix").facts().identity == identity
    other = connect(at=tmp_path / "other.db")
    other.prepare()
    assert other.facts().identity not in (identity, "")


def test_it_says_what_it_is(store: SqliteStore) -> None:
    assert store.kind == "sqlite"
    assert (store.facts().members, store.facts().version) == (1, sqlite3.sqlite_version)


def test_a_folder_that_cannot_be_made_is_named_with_the_remedy(connect: Connect, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=rf"there is no folder {tmp_path}/no; create it"):
        connect(at=tmp_path / "no" / "such" / "store.db").prepare()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_place_of_the_file(connect: Connect, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"not a file; name the file .* such as .*/store\.db"):
        connect(at=tmp_path).read(["a"])


def test_a_file_in_place_of_the_folder(connect: Connect, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigError, match="is not a folder"):
        connect(at=tmp_path / "file" / "store.db").read(["a"])


def test_a_file_that_is_no_database(connect: Connect, tmp_path: Path) -> None:
    other = tmp_path / "notes.txt"
    other.write_bytes(b"milk, bread, eggs\n" * 1000)
    with pytest.raises(Corrupt, match=r"notes\.txt is damaged or not a locksmith store .*stop what uses it"):
        connect(at=other).read(["a"])
    assert other.read_bytes() == b"milk, bread, eggs\n" * 1000


def test_a_database_of_another_program_is_left_alone(connect: Connect, tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    db = sqlite3.connect(other)
    db.execute("CREATE TABLE theirs (a)")
    db.close()
    before = other.read_bytes()
    with pytest.raises(Corrupt, match="another program"):
        connect(at=other).prepare()
    assert other.read_bytes() == before


def test_a_newer_format_is_left_alone(store: SqliteStore, connect: Connect, path: Path) -> None:
    put(store)
    store.close()
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version = {FORMAT + 1}")
    db.close()
    with pytest.raises(NewerFormat, match=f"format {FORMAT + 1}, written by a newer locksmith"):
        connect().read(["a"])


def test_a_damaged_file(store: SqliteStore, connect: Connect, path: Path) -> None:
    mod = put(store)
    for number in range(20):
        put(store, f"k{number}", bytes(8000))
    store.close()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    with pytest.raises(Corrupt, match="damaged"):
        connect().read(prefixes=[""])
    with pytest.raises(Corrupt, match="damaged"):
        put(connect(), mod=mod)


def test_a_file_that_was_replaced_is_opened_anew(store: SqliteStore, connect: Connect, path: Path) -> None:
    """Who went on with the old file would count slots that nobody else sees."""
    put(store)
    identity = store.facts().identity
    path.rename(path.with_name("old.db"))
    assert store.read(["a"])["a"] == ABSENT
    put(store, "b")
    assert connect().read(["b"])["b"].value == b"1"
    assert store.facts().identity != identity


MOUNTS = """\
22 28 0:21 / /proc rw,nosuid - proc proc rw
28 1 254:0 / / rw,relatime - ext4 /dev/vda1 rw
31 28 {device} / /srv/share rw,relatime shared:9 - {kind} filer:/export rw,vers=4.2
"""


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "lustre", "fuse.sshfs"])
def test_network_file_systems_are_refused(tmp_path: Path, kind: str) -> None:
    device = tmp_path.stat().st_dev
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text(MOUNTS.format(device=f"{os.major(device)}:{os.minor(device)}", kind=kind))
    with pytest.raises(ConfigError, match=rf"network file system \({kind}\).*etcd or consul"):
        refuse_network(tmp_path / "store.db", mountinfo)


def test_a_link_to_a_file_on_a_network_file_system(tmp_path: Path) -> None:
    """SQLite follows it, and makes its log beside the file and not beside the link."""
    device = Path("/proc").stat().st_dev
    mountinfo, link = tmp_path / "mountinfo", tmp_path / "store.db"
    mountinfo.write_text(MOUNTS.format(device=f"{os.major(device)}:{os.minor(device)}", kind="nfs4"))
    link.symlink_to("/proc/store.db")
    with pytest.raises(ConfigError, match="in /proc: this is a network file system"):
        refuse_network(link, mountinfo)


@pytest.mark.parametrize("table", ["facts", "revision"])
def test_a_row_that_is_missing_is_damage(store: SqliteStore, path: Path, table: str) -> None:
    put(store)
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute(f"DELETE FROM {table}")
    with pytest.raises(Corrupt, match="damaged"):
        store.facts() if table == "facts" else put(store, "b")


def test_local_and_unknown_file_systems_are_not_refused(tmp_path: Path) -> None:
    device = tmp_path.stat().st_dev
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text(MOUNTS.format(device=f"{os.major(device)}:{os.minor(device)}", kind="xfs"))
    refuse_network(tmp_path / "store.db", mountinfo)
    mountinfo.write_text(MOUNTS.format(device="4095:77", kind="nfs4"))
    refuse_network(tmp_path / "store.db", mountinfo)
    refuse_network(tmp_path / "store.db", tmp_path / "no proc here")


# --- locks and errors ---


@pytest.fixture
def foreign(store: SqliteStore, path: Path):
    """Another program's connection to the same file."""
    store.prepare()
    db = sqlite3.connect(path, isolation_level=None)
    yield db
    db.close()


def test_a_lock_that_is_kept_is_unavailable_and_applies_nothing(
    store: SqliteStore, foreign: sqlite3.Connection
) -> None:
    mod = put(store)
    session = store.session(TTL)
    foreign.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match=r"busy: .*fuser"):
        put(store, value=b"2", mod=mod)
    with pytest.raises(Unavailable, match="busy"):
        session.keepalive()
    with pytest.raises(Unavailable, match="busy"):
        store.session(TTL)
    assert store.read(["a"])["a"].value == b"1", "reads go on"
    foreign.execute("ROLLBACK")
    assert store.read(["a"])["a"].mod == mod
    put(store, value=b"2", mod=mod)


def test_a_reader_holds_up_nobody(store: SqliteStore, foreign: sqlite3.Connection) -> None:
    mod = put(store)
    foreign.execute("BEGIN")
    foreign.execute("SELECT * FROM item").fetchall()
    put(store, value=b"2", mod=mod)
    assert store.read(["a"])["a"].value == b"2"


def test_an_error_at_commit_is_unknown_but_for_a_full_disk(path: Path) -> None:
    def failed(code: int) -> sqlite3.OperationalError:
        error = sqlite3.OperationalError("failed")
        error.sqlite_errorcode = code
        return error

    io_error_of_fsync = sqlite3.SQLITE_IOERR | 4 << 8
    for code in (io_error_of_fsync, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_CORRUPT):
        assert type(translated_at_commit(failed(code), path)) is Unknown
    assert type(translated_at_commit(failed(sqlite3.SQLITE_FULL), path)) is StoreFull


def test_a_closed_store_refuses(store: SqliteStore) -> None:
    put(store)
    store.close()
    for call in (
        lambda: store.read(["a"]),
        lambda: put(store, "b"),
        lambda: store.watch("a", 1, NOW),
        lambda: store.session(TTL),
        store.facts,
    ):
        with pytest.raises(Unavailable, match="closed"):
            call()


def test_a_put_over_an_ephemeral_key_is_our_bug(store: SqliteStore) -> None:
    mod = put(store, session=store.session(TTL).id)
    with pytest.raises(Rejected, match="ephemeral") as caught:
        put(store, mod=mod)
    assert caught.type is Rejected
    assert store.read(["a"])["a"].mod == mod


def test_a_session_too_short_is_our_bug(store: SqliteStore) -> None:
    with pytest.raises(Rejected, match="at least 10 s"):
        store.session(timedelta(seconds=9))


# --- sessions ---


def test_a_session_ends_by_the_boot_time_clock(store: SqliteStore, clock: HandClock) -> None:
    session = store.session(TTL)
    mod = put(store, session=session.id)
    clock.now += 9.9
    assert store.read(["a"])["a"].mod == mod
    clock.now += 0.1
    assert store.read(["a"])["a"] == ABSENT
    assert list(store.read(prefixes=[""]).under("")) == []
    with pytest.raises(SessionLost):
        session.keepalive()
    with pytest.raises(SessionLost):
        put(store, session=session.id)
    session.end()


def test_keepalive_counts_from_now(store: SqliteStore, clock: HandClock) -> None:
    session = store.session(TTL)
    mod = put(store, session=session.id)
    for _ in range(5):
        clock.now += 9
        session.keepalive()
    clock.now += 9.9
    assert store.read(["a"])["a"].mod == mod


def test_a_boot_ends_all_sessions_of_the_one_before(connect: Connect) -> None:
    """Its clock began anew, so that the old numbers mean nothing."""
    before, after = connect("this boot"), connect("next boot")
    session = before.session(TTL)
    put(before, session=session.id)
    assert after.read(["a"])["a"] == ABSENT
    mod = put(after, session=after.session(TTL).id)
    assert after.read(["a"])["a"].mod == mod
    with pytest.raises(SessionLost):
        after.extend_session(session.id, TTL)


def test_an_expired_key_is_absent_for_checks_and_gone_with_the_next_write(
    store: SqliteStore, clock: HandClock, foreign: sqlite3.Connection
) -> None:
    old = put(store, session=store.session(TTL).id)
    clock.now += 11
    with pytest.raises(Conflict):
        put(store, mod=old)
    assert foreign.execute("SELECT count(*) FROM item").fetchone() == (1,), "hidden, and not yet swept"
    put(store, "b")
    assert foreign.execute("SELECT key FROM item").fetchall() == [("x/b",)]
    assert foreign.execute("SELECT count(*) FROM session").fetchone() == (0,)
    new = put(store)
    assert new > old
    assert store.read(["a"])["a"].create == new


def test_expiry_ends_a_watch_without_a_write(store: SqliteStore, clock: HandClock) -> None:
    mod = put(store, session=store.session(TTL).id)
    assert not store.watch("a", mod, NOW)
    clock.now += 11
    assert store.watch("a", mod, NOW)


def test_sessions_of_other_prefixes_share_the_file(connect: Connect, clock: HandClock) -> None:
    one, two = connect(prefix="one"), connect(prefix="two")
    session = one.session(TTL)
    put(one, session=session.id)
    put(two)
    session.end()
    assert one.read(["a"])["a"] == ABSENT
    assert two.read(["a"])["a"].value == b"1"
