import os
import resource
from datetime import timedelta
from pathlib import Path

import pytest

from locksmith.errors import ConfigError, Damaged
from locksmith.host import gated
from locksmith.host.files import HostLock, remove_durably, write_durably


def test_write_replaces_the_whole_file(tmp_path):
    path = tmp_path / "journal.json"
    write_durably(path, b"a long first text")
    write_durably(path, b"second", mode=0o600)
    assert path.read_bytes() == b"second"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_half_way_leaves_the_old_content(tmp_path):
    path = tmp_path / "journal.json"
    write_durably(path, b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        with pytest.raises(Damaged, match=f"cannot write {path}: File too large"):
            write_durably(path, b"x" * 100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(Damaged, match=f"cannot write {tmp_path}/no/file: No such file or directory"):
        write_durably(tmp_path / "no" / "file", b"x")


def test_a_read_only_file_system_is_named():
    with pytest.raises(Damaged, match="cannot write /proc/locksmith"):
        write_durably(Path("/proc/locksmith"), b"x")


def test_a_planted_link_is_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / ".file.new").symlink_to(victim)
    with pytest.raises(Damaged, match="cannot write"):
        write_durably(tmp_path / "file", b"x")
    assert victim.read_text() == "precious"


def test_remove(tmp_path):
    path = tmp_path / "file"
    path.write_text("x")
    remove_durably(path)
    remove_durably(path)
    assert not path.exists()
    with pytest.raises(Damaged, match="cannot remove"):
        remove_durably(tmp_path)


def test_the_second_agent_learns_who_is_first(tmp_path):
    first, second = (HostLock(tmp_path / "run" / "locksmithd.lock") for _ in range(2))
    first.acquire()
    with pytest.raises(ConfigError, match=rf"another locksmithd runs here already \(pid {os.getpid()}, .*run_dir"):
        second.acquire()
    first.release()
    first.release()
    second.acquire()
    with pytest.raises(ConfigError):
        first.acquire()
    second.release()


def test_a_command_that_outlives_us_does_not_keep_the_lock(tmp_path):
    lock = HostLock(tmp_path / "locksmithd.lock")
    lock.acquire()
    child = gated.start(["cat"], environment={}, output=tmp_path / "log")
    lock.release()
    lock.acquire()
    lock.release()
    assert child.wait(timedelta(0)) is None
    child.abandon()


def test_a_run_dir_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"cannot open .*see node.run_dir"):
        HostLock(tmp_path / "file" / "locksmithd.lock").acquire()
