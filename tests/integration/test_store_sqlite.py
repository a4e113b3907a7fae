"""The SQLite store under real processes: exact counts, death at any moment, full disks, missing rights."""

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from locksmith.errors import StoreFull, Unavailable
from locksmith.stores import ABSENT, Check, Put
from locksmith.stores.sqlite import SqliteStore
from locksmith.stores.sqlite_file import open_database

WORKER = Path(__file__).with_name("sqlite_worker.py")
NOBODY = 65534

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(path, "fleet", timeout=timedelta(seconds=20))
    yield store
    store.close()


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a worker; whatever still runs at the end of the test is killed."""
    workers: list[subprocess.Popen[str]] = []

    def run(*words: object) -> subprocess.Popen[str]:
        command = [sys.executable, str(WORKER), *map(str, words)]
        workers.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return workers[-1]

    yield run
    for worker in workers:
        if worker.poll() is None:
            worker.kill()
            worker.communicate()
        assert worker.stdout is not None
        worker.stdout.close()


def python(code: str, *words: object) -> str:
    """What a Python of its own prints."""
    command = [sys.executable, "-c", code, *map(str, words)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=60).stdout


def intact(path: Path) -> bool:
    db = sqlite3.connect(path)
    try:
        return db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    finally:
        db.close()


def test_processes_count_exactly_and_make_the_file_once(path: Path, store: SqliteStore, start: Start) -> None:
    """Nobody made the file before: they also race for that."""
    processes, rounds = 5, 60
    workers = [start("increment", path, rounds) for _ in range(processes)]
    numbers = []
    for worker in workers:
        output, _ = worker.communicate(timeout=100)
        assert worker.returncode == 0
        numbers += [int(line) for line in output.split()]
    assert sorted(numbers) == list(range(1, processes * rounds + 1))
    assert int(store.read(["n"])["n"].value) == processes * rounds
    assert intact(path)


def test_all_who_make_the_same_file_at_once_can_open_it(tmp_path: Path) -> None:
    """Many files, since the moments that can go wrong are short: half made, a file must not look like a stranger's."""
    openers = 4
    with ThreadPoolExecutor(openers) as pool:
        for number in range(300):
            path = tmp_path / f"{number}.db"
            together = threading.Barrier(openers)

            def opened(path: Path = path, together: threading.Barrier = together) -> None:
                together.wait(60)
                open_database(path, 60).close()

            for opening in [pool.submit(opened) for _ in range(openers)]:
                opening.result(timeout=100)


def test_writers_killed_at_random_leave_no_half_commit(path: Path, store: SqliteStore, start: Start) -> None:
    chance = random.Random(20240229)
    store.prepare()
    workers = {f"n{number}": start("cycle", path, f"n{number}") for number in range(4)}
    for worker in workers.values():
        assert worker.stdout is not None
        assert worker.stdout.readline() == "acquired\n"
    revisions: set[int] = set()
    for _ in range(25):
        name = chance.choice(sorted(workers))
        victim = workers[name]
        time.sleep(chance.uniform(0, 0.05))
        victim.kill()
        victim.communicate()
        snapshot = store.read(["lim"], ["own/"])
        assert int(snapshot["lim"].value) == len(list(snapshot.under("own/")))
        revisions.add(snapshot["lim"].mod)
        workers[name] = start("cycle", path, name)
    assert len(revisions) > 5, "the workers did next to nothing"
    for worker in workers.values():
        worker.kill()
        worker.communicate()
    snapshot = store.read(["lim"], ["own/"])
    assert int(snapshot["lim"].value) == len(list(snapshot.under("own/")))
    assert intact(path)
    store.commit([Check("after", 0)], [Put("after", b"1")])


def test_an_acknowledged_commit_outlives_its_writer(path: Path, store: SqliteStore, start: Start) -> None:
    for _ in range(5):
        worker = start("increment", path, 10**6)
        assert worker.stdout is not None
        first = worker.stdout.readline()  # a busy machine may take its time until here
        time.sleep(0.3)
        worker.kill()
        output, _ = worker.communicate()
        complete = (first + output[: output.rfind("\n") + 1]).split()
        assert int(store.read(["n"])["n"].value) >= int(complete[-1]) > 0


def test_a_writer_that_stands_still_and_dies(path: Path, store: SqliteStore, start: Start) -> None:
    mod = store.commit([], [Put("a", b"1")])
    assert mod is not None
    impatient = SqliteStore(path, "fleet", timeout=timedelta(seconds=0.2))
    worker = start("stall", path)
    assert worker.stdout is not None
    assert worker.stdout.readline() == "inside\n"
    worker.send_signal(signal.SIGSTOP)
    with pytest.raises(Unavailable, match="busy"):
        impatient.commit([Check("a", mod)], [Put("a", b"2")])
    assert impatient.read(["a"])["a"].mod == mod
    worker.kill()
    worker.wait()
    assert store.commit([Check("a", mod)], [Put("a", b"2")]) == mod + 1, "what it had begun is not applied"
    impatient.close()


