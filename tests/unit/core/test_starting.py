"""START, one row of the table after the other; and the two states that wait for somebody."""

from dataclasses import replace
from datetime import timedelta

import pytest

from locksmith.core import effects as do
from locksmith.core import events as ev
from locksmith.core.facts import HoldFact, Strategy
from locksmith.core.history import UNSANCTIONED, Unsanctioned
from locksmith.core.ledger import LastReboot, Ledger, Stage
from locksmith.core.needs import NeedUnknown
from locksmith.core.states import (
    Blocked,
    Conflicted,
    Draining,
    Failed,
    Rebooting,
    Releasing,
    Starting,
    Steady,
    Stuck,
    Undoing,
    Unready,
    Verifying,
)
from tests.fakes.mind import (
    BOOT,
    NODE,
    NOON,
    NOTHING,
    OLD_BOOT,
    REQUEST,
    Mind,
    agent,
    by_hand,
    closed,
    found,
    ledger,
    owed,
    policy,
    says,
    slot,
    staged,
)


def begun(book: Ledger, **changes) -> Mind:
    """A process that has just started, and whose providers have answered."""
    mind = Mind(agent(Starting(), book, needs={}, asked_providers=False, **changes))
    mind.hear(ev.Begin())
    return mind


# ------------------------------------------------------------------------------------------------ the beginning


def test_it_asks_the_providers_before_the_store_so_that_the_table_knows_what_is_wanted():
    assert begun(ledger()).effects == (do.AskProviders(), do.Recover(None))


def test_it_names_the_ticket_of_the_journal():
    assert begun(ledger(owed())).effects[1] == do.Recover(f"q/web/{NODE}")


def test_the_first_start_of_all_records_no_reboot():
    mind = begun(Ledger())
    assert mind.book.last is None
    assert mind.book.boot == BOOT
    assert mind.book.reboots == {}


def test_an_armed_attempt_of_the_boot_before_is_our_reboot():
    mind = begun(ledger(owed(stage=Stage.ARMED, boot=OLD_BOOT, origin="v1", target="v2"), boot=OLD_BOOT))
    assert mind.book.last == LastReboot(at=NOON, result="", reason="file: linux-image", origin="v1", target="v2")
    assert mind.book.last_ours == NOON
    assert mind.book.reboots == {}
    assert mind.book.unsanctioned == ()


@pytest.mark.parametrize("book", [None, owed(boot=OLD_BOOT), owed(boot=OLD_BOOT, stage=Stage.RELEASING)])
def test_a_reboot_that_nobody_asked_for_is_recorded(book):
    mind = begun(ledger(book, boot=OLD_BOOT))
    assert mind.book.reboots == {"unsanctioned": 1}
    assert mind.book.last is not None
    assert not mind.book.last.ours
    assert mind.book.last_ours is None
    assert mind.book.unsanctioned == (Unsanctioned(boot=BOOT, at=NOON),)


def test_so_many_reboots_that_nobody_asked_for_are_named_and_all_are_counted():
    earlier = tuple(Unsanctioned(boot=f"boot-{number}/0", at=NOON) for number in range(UNSANCTIONED))
    mind = begun(ledger(boot=OLD_BOOT, unsanctioned=earlier, reboots={"unsanctioned": UNSANCTIONED}))
    assert mind.book.unsanctioned == (*earlier[1:], Unsanctioned(boot=BOOT, at=NOON))
    assert mind.book.reboots == {"unsanctioned": UNSANCTIONED + 1}


@pytest.mark.parametrize("stage", [Stage.VERIFYING, Stage.RELEASING])
def test_one_more_boot_while_the_last_one_was_being_verified_is_the_same_reboot(stage):
    book = owed(stage=stage, boot="boot-0/0", verify_boot=OLD_BOOT, verify_since=5.0)
    mind = begun(ledger(book, boot=OLD_BOOT, last_ours=NOON - timedelta(hours=1)))
    assert mind.book.reboots == {}
    assert mind.book.last_ours == NOON - timedelta(hours=1)


def test_the_same_boot_changes_nothing():
    book = ledger(owed(stage=Stage.ARMED), wanted={"file": "fp-1"})
    assert begun(book).book == book


