import os

import pytest

from locksmith.checks.baseline import Baseline, Nothing
from locksmith.errors import Damaged

FAILED = {"failed": frozenset({"b.service", "a.service"})}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "before-units.json"


def test_what_was_noted_is_read_for_its_attempt(path):
    Baseline(path).note("n1", FAILED)
    assert Baseline(path).read("n1") == FAILED
    assert Baseline(path).noted("n1")
    assert path.stat().st_mode & 0o777 == 0o600


def test_sets_that_are_empty_are_something(path):
    Baseline(path).note("n1", {"failed": frozenset()})
    assert Baseline(path).read("n1") == {"failed": frozenset()}
    assert Baseline(path).noted("n1")


def test_another_attempt_is_nothing_and_takes_the_place(path):
    baseline = Baseline(path)
    baseline.note("n1", FAILED)
    assert baseline.read("n2") == Nothing("nothing was noted before this reboot, only before an earlier one")
    assert not baseline.noted("n2")
    baseline.note("n2", {"failed": frozenset()})
    assert isinstance(baseline.read("n1"), Nothing)


def test_without_an_attempt_there_is_nothing(path):
    Baseline(path).note("", FAILED)
    assert Baseline(path).read("") == Nothing("no attempt is known")


def test_missing(path):
    assert Baseline(path).read("n1") == Nothing("nothing was noted before the reboot")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"[" * 100_000,
        b'{"v": 1, "attempt": "n1"}',
        b'{"v": 1, "attempt": "n1", "names": []}',
        b'{"v": 1, "attempt": "n1", "names": {"failed": "a.service"}}',
        b'{"v": 1, "attempt": "n1", "names": {"failed": [1]}}',
    ],
)
def test_damaged(path, content):
    path.write_bytes(content)
    assert Baseline(path).read("n1") == Nothing(f"{path} is damaged")


def test_of_another_version(path):
    path.write_text('{"v": 2, "attempt": "n1", "names": {}}')
    assert Baseline(path).read("n1") == Nothing(f"{path} is of another version of locksmith")


def test_a_folder_in_its_place(path):
    path.mkdir()
    assert Baseline(path).read("n1") == Nothing(f"cannot read {path}: Is a directory")


@pytest.mark.skipif(not os.access("/dev/full", os.W_OK), reason="NOT TESTED: no /dev/full")
def test_a_full_disk_is_said_and_keeps_what_was_there(path):
    baseline = Baseline(path)
    baseline.note("n1", FAILED)
    path.with_name(f".{path.name}.new").symlink_to("/dev/full")
    with pytest.raises(Damaged, match=r"cannot write .*before-units\.json: "):
        baseline.note("n2", FAILED)
    assert baseline.read("n1") == FAILED


def test_no_folder_to_write_to(tmp_path):
    with pytest.raises(Damaged, match="cannot write"):
        Baseline(tmp_path / "gone" / "before.json").note("n1", FAILED)