LIMITED = """
import resource, sys
from datetime import timedelta
from pathlib import Path
from locksmith.errors import StoreError
from locksmith.stores import Check, Put
from locksmith.stores.sqlite import SqliteStore
from locksmith.stores.sqlite_file import open_database

store = SqliteStore(Path(sys.argv[1]), "fleet", timeout=timedelta(seconds=1))
mod = store.commit([], [Put("a", b"1")])
size = Path(sys.argv[1] + "-wal").stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10_000, resource.RLIM_INFINITY))
try:
    store.commit([Check("a", mod)], [Put("a", bytes(60_000))])
except StoreError as error:
    print(type(error).__name__, error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
item = store.read(["a"])["a"]
print(item.value == b"1" and item.mod == mod)
print(store.commit([Check("a", item.mod)], [Put("a", b"3")]) is not None)
"""


def test_a_write_error_at_commit_is_unknown(path: Path) -> None:
    """The kernel refuses the write in the middle of COMMIT (EFBIG); the next call finds out what holds."""
    said, same, goes_on = python(LIMITED, path).splitlines()
    assert said.startswith("Unknown ")
    assert str(path) in said
    assert "read it back" in said
    assert (same, goes_on) == ("True", "True")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 512 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=512k,mode=700", "locksmith-test", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("NOT TESTED: may not mount a small file system here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_applies_nothing_and_says_so(small_disk: Path, tmp_path: Path) -> None:
    """Not now, and not later either: a copy that is recovered as after a crash does not have it."""
    path = small_disk / "store.db"
    store = SqliteStore(path, "fleet", timeout=timedelta(seconds=1))
    store.commit([], [Put("keep", b"1")])
    applied = 0

    # Each fills the disk a little more, with commits of several sizes, so that the error hits another page each time.
    def fill() -> None:
        nonlocal applied
        for applied in range(10_000):
            store.commit([], [Put(f"k{applied}", bytes([applied % 256]) * (3000 + 1234 * (applied % 7)))])

    with pytest.raises(StoreFull, match="free some space"):
        fill()
    with pytest.raises(StoreFull):
        store.commit([], [Put("large", bytes(60_000))])
    names = {"keep", *(f"k{number}" for number in range(applied))}
    assert {key for key, _ in store.read(prefixes=[""]).under("")} == names
    copy = tmp_path / "copy"
    copy.mkdir()
    for suffix in ("", "-wal"):
        shutil.copy(f"{path}{suffix}", copy / f"store.db{suffix}")
    recovered = SqliteStore(copy / "store.db", "fleet", timeout=timedelta(seconds=1))
    assert {key for key, _ in recovered.read(prefixes=[""]).under("")} == names
    recovered.close()
    subprocess.run(["mount", "-o", "remount,size=4m", str(small_disk)], check=True)
    store.commit([Check("large", 0)], [Put("large", bytes(60_000))])
    assert store.read(["large"])["large"] != ABSENT
    store.close()
    assert intact(path)


def test_a_read_only_file_system_is_denied(small_disk: Path) -> None:
    path = small_disk / "store.db"
    store = SqliteStore(path, "fleet", timeout=timedelta(seconds=1))
    store.commit([], [Put("a", b"1")])
    store.close()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    said = python(DENIED, path, os.geteuid())
    assert said.startswith("Denied ")
    assert "read-only" in said


DENIED = """
import os, sys
from datetime import timedelta
from pathlib import Path
from locksmith.errors import StoreError
from locksmith.stores.sqlite import SqliteStore
from locksmith.stores.sqlite_file import open_database

store = SqliteStore(Path(sys.argv[1]), "fleet", timeout=timedelta(seconds=1))
if int(sys.argv[2]) != os.geteuid():
    os.setgroups([])
    os.setgid(int(sys.argv[2]))
    os.setuid(int(sys.argv[2]))
try:
    store.prepare()
    store.read(["a"])
except StoreError as error:
    print(type(error).__name__, error)
"""


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that other users can reach; the ones of pytest are private."""
    with tempfile.TemporaryDirectory(prefix="locksmith-test-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
        folder.chmod(0o755)


@pytest.fixture
def user() -> int:
    """Somebody who is not root, to whom modes mean nothing."""
    return NOBODY if os.geteuid() == 0 else os.geteuid()


def make(path: Path) -> None:
    store = SqliteStore(path, "fleet", timeout=timedelta(seconds=1))
    store.commit([], [Put("a", b"1")])
    store.close()


@pytest.mark.parametrize("mode", [0o444, 0o000])
def test_a_file_of_somebody_else_is_denied(public: Path, user: int, mode: int) -> None:
    path = public / "store.db"
    make(path)
    public.chmod(0o777)
    path.chmod(mode)
    said = python(DENIED, path, user)
    assert said.startswith(f"Denied sqlite store: {path} cannot be read and written by uid {user}")
    assert f"run as root or as its owner (uid {os.geteuid()})" in said


def test_a_folder_of_somebody_else_is_denied(public: Path, user: int) -> None:
    path = public / "store.db"
    make(path)
    path.chmod(0o666)
    public.chmod(0o555)
    said = python(DENIED, path, user)
    assert said.startswith(f"Denied sqlite store: {public} cannot be read and written by uid {user}")


def test_a_folder_that_may_not_be_made_is_denied(public: Path, user: int) -> None:
    public.chmod(0o555)
    said = python(DENIED, public / "new" / "store.db", user)
    assert said.startswith("Denied ")
    assert f"may not create the folder {public / 'new'}; run as root" in said
    assert not (public / "new").exists()