# ------------------------------------------------------------------------------------------------ the store's answer


def test_an_empty_store_is_set_up_and_looked_at_again():
    mind = begun(ledger(home=None))
    assert mind.hear(ev.FoundAtStart(known=False)) == (do.SetUpStore(),)
    assert mind.hear(ev.SetUp()) == (do.Recover(None),)


def test_an_emptied_store_that_owes_us_a_slot_is_not_set_up():
    mind = begun(ledger(owed()))
    assert mind.hear(ev.FoundAtStart(known=False)) == ()
    assert isinstance(mind.state, Unready)
    assert mind.state.kind == "identity"
    assert mind.owed.token == 7
    assert mind.wake() == (do.Recover(f"q/web/{NODE}"),)


def test_another_machine_with_our_identity_touches_nothing():
    mind = begun(ledger(owed()))
    assert mind.hear(found(clash=slot(host="twin"))) == ()
    assert mind.state == Conflicted("twin")
    assert "twin" in mind.told.text
    assert mind.book.owed == owed()
    assert mind.hear(ev.Poke()) == (do.Recover(f"q/web/{NODE}"),)
    assert isinstance(mind.state, Starting)


def test_another_store_than_the_one_that_owes_us_a_slot_is_not_used():
    mind = begun(ledger(owed()))
    assert mind.hear(found(identity="store-2")) == ()
    assert isinstance(mind.state, Unready)
    assert mind.book.home is not None
    assert mind.book.home.identity == "store-1"


def test_another_store_is_taken_while_nothing_is_owed():
    mind = begun(ledger())
    mind.hear(NOTHING, found(identity="store-2", epoch=4))
    assert mind.state == Steady()
    assert mind.book.home is not None
    assert (mind.book.home.identity, mind.book.home.epoch) == ("store-2", 4)


# ------------------------------------------------------------------------------------------------ held by hand


@pytest.mark.parametrize("boot", [BOOT, OLD_BOOT])
@pytest.mark.parametrize("book", [None, owed(), owed(stage=Stage.ARMED, boot=OLD_BOOT)])
def test_held_by_hand_is_never_verified_released_or_armed(book, boot):
    mind = begun(ledger(book))
    assert mind.hear(found(by_hand(boot=boot, mod=11))) == (do.WatchOwnKey(),)
    assert isinstance(mind.state, Blocked)
    assert mind.told.kind == "maintenance"
    assert "alice" in mind.told.text
    assert mind.agent.owed is None
    assert mind.hear(says(staged()), ev.GatesAnswered("queue", ()), ev.Tick()) == ()


def test_held_by_hand_is_left_when_the_key_changes():
    mind = begun(ledger())
    mind.hear(says(staged()), found(by_hand()))
    assert mind.hear(ev.Woken()) == (do.Recover(f"q/web/{NODE}"),)
    assert mind.hear(found()) == (do.AskGates("queue"),)


def test_what_was_begun_is_undone_even_when_the_slot_went_to_an_operator():
    mind = begun(ledger(owed(started=("10-a",))))
    assert mind.hear(found(by_hand())) == (do.StopHook(), do.ListHooks("undo"))
    mind.hear(ev.HooksListed("undo", ("10-a",)))
    assert mind.effects == (do.RunHook("undo", "10-a"),)
    mind.hear(ev.HookEnded("undo", "10-a", None))
    assert isinstance(mind.state, Steady)
    assert not any(isinstance(effect, do.Release) for effect in mind.effects)


# ------------------------------------------------------------------------------------------------ no holder


def test_nothing_held_and_nothing_owed_is_steady():
    mind = begun(ledger())
    assert mind.hear(NOTHING, found()) == ()
    assert mind.state == Steady()


def test_nothing_held_and_something_staged_asks_the_gates():
    mind = begun(ledger())
    assert mind.hear(says(staged()), found()) == (do.AskGates("queue"),)


@pytest.mark.parametrize("book", [owed(token=None, stage=Stage.CLAIMING), owed(stage=Stage.CLAIMING)])
def test_a_claim_that_never_won_is_forgotten(book):
    mind = begun(ledger(book))
    mind.hear(NOTHING, found())
    assert mind.state == Steady()
    assert mind.agent.owed is None
    assert mind.book.called_off == {}


