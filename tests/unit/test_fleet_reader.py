"""When the store is read, what is kept of it, and what is added up from the history."""

import threading
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from locksmith.core.history import Entry, Step
from locksmith.errors import Corrupt, Unavailable
from locksmith.fleet_reader import (
    HANGING,
    KEPT,
    QUEUE_BUCKETS,
    REBOOT_BUCKETS,
    FleetReader,
    Tally,
    Totals,
    reboot_seconds,
    wait_seconds,
)
from locksmith.semaphore.fleet import Fleet
from tests.fakes.clock import EPOCH, VirtualClock

TEN = timedelta(seconds=10)
WAIT = 30
"""Seconds after which something that should have happened is a failure; no expectation."""


def fleet(*entries: Entry, group: str = "web") -> Fleet:
    return Fleet(EPOCH, (), (), {group: entries}, 0, 100)


def entry(seq: int, act: str = "acquired", after: float = 0, **more) -> Entry:
    at = EPOCH + timedelta(seconds=after)
    return Entry(seq=seq, act=act, at=at, by="agent@n1", count=1, slots=1, node="n1", group="web", **more)


def steps(*phases: tuple[str, float, str]) -> tuple[Step, ...]:
    return tuple(Step(phase=phase, at=EPOCH + timedelta(seconds=at), boot=boot) for phase, at, boot in phases)


REBOOTED = steps(("acquired", 0, "b1"), ("draining", 1, "b1"), ("armed", 10, "b1"), ("verifying", 70, "b2"))


@dataclass
class Store:
    """What is looked at, and how often; an error instead of a picture is raised."""

    clock: VirtualClock
    picture: Fleet | Exception = field(default_factory=fleet)
    looks: int = 0
    takes: float = 0.0

    def look(self) -> Fleet:
        self.looks += 1
        self.clock.advance(self.takes)
        if isinstance(self.picture, Exception):
            raise self.picture
        return self.picture


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def store(clock):
    return Store(clock)


@pytest.fixture
def reader(store, clock):
    return FleetReader(store.look, TEN, WAIT, clock.boottime)


# ---------------------------------------------------------------- reading


def test_nothing_is_read_before_somebody_asks(store, reader):
    assert reader.last().fleet is None
    assert (reader.last().up, reader.last().success, reader.last().age) == (False, None, None)
    assert store.looks == 0


def test_at_most_one_read_in_the_caches_time(store, reader, clock):
    for _ in range(3):
        seen = reader.seen()
    assert (store.looks, seen.up, seen.success, seen.age) == (1, True, EPOCH, 0)
    clock.advance(9)
    assert reader.seen().age == 9
    assert store.looks == 1
    clock.advance(1)
    assert reader.seen().age == 0
    assert store.looks == 2


def test_the_age_counts_from_the_begin_of_the_read(store, reader):
    store.takes = 4.0
    seen = reader.seen()
    assert (seen.age, seen.took) == (4, 4)


def test_a_store_that_is_away_is_asked_once_in_the_caches_time_too(store, reader, clock):
    store.picture = Unavailable("no endpoint answers")
    for _ in range(3):
        seen = reader.seen()
    assert (store.looks, seen.up, seen.problem) == (1, False, "no endpoint answers")
    assert seen.errors == {"unavailable": 1}
    clock.advance(10)
    store.picture = Corrupt("own/ab/n1: no holder")
    assert reader.seen().errors == {"unavailable": 1, "corrupt": 1}


def test_the_last_picture_is_kept_over_a_blip_and_dropped_later(store, reader, clock):
    first = reader.seen()
    store.picture = Unavailable("no endpoint answers")
    clock.advance(KEPT)
    blip = reader.seen()
    assert (blip.fleet, blip.up, blip.success, blip.age) == (first.fleet, False, EPOCH, KEPT)
    clock.advance(1)
    away = reader.seen()
    assert (away.fleet, away.up, away.success, away.age) == (None, False, EPOCH, KEPT + 1)
    store.picture = fleet()
    clock.advance(10)
    assert reader.seen().up
    assert reader.seen().fleet is store.picture


def test_totals_outlive_the_picture(store, reader, clock):
    reader.seen()
    store.picture = fleet(entry(1, waited=5.0))
    clock.advance(10)
    reader.seen()
    store.picture = Unavailable("no endpoint answers")
    clock.advance(10 * KEPT)
    away = reader.seen()
    assert away.fleet is None
    assert sum(away.totals.waits["web"].counts) == 1


def test_one_line_a_change(store, reader, clock, caplog):
    caplog.set_level("INFO", "locksmith.fleet_reader")
    for picture in (fleet(), Unavailable("gone"), Unavailable("gone"), fleet(), fleet()):
        store.picture = picture
        reader.seen()
        clock.advance(10)
    assert [record.getMessage() for record in caplog.records] == [
        "the fleet cannot be read: gone",
        "the fleet can be read again",
    ]


