"""One sentence and one list in every state."""

import json
from datetime import datetime, timedelta, timezone

import pytest

from locksmith.core import telling
from locksmith.core.facts import Reason
from locksmith.core.states import (
    STATE_NAMES,
    Blocked,
    Conflicted,
    Draining,
    Queued,
    Releasing,
    Steady,
    Stuck,
    Undoing,
    Unready,
    Verifying,
)
from locksmith.core.steps import STEPS
from locksmith.core.telling import blocked, state_name, steps, tell, verdict
from tests.fakes.mind import NOON, REQUEST, UPTIME, agent, at, closed, ledger, opened, owed, unknown
from tests.unit.core.test_machine import STATES, mind_in

AWAY = {"store_error": "etcd: no answer", "store_down_since": at(-30)}
VERDICTS = {
    "starting": "unknown", "steady": "not_needed", "blocked": "waiting", "queued": "waiting", "standing": "waiting",
    "leaving": "waiting", "draining": "rebooting", "arming": "rebooting", "rebooting": "rebooting", "stuck": "rebooting",
    "disarming": "rebooting", "undoing": "waiting", "verifying": "verifying", "failed": "failed", "releasing": "verifying",
    "retrying": "verifying", "conflicted": "unknown", "unready": "unknown",
}  # fmt: skip


@pytest.mark.parametrize("away", [{}, AWAY])
@pytest.mark.parametrize("name", STATES)
def test_every_state_says_what_it_waits_for(name, away):
    mind = mind_in(name, **away).agent
    told = tell(mind)
    assert told.state == state_name(mind) == STATE_NAMES[type(mind.state)]
    assert told.text
    assert told.text[0].islower() or told.text[0] == "#"
    assert not told.text.endswith(".")
    assert verdict(mind) == VERDICTS[name]
    listed = steps(mind, at())
    assert json.loads(json.dumps(listed)) == [dict(step) for step in listed]
    assert listed
    for step in listed:
        assert step["step"] in STEPS
        assert step["state"] in ("passed", "closed", "unknown")
        assert (step["kind"] is None) or step["state"] != "passed"


@pytest.mark.parametrize("name", ["starting", "standing", "releasing", "arming", "draining"])
def test_a_store_that_is_away_is_said_with_its_since(name):
    told = tell(mind_in(name, **AWAY).agent)
    assert told.kind == "store"
    assert told.text.endswith("the store is away since 2026-03-01T11:59:30Z: etcd: no answer")


def test_a_store_that_is_away_is_no_matter_for_who_does_not_need_it():
    assert tell(mind_in("verifying", **AWAY).agent).kind is None


def test_an_end_in_the_zone_of_a_window_is_said_in_utc():
    opens = datetime(2026, 11, 26, 23, 0, tzinfo=timezone(timedelta(hours=1)))
    told = tell(agent(Blocked((Reason("window", "windows", "closed", NOON, opens),))))
    assert told.text == "closed (until 2026-11-26T22:00:00Z)"


def test_what_blocks_is_said_with_its_end_and_its_remedy():
    first = Reason("gate", "backup", "backup: running", NOON, NOON + timedelta(hours=1))
    second = Reason("hold", "hold", "held by bob: x", NOON, remedy="lockctl resume --node")
    told = tell(agent(Blocked((first, second))))
    assert told.kind == "gate"
    assert told.text == "backup: running (until 2026-03-01T13:00:00Z); held by bob: x [lockctl resume --node]"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"needs": {}}, "no update is staged"),
        ({"needs": {}, "unsure": {"file": "no answer"}}, "no update is known; file cannot say: no answer"),
        ({}, "an update is staged: asking the gates"),
        ({"needs": {}, "request": REQUEST}, "an update is staged: asking the gates"),
    ],
)
def test_steady_says_what_it_knows(changes, text):
    assert tell(agent(Steady(), **changes)).text == text


def test_who_cannot_say_is_not_not_needed():
    assert verdict(agent(Steady(), needs={}, unsure={"file": "x"})) == "unknown"


