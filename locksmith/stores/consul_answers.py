"""What Consul's answers mean, and how the four verbs are put into its transactions: text in, values and errors out.

The one idea: a failed transaction names *every* reason, and only all of them together tell a lost race (Conflict) from a
lost session, a missing right or a bug of ours. Consul's own words are matched, as measured on 1.8.7.
"""

import base64
import json
import re
import secrets
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Any

from locksmith.errors import (
    AuthFailed,
    Conflict,
    Denied,
    Rejected,
    SessionLost,
    StoreError,
    Throttled,
    TlsFailed,
    Unavailable,
    WrongStore,
)
from locksmith.stores import Check, Item, Put

NODE = "locksmith"
"""The external catalog node that all sessions belong to: one that belongs to a server or agent dies with it."""
_DENIED = re.compile(r"permission denied", re.IGNORECASE)
_NO_TOKEN = re.compile(r"ACL not found")
_LOST_RACE = re.compile(
    r'failed index check|failed to check index, key|key ".*" exists|lock is already held', re.DOTALL
)
_LOST_SESSION = re.compile(r'invalid session "')
_FLAG_BITS = 53
_FIELDS = (("Key", str), ("Value", str | None), ("ModifyIndex", int), ("CreateIndex", int))
"""What an entry has in any case, and of what type."""
_SHOWN = 200


class Fate(Enum):
    """What may have become of a request that was not answered as it should be."""

    UNMADE = "the connection never stood"
    REFUSED = "the server took nothing of it"
    OPEN = "it may be applied now, later or never"


class Trouble(Exception):
    """One endpoint gave no usable answer; the error it carries is raised when no other endpoint does better.

    `cut` says that the server was there and broke the connection off.
    """

    def __init__(self, fate: Fate, error: StoreError, *, cut: bool = False) -> None:
        """Only `Fate.UNMADE` and `Fate.REFUSED` may carry an error that says "surely not applied"."""
        super().__init__(str(error))
        self.fate = fate
        self.error = error
        self.cut = cut


class NoSuchNode(Denied):
    """The catalog node of the sessions is not registered."""


def failure(code: int, body: str, endpoint: object) -> StoreError | Trouble:
    """What an HTTP status other than 200 means; a StoreError settles the call, a Trouble asks for another endpoint."""
    said = f"{endpoint}: {code} {body.strip()[:_SHOWN]}"
    if code >= 500:  # noqa: PLR2004 - HTTP
        if "No path to datacenter" in body:
            return WrongStore(f"{said}: no such datacenter there; check dc= in the store's URL")
        if "Missing node registration" in body:
            return NoSuchNode(said)
        return Trouble(Fate.OPEN, Unavailable(said))
    match code:
        case 401:
            return Denied(said)
        case 403:
            return _denied(body, said)
        case 404:
            return Trouble(Fate.REFUSED, Unavailable(f"{said}: no Consul answers there"))
        case 409:
            return _transaction_failed(body, said)
        case 429:
            return Trouble(Fate.REFUSED, Throttled(said))
        case 400 if "HTTP request to an HTTPS server" in body:
            return TlsFailed(f"{endpoint}: speaks TLS only; use consuls://")
        case 400 | 413:
            return Rejected(said)
    # Consul gives no other; something in between does, and may have passed the request on before.
    return Trouble(Fate.OPEN, Unavailable(f"{said}: no answer of Consul's"))


def _denied(text: str, said: str) -> Denied:
    if _NO_TOKEN.search(text):
        return AuthFailed(f"{said}: the token is not known there; check token_file")
    return Denied(said)


def _transaction_failed(body: str, said: str) -> StoreError:
    try:
        reasons = [str(each["What"]) for each in json.loads(body)["Errors"]]
    except (ValueError, KeyError, TypeError):
        reasons = []
    for reason in reasons:
        if _DENIED.search(reason) or _NO_TOKEN.search(reason):
            return _denied(reason, f"{said.split(': ', 1)[0]}: {reason}")
    text = "; ".join(reasons)
    if reasons and all(_LOST_RACE.search(reason) for reason in reasons):
        return Conflict(text)
    if reasons and all(_LOST_RACE.search(reason) or _LOST_SESSION.search(reason) for reason in reasons):
        return SessionLost(text)
    return Rejected(text or said)


def reading(keys: Iterable[str]) -> str:
    """The body of a transaction that reads: `get-tree` alone forgives a key that is absent."""
    return json.dumps([{"KV": {"Verb": "get-tree", "Key": key}} for key in keys])


def writing(checks: Sequence[Check], puts: Sequence[Put], deletes: Sequence[str]) -> str:
    """The body of a transaction that writes; the keys carry the store's prefix already."""
    return json.dumps([*map(_check, checks), *map(_put, puts), *map(_delete, deletes)])


def _check(check: Check) -> dict[str, object]:
    if check.mod == 0:
        return {"KV": {"Verb": "check-not-exists", "Key": check.key}}
    return {"KV": {"Verb": "check-index", "Key": check.key, "Index": check.mod}}


def _put(put: Put) -> dict[str, object]:
    value = base64.b64encode(put.value).decode()
    # An equal value would leave the index where it is; other flags move it and wake the watchers.
    body: dict[str, object] = {"Key": put.key, "Value": value, "Flags": secrets.randbits(_FLAG_BITS)}
    return {"KV": body | ({"Verb": "set"} if put.session is None else {"Verb": "lock", "Session": put.session})}


def _delete(key: str) -> dict[str, object]:
    return {"KV": {"Verb": "delete", "Key": key}}


def found(answer: Any) -> Iterable[tuple[str, Item]]:
    """Key and item of each result of a transaction that reads. Raises ValueError when it is no such answer."""
    for entry in _entries(answer):
        value = base64.b64decode(entry["Value"] or "", validate=True)
        yield entry["Key"], Item(value, entry["ModifyIndex"], entry["CreateIndex"], entry.get("Session") or None)


def revision(answer: Any, puts: Sequence[Put]) -> int | None:
    """The revision of a commit; None without puts. Raises ValueError when it is no such answer."""
    written = {put.key for put in puts}
    mods = [int(entry["ModifyIndex"]) for entry in _entries(answer) if entry["Key"] in written]
    if puts and not mods:
        raise ValueError(f"no answer of a transaction with these puts: {str(answer)[:_SHOWN]}")
    return max(mods, default=None)


def mod_of(answer: Any) -> int:
    """The mod in the answer to a single-key GET, None (a 404) being an absent key. Raises ValueError."""
    if answer is None:
        return 0
    try:
        return int(answer[0]["ModifyIndex"])
    except (LookupError, TypeError, OverflowError) as error:
        raise ValueError(f"no answer about a key: {str(answer)[:_SHOWN]}") from error


def _entries(answer: Any) -> list[dict[str, Any]]:
    try:
        entries = [result["KV"] for result in answer["Results"] or []]
        if all(isinstance(entry[name], kind) for entry in entries for name, kind in _FIELDS):
            return entries
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no answer of a transaction: {str(answer)[:_SHOWN]}") from error
    raise ValueError(f"no answer of a transaction: {str(answer)[:_SHOWN]}")
