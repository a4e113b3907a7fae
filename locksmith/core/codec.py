"""Frozen dataclasses to versioned JSON and back, so that what a newer locksmith wrote survives our rewrite.

The one idea a reader would miss: fields that we do not know are kept in `extra` and written again. Times are RFC 3339 in
UTC with microseconds, since a document is compared by its bytes only by people.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from functools import cache
from types import NoneType, UnionType
from typing import Any, Self, TypeVar, Union, get_args, get_origin, get_type_hints

from locksmith.errors import Corrupt

FORMAT = 1
"""The major format this code writes and reads."""
LEVEL = 1
"""What this code understands of restrictions: documents with a higher `min_claim` bar it from claiming and arming."""

_DEEPEST = 64
_HALF = re.compile(r"\\u[dD][89A-Fa-f]")

T = TypeVar("T")

JSON_NAMES = {"origin": "from", "target": "to"}
BEGUN_ANEW: Mapping[str, Any] = {"begun_anew": True}
"""Metadata of a field that is for the record only: what cannot be read there is begun anew, and makes no document corrupt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One value in the store."""

    v: int = FORMAT
    min_claim: int = 1
    gen: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)

    def encode(self) -> bytes:
        """Compact JSON, keys sorted."""
        return json.dumps(to_json(self), separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()

    @classmethod
    def decode(cls, key: str, value: bytes) -> Self:
        """Read a document. Raises Corrupt, naming the key."""
        try:
            return from_json(cls, _parsed(value))
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            what = cls.__name__.lower()
            raise Corrupt(
                f"{key}: not a {what} of locksmith ({error}); see what wrote it, then run lockctl fsck"
            ) from error

    @property
    def barred(self) -> bool:
        """Whether a newer locksmith said that code as old as this must not claim or arm."""
        return self.v > FORMAT or self.min_claim > LEVEL


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What stands inside a document; its unknown fields survive just so."""

    extra: Mapping[str, Any] = field(default_factory=dict)


@cache
def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)


def to_json(value: Any) -> Any:
    """A value of a document as JSON types."""
    match value:
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case tuple():
            return [to_json(item) for item in value]
        case Mapping():
            return {name: to_json(item) for name, item in value.items()}
        case _ if hasattr(value, "__dataclass_fields__"):
            known = {
                JSON_NAMES.get(item.name, item.name): to_json(getattr(value, item.name))
                for item in fields(value)
                if item.name != "extra"
            }
            return {**getattr(value, "extra", {}), **known}
        case _:
            return value


def from_json(cls: type[T], raw: Mapping[str, Any]) -> T:
    """A dataclass from JSON. Raises KeyError, TypeError or ValueError for what does not fit."""
    hints = _hints(cls)  # type: ignore[arg-type]
    known: dict[str, Any] = {}
    rest = dict(raw)
    for item in fields(cls):  # type: ignore[arg-type]
        name = JSON_NAMES.get(item.name, item.name)
        if item.name != "extra" and name in rest:
            raw_value = rest.pop(name)
            try:
                known[item.name] = _value(hints[item.name], raw_value, name)
            except (KeyError, TypeError, ValueError):
                if not item.metadata.get("begun_anew"):
                    raise
    if "extra" in hints:
        known["extra"] = rest
    return cls(**known)


def _parsed(value: bytes) -> dict[str, Any]:
    """The object in the bytes. Raises ValueError, TypeError and RecursionError, for what we could not write again too."""
    text = value.decode("utf-8-sig")
    raw = json.loads(text, parse_constant=_finite, parse_float=_finite)
    if not isinstance(raw, dict):
        raise TypeError("not an object")
    if _HALF.search(text):
        # Half a character of UTF-16 is none by itself; whole pairs have become one each.
        json.dumps(raw, ensure_ascii=False).encode()
    if text.count("[") + text.count("{") > _DEEPEST:
        _shallow(raw)
    return raw


def _finite(number: str) -> float:
    """JSON has no infinity, and what becomes one here could not be read again."""
    if not math.isfinite(found := float(number)):
        raise ValueError(f"{number[:20]} is no number")
    return found


def _shallow(raw: Any) -> None:
    """What is written is encoded further down the stack than it was decoded, so not as deep as Python can just read."""
    level = [raw]
    for _ in range(_DEEPEST):
        inner = (each.values() if isinstance(each, dict) else each for each in level)
        level = [each for some in inner for each in some if isinstance(each, dict | list)]
        if not level:
            return
    raise ValueError("nested too deeply")


@cache
def _shape(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """Asked once a kind of field: thousands of documents have the same few."""
    return get_origin(hint), get_args(hint)


def _value(hint: Any, raw: Any, name: str) -> Any:
    origin, args = _shape(hint)
    if origin in (Union, UnionType):
        if raw is None and NoneType in args:
            return None
        return _value(next(arg for arg in args if arg is not NoneType), raw, name)
    if hint is datetime:
        moment = datetime.fromisoformat(raw)
        if moment.tzinfo is None:
            raise ValueError(f"{name}: a time without a zone")
        try:
            moment.astimezone(UTC)
        except OverflowError as error:
            raise ValueError(f"{name}: a time outside of the years 1 to 9999") from error
        return moment
    if origin is tuple and isinstance(raw, list):
        return tuple(_value(args[0], item, name) for item in raw)
    if origin is Mapping and isinstance(raw, dict):
        return {key: _value(args[1], item, name) for key, item in raw.items()}
    if hasattr(hint, "__dataclass_fields__") and isinstance(raw, dict):
        return from_json(hint, raw)
    if hint is float and isinstance(raw, int) and not isinstance(raw, bool):
        try:
            return float(raw)
        except OverflowError as error:
            raise ValueError(f"{name}: too large") from error
    if hint is Any or (
        isinstance(hint, type) and isinstance(raw, hint) and (hint is bool or not isinstance(raw, bool))
    ):
        return raw
    raise TypeError(f"{name}: unexpected {type(raw).__name__}")
