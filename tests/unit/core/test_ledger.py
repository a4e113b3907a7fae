"""What the journal holds, written and read again."""

import json
from datetime import timedelta

import pytest

from locksmith.core.history import Unsanctioned
from locksmith.core.ledger import LastReboot, Ledger, Stage
from locksmith.errors import Corrupt
from tests.fakes.mind import HOME, NOON, ledger, owed

FULL = ledger(
    owed(
        stage=Stage.RELEASING, origin="v1", target="v2", request="req-1", attempt="a-1", arms=2, started=("10-a", "20-b"),
        finished=("10-a",), undone=("20-b",), called_off="gate", called_off_reason="backup: não", armed_at=NOON,
        verify_boot="boot-3/0", verify_since=12.5, post_done=("30-c",), result="healthy", check="app",
    ),
    wanted={"file": "fp-1"}, spent={"apt": "fp-0"}, failures=3, cooldown_until=NOON + timedelta(hours=1), last_ours=NOON,
    last=LastReboot(at=NOON, result="healthy", reason="x", origin="v1", target="v2", came_as="v2", phases={"verifying": 3.5}),
    unsanctioned=(Unsanctioned(boot="boot-2/0", at=NOON),), reboots={"healthy": 4}, called_off={"gate": 2},
)  # fmt: skip


@pytest.mark.parametrize("book", [Ledger(), ledger(), ledger(owed()), FULL])
def test_what_is_written_is_read_again(book):
    assert Ledger.decode("journal", book.encode()) == book


def test_the_same_is_written_in_the_same_bytes():
    assert FULL.encode() == Ledger.decode("journal", FULL.encode()).encode()


def test_what_a_newer_locksmith_wrote_survives():
    raw = json.loads(FULL.encode())
    raw["from_the_future"] = [1, 2]
    read = Ledger.decode("journal", json.dumps(raw).encode())
    assert json.loads(read.encode())["from_the_future"] == [1, 2]


def test_nothing_in_it_is_needed():
    assert Ledger.decode("journal", b"{}") == Ledger()


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null", b'{"owed": 5}', b'{"owed": {"node": "n1"}}', b"\xff\xfe"])
def test_what_is_no_journal_is_corrupt_and_named(raw):
    with pytest.raises(Corrupt, match="journal"):
        Ledger.decode("journal", raw)


def test_what_is_undone_is_owed_no_more_and_the_last_comes_first():
    assert owed(started=("a", "b", "c"), undone=("b",)).to_undo == ("c", "a")
    assert owed().to_undo == ()


def test_the_store_is_named_without_secrets():
    assert json.loads(FULL.encode())["home"] == {
        "store": HOME.store, "prefix": "locksmith", "node": "n1", "identity": "store-1", "epoch": 1,
    }  # fmt: skip
