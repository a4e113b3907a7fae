"""The audit: a true history passes from wherever it begins, and every way of forging it is found."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from locksmith.core.audit import Replay, replay, unsanctioned
from locksmith.core.documents import Guard, NodeRecord
from locksmith.core.history import Entry

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LIMIT = "group/web"


class History:
    """A limit, written down as the semaphore does."""

    def __init__(self, slots: int = 2) -> None:
        self.guard = Guard(slots=slots, effective=slots)
        self.entries: list[Entry] = []
        self.holders: set[str] = set()

    def do(self, act: str, node: str = "", slots: int | None = None) -> "History":
        change = {"acquired": 1, "restored": 1, "released": -1, "taken": -1}.get(act, 0)
        effective = slots if slots is not None else self.guard.effective
        guard = self.guard
        self.guard = replace(guard, seq=guard.seq + 1, count=guard.count + change, effective=effective)
        if change > 0:
            self.holders.add(node)
        elif change < 0:
            self.holders.discard(node)
        at = NOON + timedelta(minutes=self.guard.seq)
        self.entries.append(
            Entry(
                seq=self.guard.seq,
                act=act,
                at=at,
                by="agent@x",
                count=self.guard.count,
                slots=effective,
                node=node,
                host=node,
                group="web",
            )
        )
        return self

    def judge(self) -> Replay:
        return replay(LIMIT, self.entries, self.guard, self.holders)

    def kinds(self) -> set[str]:
        return {finding.kind for finding in self.judge().findings}


def true_history() -> History:
    return (
        History()
        .do("resized", slots=2)
        .do("acquired", "a")
        .do("acquired", "b")
        .do("released", "a")
        .do("acquired", "c")
        .do("taken", "b")
        .do("resized", slots=1)
    )


def test_a_true_history_passes():
    judged = true_history().judge()
    assert judged.findings == ()
    assert (judged.entries, judged.grants, judged.returns, judged.most, judged.whole) == (7, 3, 2, 2, True)


def test_the_order_in_which_entries_are_read_is_nothing():
    history = true_history()
    Random(1).shuffle(history.entries)
    assert history.kinds() == set()


def test_what_the_ring_has_forgotten_is_told_and_is_no_fault():
    history = true_history()
    history.entries = history.entries[3:]
    judged = history.judge()
    assert judged.findings == ()
    assert not judged.whole
    assert judged.since == NOON + timedelta(minutes=4)


def test_lowered_slots_with_holders_above_are_no_fault():
    assert History(2).do("acquired", "a").do("acquired", "b").do("resized", slots=1).kinds() == set()


def test_a_grant_above_lowered_slots_is():
    history = History(2).do("acquired", "a").do("resized", slots=1).do("acquired", "b")
    assert history.kinds() == {"exceeded"}


def test_what_was_put_back_after_a_restore_may_be_above_the_slots():
    assert History(1).do("acquired", "a").do("restored", "b").kinds() == set()


def test_one_grant_too_many_is_found_with_who_and_when():
    history = History(1).do("acquired", "a").do("acquired", "b")
    [finding] = history.judge().findings
    assert (finding.kind, finding.node, finding.seq, finding.disproves) == ("exceeded", "b", 2, True)
    assert finding.text == "b was granted a slot of group/web as number 2 of 1"


def test_one_grant_too_many_that_lies_about_its_count_is_found_as_well():
    history = History(1).do("acquired", "a").do("acquired", "b")
    history.entries[1] = replace(history.entries[1], count=1)
    assert "exceeded" in history.kinds()
    assert "miscounted" in history.kinds()


def test_one_grant_too_many_long_ago_is_found():
    history = History(1).do("acquired", "a").do("acquired", "b").do("released", "a").do("released", "b")
    for number in range(40):
        history.do("acquired", f"n{number}").do("released", f"n{number}")
    assert [(finding.kind, finding.seq) for finding in history.judge().findings] == [("exceeded", 2)]


FORGERIES = {
    "an entry is missing in the middle": lambda h: h.entries.pop(3),
    "the last entry is missing": lambda h: h.entries.pop(),
    "all entries are missing": lambda h: h.entries.clear(),
    "an entry names another node": lambda h: h.entries.__setitem__(1, replace(h.entries[1], node="z")),
    "an entry says another act": lambda h: h.entries.__setitem__(3, replace(h.entries[3], act="acquired")),
    "an entry has another count": lambda h: h.entries.__setitem__(2, replace(h.entries[2], count=1)),
    "a holder was removed by hand": lambda h: h.holders.discard("c"),
    "a holder was put by hand": lambda h: h.holders.add("z"),
    "the guard was changed by hand": lambda h: setattr(h, "guard", replace(h.guard, count=0)),
    "the guard went back": lambda h: setattr(h, "guard", replace(h.guard, seq=3)),
    "the guard went away": lambda h: setattr(h, "guard", None),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_every_forgery_is_found(name):
    history = true_history()
    FORGERIES[name](history)
    assert history.judge().findings


@pytest.mark.parametrize("name", ["an entry is missing in the middle", "all entries are missing"])
def test_what_is_only_missing_proves_nothing_and_disproves_nothing(name):
    history = true_history()
    FORGERIES[name](history)
    judged = history.judge()
    assert {finding.kind for finding in judged.findings} == {"gap"}
    assert not any(finding.disproves for finding in judged.findings)


def test_before_a_recount_the_counts_may_be_wrong():
    history = History(2).do("acquired", "a")
    history.guard = replace(history.guard, count=2)  # somebody wrote past the protocol, and fsck mended it
    history.guard = replace(history.guard, count=1)
    history.do("recounted").do("acquired", "b")
    assert history.kinds() == set()


def test_a_limit_that_nobody_has_changed_since_there_is_a_history():
    judged = replay(LIMIT, [], Guard(count=1), {"a"})
    assert (judged.findings, judged.entries, judged.whole) == ((), 0, False)


@pytest.mark.parametrize("seed", range(20))
def test_random_histories_pass_and_a_random_extra_grant_does_not(seed):
    random = Random(seed)
    history = History(3)
    for number in range(200):
        if history.guard.count < 3 and random.random() < 0.6:
            history.do("acquired", f"n{number}")
        elif history.holders:
            history.do("released", random.choice(sorted(history.holders)))
    assert history.kinds() == set()
    while history.guard.count < 3:
        history.do("acquired", f"m{history.guard.seq}")
    history.do("acquired", "too-many")
    for node in sorted(history.holders)[:2]:
        history.do("released", node)
    assert history.kinds() == {"exceeded"}


def test_reboots_that_nobody_sanctioned():
    record = NodeRecord(host="n1", group="web", state="steady", seen=NOON)
    assert unsanctioned("id1", record) is None
    finding = unsanctioned("id1", replace(record, reboots={"unsanctioned": 2, "healthy": 5}))
    assert finding is not None
    assert (finding.kind, finding.node, finding.disproves) == ("unsanctioned", "id1", True)
    assert finding.text == "n1 rebooted 2 times without an armed slot"
