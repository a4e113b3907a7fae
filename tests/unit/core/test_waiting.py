"""Steady, Blocked and Queued: what stands in between, and the place in the queue that nothing but a closed gate costs."""

from dataclasses import replace
from datetime import timedelta

import pytest

from locksmith.core import effects as do
from locksmith.core import events as ev
from locksmith.core.admission import WITHDRAW_RANK
from locksmith.core.facts import HoldFact, Reason, Strategy
from locksmith.core.ledger import Stage
from locksmith.core.needs import NeedUnknown
from locksmith.core.states import Blocked, Draining, Queued, Releasing, Starting, Steady, Unready
from locksmith.core.verdict import Answer, Closed
from tests.fakes.mind import (
    NODE,
    NOON,
    NOTHING,
    REQUEST,
    UPTIME,
    Mind,
    agent,
    at,
    by_hand,
    closed,
    found,
    ledger,
    opened,
    owed,
    policy,
    says,
    slot,
    staged,
    unknown,
)

TICKET = owed(stage=Stage.CLAIMING, token=None, epoch=0)
AN_HOUR = timedelta(hours=1)


def steady(**changes) -> Mind:
    """Nothing is staged."""
    return Mind(agent(Steady(), **{"needs": {}, **changes}))


def asked(*, courtesies: bool = True, **changes) -> Mind:
    """An update is staged, and the gates are being asked."""
    mind = steady(**changes)
    mind.hear(says(staged()))
    assert mind.effects == (do.AskGates("queue", courtesies),)
    return mind


def queued(state: Queued | None = None, **changes) -> Mind:
    """The ticket stands."""
    return Mind(agent(state or Queued(enqueued=True, rank=3, next_gates=at(60).boottime), ledger(TICKET), **changes))


def reasons(mind: Mind) -> list[tuple[str, str]]:
    """Kind and name of what blocks."""
    assert isinstance(mind.state, Blocked), mind.state
    return [(reason.kind, reason.name) for reason in mind.state.reasons]


# ------------------------------------------------------------------------------------------------ looking


def test_an_idle_agent_looks_at_the_store_when_it_is_due_and_not_before():
    mind = steady()
    assert mind.hear(ev.Tick(), wait=299) == ()
    assert mind.hear(ev.Tick(), wait=1) == (do.SteadyLook(),)
    assert mind.agent.next_look - mind.moment.boottime >= 270


def test_a_poke_looks_at_once():
    assert steady().hear(ev.Poke()) == (do.SteadyLook(),)


@pytest.mark.parametrize("change", [{"hold": HoldFact("held by bob: x")}, {"slot": by_hand()}])
def test_who_is_held_looks_as_often_as_it_polls(change):
    mind = Mind(agent(Blocked((Reason("hold", "hold", "x", NOON),)), next_look=UPTIME, wake_at=UPTIME + 9, **change))
    mind.hear(ev.Tick())
    assert mind.agent.next_look - UPTIME <= 66


@pytest.mark.parametrize(
    "seen",
    [
        found(slot()),
        found(by_hand()),
        found(epoch=2),
        found(identity="store-2"),
        ev.FoundAtStart(known=False, start=False),
    ],
)
def test_what_start_should_know_runs_start(seen):
    mind = steady()
    assert mind.hear(replace(seen, start=False)) == (do.Recover(f"q/web/{NODE}"),)
    assert isinstance(mind.state, Starting)


def test_a_look_that_finds_nothing_new_does_nothing():
    mind = steady()
    assert mind.hear(found(start=False)) == ()
    assert mind.state == Steady()


def test_a_look_finds_a_request_and_asks_the_gates():
    mind = steady()
    assert mind.hear(found(start=False, request=REQUEST)) == (do.AskGates("queue"),)
    assert mind.hear(ev.GatesAnswered("queue", ())) == ()
    assert isinstance(mind.state, Queued)
    assert mind.owed.request == "req-1"
    assert "alice@bastion1" in mind.owed.reason


