"""`why`: the first step that is not passed is the answer, and what the store knows is read now."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from locksmith.core import keys
from locksmith.core.admission import Patience
from locksmith.core.documents import NodeRecord, Phase, Revoke
from locksmith.semaphore.actor import Actor
from locksmith.semaphore.claiming import claim
from locksmith.semaphore.explanation import Place
from locksmith.semaphore.holding import arm, fail, mark, release, to_phase, verify
from locksmith.semaphore.operating import pause_fleet, pause_group, pause_node, request_reboot, set_max
from locksmith.semaphore.reading import Explanation, Step, resolve, why
from locksmith.semaphore.recovery import write_record
from locksmith.stores import Check, Put
from tests.fakes.world import World

NEEDED: dict[str, Any] = {"step": "update", "name": "packages", "state": "passed", "reason": "linux-image"}
BACKUP: dict[str, Any] = {
    "step": "gate",
    "name": "backup",
    "state": "closed",
    "kind": "gate",
    "reason": "backup runs",
    "since": "2026-01-01T00:00:00Z",
    "until": None,
    "remedy": "wait",
}


class Case:
    """One node, n2, and what its agent said."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.agent = world.actor("agent@n2")
        self.bob = world.actor("bob@bastion2")
        set_max(self.bob, "web", 1)

    def say(self, *steps: dict[str, Any], need: str | None = "linux", kind: str | None = None, why: str = "") -> None:
        record = NodeRecord(
            host="host-n2",
            group="web",
            state="blocked" if need else "steady",
            seen=self.world.clock.wall(),
            heartbeat=600,
            need=need,
            kind=kind,
            why=why,
            steps=steps,
        )
        write_record(self.agent, "n2", record)

    def ask(self) -> Explanation:
        before = self.world.rows()
        answer = why(self.bob, resolve(self.bob, "n2"))
        assert self.world.rows() == before
        return answer

    def step(self, name: str) -> Step:
        (found,) = [step for step in self.ask().steps if step.step == name]
        return found

    def queue(self, node: str) -> None:
        self.world.queued(self.agent, self.world.attempt(self.agent, node))


@pytest.fixture
def case(world: World) -> Case:
    return Case(world)


@pytest.fixture
def n1(world: World) -> Actor:
    return world.actor("agent@n1")


def test_nobody_of_that_name(case: Case) -> None:
    answer = case.ask()
    assert (answer.verdict, answer.host, answer.group, answer.seen) == ("unknown", None, None, None)
    assert "not registered" in answer.summary


def test_no_reboot_needed(case: Case, world: World) -> None:
    case.say(need=None)
    answer = case.ask()
    assert (answer.verdict, answer.host, answer.group, answer.seen) == (
        "not_needed",
        "host-n2",
        "web",
        world.clock.wall(),
    )


def test_a_gate_is_the_answer(case: Case) -> None:
    case.say(NEEDED, BACKUP)
    answer = case.ask()
    assert (answer.verdict, answer.summary) == ("waiting", "host-n2 waits: backup: backup runs")
    assert [step.step for step in answer.steps] == ["update", "hold", "gate", "pause"]
    gate = answer.steps[2]
    assert (gate.name, gate.state, gate.kind, gate.remedy) == ("backup", "closed", "gate", "wait")
    assert gate.since is not None


def test_a_kind_without_steps_is_a_step(case: Case) -> None:
    for kind, step in (("window", "window"), ("loop_guard", "update"), ("cooldown", "gate")):
        case.say(kind=kind, why="not before Thursday")
        assert case.step(step).kind == kind
        assert case.ask().summary == "host-n2 waits: not before Thursday"


def test_what_the_store_knows_is_never_taken_from_the_record(case: Case) -> None:
    stale = [{"step": step, "state": "closed", "reason": "stale"} for step in ("hold", "pause", "queue", "slot")]
    case.say(NEEDED, *stale)
    assert not [step for step in case.ask().steps if step.reason == "stale"]


