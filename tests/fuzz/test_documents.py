"""Every document of the store and the journal: what is written is read, and what cannot be read is Corrupt and nothing else."""

import json
import logging
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locksmith.agent.journal import Journal
from locksmith.core.codec import Document
from locksmith.core.ledger import Ledger
from locksmith.errors import Corrupt
from tests.fuzz.profile import fuzz
from tests.fuzz.values import KINDS, TEXTS, almost, of

NAMED = {kind.__name__: kind for kind in KINDS}
KEY = "some/key"
UNHEARD = st.dictionaries(
    TEXTS.map(lambda text: f"x-{text}"), st.none() | st.integers() | TEXTS | st.lists(TEXTS, max_size=2), max_size=3
)


def everyone(cls: type[Any]) -> set[type[Any]]:
    """All classes below one."""
    return {cls}.union(*(everyone(below) for below in cls.__subclasses__()))


def test_no_document_is_forgotten() -> None:
    # A class with slots is made twice, and the first stays in the list of its parent.
    ours = {str(kind) for kind in everyone(Document) - {Document} if kind.__module__.startswith("locksmith.")}
    assert ours == {str(kind) for kind in KINDS}


@pytest.mark.parametrize("name", NAMED)
def test_what_is_written_is_read(name: str) -> None:
    @fuzz()
    @given(of(NAMED[name]))
    def run(document: Document) -> None:
        assert NAMED[name].decode(KEY, document.encode()) == document

    run()


@pytest.mark.parametrize("name", NAMED)
def test_what_nobody_knows_survives_a_rewrite(name: str) -> None:
    @fuzz(0.5)
    @given(of(NAMED[name]), UNHEARD)
    def run(document: Document, more: dict[str, Any]) -> None:
        stored = {**json.loads(document.encode()), **more}
        read = NAMED[name].decode(KEY, json.dumps(stored).encode())
        assert json.loads(replace(read, gen="other").encode()) == {**stored, "gen": "other"}

    run()


def judged(cls: type[Document], data: bytes) -> None:
    """The bytes are Corrupt with the key, or a document that can be written and is read as the same again."""
    try:
        document = cls.decode(KEY, data)
    except Corrupt as error:
        assert KEY in str(error)  # noqa: PT017  it is one of two right ends
        str(error).encode()  # it is printed and logged
    else:
        again = document.encode()
        assert cls.decode(KEY, again).encode() == again


@pytest.mark.parametrize("name", NAMED)
def test_anything_else_is_corrupt(name: str) -> None:
    @fuzz(2)
    @given(almost(NAMED[name]))
    def run(data: bytes) -> None:
        judged(NAMED[name], data)

    run()


FOUND = {
    "a number that is no float": b'{"verify_since":1' + b"0" * 400 + b"}",
    "a number that is not one": b'{"verify_since":NaN}',
    "an instant before the first": b'{"last_ours":"0001-01-01T00:00:00+05:00"}',
    "an instant after the last": b'{"last_ours":"9999-12-31T23:59:59-05:00"}',
    "half a character": rb'{"boot":"\ud800"}',
    "half a character in what nobody knows": rb'{"x":{"y":["\udfff"]}}',
    "half a character in a name": rb'{"\ud83d":1}',
    "half a character in bytes": b'{"boot":"\xed\xa0\x80"}',
    "a number as long as a page": b'{"x":' + b"1" * 5000 + b"}",
    "deeper than it can be written": b'{"x":' + b"[" * 400 + b"]" * 400 + b"}",
}


@pytest.mark.parametrize("what", FOUND)
def test_what_was_found(what: str) -> None:
    owed = json.dumps({"node": "n", "nonce": "n", "group": "g", "limits": [], "stage": "held", "boot": "b"})[:-1]
    inner = b'{"owed":' + f'{owed},"since":"2026-01-01T00:00:00Z",'.encode() + FOUND[what][1:] + b"}"
    judged(Ledger, FOUND[what])
    judged(Ledger, inner)


@pytest.mark.parametrize("what", FOUND)
def test_a_journal_of_any_bytes_is_no_reason_not_to_start(what: str, tmp_path, caplog) -> None:
    caplog.set_level(logging.CRITICAL)
    path = tmp_path / "journal.json"
    path.write_bytes(FOUND[what])
    ledger = Journal(path).load()
    Journal(path).save(replace(ledger, boot="b2"))
    assert Journal(path).load().boot == "b2"


@fuzz(2)
@given(almost(Ledger))
def test_a_journal_of_almost_right_bytes(tmp_path, data: bytes) -> None:
    path = tmp_path / "journal.json"
    path.write_bytes(data)
    logging.disable(logging.CRITICAL)
    try:
        ledger = Journal(path).load()
    finally:
        logging.disable(logging.NOTSET)
    Journal(path).save(replace(ledger, boot="b2"))
    assert Journal(path).load() == replace(ledger, boot="b2")
