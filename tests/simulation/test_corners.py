"""Corners that a review of the machine against its design found, each driven event by event over hours of virtual time."""

import threading
from dataclasses import replace
from datetime import timedelta

import pytest

from locksmith.agent.facts import found_event
from locksmith.core import effects as do
from locksmith.core import events as ev
from locksmith.core.admission import Patience
from locksmith.core.attempt import begin_release
from locksmith.core.facts import Strategy
from locksmith.core.ledger import Stage
from locksmith.core.needs import NeedUnknown, NotNeeded
from locksmith.core.states import Arming, Blocked, Draining, Queued, Releasing, Steady, Undoing, Unready, Verifying
from locksmith.semaphore.by_hand import lock
from locksmith.semaphore.claiming import InLine, claim
from locksmith.semaphore.holding import release
from locksmith.semaphore.recovery import start
from locksmith.semaphore.taking import force_unlock
from tests.fakes.mind import (
    BOOT,
    HOME,
    NEXT_BOOT,
    NOON,
    NOTHING,
    OLD_BOOT,
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
    staged,
)
from tests.fakes.world import World

BOOTED = {"stage": Stage.VERIFYING, "verify_boot": NEXT_BOOT, "verify_since": at(0).boottime, "boot": "boot-2/0"}


def verifying(state: Verifying | None = None, *, owes=None, **changes) -> Mind:
    """The machine came back and is looked after."""
    book = ledger(owed(**{**BOOTED, **(owes or {})}), boot=NEXT_BOOT)
    return Mind(agent(state or Verifying(at(0).boottime), book, boot=NEXT_BOOT, **changes))


def live(mind: Mind, seconds: float, health) -> int:
    """Answer every question about health until the time is over; gives how often it was asked."""
    end, asked, wakes = mind.after + seconds, 0, 0
    while mind.after < end and not isinstance(mind.state, Steady | Releasing):
        wakes += 1
        assert wakes < 10 * seconds, f"a busy loop in {mind.state}"
        asked += sum(isinstance(effect, do.AskHealth) for effect in mind.effects)
        if any(isinstance(effect, do.AskHealth) for effect in mind.effects):
            mind.hear(ev.HealthAnswered((health(mind),)))
        elif any(isinstance(effect, do.RunHook) for effect in mind.effects):
            hook = next(effect for effect in mind.effects if isinstance(effect, do.RunHook))
            mind.hear(ev.HookEnded(hook.stage, hook.name, "still broken"))
        else:
            mind.wake()
    return asked


# ---------------------------------------------------------------- verifying without a slot


@pytest.mark.parametrize("slotless", [True, False], ids=["strategy reboot", "slot taken by force"])
def test_without_a_slot_a_sick_node_is_asked_on_and_recovers(slotless):
    mind = verifying(Verifying(at(0).boottime, pending=(), slot_gone=True), owes={"slotless": slotless})
    mind.hear(ev.Tick())
    sick = live(mind, 3600, lambda _: closed("app", "health"))
    assert isinstance(mind.state, Verifying)
    assert 100 < sick < 800, f"health asked {sick} times in an hour"
    live(mind, 120, lambda _: opened("app", "health"))
    assert isinstance(mind.state, Steady)


def test_without_a_slot_a_post_hook_that_fails_past_the_deadline_is_no_busy_loop():
    mind = verifying(Verifying(at(0).boottime, pending=("10-x",), slot_gone=True))
    mind.hear(ev.Tick())
    live(mind, 3600, lambda _: opened("app", "health"))
    assert isinstance(mind.state, Verifying)
    assert "10-x" in mind.state.check


# ---------------------------------------------------------------- waiting


def queued(**changes) -> Mind:
    """The ticket stands."""
    claiming = owed(stage=Stage.CLAIMING, token=None, epoch=0, **changes.pop("owes", {}))
    return Mind(agent(Queued(enqueued=True, rank=3, next_gates=at(60).boottime), ledger(claiming), **changes))