def test_a_look_finds_a_hold_and_blocks():
    mind = asked()
    mind.hear(ev.GatesAnswered("queue", (closed(),)))
    mind.hear(found(start=False, hold=HoldFact("held by bob: x")), ev.GatesAnswered("queue", ()))
    assert reasons(mind) == [("hold", "hold")]


def test_a_store_that_is_away_is_looked_at_again_soon():
    mind = steady()
    mind.hear(ev.StoreFailed("look", "unavailable", "no answer"))
    assert mind.state == Steady()
    assert mind.agent.next_look <= mind.moment.boottime + 65
    assert mind.agent.store_error == "no answer"


# ------------------------------------------------------------------------------------------------ what is staged


def test_an_unknown_brings_no_need():
    mind = steady()
    assert mind.hear(says(NeedUnknown("file", "no answer"))) == ()
    assert mind.state == Steady()
    assert mind.agent.unsure == {"file": "no answer"}
    assert "no answer" in mind.told.text


def test_an_unknown_withdraws_no_need():
    mind = asked()
    mind.hear(says(NeedUnknown("file", "no answer")))
    assert "file" in mind.agent.needs
    assert mind.hear(ev.GatesAnswered("queue", ())) == ()
    assert isinstance(mind.state, Queued)


def test_a_need_that_is_withdrawn_is_steady_again():
    mind = asked()
    mind.hear(ev.GatesAnswered("queue", (closed(),)), NOTHING)
    assert mind.state == Steady()
    assert mind.agent.gates == ()


def test_a_provider_that_is_not_asked_any_more_has_no_need():
    mind = steady()
    mind.hear(says(staged(name="other"), staged()))
    assert set(mind.agent.needs) == {"other", "file"}
    mind.hear(says(staged()))
    assert set(mind.agent.needs) == {"file"}


def test_a_need_keeps_its_since_until_it_is_another_one():
    mind = steady()
    first = replace(staged(), since=None)
    mind.hear(says(first), says(first), wait=10)
    began = mind.moment.wall
    mind.hear(says(first), wait=10)
    assert mind.agent.needs["file"].since == began
    mind.hear(says(replace(first, fingerprint="fp-2")))
    assert mind.agent.needs["file"].since == mind.moment.wall


# ------------------------------------------------------------------------------------------------ blocked

LATE = {"look_interval": AN_HOUR}


@pytest.mark.parametrize(
    ("changes", "answers", "expected"),
    [
        ({}, (closed(),), [("gate", "backup")]),
        ({}, (unknown(),), [("gate", "backup")]),
        ({}, (closed("windows", "window"),), [("window", "windows")]),
        ({}, (unknown("windows", "clock"),), [("clock", "windows")]),
        ({}, (opened("other"), closed(), closed("b")), [("gate", "backup"), ("gate", "b")]),
        ({"hold": HoldFact("held by bob: fragile")}, (), [("hold", "hold")]),
        ({"policy": policy(min_uptime=timedelta(days=2))}, (), [("min_uptime", "min_uptime")]),
        ({"book": ledger(last_ours=NOON - timedelta(minutes=29))}, (), [("min_interval", "min_interval")]),
        ({"book": ledger(cooldown_until=NOON + AN_HOUR)}, (), [("cooldown", "cooldown")]),
        ({"book": ledger(spent={"file": "fp-1"})}, (), [("loop_guard", "loop_guard")]),
        ({"policy": policy(strategy=Strategy.OFF)}, (), [("strategy", "strategy")]),
        ({"policy": policy(strategy=Strategy.OBSERVE)}, (), [("strategy", "strategy")]),
        ({"policy": policy(strategy=Strategy.OFF), "hold": HoldFact("x")}, (closed(),),
         [("strategy", "strategy"), ("hold", "hold"), ("gate", "backup")]),
        ({"book": ledger(last_ours=NOON - AN_HOUR, cooldown_until=NOON - AN_HOUR, spent={"file": "older"})}, (), None),
        ({}, (opened(),), None),
    ],
)  # fmt: skip
def test_what_stands_in_between(changes, answers, expected):
    mind = Mind(agent(Steady(), **{**changes, "needs": {}}))
    mind.hear(says(staged()))
    assert mind.hear(ev.GatesAnswered("queue", answers)) == ()
    if expected is None:
        assert isinstance(mind.state, Queued)
        return
    assert reasons(mind) == expected
    assert mind.told.kind == expected[0][0]
    assert mind.agent.owed is None