def test_a_release_that_was_done_is_counted_once():
    mind = begun(ledger(owed(stage=Stage.RELEASING, result="healthy"), last=LastReboot(at=NOON, result="")))
    assert mind.hear(found()) == (do.UnwatchHolder(), do.SteadyLook(), do.AskProviders())
    assert mind.book.reboots == {"healthy": 1}
    assert mind.book.last is not None
    assert mind.book.last.result == "healthy"
    assert mind.agent.owed is None


def test_a_release_of_a_called_off_attempt_that_was_done_cools_down():
    mind = begun(ledger(owed(stage=Stage.RELEASING, called_off="hook", called_off_reason="hook failed")))
    mind.hear(found())
    assert mind.book.called_off == {"hook": 1}
    assert mind.book.cooldown_until == NOON + timedelta(minutes=1)


def test_a_slot_that_an_operator_took_is_undone_without_a_release():
    mind = begun(ledger(owed(started=("10-a",))))
    mind.hear(found(unlocked=("5", "7")))
    assert isinstance(mind.state, Undoing)
    assert (mind.state.kind, mind.state.slot_gone) == ("revoked", True)
    mind.hear(ev.HooksListed("undo", ()))
    assert isinstance(mind.state, Steady)
    assert mind.book.called_off == {"revoked": 1}


def test_a_slot_that_an_operator_took_from_a_rebooted_node_is_verified_without_a_release():
    mind = begun(ledger(owed(stage=Stage.ARMED, boot=OLD_BOOT), boot=OLD_BOOT, home=None))
    assert mind.hear(found(unlocked=("5", "7"))) == (do.ListHooks("post-reboot"),)
    assert isinstance(mind.state, Verifying)
    assert mind.state.slot_gone


def test_the_unlock_record_of_an_earlier_slot_explains_nothing():
    mind = begun(ledger(owed()))
    assert mind.hear(found(unlocked=("6",))) == ()
    assert isinstance(mind.state, Unready)
    assert "no record explains it" in mind.told.text
    assert mind.owed.token == 7


def test_a_restored_store_gets_its_holder_back_when_the_epoch_was_raised():
    mind = begun(ledger(owed(stage=Stage.ARMED)))
    assert mind.hear(found(epoch=2)) == (do.PutHolderBack(),)
    assert isinstance(mind.state, Starting)
    assert mind.hear(ev.PutBack(slot(token=99))) == (do.Recover(f"q/web/{NODE}"),)
    assert (mind.owed.token, mind.owed.epoch) == (99, 2)


def test_putting_back_is_tried_again_while_the_store_is_away():
    mind = begun(ledger(owed(stage=Stage.ARMED)))
    mind.hear(found(epoch=2), ev.StoreFailed("recover", "unavailable", "no answer"))
    assert isinstance(mind.state, Starting)
    assert mind.wake() == (do.Recover(f"q/web/{NODE}"),)
    assert mind.hear(found(epoch=2)) == (do.PutHolderBack(),)


def test_a_holder_that_cannot_be_put_back_yet_is_not_lost_by_serving_again_meanwhile():
    mind = begun(ledger(owed(stage=Stage.ARMED, boot=OLD_BOOT), boot=OLD_BOOT))
    assert mind.hear(NOTHING, found(epoch=2)) == (do.PutHolderBack(),)
    full = ev.StoreFailed("recover", "store_full", "no space")
    assert mind.hear(full) == (do.ListHooks("post-reboot"),)  # no mark: its answer would only lead back here, at once
    assert isinstance(mind.state, Verifying)
    assert mind.state.mark_at > mind.moment.boottime
    mind.hear(ev.HooksListed("post-reboot", ()))
    while do.MarkPhase("verifying") not in mind.effects:
        mind.hear(ev.HealthAnswered((closed("app", "health"),)))
        mind.wake()
    assert mind.hear(ev.SlotGone(2)) == (do.Recover(f"q/web/{NODE}"),)
    assert mind.hear(found(epoch=2)) == (do.PutHolderBack(),)


