"""What brings events from outside: the poll of the providers, and the poke."""

import gc
import queue
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from locksmith.agent.feeders import DEATHS, Feeders
from locksmith.agent.loop import Loop
from locksmith.cli.local import poke
from locksmith.core import events as ev
from locksmith.core.ledger import Ledger
from locksmith.errors import ConfigError
from tests.fakes.mind import NEED, policy
from tests.fakes.parts import FakeProvider, body
from tests.fakes.world import World

WAIT = 30
NEVER = timedelta(hours=9)


class Site:
    """A loop that does not run, and its feeders."""

    def __init__(self, folder: Path, run_dir: Path, interval: timedelta, **changes) -> None:
        self.run_dir = run_dir
        made = body(World().actor("agent@n1"), folder, policy=policy(poll_interval=interval), **changes)
        self.loop = Loop(made, Ledger(), lambda snapshot, changed: None)
        self.feeders = Feeders(self.loop, run_dir, timedelta(milliseconds=1))

    def next(self) -> ev.Event:
        return self.loop.inbox.get(timeout=WAIT)


@pytest.fixture
def run_dir() -> Iterator[Path]:
    """A short path: the address of a socket has at most 107 bytes."""
    made = Path(tempfile.mkdtemp(prefix="run-"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def sites() -> Iterator[list[Site]]:
    made: list[Site] = []
    yield made
    for site in made:
        site.feeders.stop()
        poke(site.run_dir)


def test_the_providers_are_asked_again_and_again(tmp_path, run_dir, sites):
    providers = [FakeProvider(NEED), FakeProvider(name="other")]
    sites.append(site := Site(tmp_path, run_dir, timedelta(milliseconds=2), providers=providers))
    site.feeders.start()
    for _ in range(3):
        event = site.next()
        assert isinstance(event, ev.ProvidersAnswered)
        assert event.answers[0] == NEED
        assert len(event.answers) == 2


def test_the_first_round_comes_after_one_interval(tmp_path, run_dir, sites):
    sites.append(site := Site(tmp_path, run_dir, NEVER))
    site.feeders.start()
    with pytest.raises(queue.Empty):
        site.loop.inbox.get(timeout=0.05)


class Signalled(FakeProvider):
    """A provider whose signals the test gives."""

    def __init__(self) -> None:
        super().__init__(NEED)
        self.signals: queue.SimpleQueue[None] = queue.SimpleQueue()

    def wait(self, limit: timedelta) -> bool:
        try:
            self.signals.get(timeout=min(limit.total_seconds(), 0.05))
        except queue.Empty:
            return False
        return True


def test_a_signal_has_the_providers_asked_at_once(tmp_path, run_dir, sites):
    provider = Signalled()
    sites.append(site := Site(tmp_path, run_dir, NEVER, providers=[FakeProvider(name="quiet"), provider]))
    site.feeders.start()
    with pytest.raises(queue.Empty):
        site.loop.inbox.get(timeout=0.05)
    provider.signals.put(None)
    event = site.next()
    assert isinstance(event, ev.ProvidersAnswered)
    assert event.answers[1] == NEED


def test_a_poke_of_lockctl_looks_and_asks_at_once(tmp_path, run_dir, sites):
    sites.append(site := Site(tmp_path, run_dir, NEVER))
    site.feeders.start()
    for _ in range(2):
        poke(run_dir)
        assert {type(site.next()), type(site.next())} == {ev.Poke, ev.ProvidersAnswered}


def test_the_next_configuration_is_asked(tmp_path, run_dir, sites):
    sites.append(site := Site(tmp_path, run_dir, NEVER))
    site.feeders.start()
    old = site.loop.body
    site.loop.body = body(old.actor, tmp_path, policy=old.policy, providers=[FakeProvider(NEED, "new")])
    poke(run_dir)
    answers = [event for event in (site.next(), site.next()) if isinstance(event, ev.ProvidersAnswered)]
    assert answers == [ev.ProvidersAnswered((NEED,))]


def test_what_an_earlier_life_left_does_not_stand_in_the_way(tmp_path, run_dir, sites):
    (run_dir / "poke.sock").write_text("left over")
    sites.append(site := Site(tmp_path, run_dir, NEVER))
    site.feeders.start()
    poke(run_dir)
    assert isinstance(site.next(), ev.Poke | ev.ProvidersAnswered)


def test_the_folder_is_made(tmp_path, run_dir, sites):
    sites.append(site := Site(tmp_path, run_dir / "below", NEVER))
    site.feeders.start()
    assert (run_dir / "below" / "poke.sock").is_socket()


def test_a_folder_that_cannot_be_used_is_said_with_its_key(tmp_path, run_dir):
    (run_dir / "file").write_text("")
    site = Site(tmp_path, run_dir / "file", NEVER)
    with pytest.raises(ConfigError, match=r"poke\.sock: .*node\.run_dir"):
        site.feeders.start()


def test_after_the_end_nobody_listens(tmp_path, run_dir):
    site = Site(tmp_path, run_dir, NEVER)
    site.feeders.start()
    before = {thread for thread in threading.enumerate() if thread.name == "providers"}
    site.feeders.stop()
    for thread in before:
        thread.join(WAIT)
        assert not thread.is_alive()
    assert not (run_dir / "poke.sock").exists()
    with pytest.raises(FileNotFoundError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.sendto(b"poke", str(run_dir / "poke.sock"))


class Dying(FakeProvider):
    """Its feeder dies so often, and hears a signal then."""

    deaths = 0
    waits = 0

    def wait(self, limit: timedelta) -> bool:
        self.waits += 1
        if self.waits <= self.deaths:
            raise RuntimeError(f"bug {self.waits}")
        return True


def test_nothing_is_left_open_at_the_end(tmp_path, run_dir):
    """A socket left to the garbage collector would be a warning, and so a failure, in whatever runs then."""
    site = Site(tmp_path, run_dir, NEVER)
    others = set(threading.enumerate())
    site.feeders.start()
    [thread] = [each for each in threading.enumerate() if each.name == "poke" and each not in others]
    site.feeders.stop()
    thread.join(WAIT)
    assert not thread.is_alive()
    assert site.loop.inbox.empty()
    gc.collect()


def test_a_feeder_that_dies_is_started_again(tmp_path, run_dir, sites, caplog):
    provider = Dying(NEED)
    provider.deaths = DEATHS - 1
    sites.append(site := Site(tmp_path, run_dir, NEVER, providers=[provider]))
    site.feeders.start()
    assert isinstance(site.next(), ev.ProvidersAnswered)
    assert site.feeders.deaths == DEATHS - 1
    assert site.loop.crash is None
    assert [record.levelname for record in caplog.records].count("ERROR") == DEATHS - 1


def test_a_feeder_that_keeps_dying_ends_the_process_with_its_reason(tmp_path, run_dir, sites):
    provider = Dying(NEED)
    provider.deaths = 10**9
    sites.append(site := Site(tmp_path, run_dir, NEVER, providers=[provider]))
    site.feeders.start()
    assert site.next() == ev.Poke()
    assert str(site.loop.crash) == f"bug {DEATHS}"
    assert site.feeders.deaths == DEATHS