def test_closed_ones_are_named_before_unknown_ones():
    mind = asked()
    mind.hear(ev.GatesAnswered("queue", (unknown("a"), closed("b"))))
    assert reasons(mind) == [("gate", "b"), ("gate", "a")]
    assert isinstance(mind.state, Blocked)
    assert [reason.unknown for reason in mind.state.reasons] == [False, True]


def test_without_a_provider_it_says_so_and_obeys_an_operator():
    mind = Mind(agent(Starting(), needs={}, policy=policy(providers=False)))
    mind.hear(ev.ProvidersAnswered(()), found())
    assert isinstance(mind.state, Unready)
    assert mind.told.kind == "provider"
    assert "[updates.NAME]" in mind.told.text
    assert mind.agent.wake_at >= at(260).boottime, "an idle agent reads the store at most once in five minutes"
    assert mind.hear(ev.Poke()) == (do.Recover(f"q/web/{NODE}"),)
    assert mind.hear(found(request=REQUEST)) == (do.AskGates("queue"),)
    mind.hear(ev.GatesAnswered("queue", ()))
    assert isinstance(mind.state, Queued)


def test_a_blocked_agent_asks_again_when_it_polls():
    mind = asked()
    mind.hear(ev.GatesAnswered("queue", (closed(),)))
    assert mind.agent.wake_at == mind.moment.boottime + 60
    assert mind.wake() == (do.AskGates("queue"),)
    assert isinstance(mind.state, Blocked)  # nothing flickers while the gates are being asked
    mind.hear(ev.GatesAnswered("queue", ()))
    assert isinstance(mind.state, Queued)


def test_a_reason_that_ends_wakes_at_its_end():
    mind = asked()
    mind.hear(ev.GatesAnswered("queue", (closed(retry_at=NOON + timedelta(seconds=7)),)))
    assert mind.agent.wake_at == mind.moment.boottime + 7


def test_a_reason_whose_end_has_passed_is_asked_no_more_often_than_it_polls():
    # A hold that has run out while the clock cannot be trusted stays in force: that must not become a busy loop.
    mind = asked(courtesies=False, hold=HoldFact("held by bob: x", NOON - timedelta(seconds=1)))
    mind.hear(ev.GatesAnswered("queue", ()))
    assert mind.agent.wake_at == mind.moment.boottime + 60


def test_a_reason_keeps_its_since():
    mind = asked()
    mind.hear(ev.GatesAnswered("queue", (closed("a"), closed("b"))))
    began = mind.moment.wall
    mind.hear(says(staged()), wait=30)
    mind.hear(ev.GatesAnswered("queue", (closed("b"), closed("c"))))
    assert isinstance(mind.state, Blocked)
    assert [reason.since for reason in mind.state.reasons] == [began, mind.moment.wall]


def test_all_that_is_only_for_the_eye_of_an_operator_stays_when_blocked_for_long():
    mind = asked()
    for _ in range(5):
        mind.hear(ev.GatesAnswered("queue", (closed(),)))
        entered = mind.agent.since
        mind.wake()
    mind.hear(ev.GatesAnswered("queue", (closed(),)))
    assert mind.agent.since == entered


# ------------------------------------------------------------------------------------------------ requests

