"""How long the phases of a reboot took, as the journal keeps it for the metrics."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from locksmith.core.attempt import finish
from locksmith.core.facts import Moment, Policy, SlotFact
from locksmith.core.ledger import Home, LastReboot, Ledger, Owed
from locksmith.core.states import Agent, Releasing

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


OWED = Owed(
    node="n1", nonce="x", group="web", limits=("group/web",), stage="releasing", boot="b1", since=NOON, token=7,
    armed_at=after(130), verify_boot="b2", verify_since=20.0, result="healthy",
)  # fmt: skip
SLOT = SlotFact(7, "x", "web", ("group/web",), "verifying", "b2", since=after(100))
LAST = LastReboot(at=after(200), result="")


def phases(owed: Owed, slot: SlotFact | None, last: LastReboot | None = LAST) -> dict[str, float]:
    policy = Policy("web", ("group/web",), Home(store="memory:", prefix="p", node="n1"))
    at = Moment(after(240), 55.0)
    agent, _ = finish(Agent(policy, "b2", "f", Ledger(owed=owed, last=last), Releasing(), at, slot=slot), at)
    assert agent.ledger.last is not None
    return dict(agent.ledger.last.phases)


def test_all_four():
    assert phases(OWED, SLOT) == {"queued": 100, "draining": 30, "down": 70, "verifying": 35}


@pytest.mark.parametrize(
    ("owed", "slot", "known"),
    [
        (OWED, None, {"down", "verifying"}),
        (replace(OWED, armed_at=None, result="unsanctioned"), SLOT, {"queued", "verifying"}),
        (replace(OWED, slotless=True, token=None), None, {"queued", "draining", "down", "verifying"}),
    ],
    ids=["the slot was never seen again", "not ours", "without a slot"],
)
def test_only_what_has_two_ends(owed, slot, known):
    assert set(phases(owed, slot)) == known


def test_a_clock_that_was_set_back_gives_no_negative_length():
    assert phases(OWED, SLOT, replace(LAST, at=after(-3600)))["down"] == 0


def test_a_phase_of_an_earlier_reboot_is_not_kept():
    assert "queued" not in phases(OWED, None, replace(LAST, phases={"queued": 5.0}))
