"""Whatever stands in the store: lockctl ends with a documented exit code, an agent's acts with an error of ours."""

import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from locksmith.core import keys
from locksmith.core.admission import Patience
from locksmith.core.documents import Brake, Config, Guard, Holder, NodeRecord, Pause, Ticket
from locksmith.core.history import Entry, Step
from locksmith.errors import LocksmithError
from locksmith.fleet_metrics import FleetMetrics
from locksmith.fleet_reader import FleetReader
from locksmith.semaphore import operating, recovery, repair, taking
from locksmith.semaphore.actor import Actor, look
from locksmith.semaphore.claiming import Attempt, cancel, claim, enqueue, held
from locksmith.semaphore.fleet import FleetWatch
from locksmith.semaphore.holding import Slot, arm, fail, release, slot_of, verify, watch_over
from locksmith.stores import Check, Put
from locksmith.stores.memory import MemoryStore
from locksmith.stores.sqlite import SqliteStore
from tests.fakes.clock import VirtualClock
from tests.fuzz.profile import fuzz
from tests.fuzz.running import lockctl
from tests.fuzz.scenes import NODES, scenes
from tests.fuzz.values import EDGES

READS = (
    "status", "status --all", "status --group web", "nodes", "groups", "why n1", "why --group web n2", "history --last 100",
    "history --node n1", "history --group web", "audit", "audit --group web", "plan", "plan --group web", "fsck",
)  # fmt: skip
WRITES = (
    "set-max 2", "set-max 0 --group web", "pause --reason x", "pause --fleet --reason x --until 2h", "pause n1 --reason x",
    "resume", "resume --fleet", "resume n1", "resume --failed --reason x", "reboot n1 --reason x", "reboot n1 --cancel",
    "lock n2 --reason x", "unlock n1", "unlock n1 --force --reason x", "unlock n1 --force --armed --reason x", "forget n1",
    "fsck --repair",    "lock n1 --reason x --group web", "unlock n2 --strict",
)  # fmt: skip


def fill(store: SqliteStore | MemoryStore, scene: dict[str, bytes]) -> None:
    """Exactly this stands in it."""
    old = store.read(prefixes=[""]).items
    checks = [Check(key, item.mod) for key, item in old.items()] + [Check(key, 0) for key in scene if key not in old]
    if checks:
        puts = [Put(key, value) for key, value in scene.items()]
        store.commit(checks, puts, [key for key in old if key not in scene])


@fuzz(3)
@given(scenes(), st.lists(st.sampled_from(READS), min_size=1, max_size=4, unique=True), st.booleans())
def test_every_reader_of_lockctl(configured: Path, scene: dict[str, bytes], commands: list[str], json: bool) -> None:
    store = SqliteStore(configured, "locksmith", timeout=timedelta(seconds=5))
    fill(store, scene)
    store.close()
    for command in commands:
        lockctl(*command.split(), *(["--json"] if json else []))


def ticket() -> dict[str, bytes]:
    """Somebody waits in the group `default`."""
    waits = Ticket(nonce="t", limits=("group/default",), since=EDGES[2], host="n1")
    return {keys.CFG: Config(store="s").encode(), keys.ticket("default", "n1"): waits.encode()}


PAUSE = Pause(by="a", reason="x", since=EDGES[2], until=EDGES[1])
FOUND = {
    "a pause until the last instant": {"brake/default": Brake(pause=PAUSE).encode()},
    "more slots than a list can have places": {"lim/group/default": Guard(slots=10**30, effective=10**30).encode()},
    "a heartbeat that is no duration": {
        keys.record("default", "n1"): NodeRecord(
            host="n1", group="default", state="steady", seen=EDGES[1], heartbeat=2**63
        ).encode(),
    },
    "somebody rebooted for eight thousand years": {
        keys.own("n2"): Holder(
            nonce="n", group="default", limits=("group/default",), phase="armed", boot="b", since=EDGES[0], phase_since=EDGES[1]
        ).encode(),
        **{
            keys.entry("group/default", seq): Entry(
                seq=seq, act="released", at=EDGES[1], by="a", count=0, slots=1, node="n1", group="default", outcome="healthy",
                steps=(Step(phase="acquired", at=EDGES[0]), Step(phase="armed", at=EDGES[2])),
            ).encode()
            for seq in range(1, 9)
        },
    },
}  # fmt: skip


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Pago_Pago"])
@pytest.mark.parametrize("what", FOUND)
def test_what_was_found(configured: Path, monkeypatch: pytest.MonkeyPatch, what: str, zone: str) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    store = SqliteStore(configured, "locksmith", timeout=timedelta(seconds=5))
    fill(store, {**ticket(), **FOUND[what]})
    store.close()
    try:
        for command in READS:
            lockctl(*command.split())
            lockctl(*command.split(), "--color", "always")
    finally:
        monkeypatch.undo()
        time.tzset()