IGNORES = [
    (("gate",), {}, (closed(),), True),
    (("window",), {}, (closed(),), False),
    (("window",), {}, (closed("windows", "window"),), True),
    (("window",), {}, (unknown("windows", "clock"),), False),
    (("gate", "window"), {}, (closed(), closed("windows", "window")), True),
    (("min_interval",), {"book": ledger(last_ours=NOON)}, (), True),
    ((), {"book": ledger(last_ours=NOON)}, (), False),
    (("gate", "window", "loop_guard", "min_interval"), {"hold": HoldFact("x")}, (), False),
    (("gate", "window", "loop_guard", "min_interval"), {"book": ledger(cooldown_until=NOON + AN_HOUR)}, (), False),
    (("gate", "window", "loop_guard", "min_interval"), {"policy": policy(min_uptime=timedelta(days=2))}, (), False),
    (("gate", "window", "loop_guard", "min_interval"), {"policy": policy(strategy=Strategy.OFF)}, (), False),
]


@pytest.mark.parametrize(("ignore", "changes", "answers", "goes"), IGNORES)
def test_a_request_passes_over_what_it_names_and_nothing_else(ignore, changes, answers, goes):
    mind = Mind(agent(Steady(), **{"request": replace(REQUEST, ignore=ignore), "needs": {}, **changes}))
    mind.hear(says(staged()), ev.GatesAnswered("queue", answers))
    assert isinstance(mind.state, Queued) is goes


def test_a_request_overrides_the_loop_guard():
    mind = asked(book=ledger(spent={"file": "fp-1"}), request=REQUEST)
    mind.hear(ev.GatesAnswered("queue", ()))
    assert isinstance(mind.state, Queued)
    assert mind.owed.request == "req-1"


def test_a_gate_may_be_worth_asking_again_before_it_is_known_to_end():
    """People may leave before their time is over; the end that is told stays the same."""
    mind = asked()
    until = NOON + timedelta(hours=1)
    mind.hear(ev.GatesAnswered("queue", (Answer("people", "gate", Closed("alice", until, timedelta(seconds=5))),)))
    assert mind.agent.wake_at == mind.moment.boottime + 5
    assert [reason.until for reason in mind.state.reasons] == [until]
    mind.hear(ev.GatesAnswered("queue", (Answer("people", "gate", Closed("alice", again=timedelta(0))),)))
    assert mind.agent.wake_at == mind.moment.boottime + 1, "never a busy loop"


# ------------------------------------------------------------------------------------------------ courtesies


@pytest.mark.parametrize(
    ("changes", "courtesies"),
    [
        ({}, True),
        ({"hold": HoldFact("INC-1", None)}, False),
        ({"policy": policy(strategy=Strategy.OBSERVE)}, False),
        ({"policy": policy(strategy=Strategy.OFF)}, False),
        ({"request": replace(REQUEST, ignore=("window",))}, True),
        ({"request": replace(REQUEST, ignore=("gate",))}, False),
    ],
    ids=["earnest", "held", "observe", "off", "windows passed over", "gates passed over"],
)
def test_people_are_asked_to_leave_only_for_a_reboot_that_can_come(changes, courtesies):
    asked(courtesies=courtesies, **changes)


def test_people_keep_their_grace_when_what_stood_in_the_way_ends_while_the_gates_are_asked():
    cooling = ledger(cooldown_until=NOON + timedelta(seconds=3))
    mind = asked(courtesies=False, book=cooling)
    assert mind.hear(ev.GatesAnswered("queue", (), courtesies=False), wait=5) == (do.AskGates("queue"),)
    assert isinstance(mind.state, Steady)
    mind.hear(ev.GatesAnswered("queue", ()))
    assert isinstance(mind.state, Queued)


def test_where_people_are_not_asked_at_all_nothing_is_asked_twice():
    mind = asked(courtesies=False, request=replace(REQUEST, ignore=("gate",)))
    mind.hear(ev.GatesAnswered("queue", (), courtesies=False))
    assert isinstance(mind.state, Queued)


