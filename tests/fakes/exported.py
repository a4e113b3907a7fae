"""Pages of an agent and of a gateway in which everything is there that ever can be, so that a test may ask what is exported."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from random import Random

from locksmith.agent.body import Body
from locksmith.agent.journal import Journal
from locksmith.agent.snapshot import Snapshot, picture
from locksmith.checks.command import CommandCheck
from locksmith.checks.window import WindowCheck
from locksmith.core.documents import NodeRecord
from locksmith.core.facts import Moment, Policy, SlotFact
from locksmith.core.ledger import Home, LastReboot, Ledger
from locksmith.core.needs import Need
from locksmith.core.states import Agent, Draining
from locksmith.core.windows import parse_window
from locksmith.fleet_metrics import FleetMetrics
from locksmith.fleet_reader import FleetReader
from locksmith.hooks import Hooks
from locksmith.metrics import AgentMetrics
from locksmith.rebooters import Idle, NotAccepted
from locksmith.rebooters.simulated import SimulatedRebooter
from locksmith.semaphore import recovery
from locksmith.semaphore.actor import Actor
from locksmith.semaphore.fleet import FleetWatch
from locksmith.semaphore.holding import release
from locksmith.stores.measured import Request
from locksmith.stores.memory import MemoryStore
from locksmith.updates.command import CommandProvider
from locksmith.web import Pages
from tests.fakes.clock import EPOCH, VirtualClock
from tests.fakes.world import World

_LIMIT = timedelta(seconds=1)


@dataclass
class _Loop:
    published: Snapshot
    body: Body


def agent_page(folder: Path) -> str:
    """Of an agent that holds a slot, has rebooted, wants to again and is outside its window."""
    clock = VirtualClock()
    policy = Policy("web", ("group/web",), Home(store="etcd://a:1/locksmith", prefix="locksmith", node="n1"))
    body = Body(
        actor=Actor(MemoryStore(clock), clock, Random(1), "agent", "host1"),
        policy=policy,
        boot="b1",
        fingerprint="f1",
        journal=Journal(folder / "journal.json"),
        providers=[CommandProvider("packages", ["false"], _LIMIT)],
        gates=[CommandCheck("backup", ["true"], _LIMIT, "gate"), WindowCheck([parse_window("night", "23:00", "1h")])],
        health=[],
        hooks=Hooks(folder, _LIMIT),
        rebooter=SimulatedRebooter(_nothing, Idle),
        labels={},
    )
    agent = Agent(
        policy,
        "b1",
        "f1",
        Ledger(last=LastReboot(at=EPOCH, result="healthy", phases={"down": 42.5})),
        Draining(),
        Moment(EPOCH, 1000.0),
        needs={"packages": Need("packages", "command", "f", "linux", since=EPOCH)},
        asked_providers=True,
        slot=SlotFact(7, "x", "web", ("group/web",), "draining", "b1", since=EPOCH),
    )
    shown = AgentMetrics(_Loop(picture(agent, Moment(EPOCH, 1000.0)), body))
    shown.observe(Request("read", 0.02, None, 0, 0))
    return _page(shown.pages())


def _nothing(reason: str, environment: object) -> NotAccepted:
    raise AssertionError(f"nothing reboots here: {reason}, {environment}")


def gateway_page() -> str:
    """Of a gateway whose fleet has a holder, a waiter, a node that wants a reboot, and a past."""
    world = World()
    reader = FleetReader(FleetWatch(world.actor("gateway@g1")).look, timedelta(0), 30, world.clock.boottime)
    release(first := world.actor("agent@n1"), world.holding(first, "n1"))
    world.holding(world.actor("agent@n2"), "n2")
    world.queued(third := world.actor("agent@n3"), world.attempt(third, "n3"))
    now = world.clock.wall()
    record = NodeRecord(
        host="host-n3", group="web", state="queued", kind="queue", seen=now, need="linux", need_since=now
    )
    recovery.write_record(third, "n3", record)
    return _page(FleetMetrics(reader).pages())


def _page(pages: Pages) -> str:
    return pages["/metrics"]().body.decode()
