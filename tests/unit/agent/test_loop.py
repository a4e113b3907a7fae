"""The loop: one step at a time, what it hands over, what it publishes, when it writes the registry record."""

import logging
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from locksmith.agent.loop import RECORD_EVERY, Loop
from locksmith.agent.snapshot import Snapshot
from locksmith.agent.worker import Batch, WriteRecord
from locksmith.core import effects as do
from locksmith.core import events as ev
from locksmith.core.effects import Effect
from locksmith.core.ledger import Ledger
from locksmith.core.states import Agent, Draining, Queued, Starting, State, Steady
from locksmith.hooks import HookDone
from locksmith.semaphore.actor import Actor
from locksmith.stores.memory import MemoryStore
from tests.fakes.mind import NEED, NOTHING, agent, found, ledger, owed, policy, says, slot
from tests.fakes.parts import FakeHooks, FakeProvider, body
from tests.fakes.world import World


class Bench:
    """A loop whose worker does not run: what it is given is looked at."""

    def __init__(self, folder: Path, **changes) -> None:
        self.world = World()
        self.clock = self.world.clock
        self.heard: list[tuple[Snapshot, bool]] = []
        made = body(self.world.actor("agent@n1"), folder, **changes)
        self.loop = Loop(made, ledger(), lambda snapshot, changed: self.heard.append((snapshot, changed)))

    def be(self, state: State, book: Ledger | None = None, **changes) -> None:
        """Put the loop's agent into a state, now."""
        at = self.loop._moment()
        rules = self.loop.body.policy
        made = agent(state, book, policy=rules, next_look=at.boottime + 300, since=at, **changes)
        self.loop.agent = made

    def turn(self, event: ev.Event, after: float = 0.0) -> list[Effect]:
        """One event; gives the effects that were handed over."""
        self.clock.advance(after)
        self.loop.turn(event)
        return [effect for job in self.jobs() if isinstance(job, Batch) for effect in job.effects]

    def jobs(self) -> list[Batch | WriteRecord | None]:
        """Everything that the worker was given since the last look; records are kept aside."""
        jobs = []
        while not self.loop.worker.jobs.empty():
            jobs.append(self.loop.worker.jobs.get())
        self.records = [job.record for job in jobs if isinstance(job, WriteRecord)]
        return jobs


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


# ------------------------------------------------------------------------------------------------ steps


def test_there_is_a_picture_before_the_first_step(bench):
    assert bench.loop.published.told.state == "starting"


def test_a_step_is_published_and_handed_over(bench):
    assert bench.turn(ev.Begin()) == [do.AskProviders(), do.Recover(None)]
    assert bench.heard[-1][0] is bench.loop.published


def test_a_listener_hears_whether_the_state_or_its_sentence_changed(bench):
    bench.turn(ev.Begin())
    bench.turn(NOTHING)
    bench.turn(found())
    bench.turn(NOTHING)
    assert [changed for _, changed in bench.heard] == [True, False, True, False]


def test_a_look_at_the_clock_is_no_step_while_nothing_is_due(bench):
    bench.be(Steady(), needs={})
    before = bench.loop.agent
    assert bench.turn(ev.Tick(), after=299) == []
    assert bench.loop.agent is before
    assert bench.heard[-1][1] is False  # the watchdog hears of it
    assert bench.turn(ev.Tick(), after=1) == [do.SteadyLook()]


def test_what_only_the_journal_must_know_is_handed_over_too(bench):
    bench.be(Queued(enqueued=True), ledger(owed(token=None)))
    bench.turn(says(replace(NEED, fingerprint="fp-2")))
    bench.loop.turn(says(replace(NEED, fingerprint="fp-3")))
    [job] = [job for job in bench.jobs() if isinstance(job, Batch)]
    assert job.effects == ()
    assert job.agent.ledger.wanted == {"file": "fp-3"}


def test_a_step_without_anything_to_do_hands_over_nothing(bench):
    bench.be(Steady(), needs={})
    bench.loop.turn(ev.Woken())
    assert [job for job in bench.jobs() if isinstance(job, Batch)] == []


def test_each_step_has_chances_of_its_own(bench):
    moments = [bench.loop._moment() for _ in range(50)]
    assert len({moment.nonce for moment in moments}) == 50
    assert len({moment.chance for moment in moments}) == 50
    assert all(len(moment.nonce) == 16 and 0 <= moment.chance < 1 for moment in moments)


