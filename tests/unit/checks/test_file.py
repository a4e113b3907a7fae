import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from locksmith.checks import Occasion
from locksmith.checks.file import FileCheck
from locksmith.core.verdict import Closed, Open, Unknown

OCCASION = Occasion(datetime(2026, 1, 1, tzinfo=UTC), clock_trusted=True, environment={})


@pytest.fixture
def path(tmp_path):
    return tmp_path / "no-reboot"


def ask(path, closed_when="present"):
    return FileCheck("blocker", "gate", path, closed_when).ask(OCCASION)


def there(path):
    return Closed(f"{path} is there: remove it when it is no longer needed")


def test_absent(path):
    assert ask(path) == Open()
    assert ask(path, "absent") == Closed(f"{path} is not there")
    assert ask(path / "below") == Open()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"backup until noon\nsecond line\n", "backup until noon"),
        (b"no newline", "no newline"),
        (b"\x1b]0;evil\x07\x1b[31mred\n", "]0;evil[31mred"),
        (b"caf\xc3\xa9 \xff\n", "café �"),
        ("x" * 5000, "x" * 199 + "…"),
        ("right\u202eto left\n", "rightto left"),
    ],
)
def test_the_first_line_is_the_reason(path, content, reason):
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    assert ask(path) == Closed(f"{path}: {reason}")
    assert ask(path, "absent") == Open(f"{path} is there")


@pytest.mark.parametrize("content", [b"", b"\n\nlater", b"   \n"])
def test_without_a_first_line(path, content):
    path.write_bytes(content)
    assert ask(path) == there(path)


def test_a_folder(path):
    path.mkdir()
    assert ask(path) == there(path)


@pytest.mark.timeout(20)
def test_a_pipe_is_not_waited_for(path):
    os.mkfifo(path)
    assert ask(path) == there(path)


def test_a_link_to_nothing_is_in_the_way_of_both(path):
    path.symlink_to(path.parent / "gone")
    assert ask(path) == Closed(f"{path} is a link to nothing: remove or correct it")
    assert ask(path, "absent") == ask(path)


def test_a_link_is_followed(path):
    (path.parent / "real").write_text("why\n")
    path.symlink_to("real")
    assert ask(path) == Closed(f"{path}: why")


def test_what_cannot_be_looked_for_is_unknown(path):
    path.symlink_to(path)
    assert ask(path) == Unknown(f"cannot look for {path}: Too many levels of symbolic links")
    assert ask(path, "absent") == ask(path)


def test_a_file_that_cannot_be_read_is_there():
    memory = Path("/proc/self/mem")  # a regular file whose first bytes nobody can read, not even root
    assert ask(memory) == there(memory)


def test_names(path):
    for role in ("gate", "health"):
        check = FileCheck("blocker", role, path)
        assert (check.name, check.kind) == ("blocker", role)