def test_a_record_of_nonsense_is_no_crash(case: Case) -> None:
    case.say({"step": 7, "state": [], "since": "yesterday", "until": "2026-01-01T00:00:00"}, {})
    assert case.ask().verdict == "waiting"
    assert {step.state for step in case.ask().steps if step.step == "gate"} == {"unknown"}


def test_a_hold(case: Case, world: World) -> None:
    case.say(NEEDED, BACKUP)
    until = world.clock.wall() + timedelta(hours=1)
    pause_node(case.bob, "n2", "disk", until)
    answer = case.ask()
    assert (answer.verdict, "held by bob@bastion2: disk" in answer.summary) == ("held", True)
    step = case.step("hold")
    assert (step.state, step.kind, step.until) == ("closed", "hold", until)
    world.clock.advance(3601)
    case.say(NEEDED)
    assert case.step("hold").state == "passed"


def test_pauses_of_both_kinds(case: Case) -> None:
    case.say(NEEDED)
    pause_group(case.bob, "web", "lunch", None)
    pause_fleet(case.bob, "freeze", None)
    answer = case.ask()
    pauses = [step for step in answer.steps if step.step == "pause"]
    assert [(step.name, step.kind) for step in pauses] == [("fleet", "paused"), ("web", "paused")]
    assert [step.remedy for step in pauses] == ["lockctl resume --fleet", "lockctl resume --group web"]
    assert (answer.verdict, "freeze" in answer.summary) == ("waiting", True)


def test_a_halt_names_the_failed_host_and_its_check(case: Case, world: World, n1: Actor) -> None:
    set_max(case.bob, "web", 2)
    case.say(NEEDED)
    case.queue("n2")
    fail(n1, world.holding(n1, "n1"), "app")
    answer = case.ask()
    assert (answer.verdict, "host-n1 failed app" in answer.summary) == ("waiting", True)
    assert case.step("pause").kind == "halted"


def test_the_place_in_the_queue_and_who_is_ahead(case: Case, world: World, n1: Actor) -> None:
    slot = world.holding(n1, "n1")
    arm(n1, slot, epoch=1, attempt="a", request=None, expected=None)
    case.say(NEEDED)
    for node in ("n7", "n8", "n2", "n9"):
        case.queue(node)
    answer = case.ask()
    assert answer.summary == "host-n2 waits: place 3, behind host-n7, host-n8"
    assert case.step("slot").reason == "no slot of group/web is free; held by host-n1 (armed)"
    assert case.step("slot").since == world.holder("n1").since


def test_a_slot_that_those_in_front_will_take(case: Case) -> None:
    case.say(NEEDED)
    for node in ("n7", "n2"):
        case.queue(node)
    assert "those in front" in case.step("slot").reason


def test_first_in_the_queue(case: Case, world: World, n1: Actor) -> None:
    world.holding(n1, "n1")
    case.say(NEEDED)
    case.queue("n2")
    assert case.step("queue").state == "passed"
    assert "held by host-n1 (acquired)" in case.ask().summary


def test_many_ahead_are_counted(case: Case, world: World, n1: Actor) -> None:
    world.holding(n1, "n1")
    case.say(NEEDED)
    for number in range(9):
        case.queue(f"m{number}")
    case.queue("n2")
    assert "and 4 more" in case.ask().summary


def test_about_to_take_a_slot(case: Case) -> None:
    case.say(NEEDED)
    case.queue("n2")
    assert [step.state for step in case.ask().steps if step.step in ("queue", "slot")] == ["passed", "passed"]
    assert case.ask().verdict == "waiting"


