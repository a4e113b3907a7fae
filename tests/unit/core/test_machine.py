"""What concerns every state: stopping, the store's absence, the journal's failure, and events that do not belong there."""

from dataclasses import replace

import pytest

from locksmith.core import effects as do
from locksmith.core import events as ev
from locksmith.core.facts import Reason, Strategy
from locksmith.core.ledger import Stage
from locksmith.core.states import (
    STATE_NAMES,
    Arming,
    Blocked,
    Conflicted,
    Draining,
    Failed,
    Queued,
    Rebooting,
    Releasing,
    Starting,
    State,
    Steady,
    Stuck,
    Undoing,
    Unready,
    Verifying,
)
from tests.fakes.mind import NOON, OLD_BOOT, TOKEN, UPTIME, Mind, agent, by_hand, ledger, owed, policy, slot

CLAIMING = owed(stage=Stage.CLAIMING, token=None)
ARMED = owed(stage=Stage.ARMED, attempt="a-1", arms=1)
BOOTED = owed(stage=Stage.VERIFYING, boot=OLD_BOOT)
GIVING = owed(stage=Stage.RELEASING, called_off="gate")

STATES: dict[str, tuple[State, object]] = {
    "starting": (Starting(), None),
    "steady": (Steady(), None),
    "blocked": (Blocked((Reason("gate", "backup", "not now", NOON),)), None),
    "queued": (Queued(), CLAIMING),
    "standing": (Queued(enqueued=True, rank=2), CLAIMING),
    "leaving": (Queued(leaving=(Reason("gate", "backup", "not now", NOON),)), CLAIMING),
    "draining": (Draining("10-a", ("10-a",)), owed(started=("10-a",))),
    "arming": (Arming("a-1", 1), ARMED),
    "rebooting": (Rebooting(UPTIME), ARMED),
    "stuck": (Stuck(UPTIME, "refused"), ARMED),
    "disarming": (Stuck(UPTIME, "refused", disarming=True), ARMED),
    "undoing": (Undoing("gate", "not now"), owed(called_off="gate", started=("10-a",))),
    "verifying": (Verifying(UPTIME, pending=()), BOOTED),
    "failed": (Failed(UPTIME, "app", "bad", pending=()), BOOTED),
    "releasing": (Releasing(), GIVING),
    "retrying": (Releasing(tries=2), GIVING),
    "conflicted": (Conflicted("twin"), None),
    "unready": (Unready("store", "denied"), None),
}


def mind_in(name: str, **changes) -> Mind:
    """An agent in a state, with the journal and the slot that belong to it."""
    state, attempt = STATES[name]
    held = slot() if getattr(attempt, "token", None) is not None else None
    return Mind(agent(state, ledger(attempt), slot=held, **changes))  # type: ignore[arg-type]


def test_every_state_is_here():
    assert {type(state) for state, _ in STATES.values()} == set(STATE_NAMES)


# ------------------------------------------------------------------------------------------------ stopping


@pytest.mark.parametrize("name", STATES)
def test_a_system_shutdown_ends_it_at_once_and_keeps_everything(name):
    mind = mind_in(name)
    before = mind.agent
    assert mind.hear(ev.StopAsked(going_down=True)) == ()
    assert mind.agent.done
    assert (mind.state, mind.book) == (before.state, before.ledger)


AT_ONCE = {
    "starting", "steady", "blocked", "rebooting", "stuck", "disarming", "verifying", "failed", "retrying", "conflicted",
    "unready",
}  # fmt: skip


@pytest.mark.parametrize("name", STATES)
def test_a_plain_stop_takes_back_what_is_not_armed_and_leaves_the_rest(name):
    mind = mind_in(name)
    before = mind.agent
    mind.hear(ev.StopAsked(going_down=False))
    assert mind.agent.done is (name in AT_ONCE)
    if mind.agent.done:
        assert mind.effects == ()
        assert mind.book == before.ledger
        return
    answers = {
        "queued": (ev.Cancelled(None),),
        "standing": (ev.Cancelled(None),),
        "leaving": (ev.Cancelled(None),),
        "draining": (ev.HooksListed("undo", ("10-a",)), ev.HookEnded("undo", "10-a", None), ev.ReleaseDone()),
        "arming": (ev.HooksListed("undo", ()), ev.ReleaseDone()),
        "undoing": (ev.HooksListed("undo", ("10-a",)), ev.HookEnded("undo", "10-a", None), ev.ReleaseDone()),
        "releasing": (ev.ReleaseDone(),),
    }[name]
    for answer in answers:
        assert not mind.agent.done
        mind.hear(answer)
    assert mind.agent.done
    assert mind.agent.owed is None
    assert mind.effects == ()