@pytest.mark.parametrize(("epoch", "unlocked", "put_back"), [(1, (), False), (2, (), True), (2, ("7",), False)])
def test_a_release_that_was_sent_before_the_backup_was_put_back_explains_nothing(epoch, unlocked, put_back):
    late = owed(stage=Stage.VERIFYING, boot=OLD_BOOT, given_back=True)
    mind = begun(ledger(late, boot=OLD_BOOT))
    mind.hear(NOTHING, found(epoch=epoch, unlocked=unlocked))
    assert (mind.effects == (do.PutHolderBack(),)) is put_back
    assert isinstance(mind.state, Starting if put_back else Verifying)


# ------------------------------------------------------------------------------------------------ boot changed


@pytest.mark.parametrize("phase", ["acquired", "draining", "armed", "verifying"])
def test_a_holder_of_an_earlier_boot_is_verified_before_anything_else(phase):
    mind = begun(ledger(owed(stage=Stage.ARMED, boot=OLD_BOOT), boot=OLD_BOOT))
    mind.hear(found(slot(phase=phase, boot=OLD_BOOT), hold=HoldFact("held by bob: x")))
    assert isinstance(mind.state, Verifying)
    assert mind.effects == (do.MarkPhase("verifying"), do.ListHooks("post-reboot"))
    assert mind.owed.stage == Stage.VERIFYING
    assert (mind.owed.verify_boot, mind.owed.verify_since) == (BOOT, mind.moment.boottime)


@pytest.mark.parametrize("strategy", list(Strategy))
def test_every_strategy_verifies_a_slot_that_it_finds(strategy):
    mind = begun(ledger(owed(stage=Stage.ARMED, boot=OLD_BOOT), boot=OLD_BOOT), policy=policy(strategy=strategy))
    mind.hear(says(staged()), found(slot(phase="armed", boot=OLD_BOOT)))
    assert isinstance(mind.state, Verifying)


def test_without_a_journal_a_holder_of_an_earlier_boot_is_verified_too():
    mind = begun(Ledger())
    mind.hear(found(slot(phase="armed", boot=OLD_BOOT, need="fp-1", reason="linux")))
    assert isinstance(mind.state, Verifying)
    assert (mind.owed.nonce, mind.owed.token, mind.owed.reason) == ("nonce-1", 7, "linux")
    assert mind.owed.result == ""


@pytest.mark.parametrize(("stage", "result"), [(Stage.HELD, "unsanctioned"), (Stage.ARMED, "")])
def test_a_reboot_before_the_arm_is_verified_as_one_that_nobody_asked_for(stage, result):
    mind = begun(ledger(owed(stage=stage, boot=OLD_BOOT), boot=OLD_BOOT))
    mind.hear(found(slot(phase="draining", boot=OLD_BOOT)))
    assert isinstance(mind.state, Verifying)
    assert mind.owed.result == result


@pytest.mark.parametrize("boot", [BOOT, OLD_BOOT])
def test_a_failed_holder_stays_failed_until_it_is_well(boot):
    mind = begun(ledger(owed(stage=Stage.VERIFYING, boot="boot-0/0", check="app")))
    mind.hear(found(slot(phase="failed", boot=boot)))
    assert isinstance(mind.state, Failed)
    assert mind.state.marked
    assert mind.effects == (do.MarkPhase("verifying"), do.ListHooks("post-reboot"))


def test_the_deadline_counts_from_the_first_verify_of_this_boot():
    book = owed(stage=Stage.VERIFYING, boot=OLD_BOOT, verify_boot=BOOT, verify_since=50.0, post_done=("10-a",))
    mind = begun(ledger(book))
    mind.hear(found(slot(phase="verifying")))
    assert isinstance(mind.state, Verifying)
    assert mind.state.since == 50.0
    assert mind.hear(ev.HooksListed("post-reboot", ("10-a", "20-b"))) == (do.RunHook("post-reboot", "20-b"),)


def test_another_boot_verifies_from_its_beginning():
    book = owed(stage=Stage.VERIFYING, boot="boot-0/0", verify_boot=OLD_BOOT, verify_since=5.0, post_done=("10-a",))
    mind = begun(ledger(book, boot=OLD_BOOT))
    mind.hear(found(slot(phase="verifying", boot=OLD_BOOT)))
    assert isinstance(mind.state, Verifying)
    assert mind.state.since == mind.moment.boottime
    assert mind.hear(ev.HooksListed("post-reboot", ("10-a",))) == (do.RunHook("post-reboot", "10-a"),)


