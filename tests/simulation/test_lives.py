"""One life of the agent after the other in one process: what a reload starts must find nobody at work any more."""

import json
import threading
from datetime import timedelta
from random import Random

import pytest

from locksmith.agent.body import Body
from locksmith.agent.journal import Journal
from locksmith.agent.loop import Loop
from locksmith.core import events as ev
from locksmith.core.ledger import Ledger
from locksmith.core.needs import NotNeeded
from locksmith.daemon import Daemon
from locksmith.errors import ConfigError
from locksmith.hooks import Hooks
from locksmith.host.clock import SystemClock
from locksmith.rebooters import Idle
from locksmith.rebooters.simulated import SimulatedRebooter
from locksmith.semaphore.actor import Actor
from locksmith.stores.memory import MemoryStore
from tests.fakes.faulty import FaultyStore
from tests.fakes.mind import BOOT, HOME, ledger, owed, policy


class Slow:
    """A provider that answers when told."""

    name = kind = "slow"

    def __init__(self) -> None:
        self.asked, self.answer = threading.Event(), threading.Event()

    def ask(self):
        self.asked.set()
        assert self.answer.wait(30)
        return NotNeeded("slow")


@pytest.fixture
def provider():
    slow = Slow()
    yield slow
    slow.answer.set()


@pytest.fixture
def loop(provider, tmp_path):
    store = FaultyStore(MemoryStore())
    body = Body(
        actor=Actor(store, SystemClock(), Random(1), "agent", "n1"),
        policy=policy(home=HOME),
        boot=BOOT,
        fingerprint="hw",
        journal=Journal(tmp_path / "journal.json"),
        providers=[provider],
        gates=[],
        health=[],
        hooks=Hooks(tmp_path / "hooks", timedelta(seconds=5)),
        rebooter=SimulatedRebooter(lambda reason, environment: pytest.fail("rebooted"), Idle),
        labels={},
    )
    return Loop(body, Ledger(boot=BOOT), lambda picture, changed: None)


def test_after_a_life_its_worker_does_nothing_more(loop, provider):
    life = threading.Thread(target=loop.run)
    life.start()
    assert provider.asked.wait(10)
    loop.post(ev.StopAsked(going_down=False))
    life.join(20)
    assert not life.is_alive()
    provider.answer.set()
    for thread in threading.enumerate():
        if thread.name == "worker":
            thread.join(10)
    assert loop.body.actor.store.reads == 0, "the worker went on with the next effect"


def test_an_agent_that_is_asked_to_stop_gives_signs_of_life_more_often_than_its_stop_time_lasts(loop):
    assert loop._patience() > 30
    loop.turn(ev.StopAsked(going_down=False))
    assert loop._patience() <= 10


# ---------------------------------------------------------------- the configuration


@pytest.fixture
def broken(tmp_path, monkeypatch):
    """A configuration that can be read, and says nothing about a store."""
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    file = tmp_path / "locksmith.toml"
    file.write_text(f"[node]\nid = {json.dumps('n1')}\nstate_dir = {json.dumps(str(tmp_path))}\n")
    return file


def test_without_a_store_nothing_starts(broken):
    with pytest.raises(ConfigError):
        Daemon(broken)._load_or_hold()


def test_without_a_store_a_node_that_holds_a_slot_keeps_it_and_says_so(broken, tmp_path, capsys):
    Journal(tmp_path / "journal.json").save(ledger(owed()))
    daemon = Daemon(broken)
    daemon._stopping.set()
    assert daemon._load_or_hold() is None
    assert "the slot that this node holds is kept" in capsys.readouterr().err