@pytest.mark.parametrize("name", ["queued", "standing", "leaving", "releasing", "draining", "undoing"])
def test_a_plain_stop_does_not_wait_for_a_store_that_is_away(name):
    mind = mind_in(name)
    mind.hear(ev.StopAsked(going_down=False))
    if isinstance(mind.state, Undoing):
        mind.hear(ev.HooksListed("undo", ()))
    mind.hear(ev.StoreFailed("cancel" if isinstance(mind.state, Queued) else "release", "unavailable", "no answer"))
    assert mind.agent.done
    assert mind.agent.owed is not None


def test_a_claim_that_had_won_is_given_back_before_the_end():
    mind = mind_in("standing")
    mind.hear(ev.StopAsked(going_down=False))
    assert mind.hear(ev.Cancelled(slot())) == (do.UnwatchHolder(), do.Release())
    assert not mind.agent.done
    mind.hear(ev.ReleaseDone())
    assert mind.agent.done


@pytest.mark.parametrize("by_operator", [True, False])
def test_a_slot_that_is_left_to_an_operator_ends_it_too(by_operator):
    mind = mind_in("releasing")
    mind.hear(ev.StopAsked(going_down=False), ev.ReleaseDone(by_hand=by_operator))
    assert mind.agent.done


def test_a_stop_begins_nothing_new():
    mind = mind_in("steady")
    mind.hear(ev.StopAsked(going_down=False))
    assert mind.hear(ev.GatesAnswered("queue", ())) == ()
    assert mind.agent.owed is None


# ------------------------------------------------------------------------------------------------ the store is away

FAILED_STATE = {
    "starting": "starting", "steady": "steady", "blocked": "blocked", "queued": "queued", "standing": "queued",
    "leaving": "queued", "draining": "draining", "arming": "arming", "rebooting": "rebooting", "stuck": "stuck",
    "disarming": "stuck", "undoing": "undoing", "verifying": "verifying", "failed": "failed", "releasing": "releasing",
    "retrying": "releasing", "conflicted": "conflicted", "unready": "unready",
}  # fmt: skip
ACTS = {
    "starting": "recover", "steady": "look", "blocked": "look", "queued": "enqueue", "standing": "claim",
    "leaving": "cancel", "draining": "watch", "arming": "arm", "disarming": "mark", "verifying": "mark",
    "failed": "mark", "releasing": "release", "retrying": "release",
}  # fmt: skip


@pytest.mark.parametrize("name", STATES)
def test_a_store_that_is_away_moves_nobody_and_something_asks_again(name):
    mind = mind_in(name)
    owes = mind.agent.owed
    mind.hear(ev.StoreFailed(ACTS.get(name, "watch"), "unavailable", "no answer"))
    assert STATE_NAMES[type(mind.state)] == FAILED_STATE[name]
    assert mind.agent.owed == owes
    assert mind.agent.store_error == "no answer"
    assert mind.effects == ()
    if name in ("starting", "queued", "standing", "leaving", "arming", "disarming", "releasing", "retrying"):
        assert mind.agent.wake_at is not None
        assert 0 < mind.agent.wake_at - mind.moment.boottime <= 300
        assert mind.wake() != ()


@pytest.mark.parametrize("name", STATES)
def test_a_registry_that_cannot_be_written_is_only_noted(name):
    mind = mind_in(name)
    before = mind.agent
    assert mind.hear(ev.StoreFailed("record", "unavailable", "no answer")) == ()
    assert mind.agent == replace(before, store_error="no answer", store_down_since=mind.moment)


def test_since_when_the_store_is_away_is_kept_until_it_answers():
    mind = mind_in("standing")
    mind.hear(ev.StoreFailed("claim", "unavailable", "no answer"))
    since = mind.moment
    mind.hear(ev.StoreFailed("claim", "unknown", "another answer"), wait=10)
    assert mind.agent.store_down_since == since
    assert mind.agent.store_error == "another answer"
    mind.hear(ev.StandingInLine("queue", "place 2", 2))
    assert (mind.agent.store_error, mind.agent.store_down_since) == (None, None)


# ------------------------------------------------------------------------------------------------ the journal fails