def test_a_full_queue_is_tried_again_after_its_wait_and_not_at_each_poll():
    mind = queued()
    mind.hear(ev.EnqueueRefused("queue_full", "the queue of the group is full", timedelta(seconds=600)))
    mind.hear(ev.Cancelled(None))
    assert isinstance(mind.state, Blocked)
    while isinstance(mind.state, Blocked):
        mind.hear(says(staged()), wait=30)  # the feeder's poll
        if do.AskGates("queue") in mind.effects:
            mind.hear(ev.GatesAnswered("queue", ()))
    assert 600 <= mind.after < 660


# ---------------------------------------------------------------- arming


def arming() -> Mind:
    mind = Mind(agent(Arming(), ledger(owed()), slot=slot()))
    mind.hear(ev.GatesAnswered("arm", ()))
    assert mind.effects == (do.Arm(),)
    return mind


def test_the_gates_are_asked_again_when_the_arm_had_to_wait_for_the_store():
    mind = arming()
    for _ in range(20):
        mind.hear(ev.StoreFailed("arm", "unavailable", "no endpoint"), wait=5)
        mind.wake()
        if mind.effects == (do.AskGates("arm"),):
            break
    else:
        pytest.fail("a window may have closed meanwhile, and nobody asked")
    mind.hear(ev.GatesAnswered("arm", (closed("windows", "window"),)))
    assert isinstance(mind.state, Undoing)
    assert mind.state.kind == "window"


def test_an_arm_that_lost_a_race_is_sent_again_at_once():
    mind = arming()
    mind.hear(ev.ArmUnsettled("others"))
    mind.wake()
    assert mind.effects == (do.Arm(),)


def test_the_grace_for_a_store_that_is_away_counts_from_its_first_failure():
    mind = Mind(agent(Draining(hook="10-a", pending=("10-a",)), ledger(owed()), slot=slot()))
    mind.hear(ev.StoreFailed("watch", "unavailable", "no endpoint"))
    mind.hear(ev.HookEnded("pre-reboot", "10-a", None), wait=500)
    mind.hear(ev.GatesAnswered("arm", ()))
    mind.hear(ev.StoreFailed("arm", "unavailable", "no endpoint"), wait=101)
    assert isinstance(mind.state, Undoing)


# ---------------------------------------------------------------- an operator's request


def asked_to_arm() -> Mind:
    """An attempt that only an operator asked for, whose arm has deleted the request; then the process is restarted."""
    owes = owed(provider="request", request="req-1", ignore=("gate",), stage=Stage.ARMED, arms=1, attempt="a-1")
    mind = Mind(agent(None, ledger(owes), needs={}))
    mind.hear(found(slot(phase="armed", attempt="a-1")))
    assert mind.effects == (do.AskPending(),)
    return mind


def test_a_reboot_on_request_that_was_armed_is_issued_again_after_a_restart():
    mind = asked_to_arm()
    mind.hear(ev.PendingSeen(None))
    assert mind.effects == (do.AskGates("arm"),), mind.told
    mind.hear(NOTHING)
    mind.hear(ev.GatesAnswered("arm", (closed("backup", "gate"),)))
    assert mind.effects == (do.Arm(),), "the operator's word on gates stands"


def test_a_request_that_is_taken_back_takes_its_node_out_of_the_queue():
    mind = queued(owes={"provider": "request", "request": "req-1"}, needs={}, request=REQUEST)
    mind.hear(ev.Tick(), wait=70)
    assert do.SteadyLook() in mind.effects
    mind.hear(found(request=None, start=False))
    assert mind.effects == (do.CancelTicket(),)
    assert mind.owed.called_off == "withdrawn"


def test_a_request_that_was_replaced_is_the_one_that_is_served():
    mind = queued(owes={"provider": "request", "request": "req-1"}, needs={}, request=REQUEST)
    mind.hear(found(request=replace(REQUEST, identity="req-2"), start=False))
    assert isinstance(mind.state, Queued)
    assert mind.owed.request == "req-2"


