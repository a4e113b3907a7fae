"""What doctor tries in a store, and the words of its proof."""

from dataclasses import dataclass, field
from datetime import timedelta
from random import Random

import pytest

from locksmith.core import keys
from locksmith.errors import Denied
from locksmith.host.clock import SystemClock
from locksmith.semaphore import trials
from locksmith.semaphore.actor import Actor
from locksmith.stores import Check, Put
from locksmith.stores.memory import MemoryStore


@dataclass
class Guarded:
    """A store that judges rights before checks, as the real ones do."""

    inner: MemoryStore
    forbidden: str
    asked: list[str] = field(default_factory=list)

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def commit(self, checks, puts=(), deletes=()):
        if any(put.key == self.forbidden for put in puts):
            raise Denied("not allowed")
        return self.inner.commit(checks, puts, deletes)


def test_a_right_is_tried_without_a_write() -> None:
    store = MemoryStore()
    store.commit([Check("cfg", 0)], [Put("cfg", b"fleet")])
    before = store.read([], [""])
    for key in ("cfg", "own/00/n1"):
        trials.may_write(store, key)
    assert store.read([], [""]) == before
    with pytest.raises(Denied):
        trials.may_write(Guarded(store, "own/00/n1"), "own/00/n1")


def test_the_scratch_key_is_gone_again() -> None:
    store = MemoryStore()
    actor = Actor(store, SystemClock(), Random(1), "a@b", "b")
    store.commit([Check(keys.trial("n1"), 0)], [Put(keys.trial("n1"), b"of a doctor that was killed")])
    trials.takes_writes(actor, "n1")
    assert not store.read([keys.trial("n1")])[keys.trial("n1")]


def test_words_are_read_back_however_they_are_spelt() -> None:
    random = Random(7)
    for _ in range(500):
        word = trials.word(random.getrandbits(24))
        assert len(word) == 11
        assert trials.heard(f" {word.upper().replace('-', ' ')}.") == word


def test_a_word_with_one_wrong_letter_is_no_word() -> None:
    random, wrong = Random(8), 0
    for _ in range(200):
        word = trials.word(random.getrandbits(24))
        place = random.choice([n for n, letter in enumerate(word) if letter != "-"])
        letters = "aiou" if word[place] in "aiou" else "bdfghjklmnprstvz"
        other = random.choice([letter for letter in letters if letter != word[place]])
        wrong += trials.heard(word[:place] + other + word[place + 1 :]) is not None
    assert wrong == 0
    for text in ("", "lusab", "lusab-babax", "1234", "lusab-babad-lusab", "x" * 100_000):
        assert trials.heard(text) is None


def test_a_proof_ends_by_itself() -> None:
    store = MemoryStore()
    actor = Actor(store, SystemClock(), Random(1), "alice@n1", "n1")
    word = trials.leave(actor)
    item = store.read([keys.proof(word)])[keys.proof(word)]
    assert item.session is not None
    found = trials.seen(actor, word)
    assert found is not None
    assert (found.by, found.host) == ("alice@n1", "n1")
    assert abs(found.at - actor.clock.wall()) < timedelta(hours=1)
    assert trials.seen(actor, trials.word(0)) is None