def test_a_release_of_this_boot_goes_on():
    book = owed(stage=Stage.RELEASING, boot=OLD_BOOT, verify_boot=BOOT, result="healthy")
    mind = begun(ledger(book))
    assert mind.hear(found(slot(phase="verifying"))) == (do.UnwatchHolder(), do.Release())
    assert isinstance(mind.state, Releasing)
    assert mind.owed.result == "healthy"


def test_a_reboot_in_the_middle_of_giving_back_is_verified():
    mind = begun(ledger(owed(stage=Stage.RELEASING, boot=OLD_BOOT, called_off="hook"), boot=OLD_BOOT))
    mind.hear(found(slot(phase="draining", boot=OLD_BOOT)))
    assert isinstance(mind.state, Verifying)
    assert mind.owed.result == "unsanctioned"


# ------------------------------------------------------------------------------------------------ same boot


def test_armed_in_this_boot_waits_while_the_machine_goes_down():
    mind = begun(ledger(owed(stage=Stage.ARMED, arms=1)))
    assert mind.hear(says(staged()), found(slot(phase="armed"))) == (do.AskPending(),)
    assert mind.state == Rebooting(mind.moment.boottime, told=False, asking=True)
    assert mind.hear(ev.PendingSeen("shutdown is scheduled")) == ()
    assert mind.wake() == (do.AskPending(),)


def test_armed_in_this_boot_is_armed_anew_when_nothing_can_fire():
    mind = begun(ledger(owed(stage=Stage.ARMED, arms=1, attempt="first")))
    mind.hear(says(staged()), found(slot(phase="armed", attempt="first")))
    assert mind.hear(ev.PendingSeen(None)) == (do.AskGates("arm"),)
    assert mind.hear(ev.GatesAnswered("arm", ())) == (do.Arm(),)
    assert mind.owed.attempt != "first"
    assert mind.owed.arms == 2


def test_armed_in_this_boot_is_not_armed_more_often_than_retries():
    mind = begun(ledger(owed(stage=Stage.ARMED, arms=2)))
    mind.hear(says(staged()), found(slot(phase="armed")))
    assert mind.hear(ev.PendingSeen(None)) == (do.MarkPhase("draining"),)
    assert isinstance(mind.state, Stuck)


@pytest.mark.parametrize(
    ("book", "answer", "kind"),
    [
        (owed(stage=Stage.ARMED, arms=1, called_off="paused", called_off_reason="storm"), says(staged()), "paused"),
        (owed(stage=Stage.ARMED, arms=1), NOTHING, "withdrawn"),
        (None, says(staged()), "journal"),
    ],
)
def test_armed_in_this_boot_is_disarmed_when_called_off_withdrawn_or_without_a_journal(book, answer, kind):
    mind = begun(ledger(book))
    mind.hear(answer, found(slot(phase="armed")))
    assert mind.effects == (do.AskPending(),)
    assert mind.hear(ev.PendingSeen(None)) == (do.MarkPhase("draining"),)
    mind.hear(ev.PhaseMarked("draining", slot(phase="draining")))
    assert isinstance(mind.state, Undoing)
    assert mind.state.kind == kind


@pytest.mark.parametrize("strategy", [Strategy.OBSERVE, Strategy.OFF, Strategy.REBOOT])
def test_armed_in_this_boot_is_disarmed_under_another_strategy(strategy):
    mind = begun(ledger(owed(stage=Stage.ARMED, arms=1)), policy=policy(strategy=strategy))
    mind.hear(says(staged()), found(slot(phase="armed")), ev.PendingSeen(None))
    assert mind.effects == (do.MarkPhase("draining"),)


