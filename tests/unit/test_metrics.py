"""What the metrics say about an agent's picture; the names are those that interfaces.md promises."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest
from prometheus_client.parser import text_string_to_metric_families

from locksmith import core, metrics, semaphore
from locksmith.agent.body import Body
from locksmith.agent.journal import Journal
from locksmith.agent.snapshot import Snapshot, picture
from locksmith.checks.command import CommandCheck
from locksmith.checks.window import WindowCheck
from locksmith.core.facts import Moment, Policy, Reason, SlotFact, Strategy
from locksmith.core.ledger import Home, LastReboot, Ledger, Owed
from locksmith.core.needs import Need
from locksmith.core.states import (
    Agent,
    Blocked,
    Conflicted,
    Draining,
    Failed,
    Queued,
    Starting,
    Steady,
    Undoing,
    Unready,
    Verifying,
)
from locksmith.core.verdict import Answer, Closed, Open, Unknown
from locksmith.core.windows import parse_window
from locksmith.hooks import Hooks
from locksmith.metrics import SILENCE, AgentMetrics
from locksmith.rebooters import Idle
from locksmith.rebooters.simulated import SimulatedRebooter
from locksmith.semaphore.actor import Actor
from locksmith.stores.measured import Request
from locksmith.stores.memory import MemoryStore
from locksmith.updates.command import CommandProvider
from tests.fakes.clock import EPOCH, VirtualClock

LIMIT = timedelta(seconds=1)
AT = Moment(EPOCH, 1000.0)
DAY = EPOCH + timedelta(days=1)
"""The clock of the tests stands at midnight UTC of a Thursday."""


@dataclass
class Loop:
    """What the metrics look at."""

    published: Snapshot
    body: Body

    def show(self, **changes) -> None:
        """Publish the next picture."""
        self.published = picture(replace(self.published.agent, **changes), AT)


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def loop(tmp_path, clock):
    policy = Policy("web", ("group/web",), Home(store="etcd://a:1/locksmith", prefix="locksmith", node="n1"))
    body = Body(
        actor=Actor(MemoryStore(clock), clock, Random(1), "agent", "host1"),
        policy=policy,
        boot="b1",
        fingerprint="f1",
        journal=Journal(tmp_path / "journal.json"),
        providers=[CommandProvider(name, ["false"], LIMIT) for name in ("packages", "firmware")],
        gates=[CommandCheck(name, ["true"], LIMIT, "gate") for name in ("backup", "raid")],
        health=[],
        hooks=Hooks(tmp_path, LIMIT),
        rebooter=SimulatedRebooter(lambda reason, environment: pytest.fail("nothing reboots here"), Idle),
        labels={},
    )
    return Loop(picture(Agent(policy, "b1", "f1", Ledger(), Starting(), AT), AT), body)


@pytest.fixture
def shown(loop):
    return AgentMetrics(loop)


def page(shown: AgentMetrics) -> dict[str, float]:
    """The samples of /metrics: `name` or `name{label=value,…}` and the value."""
    answer = shown.pages()["/metrics"]()
    assert answer.status == 200
    families = text_string_to_metric_families(answer.body.decode())
    return {_key(sample.name, sample.labels): sample.value for family in families for sample in family.samples}


def _key(name: str, labels: dict[str, str]) -> str:
    inner = ",".join(f"{label}={value}" for label, value in sorted(labels.items()))
    return f"{name}{{{inner}}}" if inner else name


def ones(samples: dict[str, float], name: str) -> set[str]:
    """The label values of a metric that are 1; the others must be 0."""
    found = {key[len(name) + 1 : -1].partition("=")[2]: v for key, v in samples.items() if key.startswith(f"{name}{{")}
    assert set(found.values()) <= {0.0, 1.0}
    return {word for word, value in found.items() if value == 1}


# ---------------------------------------------------------------- from the start


FROM_THE_START = """
locksmith_build_info locksmith_agent_info locksmith_agent_state locksmith_agent_state_since_timestamp_seconds
locksmith_update_provider_up locksmith_blocked locksmith_gate_open locksmith_window_open locksmith_slot_held
locksmith_reboots_total locksmith_attempts_called_off_total locksmith_last_reboot_phase_seconds locksmith_store_up
locksmith_store_request_duration_seconds_count locksmith_store_errors_total locksmith_config_load_success
"""
LATER = """
locksmith_reboot_required locksmith_reboot_required_timestamp_seconds locksmith_window_next_open_timestamp_seconds
locksmith_slot_held_since_timestamp_seconds locksmith_last_reboot_timestamp_seconds
locksmith_store_last_success_timestamp_seconds
"""


def test_what_can_be_known_is_there_from_the_start_and_nothing_else(shown):
    names = {key.partition("{")[0] for key in page(shown)}
    assert set(FROM_THE_START.split()) <= names
    assert not set(LATER.split()) & names


def test_closed_words_are_there_from_the_start(shown):
    samples = page(shown)
    for result in ("healthy", "recovered", "failed", "rolled_back", "stuck", "unsanctioned"):
        assert samples[f"locksmith_reboots_total{{result={result}}}"] == 0
    promised = (
        "hold, window, clock, gate, paused, halted, queue, queue_full, store, loop_guard, min_interval, min_uptime, "
        "cooldown, maintenance, identity, coordinator, provider, config"
    )
    for kind in promised.split(", "):
        assert samples[f"locksmith_blocked{{kind={kind}}}"] == 0
    for kind in ("hook", "gate", "window", "withdrawn", "revoked", "paused", "store", "stopped"):
        assert samples[f"locksmith_attempts_called_off_total{{kind={kind}}}"] == 0
    for op in ("read", "commit", "session"):
        assert samples[f"locksmith_store_request_duration_seconds_count{{op={op}}}"] == 0
    for kind in ("unavailable", "unknown", "denied", "auth", "tls", "identity", "throttled", "store_full"):
        assert samples[f"locksmith_store_errors_total{{kind={kind}}}"] == 0
    for phase in ("queued", "draining", "down", "verifying"):
        assert samples[f"locksmith_last_reboot_phase_seconds{{phase={phase}}}"] == 0
    for name in ("gate_open{gate=backup}", "gate_open{gate=raid}", "update_provider_up{provider=packages}"):
        assert samples[f"locksmith_{name}"] == 0
    assert not [key for key in samples if "_created" in key]


WORD_AT = {
    "undo": 1,
    "_unready": 1,
    "Reason": 0,
    "Barred": 0,
    "CalledOff": 1,
    "InLine": 0,
    "Unready": 0,
    "EnqueueRefused": 0,
}
"""Where, among the arguments of what blocks or calls off, the closed word stands."""


def _words() -> Iterator[str]:
    for package in (core, semaphore):
        for file in Path(package.__path__[0]).glob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if not isinstance(node, ast.Call):
                    continue
                name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
                place = WORD_AT.get(name, len(node.args))
                for part in ast.walk(node.args[place]) if place < len(node.args) else ():
                    if isinstance(part, ast.Constant) and isinstance(part.value, str):
                        yield part.value


def test_every_word_that_the_code_can_say_is_exported():
    """A word that is not in the lists would appear out of nothing, and no alert could have seen it at 0."""
    words = set(_words())
    assert {"hook", "revoked", "paused", "loop_guard", "identity"} <= words
    assert words <= {*metrics.BLOCKED_KINDS, *metrics.CALLED_OFF_KINDS}


# ---------------------------------------------------------------- the agent


def test_who_it_is(shown, loop):
    loop.show(policy=replace(loop.published.agent.policy, strategy=Strategy.OBSERVE))
    info = "locksmith_agent_info{group=web,node=n1,store=etcd://a:1/locksmith,strategy=observe}"
    assert page(shown)[info] == 1


def test_one_state_at_a_time(shown, loop):
    loop.show(state=Failed(1.0, "app", "sick"), since=Moment(DAY, 2000.0))
    samples = page(shown)
    assert ones(samples, "locksmith_agent_state") == {"failed"}
    assert samples["locksmith_agent_state{state=steady}"] == 0
    assert samples["locksmith_agent_state_since_timestamp_seconds"] == DAY.timestamp()


def test_an_update_and_its_age(shown, loop):
    needs = {
        "packages": Need("packages", "command", "f", "linux", since=DAY),
        "firmware": Need("firmware", "command", "f", "bios", since=EPOCH),
    }
    loop.show(state=Steady(), asked_providers=True, needs=needs)
    samples = page(shown)
    assert samples["locksmith_reboot_required"] == 1
    assert samples["locksmith_reboot_required_timestamp_seconds"] == EPOCH.timestamp()


def test_no_update(shown, loop):
    loop.show(state=Steady(), asked_providers=True)
    samples = page(shown)
    assert samples["locksmith_reboot_required"] == 0
    assert "locksmith_reboot_required_timestamp_seconds" not in samples


def test_a_provider_that_cannot_say(shown, loop):
    loop.show(state=Steady(), asked_providers=True, unsure={"firmware": "no answer"})
    assert ones(page(shown), "locksmith_update_provider_up") == {"packages"}


@pytest.mark.parametrize(
    ("state", "more", "kinds"),
    [
        (Steady(), {}, set()),
        (Blocked((Reason("window", "w", "shut", EPOCH), Reason("gate", "g", "shut", EPOCH))), {}, {"window", "gate"}),
        (Queued(kind="halted", reason="n2 failed"), {}, {"halted"}),
        (Queued(), {"store_error": "no endpoint"}, {"store"}),
        (Starting(), {"store_error": "no endpoint"}, {"store"}),
        (Draining(), {"store_error": "no endpoint"}, {"store"}),
        (Draining(), {}, set()),
        (Undoing("hook", "hook x failed"), {}, set()),
        (Failed(1.0, "app", "sick"), {}, set()),
        (Conflicted("host2"), {}, {"identity"}),
        (Unready("journal", "disk full"), {}, {"journal"}),
    ],
)
def test_what_it_waits_for(shown, loop, state, more, kinds):
    loop.show(state=state, **more)
    assert ones(page(shown), "locksmith_blocked") == kinds


# ---------------------------------------------------------------- gates and windows


def test_gates_as_they_last_answered(shown, loop):
    loop.show(gates=(Answer("backup", "gate", Open()), Answer("raid", "gate", Unknown("time-out"))))
    assert ones(page(shown), "locksmith_gate_open") == {"backup"}


def test_without_windows_it_is_always_open(shown, clock):
    clock.trusted = False
    samples = page(shown)
    assert samples["locksmith_window_open"] == 1
    assert "locksmith_window_next_open_timestamp_seconds" not in samples


def test_windows_are_judged_when_asked_not_when_the_agent_did(shown, loop, clock):
    nights = WindowCheck([parse_window("night", "23:00", "1h")])
    loop.body = replace(loop.body, gates=[nights, *loop.body.gates])
    loop.show(gates=(Answer("windows", "window", Closed("shut long ago")),))
    samples = page(shown)
    assert samples["locksmith_window_open"] == 0
    assert samples["locksmith_window_next_open_timestamp_seconds"] == (EPOCH + timedelta(hours=23)).timestamp()
    assert not [key for key in samples if "gate=windows" in key]
    clock.advance(timedelta(hours=23, minutes=30).total_seconds())
    samples = page(shown)
    assert samples["locksmith_window_open"] == 1
    assert "locksmith_window_next_open_timestamp_seconds" not in samples


def test_the_next_window_is_one_with_the_needed_time(shown, loop):
    windows = [parse_window("short", "01:00", "10m"), parse_window("long", "02:00", "2h")]
    loop.body = replace(loop.body, gates=[WindowCheck(windows, timedelta(hours=1))])
    assert page(shown)["locksmith_window_next_open_timestamp_seconds"] == (EPOCH + timedelta(hours=2)).timestamp()


def test_with_a_wrong_clock_windows_are_closed_and_nobody_can_say_until_when(shown, loop, clock):
    loop.body = replace(loop.body, gates=[WindowCheck([parse_window("always", "00:00", "24h")])])
    assert page(shown)["locksmith_window_open"] == 1
    clock.trusted = False
    samples = page(shown)
    assert samples["locksmith_window_open"] == 0
    assert "locksmith_window_next_open_timestamp_seconds" not in samples
    loop.body = replace(loop.body, require_time_sync=False)
    assert page(shown)["locksmith_window_open"] == 1


# ---------------------------------------------------------------- the slot


OWED = Owed(
    node="n1",
    nonce="x",
    group="web",
    limits=("group/web",),
    stage="armed",
    boot="b1",
    since=EPOCH,
    token=7,
    armed_at=DAY,
)
SLOT = SlotFact(7, "x", "web", ("group/web",), "armed", "b1", since=EPOCH + timedelta(hours=3))
BY_HAND = replace(SLOT, phase="maintenance", by="alice")


@pytest.mark.parametrize(
    ("changes", "held", "since"),
    [
        ({}, 0, None),
        ({"ledger": Ledger(owed=OWED), "slot": SLOT, "state": Draining()}, 1, SLOT.since),
        ({"ledger": Ledger(owed=OWED), "state": Verifying(1.0)}, 1, DAY),
        ({"ledger": Ledger(owed=OWED), "slot": SLOT, "state": Verifying(1.0, slot_gone=True)}, 0, None),
        ({"ledger": Ledger(owed=OWED), "slot": SLOT, "state": Undoing("revoked", "", slot_gone=True)}, 0, None),
        ({"ledger": Ledger(owed=replace(OWED, token=None, stage="claiming")), "state": Queued()}, 0, None),
        ({"slot": BY_HAND, "state": Blocked((Reason("maintenance", "maintenance", "", EPOCH),))}, 1, SLOT.since),
    ],
    ids=["nothing", "its own", "store away after the boot", "gone", "revoked", "only asked for", "by hand"],
)
def test_a_slot(shown, loop, changes, held, since):
    loop.show(**changes)
    samples = page(shown)
    assert samples["locksmith_slot_held"] == held
    moment = since.timestamp() if since else None
    assert samples.get("locksmith_slot_held_since_timestamp_seconds") == moment


# ---------------------------------------------------------------- totals


def test_totals_are_the_journals(shown, loop):
    last = LastReboot(at=DAY, result="healthy", phases={"down": 42.5})
    loop.show(ledger=Ledger(reboots={"healthy": 3}, called_off={"gate": 2, "of_a_newer_version": 1}, last=last))
    samples = page(shown)
    assert samples["locksmith_reboots_total{result=healthy}"] == 3
    assert samples["locksmith_reboots_total{result=failed}"] == 0
    assert samples["locksmith_attempts_called_off_total{kind=gate}"] == 2
    assert samples["locksmith_attempts_called_off_total{kind=of_a_newer_version}"] == 1
    assert samples["locksmith_last_reboot_timestamp_seconds"] == DAY.timestamp()
    assert samples["locksmith_last_reboot_phase_seconds{phase=down}"] == 42.5
    assert samples["locksmith_last_reboot_phase_seconds{phase=queued}"] == 0


# ---------------------------------------------------------------- the store


def request(op, error=None, seconds=0.02):
    return Request(op, seconds, error, 0, 0)


def test_requests_are_timed_and_long_polls_are_not(shown):
    for op in ("read", "read", "commit", "session", "watch"):
        shown.observe(request(op))
    shown.observe(request("read", "unavailable", 5.0))
    samples = page(shown)
    assert samples["locksmith_store_request_duration_seconds_count{op=read}"] == 3
    assert samples["locksmith_store_request_duration_seconds_bucket{le=0.025,op=read}"] == 2
    assert samples["locksmith_store_request_duration_seconds_count{op=session}"] == 1
    assert not [key for key in samples if "op=watch" in key]


@pytest.mark.parametrize(
    ("error", "up", "counted"),
    [
        ("unavailable", 0, "unavailable"),
        ("unknown", 0, "unknown"),
        ("tls", 0, "tls"),
        ("conflict", 1, None),
        ("session_lost", 1, "session_lost"),
        ("zero_division_error", 0, "internal"),
    ],
)
def test_errors(shown, error, up, counted):
    shown.observe(request("commit", error))
    samples = page(shown)
    assert samples["locksmith_store_up"] == up
    errors = {key for key, value in samples.items() if key.startswith("locksmith_store_errors_total") and value}
    assert errors == ({f"locksmith_store_errors_total{{kind={counted}}}"} if counted else set())
    assert "locksmith_store_last_success_timestamp_seconds" not in samples


def test_the_last_success_stays_when_the_store_goes_away(shown):
    assert page(shown)["locksmith_store_up"] == 0
    before = datetime.now(UTC).timestamp()
    shown.observe(request("watch"))
    at = page(shown)["locksmith_store_last_success_timestamp_seconds"]
    assert before - 0.001 <= at <= datetime.now(UTC).timestamp() + 0.001
    assert page(shown)["locksmith_store_up"] == 1
    shown.observe(request("watch", "unavailable"))
    samples = page(shown)
    assert samples["locksmith_store_up"] == 0
    assert samples["locksmith_store_last_success_timestamp_seconds"] == at


def test_two_agents_in_one_process_count_apart(loop, shown):
    other = AgentMetrics(loop)
    other.observe(request("read"))
    assert page(shown)["locksmith_store_request_duration_seconds_count{op=read}"] == 0
    assert page(other)["locksmith_store_request_duration_seconds_count{op=read}"] == 1


# ---------------------------------------------------------------- the process


def test_the_configuration_on_disk(shown):
    assert page(shown)["locksmith_config_load_success"] == 1
    shown.config_loaded = False
    assert page(shown)["locksmith_config_load_success"] == 0


def test_health_is_that_the_loop_turns(loop):
    now = [100.0]
    shown = AgentMetrics(loop, monotonic=lambda: now[0])
    health = shown.pages()["/healthz"]
    now[0] += SILENCE
    assert health().status == 200
    now[0] += 1
    answer = health()
    assert (answer.status, answer.body) == (503, f"the agent's loop has not turned for {SILENCE + 1:.0f} s\n".encode())
    shown.turned()
    assert health().status == 200


def test_a_sick_node_with_an_agent_that_turns_is_alive_and_says_so_in_one_line(loop, shown):
    loop.show(state=Failed(1.0, "app", "line one\nline two"))
    answer = shown.pages()["/healthz"]()
    assert answer.status == 200
    assert answer.body.startswith(b"ok: failed: ")
    assert answer.body.count(b"\n") == 1
    assert answer.body.endswith(b"line one line two\n")
