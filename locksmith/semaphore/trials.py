"""What `lockctl doctor` tries in the store: may we write here, does it take writes, do two nodes look at the same one?

The idea a reader would miss: a right to write is tried by a commit that can never apply, since it demands a revision that
no key has. Stores judge the rights of all operations before they look at any check, so that the answer is a conflict for
those who may and a refusal for those who may not; and nothing was written either way. (etcd: checkTxnAuth comes before the
compares; Consul: the transaction's preCheck comes before it is applied.)
"""

import json
import zlib
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from locksmith.core import keys
from locksmith.core.durations import parse_rfc3339, rfc3339
from locksmith.errors import Conflict, StoreError
from locksmith.semaphore.actor import Actor
from locksmith.stores import Check, Put, Store

NO_REVISION = 2**53
"""No key ever gets there: a million writes a second for 285 years."""
PROOF_LASTS = timedelta(minutes=10)
_CONSONANTS = "bdfghjklmnprstvz"
_VOWELS = "aiou"


def may_write(store: Store, key: str) -> None:
    """Try the right to write a key, and write nothing. Raises Denied, StoreError."""
    with suppress(Conflict):
        store.commit([Check(key, NO_REVISION)], [Put(key, b"")])


def takes_writes(actor: Actor, node: str) -> None:
    """Write a scratch key of this node and delete it: a store may answer reads and refuse writes. Raises StoreError.

    What a doctor that was killed left there is overwritten and deleted by the next.
    """
    key = keys.trial(node)
    before = actor.store.read([key])[key].mod
    written = actor.store.commit([Check(key, before)], [Put(key, actor.nonce().encode())])
    actor.store.commit([Check(key, written or 0)], deletes=[key])


@dataclass(frozen=True, slots=True)
class Proof:
    """Who left a word in the store, and when."""

    by: str
    host: str
    at: datetime


def word(bits: int) -> str:
    """24 bits and 8 more that tell a word that was heard wrongly, as two syllables groups: `lusab-babad`."""
    body = bits & 0xFFFFFF
    whole = body << 8 | zlib.crc32(body.to_bytes(3, "big")) & 0xFF
    return f"{_quint(whole >> 16)}-{_quint(whole & 0xFFFF)}"


def heard(text: str) -> str | None:
    """The word as `word` writes it; None when it cannot be one: heard, or typed, wrongly."""
    letters = "".join(letter for letter in text.lower() if letter.isalpha())
    value = 0
    for place, letter in enumerate(letters):
        alphabet = _VOWELS if place % 5 in (1, 3) else _CONSONANTS
        if letter not in alphabet:
            return None
        value = value * len(alphabet) + alphabet.index(letter)
    found = word(value >> 8)
    return found if found.replace("-", "") == letters else None


def _quint(bits: int) -> str:
    """16 bits, as proquints do (arXiv:0901.4016)."""
    con, vo = _CONSONANTS, _VOWELS
    return con[bits >> 12 & 15] + vo[bits >> 10 & 3] + con[bits >> 6 & 15] + vo[bits >> 4 & 3] + con[bits & 15]


def leave(actor: Actor) -> str:
    """Write a word that ends by itself after PROOF_LASTS (on Consul: twice that at most). Raises StoreError."""
    said = word(actor.random.getrandbits(24))
    session = actor.store.session(PROOF_LASTS)
    value = json.dumps({"by": actor.by, "host": actor.host, "at": rfc3339(actor.clock.wall())}).encode()
    try:
        actor.store.commit([Check(keys.proof(said), 0)], [Put(keys.proof(said), value, session.id)])
    except StoreError:
        with suppress(StoreError):
            session.end()
        raise
    return said


def seen(actor: Actor, said: str) -> Proof | None:
    """Who left the word here; None when nobody did, or too long ago. Raises StoreError."""
    key = keys.proof(said)
    item = actor.store.read([key])[key]
    if not item:
        actor.store.probe(key)
        return None
    try:
        fields: Any = json.loads(item.value)
        return Proof(str(fields["by"]), str(fields["host"]), parse_rfc3339(str(fields["at"])))
    except (ValueError, KeyError, TypeError):
        return Proof("somebody", "", actor.clock.wall())
