"""The audit: a true history passes from wherever it begins, and every way of forging it is found."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from locksmith.core.audit import Replay, replay, unsanctioned
from locksmith.core.documents import Guard, NodeRecord
from locksmith.core.history import Entry, Unsanctioned

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LIMIT = "group/web"


class History:
    """A limit, written down as the semaphore does."""

    def __init__(self, slots: int = 2) -> None:
        self.guard = Guard(slots=slots, effective=slots)
        self.entries: list[Entry] = []
        self.holders: set[str] = set()
        self.unrecorded = 0

    def do(self, act: str, node: str = "", slots: int | None = None) -> "History":
        change = {"acquired": 1, "restored": 1, "released": -1, "taken": -1}.get(act, 0)
        effective = slots if slots is not None else self.guard.effective
        guard = self.guard
        gen = f"g{guard.seq + 1}.{self.unrecorded}"
        self.guard = replace(guard, seq=guard.seq + 1, count=guard.count + change, effective=effective, gen=gen)
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
                gen=gen,
                prior=guard.gen,
            )
        )
        return self

    def older(self, act: str, node: str) -> "History":
        """The same by a locksmith that keeps no history: unknown fields stay as they were."""
        kept, seq = list(self.entries), self.guard.seq
        self.do(act, node)
        self.unrecorded += 1
        self.entries, self.guard = kept, replace(self.guard, seq=seq, gen=f"old{self.unrecorded}")
        return self

    def forget(self, *numbers: int) -> "History":
        self.entries = [entry for entry in self.entries if entry.seq not in numbers]
        return self

    def judge(self) -> Replay:
        return replay(LIMIT, self.entries, self.guard, self.holders)

    def found(self) -> list[tuple[str, str, int | None]]:
        return [(finding.kind, finding.node, finding.seq) for finding in self.judge().findings]

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
    assert list(unsanctioned("id1", record)) == []
    [finding] = unsanctioned("id1", replace(record, reboots={"unsanctioned": 2, "healthy": 5}))
    assert (finding.kind, finding.node, finding.disproves) == ("unsanctioned", "id1", True)
    assert finding.text == "n1 rebooted 2 times without an armed slot"


def test_each_of_them_that_is_named_is_told_by_itself():
    """By the record or by a note, and by both once; the rest, of an older agent, together."""
    one, two = (Unsanctioned(boot=f"b{hour}/0", at=NOON + timedelta(hours=hour)) for hour in (1, 2))
    record = NodeRecord(
        host="n1", group="web", state="steady", seen=NOON, reboots={"unsanctioned": 3}, unsanctioned=(two,)
    )
    found = [(each.at, each.text) for each in unsanctioned("id1", record, [one, two])]
    assert found == [
        (one.at, "n1 rebooted without an armed slot, into boot b1/0"),
        (two.at, "n1 rebooted without an armed slot, into boot b2/0"),
        (None, "n1 rebooted 1 more time without an armed slot"),
    ]
    last = {"result": "unsanctioned", "at": (NOON + timedelta(hours=3)).isoformat()}
    assert [each.at for each in unsanctioned("id1", replace(record, last_reboot=last), [one])] == [
        one.at,
        two.at,
        NOON + timedelta(hours=3),
    ]


def test_an_older_locksmith_is_told_as_such_and_accuses_nobody():
    """It keeps the number and changes the count: what it did is missing, and every entry that is there is true."""
    history = History(1).do("acquired", "a").older("released", "a")
    assert history.found() == [("unrecorded", "", None)]
    assert "an older locksmith" in history.judge().findings[0].text
    history.do("acquired", "b")
    assert history.found() == [("unrecorded", "", 2)]
    history.do("released", "b")
    [finding] = history.judge().findings
    assert finding.text == (
        "between the changes 1 and 2 the guard was changed by something that keeps no history: an older locksmith, or by hand"
    )
    assert history.judge().since == history.entries[1].at
    assert not history.judge().whole


def test_two_changes_that_cancel_are_found():
    assert History(1).do("acquired", "a").older("acquired", "b").older("released", "b").kinds() == {"unrecorded"}
    history = History(1).do("acquired", "a").older("acquired", "b").older("released", "b").do("released", "a")
    assert history.kinds() == {"unrecorded"}


def test_once_the_ring_has_forgotten_the_older_locksmith_it_passes_again():
    history = History(1).do("acquired", "a").older("released", "a")
    for number in range(4):
        history.do("acquired", f"n{number}").do("released", f"n{number}")
    history.forget(1)
    assert history.found() == []


def test_a_guard_that_an_older_locksmith_made_has_no_known_beginning():
    history = History(2)
    history.guard = replace(history.guard, gen="old", count=1)
    history.holders.add("a")
    judged = history.do("acquired", "b").judge()
    assert (judged.findings, judged.whole) == ((), False)


def test_a_guard_that_was_made_with_a_recount_has_no_known_beginning():
    history = History(2)
    history.guard = replace(history.guard, count=1)
    history.holders.add("a")
    judged = history.do("resized").judge()
    assert (judged.findings, judged.whole, judged.most) == ((), False, 1)


def long_ago(slots: int = 1) -> History:
    """A violation, and then a true history."""
    history = History(slots).do("acquired", "a").do("acquired", "b").do("released", "a").do("released", "b")
    return history.do("acquired", "c").do("released", "c").do("acquired", "d")


def test_a_gap_hides_no_violation_before_it():
    history = long_ago().forget(6)
    assert history.found() == [("exceeded", "b", 2), ("gap", "", 7)]


def test_not_even_one_that_lies_about_its_counts():
    history = long_ago().forget(6)
    history.entries[1:4] = [replace(entry, count=1) for entry in history.entries[1:4]]
    assert ("exceeded", "b", 2) in history.found()


@pytest.mark.parametrize("known", ["took", "gave back"])
def test_half_of_a_violation_is_enough(known):
    """Who takes a slot has it from then on, who gives one back had it until then, whatever the counts say."""
    history = long_ago().forget(6, *((3, 4) if known == "took" else (1,)))
    history.entries = [replace(entry, count=min(entry.count, 1)) for entry in history.entries]
    assert ("exceeded", "b", 2) in history.found()


def test_a_recount_hides_no_violation_before_it():
    history = History(1).do("acquired", "a")
    history.guard = replace(history.guard, count=0, gen=history.guard.gen)  # by hand, which is how two came to hold
    history.do("acquired", "b")
    history.guard = replace(history.guard, count=2)
    history.do("recounted").do("released", "a")
    assert ("exceeded", "b", 2) in history.found()


def test_from_a_recount_on_it_is_known_again_and_not_from_the_beginning():
    judged = History(2).do("acquired", "a").do("recounted").do("released", "a").judge()
    assert (judged.findings, judged.whole, judged.since) == ((), False, NOON + timedelta(minutes=2))


def test_what_cannot_be_read_is_a_gap_wherever_it_is():
    for seq in range(1, 8):
        history = true_history().forget(seq)
        judged = replay(LIMIT, history.entries, history.guard, history.holders, {seq})
        assert {finding.kind for finding in judged.findings} <= {"gap"}, seq


def test_an_act_of_a_newer_locksmith_accuses_nobody():
    history = true_history().do("resized")
    history.entries[3] = replace(history.entries[3], act="lent")
    assert history.found() == [("gap", "", 4)]


def test_a_guard_that_is_gone_is_found_with_and_without_a_history():
    assert [finding.kind for finding in replay(LIMIT, [], None, {"a"}).findings] == ["unrecorded"]
    history = true_history()
    assert [finding.kind for finding in replay(LIMIT, history.entries, None, ()).findings] == ["unrecorded"]
    assert replay(LIMIT, [], None, ()).findings == ()


def test_a_guard_that_was_deleted_and_made_anew_is_found_and_the_old_ring_is_no_gap_that_excuses_it():
    history = true_history()
    history.guard, history.holders = Guard(slots=2, effective=2), set()
    history.forget(1).do("acquired", "z")
    assert any(finding.kind == "unrecorded" for finding in history.judge().findings)


@pytest.mark.parametrize("seed", range(20))
def test_true_histories_with_holes_accuse_nobody(seed):
    """Whatever is missing of it, a true history is at most not proved."""
    random = Random(seed)
    history = History(3)
    for _ in range(150):
        if random.random() < 0.05:
            history.do("resized", slots=random.randint(1, 4))
        elif random.random() < 0.03:
            history.do("recounted")
        elif history.guard.count < history.guard.effective and random.random() < 0.6:
            history.do("acquired", random.choice(sorted({f"n{each}" for each in range(6)} - history.holders)))
        elif history.holders:
            history.do(random.choice(["released", "taken"]), random.choice(sorted(history.holders)))
    lost = set(random.sample(range(1, history.guard.seq + 1), random.randint(1, 12)))
    history.forget(*lost)
    judged = replay(LIMIT, history.entries, history.guard, history.holders, lost)
    assert {finding.kind for finding in judged.findings} <= {"gap"}
