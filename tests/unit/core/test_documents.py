"""What the documents say: pauses, halts, counts; and that each keeps what it does not know."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from locksmith.core.codec import Document
from locksmith.core.documents import (
    Brake,
    Config,
    Failure,
    Guard,
    Hold,
    Holder,
    NodeRecord,
    Pause,
    Phase,
    Request,
    Revoke,
    Then,
    Ticket,
    Unlocked,
)

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
PAUSE = Pause(by="alice@b", reason="INC-1", since=NOON, until=NOON + HOUR)
FAILURE = Failure(token="7", check="app", since=NOON, host="h1")

EVERY: list[Document] = [
    Config(store="s", cluster="c", epoch=3, pause=PAUSE),
    Brake(pause=PAUSE, failed={"n1": FAILURE}, max_failed=2),
    Hold(by="a", reason="r", since=NOON, until=NOON),
    Request(by="a", reason="r", since=NOON, ignore=("window",)),
    Guard(slots=3, effective=2, count=1),
    Holder(
        nonce="n",
        group="web",
        limits=("group/web",),
        phase=Phase.ARMED,
        boot="b",
        since=NOON,
        phase_since=NOON,
        expected_by=NOON + HOUR,
        origin="1",
        target="2",
        revoke=Revoke(by="a", reason="r", since=NOON),
        then=Then(by="a", host="h", reason="r", nonce="m"),
    ),
    Ticket(nonce="n", limits=("group/web", "label/zone=a"), since=NOON, priority=-1),
    NodeRecord(host="h", group="web", state="steady", seen=NOON, labels={"zone": "a"}, steps=({"step": "gate"},)),
    Unlocked(token="7", nonce="n", phase="armed", by="a", reason="r", since=NOON),
]


@pytest.mark.parametrize("document", EVERY, ids=lambda one: type(one).__name__)
def test_there_and_back_with_what_it_does_not_know(document: Document) -> None:
    assert type(document).decode("key", document.encode()) == document
    newer = {**json.loads(document.encode()), "unheard_of": {"a": [1]}}
    read = type(document).decode("key", json.dumps(newer).encode())
    assert json.loads(replace(read, gen="other").encode()) == {**newer, "gen": "other"}


@pytest.mark.parametrize(
    ("document", "path"),
    [
        (EVERY[0], ("pause",)),
        (EVERY[1], ("pause",)),
        (EVERY[1], ("failed", "n1")),
        (EVERY[5], ("revoke",)),
        (EVERY[5], ("then",)),
    ],
)
def test_what_stands_inside_keeps_it_too(document: Document, path: tuple[str, ...]) -> None:
    newer: dict[str, Any] = json.loads(document.encode())
    part = newer
    for name in path:
        part = part[name]
    part["unheard_of"] = 1
    read = type(document).decode("key", json.dumps(newer).encode())
    assert json.loads(read.encode()) == newer


def test_a_phase_that_a_newer_locksmith_invents_is_read() -> None:
    holder = EVERY[5]
    newer = {**json.loads(holder.encode()), "phase": "hibernating"}
    read = Holder.decode("key", json.dumps(newer).encode())
    assert read.phase == "hibernating"


@pytest.mark.parametrize("document", [PAUSE, Hold(by="a", reason="r", since=NOON, until=NOON + HOUR)])
def test_an_until_ends_by_a_clock_that_may_be_trusted(document: Pause | Hold) -> None:
    assert document.in_force(NOON)
    assert document.in_force(NOON + HOUR - timedelta(microseconds=1))
    assert not document.in_force(NOON + HOUR)
    assert document.in_force(None), "an untrusted clock ends nothing"
    assert replace(document, until=None).in_force(NOON + 10_000 * HOUR)


@pytest.mark.parametrize(
    ("failed", "acked", "max_failed", "halted"),
    [(0, 0, 0, False), (1, 0, 0, True), (1, 1, 0, False), (2, 1, 0, True), (2, 0, 2, False), (3, 0, 2, True)],
)
def test_halted_is_more_failed_and_not_acknowledged_than_allowed(
    failed: int, acked: int, max_failed: int, *, halted: bool
) -> None:
    entries = {f"n{place}": replace(FAILURE, acked=place < acked) for place in range(failed)}
    assert Brake(failed=entries, max_failed=max_failed).halted == halted


def test_halted_is_never_stored() -> None:
    assert "halted" not in json.loads(Brake(failed={"n1": FAILURE}).encode())


def test_the_unacknowledged_longest_first() -> None:
    entries = {"a": replace(FAILURE, since=NOON + HOUR), "b": FAILURE, "c": replace(FAILURE, acked=True), "d": FAILURE}
    assert Brake(failed=entries).unacked == ("b", "d", "a")


def test_what_is_free_goes_by_the_effective_slots() -> None:
    assert Guard(slots=5, effective=3, count=1).free == 2
    assert Guard(slots=1, effective=1, count=4).free == -3


HISTORYS = [
    ("seq", Guard(count=3)),
    ("steps", EVERY[5]),
    ("reboots", EVERY[7]),
    ("last_reboot", EVERY[7]),
]
"""Fields that are for the record only."""


@pytest.mark.parametrize("junk", ["seven", {"a": {}}, ["x"], [{"at": "x"}], True])
@pytest.mark.parametrize(("name", "document"), HISTORYS, ids=lambda one: one if isinstance(one, str) else "")
def test_what_cannot_be_read_of_the_history_makes_no_document_corrupt(name: str, document: Document, junk: Any) -> None:
    """A holder must be released whatever its phases look like, and a guard be counted."""
    raw = json.loads(document.encode()) | {name: junk}
    read = type(document).decode("key", json.dumps(raw).encode())
    assert read == document or getattr(read, name) == junk  # what fits, such as a reboot record of any shape, is kept
    assert type(document).decode("key", read.encode()) == read
