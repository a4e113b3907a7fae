"""The journal's file: durable, private, never guessed at."""

import json
from pathlib import Path

import pytest

from locksmith.agent.journal import Journal
from locksmith.core.ledger import Ledger
from locksmith.errors import ConfigError, Damaged
from tests.fakes.mind import ledger, owed


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.json"


def test_a_missing_journal_owes_nothing(path):
    assert Journal(path).load() == Ledger()
    assert not path.exists()


def test_another_life_reads_what_was_written(path):
    book = ledger(owed(started=("10-a",)))
    Journal(path).save(book)
    assert Journal(path).load() == book
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("damage", [b"", b"{", b"\x00" * 100, b'{"owed": {"node": 1}}'])
def test_a_damaged_journal_is_put_aside_and_told(path, damage, caplog):
    path.write_bytes(damage)
    assert Journal(path).load() == Ledger()
    assert not path.exists()
    assert path.with_suffix(".damaged").read_bytes() == damage
    [record] = caplog.records
    assert "journal.damaged" in record.getMessage()
    assert record.levelname == "ERROR"


def test_a_damaged_journal_does_not_keep_the_next_one_from_being_written(path):
    path.write_bytes(b"{")
    journal = Journal(path)
    journal.load()
    journal.save(Ledger())
    assert Journal(path).load() == Ledger()


def test_what_has_not_changed_is_not_written_again(path):
    journal = Journal(path)
    journal.save(ledger())
    path.unlink()
    journal.save(ledger())
    assert not path.exists()
    journal.save(ledger(owed()))
    assert path.exists()


def test_what_was_read_is_not_written_again(path):
    Journal(path).save(ledger())
    journal = Journal(path)
    book = journal.load()
    inode = path.stat().st_ino
    journal.save(book)
    assert path.stat().st_ino == inode


def test_a_disk_that_takes_nothing_is_said_and_tried_again(path):
    journal = Journal(path)
    journal.save(ledger())
    blocker = path.with_name(".journal.json.new")
    blocker.mkdir()
    for _ in range(2):
        with pytest.raises(Damaged, match=r"journal\.json"):
            journal.save(ledger(owed()))
        assert Journal(path).load() == ledger()
    blocker.rmdir()
    journal.save(ledger(owed()))
    assert Journal(path).load() == ledger(owed())


def test_a_journal_that_cannot_be_read_is_no_missing_one(path):
    path.mkdir()
    with pytest.raises(ConfigError, match=r"journal\.json: cannot be read .* state_dir"):
        Journal(path).load()


def test_it_is_json_that_people_can_read(path):
    Journal(path).save(ledger(owed()))
    assert json.loads(path.read_text())["owed"]["token"] == 7
