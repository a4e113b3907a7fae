"""The worker: the journal first, effects in order, and an end at once when it must."""

import threading
from pathlib import Path
from typing import Any

import pytest

from locksmith.agent.journal import Journal
from locksmith.agent.worker import Batch, Worker, WriteRecord
from locksmith.core import effects as do
from locksmith.core import events as ev
from locksmith.core.documents import NodeRecord
from locksmith.core.effects import Effect
from locksmith.core.states import Agent, Steady
from locksmith.errors import Unavailable
from tests.fakes.mind import NOON, agent, ledger, owed

RECORD = NodeRecord(host="h", group="web", state="steady", seen=NOON)


class Hands:
    """Answers each effect with a Woken, and notes what the journal said then."""

    def __init__(self, journal: Path) -> None:
        self.journal = journal
        self.done: list[tuple[Effect, int]] = []
        self.journals: list[bytes] = []
        self.records: list[NodeRecord] = []
        self.trouble: dict[type, BaseException] = {}
        self.then: dict[type, Any] = {}

    def carry(self, mind: Agent, effect: Effect, number: int = 0) -> ev.Event | None:
        self.done.append((effect, number))
        self.journals.append(self.journal.read_bytes() if self.journal.exists() else b"")
        if type(effect) in self.trouble:
            raise self.trouble[type(effect)]
        self.then.get(type(effect), lambda: None)()
        return None if isinstance(effect, do.UnwatchHolder) else ev.Woken()

    def write_record(self, record: NodeRecord) -> None:
        self.records.append(record)
        if NodeRecord in self.trouble:
            raise self.trouble[NodeRecord]


