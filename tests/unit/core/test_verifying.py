"""A new boot: post hooks, health for the dwell time, the deadline; Failed, and back."""

from dataclasses import replace
from datetime import timedelta

import pytest

from locksmith.core import effects as do
from locksmith.core import events as ev
from locksmith.core.ledger import LastReboot, Stage
from locksmith.core.needs import NotNeeded
from locksmith.core.states import Failed, Releasing, Steady, Unready, Verifying
from tests.fakes.mind import (
    BOOT,
    NODE,
    NOON,
    NOTHING,
    OLD_BOOT,
    UPTIME,
    Mind,
    agent,
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

WELL = ev.HealthAnswered((opened("app", "health"),))
ILL = ev.HealthAnswered((opened("net", "health"), closed("app", "health")))
QUICK = {"dwell": timedelta(seconds=30), "deadline": timedelta(seconds=600)}


def booted(*, hooks: tuple[str, ...] = (), marked: bool = True, **changes) -> Mind:
    """The machine has rebooted with an armed slot; without hooks health is being asked."""
    rules = policy(**{**QUICK, **changes.pop("rules", {})})
    owes = {"stage": Stage.ARMED, "boot": OLD_BOOT, **changes.pop("owes", {})}
    book = ledger(owed(**owes), boot=OLD_BOOT, last=LastReboot(at=NOON, result=""))
    mind = Mind(agent(None, book, policy=rules, **{"needs": {}, **changes}))
    held = slot(phase="armed", boot=OLD_BOOT)
    mind.hear(ev.Begin(), NOTHING, found(held))
    if marked:
        mind.hear(ev.PhaseMarked("verifying", slot(phase="verifying", boots=1, mod=12)))
    mind.hear(ev.HooksListed("post-reboot", hooks))
    return mind


def failed(mind: Mind) -> str:
    """The check that it failed by."""
    assert isinstance(mind.state, Failed), mind.state
    return mind.state.check


# ------------------------------------------------------------------------------------------------ post hooks


def test_post_hooks_run_in_order_before_health_is_asked():
    mind = booted(hooks=("10-a", "20-b"))
    assert mind.effects == (do.RunHook("post-reboot", "10-a"),)
    assert "10-a" in mind.told.text
    assert mind.hear(ev.HookEnded("post-reboot", "10-a", None)) == (do.RunHook("post-reboot", "20-b"),)
    assert mind.hear(ev.HookEnded("post-reboot", "20-b", None)) == (do.AskHealth(),)
    assert mind.owed.post_done == ("10-a", "20-b")


def test_a_post_hook_that_fails_means_not_healthy_and_is_tried_again():
    mind = booted(hooks=("10-a",))
    assert mind.hear(ev.HookEnded("post-reboot", "10-a", "exit code 1")) == ()
    assert "hook 10-a: exit code 1" in mind.told.text
    assert mind.wake() == (do.RunHook("post-reboot", "10-a"),)
    assert mind.hear(ev.HookEnded("post-reboot", "10-a", None)) == (do.AskHealth(),)


def test_a_post_hook_that_keeps_failing_fails_at_the_deadline():
    mind = booted(hooks=("10-a",))
    for _ in range(40):
        mind.hear(ev.HookEnded("post-reboot", "10-a", "exit code 1"))
        if do.MarkFailed("hook 10-a") in mind.wake():
            break
    assert failed(mind) == "hook 10-a"
    assert 600 <= mind.after <= 640


def test_hooks_that_cannot_be_listed_mean_not_healthy_are_listed_again_and_fail_at_the_deadline():
    start = Mind(agent(None, ledger(owed(stage=Stage.ARMED, boot=OLD_BOOT), boot=OLD_BOOT), needs={}))
    start.hear(ev.Begin(), NOTHING, found(slot(phase="armed", boot=OLD_BOOT)))
    for _ in range(60):
        assert start.hear(ev.HookEnded("post-reboot", "post-reboot.d", "cannot be read")) == ()
        if do.ListHooks("post-reboot") not in start.wake():
            break
    assert failed(start) == "hook post-reboot.d"
    assert start.wake() == (do.MarkFailed("hook post-reboot.d"), do.ListHooks("post-reboot"))


@pytest.mark.parametrize("event", [ev.Poke(), ev.Tick(), NOTHING])
def test_hooks_that_are_being_listed_or_run_are_not_begun_twice(event):
    mind = Mind(agent(None, ledger(owed(stage=Stage.ARMED, boot=OLD_BOOT), boot=OLD_BOOT), needs={}))
    mind.hear(ev.Begin(), NOTHING, found(slot(phase="armed", boot=OLD_BOOT)))
    assert mind.hear(event) == ()
    mind.hear(ev.HooksListed("post-reboot", ("10-a",)))
    assert mind.hear(event) == ()
    mind.hear(ev.HookEnded("post-reboot", "10-a", None))
    assert mind.hear(event) == ()


# ------------------------------------------------------------------------------------------------ health


def test_health_must_hold_for_the_dwell_time():
    mind = booted()
    assert mind.effects == (do.AskHealth(),)
    mind.hear(WELL)
    well_since = mind.after
    asked = 0
    while isinstance(mind.state, Verifying):
        assert mind.wake() == (do.AskHealth(),)
        mind.hear(WELL)
        asked += 1
    assert isinstance(mind.state, Releasing)
    assert mind.effects == (do.UnwatchHolder(), do.Release())
    assert 30 <= mind.after - well_since < 36
    assert asked >= 5
    assert mind.owed.result == "healthy"


def test_without_health_checks_the_boot_and_the_dwell_time_are_the_proof():
    mind = booted()
    mind.hear(ev.HealthAnswered(()))
    while isinstance(mind.state, Verifying):
        mind.wake()
        mind.hear(ev.HealthAnswered(()))
    assert mind.owed.result == "healthy"


@pytest.mark.parametrize("answer", [ILL, ev.HealthAnswered((unknown("app", "health"),))])
def test_one_bad_answer_begins_the_dwell_time_anew(answer):
    mind = booted()
    mind.hear(WELL)
    mind.wake()
    mind.hear(answer)
    assert isinstance(mind.state, Verifying)
    assert mind.state.healthy_since is None
    assert mind.state.check == "app"
    assert "app" in mind.told.text
    mind.wake()
    mind.hear(WELL)
    assert mind.state.healthy_since == mind.moment.boottime if isinstance(mind.state, Verifying) else False


def test_not_well_by_the_deadline_is_failed_and_keeps_the_slot():
    mind = booted()
    while isinstance(mind.state, Verifying):
        mind.hear(ILL)
        if isinstance(mind.state, Verifying):
            mind.wake()
    assert mind.effects == (do.MarkFailed("app"),)
    assert failed(mind) == "app"
    assert 600 <= mind.after <= 601
    assert mind.book.reboots == {"failed": 1}
    assert (mind.owed.token, mind.owed.check) == (7, "app")
    assert "keeps its slot" in mind.told.text


def test_well_before_the_deadline_may_dwell_beyond_it():
    mind = booted(rules={"deadline": timedelta(seconds=40)})
    mind.hear(ILL)
    mind.hear(ev.Tick(), wait=35)
    mind.hear(WELL)
    while isinstance(mind.state, Verifying):
        mind.wake()
        mind.hear(WELL)
    assert mind.owed.result == "healthy"
    assert mind.after >= 65


def test_the_deadline_is_that_of_the_boot_and_not_of_the_process():
    book = owed(stage=Stage.VERIFYING, boot=OLD_BOOT, verify_boot=BOOT, verify_since=UPTIME - 599)
    mind = Mind(agent(None, ledger(book), needs={}))
    mind.hear(ev.Begin(), NOTHING, found(slot(phase="verifying")), ev.HooksListed("post-reboot", ()), ILL)
    assert isinstance(mind.state, Verifying)
    mind.wake()
    mind.hear(ILL)
    assert failed(mind) == "app"
    assert mind.after <= 1


def test_a_poke_asks_health_at_once():
    mind = booted()
    mind.hear(ILL)
    assert mind.hear(ev.Poke()) == (do.AskHealth(), do.SteadyLook())


# ------------------------------------------------------------------------------------------------ the store


def test_it_verifies_without_the_store_and_tells_it_later():
    mind = booted(marked=False)
    mind.hear(ev.StoreFailed("mark", "unavailable", "no answer"), WELL)
    assert mind.hear(ev.Poke()) == (do.AskHealth(), do.SteadyLook())  # not told at once again
    seen: list[do.Effect] = []
    while isinstance(mind.state, Verifying):
        mind.hear(WELL)
        if isinstance(mind.state, Verifying):
            seen += mind.wake()
    assert do.MarkPhase("verifying") in seen
    assert isinstance(mind.state, Releasing)


def test_a_slot_that_is_gone_is_verified_and_not_released():
    mind = booted(marked=False)
    mind.hear(ev.SlotGone(), WELL)
    assert do.MarkPhase("verifying") not in mind.wake()
    while isinstance(mind.state, Verifying):
        mind.hear(WELL)
        if isinstance(mind.state, Verifying):
            mind.wake()
    assert isinstance(mind.state, Steady)
    assert mind.book.reboots == {"healthy": 1}
    assert mind.agent.owed is None


def test_without_a_slot_the_deadline_only_says_so():
    mind = booted(marked=False)
    mind.hear(ev.SlotGone())
    for _ in range(140):
        mind.hear(ILL)
        mind.wake()
    assert isinstance(mind.state, Verifying)
    assert "not healthy yet" in mind.told.text


# ------------------------------------------------------------------------------------------------ a store that was restored


def ailing(*, by_the_deadline: bool) -> Mind:
    return failing() if by_the_deadline else booted()


def failing() -> Mind:
    mind = ill()
    mind.hear(ev.PhaseMarked("failed", slot(phase="failed")))
    return mind


@pytest.mark.parametrize("by_the_deadline", [False, True])
def test_a_node_that_is_not_well_looks_at_the_store_now_and_then(by_the_deadline):
    mind = ailing(by_the_deadline=by_the_deadline)
    looks, begun = 0, mind.after
    while mind.after < begun + 1200:
        mind.hear(ILL if by_the_deadline else WELL)
        if isinstance(mind.state, Releasing):
            break
        looks += mind.wake().count(do.SteadyLook())
    assert 3 <= looks <= 5 if by_the_deadline else looks == 0  # nobody else needs one: it is well within the dwell time
    mind.hear(found(slot(), start=False))
    assert isinstance(mind.state, Failed if by_the_deadline else Releasing)


@pytest.mark.parametrize("by_the_deadline", [False, True])
@pytest.mark.parametrize("event", [found(epoch=2, start=False), ev.SlotGone(2)])
def test_in_a_new_epoch_a_node_that_is_not_well_puts_its_slot_back(by_the_deadline, event):
    mind = ailing(by_the_deadline=by_the_deadline)
    assert mind.hear(event) == (do.Recover(f"q/web/{NODE}"),)
    assert mind.hear(found(epoch=2)) == (do.PutHolderBack(),)
    mind.hear(ev.PutBack(slot(token=99, boot=OLD_BOOT)), found(slot(token=99, boot=OLD_BOOT), epoch=2))
    assert isinstance(mind.state, Verifying)
    assert mind.effects == (do.MarkPhase("verifying"), do.ListHooks("post-reboot"))
    assert mind.owed.token == 99
    mind.hear(found(slot(token=99), epoch=2, start=False))
    assert isinstance(mind.state, Verifying)


@pytest.mark.parametrize("event", [ev.SlotGone(1), ev.SlotGone()])
def test_in_the_same_epoch_an_operator_took_it(event):
    mind = failing()
    mind.hear(event, replace(found(epoch=1), unlocked=(str(mind.owed.token),)))
    assert isinstance(mind.state, Steady)
    assert mind.agent.owed is None


# ------------------------------------------------------------------------------------------------ boot loops


@pytest.mark.parametrize(("boots", "is_loop"), [(1, False), (3, False), (4, True)])
def test_more_than_three_boots_without_health_is_failed_at_once(boots, is_loop):
    mind = booted(marked=False)
    mind.hear(ev.PhaseMarked("verifying", slot(phase="verifying", boots=boots)))
    assert isinstance(mind.state, Failed) is is_loop
    if is_loop:
        assert mind.effects == (do.MarkFailed("boot loop"),)
        assert "4 boots" in mind.told.text


def test_a_boot_loop_does_not_begin_the_running_hook_a_second_time():
    mind = booted(hooks=("10-a", "20-b"), marked=False)
    assert mind.effects == (do.RunHook("post-reboot", "10-a"),)
    mind.hear(ev.PhaseMarked("verifying", slot(phase="verifying", boots=4)))
    assert failed(mind) == "boot loop"
    assert do.RunHook("post-reboot", "10-a") not in mind.wake()
    assert mind.hear(ev.HookEnded("post-reboot", "10-a", None)) == (do.RunHook("post-reboot", "20-b"),)


# ------------------------------------------------------------------------------------------------ rollback

NEW = {"origin": "v1", "target": "v2", "provider": "file"}


def rolled_back(rollback_holds: bool, **changes) -> Mind:
    mind = booted(owes=NEW, rules={"rollback_holds": rollback_holds, "deadline": timedelta(seconds=100)}, **changes)
    mind.hear(says(NotNeeded("file", "v1")))
    return mind


def test_the_old_version_holds_the_slot_when_the_configuration_says_so():
    mind = rolled_back(True)
    while isinstance(mind.state, Verifying):
        mind.hear(WELL)
        if isinstance(mind.state, Verifying):
            mind.wake()
    assert failed(mind) == "rollback"
    assert "v1 instead of v2" in mind.told.text


def test_the_old_version_is_only_recorded_when_the_configuration_says_so():
    mind = rolled_back(False)
    while isinstance(mind.state, Verifying):
        mind.hear(WELL)
        if isinstance(mind.state, Verifying):
            mind.wake()
    assert isinstance(mind.state, Releasing)
    mind.hear(ev.ReleaseDone())
    assert mind.book.reboots == {"rolled_back": 1}
    assert mind.book.last is not None
    assert (mind.book.last.result, mind.book.last.came_as) == ("rolled_back", "v1")


@pytest.mark.parametrize(
    ("owes", "answer"),
    [
        (NEW, NotNeeded("file", "v2")),
        (NEW, NotNeeded("file")),
        ({**NEW, "origin": None}, NotNeeded("file", "v1")),
        ({**NEW, "target": None}, NotNeeded("file", "v1")),
        ({**NEW, "target": "v1"}, NotNeeded("file", "v1")),
        ({**NEW, "result": "unsanctioned", "stage": Stage.HELD}, NotNeeded("file", "v1")),
    ],
)
def test_what_is_no_rollback(owes, answer):
    mind = booted(owes=owes)
    mind.hear(says(answer), WELL)
    while isinstance(mind.state, Verifying):
        mind.wake()
        mind.hear(WELL)
    assert mind.owed.result == owes.get("result", "healthy")


def test_a_need_that_still_names_the_old_version_is_a_rollback_too():
    mind = booted(owes=NEW)
    mind.hear(says(staged()), WELL)
    assert isinstance(mind.state, Verifying)
    assert mind.state.check == "rollback"


# ------------------------------------------------------------------------------------------------ failed, and back


def ill(**changes) -> Mind:
    mind = booted(**changes)
    while isinstance(mind.state, Verifying):
        mind.hear(ILL)
        if isinstance(mind.state, Verifying):
            mind.wake()
    return mind


def test_a_failed_node_goes_on_asking_and_releases_when_it_is_well_again():
    mind = ill()
    mind.hear(ev.PhaseMarked("failed", slot(phase="failed")))
    for _ in range(3):
        assert [effect for effect in mind.wake() if effect != do.SteadyLook()] == [do.AskHealth()]
        mind.hear(ILL)
    mind.wake()
    mind.hear(WELL)
    assert isinstance(mind.state, Failed)  # the dwell time counts here too
    while isinstance(mind.state, Failed):
        mind.wake()
        mind.hear(WELL)
    assert mind.effects == (do.UnwatchHolder(), do.Release())
    mind.hear(ev.ReleaseDone())
    assert mind.book.reboots == {"failed": 1, "recovered": 1}
    assert mind.book.last is not None
    assert mind.book.last.result == "recovered"
    assert (mind.book.failures, mind.book.cooldown_until) == (0, None)


def test_the_brake_is_told_until_it_is_confirmed():
    mind = ill()
    mind.hear(ev.StoreFailed("mark", "unavailable", "no answer"))
    assert mind.wake() == (do.MarkFailed("app"), do.AskHealth())
    mind.hear(ILL, ev.PhaseMarked("failed", slot(phase="failed")))
    assert do.MarkFailed("app") not in mind.wake()


def test_a_failed_slot_that_an_operator_took_is_counted_once():
    mind = ill()
    token = mind.owed.token
    assert mind.hear(ev.SlotGone()) == (do.Recover(mind.owed.ticket),)
    mind.hear(replace(found(), unlocked=(str(token),)))
    assert isinstance(mind.state, Steady)
    assert mind.agent.owed is None
    assert mind.book.reboots == {"failed": 1}
    assert mind.book.last.result == "failed"


def test_a_failed_node_that_becomes_well_while_the_store_is_away_has_recovered():
    mind = ill()
    mind.hear(ev.SlotGone(), ev.StoreFailed("recover", "unavailable", "away"))
    assert isinstance(mind.state, Verifying)
    while isinstance(mind.state, Verifying):
        mind.hear(ev.HooksListed("post-reboot", ()), WELL)
        if isinstance(mind.state, Verifying):
            mind.wake()
    assert isinstance(mind.state, Releasing)
    assert mind.owed.result == "recovered"


def test_a_failed_slot_that_nothing_explains_is_owed_on():
    """Between an in-place restore of the store and `lockctl restored`; then the slot is put back."""
    mind = ill()
    mind.hear(ev.SlotGone(), found())
    assert isinstance(mind.state, Unready)
    assert "lockctl restored" in mind.state.cause
    assert mind.owed is not None
    mind.wake()
    assert do.PutHolderBack() in mind.hear(replace(found(), epoch=found().epoch + 1))


def test_a_failed_node_that_starts_again_asks_hooks_and_health():
    mind = Mind(agent(None, ledger(owed(stage=Stage.VERIFYING, boot=OLD_BOOT, verify_boot=BOOT)), needs={}))
    mind.hear(ev.Begin(), NOTHING, found(slot(phase="failed")))
    assert mind.hear(ev.Poke()) == ()
    assert mind.hear(ev.HooksListed("post-reboot", ("10-a",))) == (do.RunHook("post-reboot", "10-a"),)
    assert mind.hear(ev.HookEnded("post-reboot", "10-a", None)) == (do.AskHealth(),)
    mind.hear(WELL)
    assert isinstance(mind.state, Failed)


# ------------------------------------------------------------------------------------------------ how it came to be


def test_a_reboot_that_nobody_asked_for_is_verified_and_counted_once():
    mind = booted(owes={"stage": Stage.HELD})
    mind.hear(WELL)
    while isinstance(mind.state, Verifying):
        mind.wake()
        mind.hear(WELL)
    mind.hear(ev.ReleaseDone())
    assert mind.book.reboots == {"unsanctioned": 1}


def test_how_long_it_took_is_kept():
    mind = booted()
    mind.hear(WELL)
    while isinstance(mind.state, Verifying):
        mind.wake()
        mind.hear(WELL)
    mind.hear(ev.ReleaseDone(), wait=5)
    assert mind.book.last is not None
    assert mind.book.last.phases["verifying"] == pytest.approx(mind.after)
