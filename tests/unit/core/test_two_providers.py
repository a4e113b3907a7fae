"""Two providers in one agent, as on Debian, where the flag file and needrestart often name the same kernel."""

from dataclasses import replace
from datetime import timedelta

import pytest

from locksmith.core import effects as do
from locksmith.core import events as ev
from locksmith.core.ledger import Stage
from locksmith.core.needs import Need, NeedUnknown, NotNeeded
from locksmith.core.states import Blocked, Draining, Queued, Starting, Steady, Undoing
from locksmith.core.turn import reason_now
from tests.fakes.mind import (
    NEXT_BOOT,
    NOON,
    OLD_BOOT,
    REQUEST,
    TOKEN,
    Mind,
    agent,
    found,
    ledger,
    owed,
    policy,
    says,
    slot,
    staged,
)

FLAG, TOOL = "flag", "needrestart"
OLD, NEW = "6.1.0-27-amd64", "6.1.0-28-amd64"
OPEN = ev.GatesAnswered("queue", ())


def flag(fingerprint: str = "flag-1") -> Need:
    """/run/reboot-required: it knows packages and no target."""
    return replace(staged(fingerprint, FLAG), origin=OLD, target=None)


def tool(fingerprint: str = "tool-1") -> Need:
    """needrestart: it knows both versions."""
    return replace(staged(fingerprint, TOOL), origin=OLD, target=NEW)


def not_needed(name: str, running: str = NEW) -> NotNeeded:
    return NotNeeded(name, running=running)


def booted(*answers: Need | NotNeeded | NeedUnknown, spent: dict[str, str] | None = None) -> Mind:
    """A boot after which nothing is owed, before which both wanted it, and what they say now."""
    book = ledger(wanted={FLAG: "flag-1", TOOL: "tool-1"}, spent=spent or {}, boot=OLD_BOOT)
    mind = Mind(agent(Starting(), book, needs={}))
    mind.hear(ev.Begin(), says(*answers), found())
    return mind


def queued(*needs: Need, spent: dict[str, str] | None = None, **changes) -> Mind:
    """In the line for what is needed."""
    mind = Mind(agent(Steady(), ledger(spent=spent or {}), needs={}, **changes))
    mind.hear(says(*needs), OPEN, ev.Tick(), ev.EnqueueDone())
    assert isinstance(mind.state, Queued)
    return mind


def why(mind: Mind) -> list[str]:
    assert isinstance(mind.state, Blocked), mind.state
    return [reason.kind for reason in mind.state.reasons]


# ------------------------------------------------------------------------------------------------ one need is enough


@pytest.mark.parametrize("other", [not_needed(FLAG, OLD), NeedUnknown(FLAG, "no answer")])
def test_one_need_is_enough(other):
    mind = queued(tool(), other)
    assert (mind.owed.provider, mind.owed.origin, mind.owed.target) == (TOOL, OLD, NEW)


def test_both_needs_are_one_reboot_and_both_are_named():
    mind = queued(flag(), tool())
    assert mind.owed.reason == f"{FLAG}: linux-image; {TOOL}: linux-image"
    assert mind.book.wanted == {FLAG: "flag-1", TOOL: "tool-1"}


# ------------------------------------------------------------------------------------------------ after the reboot


def test_a_reboot_that_cleared_both_is_the_end():
    mind = booted(not_needed(FLAG), not_needed(TOOL))
    assert mind.state == Steady()
    assert (mind.book.spent, mind.book.wanted) == ({}, {})


@pytest.mark.parametrize(
    ("answers", "stuck"),
    [((flag(), not_needed(TOOL)), FLAG), ((not_needed(FLAG), tool()), TOOL)],
)
def test_one_that_the_reboot_did_not_clear_makes_no_second_reboot(answers, stuck):
    mind = booted(*answers)
    assert isinstance(mind.effects[0], do.AskGates)
    mind.hear(OPEN)
    assert why(mind) == ["loop_guard"]
    assert set(mind.book.spent) == {stuck}
    for _ in range(3):  # and none later, whenever it is asked again
        mind.hear(ev.Tick(), says(*answers), OPEN, wait=3600)
        assert why(mind) == ["loop_guard"]


