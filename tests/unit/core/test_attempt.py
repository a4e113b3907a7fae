"""From the slot to the reboot, and all the ways back."""

from dataclasses import replace
from datetime import timedelta

import pytest

from locksmith.core import effects as do
from locksmith.core import events as ev
from locksmith.core.attempt import ARM_TRIES
from locksmith.core.facts import Strategy
from locksmith.core.ledger import Stage
from locksmith.core.needs import NeedUnknown
from locksmith.core.states import Arming, Draining, Rebooting, Releasing, Starting, Steady, Stuck, Undoing
from tests.fakes.mind import (
    NOON,
    NOTHING,
    REQUEST,
    Mind,
    agent,
    at,
    closed,
    found,
    ledger,
    opened,
    owed,
    policy,
    says,
    slot,
    unknown,
)

TAKE_BACK = (do.StopHook(), do.ListHooks("undo"))


def draining(state: Draining | None = None, **changes) -> Mind:
    """The slot is held."""
    return Mind(agent(state or Draining(), ledger(owed(**changes.pop("owes", {}))), slot=slot(), **changes))


def arming(state: Arming | None = None, **changes) -> Mind:
    """The arm commit with attempt a-1 is under way."""
    owes = {"attempt": "a-1", "stage": Stage.ARMED, "arms": 1, **changes.pop("owes", {})}
    return Mind(agent(state or Arming("a-1", 1, at().boottime), ledger(owed(**owes)), slot=slot(), **changes))


def rebooting(**changes) -> Mind:
    """The machine was told to reboot."""
    mind = arming(**changes)
    mind.hear(ev.ArmDone("a-1"))
    assert mind.effects == (do.UnwatchHolder(), do.Reboot())
    return mind


def undoing(mind: Mind) -> str:
    """What it was called off for."""
    assert isinstance(mind.state, Undoing), mind.state
    assert mind.owed.called_off == mind.state.kind
    return mind.state.kind


# ------------------------------------------------------------------------------------------------ draining


def test_hooks_run_in_order_and_each_is_in_the_journal_before_it_runs():
    mind = draining()
    assert mind.hear(ev.GatesAnswered("drain", (opened(),))) == (do.ListHooks("pre-reboot"),)
    mind.hear(ev.HooksListed("pre-reboot", ("10-a", "20-b")))
    assert mind.effects == (do.MarkPhase("draining"), do.RunHook("pre-reboot", "10-a"))
    assert (mind.owed.started, mind.owed.finished) == (("10-a",), ())
    assert "10-a" in mind.told.text
    assert mind.hear(ev.HookEnded("pre-reboot", "10-a", None)) == (do.RunHook("pre-reboot", "20-b"),)
    assert (mind.owed.started, mind.owed.finished) == (("10-a", "20-b"), ("10-a",))
    assert mind.hear(ev.HookEnded("pre-reboot", "20-b", None)) == (do.AskGates("arm"),)
    assert mind.state == Arming()


def test_without_hooks_there_is_nothing_to_drain():
    mind = draining()
    mind.hear(ev.GatesAnswered("drain", ()))
    assert mind.hear(ev.HooksListed("pre-reboot", ())) == (do.AskGates("arm"),)


def test_strategy_reboot_marks_no_phase():
    mind = Mind(agent(Draining(), ledger(owed(slotless=True, token=None)), policy=policy(strategy=Strategy.REBOOT)))
    mind.hear(ev.HooksListed("pre-reboot", ("10-a",)))
    assert mind.effects == (do.RunHook("pre-reboot", "10-a"),)


OFF = [
    (ev.GatesAnswered("drain", (closed(),)), "gate"),
    (ev.GatesAnswered("drain", (unknown(),)), "gate"),
    (ev.GatesAnswered("drain", (closed("windows", "window"),)), "window"),
    (ev.HookEnded("pre-reboot", "10-a", "exit code 1"), "hook"),
    (ev.HookEnded("pre-reboot", "10-a", "called off", cancelled=True), "hook"),
]
BOTH = [
    *[
        (ev.HolderSeen(kind=kind, reason="by bob"), kind)
        for kind in ("revoked", "maintenance", "paused", "halted", "hold", "identity")
    ],
    (NOTHING, "withdrawn"),
    (ev.JournalFailed("runhook", "no space"), "journal"),
    (ev.StopAsked(going_down=False), "stopped"),
]


@pytest.mark.parametrize(("event", "kind"), OFF + BOTH)
def test_draining_is_called_off(event, kind):
    mind = draining(Draining("10-a", ("10-a",)), owes={"started": ("10-a",)})
    assert mind.hear(event) == TAKE_BACK
    assert undoing(mind) == kind
    assert mind.owed.called_off_reason != ""


