"""What the agent on this machine says, when the store does not answer."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from locksmith.errors import Damaged
from locksmith.semaphore.explanation import Explanation, alone

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NEEDED = {"step": "update", "name": "apt", "state": "passed", "reason": "linux-image"}
SHUT = {"step": "window", "name": "night", "state": "closed", "kind": "window", "reason": "opens late"}


def hear(*steps: dict[str, Any], running: bool = True, **more: Any) -> Explanation:
    written = (NOW - timedelta(hours=1)).isoformat()
    raw = {
        "node": "n1",
        "group": "web",
        "time": written,
        "verdict": "waiting",
        "summary": "it waits",
        "steps": list(steps),
    }
    return alone({**raw, **more}, "h1", NOW, "no endpoint answers", running=running)


def answers(found: Explanation) -> list[tuple[str, str | None]]:
    return [(step.step, step.kind) for step in found.steps if step.state != "passed"]


def test_what_the_agent_knows_comes_first_and_then_the_store() -> None:
    found = hear(NEEDED, SHUT)
    assert answers(found) == [("window", "window"), ("queue", "store")]
    assert (found.source, found.verdict, found.summary, found.seen) == ("agent", "waiting", "h1: it waits", NOW)
    assert found.steps[-1].reason == "no endpoint answers"
    assert (found.node, found.host, found.group, found.silent) == ("n1", "h1", "web", False)


def test_an_agent_that_knows_it_already_is_not_contradicted() -> None:
    away = {"step": "queue", "name": "store", "state": "closed", "kind": "store", "reason": "away since noon"}
    found = hear(NEEDED, away)
    assert answers(found) == [("queue", "store")]
    assert found.steps[-1].reason == "away since noon"


def test_who_has_a_slot_goes_on_without_the_store() -> None:
    held = {"step": "slot", "name": "group/web", "state": "passed"}
    sick = {"step": "health", "name": "app", "state": "closed", "kind": "health"}
    assert answers(hear(NEEDED, held, sick, verdict="verifying")) == [("health", "health")]


def test_an_agent_that_does_not_run_is_the_answer() -> None:
    found = hear(NEEDED, SHUT, running=False)
    assert answers(found) == [("agent", "silent"), ("window", "window"), ("queue", "store")]
    assert (found.verdict, found.silent, found.seen) == ("unknown", True, NOW - timedelta(hours=1))
    assert found.summary == "h1: its agent does not run; this is what it last said: it waits"


def test_a_word_of_a_newer_agent_is_unknown() -> None:
    assert hear(NEEDED, verdict="napping").verdict == "unknown"


@pytest.mark.parametrize("broken", [{"node": 7}, {"time": "yesterday"}, {"time": None}, {"steps": "many"}])
def test_what_is_no_status_is_refused(broken: dict[str, Any]) -> None:
    with pytest.raises(Damaged):
        hear(NEEDED, **broken)


def test_steps_that_are_none_are_left_out() -> None:
    assert answers(hear(NEEDED, "nonsense")) == [("queue", "store")]  # type: ignore[arg-type]