@pytest.mark.parametrize(
    ("phase", "verdict", "word"),
    [
        (Phase.ACQUIRED, "rebooting", "drains"),
        (Phase.DRAINING, "rebooting", "drains"),
        (Phase.ARMED, "rebooting", "any moment"),
        (Phase.VERIFYING, "verifying", "health"),
        (Phase.FAILED, "failed", "failed app"),
    ],
)
def test_a_holder_by_its_phase(case: Case, world: World, phase: Phase, verdict: str, word: str) -> None:
    case.say(NEEDED, BACKUP)
    slot = world.holding(case.agent, "n2")
    match phase:
        case Phase.DRAINING:
            to_phase(case.agent, slot, phase, None)
        case Phase.ARMED:
            arm(case.agent, slot, epoch=1, attempt="a", request=None, expected=None)
        case Phase.VERIFYING:
            verify(case.agent, slot, "boot-2", None)
        case Phase.FAILED:
            fail(case.agent, slot, "app")
        case _:
            pass
    answer = case.ask()
    assert (answer.verdict, word in answer.summary) == (verdict, True)
    assert case.step("slot").state == "passed"
    assert "last seen" not in answer.summary


def test_a_holder_whose_agent_is_silent(case: Case, world: World) -> None:
    case.say(NEEDED)
    arm(case.agent, world.holding(case.agent, "n2"), epoch=1, attempt="a", request=None, expected=None)
    world.clock.advance(1201)
    answer = case.ask()
    assert (answer.verdict, "last seen at 2026-01-01 00:00:00Z" in answer.summary) == ("rebooting", True)


def test_a_hold_by_hand_of_what_is_no_node(case: Case, world: World) -> None:
    attempt = replace(world.attempt(case.bob, "n2", hand=True), reason="disk")
    world.queued(case.bob, attempt)
    claim(case.bob, attempt, Patience())
    answer = case.ask()
    assert (answer.verdict, answer.host, answer.group) == ("held", "host-n2", "web")
    assert "by hand by bob@bastion2" in answer.summary
    assert case.step("slot").kind == "maintenance"


def test_a_slot_that_an_operator_wants_back(case: Case, world: World) -> None:
    case.say(NEEDED)
    slot = world.holding(case.agent, "n2")
    revoke = Revoke(by="bob@b", reason="mine", since=world.clock.wall())
    mark(case.bob, slot, lambda holder: replace(holder, revoke=revoke))
    assert (case.step("slot").state, case.step("slot").kind) == ("closed", "revoked")


def test_a_silent_agent_says_when_it_was_seen(case: Case, world: World) -> None:
    case.say(NEEDED, why="waits for the window")
    world.clock.advance(1200)
    assert case.ask().verdict == "waiting"
    world.clock.advance(1)
    answer = case.ask()
    assert answer.verdict == "unknown"
    assert "last seen at 2026-01-01 00:00:00Z" in answer.summary
    assert "waits for the window" in answer.summary


def test_a_request_is_something_to_wait_for(case: Case) -> None:
    case.say(need=None)
    request_reboot(case.bob, "n2", "please", ())
    assert case.ask().verdict == "waiting"


def test_ones_own_failure_halts_others_and_is_ones_own_answer(case: Case, world: World) -> None:
    case.say(NEEDED)
    fail(case.agent, world.holding(case.agent, "n2"), "app")
    assert case.ask().verdict == "failed"


# ---------------------------------------------------------------- the first step that is not passed


def answer_of(case: Case) -> tuple[str, str | None]:
    step = next((step for step in case.ask().steps if step.state != "passed"), None)
    assert step is not None
    return step.step, step.kind


def test_a_silent_agent_is_the_answer_whatever_it_said(case: Case, world: World) -> None:
    case.say(NEEDED, BACKUP)
    world.clock.advance(1201)
    assert answer_of(case) == ("agent", "silent")
    answer = case.ask()
    assert answer.silent
    assert [step.step for step in answer.steps] == ["agent", "update", "hold", "gate", "pause"]
    assert answer.steps[0].since == answer.seen


def test_no_agent_at_all(case: Case) -> None:
    assert answer_of(case) == ("agent", "silent")
    assert not case.ask().silent


def test_who_is_down_for_its_reboot_is_not_missed_before_that_is_overdue(case: Case, world: World) -> None:
    case.say(NEEDED)
    arm(case.agent, world.holding(case.agent, "n2"), epoch=1, attempt="a", request=None, expected=timedelta(hours=1))
    world.clock.advance(3000)
    assert answer_of(case) == ("reboot", None)
    assert "last seen" not in case.ask().summary
    world.clock.advance(601)
    assert answer_of(case) == ("agent", "silent")