def test_verifying_says_what_is_not_well():
    made = agent(Verifying(UPTIME, pending=(), problem="exit code 1", check="app"), ledger(owed()))
    assert tell(made).text == "rebooted, not healthy yet: app: exit code 1"


def test_a_call_off_says_why():
    assert "backup: running" in tell(agent(Undoing("gate", "backup: running"), ledger(owed()))).text
    book = ledger(owed(called_off="gate", called_off_reason="backup: running"))
    assert tell(agent(Releasing(), book)).text == "giving the slot back after calling it off (backup: running)"


# ------------------------------------------------------------------------------------------------ the list


def listed(mind) -> list[tuple[str, str, str]]:
    return [(step["step"], step["name"], step["state"]) for step in steps(mind, at())]


def test_nothing_staged_is_one_closed_step():
    assert listed(agent(Steady(), needs={})) == [("update", "", "closed")]
    assert listed(agent(Steady(), needs={}, unsure={"file": "x"})) == [("update", "file", "unknown")]


def test_the_first_step_that_is_not_passed_is_the_answer():
    gates = (opened("windows", "window"), opened("sessions"), closed("backup"), unknown("alerts"))
    reasons = (
        Reason("hold", "hold", "held by bob: x", NOON),
        Reason("gate", "backup", "backup: not now", NOON),
        Reason("gate", "alerts", "alerts: no answer", NOON, unknown=True),
    )
    assert listed(agent(Blocked(reasons), gates=gates)) == [
        ("update", "file", "passed"),
        ("hold", "hold", "closed"),
        ("window", "windows", "passed"),
        ("gate", "backup", "closed"),
        ("gate", "alerts", "unknown"),
        ("gate", "sessions", "passed"),
    ]


@pytest.mark.parametrize(
    ("kind", "step"),
    [("window", "window"), ("clock", "window"), ("hold", "hold"), ("maintenance", "hold"), ("loop_guard", "update"),
     ("cooldown", "gate"), ("min_uptime", "gate"), ("queue_full", "queue"), ("paused", "pause"), ("strategy", "gate")],
)  # fmt: skip
def test_where_a_kind_is_shown(kind, step):
    found = [made for made in listed(agent(Blocked((Reason(kind, kind, "x", NOON),)))) if made[2] == "closed"]
    assert found == [(step, kind, "closed")]


@pytest.mark.parametrize(
    ("kind", "step", "name"), [("queue", "queue", "web"), ("paused", "pause", "paused"), ("halted", "pause", "halted")]
)
def test_a_waiter_shows_what_it_waits_for(kind, step, name):
    waiting = agent(Queued(enqueued=True, kind=kind, reason="x"), ledger(owed(token=None)))
    assert listed(waiting)[-1] == (step, name, "closed")


def test_a_waiter_says_who_is_ahead_and_what_is_no_obstacle():
    waiting = agent(Queued(True, 7, "queue", "place 7", tuple(f"n{n}" for n in range(2, 8))), ledger(owed(token=None)))
    assert listed(waiting)[1:] == [("hold", "", "passed"), ("pause", "web", "passed"), ("queue", "web", "closed")]
    assert steps(waiting, at())[-1]["reason"] == "place 7, behind n2, n3, n4, n5, n6 and 1 more"


def test_who_leaves_the_queue_says_for_what():
    leaving = mind_in("leaving").agent
    assert steps(leaving, at())[-1]["reason"] == "leaving the queue: not now"


@pytest.mark.parametrize("name", ["starting", "queued", "standing", "draining", "arming", "releasing"])
def test_an_absent_store_is_the_answer_where_it_is_needed(name):
    mind = mind_in(name, **AWAY).agent
    (first,) = [step for step in steps(mind, at()) if step["state"] != "passed"]
    assert first["kind"] == "store"
    assert blocked(steps(mind, at())) == ("store",)