def test_a_change_is_logged_once_and_with_its_fields(bench, caplog):
    caplog.set_level(logging.INFO, "locksmith.agent")
    bench.turn(ev.Begin())
    bench.turn(found())
    bench.turn(NOTHING)
    lines = [record.getMessage() for record in caplog.records]
    assert lines == ["starting -> steady: no update is staged"]
    [record] = caplog.records
    assert (record.old_state, record.event, record.state, record.node, record.group) == (  # type: ignore[attr-defined]
        "starting", "FoundAtStart", "steady", "n1", "web",
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------ hooks


def drained(bench: Bench) -> Batch:
    """A loop that has just begun its first pre hook."""
    bench.be(Draining(), ledger(owed()), slot=slot())
    bench.loop.turn(ev.HooksListed("pre-reboot", ("10-a", "20-b")))
    [job] = [job for job in bench.jobs() if isinstance(job, Batch)]
    return job


def test_a_hook_that_was_called_off_before_it_began_does_not_begin(tmp_path):
    hooks = FakeHooks()
    bench = Bench(tmp_path, hooks=hooks)
    job = drained(bench)
    assert job.effects == (do.MarkPhase("draining"), do.RunHook("pre-reboot", "10-a"))
    bench.turn(ev.HolderSeen(gone=True))
    event = bench.loop.hands.carry(job.agent, job.effects[1], job.numbers[0])
    assert event == ev.HookEnded("pre-reboot", "10-a", "called off before it began", cancelled=True)
    assert hooks.ran == []


def test_a_hook_of_the_next_attempt_is_not_called_off_with_the_last(tmp_path):
    bench = Bench(tmp_path, hooks=FakeHooks())
    first = drained(bench)
    bench.turn(ev.HolderSeen(gone=True))
    second = drained(bench)
    assert second.numbers > first.numbers
    event = bench.loop.hands.carry(second.agent, second.effects[1], second.numbers[0])
    assert event == ev.HookEnded("pre-reboot", "10-a", None)


def test_a_running_hook_is_stopped_by_the_step_itself(tmp_path):
    begun = threading.Event()

    def wait(name: str, cancel: threading.Event | None) -> HookDone:
        begun.set()
        assert cancel is not None
        assert cancel.wait(30)
        return HookDone()

    bench = Bench(tmp_path, hooks=FakeHooks(run_as=wait))
    job = drained(bench)
    hook = threading.Thread(target=bench.loop.hands.carry, args=(job.agent, job.effects[1], job.numbers[0]))
    hook.start()
    assert begun.wait(30)
    bench.turn(ev.HolderSeen(gone=True))  # nobody carries out the batch with StopHook: the loop does it at once
    hook.join(30)
    assert not hook.is_alive()


# ------------------------------------------------------------------------------------------------ the record


def test_no_record_is_written_before_the_store_has_answered(bench):
    bench.turn(ev.Begin())
    assert bench.records == []
    bench.turn(found())
    [record] = bench.records
    assert (record.state, record.why, record.host, record.labels) == (
        "steady",
        "no update is staged",
        "n1",
        {"zone": "a"},
    )


def test_a_record_is_written_when_it_changes_and_at_most_once_in_ten_seconds(bench):
    bench.turn(ev.Begin())
    bench.turn(found())
    assert len(bench.records) == 1
    bench.turn(says(NEED), after=1)
    assert bench.records == []
    assert bench.loop._patience() <= RECORD_EVERY - 1
    bench.turn(ev.Tick(), after=8.9)
    assert bench.records == []
    bench.turn(ev.Tick(), after=0.2)
    assert [record.why for record in bench.records] == ["an update is staged: asking the gates"]
    bench.turn(ev.Tick(), after=RECORD_EVERY)
    assert bench.records == []


def test_what_changed_back_is_not_written(bench):
    bench.turn(ev.Begin())
    bench.turn(found())
    bench.turn(says(NEED))
    bench.turn(NOTHING)
    bench.turn(ev.Tick(), after=RECORD_EVERY)
    assert bench.records == []


def test_an_idle_agent_writes_only_its_heartbeat(bench):
    bench.turn(ev.Begin())
    bench.turn(found())
    first = bench.clock.boottime()
    written = []
    for _ in range(40):
        bench.turn(found(start=False), after=60)
        written += [(bench.clock.boottime() - first, record.seen) for record in bench.records]
    assert 2 <= len(written) <= 3
    assert all(810 <= after <= 1801 + 60 for after, _ in written[:2])
    assert written[0][1] < written[1][1]


def test_a_record_that_cannot_be_written_is_tried_again_with_growing_waits(bench):
    bench.turn(ev.Begin())
    bench.turn(found())
    [record] = bench.records
    waits = []
    for _ in range(8):
        bench.loop._recorded(record, False)
        asked = bench.clock.boottime()
        while not bench.records:
            bench.turn(ev.StoreFailed("record", "unavailable", "no answer"), after=1)
        waits.append(bench.clock.boottime() - asked)
        bench.records = []
    assert waits[0] <= 21
    assert max(waits) > 100
    assert max(waits) <= 301
    bench.loop._recorded(record, True)
    bench.turn(says(NEED), after=301)
    assert len(bench.records) == 1


# ------------------------------------------------------------------------------------------------ a whole life


class Life:
    """A loop that runs, on a memory store, with threads."""

    def __init__(self, folder: Path, **changes) -> None:
        self.store = MemoryStore()
        self.world = World()
        self.world.clock.now = 100_000.0
        actor = Actor(self.store, self.world.clock, self.world.random, "agent", "n1")
        self.states: list[str] = []
        self.seen = threading.Condition()
        self.loop = Loop(body(actor, folder, **changes), Ledger(), self.listen, 0.05)
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self) -> None:
        try:
            self.loop.run()
        except BaseException as error:  # noqa: BLE001 - handed to the test
            self.error = error

    def listen(self, snapshot: Snapshot, changed: bool) -> None:
        with self.seen:
            if changed:
                self.states.append(snapshot.told.state)
                self.seen.notify_all()

    def wait_for(self, state: str) -> None:
        with self.seen:
            assert self.seen.wait_for(lambda: state in self.states, 30), self.states

    def end(self) -> None:
        self.thread.join(30)
        assert not self.thread.is_alive()