class Bench:
    """A worker with everything that hears of it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "journal.json"
        self.hands = Hands(self.path)
        self.events: list[ev.Event] = []
        self.crashes: list[BaseException] = []
        self.recorded: list[tuple[NodeRecord, bool]] = []
        self.worker = Worker(
            self.hands,  # type: ignore[arg-type]
            Journal(self.path),
            self.events.append,
            self.crashes.append,
            lambda record, well: self.recorded.append((record, well)),
        )

    def work(self, *jobs: Batch | WriteRecord) -> list[Effect]:
        """Let the worker do this and end; gives what the hands did."""
        for job in jobs:
            self.worker.jobs.put(job)
        self.worker.jobs.put(None)
        thread = self.worker.start()
        thread.join(30)
        assert not thread.is_alive()
        return [effect for effect, _ in self.hands.done]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def batch(*effects: Effect, numbers: tuple[int, ...] = (), mind: Agent | None = None) -> Batch:
    return Batch(mind or agent(Steady(), ledger(owed())), effects, numbers)


def test_the_journal_is_written_before_the_first_effect(bench):
    bench.work(batch(do.Arm()))
    assert b'"token":7' in bench.hands.journals[0]


def test_a_batch_without_effects_writes_the_journal(bench):
    assert bench.work(batch()) == []
    assert Journal(bench.path).load() == ledger(owed())


def test_effects_are_done_in_order_and_answered_one_by_one(bench):
    assert bench.work(batch(do.UnwatchHolder(), do.Release()), batch(do.SteadyLook())) == [
        do.UnwatchHolder(),
        do.Release(),
        do.SteadyLook(),
    ]
    assert bench.events == [ev.Woken(), ev.Woken()]


def test_each_hook_gets_its_number(bench):
    first, second = do.RunHook("pre-reboot", "10-a"), do.RunHook("pre-reboot", "20-b")
    bench.work(batch(do.MarkPhase("draining"), first, second, numbers=(4, 5)))
    assert bench.hands.done == [(do.MarkPhase("draining"), 0), (first, 4), (second, 5)]


FORWARD = [do.Enqueue(NOON - NOON), do.Claim(), do.Arm(), do.Reboot(), do.RunHook("pre-reboot", "10-a")]
BACK = [
    do.Release(), do.CancelTicket(), do.MarkPhase("draining"), do.MarkFailed("app"), do.RunHook("undo", "10-a"),
    do.RunHook("post-reboot", "10-a"), do.Recover(None), do.AskPending(), do.AskHealth(), do.StopHook(),
]  # fmt: skip


@pytest.mark.parametrize("effect", FORWARD, ids=lambda effect: type(effect).__name__)
def test_without_a_journal_nothing_goes_forward(bench, effect):
    bench.path.with_name(".journal.json.new").mkdir()
    assert bench.work(batch(effect, do.AskGates("drain"), numbers=(1,))) == [do.AskGates("drain")]
    failed, other = bench.events
    assert isinstance(failed, ev.JournalFailed)
    assert failed.act == type(effect).__name__.lower()
    assert str(bench.path) in failed.text
    assert other == ev.Woken()


@pytest.mark.parametrize("effect", BACK, ids=lambda effect: type(effect).__name__)
def test_without_a_journal_everything_can_be_taken_back(bench, effect):
    bench.path.with_name(".journal.json.new").mkdir()
    assert bench.work(batch(effect, numbers=(1,))) == [effect]
    assert bench.events == [ev.Woken()]


def test_a_journal_that_can_be_written_again_is_tried_with_the_next_batch(bench):
    blocker = bench.path.with_name(".journal.json.new")
    blocker.mkdir()
    bench.hands.then[do.AskHealth] = blocker.rmdir
    assert bench.work(batch(do.AskHealth()), batch(do.Arm())) == [do.AskHealth(), do.Arm()]


def test_a_bug_is_told_and_ends_the_work(bench):
    bug = RuntimeError("a bug")
    bench.hands.trouble[do.Claim] = bug
    assert bench.work(batch(do.Claim(), do.AskHealth()), batch(do.Release())) == [do.Claim()]
    assert bench.crashes == [bug]
    assert bench.events == []


def test_the_dead_do_nothing_more_and_say_nothing(bench):
    bench.hands.then[do.Claim] = bench.worker.dead.set
    assert bench.work(batch(do.Claim(), do.Release()), batch(do.Release())) == [do.Claim()]
    assert bench.events == []


def test_a_bug_of_the_dead_is_nobodys_business(bench):
    def die() -> None:
        bench.worker.dead.set()
        raise RuntimeError("torn down")

    bench.hands.then[do.Claim] = die
    bench.work(batch(do.Claim()))
    assert bench.crashes == []


def test_a_record_is_written(bench):
    bench.work(WriteRecord(RECORD))
    assert bench.hands.records == [RECORD]
    assert bench.recorded == [(RECORD, True)]
    assert bench.events == []


def test_a_record_that_cannot_be_written_is_told(bench):
    bench.hands.trouble[NodeRecord] = Unavailable("no answer")
    bench.work(WriteRecord(RECORD))
    assert bench.recorded == [(RECORD, False)]
    assert bench.events == [ev.StoreFailed("record", "unavailable", "no answer")]


def test_a_bug_in_writing_a_record_is_a_bug(bench):
    bench.hands.trouble[NodeRecord] = KeyError("a bug")
    bench.work(WriteRecord(RECORD), batch(do.Release()))
    assert [type(error) for error in bench.crashes] == [KeyError]
    assert bench.hands.done == []


def test_a_record_does_not_wait_for_a_hook_and_everything_else_does(bench):
    written = threading.Event()
    inner = bench.hands.write_record

    def write(record: NodeRecord) -> None:
        inner(record)
        written.set()

    bench.hands.write_record = write
    seen: list[bool] = []
    bench.hands.then[do.RunHook] = lambda: seen.append(written.wait(30))
    hook = do.RunHook("pre-reboot", "10-a")
    done = bench.work(
        batch(hook, numbers=(1,)), batch(do.Claim()), WriteRecord(RECORD), batch(do.Arm()), WriteRecord(RECORD)
    )
    assert seen == [True]
    assert done == [hook, do.Claim(), do.Arm()]
    assert bench.recorded == [(RECORD, True)] * 2


def test_a_record_that_breaks_beside_a_hook_ends_the_process(bench):
    broken = threading.Event()
    bench.hands.trouble[NodeRecord] = ValueError("a bug")
    bench.worker.crashed = lambda error: (bench.crashes.append(error), broken.set())
    bench.hands.then[do.RunHook] = lambda: broken.wait(30)
    bench.work(batch(do.RunHook("pre-reboot", "10-a"), numbers=(1,)), WriteRecord(RECORD))
    assert [str(error) for error in bench.crashes] == ["a bug"]
