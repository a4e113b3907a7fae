"""What the gateway tells of a fleet on a memory store; the names are those that interfaces.md promises."""

from dataclasses import replace
from datetime import timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families

from locksmith.core.admission import Patience
from locksmith.core.documents import NodeRecord, Phase
from locksmith.errors import Unavailable
from locksmith.fleet_metrics import READ_ERROR_KINDS, FleetMetrics
from locksmith.fleet_reader import FleetReader
from locksmith.metrics import BLOCKED_KINDS
from locksmith.semaphore import operating, recovery
from locksmith.semaphore.claiming import claim
from locksmith.semaphore.fleet import FleetWatch
from locksmith.semaphore.holding import arm, fail, release, to_phase, verify
from locksmith.stores import Put
from locksmith.stores.measured import Measured
from tests.fakes.faulty import Raise
from tests.fakes.world import World

TEN = timedelta(minutes=10)

GAUGES = """
locksmith_group_slots locksmith_group_holders locksmith_group_waiters locksmith_group_failed locksmith_group_paused
locksmith_group_halted locksmith_group_nodes locksmith_group_nodes_reboot_required locksmith_group_nodes_silent
locksmith_reboot_duration_seconds_bucket locksmith_queue_wait_seconds_bucket
locksmith_exporter_last_success_timestamp_seconds
"""
INSTANTS = """
locksmith_group_oldest_reboot_required_timestamp_seconds locksmith_group_oldest_waiter_timestamp_seconds
locksmith_group_last_release_timestamp_seconds locksmith_holder_since_timestamp_seconds locksmith_holder_overdue
"""


@pytest.fixture
def world():
    return World()


@pytest.fixture
def shown(world):
    actor = world.actor("gateway@g1")
    return FleetMetrics(FleetReader(FleetWatch(actor).look, timedelta(0), 30, world.clock.boottime))


def page(shown: FleetMetrics) -> dict[str, float]:
    """The samples of /metrics: `name` or `name{label=value,…}` and the value."""
    answer = shown.pages()["/metrics"]()
    assert answer.status == 200
    families = text_string_to_metric_families(answer.body.decode())
    return {_key(sample.name, sample.labels): sample.value for family in families for sample in family.samples}


def _key(name: str, labels: dict[str, str]) -> str:
    inner = ",".join(f"{label}={value}" for label, value in sorted(labels.items()))
    return f"{name}{{{inner}}}" if inner else name


def register(world: World, node: str, group: str = "web", **more) -> None:
    record = NodeRecord(host=f"host-{node}", group=group, state="steady", seen=world.clock.wall(), heartbeat=900)
    recovery.write_record(world.actor(f"agent@{node}"), node, replace(record, **more))


def names(samples: dict[str, float]) -> set[str]:
    return {key.partition("{")[0] for key in samples}


# ---------------------------------------------------------------- from the start


def test_an_empty_fleet_has_no_groups_but_an_exporter(shown):
    samples = page(shown)
    assert samples["locksmith_exporter_up"] == 1
    assert not [name for name in names(samples) if name.startswith("locksmith_group")]


def test_what_can_be_known_of_a_group_is_there_from_the_start_and_nothing_else(world, shown):
    operating.set_max(world.operator, "web", 2)
    samples = page(shown)
    assert set(GAUGES.split()) <= names(samples)
    assert not set(INSTANTS.split()) & names(samples)
    assert samples["locksmith_group_slots{group=web}"] == 2
    for phase in Phase:
        assert samples[f"locksmith_group_holders{{group=web,phase={phase}}}"] == 0
    for kind in BLOCKED_KINDS:
        assert samples[f"locksmith_group_nodes_blocked{{group=web,kind={kind}}}"] == 0
    for kind in READ_ERROR_KINDS:
        assert samples[f"locksmith_exporter_read_errors_total{{kind={kind}}}"] == 0
    for name in ("reboot_duration", "queue_wait"):
        assert samples[f"locksmith_{name}_seconds_bucket{{group=web,le=+Inf}}"] == 0
    assert not [key for key in samples if "_created" in key]


# ---------------------------------------------------------------- slots and queue


