"""The list of locks: real ones of this process, and rows as proc(5) shows them."""

import fcntl
import os

import pytest

from locksmith.host.flocks import flock_holder


def row(path, *, kind="FLOCK ", pid="4711", waits=""):
    status = path.stat()
    device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    return f"1:{waits} {kind} ADVISORY  WRITE {pid} {device} 0 EOF\n"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file"
    path.touch()
    return path


def test_a_lock_of_this_process(file):
    assert flock_holder(file) is None
    with file.open() as opened:
        fcntl.flock(opened, fcntl.LOCK_EX)
        assert flock_holder(file) == os.getpid()
    assert flock_holder(file) is None


def test_a_missing_file_is_not_locked(tmp_path):
    assert flock_holder(tmp_path / "none") is None


@pytest.mark.parametrize(
    ("rows", "holder"),
    [
        (row, 4711),
        (lambda path: row(path, waits=" ->"), None),
        (lambda path: row(path, kind="POSIX "), None),
        (lambda path: row(path.parent), None),
        (lambda path: row(path.parent, pid="1") + row(path), 4711),
        (lambda _: "", None),
    ],
)
def test_rows(file, tmp_path, rows, holder):
    locks = tmp_path / "locks"
    locks.write_text(rows(file))
    assert flock_holder(file, locks) == holder


def test_a_list_that_cannot_be_read(file, tmp_path):
    with pytest.raises(OSError, match="locks"):
        flock_holder(file, tmp_path / "locks")