@pytest.mark.parametrize("phase", ["acquired", "draining"])
def test_held_in_this_boot_goes_on_and_repeats_no_hook(phase):
    mind = begun(ledger(owed(started=("10-a", "20-b"), finished=("10-a",))))
    mind.hear(says(staged()), found(slot(phase=phase)))
    assert mind.effects == (do.WatchHolder(), do.AskGates("drain"))
    assert isinstance(mind.state, Draining)
    assert mind.hear(ev.GatesAnswered("drain", ())) == (do.ListHooks("pre-reboot"),)
    mind.hear(ev.HooksListed("pre-reboot", ("10-a", "20-b")))
    assert mind.effects == (do.MarkPhase("draining"), do.RunHook("pre-reboot", "20-b"))


def test_held_in_this_boot_by_a_claim_of_which_nobody_knew():
    """Killed between the claim and its note in the journal: the epoch to arm under is the one that START sees."""
    mind = begun(ledger(owed(stage=Stage.CLAIMING, token=None, epoch=0)))
    mind.hear(says(staged()), found(slot()))
    assert isinstance(mind.state, Draining)
    assert (mind.owed.token, mind.owed.stage, mind.owed.epoch) == (7, Stage.HELD, 1)


def test_held_in_this_boot_and_called_off_goes_on_undoing():
    mind = begun(ledger(owed(started=("10-a",), called_off="gate", called_off_reason="backup: not now")))
    mind.hear(says(staged()), found(slot(phase="draining")))
    assert isinstance(mind.state, Undoing)
    assert mind.state.reason == "backup: not now"
    mind.hear(ev.HooksListed("undo", ("10-a",)), ev.HookEnded("undo", "10-a", None))
    assert mind.effects == (do.UnwatchHolder(), do.Release())


def test_held_in_this_boot_and_nothing_staged_any_more_is_given_back():
    mind = begun(ledger(owed()))
    mind.hear(NOTHING, found(slot()))
    assert isinstance(mind.state, Undoing)
    assert mind.state.kind == "withdrawn"


def test_a_provider_that_cannot_say_withdraws_nothing():
    mind = begun(ledger(owed()))
    mind.hear(says(NeedUnknown("file", "no answer")), found(slot()))
    assert isinstance(mind.state, Draining)


def test_an_operators_request_is_a_reason_to_go_on():
    mind = begun(ledger(owed()))
    mind.hear(NOTHING, found(slot(), request=REQUEST))
    assert isinstance(mind.state, Draining)


def test_giving_back_in_this_boot_undoes_what_is_left_first():
    mind = begun(ledger(owed(stage=Stage.RELEASING, started=("10-a",), undone=("10-a",), called_off="gate")))
    mind.hear(says(staged()), found(slot(phase="draining")))
    assert isinstance(mind.state, Undoing)
    assert mind.hear(ev.HooksListed("undo", ("10-a",))) == (do.UnwatchHolder(), do.Release())


# ------------------------------------------------------------------------------------------------ without a slot


def test_an_attempt_without_a_slot_is_taken_back_after_a_restart():
    mind = begun(ledger(owed(slotless=True, token=None, started=("10-a",))), policy=policy(strategy=Strategy.REBOOT))
    mind.hear(says(staged()), found())
    assert isinstance(mind.state, Undoing)
    assert mind.state.slot_gone


def told_without_a_slot(**changes) -> Mind:
    book = owed(slotless=True, token=None, stage=Stage.ARMED, arms=1, started=("10-a",))
    return begun(ledger(book), **{"policy": policy(strategy=Strategy.REBOOT), **changes})


def test_an_attempt_without_a_slot_that_may_still_fire_is_waited_for():
    mind = told_without_a_slot()
    assert mind.hear(says(staged()), found()) == (do.AskPending(),)
    assert mind.hear(ev.PendingSeen("shutdown is scheduled")) == ()
    assert isinstance(mind.state, Rebooting)
    mind.wake()
    assert mind.hear(ev.PendingSeen(None)) == (do.AskGates("arm"),)
    assert do.Reboot() in mind.hear(ev.GatesAnswered("arm", ()))


