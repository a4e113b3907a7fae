"""Documents to bytes and back: what a newer locksmith wrote survives, what is rubbish says so and names its key."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from locksmith.core.codec import FORMAT, LEVEL, Document, Part, from_json, to_json
from locksmith.errors import Corrupt

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
KEY = "own/aa/n1"
quick = settings(deadline=None, max_examples=80)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner(Part):
    since: datetime
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample(Document):
    name: str
    count: int = 0
    ratio: float = 1.0
    sure: bool = False
    when: datetime | None = None
    origin: str | None = None
    target: str | None = None
    limits: tuple[str, ...] = ()
    inner: Inner | None = None
    many: Mapping[str, Inner] = field(default_factory=dict)
    steps: tuple[Mapping[str, Any], ...] = ()


FULL = Sample(
    gen="g1",
    name="näme",
    count=3,
    ratio=0.5,
    sure=True,
    when=NOON,
    origin="1",
    target="2",
    limits=("group/web", "fleet/all"),
    inner=Inner(since=NOON, note="x"),
    many={"a": Inner(since=NOON)},
    steps=({"step": "gate", "n": 1, "deep": [None, True]},),
)


def raw(**changes: object) -> bytes:
    return json.dumps({**json.loads(FULL.encode()), **changes}).encode()


def test_there_and_back() -> None:
    assert Sample.decode(KEY, FULL.encode()) == FULL
    assert Sample.decode(KEY, Sample(name="n").encode()) == Sample(name="n")


def test_the_form_in_the_store() -> None:
    stored = json.loads(FULL.encode())
    assert (stored["v"], stored["min_claim"], stored["gen"]) == (FORMAT, 1, "g1")
    assert (stored["from"], stored["to"]) == ("1", "2")
    assert "origin" not in stored
    assert "extra" not in stored
    assert stored["when"] == "2026-01-01T12:00:00Z"
    assert b" " not in Sample(name="n").encode()


def test_times_are_stored_in_utc_and_keep_their_microseconds() -> None:
    berlin = datetime(2026, 1, 1, 13, 0, 0, 123456, tzinfo=timezone(timedelta(hours=1)))
    document = Sample.decode(KEY, Sample(name="n", when=berlin).encode())
    assert document.when == berlin
    assert b"2026-01-01T12:00:00.123456Z" in document.encode()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
known = {"from", "to", *(name for name in json.loads(FULL.encode()))}
unknown = st.dictionaries(
    st.text(min_size=1).filter(lambda name: name not in {*known, "extra", "note", "since"}), json_values
)


@quick
@given(unknown, unknown)
def test_unknown_fields_survive_a_rewrite_at_every_depth(outer: dict[str, Any], inner: dict[str, Any]) -> None:
    stored = json.loads(FULL.encode())
    stored |= outer
    stored["inner"] |= inner
    stored["many"]["a"] |= inner
    document = Sample.decode(KEY, json.dumps(stored).encode())
    again = json.loads(replace(document, count=4, gen="g2").encode())
    assert again == {**stored, "count": 4, "gen": "g2"}


def test_a_field_named_extra_is_an_unknown_one_like_others() -> None:
    document = Sample.decode(KEY, raw(extra={"a": 1}))
    assert json.loads(document.encode())["extra"] == {"a": 1}


@quick
@given(st.binary(max_size=200))
def test_rubbish_is_corrupt_and_never_anything_else(value: bytes) -> None:
    with pytest.raises(Corrupt, match=KEY):
        Sample.decode(KEY, value)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"null",
        b"[]",
        b'"x"',
        b"{}",
        b"[" * 100_000,
        raw(name=None),
        raw(name=7),
        raw(count="3"),
        raw(count=True),
        raw(count=1.5),
        raw(sure=1),
        raw(when="yesterday"),
        raw(when="2026-01-01T12:00:00"),
        raw(when=5),
        raw(limits="group/web"),
        raw(limits=[1]),
        raw(inner={"note": "no since"}),
        raw(inner=[]),
        raw(many={"a": None}),
        raw(many=[]),
        raw(v="1"),
    ],
)
def test_what_does_not_fit_is_corrupt_and_names_the_key_and_the_remedy(value: bytes) -> None:
    with pytest.raises(Corrupt, match=rf"{KEY}.*lockctl fsck"):
        Sample.decode(KEY, value)


def test_a_whole_number_is_a_ratio_too() -> None:
    assert Sample.decode(KEY, raw(ratio=2)).ratio == 2.0


@pytest.mark.parametrize(
    ("changes", "barred"),
    [({}, False), ({"min_claim": LEVEL}, False), ({"min_claim": LEVEL + 1}, True), ({"v": FORMAT + 1}, True)],
)
def test_a_newer_locksmith_bars_and_is_still_read(changes: dict[str, int], *, barred: bool) -> None:
    document = Sample.decode(KEY, raw(**changes, unheard_of="x"))
    assert document.barred == barred
    again = json.loads(replace(document, gen="g9").encode())
    assert (again["unheard_of"], again["min_claim"], again["v"]) == (
        "x",
        changes.get("min_claim", 1),
        changes.get("v", 1),
    )


def test_parts_by_themselves() -> None:
    part = from_json(Inner, {"since": "2026-01-01T12:00:00Z", "later": [1]})
    assert part == Inner(since=NOON, extra={"later": [1]})
    assert to_json(part) == {"since": "2026-01-01T12:00:00Z", "note": "", "later": [1]}
