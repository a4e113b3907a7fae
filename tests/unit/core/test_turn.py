"""What the parts of the machine share: waits, wishes, reasons."""

from dataclasses import replace
from datetime import timedelta

import pytest

from locksmith.core.facts import Reason
from locksmith.core.ledger import Ledger
from locksmith.core.states import Blocked, Queued, Steady
from locksmith.core.turn import REQUEST as REQUESTED
from locksmith.core.turn import backoff, block, counted, gate_reasons, go, later, note, owe, pure_reasons, restart, wish
from tests.fakes.mind import NEED, NOON, REQUEST, agent, at, closed, ledger, opened, owed, policy, staged, unknown


def test_the_time_of_entering_changes_with_the_kind_of_state_only():
    mind = agent(Queued())
    assert go(mind, Queued(rank=4), at(9)).since == mind.since
    assert go(mind, Steady(), at(9)).since == at(9)


def test_without_an_attempt_nothing_is_owed():
    assert owe(agent(), called_off="x").ledger.owed is None
    assert owe(agent(book=ledger(owed())), called_off="x").ledger.owed == owed(called_off="x")


@pytest.mark.parametrize(("chance", "expected"), [(0.0, 90), (0.5, 100), (1.0, 110)])
def test_a_wait_with_a_spread(chance, expected):
    moment = at(chance=chance)
    assert later(moment, timedelta(seconds=100), 0.1) - moment.boottime == pytest.approx(expected)
    assert later(moment, timedelta(seconds=100)) - moment.boottime == 100


@pytest.mark.parametrize(("tries", "ceiling"), [(0, 2), (1, 4), (5, 64), (8, 300), (10_000, 300)])
def test_a_back_off_has_full_jitter_and_a_cap_and_is_no_busy_loop(tries, ceiling):
    assert backoff(at(chance=0.0), tries) - at().boottime == pytest.approx(0.2)
    assert backoff(at(chance=1.0), tries) - at().boottime == pytest.approx(0.2 + ceiling)


def test_a_total_is_a_new_value():
    counts = {"healthy": 2}
    assert counted(counts, "healthy") == {"healthy": 3}
    assert counted(counts, "stuck") == {"healthy": 2, "stuck": 1}
    assert counts == {"healthy": 2}


@pytest.mark.parametrize(
    ("book", "ticket"),
    [
        (ledger(owed(ticket="q/old/n1")), "q/old/n1"),
        (ledger(), "q/web/n1"),
        (Ledger(), None),
        (ledger(owed(ticket="")), "q/web/n1"),
    ],
)
def test_start_names_the_ticket_to_delete(book, ticket):
    _, (recover,) = restart(agent(book=book), at())
    assert recover.ticket == ticket


# ------------------------------------------------------------------------------------------------ wishes


def test_nothing_is_wished_for_without_a_need_or_a_request():
    assert wish(agent(needs={}), at()) is None


def test_a_need_is_wished_for_with_its_versions():
    wanted = wish(agent(), at())
    assert wanted is not None
    assert (wanted.provider, wanted.fingerprint, wanted.origin, wanted.target) == ("file", "fp-1", "v1", "v2")
    assert (wanted.reason, wanted.since, wanted.request) == ("file: linux-image", NEED.since, None)


def test_a_request_alone_is_wished_for():
    wanted = wish(agent(needs={}, request=REQUEST), at())
    assert wanted is not None
    assert (wanted.provider, wanted.fingerprint, wanted.request) == (REQUESTED, "req-1", "req-1")
    assert wanted.reason == "asked by alice@bastion1: please"
    assert wanted.since == REQUEST.since


def test_a_request_joins_what_is_staged():
    wanted = wish(agent(request=replace(REQUEST, reason="")), at())
    assert wanted is not None
    assert wanted.reason == "file: linux-image; asked by alice@bastion1"
    assert (wanted.provider, wanted.request) == ("file", "req-1")


def test_several_needs_are_named_and_the_first_by_name_leads():
    wanted = wish(agent(needs={"file": NEED, "apt": staged("fp-2", "apt")}), at())
    assert wanted is not None
    assert wanted.provider == "apt"
    assert wanted.reason == "apt: linux-image; file: linux-image"


def test_a_guarded_need_is_wished_for_only_where_nothing_else_is():
    both = agent(needs={"file": NEED, "apt": staged("fp-2", "apt")})
    wanted = wish(note(both, spent={"apt": "fp-2"}), at())
    assert wanted is not None
    assert wanted.provider == "file"
    wanted = wish(note(both, spent={"apt": "fp-2", "file": "fp-1"}), at())
    assert wanted is not None
    assert wanted.provider == "apt"


# ------------------------------------------------------------------------------------------------ reasons


def test_reasons_say_when_they_end():
    blocked = agent(policy=policy(min_uptime=timedelta(seconds=at().boottime + 30)))
    blocked = note(
        blocked, last_ours=NOON - timedelta(minutes=20), cooldown_until=NOON + timedelta(minutes=3), failures=2
    )
    wanted = wish(blocked, at())
    assert wanted is not None
    assert {reason.kind: reason.until for reason in pure_reasons(blocked, wanted, at())} == {
        "min_uptime": NOON + timedelta(seconds=30),
        "min_interval": NOON + timedelta(minutes=10),
        "cooldown": NOON + timedelta(minutes=3),
    }


def test_an_open_gate_is_no_reason_and_an_ignored_one_neither():
    answers = (opened("a"), closed("b"), unknown("c"), closed("w", "window"))
    found = gate_reasons(agent(), answers, ("window",), at())
    assert [(reason.name, reason.unknown) for reason in found] == [("b", False), ("c", True)]


@pytest.mark.parametrize(
    ("ends", "expected"), [([], 60), ([5], 5), ([90], 60), ([50, 7], 7), ([-3], 60), ([-3, 9], 9), ([0.001], 0.05)]
)
def test_who_is_blocked_wakes_at_the_first_end_or_polls(ends, expected):
    reasons = [Reason("gate", f"g{n}", "x", NOON, NOON + timedelta(seconds=end)) for n, end in enumerate(ends)]
    made = block(agent(Steady()), [*reasons, Reason("hold", "hold", "x", NOON)], at())
    assert isinstance(made.state, Blocked)
    assert made.wake_at is not None
    assert made.wake_at - at().boottime == pytest.approx(expected)


def test_two_entries_of_a_kind_keep_a_since_each():
    made = block(agent(Steady()), [Reason("gate", "a", "x", at(1).wall), Reason("gate", "b", "x", at(2).wall)], at(3))
    again = gate_reasons(made, (closed("a"), closed("b"), closed("c")), (), at(9))
    assert [reason.since for reason in again] == [at(1).wall, at(2).wall, at(9).wall]