def test_in_the_line_people_are_told_as_well_unless_the_operator_passes_over_gates():
    mind = queued()
    assert mind.hear(ev.Woken(), wait=61) == (do.Claim(), do.AskGates("queue"))
    mind = queued(request=replace(REQUEST, ignore=("gate",)))
    assert do.AskGates("queue", courtesies=False) in mind.hear(ev.Woken(), wait=61)


# ------------------------------------------------------------------------------------------------ the loop guard


def test_what_a_boot_did_not_clear_is_guarded_and_something_new_is_not():
    mind = Mind(agent(Starting(), ledger(wanted={"file": "fp-1"}, boot="boot-1/0"), needs={}))
    mind.hear(ev.Begin(), says(staged()), found(), ev.GatesAnswered("queue", ()))
    assert reasons(mind) == [("loop_guard", "loop_guard")]
    assert mind.book.spent == {"file": "fp-1"}
    mind.hear(says(staged("fp-2")))
    assert mind.effects == (do.AskGates("queue"),)
    assert mind.book.spent == {}
    mind.hear(ev.GatesAnswered("queue", ()))
    assert isinstance(mind.state, Queued)


def test_what_a_boot_cleared_may_come_again():
    mind = Mind(agent(Starting(), ledger(wanted={"file": "fp-1"}, boot="boot-1/0"), needs={}))
    mind.hear(ev.Begin(), NOTHING, found())
    assert mind.book.spent == {}
    mind.hear(says(staged()), ev.GatesAnswered("queue", ()))
    assert isinstance(mind.state, Queued)


def test_a_provider_that_cannot_say_after_the_boot_does_not_lift_the_guard():
    mind = Mind(agent(Starting(), ledger(wanted={"file": "fp-1"}, boot="boot-1/0"), needs={}))
    mind.hear(ev.Begin(), says(NeedUnknown("file", "no answer")), found())
    assert mind.state == Steady()
    mind.hear(says(staged()), ev.GatesAnswered("queue", ()))
    assert reasons(mind) == [("loop_guard", "loop_guard")]


def test_one_guarded_need_does_not_stand_in_the_way_of_another():
    mind = steady(book=ledger(spent={"file": "fp-1"}))
    mind.hear(says(staged(), staged("fp-9", "other")), ev.GatesAnswered("queue", ()))
    assert isinstance(mind.state, Queued)
    assert (mind.owed.provider, mind.owed.fingerprint) == ("other", "fp-9")


def test_the_journal_is_rewritten_only_when_what_is_staged_changes():
    mind = steady()
    mind.hear(says(staged()))
    book = mind.book
    assert book.wanted == {"file": "fp-1"}
    mind.hear(says(staged()), says(NeedUnknown("file", "x")))
    assert mind.book is book


# ------------------------------------------------------------------------------------------------ strategies


def test_observe_records_what_it_would_have_done():
    mind = asked(courtesies=False, policy=policy(strategy=Strategy.OBSERVE))
    assert mind.hear(ev.GatesAnswered("queue", ())) == ()
    assert mind.agent.owed is None
    assert "linux-image" in mind.agent.would
    assert "group/web" in mind.told.text


def test_observe_would_do_nothing_while_a_gate_is_closed():
    mind = asked(courtesies=False, policy=policy(strategy=Strategy.OBSERVE))
    mind.hear(ev.GatesAnswered("queue", (closed(),)))
    assert mind.agent.would == ""
    assert reasons(mind) == [("gate", "backup")]


def test_strategy_reboot_drains_without_a_slot():
    mind = asked(policy=policy(strategy=Strategy.REBOOT))
    assert mind.hear(ev.GatesAnswered("queue", ())) == (do.AskGates("drain"),)
    assert isinstance(mind.state, Draining)
    assert mind.owed.slotless
    assert (mind.owed.token, mind.owed.ticket) == (None, "")