@pytest.mark.parametrize(
    ("name", "becomes"),
    [
        ("queued", "queued"), ("standing", "queued"), ("leaving", "queued"), ("draining", "undoing"),
        ("arming", "undoing"), ("rebooting", "stuck"), ("starting", "unready"),
    ],
)  # fmt: skip
def test_nothing_goes_forward_without_a_journal(name, becomes):
    mind = mind_in(name)
    mind.hear(ev.JournalFailed("arm", "cannot write /x: no space"))
    assert STATE_NAMES[type(mind.state)] == becomes
    if isinstance(mind.state, Queued):
        assert mind.state.leaving is not None
    assert not {type(effect) for effect in mind.effects} & {do.Enqueue, do.Claim, do.Arm, do.Reboot, do.RunHook}


@pytest.mark.parametrize("name", ["undoing", "verifying", "failed", "releasing", "retrying", "steady", "blocked"])
def test_giving_back_needs_no_journal(name):
    mind = mind_in(name)
    mind.hear(ev.JournalFailed("release", "cannot write /x: no space"))
    assert STATE_NAMES[type(mind.state)] == FAILED_STATE[name]


# ------------------------------------------------------------------------------------------------ strangers

FOREIGN: list[ev.Event] = [
    ev.EnqueueDone(), ev.EnqueueRefused("hold", "x"), ev.StandingInLine("queue", "x", 1), ev.TicketGone(), ev.Cancelled(None),
    ev.Cancelled(slot()), ev.SlotTaken(slot(), 1), ev.OwnKeyTaken(by_hand()), ev.HolderSeen(gone=True),
    ev.HolderSeen(kind="paused", reason="x"), ev.HooksListed("pre-reboot", ("10-a",)), ev.HookEnded("pre-reboot", "10-a", None),
    ev.PhaseMarked("draining", slot()), ev.SlotGone(), ev.ArmDone("a-1"), ev.ArmRefused("paused", "x"), ev.ArmUnsettled("x"),
    ev.RebootTold("refused"), ev.PendingSeen(None), ev.PendingSeen("a job"), ev.ReleaseDone(), ev.PutBack(slot()), ev.SetUp(),
    ev.GatesAnswered("drain", ()), ev.GatesAnswered("arm", ()), ev.HealthAnswered(()),
]  # fmt: skip


@pytest.mark.parametrize("event", FOREIGN, ids=lambda event: type(event).__name__)
@pytest.mark.parametrize("name", ["steady", "blocked", "conflicted", "unready"])
def test_late_answers_move_nobody_who_rests(name, event):
    mind = mind_in(name)
    before = mind.agent
    assert mind.hear(event) == ()
    assert mind.agent == before


@pytest.mark.parametrize("name", STATES)
@pytest.mark.parametrize("attempt", ["a-0", "a-1", ""])
def test_only_arming_hears_that_its_own_attempt_is_armed(name, attempt):
    mind = mind_in(name)
    mind.hear(ev.ArmDone(attempt))
    assert (do.Reboot() in mind.effects) is (name == "arming" and attempt == "a-1")


@pytest.mark.parametrize("name", ["verifying", "failed"])
@pytest.mark.parametrize(
    "event",
    [
        ev.GatesAnswered("queue", ()), ev.HolderSeen(kind="paused", reason="x"), ev.ArmRefused("halted", "x"), ev.Woken(),
        ev.PendingSeen(None), ev.Cancelled(None),
    ],
)  # fmt: skip
def test_no_gate_pause_or_halt_stands_in_the_way_of_verifying(name, event):
    mind = mind_in(name)
    before = mind.agent
    assert mind.hear(event) == ()
    assert mind.agent == before


def test_an_answer_of_a_steady_look_is_no_answer_to_start():
    mind = mind_in("starting")
    late = ev.FoundAtStart(known=True, identity="store-1", epoch=1, slot=slot(), start=False)
    assert mind.hear(late) == ()
    assert isinstance(mind.state, Starting)


# ------------------------------------------------------------------------------------------------ ticks


@pytest.mark.parametrize("name", STATES)
def test_a_tick_that_is_due_is_used_up(name):
    mind = mind_in(name, wake_at=UPTIME)
    mind.hear(ev.Tick())
    assert mind.agent.wake_at is None or mind.agent.wake_at > mind.moment.boottime


@pytest.mark.parametrize("strategy", [Strategy.OBSERVE, Strategy.OFF])
@pytest.mark.parametrize("name", ["starting", "steady", "blocked"])
def test_who_only_observes_owes_nothing(name, strategy):
    mind = mind_in(name, policy=policy(strategy=strategy))
    mind.hear(ev.FoundAtStart(known=True, identity="store-1", epoch=1), ev.GatesAnswered("queue", ()))
    assert isinstance(mind.state, Blocked)
    assert mind.agent.owed is None
    assert mind.told.kind == "strategy"


def test_the_token_of_the_slot_is_what_the_journal_says():
    assert mind_in("draining").owed.token == TOKEN