def test_holders_and_waiters(world, shown):
    slot = world.holding(n1 := world.actor("agent@n1"), "n1")
    since = world.clock.wall()
    world.clock.advance(30)
    world.queued(n2 := world.actor("agent@n2"), world.attempt(n2, "n2"))
    to_phase(n1, slot, Phase.DRAINING, TEN)
    samples = page(shown)
    assert samples["locksmith_group_slots{group=web}"] == 1
    assert samples["locksmith_group_holders{group=web,phase=draining}"] == 1
    assert samples["locksmith_group_holders{group=web,phase=acquired}"] == 0
    assert samples["locksmith_group_waiters{group=web}"] == 1
    waiting = samples["locksmith_group_oldest_waiter_timestamp_seconds{group=web}"]
    assert waiting == (since + timedelta(seconds=30)).timestamp()
    held = "locksmith_holder_since_timestamp_seconds{group=web,host=host-n1,phase=draining}"
    assert samples[held] == pytest.approx(since.timestamp(), abs=2)
    assert samples["locksmith_holder_overdue{group=web,host=host-n1}"] == 0
    world.clock.advance(601)
    assert page(shown)["locksmith_holder_overdue{group=web,host=host-n1}"] == 1
    release(n1, slot)
    samples = page(shown)
    assert not [key for key in samples if key.startswith("locksmith_holder")]
    assert samples["locksmith_group_last_release_timestamp_seconds{group=web}"] == world.clock.wall().timestamp()


def test_two_holders_of_one_host_name_are_one_series(world, shown):
    operating.set_max(world.operator, "web", 2)
    for node in ("n1", "n2"):
        actor = world.actor(f"agent@{node}")
        attempt = replace(world.attempt(actor, node), host="localhost", expected=TEN if node == "n1" else None)
        world.queued(actor, attempt)
        claim(actor, attempt, Patience())
        world.clock.advance(400)
    samples = page(shown)
    assert samples["locksmith_group_holders{group=web,phase=acquired}"] == 2
    assert samples["locksmith_holder_overdue{group=web,host=localhost}"] == 1
    key = "locksmith_holder_since_timestamp_seconds{group=web,host=localhost,phase=acquired}"
    assert samples[key] == pytest.approx(world.clock.wall().timestamp() - 800, abs=2)


def test_paused_by_group_and_fleet(world, shown):
    for group in ("web", "db"):
        operating.set_max(world.operator, group, 1)
    operating.pause_group(world.operator, "web", "INC-1", None)
    samples = page(shown)
    assert (samples["locksmith_group_paused{group=web}"], samples["locksmith_group_paused{group=db}"]) == (1, 0)
    operating.pause_fleet(world.operator, "storm", None)
    assert page(shown)["locksmith_group_paused{group=db}"] == 1


def test_failed_halts_until_it_is_acknowledged(world, shown):
    slot = world.holding(n1 := world.actor("agent@n1"), "n1")
    assert page(shown)["locksmith_group_halted{group=web}"] == 0
    fail(n1, slot, "app")
    samples = page(shown)
    assert (samples["locksmith_group_failed{group=web}"], samples["locksmith_group_halted{group=web}"]) == (1, 1)
    operating.acknowledge(world.operator, "web", "known")
    samples = page(shown)
    assert (samples["locksmith_group_failed{group=web}"], samples["locksmith_group_halted{group=web}"]) == (1, 0)


# ---------------------------------------------------------------- the registry


def test_nodes(world, shown):
    wanting = {"need": "kernel", "need_since": world.clock.wall() - timedelta(days=20)}
    register(world, "n1", state="queued", kind="queue", **wanting)
    register(world, "n2", state="blocked", kind="window", need="kernel", need_since=world.clock.wall())
    register(world, "n3")
    register(world, "n4", group="db")
    world.clock.advance(1801)
    register(world, "n3", state="steady")
    samples = page(shown)
    assert "locksmith_group_slots{group=web}" not in samples  # nobody has set a limit
    assert samples["locksmith_group_nodes{group=web}"] == 3
    assert samples["locksmith_group_nodes{group=db}"] == 1
    assert samples["locksmith_group_nodes_reboot_required{group=web}"] == 2
    assert samples["locksmith_group_nodes_silent{group=web}"] == 2
    oldest = samples["locksmith_group_oldest_reboot_required_timestamp_seconds{group=web}"]
    assert oldest == wanting["need_since"].timestamp()
    assert "locksmith_group_oldest_reboot_required_timestamp_seconds{group=db}" not in samples
    # What silent nodes said last is not what they do now.
    assert samples["locksmith_group_nodes_in_state{group=web,state=steady}"] == 1
    assert samples["locksmith_group_nodes_in_state{group=web,state=queued}"] == 0
    register(world, "n2", state="blocked", kind="window")
    assert page(shown)["locksmith_group_nodes_blocked{group=web,kind=window}"] == 1