@pytest.mark.parametrize("event", [ev.HolderSeen(gone=True), ev.SlotGone()])
def test_a_slot_that_is_gone_is_undone_and_not_released(event):
    mind = draining(owes={"started": ("10-a",)})
    assert mind.hear(event) == TAKE_BACK
    mind.hear(ev.HooksListed("undo", ("10-a",)), ev.HookEnded("undo", "10-a", None))
    assert do.Release() not in mind.effects
    assert isinstance(mind.state, Steady)


@pytest.mark.parametrize(
    "event",
    [ev.HolderSeen(), says(NeedUnknown("file", "x")), ev.Tick(), ev.Woken(), ev.EnqueueDone(), ev.ReleaseDone()],
)
@pytest.mark.parametrize("make", [draining, arming])
def test_what_is_no_doubt_changes_nothing(make, event):
    mind = make(Draining("10-a", ("10-a",)) if make is draining else Arming())
    before = mind.state
    assert mind.hear(event) == ()
    assert mind.state == before


def test_the_store_may_be_away_for_the_grace():
    mind = draining()
    away = ev.StoreFailed("watch", "unavailable", "no answer")
    assert mind.hear(away) == ()
    assert mind.hear(away, wait=599) == ()
    assert mind.hear(ev.HolderSeen(), wait=0.5) == ()
    assert mind.hear(away, wait=1) == ()  # counted anew
    assert mind.hear(away, wait=599) == ()
    assert mind.hear(away, wait=1) == TAKE_BACK
    assert undoing(mind) == "store"


# ------------------------------------------------------------------------------------------------ arming


def test_the_journal_names_the_attempt_before_the_arm_is_sent():
    mind = draining(Draining(pending=()))
    mind.hear(ev.HooksListed("pre-reboot", ()))
    assert mind.hear(ev.GatesAnswered("arm", (opened(),))) == (do.Arm(),)
    assert isinstance(mind.state, Arming)
    assert mind.owed.attempt == mind.state.attempt != ""
    assert (mind.owed.stage, mind.owed.arms) == (Stage.ARMED, 1)


def test_only_the_attempt_of_the_journal_arms():
    mind = arming()
    assert mind.hear(ev.ArmDone("a-0")) == ()
    assert isinstance(mind.state, Arming)
    assert mind.hear(ev.ArmDone("a-1")) == (do.UnwatchHolder(), do.Reboot())
    assert isinstance(mind.state, Rebooting)
    assert mind.owed.armed_at == mind.moment.wall


def test_an_unsettled_arm_is_tried_again_with_another_attempt_a_few_times():
    mind = arming()
    seen = {mind.owed.attempt}
    for _ in range(ARM_TRIES - 1):
        assert mind.hear(ev.ArmUnsettled("conflict")) == ()
        assert mind.wake() == (do.Arm(),)
        seen.add(mind.owed.attempt)
    assert len(seen) == ARM_TRIES
    assert mind.owed.arms == 1
    assert mind.hear(ev.ArmUnsettled("conflict")) == TAKE_BACK
    assert undoing(mind) == "store"


def test_arming_waits_for_the_store_and_then_undoes():
    mind = arming()
    away = ev.StoreFailed("arm", "unavailable", "no answer")
    assert mind.hear(away) == ()
    for _ in range(3):
        # The last answer of the gates is too old by then.
        assert mind.wake() == (do.AskGates("arm"),)
        assert mind.hear(ev.GatesAnswered("arm", (opened(),))) == (do.Arm(),)
        mind.hear(away)
    assert "the store is away" in mind.told.text
    assert mind.hear(away, wait=600) == TAKE_BACK


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        (ev.GatesAnswered("arm", (closed(),)), "gate"),
        (ev.GatesAnswered("arm", (unknown("windows", "clock"),)), "clock"),
        (ev.ArmRefused("paused", "paused by bob"), "paused"),
        *BOTH,
    ],
)
def test_arming_is_called_off(event, kind):
    mind = arming()
    assert mind.hear(event) == TAKE_BACK
    assert undoing(mind) == kind


@pytest.mark.parametrize("event", [ev.SlotGone(), ev.HolderSeen(gone=True)])
def test_a_fenced_arm_does_not_reboot_and_does_not_release(event):
    mind = arming()
    assert mind.hear(event) == TAKE_BACK
    assert isinstance(mind.state, Undoing)
    assert mind.state.slot_gone
    assert mind.hear(ev.ArmDone("a-1")) == ()