# ---------------------------------------------------------------- a store that was emptied


def test_who_knows_the_store_does_not_set_it_up_again_when_it_is_empty():
    """Another node may be rebooting under a slot that was wiped out with it."""
    mind = Mind(agent(None, ledger()))
    mind.hear(ev.FoundAtStart(known=False))
    assert isinstance(mind.state, Unready)
    assert "set-max" in mind.told.text


def test_a_new_store_is_set_up_by_who_has_only_known_another_one():
    mind = Mind(agent(None, ledger(home=replace(HOME, store="sqlite:///another"))))
    mind.hear(ev.FoundAtStart(known=False))
    assert mind.effects == (do.SetUpStore(),)


# ---------------------------------------------------------------- a lost journal


@pytest.mark.parametrize("phase", ["acquired", "draining", "armed"])
def test_without_its_journal_a_drained_node_is_brought_back_by_every_undo_hook(phase):
    mind = Mind(agent(None, ledger(home=None), needs={}))
    mind.hear(found(slot(phase=phase)))
    if phase == "armed":
        mind.hear(ev.PendingSeen(None))
        mind.hear(ev.PhaseMarked("draining", slot(phase="draining")))
    assert mind.effects == (do.StopHook(), do.ListHooks("undo"))
    mind.hear(ev.HooksListed("undo", ("10-a", "20-b")))
    assert mind.effects == (do.RunHook("undo", "20-b"),)
    mind.hear(ev.HookEnded("undo", "20-b", None))
    assert mind.effects == (do.RunHook("undo", "10-a"),)
    mind.hear(ev.HookEnded("undo", "10-a", None))
    assert do.Release() in mind.effects


# ---------------------------------------------------------------- a full disk


def test_a_release_that_the_journal_could_not_name_is_explained_to_the_next_start():
    world = World()
    actor = world.actor("agent@n1")
    held = world.holding(actor, "n1")
    release(actor, held, unwritten="no space left")
    record = start(actor, "n1", "", None).unlocked
    mind = Mind(agent(None, ledger(owed(token=held.token))))
    mind.hear(found(unlocked=record.tokens))
    assert isinstance(mind.state, Undoing)
    release(actor, world.holding(actor, "n1"))
    assert start(actor, "n1", "", None).unlocked == record, "with a journal nothing is left behind"


def test_what_was_well_in_an_earlier_boot_is_no_proof_in_this_one():
    """The release failed, power was cut, the disk was full in the new boot, and the process was started again (seed 77)."""
    owes = owed(stage=Stage.RELEASING, boot="boot-1/0", verify_boot=BOOT, result="healthy")
    mind = Mind(agent(None, ledger(owes, boot=BOOT), boot=NEXT_BOOT))
    mind.hear(found(slot(phase="verifying", boot=NEXT_BOOT)))
    assert isinstance(mind.state, Verifying)
    assert do.Release() not in mind.effects


def test_a_release_that_was_late_explains_where_the_slot_went():
    """Sent, and nobody heard of it; in the next boot the holder still stood, then the release arrived (seed 1257)."""
    owes = owed(stage=Stage.RELEASING, boot="boot-1/0", verify_boot=OLD_BOOT, result="healthy", given_back=True)
    mind = Mind(agent(None, ledger(owes, boot=BOOT), boot=BOOT))
    mind.hear(found(slot(phase="verifying", boot=OLD_BOOT)))
    assert mind.owed.stage == Stage.VERIFYING
    again = Mind(agent(None, mind.book, boot=BOOT))
    again.hear(found(None))
    assert isinstance(again.state, Verifying), again.told
    assert again.state.slot_gone