@pytest.fixture
def lives(tmp_path: Path) -> Iterator[list[Life]]:
    made: list[Life] = []
    yield made
    for life in made:
        life.loop.kill()
        life.end()
        life.store.close()


def test_a_life_sets_up_the_store_and_ends_when_it_is_asked_to(tmp_path, lives):
    lives.append(life := Life(tmp_path))
    life.wait_for("steady")
    life.loop.post(ev.StopAsked(going_down=False))
    life.end()
    assert life.error is None
    assert life.states == ["starting", "steady"]
    assert "cfg" in life.store.read(["cfg"]).items


def test_a_life_takes_a_slot_and_gives_it_back_when_it_is_stopped(tmp_path, lives):
    begun = threading.Event()

    def wait(name: str, cancel: threading.Event | None) -> HookDone:
        if not begun.is_set():
            begun.set()
            assert cancel is not None
            assert cancel.wait(30)
        return HookDone()

    hooks = FakeHooks({"pre-reboot": ("10-a",), "undo": ("10-a",)}, wait)
    rules = policy(jitter=timedelta(0))
    lives.append(life := Life(tmp_path, hooks=hooks, policy=rules, providers=[FakeProvider(NEED)]))
    assert begun.wait(30)
    life.loop.post(ev.StopAsked(going_down=False))
    life.end()
    assert life.error is None
    assert [(stage, name) for stage, name, _ in hooks.ran] == [("pre-reboot", "10-a"), ("undo", "10-a")]
    assert life.states[-3:] == ["undoing", "releasing", "steady"]
    assert life.store.read([], ["own/", "q/"]).items == {}
    assert life.loop.agent.ledger.called_off == {"stopped": 1}


def test_what_breaks_the_worker_ends_the_life_with_its_reason(tmp_path, lives):
    bug = RuntimeError("a bug")

    class Broken(list):
        def __iter__(self):
            raise bug

    lives.append(life := Life(tmp_path, providers=Broken()))
    life.end()
    assert life.error is bug


def test_a_killed_life_does_nothing_more(tmp_path, lives):
    lives.append(life := Life(tmp_path))
    life.wait_for("steady")
    rows = life.store.read(prefixes=[""]).items
    life.loop.kill()
    life.end()
    life.loop.post(says(NEED))
    assert life.error is None
    assert {key: item for key, item in life.store.read(prefixes=[""]).items.items() if not key.startswith("node/")} == {
        key: item for key, item in rows.items() if not key.startswith("node/")
    }


# ------------------------------------------------------------------------------------------------ a new configuration


def test_a_swap_keeps_the_state_and_takes_the_new_policy(bench):
    bench.be(Queued(enqueued=True, rank=2), ledger(owed(token=None)))
    before: Agent = bench.loop.agent
    bench.loop.swap(replace(bench.loop.body, policy=policy(poll_interval=timedelta(seconds=7))))
    assert bench.loop.agent.state is before.state
    assert bench.loop.agent.ledger is before.ledger
    assert bench.loop.agent.policy.poll_interval == timedelta(seconds=7)
    assert bench.loop.hands.body is bench.loop.body
    assert bench.loop.inbox.get_nowait() == ev.Poke()


def test_a_loop_begins_by_starting(bench):
    assert isinstance(bench.loop.agent.state, Starting)
