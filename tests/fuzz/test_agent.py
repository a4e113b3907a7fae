"""The agent's real loop, worker and hands, step by step, beside providers and checks that say anything or raise."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locksmith.agent.hands import Hands
from locksmith.agent.loop import Loop
from locksmith.agent.worker import Batch, WriteRecord
from locksmith.core import events as ev
from locksmith.core.ledger import Ledger
from locksmith.core.needs import Need, NeedUnknown, NotNeeded
from locksmith.core.states import STATE_NAMES
from locksmith.core.verdict import Closed, Open, Unknown
from locksmith.semaphore import operating
from tests.fakes.mind import policy
from tests.fakes.parts import FakeHooks, FakeRebooter, FakeWatches, body
from tests.fakes.world import World
from tests.fuzz.profile import fuzz
from tests.fuzz.values import EDGES

TEXTS = st.text(max_size=6) | st.sampled_from(["", "a" * 10_000, "\x1b[2J", "\n", "\u202e", "[red]", "{}", "%s"])
TIMES = st.none() | st.sampled_from(EDGES) | st.just(datetime(2026, 1, 1, 0, 5, tzinfo=UTC))
SPANS = st.none() | st.sampled_from([timedelta(0), timedelta(seconds=-1), timedelta(seconds=5), timedelta.max])
FAULTS = st.sampled_from([
    ValueError("x"), KeyError("x"), OSError(5, "x"), RecursionError("x"), UnicodeDecodeError("utf-8", b"x", 0, 1, "x"),
    OverflowError("x"),
    AssertionError("x"), TypeError("\x1b[2J"), StopIteration(), MemoryError(),
])  # fmt: skip
VERSIONS = st.none() | TEXTS
NEEDS = st.one_of(
    st.builds(Need, st.just("file"), TEXTS, TEXTS, TEXTS, VERSIONS, VERSIONS, TIMES),
    st.builds(Need, st.just("file"), st.just("k"), st.sampled_from(["f", "g"]), st.just("r")),
    st.builds(NotNeeded, st.just("file"), VERSIONS),
    st.builds(NeedUnknown, st.just("file"), TEXTS),
    FAULTS,
)
VERDICTS = st.one_of(
    st.builds(Open, TEXTS, TIMES),
    st.just(Open()),
    st.builds(Closed, TEXTS, TIMES, SPANS),
    st.builds(Unknown, TEXTS, TIMES, SPANS),
    FAULTS,
)


@dataclass
class Wild:
    """A provider or a check that says one thing after the other, the last one for ever; what is an error it raises."""

    name: str
    kind: str
    left: list[Any]

    def ask(self, *_occasion: Any) -> Any:
        """See the class."""
        said = self.left.pop(0) if len(self.left) > 1 else self.left[0]
        if isinstance(said, BaseException):
            raise said
        return said


class Site:
    """An agent whose threads are this one."""

    def __init__(self, folder: Any, **parts: Any) -> None:
        """A fleet of one node with a slot to be had."""
        self.world = World()
        operating.set_max(self.world.operator, "web", 1)
        made = body(self.world.actor("agent@n1"), folder, policy=policy(), hooks=FakeHooks(), **parts)
        made.journal.path.unlink(missing_ok=True)
        self.loop = Loop(made, Ledger(), lambda snapshot, changed: None)
        self.loop.hands = self.loop.worker.hands = Hands(made, self.loop.post, FakeWatches())

    def go(self, event: ev.Event) -> None:
        """One event, and all that follows from it at once."""
        self.loop.post(event)
        for _ in range(60):
            if self.loop.inbox.empty():
                return
            self.loop.turn(self.loop.inbox.get())
            while not self.loop.worker.jobs.empty():
                job = self.loop.worker.jobs.get()
                if isinstance(job, Batch):
                    self.loop.worker._batch(job)
                elif isinstance(job, WriteRecord):
                    self.loop.worker._record(job.record)

    def judge(self) -> None:
        """It says where it stands, and its journal can be read."""
        told = self.loop.published.told
        assert told.state in STATE_NAMES.values()
        assert told.text.strip()
        assert self.loop.body.journal.load() == self.loop.agent.ledger


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Each fault is logged with its place."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@fuzz(4)
@given(
    st.lists(NEEDS, min_size=1, max_size=4),
    st.lists(VERDICTS, min_size=1, max_size=4),
    st.lists(VERDICTS, min_size=1, max_size=4),
    st.lists(st.sampled_from([1, 5, 61, 400, 4000]), min_size=4, max_size=12),
)
def test_it_goes_on(tmp_path, needs: list[Any], gates: list[Any], health: list[Any], waits: list[int]) -> None:
    provider, rebooter = Wild("file", "fake", list(needs)), FakeRebooter()
    site = Site(
        tmp_path,
        providers=[provider],
        gates=[Wild("gate", "gate", list(gates))],
        health=[Wild("app", "gate", list(health))],
        rebooter=rebooter,
    )
    happen: tuple[Callable[[], ev.Event], ...] = (ev.Tick, ev.Poke, ev.Woken)
    site.go(ev.Begin())
    for number, wait in enumerate(waits):
        site.judge()
        site.world.clock.advance(wait)
        site.go(happen[number % len(happen)]())
    site.judge()
    if not any(isinstance(need, Need) for need in needs):
        assert not rebooter.told


@fuzz(2)
@given(st.lists(VERDICTS, min_size=1, max_size=3))
def test_what_a_gate_says_is_the_only_thing_that_opens_it(tmp_path, gates: list[Any]) -> None:
    """Neither a fault nor rubbish is a word for a reboot."""
    rebooter = FakeRebooter()
    need = Need("file", "k", "f", "r")
    site = Site(
        tmp_path, providers=[Wild("file", "fake", [need])], gates=[Wild("gate", "gate", list(gates))], rebooter=rebooter
    )
    site.go(ev.Begin())
    for _ in range(12):
        site.world.clock.advance(61)
        site.go(ev.Tick())
    if not any(isinstance(verdict, Open) for verdict in gates):
        assert not rebooter.told
        assert site.world.held("n1") is None


def test_the_same_agent_reboots_when_all_is_well(tmp_path) -> None:
    """So that the tests above prove something."""
    rebooter = FakeRebooter()
    need = Need("file", "k", "f", "r")
    open_gate = Wild("gate", "gate", [Open()])
    site = Site(tmp_path, providers=[Wild("file", "fake", [need])], gates=[open_gate], rebooter=rebooter)
    site.go(ev.Begin())
    for _ in range(12):
        site.world.clock.advance(61)
        site.go(ev.Tick())
    assert rebooter.told