def fallen_back(*answers: Need | NotNeeded | NeedUnknown) -> Mind:
    """The boot after a reboot of ours that came back on the old version, with the slot given back."""
    attempt = owed(stage=Stage.ARMED, boot=OLD_BOOT, provider=TOOL, fingerprint="tool-1", origin=OLD, target=NEW)
    book = ledger(attempt, wanted={TOOL: "tool-1"}, boot=OLD_BOOT)
    mind = Mind(agent(Starting(), book, policy=policy(rollback_holds=False, min_interval=timedelta(0)), needs={}))
    mind.hear(ev.Begin(), says(*answers), found(slot(phase="armed", boot=OLD_BOOT)))
    mind.hear(ev.PhaseMarked("verifying", slot(phase="verifying")), ev.HooksListed("post-reboot", ()))
    mind.hear(ev.HealthAnswered(()))
    mind.hear(ev.Tick(), ev.HealthAnswered(()), wait=3600)
    mind.hear(ev.ReleaseDone(), found())
    assert mind.book.owed is None
    return mind


@pytest.mark.parametrize("first", [not_needed(TOOL, OLD), NeedUnknown(TOOL, "the service is not up yet")])
def test_an_update_that_fell_back_and_is_staged_again_makes_no_second_reboot(first):
    """Image systems stage a version that did not boot again and again, and say "nothing staged" in between."""
    mind = fallen_back(first)
    for _ in range(3):
        mind.hear(says(not_needed(TOOL, OLD)), wait=3600)
        assert mind.state == Steady()
        mind.hear(says(tool()), OPEN, wait=3600)
        assert why(mind) == ["loop_guard"]
    mind.hear(says(tool("tool-2")), OPEN)
    assert isinstance(mind.state, Queued)  # the next version is another update


def test_what_fell_back_once_may_be_tried_again_when_another_version_runs():
    mind = fallen_back(not_needed(TOOL, OLD))
    mind.hear(says(not_needed(TOOL, NEW)))
    assert mind.book.spent == {}


def test_a_power_cut_after_the_fall_does_not_lift_the_guard():
    mind = fallen_back(not_needed(TOOL, OLD))
    again = Mind(agent(Starting(), mind.book, boot=NEXT_BOOT, policy=policy(min_interval=timedelta(0)), needs={}))
    again.hear(ev.Begin(), says(not_needed(TOOL, OLD)), found(), says(tool()), OPEN)
    assert why(again) == ["loop_guard"]


def test_one_that_cannot_say_after_the_reboot_lifts_no_guard_of_either():
    mind = booted(flag(), NeedUnknown(TOOL, "no answer"))
    mind.hear(OPEN)
    assert why(mind) == ["loop_guard"]
    mind.hear(says(NeedUnknown(FLAG, "no answer"), tool()), OPEN)
    assert why(mind) == ["loop_guard"]


def test_a_loop_through_two_providers_ends_too():
    """Each boot clears the other one's need: the guard of the first is not lifted by the second's reboot."""
    mind = booted(flag(), tool("tool-2"))
    mind.hear(OPEN)
    assert isinstance(mind.state, Queued)  # another update than the one that was spent
    assert (mind.owed.provider, mind.owed.fingerprint) == (TOOL, "tool-2")
    book = replace(mind.book, owed=None)
    again = Mind(agent(Starting(), book, boot=NEXT_BOOT, needs={}))
    again.hear(ev.Begin(), says(flag(), tool("tool-2")), found(), OPEN)
    assert why(again) == ["loop_guard"]
    assert again.book.spent == {FLAG: "flag-1", TOOL: "tool-2"}


def test_something_new_of_one_is_a_reason_while_the_other_is_guarded():
    mind = booted(flag(), tool("tool-2"))
    mind.hear(OPEN)
    assert isinstance(mind.state, Queued)
    assert mind.owed.reason == f"{TOOL}: linux-image"  # what the guard blocks is no reason


