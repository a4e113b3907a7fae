"""A channel: in order, once, kept over crashes and reboots, bounded, and one line in the log a change."""

import json
import logging
import stat
import threading
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest

from locksmith.notify import Refused, Undelivered
from locksmith.notify.channel import MAX_TOLD, MAX_WAITING, Channel
from locksmith.notify.events import EVENTS, Happened, Over
from tests.fakes.clock import EPOCH, VirtualClock
from tests.fakes.receiver import FakeSink
from tests.servers.process import wait_until


class Bench:
    """One channel on a file, and more of them one after the other."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "notify-chat.json"
        self.clock = VirtualClock()
        self.made: list[Channel] = []

    def channel(self, sink: FakeSink, *, start: bool = True, events=EVENTS, retry_for=timedelta(hours=1)) -> Channel:
        made = Channel(
            "chat",
            sink,
            events=frozenset(events),
            retry_for=retry_for,
            path=self.path,
            clock=self.clock,
            random=Random(1),
            first_wait=0.001,
        )
        self.made.append(made)
        if start:
            made.start()
        return made

    def kept(self) -> dict:
        return json.loads(self.path.read_text())


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path)
    yield made
    for channel in made.made:
        channel.close()
        channel.join(60)


def happened(event="staged", key=None) -> Happened:
    return Happened(
        event=event,
        key=key or f"{event}/1",
        time=EPOCH,
        node="n1",
        group="web",
        state="steady",
        kind=None,
        text=f"{event} it is",
    )


def tell(channel: Channel, *changes: Happened | Over) -> None:
    channel.offer(changes, "host-1", "memory:")


def until(condition) -> None:
    wait_until(condition, "it does not come to be", timeout=60)


AWAY = Undelivered("127.0.0.1: no connection")


def test_events_are_told_in_order_and_no_key_twice(bench):
    sink = FakeSink()
    channel = bench.channel(sink)
    tell(channel, happened("staged"), happened("acquired"))
    tell(channel, happened("acquired"), happened("rebooting"))
    until(lambda: sink.taken == ["staged", "acquired", "rebooting"] and channel.waiting == 0)
    assert bench.kept() == {"schema": 1, "told": ["staged/1", "acquired/1", "rebooting/1"], "waiting": []}
    assert stat.S_IMODE(bench.path.stat().st_mode) == 0o600


def test_only_what_is_wanted(bench):
    sink = FakeSink()
    channel = bench.channel(sink, events=("back",))
    tell(channel, happened("staged"), happened("back"))
    until(lambda: sink.taken == ["back"])


def test_what_is_over_may_be_told_again(bench):
    sink = FakeSink()
    channel = bench.channel(sink)
    tell(channel, happened("paused", "paused/a"), happened("staged"))
    tell(channel, Over("paused/"), happened("paused", "paused/a"), happened("staged"))
    until(lambda: sink.taken == ["paused", "staged", "paused"])


def test_a_receiver_that_is_away_gets_everything_later(bench, caplog):
    caplog.set_level(logging.INFO, "locksmith.notify")
    sink = FakeSink([AWAY] * 5)
    channel = bench.channel(sink)
    tell(channel, happened("staged"), happened("acquired"))
    until(lambda: sink.taken == ["staged", "acquired"] and channel.waiting == 0)
    assert len({document["id"] for document in sink.tried}) == 2
    # One line when it goes, one when it is back, however often it was tried.
    assert [record.getMessage() for record in caplog.records] == [
        "notify.chat: staged is not sent: 127.0.0.1: no connection; tried again for 1h",
        "notify.chat: the receiver takes events again: staged is sent",
    ]
    [first, _] = caplog.records
    assert (first.event, first.node, first.group) == ("staged", "n1", "web")  # type: ignore[attr-defined]


def test_what_is_not_sent_outlives_the_process(bench):
    first = FakeSink([AWAY] * 1000)
    channel = bench.channel(first, start=False)
    tell(channel, happened("staged"), happened("rebooting"))
    assert [one["document"]["event"] for one in bench.kept()["waiting"]] == ["staged", "rebooting"]
    # Nothing is ended well here: the next process finds the file.
    second = FakeSink()
    after = bench.channel(second)
    tell(after, happened("rebooting"), happened("back"))
    until(lambda: second.taken == ["staged", "rebooting", "back"])
    assert {document["time"] for document in second.tried} == {"2026-01-01T00:00:00Z"}
    assert {document["host"] for document in second.tried} == {"host-1"}


def test_what_was_told_is_not_told_by_the_next_process(bench):
    first = FakeSink()
    channel = bench.channel(first)
    tell(channel, happened("acquired"))
    until(lambda: channel.waiting == 0)
    second = FakeSink()
    after = bench.channel(second)
    tell(after, happened("acquired"), happened("back"))
    until(lambda: second.taken == ["back"])


def test_one_that_nobody_takes_is_dropped_after_its_time(bench, caplog):
    sink = FakeSink([AWAY])
    channel = bench.channel(sink, start=False, retry_for=timedelta(minutes=1))
    tell(channel, happened("staged"))
    bench.clock.advance(61)
    tell(channel, happened("acquired"))
    channel.start()
    until(lambda: sink.taken == ["acquired"] and channel.waiting == 0)
    assert [document["event"] for document in sink.tried] == ["staged", "acquired"]  # each has one try at least
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == [
        "notify.chat: staged is dropped after all this time: 127.0.0.1: no connection"
    ]


def test_one_that_is_refused_does_not_hold_up_the_others(bench, caplog):
    sink = FakeSink([Refused("it answers 422")])
    channel = bench.channel(sink)
    tell(channel, happened("staged"), happened("acquired"))
    until(lambda: sink.taken == ["acquired"])
    assert "notify.chat: staged is dropped, the receiver refuses it: it answers 422" in caplog.messages


def test_the_number_that_waits_is_bounded_and_the_oldest_go(bench, caplog):
    sink = FakeSink()
    sink.gate.clear()
    channel = bench.channel(sink)
    tell(channel, happened("staged", "staged/0"))
    assert sink.trying.wait(60)
    for number in range(1, MAX_WAITING + 5):
        tell(channel, happened("staged", f"staged/{number}"))
    assert channel.waiting == MAX_WAITING
    sink.gate.set()
    until(lambda: channel.waiting == 0)
    assert len(sink.taken) == MAX_WAITING + 1  # with the one that was under way
    assert "more than 100 events wait" in caplog.text


def test_what_is_remembered_is_bounded(bench):
    sink = FakeSink()
    channel = bench.channel(sink, start=False, events=EVENTS)
    tell(channel, *(happened("staged", f"staged/{number}") for number in range(MAX_TOLD + 10)))
    assert len(bench.kept()["told"]) == MAX_TOLD
    assert len(bench.kept()["waiting"]) == MAX_WAITING


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"told": 1, "waiting": []}', '{"told": [], "waiting": [{"document": {}, "since": "x"}]}'],
)
def test_a_damaged_file_is_begun_anew(bench, caplog, content):
    bench.path.write_text(content)
    sink = FakeSink()
    channel = bench.channel(sink)
    tell(channel, happened("staged"))
    until(lambda: sink.taken == ["staged"])
    assert "cannot be read and is begun anew" in caplog.text


def test_a_disk_that_takes_nothing_keeps_nobody_from_being_told(bench, caplog):
    bench.path.mkdir()  # nothing can be put in its place
    sink = FakeSink()
    channel = bench.channel(sink)
    caplog.clear()
    tell(channel, happened("staged"))
    until(lambda: channel.waiting == 0)
    tell(channel, happened("acquired"))
    until(lambda: sink.taken == ["staged", "acquired"] and channel.waiting == 0)
    assert [record.getMessage() for record in caplog.records if "outlive" in record.getMessage()] == [
        f"notify.chat: what is not sent does not outlive a reboot: cannot write {bench.path}: Is a directory"
    ]


def test_the_end_does_not_wait_for_a_slow_receiver(bench):
    sink = FakeSink()
    sink.gate.clear()
    channel = bench.channel(sink)
    tell(channel, happened("rebooting"))
    assert sink.trying.wait(60)
    channel.close()
    channel.join(0.01)
    assert [one["document"]["event"] for one in bench.kept()["waiting"]] == ["rebooting"]
    sink.gate.set()
    until(lambda: channel.waiting == 0)
    # It is too late to say so: the next process may be writing already.
    assert [one["document"]["event"] for one in bench.kept()["waiting"]] == ["rebooting"]


def test_the_end_sends_what_it_can(bench):
    sink = FakeSink()
    channel = bench.channel(sink, start=False)
    tell(channel, happened("acquired"), happened("rebooting"))
    channel.close()
    channel.start()
    channel.join(60)
    assert sink.taken == ["acquired", "rebooting"]
    assert bench.kept()["waiting"] == []


def test_the_end_tries_a_receiver_that_is_away_once(bench):
    sink = FakeSink([AWAY] * 5)
    channel = bench.channel(sink, start=False)
    tell(channel, happened("rebooting"))
    channel.close()
    channel.start()
    channel.join(60)
    assert len(sink.tried) == 1
    assert channel.waiting == 1


def test_the_pause_between_tries_doubles_with_jitter_and_has_a_cap(bench):
    channel = bench.channel(FakeSink(), start=False)
    pauses = [channel._pause(tries, AWAY) for tries in range(40)]
    assert all(0.0005 * 2**tries <= pause <= 0.001 * 2**tries for tries, pause in enumerate(pauses[:17]))
    assert max(pauses) <= 300
    asked = Undelivered("it answers 429", timedelta(seconds=30))
    assert channel._pause(0, asked) == 30
    assert channel._pause(0, Undelivered("it answers 503", timedelta(days=3))) == 300


def test_an_offer_does_not_wait_for_the_receiver(bench):
    sink = FakeSink()
    sink.gate.clear()
    channel = bench.channel(sink)
    tell(channel, happened("staged"))
    assert sink.trying.wait(60)
    done = threading.Event()

    def offer() -> None:
        tell(channel, happened("acquired"))
        done.set()

    thread = threading.Thread(target=offer)
    thread.start()
    assert done.wait(60)  # while the receiver still holds the first
    assert sink.taken == []
    sink.gate.set()
    thread.join()