# ------------------------------------------------------------------------------------------------ queued


def test_the_attempt_is_in_the_journal_before_the_ticket():
    mind = asked()
    mind.hear(ev.GatesAnswered("queue", ()))
    assert mind.state == Queued()
    assert mind.owed.stage == Stage.CLAIMING
    assert mind.owed.ticket == f"q/web/{NODE}"
    assert mind.owed.nonce.startswith("draw-")
    assert mind.agent.wake_at == mind.moment.boottime + 2.5  # jitter first
    assert mind.wake() == (do.Enqueue(AN_HOUR + timedelta(seconds=2.5)),)
    assert mind.hear(ev.EnqueueDone()) == (do.Claim(),)


@pytest.mark.parametrize("event", [ev.Tick(), ev.Woken(), ev.Poke()])
def test_whatever_wakes_a_waiter_makes_it_claim(event):
    mind = queued()
    assert mind.hear(event) == (do.Claim(),)
    assert mind.agent.wake_at is not None
    assert 45 <= mind.agent.wake_at - mind.moment.boottime <= 75


def test_the_gates_are_asked_again_as_often_as_it_polls():
    mind = queued()
    assert mind.hear(ev.Woken(), wait=61) == (do.Claim(), do.AskGates("queue"))
    assert mind.hear(ev.Woken(), wait=1) == (do.Claim(),)
    assert mind.hear(ev.Woken(), wait=60) == (do.Claim(), do.AskGates("queue"))


def test_a_waiter_says_where_it_stands():
    mind = queued()
    mind.hear(ev.StandingInLine("queue", "place 4, host-a in front", 4, ("host-a",)))
    assert isinstance(mind.state, Queued)
    assert (mind.state.rank, mind.state.ahead) == (4, ("host-a",))
    assert mind.told.text == "waiting for a slot: place 4, host-a in front"


def test_a_waiter_works_in_the_epoch_that_an_operator_raised():
    mind = queued()
    before = mind.agent.ledger.home
    mind.hear(ev.StandingInLine("paused", "the store was restored", 1, epoch=before.epoch + 7))
    assert mind.agent.ledger.home == replace(before, epoch=before.epoch + 7)
    mind.hear(ev.StandingInLine("queue", "others were faster", 1, retry=True))
    assert mind.agent.ledger.home.epoch == before.epoch + 7


@pytest.mark.parametrize("kind", ["paused", "halted", "queue"])
def test_a_pause_or_a_halt_costs_no_place(kind):
    mind = queued()
    mind.hear(ev.StandingInLine(kind, "paused by bob", 2))
    assert isinstance(mind.state, Queued)
    assert mind.state.leaving is None
    assert mind.told.kind == kind


def test_a_conflict_is_tried_again_at_once_and_is_no_place():
    mind = queued()
    mind.hear(ev.StandingInLine("queue", "somebody was faster", 1, retry=True))
    assert isinstance(mind.state, Queued)
    assert mind.state.rank is None
    assert mind.agent.wake_at is not None
    assert 0.05 <= mind.agent.wake_at - mind.moment.boottime <= 0.35


def test_too_far_back_withdraws_for_a_while():
    mind = queued()
    assert mind.hear(ev.StandingInLine("queue", "far", WITHDRAW_RANK - 1)) == ()
    assert mind.hear(ev.StandingInLine("queue", "far", WITHDRAW_RANK)) == (do.CancelTicket(),)
    mind.hear(ev.Cancelled(None))
    assert reasons(mind) == [("queue_full", "queue")]
    assert mind.agent.wake_at == mind.moment.boottime + 60
    assert mind.agent.owed is None