def test_the_words_of_blocked_are_those_of_the_list():
    reasons = (
        Reason("window", "windows", "shut", NOON),
        Reason("gate", "a", "x", NOON),
        Reason("gate", "b", "y", NOON),
    )
    assert blocked(steps(agent(Blocked(reasons)), at())) == ("window", "gate")
    for name in ("steady", "rebooting", "stuck", "undoing", "verifying", "failed"):
        assert blocked(steps(mind_in(name).agent, at())) == ()


@pytest.mark.parametrize(
    ("state", "kind"), [(Unready("provider", "none"), "provider"), (Unready("journal", "full"), "journal"),
                        (Conflicted("twin"), "identity"), (Blocked((Reason("maintenance", "m", "x", NOON),)), "maintenance")],
)  # fmt: skip
def test_without_an_update_what_forbids_every_act_is_the_answer(state, kind):
    (only,) = [step for step in steps(agent(state, needs={}), at()) if step["state"] != "passed"]
    assert only["kind"] == kind


def test_nobody_was_asked_yet():
    assert listed(agent(None, needs={}, asked_providers=False)) == [("update", "", "unknown")]


def test_an_update_says_since_when_and_from_what_to_what():
    (update,) = steps(agent(Steady()), at())
    assert (update["reason"], update["since"]) == ("file: linux-image, from v1 to v2", "2026-03-01T11:00:00Z")
    (update, *_) = steps(agent(Draining(), ledger(owed(target="v2"))), at())
    assert (update["reason"], update["since"]) == ("file: linux-image, to v2", "2026-03-01T11:00:00Z")


def test_a_name_is_not_said_twice():
    (*_, gate) = steps(agent(Blocked((Reason("gate", "backup", "backup: running", NOON),))), at())
    assert (gate["name"], gate["reason"]) == ("backup", "running")


def test_a_hook_says_since_when_and_until_when_all_must_be_done():
    state = Draining("20-b", ("20-b",), hook_since=NOON)
    drain = steps(agent(state, ledger(owed())), at())[-1]
    assert (drain["name"], drain["since"], drain["until"]) == ("20-b", "2026-03-01T12:00:00Z", "2026-03-01T12:09:00Z")


def test_a_reboot_says_when_it_is_given_up():
    reboot = steps(mind_in("rebooting").agent, at())[-1]
    assert (reboot["since"], reboot["until"]) == ("2026-03-01T11:59:00Z", "2026-03-01T12:14:00Z")
    assert steps(mind_in("stuck").agent, at())[-1]["reason"] == "the reboot does not come: refused"


def test_health_says_each_check_and_the_deadline():
    health = (opened("db", "health"), closed("app", "health"), unknown("web", "health"))
    state = Verifying(UPTIME - 120, pending=(), problem="not now", check="app")
    found = [made for made in steps(agent(state, ledger(owed()), health=health), at()) if made["step"] == "health"]
    assert [(made["name"], made["state"]) for made in found] == [
        ("app", "closed"),
        ("db", "passed"),
        ("web", "unknown"),
    ]
    assert found[0]["until"] == "2026-03-01T12:08:00Z"


@pytest.mark.parametrize(
    ("name", "last"),
    [("draining", "drain"), ("undoing", "drain"), ("arming", "reboot"), ("rebooting", "reboot"), ("stuck", "reboot"),
     ("verifying", "health"), ("failed", "health"), ("releasing", "slot")],
)  # fmt: skip
def test_who_holds_a_slot_shows_it(name, last):
    steps_of = listed(mind_in(name).agent)
    assert (steps_of[-1][0], steps_of[-1][2]) == (last, "closed")
    assert last == "slot" or ("slot", "group/web", "passed") in steps_of


def test_unknown_health_is_shown_as_unknown():
    mind = mind_in("verifying", health=(unknown("app", "health"),)).agent
    assert listed(mind)[-1][2] == "unknown"


def test_expected_times_follow_the_policy():
    made = agent(Stuck(UPTIME, "x"))
    assert telling.expected(made, "armed") == made.policy.reboot_timeout
    assert telling.expected(made, "verifying") == made.policy.deadline + made.policy.dwell
    assert telling.expected(made, "draining") > made.policy.hook_timeout
