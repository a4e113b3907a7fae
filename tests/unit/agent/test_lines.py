"""What the loop writes: a line a change, and none while something only goes on failing; one test a kind of repetition."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from locksmith.core import events as ev
from locksmith.core.facts import Reason, Strategy
from locksmith.core.ledger import Stage
from locksmith.core.needs import NeedUnknown
from locksmith.core.states import Blocked, Draining, Queued, Releasing, Starting, Steady, Stuck, Verifying
from tests.fakes.mind import (
    NEED,
    NOON,
    NOTHING,
    OLD_BOOT,
    closed,
    found,
    ledger,
    opened,
    owed,
    policy,
    says,
    slot,
    unknown,
)
from tests.unit.agent.test_loop import Bench

CLAIMING = owed(stage=Stage.CLAIMING, token=None)


class Logged(Bench):
    """A bench that gives the lines of each turn."""

    def __init__(self, folder: Path, caplog: pytest.LogCaptureFixture, **changes) -> None:
        super().__init__(folder, **changes)
        self.caplog = caplog
        caplog.set_level(logging.INFO, "locksmith")

    def lines(self, *events: ev.Event, after: float = 0.0) -> list[str]:
        """What the turns wrote, each with the first letter of its level."""
        self.caplog.clear()
        for event in events:
            self.turn(event, after)
        return [f"{record.levelname[0]} {record.getMessage()}" for record in self.caplog.records]


@pytest.fixture
def bench(tmp_path, caplog):
    return Logged(tmp_path, caplog)


def away(act: str = "claim", text: str = "no answer", kind: str = "unavailable") -> ev.StoreFailed:
    return ev.StoreFailed(act, kind, text)


# ------------------------------------------------------------------------------------------------ what fails for long


def test_a_provider_that_cannot_say(bench):
    bench.be(Steady(), needs={})
    assert bench.lines(says(NeedUnknown("file", "exit code 3"))) == ["W update provider file cannot say: exit code 3"]
    [record] = bench.caplog.records
    assert (record.provider, record.kind, record.state) == ("file", "provider", "steady")
    assert bench.lines(*(says(NeedUnknown("file", f"exit code {number}")) for number in range(50)), after=60) == []
    assert bench.lines(NOTHING) == ["I update provider file can say again"]


def test_a_gate_that_stays_closed(bench):
    bench.be(Steady(), needs={"file": NEED})
    assert bench.lines(ev.GatesAnswered("queue", (closed(),))) == ["I steady -> blocked: backup: not now"]
    [record] = bench.caplog.records
    assert (record.gate, record.kind) == ("backup", "gate")
    repeated = (says(NEED), ev.GatesAnswered("queue", (closed(retry_at=NOON),)))
    assert bench.lines(*(repeated * 50), after=30) == []
    assert bench.lines(ev.GatesAnswered("queue", (unknown(),))) == ["I blocked -> blocked: backup: no answer"]
    assert bench.lines(ev.GatesAnswered("queue", (unknown(),)), after=60) == []
    other = ev.GatesAnswered("queue", (opened(), closed("night", "window")))
    assert bench.lines(other, other, after=60) == ["I blocked -> blocked: night: not now"]


@pytest.mark.parametrize(
    ("state", "attempt"),
    [
        (Steady(), None),
        (Queued(enqueued=True), CLAIMING),
        (Releasing(), owed(stage=Stage.RELEASING)),
        (Starting(), None),
    ],
)
def test_a_store_that_stays_away(bench, state, attempt):
    bench.be(state, ledger(attempt), needs={})
    if isinstance(state, Queued):
        bench.be(state, ledger(attempt))
    act = "release" if isinstance(state, Releasing) else "look"
    assert bench.lines(away(act)) == ["W the store is away: no answer"]
    assert bench.caplog.records[0].kind == "unavailable"
    assert bench.lines(*(away(act, f"no answer from {host}") for host in "abcabcabc"), after=60) == []
    back = {
        "steady": found(start=False),
        "queued": ev.EnqueueDone(),
        "releasing": ev.ReleaseDone(),
        "starting": found(),
    }
    lines = bench.lines(back[type(state).__name__.lower()])
    assert lines[0] == "I the store answers again"


def test_a_registry_entry_that_is_refused(bench):
    bench.be(Steady(), needs={})

    record = bench.loop.hands.record(bench.loop.agent, bench.loop.published.told, ())

    def fail() -> list[str]:
        bench.loop._recorded(record, False)
        return bench.lines(away("record", "permission denied", "denied"), found(start=False), after=400)

    assert fail() == ["W this node's entry in the registry is not written: permission denied"]
    assert fail() + fail() == []
    bench.loop._recorded(record, True)
    assert bench.lines(ev.Tick(), after=1) == ["I this node's entry in the registry is written again"]


def test_a_store_that_is_away_when_the_entry_is_written_is_one_line(bench):
    bench.be(Steady(), needs={})
    assert bench.lines(away("record"), away("look"), away("record"), after=60) == ["W the store is away: no answer"]


def test_a_disk_that_is_full(bench):
    """The journal cannot be written: into the queue and out of it again, each minute, for ever."""
    bench.be(Blocked((Reason("journal", "journal", "disk full", NOON),)))

    def turn() -> list[str]:
        gates = ev.GatesAnswered("queue", (opened(),))
        return bench.lines(gates, ev.JournalFailed("enqueue", "disk full"), ev.Cancelled(None)) + bench.lines(
            ev.Tick(), after=61
        )

    first = turn()
    assert first == ["I blocked -> queued: waiting for a slot: about to enqueue", "I queued -> blocked: disk full"]
    assert [turn() for _ in range(20)] == [[]] * 20


@pytest.mark.parametrize("kind", ["denied", "corrupt", "newer_format"])
def test_rights_that_are_missing(bench, kind):
    """Unready: START is tried again each minute."""
    bench.be(Starting(), needs={})
    refused = away("recover", "may not read", kind)
    assert bench.lines(refused) == ["W the store fails: may not read", "W starting -> unready: may not read"]
    again = bench.lines(ev.Tick(), after=75) + bench.lines(refused)
    assert [line.partition(":")[0] for line in again] == ["I unready -> starting", "W starting -> unready"]
    for _ in range(20):
        assert bench.lines(ev.Tick(), after=75) + bench.lines(refused) == []


def test_an_identity_that_clashes(bench):
    bench.be(Starting(), needs={})
    twin = found(clash=slot(host="twin"))
    lines = bench.lines(twin)
    assert [line[:30] for line in lines] == ["W starting -> conflicted: twin"]
    bench.lines(ev.Tick(), after=75)
    bench.lines(twin)
    for _ in range(20):
        assert bench.lines(ev.Tick(), after=75) + bench.lines(twin) == []


def test_a_claim_that_is_barred_each_time(bench):
    """The end of a reason that is told with a time is other words each time, and still the same thing."""
    bench.be(Blocked((Reason("gate", "backup", "not now", NOON),)))

    def turn() -> list[str]:
        barred = ev.EnqueueRefused("config", "a newer locksmith restricts this fleet", None, bench.clock.wall())
        return bench.lines(ev.GatesAnswered("queue", ()), barred, ev.Cancelled(None)) + bench.lines(ev.Tick(), after=61)

    assert len(turn()) == 2
    assert [turn() for _ in range(10)] == [[]] * 10


def test_a_hook_that_fails_is_a_line_an_attempt(bench):
    bench.be(Draining("10-a", ("10-a",)), ledger(owed(started=("10-a",))), slot=slot())
    assert bench.lines(ev.HookEnded("pre-reboot", "10-a", "exit code 1")) == [
        "I draining -> undoing: called off (hook 10-a: exit code 1): undoing"
    ]


def test_a_hook_of_many_is_no_line_of_its_own(bench):
    bench.be(Draining(), ledger(owed()), slot=slot())
    assert bench.lines(ev.HooksListed("pre-reboot", ("10-a", "20-b")), ev.HookEnded("pre-reboot", "10-a", None)) == []


def test_health_that_stays_bad(bench):
    book = ledger(owed(stage=Stage.VERIFYING, boot=OLD_BOOT, verify_since=1000.0))
    bench.be(Verifying(1000.0, marked=True, pending=(), asking=True), book, slot=slot())
    sick = [ev.HealthAnswered((closed("app", "command"),)), ev.HealthAnswered((unknown("app", "command"),))]
    assert bench.lines(sick[0]) == ["I verifying -> verifying: rebooted, not healthy yet: app: not now"]
    assert bench.lines(*sick * 10, after=5) == []
    assert bench.lines(sick[0], after=600) == [
        "W verifying -> failed: came back unhealthy and keeps its slot: app: not now"
    ]
    assert bench.lines(*sick * 50, after=30) == []


def test_a_reboot_that_stays_stuck(bench):
    bench.be(Stuck(1000.0, "inhibited by apt"), ledger(owed(stage=Stage.ARMED, attempt="a", arms=9)), slot=slot())
    held = [ev.Tick(), ev.PendingSeen("inhibited by apt")]
    assert bench.lines(*held * 20, after=31) == []


def test_a_release_that_is_never_confirmed(bench):
    bench.be(Releasing(), ledger(owed(stage=Stage.RELEASING, called_off="gate", called_off_reason="x")), slot=slot())
    tries = [away("release"), ev.Tick()] * 30
    assert bench.lines(*tries, after=300) == ["W the store is away: no answer"]


def test_the_place_in_the_queue_is_no_line_and_a_pause_is(bench):
    bench.be(Queued(enqueued=True), ledger(CLAIMING))
    places = [ev.StandingInLine("queue", f"place {number} in the queue", number) for number in range(9, 1, -1)]
    assert bench.lines(*places) == []
    paused = ev.StandingInLine("paused", "group web paused by alice: INC-1", 1)
    assert bench.lines(paused, paused, after=60) == [
        "I queued -> queued: waiting for a slot: group web paused by alice: INC-1"
    ]
    assert len(bench.lines(places[-1], places[-1], after=60)) == 1


def test_an_agent_that_only_observes(bench):
    bench.be(Steady())
    bench.loop.agent = replace(bench.loop.agent, policy=policy(strategy=Strategy.OBSERVE))
    gates = ev.GatesAnswered("queue", ())
    assert len(bench.lines(gates)) == 1
    assert bench.lines(*[says(NEED), gates] * 20, after=60) == []


# ------------------------------------------------------------------------------------------------ circles


def test_what_goes_round_is_told_again_once_it_stands(bench):
    bench.be(Blocked((Reason("journal", "journal", "disk full", NOON),)))
    gates, full = ev.GatesAnswered("queue", (opened(),)), ev.JournalFailed("enqueue", "disk full")
    for _ in range(3):
        bench.lines(gates, full, ev.Cancelled(None))
    # The disk has room again: this time nothing throws it back.
    assert bench.lines(gates, ev.EnqueueDone()) == []
    assert bench.lines(ev.Tick(), after=31) == ["I blocked -> queued: waiting for a slot: about to enqueue"]


def test_what_breaks_a_circle_brings_what_was_held_back_with_it(bench):
    bench.be(Blocked((Reason("journal", "journal", "disk full", NOON),)))
    gates, full = ev.GatesAnswered("queue", (opened(),)), ev.JournalFailed("enqueue", "disk full")
    for _ in range(3):
        bench.lines(gates, full, ev.Cancelled(None))
    lines = bench.lines(gates, ev.EnqueueDone(), ev.SlotTaken(slot(), 1))
    assert lines == [
        "I blocked -> queued: waiting for a slot: about to enqueue",
        "I queued -> draining: slot held, asking the gates again",
    ]


def test_a_circle_for_another_reason_is_told(bench):
    bench.be(Blocked((Reason("journal", "journal", "disk full", NOON),)))
    gates = ev.GatesAnswered("queue", (opened(),))
    for _ in range(2):
        bench.lines(gates, ev.JournalFailed("enqueue", "disk full"), ev.Cancelled(None))
    lines = bench.lines(gates, ev.GatesAnswered("queue", (closed(),)), ev.Cancelled(None))
    assert lines == [
        "I blocked -> queued: waiting for a slot: about to enqueue",
        "I queued -> blocked: backup: not now",
    ]


# ------------------------------------------------------------------------------------------------ fields


def test_the_fields_of_an_attempt(bench):
    bench.be(Draining("10-a", ("10-a",)), ledger(owed(started=("10-a",), arms=2)), slot=slot())
    bench.lines(ev.HookEnded("pre-reboot", "10-a", "exit code 1"))
    [record] = bench.caplog.records
    names = ("node", "group", "old_state", "state", "event", "kind", "token", "attempt", "provider")
    assert [getattr(record, name) for name in names] == [
        "n1", "web", "draining", "undoing", "HookEnded", "hook", "7", 2, "file",
    ]  # fmt: skip