def test_a_lost_ticket_is_put_again():
    mind = queued()
    assert mind.hear(ev.TicketGone()) == (do.Enqueue(AN_HOUR),)
    assert isinstance(mind.state, Queued)
    assert not mind.state.enqueued
    assert mind.hear(ev.EnqueueDone()) == (do.Claim(),)


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        (ev.GatesAnswered("queue", (closed(),)), "gate"),
        (ev.GatesAnswered("queue", (closed("windows", "window"),)), "window"),
        (ev.EnqueueRefused("queue_full", "full", timedelta(seconds=90)), "queue_full"),
        (ev.EnqueueRefused("hold", "held by bob", None, NOON + AN_HOUR), "hold"),
        (ev.JournalFailed("claim", "no space"), "journal"),
        (NOTHING, "withdrawn"),
        (ev.OwnKeyTaken(by_hand()), "maintenance"),
        (ev.OwnKeyTaken(slot(nonce="other", host="twin")), "identity"),
        (ev.StopAsked(going_down=False), "stopped"),
    ],
)
def test_leaving_deletes_the_ticket_until_that_is_confirmed(event, kind):
    mind = queued()
    assert mind.hear(event) == (do.CancelTicket(),)
    assert mind.owed.called_off == kind
    assert mind.told.text == "leaving the queue"
    mind.hear(ev.StandingInLine("queue", "late answer", 1), ev.Woken(), ev.EnqueueDone(), ev.SlotTaken(slot(), 1))
    assert mind.effects == ()
    assert isinstance(mind.state, Queued)


def test_a_cancel_that_fails_is_tried_again():
    mind = queued()
    mind.hear(ev.GatesAnswered("queue", (closed(),)))
    for _ in range(3):
        mind.hear(ev.StoreFailed("cancel", "unavailable", "no answer"))
        assert mind.wake() == (do.CancelTicket(),)
    mind.hear(ev.Cancelled(None))
    assert reasons(mind) == [("gate", "backup")]


@pytest.mark.parametrize("event", [NOTHING, ev.OwnKeyTaken(by_hand())])
def test_after_a_withdrawal_or_with_another_holder_start_decides(event):
    mind = queued()
    mind.hear(event, ev.Cancelled(None))
    assert mind.effects == (do.Recover(f"q/web/{NODE}"),)
    assert isinstance(mind.state, Starting)


def test_a_claim_that_had_won_is_given_back():
    mind = queued()
    mind.hear(ev.GatesAnswered("queue", (closed(),)))
    assert mind.hear(ev.Cancelled(slot(token=9))) == (do.UnwatchHolder(), do.Release())
    assert isinstance(mind.state, Releasing)
    assert mind.owed.token == 9
    mind.hear(ev.ReleaseDone())
    assert mind.book.called_off == {"gate": 1}


def test_an_unknown_provider_keeps_the_place():
    mind = queued()
    assert mind.hear(says(NeedUnknown("file", "x"))) == ()
    assert isinstance(mind.state, Queued)


def test_a_store_that_is_away_keeps_the_place():
    mind = queued()
    mind.hear(ev.StoreFailed("claim", "unavailable", "no answer"))
    assert isinstance(mind.state, Queued)
    assert "the store is away" in mind.told.text
    assert mind.told.kind == "store"
    assert mind.wake() == (do.Claim(),)


def test_the_slot_is_drained_with_the_epoch_of_the_claim():
    mind = queued()
    assert mind.hear(ev.SlotTaken(slot(), 5)) == (do.WatchHolder(), do.AskGates("drain"))
    assert isinstance(mind.state, Draining)
    assert (mind.owed.token, mind.owed.epoch, mind.owed.stage) == (7, 5, Stage.HELD)


@pytest.mark.parametrize("strategy", [Strategy.OFF, Strategy.OBSERVE, Strategy.REBOOT])
def test_another_strategy_after_a_reload_leaves_the_queue(strategy):
    mind = queued(policy=policy(strategy=strategy))
    assert mind.hear(ev.Poke()) == (do.CancelTicket(),)
    mind.hear(ev.Cancelled(None))
    assert reasons(mind) == [("strategy", "strategy")]