def test_the_old_version_after_the_reboot_is_told_by_the_one_that_knows_versions():
    attempt = owed(
        stage=Stage.ARMED,
        boot=OLD_BOOT,
        provider=TOOL,
        fingerprint="tool-1",
        origin=OLD,
        target=NEW,
        attempt="a-1",
        arms=1,
    )
    for answer, healthy in ((not_needed(TOOL, NEW), True), (tool(), False)):
        book = ledger(attempt, wanted={FLAG: "flag-1", TOOL: "tool-1"}, boot=OLD_BOOT)
        mind = Mind(agent(Starting(), book, needs={}))
        mind.hear(ev.Begin(), says(not_needed(FLAG, OLD), answer), found(slot(boot=OLD_BOOT, phase="armed")))
        mind.hear(ev.PhaseMarked("verifying", slot(phase="verifying")), ev.HooksListed("post-reboot", ()))
        mind.hear(ev.HealthAnswered(()))
        assert (getattr(mind.state, "problem", "") == "") is healthy, mind.state


# ------------------------------------------------------------------------------------------------ withdrawn meanwhile


def test_in_the_line_it_stays_while_one_still_needs():
    mind = queued(flag(), tool())
    assert mind.hear(says(not_needed(FLAG, OLD), tool())) == ()
    assert isinstance(mind.state, Queued)
    assert mind.state.leaving is None
    assert mind.hear(says(not_needed(FLAG, OLD), NeedUnknown(TOOL, "no answer"))) == ()
    assert mind.state.leaving is None
    assert mind.hear(says(not_needed(FLAG, OLD), not_needed(TOOL, OLD))) == (do.CancelTicket(),)
    assert mind.owed.called_off == "withdrawn"
    mind.hear(ev.Cancelled(None))
    assert mind.agent.owed is None


def test_in_the_line_it_leaves_when_only_what_the_guard_blocks_is_left():
    mind = queued(flag(), tool("tool-2"), spent={FLAG: "flag-1"})
    assert mind.hear(says(flag(), not_needed(TOOL, OLD))) == (do.CancelTicket(),)
    assert mind.owed.called_off == "withdrawn"
    mind.hear(ev.Cancelled(None), found(), OPEN)
    assert why(mind)[0] == "loop_guard"


def test_in_the_line_it_leaves_when_the_request_is_taken_back_and_the_guard_blocks_the_rest():
    mind = queued(flag(), spent={FLAG: "flag-1"}, request=REQUEST)
    assert mind.hear(found(start=False, request=None)) == (do.CancelTicket(),)
    assert mind.owed.called_off == "withdrawn"


def test_with_the_slot_in_hand_it_gives_back_when_only_what_the_guard_blocks_is_left():
    book = ledger(owed(provider=TOOL, fingerprint="tool-2", token=TOKEN), spent={FLAG: "flag-1"})
    mind = Mind(agent(Draining(pending=()), book, needs={FLAG: flag(), TOOL: tool("tool-2")}, slot=slot()))
    mind.hear(says(flag(), tool("tool-2")))
    assert isinstance(mind.state, Draining)
    mind.hear(says(flag(), not_needed(TOOL, OLD)))
    assert isinstance(mind.state, Undoing)
    assert mind.owed.called_off == "withdrawn"


def test_an_update_that_became_another_one_keeps_its_place():
    mind = queued(flag(), tool())
    assert mind.hear(says(flag("flag-2"), tool("tool-2")), wait=1) == ()
    assert isinstance(mind.state, Queued)
    assert mind.state.leaving is None
    assert mind.agent.needs[TOOL].since == NOON.replace(hour=11)


def test_a_need_that_knows_its_target_speaks_for_all():
    """It alone can tell afterwards that the machine came back as it was."""
    mind = queued(flag(), tool())
    assert (mind.owed.provider, mind.owed.origin, mind.owed.target) == (TOOL, OLD, NEW)
    assert mind.owed.reason == "flag: linux-image; needrestart: linux-image"


def test_why_is_known_before_there_is_an_attempt():
    mind = Mind(agent(Steady(), ledger(), needs={}))
    assert reason_now(mind.agent) == ""
    mind.hear(says(flag(), tool()))
    assert reason_now(mind.agent) == "flag: linux-image; needrestart: linux-image"
    mind = Mind(agent(Steady(), ledger(spent={FLAG: "flag-1"}), needs={}))
    mind.hear(says(flag(), tool()))
    assert reason_now(mind.agent) == "needrestart: linux-image"