def test_an_arm_that_is_confirmed_after_it_was_called_off_does_not_reboot():
    mind = arming()
    mind.hear(NOTHING)
    assert mind.hear(ev.ArmDone("a-1")) == ()
    assert isinstance(mind.state, Undoing)


@pytest.mark.parametrize("strategy", [Strategy.OFF, Strategy.OBSERVE, Strategy.REBOOT])
@pytest.mark.parametrize(("state", "stage"), [(Draining(), "drain"), (Arming(), "arm")])
def test_another_strategy_after_a_reload_calls_it_off(state, stage, strategy):
    mind = Mind(agent(state, ledger(owed()), slot=slot(), policy=policy(strategy=strategy)))
    assert mind.hear(ev.GatesAnswered(stage, ())) == TAKE_BACK
    assert undoing(mind) == "strategy"


def test_a_gate_that_a_request_ignores_does_not_call_it_off():
    asked = Mind(agent(Arming(), ledger(owed()), slot=slot(), request=REQUEST))
    assert asked.hear(ev.GatesAnswered("arm", (closed(),))) == TAKE_BACK
    ignoring = type(REQUEST)("req-1", "alice", "x", NOON, ("gate",))
    asked = Mind(agent(Arming(), ledger(owed()), slot=slot(), request=ignoring))
    assert asked.hear(ev.GatesAnswered("arm", (closed(),))) == (do.Arm(),)


def test_strategy_reboot_has_no_arm_and_deletes_the_request_that_it_serves():
    book = ledger(owed(slotless=True, token=None, request="req-1"))
    mind = Mind(agent(Arming(), book, policy=policy(strategy=Strategy.REBOOT), request=REQUEST))
    mind.hear(ev.GatesAnswered("arm", ()))
    assert mind.effects == (do.DropRequest("req-1"), do.UnwatchHolder(), do.Reboot())
    assert mind.owed.stage == Stage.ARMED
    assert isinstance(mind.state, Rebooting)
    assert mind.agent.ledger.served == "req-1"


def test_a_request_served_without_a_slot_is_not_served_again_when_it_could_not_be_deleted():
    book = replace(ledger(None), served="req-1")
    mind = Mind(agent(Steady(), book, policy=policy(strategy=Strategy.REBOOT)))
    effects = mind.hear(ev.FoundAtStart(known=True, identity="store", epoch=1, request=REQUEST, start=False))
    assert do.DropRequest("req-1") in effects
    assert mind.agent.request is None


# ------------------------------------------------------------------------------------------------ rebooting


def test_a_machine_that_does_not_go_down_is_asked_what_holds_it():
    mind = rebooting()
    assert mind.hear(ev.RebootTold()) == ()
    assert mind.agent.wake_at == mind.moment.boottime + 900
    assert mind.wake() == (do.AskPending(),)
    assert mind.hear(ev.Tick()) == ()
    mind.hear(ev.PendingSeen("backup inhibits shutdown"))
    assert isinstance(mind.state, Stuck)
    assert mind.told.kind == "stuck"
    assert "backup inhibits shutdown" in mind.told.text
    assert mind.book.reboots == {"stuck": 1}


def test_nothing_pending_is_armed_anew_before_the_next_call():
    mind = rebooting()
    mind.wake()
    assert mind.hear(ev.PendingSeen(None)) == (do.AskGates("arm"),)
    assert mind.hear(ev.GatesAnswered("arm", ())) == (do.Arm(),)
    assert mind.owed.attempt != "a-1"
    assert mind.hear(ev.ArmDone("a-1")) == ()
    assert mind.hear(ev.ArmDone(mind.owed.attempt)) == (do.UnwatchHolder(), do.Reboot())
    mind.wake()
    assert mind.hear(ev.PendingSeen(None)) == (do.MarkPhase("draining"),)  # retries = 1 is used up
    assert isinstance(mind.state, Stuck)
    assert mind.state.disarming


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_it_is_told_as_often_as_retries_say_and_once(retries):
    mind = rebooting(policy=policy(retries=retries))
    told = 1
    for _ in range(9):
        mind.hear(ev.RebootTold("access denied"))
        assert mind.wake() == (do.AskPending(),)
        if mind.hear(ev.PendingSeen(None)) != (do.AskGates("arm"),):
            break
        mind.hear(ev.GatesAnswered("arm", ()), ev.ArmDone(mind.owed.attempt or ""))
        mind.hear(ev.ArmDone(mind.owed.attempt))
        told += 1
    assert told == retries + 1
    assert mind.effects == (do.MarkPhase("draining"),)