class Slow:
    """A store that answers when the test says so."""

    def __init__(self) -> None:
        self.asked, self.answer = threading.Event(), threading.Event()
        self.looks = 0

    def look(self) -> Fleet:
        self.looks += 1
        self.asked.set()
        assert self.answer.wait(WAIT)
        return fleet()


def test_a_page_does_not_wait_for_ever_and_says_so(clock):
    slow = Slow()
    reader = FleetReader(slow.look, TEN, 0.01, clock.boottime)
    assert reader.seen().fleet is None
    clock.advance(20)
    late = reader.seen()
    assert (late.up, slow.looks) == (False, 1)  # no second read beside the first
    assert late.problem == "a read has not ended for 0.01 s"
    assert not reader.hanging
    clock.advance(HANGING)
    assert reader.hanging
    slow.answer.set()


def test_those_who_ask_at_once_share_one_read(clock):
    slow = Slow()
    reader = FleetReader(slow.look, TEN, WAIT, clock.boottime)
    found: list[bool] = []
    threads = [threading.Thread(target=lambda: found.append(reader.seen().fleet is not None)) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert slow.asked.wait(WAIT)
    slow.answer.set()
    for thread in threads:
        thread.join(WAIT)
    assert (found, slow.looks) == ([True] * 4, 1)


# ---------------------------------------------------------------- the history


def test_a_reboot_is_from_the_arm_to_the_slot_given_back():
    assert reboot_seconds(entry(2, "released", after=100, steps=REBOOTED)) == 90


@pytest.mark.parametrize(
    "other",
    [
        entry(2, "taken", after=100, steps=REBOOTED),
        entry(2, "acquired", after=100, steps=REBOOTED),
        entry(2, "released", after=100, steps=REBOOTED[:3]),
        entry(2, "released", after=100, steps=REBOOTED[3:]),
        entry(2, "released", after=100, steps=steps(("armed", 10, "b1"), ("verifying", 70, "b1"))),
    ],
    ids=["taken by an operator", "a grant", "called off", "its begin forgotten", "the same boot"],
)
def test_what_is_no_reboot(other):
    assert reboot_seconds(other) is None


def test_a_clock_that_was_set_back_gives_no_time_below_zero():
    assert reboot_seconds(entry(2, "released", after=-5, steps=REBOOTED)) == 0


def test_a_wait():
    assert wait_seconds(entry(1, waited=12.5, phase="acquired")) == 12.5
    assert wait_seconds(entry(1, waited=12.5, phase="maintenance")) is None
    assert wait_seconds(entry(1)) is None
    assert wait_seconds(entry(1, "released", waited=12.5)) is None


def test_what_was_before_the_gateway_is_not_counted_and_nothing_twice():
    old = [entry(seq, waited=5.0) for seq in (1, 2, 3)]
    totals = Totals().after(fleet(*old))
    assert totals.waits["web"] == Tally.empty(QUEUE_BUCKETS)  # there from the start, with 0
    assert totals.reboots["web"] == Tally.empty(REBOOT_BUCKETS)
    new = [*old, entry(4, waited=200.0), entry(5, "released", after=100, steps=REBOOTED)]
    for _ in range(3):
        totals = totals.after(fleet(*new))
    assert sum(totals.waits["web"].counts) == 1
    assert totals.waits["web"].summed == 200
    assert totals.waits["web"].counts[3] == 1  # up to 300 s
    assert totals.reboots["web"].summed == 90


def test_the_ring_may_forget():
    totals = Totals().after(fleet(entry(1, waited=5.0)))
    totals = totals.after(fleet(entry(2, waited=5.0)))
    totals = totals.after(fleet(entry(3, waited=5.0)))  # 1 and 2 are forgotten
    assert sum(totals.waits["web"].counts) == 2


def test_a_group_that_is_new_is_counted_from_its_first_entry():
    totals = Totals().after(Fleet(EPOCH, (), (), {}, 0, 0))
    totals = totals.after(fleet(entry(1, waited=5.0), group="new"))
    assert sum(totals.waits["new"].counts) == 1


def test_numbers_that_go_back_are_those_of_a_restored_store():
    totals = Totals().after(fleet(entry(9, waited=5.0)))
    totals = totals.after(fleet(entry(3, waited=5.0)))
    assert sum(totals.waits["web"].counts) == 0
    totals = totals.after(fleet(entry(4, waited=5.0)))
    assert sum(totals.waits["web"].counts) == 1


@pytest.mark.parametrize(("value", "place"), [(0.0, 0), (15.0, 0), (15.1, 1), (7200.0, 10), (7200.1, 11)])
def test_a_bound_belongs_to_its_bucket(value, place):
    tally = Tally.empty(REBOOT_BUCKETS).with_one(REBOOT_BUCKETS, value)
    assert tally.counts.index(1) == place