@fuzz(2)
@given(scenes(), st.lists(st.sampled_from(WRITES), min_size=1, max_size=3), st.booleans())
def test_every_writer_of_lockctl(configured: Path, scene: dict[str, bytes], commands: list[str], json: bool) -> None:
    store = SqliteStore(configured, "locksmith", timeout=timedelta(seconds=5))
    fill(store, scene)
    store.close()
    for command in commands:
        lockctl(*command.split(), "--timeout", "1s", *(["--json"] if json else []))


@fuzz(3)
@given(scenes())
def test_the_gateway(scene: dict[str, bytes]) -> None:
    clock = VirtualClock()
    store = MemoryStore(clock)
    fill(store, scene)
    actor = Actor(store, clock, Random(1), "gateway@g", "g")
    try:
        fleet = FleetWatch(actor).look()
    except LocksmithError:
        return
    metrics = FleetMetrics(FleetReader(lambda: fleet, timedelta(0), 30, clock.boottime))
    answer = metrics.pages()["/metrics"]()
    assert answer.status == 200
    assert list(text_string_to_metric_families(answer.body.decode()))


ACTS = {
    "start": lambda actor, wish, slot: recovery.start(actor, wish.node, "board", wish.nonce),
    "steady": lambda actor, wish, slot: recovery.steady_look(actor, wish.node),
    "setup": lambda actor, wish, slot: recovery.setup(actor),
    "enqueue": lambda actor, wish, slot: enqueue(actor, wish, actor.store.session(timedelta(hours=1)).id, timedelta(0)),
    "claim": lambda actor, wish, slot: claim(actor, wish, Patience()),
    "cancel": lambda actor, wish, slot: cancel(actor, wish),
    "watch": lambda actor, wish, slot: watch_over(actor, slot),
    "arm": lambda actor, wish, slot: arm(
        actor, slot, epoch=1, attempt="a-1", request=None, expected=timedelta(minutes=5)
    ),
    "verify": lambda actor, wish, slot: verify(actor, slot, "boot-2", timedelta(minutes=5)),
    "fail": lambda actor, wish, slot: fail(actor, slot, "app"),
    "release": lambda actor, wish, slot: release(actor, slot, unwritten="x"),
    "record": lambda actor, wish, slot: recovery.write_record(
        actor, wish.node, NodeRecord(host="h", group=wish.group, state="steady", seen=actor.clock.wall())
    ),
    "drop": lambda actor, wish, slot: recovery.drop_request(actor, wish.node, "g"),
    "force": lambda actor, wish, slot: taking.force_unlock(actor, wish.node, "x", armed_too=True),
    "fsck": lambda actor, wish, slot: repair.fsck(actor, repair=True),
    "set-max": lambda actor, wish, slot: operating.set_max(actor, wish.group, 2),
}


@fuzz(6)
@given(scenes(), st.lists(st.sampled_from(list(ACTS)), min_size=1, max_size=4), st.sampled_from(NODES), st.booleans())
def test_every_act_of_an_agent(scene: dict[str, bytes], acts: list[str], node: str, fleet: bool) -> None:
    clock = VirtualClock()
    store = MemoryStore(clock)
    fill(store, scene)
    actor = Actor(store, clock, Random(1), f"agent@{node}", node)
    limits = ("group/web", "fleet/all") if fleet else ("group/web",)
    wish = Attempt(
        node=node,
        host=node,
        group="web",
        limits=limits,
        nonce="n",
        since=clock.wall(),
        reason="kernel",
        boot="boot-1",
        fingerprint="board",
    )
    found = None
    with suppress(LocksmithError):
        found = held(look(store, [keys.own(node)]), node)
    slot = slot_of(found) if found else Slot(node, 1, "n", "web", limits)
    for act in acts:
        with suppress(LocksmithError):
            ACTS[act](actor, wish, slot)
