"""Files that somebody else renews."""

import threading
from pathlib import Path

import pytest

from locksmith.host.reread import Reread


def test_read_again_only_when_it_changes(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("one")
    reads: list[str] = []
    kept = Reread((file, None), lambda: reads.append(file.read_text()) or reads[-1])
    assert (kept.now(), kept.now(), reads) == ("one", "one", ["one"])
    (tmp_path / "new").write_text("two")
    (tmp_path / "new").rename(file)
    assert (kept.now(), kept.now(), reads) == ("two", "two", ["one", "two"])


def test_the_last_good_one_stays_and_only_the_first_can_fail(tmp_path: Path) -> None:
    file = tmp_path / "a"
    kept = Reread((file,), lambda: int(file.read_text()))
    with pytest.raises(FileNotFoundError):
        kept.now()
    file.write_text("no number")
    with pytest.raises(ValueError, match="no number"):
        kept.now()
    file.write_text("1")
    assert kept.now() == 1
    file.write_text("half of")
    assert kept.now() == 1
    file.unlink()
    assert kept.now() == 1
    file.write_text("23")
    assert kept.now() == 23


def test_a_value_may_be_none(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.touch()
    reads: list[None] = []
    kept = Reread((file,), lambda: reads.append(None))
    assert (kept.now(), kept.now(), len(reads)) == (None, None, 1)


def test_two_threads_read_once(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.touch()
    reads: list[object] = []
    both = threading.Barrier(2)
    kept = Reread((file,), lambda: reads.append(object()) or reads[-1])

    def ask() -> None:
        both.wait(timeout=10)
        kept.now()

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(timeout=10)
    assert len(reads) == 1
