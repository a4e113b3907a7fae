"""The history's own values: bounded in number and in age."""

from datetime import UTC, datetime, timedelta

import pytest

from locksmith.core import keys
from locksmith.core.history import AGE, NOTE_SIZE, NOTES, RING, STEPS, TEXT, Note, Notes, noted, stepped

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def note(minute: int) -> Note:
    return Note(act="paused", at=NOON + timedelta(minutes=minute), by="alice")


def test_notes_are_bounded_in_number():
    notes: Notes | None = None
    for minute in range(NOTES + 7):
        notes = noted(notes, note(minute), f"g{minute}")
    assert len(notes.notes) == NOTES
    assert notes.notes[-1] == note(NOTES + 6)
    assert notes.gen == f"g{NOTES + 6}"


def test_notes_are_bounded_in_age():
    notes = noted(noted(None, note(0), "g1"), note(5), "g2")
    late = Note(act="resumed", at=NOON + AGE + timedelta(minutes=3), by="bob")
    assert noted(notes, late, "g3").notes == (note(5), late)


@pytest.mark.parametrize("letter", ["x", "ä", "\U0001f512"])
def test_notes_are_bounded_in_bytes(letter):
    """A store refuses values above 64 KiB, and with the note the pause or the failure that it stands beside."""
    notes: Notes | None = None
    for minute in range(NOTES * 2):
        long = letter * 60_000
        notes = noted(notes, Note(act="paused", at=NOON + timedelta(minutes=minute), by=long, reason=long), "g")
        assert len(notes.encode()) <= NOTES * NOTE_SIZE
        assert notes.notes[-1].at == NOON + timedelta(minutes=minute)
    assert notes is not None
    assert len(notes.notes) > NOTES // 8
    assert notes.notes[-1].reason == letter * (TEXT - 1) + "…"


def test_what_others_put_beside_the_notes_goes_when_there_is_no_room_for_it():
    full = Notes(notes=(note(0),), extra={"new": "x" * NOTES * NOTE_SIZE})
    assert noted(full, note(1), "g").notes == (note(1),)


def test_what_a_newer_version_put_beside_the_notes_survives():
    assert noted(Notes(extra={"new": 1}), note(0), "g").extra == {"new": 1}


def test_a_phase_is_told_once_for_each_boot():
    steps = stepped((), "acquired", NOON, "b1")
    steps = stepped(steps, "acquired", NOON + timedelta(minutes=1), "b1")
    steps = stepped(steps, "verifying", NOON + timedelta(minutes=2), "b2")
    steps = stepped(steps, "verifying", NOON + timedelta(minutes=3), "b3")
    assert [(step.phase, step.boot) for step in steps] == [("acquired", "b1"), ("verifying", "b2"), ("verifying", "b3")]
    for number in range(STEPS * 2):
        steps = stepped(steps, "armed", NOON, f"b{number + 4}")
    assert len(steps) == STEPS


def test_the_ring_ends_where_it_began():
    assert keys.entry("group/web", 1) == "ev/lim/group/web/001"
    assert keys.entry("group/web", RING + 1) == keys.entry("group/web", 1)
    assert keys.entry_limit(keys.entry("label/zone=a", 7)) == "label/zone=a"
    assert len({keys.entry("group/web", seq) for seq in range(3 * RING)}) == RING