def test_a_hold_by_hand_of_a_silent_node_is_the_answer(case: Case, world: World) -> None:
    case.say(need=None)
    attempt = replace(world.attempt(case.bob, "n2", hand=True), reason="disk")
    world.queued(case.bob, attempt)
    claim(case.bob, attempt, Patience())
    world.clock.advance(90_000)
    assert answer_of(case) == ("slot", "maintenance")


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"step": "drain", "name": "10-k8s", "state": "closed"}, ("drain", "10-k8s")),
        ({"step": "reboot", "name": "arming", "state": "closed"}, ("reboot", "arming")),
        ({"step": "health", "name": "stale", "state": "closed"}, ("drain", None)),
        (BACKUP, ("drain", None)),
    ],
)
def test_who_drains_says_with_what(case: Case, world: World, said: dict[str, Any], expected: tuple[str, Any]) -> None:
    case.say(NEEDED, said)
    to_phase(case.agent, world.holding(case.agent, "n2"), Phase.DRAINING, timedelta(minutes=10))
    closed = [step for step in case.ask().steps if step.state != "passed"]
    assert [(step.step, step.name) for step in closed] == [expected]
    assert expected[1] is not None or closed[0].until == world.holder("n2").expected_by


def test_who_is_armed_says_by_what_it_is_stuck(case: Case, world: World) -> None:
    stuck = {"step": "reboot", "state": "closed", "kind": "stuck", "reason": "inhibited by backup"}
    case.say(NEEDED, stuck)
    arm(case.agent, world.holding(case.agent, "n2"), epoch=1, attempt="a", request=None, expected=None)
    pause_group(case.bob, "web", "late", None)  # and the pause stops nobody who is armed
    answer = case.ask()
    assert [(step.step, step.state) for step in answer.steps] == [
        ("update", "passed"), ("slot", "passed"), ("drain", "passed"), ("reboot", "closed"),
    ]  # fmt: skip
    assert answer.steps[-1].reason == "inhibited by backup"


def test_a_pause_calls_back_who_still_drains(case: Case, world: World) -> None:
    case.say(NEEDED)
    world.holding(case.agent, "n2")
    pause_group(case.bob, "web", "late", None)
    assert answer_of(case) == ("pause", "paused")


def test_a_sick_node_says_which_check_and_not_that_it_halts_its_group(case: Case, world: World) -> None:
    checks = [
        {"step": "health", "name": "app", "state": "closed", "kind": "health", "reason": "exit code 1"},
        {"step": "health", "name": "db", "state": "passed"},
    ]
    case.say(NEEDED, *checks)
    fail(case.agent, world.holding(case.agent, "n2"), "app")
    answer = case.ask()
    assert [(step.step, step.name, step.state) for step in answer.steps[-4:]] == [
        ("drain", None, "passed"), ("reboot", None, "passed"), ("health", "app", "closed"), ("health", "db", "passed"),
    ]  # fmt: skip
    assert answer_of(case) == ("health", "health")


def test_a_phase_that_is_newer_than_the_record(case: Case, world: World) -> None:
    case.say(NEEDED, {"step": "reboot", "state": "closed", "reason": "told"})
    fail(case.agent, world.holding(case.agent, "n2"), "app")
    assert case.step("health").reason == "failed app and keeps its slot until it is well"
    assert answer_of(case) == ("health", "health")


def test_a_full_queue_is_the_agents_to_say(case: Case) -> None:
    case.say(NEEDED, {"step": "queue", "state": "closed", "kind": "queue_full", "reason": "too far back"})
    assert answer_of(case) == ("queue", "queue_full")


def test_a_ticket_that_is_gone_is_said(case: Case) -> None:
    case.say(NEEDED, {"step": "queue", "state": "closed", "kind": "queue", "reason": "place 3"})
    assert (case.step("queue").state, "no ticket" in case.step("queue").reason) == ("unknown", True)
    case.queue("n2")
    assert case.step("queue").state == "passed"


