"""From pictures to channels: in a thread of its own, bounded, and with other channels after a reload."""

from dataclasses import replace
from datetime import timedelta
from random import Random

import pytest

from locksmith.agent.snapshot import Snapshot, picture
from locksmith.core.facts import Moment
from locksmith.core.states import Steady
from locksmith.errors import ConfigError
from locksmith.notify import Undelivered
from locksmith.notify.announcer import MAX_PICTURES, Announcer
from locksmith.notify.channel import Channel
from locksmith.notify.events import EVENTS
from tests.fakes.clock import VirtualClock
from tests.fakes.mind import NEED, agent, at, staged
from tests.fakes.receiver import FakeSink
from tests.servers.process import wait_until


@pytest.fixture
def channel(tmp_path):
    made = []

    def make(sink: FakeSink, name: str = "chat") -> Channel:
        made.append(
            Channel(
                name,
                sink,
                events=frozenset(EVENTS),
                retry_for=timedelta(hours=1),
                path=tmp_path / f"notify-{name}.json",
                clock=VirtualClock(),
                random=Random(1),
                first_wait=0.001,
            )
        )
        return made[-1]

    yield make
    for one in made:
        one.close()
        one.join(60)


def quiet() -> Snapshot:
    return picture(agent(Steady(), needs={}), at())


def waiting(fingerprint: str = "fp-1") -> Snapshot:
    return picture(agent(Steady(), needs={"file": staged(fingerprint)}), at())


def until(condition) -> None:
    wait_until(condition, "it does not come to be", timeout=60)


def test_every_channel_is_told(channel):
    sinks = FakeSink(), FakeSink()
    announcer = Announcer([channel(sinks[0], "one"), channel(sinks[1], "two")], "host-1")
    announcer.start()
    announcer.hear(quiet())
    announcer.hear(waiting())
    announcer.hear(waiting())
    announcer.hear(waiting("fp-2"))
    until(lambda: all(sink.taken == ["staged", "staged"] for sink in sinks))
    [document, _] = sinks[0].tried
    assert (document["host"], document["store"], document["reason"]) == ("host-1", "sqlite:///s", "file: linux-image")
    announcer.close(60)


def test_one_that_is_away_does_not_hold_up_another(channel):
    away, well = FakeSink([Undelivered("away")] * 100_000), FakeSink()
    announcer = Announcer([channel(away, "one"), channel(well, "two")], "host-1")
    announcer.start()
    announcer.hear(waiting())
    until(lambda: well.taken == ["staged"])
    announcer.close(60)
    assert away.taken == []


def test_what_is_heard_before_the_end_is_kept(channel, tmp_path):
    sink = FakeSink()
    sink.gate.clear()
    announcer = Announcer([made := channel(sink)], "host-1")
    announcer.start()
    for number in range(20):
        announcer.hear(waiting(f"fp-{number}"))
    until(lambda: made.waiting == 20)
    announcer.close(0.3)  # the receiver does not answer meanwhile: all of them wait for the next start
    sink.gate.set()
    assert channel(FakeSink()).waiting == 20


def test_what_is_heard_before_the_end_is_sent_before_it_where_there_is_time(channel):
    sink = FakeSink()
    announcer = Announcer([channel(sink)], "host-1")
    announcer.start()
    for number in range(20):
        announcer.hear(waiting(f"fp-{number}"))
    announcer.close(60)
    assert sink.taken == ["staged"] * 20


def test_the_loop_goes_on_when_nobody_listens(channel, caplog):
    """The thread has not begun: nothing takes the pictures away."""
    announcer = Announcer([channel(FakeSink())], "host-1")
    picture_ = quiet()
    for _ in range(MAX_PICTURES + 50):
        announcer.hear(picture_)
    assert caplog.messages == ["notifications cannot keep up: some of what happens is not told"]


def test_other_channels_after_a_reload(channel):
    old, new = FakeSink(), FakeSink()
    announcer = Announcer([channel(old)], "host-1")
    announcer.start()
    announcer.hear(waiting())
    until(lambda: old.taken == ["staged"])
    announcer.replace(lambda: [channel(new), channel(other, "other")])
    other = FakeSink()
    announcer.hear(waiting())
    until(lambda: other.taken == ["staged"])  # it is new to this one, and was told to the first
    announcer.hear(waiting("fp-2"))
    until(lambda: new.taken == ["staged"] and other.taken == ["staged", "staged"])
    assert old.taken == ["staged"]
    announcer.close(60)


def test_channels_that_cannot_be_made_are_said(channel, caplog):
    sink = FakeSink()
    announcer = Announcer([channel(sink)], "host-1")
    announcer.start()

    def make() -> list[Channel]:
        raise ConfigError("notify.chat: no package")

    announcer.replace(make)
    announcer.hear(waiting())
    announcer.close(60)
    assert "going on without notifications: notify.chat: no package" in caplog.messages
    assert sink.tried == []


def test_the_time_is_that_of_the_picture(channel):
    sink = FakeSink()
    announcer = Announcer([channel(sink)], "host-1")
    announcer.start()
    made = agent(Steady(), needs={"file": NEED})
    announcer.hear(replace(picture(made, at()), at=Moment(at(90).wall, 1.0)))
    until(lambda: sink.taken == ["staged"])
    assert sink.tried[0]["time"] == "2026-03-01T12:01:30Z"
    announcer.close(60)