def test_a_refused_reboot_is_stuck_with_its_reason():
    mind = rebooting()
    mind.hear(ev.RebootTold("the reboot command: exit code 1"))
    assert isinstance(mind.state, Stuck)
    assert mind.state.cause == "the reboot command: exit code 1"
    assert mind.book.reboots == {"stuck": 1}
    assert mind.wake() == (do.AskPending(),)


def test_a_reboot_that_was_not_told_since_the_journal_failed_is_stuck_and_not_waited_for():
    mind = rebooting()
    mind.hear(ev.JournalFailed("reboot", "cannot write /x: no space"))
    assert isinstance(mind.state, Stuck)
    assert "no space" in mind.told.text


def test_an_earlier_call_that_never_fires_is_stuck_in_the_end():
    mind = Mind(agent(Rebooting(at().boottime, told=False, asking=True), ledger(owed(stage=Stage.ARMED, arms=1))))
    mind.hear(ev.PendingSeen("shutdown is scheduled"))
    assert isinstance(mind.state, Rebooting)
    mind.wake()
    mind.hear(ev.PendingSeen("shutdown is scheduled"), wait=900)
    assert isinstance(mind.state, Stuck)


# ------------------------------------------------------------------------------------------------ stuck


def stuck(**changes) -> Mind:
    mind = rebooting(**changes)
    mind.hear(ev.RebootTold("access denied"))
    return mind


def test_while_something_can_still_fire_nothing_is_disarmed():
    mind = stuck(policy=policy(retries=0))
    for cause in ("a job hangs", "an inhibitor"):
        assert mind.wake() == (do.AskPending(),)
        assert mind.hear(ev.PendingSeen(cause)) == ()
        assert isinstance(mind.state, Stuck)
        assert mind.state.cause == cause
    mind.wake()
    assert mind.hear(ev.PendingSeen(None)) == (do.MarkPhase("draining"),)


def test_disarming_is_tried_until_it_is_confirmed_and_then_undone():
    mind = stuck(policy=policy(retries=0), owes={"started": ("10-a",)})
    mind.wake()
    mind.hear(ev.PendingSeen(None))
    for _ in range(3):
        assert mind.hear(ev.StoreFailed("mark", "unavailable", "no answer")) == ()
        assert mind.wake() == (do.MarkPhase("draining"),)
    assert mind.hear(ev.PhaseMarked("draining", slot(phase="draining"))) == TAKE_BACK
    assert undoing(mind) == "stuck"
    mind.hear(ev.HooksListed("undo", ("10-a",)))
    assert mind.effects == (do.RunHook("undo", "10-a"),)


def test_a_stuck_slot_that_an_operator_took_is_undone():
    mind = stuck(policy=policy(retries=0))
    mind.wake()
    mind.hear(ev.PendingSeen(None))
    assert mind.hear(ev.SlotGone()) == TAKE_BACK
    assert isinstance(mind.state, Undoing)
    assert mind.state.slot_gone


def test_without_a_slot_there_is_nothing_to_disarm():
    book = ledger(owed(slotless=True, token=None, stage=Stage.ARMED, arms=2))
    mind = Mind(agent(Rebooting(at().boottime, asking=True), book, policy=policy(strategy=Strategy.REBOOT)))
    assert mind.hear(ev.PendingSeen(None)) == TAKE_BACK


# ------------------------------------------------------------------------------------------------ undoing


def test_undo_runs_in_reverse_what_was_begun_and_has_an_undo():
    mind = draining(owes={"started": ("10-a", "20-b", "30-c"), "finished": ("10-a", "20-b")})
    mind.hear(NOTHING)
    assert mind.hear(ev.HooksListed("undo", ("10-a", "30-c", "99-other"))) == (do.RunHook("undo", "30-c"),)
    assert mind.hear(ev.HookEnded("undo", "30-c", "exit code 1")) == (do.RunHook("undo", "10-a"),)
    assert mind.owed.undone == ("30-c",)
    assert mind.hear(ev.HookEnded("undo", "10-a", None)) == (do.UnwatchHolder(), do.Release())
    assert isinstance(mind.state, Releasing)
    assert mind.owed.stage == Stage.RELEASING


def test_late_answers_of_what_was_called_off_change_nothing():
    mind = draining(Draining("10-a", ("10-a", "20-b")), owes={"started": ("10-a",)})
    mind.hear(NOTHING)
    for late in (ev.HookEnded("pre-reboot", "10-a", None), ev.GatesAnswered("arm", ()), ev.ArmDone("a-1")):
        assert mind.hear(late) == ()
        assert isinstance(mind.state, Undoing)


def test_an_undo_folder_that_cannot_be_read_does_not_keep_the_slot():
    mind = draining(owes={"started": ("10-a",)})
    mind.hear(NOTHING)
    assert mind.hear(ev.HookEnded("undo", "undo.d", "cannot be read")) == (do.UnwatchHolder(), do.Release())