@pytest.mark.parametrize("boot", [BOOT, NEXT_BOOT])
def test_whoever_begins_to_release_remembers_it(boot):
    owes = owed(stage=Stage.VERIFYING, boot="boot-1/0", verify_boot=boot)
    turned, effects = begin_release(agent(Verifying(0.0), ledger(owes, boot=boot), boot=boot), at(5), "healthy")
    assert turned.owed.given_back
    assert do.Release() in effects


# ---------------------------------------------------------------- clocks and words


@pytest.mark.parametrize(
    "book",
    [ledger(last_ours=NOON + timedelta(days=9000)), ledger(cooldown_until=NOON + timedelta(days=9000))],
    ids=["min_interval", "cooldown"],
)
def test_what_a_wrong_clock_once_wrote_does_not_block_for_years(book):
    mind = Mind(agent(Steady(), book))
    mind.hear(says(staged()))
    mind.hear(ev.GatesAnswered("queue", ()))
    assert isinstance(mind.state, Queued)


def test_a_strategy_that_is_off_says_the_same_at_each_poll():
    mind = Mind(agent(Steady(), policy=policy(strategy=Strategy.OFF)))
    seen = set()
    for _ in range(3):
        mind.hear(says(staged()), wait=60)
        mind.hear(ev.GatesAnswered("queue", ()))
        seen.add(mind.state)
    assert len(seen) == 1, "each difference is a write of the registry record"


def test_who_waits_for_a_guard_that_does_not_exist_yet_watches_the_ticket_in_front():
    world = World()
    attempts = [world.attempt(actor := world.actor(f"agent@n{n}"), f"n{n}", "new") for n in (1, 2)]
    for attempt in attempts:
        world.queued(actor, attempt)
    standing = claim(actor, attempts[1], Patience())
    assert isinstance(standing, InLine)
    assert attempts[0].ticket_key in [key for key, _ in standing.watches]


# ---------------------------------------------------------------- a provider that cannot say after a restart


def restarted(*answers) -> Mind:
    """In the middle of a drain the process is started again; then the providers answer this."""
    book = ledger(owed(), wanted={"file": "fp-1", "other": "fp-9"})
    mind = Mind(agent(None, book, needs={}))
    mind.hear(says(*answers))
    mind.hear(found(slot(phase="draining")))
    return mind


@pytest.mark.parametrize("name", ["file", "other"])
def test_a_provider_that_cannot_say_after_a_restart_withdraws_nothing(name):
    silent = NeedUnknown(name, "no answer")
    mind = restarted(silent)
    mind.hear(says(silent))
    assert isinstance(mind.state, Draining)
    assert mind.book.wanted[name], "the loop guard needs it after the reboot"
    mind.hear(says(NotNeeded(name)))
    assert isinstance(mind.state, Undoing)


def test_a_provider_that_never_wanted_anything_keeps_no_reboot_alive():
    mind = restarted(staged(), NeedUnknown("third", "no answer"))
    mind.hear(says(NotNeeded("file"), NeedUnknown("third", "no answer")))
    assert isinstance(mind.state, Undoing)


# ---------------------------------------------------------------- slots that operators took


def test_a_node_finds_out_what_became_of_its_slot_though_it_was_held_by_hand_since():
    """Dead: taken by force; repaired: held by hand and unlocked; then it boots, and its journal owes the first one."""
    world = World()
    actor = world.actor("agent@n1")
    held = world.holding(actor, "n1")
    force_unlock(world.operator, "n1", "it is off", armed_too=True)
    for _ in range(3):
        lock(
            world.operator, "n1", "n1", "web", "repair",
            wait=False, patience=None, progress=lambda _: None, stop=threading.Event(),
        )  # fmt: skip
        force_unlock(world.operator, "n1", "repaired", armed_too=False)
    mind = Mind(agent(None, ledger(owed(token=held.token, boot="boot-1/0", stage=Stage.ARMED))))
    mind.hear(replace(found_event(actor, start(actor, "n1", "", None), start=True), identity="store-1"))
    assert isinstance(mind.state, Verifying), mind.told
    assert mind.state.slot_gone
