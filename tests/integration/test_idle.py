"""An agent with nothing to do: what it asks of the store in any ten minutes of three hours, and how often it wakes.

The loop, the worker, the machine and the hands are the real ones, in their own threads. Only time is not: the inbox moves a
virtual clock instead of waiting, whenever the worker has nothing left to do. `python -m tests.benchmarks.idle` does the same
in real minutes, with real processes and servers, and counts what the kernel sees.
"""

import queue
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest

from locksmith import config
from locksmith.agent.loop import Loop
from locksmith.agent.worker import Batch, WriteRecord
from locksmith.assemble_agent import body, machine
from locksmith.core import events as ev
from locksmith.core.states import Steady
from locksmith.semaphore import operating
from locksmith.semaphore.actor import Actor
from locksmith.stores.measured import Measured, Request
from locksmith.stores.memory import MemoryStore
from tests.fakes.clock import VirtualClock

WINDOW = 600.0
HOURS = 3
QUIET_SECONDS = 30
"""Real seconds in which the worker must have done what it has to do."""


class Jobs(queue.SimpleQueue[Batch | WriteRecord | None]):
    """The worker's queue, which knows when the worker has come back for more and found nothing."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting = False
        self._left = 0

    def put(self, item: Batch | WriteRecord | None, block: bool = True, timeout: float | None = None) -> None:
        with self._changed:
            self._left += 1
        super().put(item)

    def get(self, block: bool = True, timeout: float | None = None) -> Batch | WriteRecord | None:
        with self._changed:
            self._waiting = True
            self._changed.notify_all()
        item = super().get()
        with self._changed:
            self._waiting = False
            self._left -= 1
        return item

    def wait_until_idle(self) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self._waiting and self._left == 0, QUIET_SECONDS)


class Inbox(queue.SimpleQueue[ev.Event]):
    """The loop's inbox under a virtual clock; `wakes` are the instants at which the loop went on, and why."""

    def __init__(self, clock: VirtualClock, jobs: Jobs) -> None:
        self._clock = clock
        self._jobs = jobs
        self.end: float | None = None
        self.wakes: list[tuple[float, str]] = []
        self.over = threading.Event()

    def get(self, block: bool = True, timeout: float | None = None) -> ev.Event:
        """What has arrived; else what is due first: an event of a feeder, or the end of the wait."""
        assert timeout is not None
        self._jobs.wait_until_idle()
        until = self._clock.boottime() + timeout
        while self.empty() and self._clock.boottime() < until:
            self._clock.step(until)
        if self.end is not None and self._clock.boottime() >= self.end:
            self.over.set()
            return ev.StopAsked(going_down=False)
        if self.empty():
            self.wakes.append((self._clock.boottime(), "Tick"))
            raise queue.Empty
        event = super().get()
        self.wakes.append((self._clock.boottime(), type(event).__name__))
        return event


@dataclass
class Idle:
    """One agent on a memory store."""

    folder: Path
    seed: int
    heartbeat: str = "15m"
    look: timedelta | None = None
    clock: VirtualClock = field(default_factory=VirtualClock)
    requests: list[tuple[float, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        boot = self.folder / "boot_id"
        boot.write_text("11111111-2222-3333-4444-555555555555\n")
        file = self.folder / "locksmith.toml"
        file.write_text(
            f"""
            [store]
            url = "memory:"
            [node]
            id = "idle"
            boot_id_file = "{boot}"
            product_uuid_file = "{boot}"
            state_dir = "{self.folder}"
            run_dir = "{self.folder}"
            [agent]
            heartbeat = "{self.heartbeat}"
            metrics_listen = ""
            [updates.file]
            kind = "reboot-required"
            path = "{self.folder}/reboot-required"
            """
        )
        loaded = config.load(file, environ={})
        memory = MemoryStore(self.clock)
        operating.set_max(
            Actor(memory.client(), self.clock, Random(self.seed), "alice@bastion1", "bastion1"), "default", 1
        )
        made = body(loaded, machine(loaded), Measured(memory.client(), self._observe))
        actor = Actor(made.actor.store, self.clock, Random(self.seed), "agent", "host1")
        policy = replace(made.policy, look_interval=self.look or made.policy.look_interval)
        self.body = replace(made, actor=actor, policy=policy)

    def _observe(self, request: Request) -> None:
        self.requests.append((self.clock.boottime(), request.op))

    def run(self) -> Inbox:
        """Three hours from when it is steady and has told the registry so."""
        loop = Loop(self.body, self.body.journal.load(), lambda _snapshot, _changed: None)
        jobs = Jobs()
        inbox = Inbox(self.clock, jobs)
        loop.worker.jobs, loop.inbox = jobs, inbox
        self._feed(loop)

        def begin() -> None:
            assert isinstance(loop.agent.state, Steady), loop.agent.state
            self.requests.clear()
            inbox.wakes.clear()
            inbox.end = self.clock.boottime() + HOURS * 3600

        self.clock.after(40, begin)
        loop.run()
        assert inbox.over.is_set()
        return inbox

    def _feed(self, loop: Loop) -> None:
        """The providers' feeder: one answer each poll_interval."""

        def answer() -> None:
            loop.post(ev.ProvidersAnswered(tuple(provider.ask() for provider in self.body.providers)))
            self.clock.after(self.body.policy.poll_interval.total_seconds(), answer)

        self.clock.after(self.body.policy.poll_interval.total_seconds(), answer)


@pytest.fixture(params=range(5))
def seed(request: pytest.FixtureRequest) -> Iterator[int]:
    """Jitter may be kind in one run."""
    return request.param


def most(instants: list[float]) -> int:
    """The most that fall into any ten minutes."""
    return max((sum(start <= at < start + WINDOW for at in instants) for start in instants), default=0)


def requests(idle: Idle) -> int:
    return most([at for at, _ in idle.requests])


def writes(idle: Idle) -> int:
    return most([at for at, op in idle.requests if op == "commit"])


def wakes(inbox: Inbox) -> int:
    """Besides those that the feeder caused."""
    return most([at for at, name in inbox.wakes if name != "ProvidersAnswered"])


def test_any_ten_idle_minutes(tmp_path: Path, seed: int) -> None:
    idle = Idle(tmp_path / "host", seed)
    inbox = idle.run()
    assert 1 <= requests(idle) <= 3, idle.requests
    assert writes(idle) == 1, idle.requests
    assert wakes(inbox) <= 2 * WINDOW / 60, inbox.wakes
    assert Counter(name for _, name in inbox.wakes)["ProvidersAnswered"] == HOURS * 60
    print({"requests": requests(idle), "writes": writes(idle), "wakes": wakes(inbox)})


def test_the_count_sees_an_agent_that_is_not_idle(tmp_path: Path) -> None:
    """Negative control: one that tells the registry every minute, and one that looks every ten seconds."""
    busy = Idle(tmp_path / "busy", 1, heartbeat="1m")
    busy.run()
    assert writes(busy) > 1
    restless = Idle(tmp_path / "restless", 1, look=timedelta(seconds=10))
    inbox = restless.run()
    assert requests(restless) > 3
    assert wakes(inbox) > 2 * WINDOW / 60