@pytest.mark.parametrize(
    ("answer", "strategy", "kind"),
    [(NOTHING, Strategy.REBOOT, "withdrawn"), (says(staged()), Strategy.LOCK, "strategy")],
)
def test_an_attempt_without_a_slot_that_is_not_wanted_is_taken_back_when_nothing_can_fire(answer, strategy, kind):
    mind = told_without_a_slot(policy=policy(strategy=strategy))
    assert mind.hear(answer, found()) == (do.AskPending(),)
    mind.hear(ev.PendingSeen(None), ev.HooksListed("undo", ("10-a",)))
    assert mind.effects == (do.RunHook("undo", "10-a"),)
    assert mind.owed.called_off == kind
    mind.hear(ev.HookEnded("undo", "10-a", None))
    assert isinstance(mind.state, Steady)


def test_an_attempt_without_a_slot_is_verified_after_its_boot():
    book = owed(slotless=True, token=None, stage=Stage.ARMED, boot=OLD_BOOT)
    mind = begun(ledger(book, boot=OLD_BOOT), policy=policy(strategy=Strategy.REBOOT))
    assert mind.hear(found()) == (do.ListHooks("post-reboot"),)
    assert isinstance(mind.state, Verifying)


# ------------------------------------------------------------------------------------------------ the store is away


def test_the_store_is_asked_again_with_growing_waits():
    mind = begun(ledger())
    waits = []
    for _ in range(12):
        mind.hear(ev.StoreFailed("recover", "unavailable", "no answer"))
        assert isinstance(mind.state, Starting)
        assert mind.agent.wake_at is not None
        waits.append(mind.agent.wake_at - mind.moment.boottime)
        assert mind.wake() == (do.Recover(None),)
    assert waits == sorted(waits)
    assert waits[0] < 5
    assert waits[-1] < 301
    assert "the store is away" in mind.told.text


def test_a_rebooted_machine_serves_again_without_the_store():
    mind = begun(ledger(owed(stage=Stage.ARMED, boot=OLD_BOOT), boot=OLD_BOOT))
    mind.hear(ev.StoreFailed("recover", "unavailable", "no answer"))
    assert isinstance(mind.state, Verifying)
    assert mind.effects == (do.MarkPhase("verifying"), do.ListHooks("post-reboot"))
    assert not mind.state.slot_gone


@pytest.mark.parametrize("book", [owed(stage=Stage.ARMED), owed(stage=Stage.CLAIMING, token=None, boot=OLD_BOOT)])
def test_without_a_boot_that_used_the_slot_it_waits_for_the_store(book):
    mind = begun(ledger(book))
    mind.hear(ev.StoreFailed("recover", "unavailable", "no answer"))
    assert isinstance(mind.state, Starting)


@pytest.mark.parametrize(
    ("error", "kind"),
    [(word, "store") for word in ("denied", "corrupt", "newer_format", "auth", "tls")] + [("identity", "identity")],
)
def test_what_waiting_does_not_mend_is_said(error, kind):
    mind = begun(ledger())
    mind.hear(ev.StoreFailed("recover", error, "the store says no"))
    assert mind.state == Unready(kind, "the store says no")
    assert mind.told.kind == kind
    assert mind.wake() == (do.Recover("q/web/n1"),)


def test_a_journal_that_cannot_be_written_is_said():
    mind = begun(ledger())
    mind.hear(ev.JournalFailed("enqueue", "cannot write /x: no space"))
    assert mind.state == Unready("journal", "cannot write /x: no space")


def test_a_poke_looks_at_once():
    mind = begun(ledger())
    mind.hear(ev.StoreFailed("recover", "unavailable", "no answer"))
    assert mind.hear(ev.Poke()) == (do.Recover(None),)


def test_the_ticket_of_another_group_is_looked_for_without_a_journal():
    mind = Mind(replace(agent(Unready("store", "x"), Ledger(boot=BOOT)), needs={}))
    assert mind.hear(ev.Tick()) == (do.Recover(None),)


@pytest.mark.parametrize("called_off", [None, "paused"])
def test_what_the_journal_says_was_told_can_fire_whatever_a_restored_store_holds(called_off):
    """Found by tests/model/restore.pml: a backup from before the arm has the holder in an earlier phase."""
    book = owed(stage=Stage.ARMED, arms=1, called_off=called_off)
    mind = begun(ledger(book))
    effects = mind.hear(says(staged()), found(slot(phase="acquired")))
    assert do.AskPending() in effects
    assert isinstance(mind.state, Rebooting)
    assert mind.owed.stage == Stage.ARMED
