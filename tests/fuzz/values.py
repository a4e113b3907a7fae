"""What may stand in a document: any value that a type allows, any JSON, and bytes that are almost the right ones."""

import json
import types
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import MISSING, fields
from datetime import UTC, datetime
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from locksmith.core import ledger
from locksmith.core.codec import Document
from locksmith.core.documents import (
    Brake,
    Config,
    Guard,
    Hold,
    Holder,
    NodeRecord,
    Request,
    Ticket,
    Unlocked,
)
from locksmith.core.history import Entry, Notes

KINDS: tuple[type[Document], ...] = (
    Brake, Config, Entry, Guard, Hold, Holder, ledger.Ledger, NodeRecord, Notes, Request, Ticket, Unlocked,
)  # fmt: skip
"""Every document there is."""

TEXTS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(["", "x", "\x1b[2J", "\n", "\0", "a/b", "\u202e", "ünï", "[bold]", "{x}", "a" * 300, "group/web"]),
)
EDGES = (
    datetime.min.replace(tzinfo=UTC),
    datetime.max.replace(tzinfo=UTC),
    datetime(1970, 1, 1, tzinfo=UTC),
    datetime(2026, 3, 29, 1, tzinfo=UTC),
)
TIMES = st.one_of(
    st.datetimes(timezones=st.just(UTC), min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1)),  # noqa: DTZ001
    st.sampled_from(EDGES),
)
NUMBERS = st.integers(0, 9) | st.sampled_from([-1, 2**31, 2**63, 10**30, -(10**30)])
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | FLOATS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
ODD = st.one_of(
    JSON,
    st.sampled_from([10**400, float("nan"), float("inf"), "\ud800", ["\udfff"], {"\ud83d": 1}, {}, [], [[[[]]]]]),
    st.sampled_from(["0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59-05:00", "2026-W01-1T00:00:00Z", "20260101T00Z"]),
).map(deepcopy)
"""JSON that our own writers never write, with what only some readers can read."""


def of_hint(hint: Any) -> st.SearchStrategy[Any]:
    """Any value of a field."""
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return st.one_of(*(st.none() if arg is type(None) else of_hint(arg) for arg in args))
    if origin is tuple:
        return st.lists(of_hint(args[0]), max_size=3).map(tuple)
    if origin is Mapping:
        return st.dictionaries(TEXTS, of_hint(args[1]), max_size=3)
    simple = {str: TEXTS, bool: st.booleans(), int: NUMBERS, float: FLOATS, datetime: TIMES, Any: JSON}
    return simple[hint] if hint in simple else of(hint)


@cache
def of(cls: type) -> st.SearchStrategy[Any]:
    """Any value of a dataclass of the store or the journal, most often with the usual in most fields."""
    hints = get_type_hints(cls)
    given: dict[str, st.SearchStrategy[Any]] = {}
    optional: dict[str, st.SearchStrategy[Any]] = {}
    for each in fields(cls):
        if each.name in ("extra", "v", "min_claim"):
            continue
        needed = each.default is MISSING and each.default_factory is MISSING
        (given if needed else optional)[each.name] = of_hint(hints[each.name])
    return st.fixed_dictionaries(given, optional=optional).map(lambda values: cls(**values))


@st.composite
def almost(draw: st.DrawFn, cls: type[Document]) -> bytes:
    """The bytes of a document in which some values are others, or some bytes."""
    tree = json.loads(draw(of(cls)).encode())
    for _ in range(draw(st.integers(0, 3))):
        spot = tree
        while isinstance(spot, dict | list) and spot:
            key = draw(st.sampled_from(sorted(spot) if isinstance(spot, dict) else range(len(spot))))
            if isinstance(spot[key], dict | list) and draw(st.booleans()):
                spot = spot[key]
                continue
            if isinstance(spot, dict) and draw(st.booleans()):
                spot[draw(TEXTS)] = draw(ODD)
            else:
                spot[key] = draw(ODD)
            break
    raw = json.dumps(tree, ensure_ascii=draw(st.booleans()))
    data = raw.encode("utf-8", "surrogatepass")
    return draw(mutated(data)) if draw(st.integers(0, 3)) == 0 else data


@st.composite
def mutated(draw: st.DrawFn, data: bytes) -> bytes:
    """The same with a piece cut out, doubled, or replaced."""
    start = draw(st.integers(0, len(data)))
    end = draw(st.integers(start, min(len(data), start + 40)))
    return data[:start] + draw(st.binary(max_size=8) | st.just(data[start:end] * 2)) + data[end:]