# ------------------------------------------------------------------------------------------------ releasing


def releasing(**owes) -> Mind:
    return Mind(
        agent(Releasing(), ledger(owed(stage=Stage.RELEASING, called_off="gate", called_off_reason="x", **owes)))
    )


def test_a_release_is_tried_for_ever_with_a_cap():
    mind = releasing()
    waits = []
    for _ in range(15):
        mind.hear(ev.StoreFailed("release", "unknown", "no answer"))
        assert mind.agent.wake_at is not None
        waits.append(mind.agent.wake_at - mind.moment.boottime)
        assert mind.wake() == (do.Release(),)
    assert waits == sorted(waits)
    assert max(waits) < 301
    assert mind.owed.token == 7


def test_an_operator_on_the_host_does_not_wait_for_the_next_try():
    mind = releasing()
    assert mind.hear(ev.Poke()) == ()  # one is under way
    mind.hear(ev.StoreFailed("release", "unavailable", "no answer"))
    assert mind.hear(ev.Poke()) == (do.Release(),)
    assert mind.hear(ev.Poke()) == ()


def test_a_released_slot_is_owed_no_more_and_the_world_is_looked_at_anew():
    mind = releasing()
    assert mind.hear(ev.ReleaseDone()) == (do.UnwatchHolder(), do.SteadyLook(), do.AskProviders())
    assert mind.state == Steady()
    assert (mind.agent.owed, mind.agent.slot, mind.agent.request) == (None, None, None)
    assert mind.book.called_off == {"gate": 1}


def test_a_slot_that_was_left_to_an_operator_runs_start():
    mind = releasing()
    mind.hear(ev.ReleaseDone(by_hand=True))
    assert isinstance(mind.state, Starting)
    assert mind.agent.owed is None


@pytest.mark.parametrize("chance", [0.0, 0.5, 0.999])
def test_the_cool_down_doubles_to_its_cap_with_jitter(chance):
    mind = releasing()
    mind.chance = chance
    for failures in range(1, 12):
        mind.agent = agent(Releasing(), ledger(owed(called_off="hook"), failures=failures - 1))
        mind.hear(ev.ReleaseDone())
        assert mind.book.failures == failures
        assert mind.book.cooldown_until is not None
        wait = mind.book.cooldown_until - mind.moment.wall
        expected = min(timedelta(hours=1), timedelta(minutes=1) * 2 ** (failures - 1))
        assert expected * 0.75 <= wait <= expected * 1.25


@pytest.mark.parametrize(
    "kind", ["paused", "halted", "hold", "withdrawn", "stopped", "maintenance", "revoked", "strategy"]
)
def test_what_somebody_wanted_does_not_double_the_cool_down(kind):
    mind = Mind(agent(Releasing(), ledger(owed(called_off=kind))))
    mind.hear(ev.ReleaseDone())
    assert mind.book.failures == 0
    assert mind.book.cooldown_until == mind.moment.wall + timedelta(minutes=1)
    assert mind.book.called_off == {kind: 1}


def test_a_healthy_reboot_forgets_the_failures():
    mind = Mind(agent(Releasing(), ledger(owed(result="healthy"), failures=4, cooldown_until=NOON)))
    mind.hear(ev.ReleaseDone())
    assert (mind.book.failures, mind.book.cooldown_until) == (0, None)
    assert mind.book.reboots == {"healthy": 1}


# ------------------------------------------------------------------------------------------------ the whole way


def test_one_reboot_from_the_update_to_the_command():
    mind = Mind(agent(Steady(), needs={}))
    mind.hear(says(*agent().needs.values()), ev.GatesAnswered("queue", (opened(),)))
    mind.wake()
    mind.hear(ev.EnqueueDone(), ev.StandingInLine("queue", "place 2", 2, ("host-a",)), ev.Woken())
    mind.hear(ev.SlotTaken(slot(), 1), ev.GatesAnswered("drain", ()), ev.HooksListed("pre-reboot", ("10-a",)))
    mind.hear(ev.PhaseMarked("draining", slot(phase="draining")), ev.HookEnded("pre-reboot", "10-a", None))
    mind.hear(ev.HolderSeen(), ev.GatesAnswered("arm", ()))
    mind.hear(ev.ArmDone(mind.owed.attempt))
    assert mind.effects == (do.UnwatchHolder(), do.Reboot())
    assert mind.hear(ev.RebootTold()) == ()
    assert isinstance(mind.state, Rebooting)
    assert found(mind.agent.slot).slot is not None
