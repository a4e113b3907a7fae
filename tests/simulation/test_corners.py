"""Corners that a review of the machine against its design found, each driven event by event over hours of virtual time."""

import pytest

from locksmith.core import effects as do
from locksmith.core import events as ev
from locksmith.core.ledger import Stage
from locksmith.core.states import Releasing, Steady, Verifying
from tests.fakes.mind import NEXT_BOOT, Mind, agent, at, closed, ledger, opened, owed

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