def test_words_of_a_newer_locksmith(world, shown):
    register(world, "n1", state="dreaming", kind="moon")
    samples = page(shown)
    assert samples["locksmith_group_nodes_in_state{group=web,state=dreaming}"] == 1
    assert samples["locksmith_group_nodes_blocked{group=web,kind=moon}"] == 1


def test_a_node_that_changed_its_group_counts_once(world, shown):
    register(world, "n1", group="db")
    world.clock.advance(10)
    register(world, "n1", group="web")
    samples = page(shown)
    assert samples["locksmith_group_nodes{group=web}"] == 1
    assert "locksmith_group_nodes{group=db}" not in samples


# ---------------------------------------------------------------- the history


def test_histograms(world, shown):
    page(shown)
    slot = world.holding(n1 := world.actor("agent@n1"), "n1")
    world.clock.advance(20)
    arm(n1, slot, epoch=1, attempt="a1", request=None, expected=TEN)
    world.clock.advance(60)
    verify(n1, slot, "boot-2/0", TEN)
    world.clock.advance(30)
    release(n1, slot)
    for _ in range(2):
        samples = page(shown)
        assert samples["locksmith_reboot_duration_seconds_count{group=web}"] == 1
        assert samples["locksmith_reboot_duration_seconds_sum{group=web}"] == pytest.approx(90, abs=2)
        assert samples["locksmith_reboot_duration_seconds_bucket{group=web,le=60.0}"] == 0
        assert samples["locksmith_reboot_duration_seconds_bucket{group=web,le=120.0}"] == 1
        assert samples["locksmith_queue_wait_seconds_bucket{group=web,le=+Inf}"] == 1


# ---------------------------------------------------------------- the exporter itself


def test_one_read_a_scrape(world):
    requests = []
    actor = world.actor("gateway@g1")
    watched = replace(actor, store=Measured(actor.store, requests.append))
    shown = FleetMetrics(FleetReader(FleetWatch(watched).look, timedelta(0), 30, world.clock.boottime))
    for _ in range(3):
        page(shown)
    assert [request.op for request in requests] == ["read"] * 3


def test_a_store_that_is_away(world):
    actor = world.actor("gateway@g1")
    shown = FleetMetrics(FleetReader(FleetWatch(actor).look, timedelta(0), 30, world.clock.boottime))
    operating.set_max(world.operator, "web", 1)
    assert shown.pages()["/healthz"]().body == b"ok: nothing was asked yet\n"
    page(shown)
    assert shown.pages()["/healthz"]().body == b"ok: the fleet was read 0 s ago\n"
    store = world.faults(actor)
    gone = [Raise(Unavailable("no endpoint answers")) for _ in range(4)]
    store.plan_reads(*gone)
    samples = page(shown)
    assert samples["locksmith_exporter_up"] == 0
    assert samples["locksmith_group_slots{group=web}"] == 1
    world.clock.advance(121)
    samples = page(shown)
    assert "locksmith_group_slots{group=web}" not in samples
    assert samples["locksmith_exporter_age_seconds"] == 121
    assert samples["locksmith_exporter_read_errors_total{kind=unavailable}"] == 2
    assert samples["locksmith_queue_wait_seconds_count{group=web}"] == 0
    health = shown.pages()["/healthz"]()
    assert (health.status, health.body) == (200, b"ok, but the fleet cannot be read: no endpoint answers\n")


def test_what_one_node_wrote_does_not_blind(world, shown):
    register(world, "n1")
    register(world, "n2")
    world.judge.off = True
    key = next(key for key in world.rows() if key.endswith("/n2"))
    world.memory.client().commit((), [Put(key, b"{}")])
    samples = page(shown)
    assert samples["locksmith_group_nodes{group=web}"] == 1
    assert samples["locksmith_exporter_unreadable_documents"] == 1
