"""The sentences that an agent says of itself."""

from datetime import UTC, datetime, timedelta

import pytest

from locksmith.core.facts import Moment, Policy
from locksmith.core.ledger import Home, Ledger
from locksmith.core.states import Agent, Verifying
from locksmith.core.telling import tell
from locksmith.core.verdict import Answer, Open

AT = Moment(datetime(2026, 1, 1, tzinfo=UTC), 100.0)


def verifying(state: Verifying, *, health: tuple[Answer, ...] = (), dwell: float = 30) -> str:
    policy = Policy("web", ("group/web",), Home(store="memory:", prefix="", node="n1"), dwell=timedelta(seconds=dwell))
    return tell(Agent(policy, "boot-1", "", Ledger(), state, AT, health=health)).text


@pytest.mark.parametrize(
    ("healthy_since", "health", "expected"),
    [
        (None, (), "rebooted, health must hold for 30 s"),
        (100.0, (), "rebooted, health must hold for 30 s (health: nothing configured)"),
        (100.0, (Answer("app", "health", Open()),), "rebooted, health must hold for 30 s"),
    ],
)
def test_nothing_configured_is_said_only_once_health_was_asked(
    healthy_since: float | None, health: tuple[Answer, ...], expected: str
):
    assert verifying(Verifying(90.0, healthy_since=healthy_since), health=health) == expected


def test_a_dwell_below_a_second_is_not_nothing():
    assert verifying(Verifying(90.0), dwell=0.5) == "rebooted, health must hold for 0.5 s"