def test_a_request_that_the_agent_has_not_seen_yet(case: Case) -> None:
    case.say({"step": "update", "name": "", "state": "closed", "reason": "no update is staged"}, need=None)
    assert answer_of(case) == ("update", None)
    request_reboot(case.bob, "n2", "please", ())
    answer = case.ask()
    assert [(step.name, step.reason) for step in answer.steps if step.step == "update"] == [
        ("request", "asked by bob@bastion2: please")
    ]
    assert answer.summary == "host-n2: its agent sees the request at its next look, within 5 minutes"


def test_a_hold_of_a_node_that_needs_nothing(case: Case) -> None:
    case.say({"step": "update", "name": "", "state": "closed", "reason": "no update is staged"}, need=None)
    pause_node(case.bob, "n2", "disk", None)
    answer = case.ask()
    assert (answer.verdict, "disk" in answer.summary, answer_of(case)) == ("not_needed", True, ("update", None))


def test_nobody_knows_whether_it_needs_one(case: Case) -> None:
    case.say(
        {"step": "update", "name": "apt", "state": "unknown", "kind": "provider", "reason": "no answer"}, need=None
    )
    assert (case.ask().verdict, answer_of(case)) == ("unknown", ("update", "provider"))


# ---------------------------------------------------------------- the expected wait


def reboots(world: World, *seconds: float) -> None:
    """So many nodes have rebooted, and held their slot for so long."""
    for number, held in enumerate(seconds):
        actor = world.actor(f"agent@r{number}")
        slot = world.holding(actor, f"r{number}")
        world.clock.advance(held)
        release(actor, slot, told=lambda entry: replace(entry, outcome="healthy"))


def test_without_a_measured_reboot_no_wait_is_said(case: Case, world: World, n1: Actor) -> None:
    world.holding(n1, "n1")
    case.say(NEEDED)
    case.queue("n2")
    answer = case.ask()
    assert answer.queue == Place(1, ())
    assert case.step("slot").reason == "no slot of group/web is free; held by host-n1 (acquired)"


def test_the_wait_is_reckoned_from_the_reboots_before(case: Case, world: World, n1: Actor) -> None:
    reboots(world, 300, 240, 900)
    world.holding(n1, "n1")
    world.clock.advance(60)
    case.say(NEEDED)
    for node in ("n7", "n2"):
        case.queue(node)
    answer = case.ask()
    assert answer.queue == Place(2, ("n7",), 240 + 300, 300, 3)
    wait = "; about 9m to go (median of the last 3 reboots: 5m of holding a slot)"
    assert case.step("queue").reason == f"place 2, behind host-n7{wait}"
    assert answer.summary == f"host-n2 waits: place 2, behind host-n7{wait}"
    assert "to go" not in case.step("slot").reason


def test_who_takes_longer_than_any_before_lets_nothing_be_said(case: Case, world: World, n1: Actor) -> None:
    reboots(world, 300)
    world.holding(n1, "n1")
    world.clock.advance(301)
    case.say(NEEDED)
    case.queue("n2")
    assert case.ask().queue == Place(1, (), None, 300, 1)
    assert "nobody can say for how long" in case.step("slot").reason


def test_a_slot_that_is_held_by_hand_comes_back_by_nobodys_clock(case: Case, world: World) -> None:
    reboots(world, 300)
    attempt = world.attempt(case.bob, "n9", hand=True)
    world.queued(case.bob, attempt)
    claim(case.bob, attempt, Patience())
    case.say(NEEDED)
    case.queue("n2")
    found = case.ask().queue
    assert found is not None
    assert found.wait is None


def test_a_history_that_cannot_be_read_is_no_failure(case: Case, world: World, n1: Actor) -> None:
    reboots(world, 300)
    world.holding(n1, "n1")
    key = keys.entry("group/web", world.guard().seq)
    world.memory.commit([Check(key, world.memory.read([key])[key].mod)], [Put(key, b"nonsense")])
    case.say(NEEDED)
    case.queue("n2")
    assert "about 5m to go (the last reboot took 5m of holding a slot)" in case.step("slot").reason
