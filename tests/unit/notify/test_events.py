"""What is told of which change: the whole way of a reboot, and every way in which it goes wrong."""

from dataclasses import replace
from datetime import timedelta

import pytest

from locksmith.agent.snapshot import Snapshot, picture
from locksmith.config_notify import NotifyEvent
from locksmith.core import events as ev
from locksmith.core.facts import HoldFact, Reason, RequestFact, Strategy
from locksmith.core.ledger import Ledger, Stage
from locksmith.core.states import (
    Blocked,
    Draining,
    Failed,
    Queued,
    Rebooting,
    Releasing,
    Starting,
    Steady,
    Undoing,
    Verifying,
)
from locksmith.notify.events import EVENTS, EventName, Happened, Over, changes
from tests.fakes.mind import (
    NEED,
    NEXT_BOOT,
    NOON,
    NOTHING,
    OLD_BOOT,
    REQUEST,
    UPTIME,
    Mind,
    agent,
    at,
    closed,
    found,
    ledger,
    opened,
    owed,
    policy,
    says,
    slot,
    staged,
)
from tests.unit.core.test_machine import STATES, mind_in


class Teller:
    """A mind whose every picture is compared with the one before, as locksmithd does."""

    def __init__(self, mind: Mind, *, first: bool = False) -> None:
        """`first`: the process has published nothing yet."""
        self.mind = mind
        self.before: Snapshot | None = None if first else self.picture()
        self.found: list[Happened | Over] = []

    def picture(self) -> Snapshot:
        return picture(self.mind.agent, self.mind.moment)

    def hear(self, *events: ev.Event, wait: float = 0.0) -> list[str]:
        """Gives the names of what is told."""
        new: list[Happened | Over] = []
        for number, event in enumerate(events):
            self.mind.hear(event, wait=0.0 if number else wait)
            after = self.picture()
            new += changes(self.before, after)
            self.before = after
        self.found += new
        return [one.event for one in new if isinstance(one, Happened)]

    @property
    def last(self) -> Happened:
        return [one for one in self.found if isinstance(one, Happened)][-1]


def resting(**changes) -> Teller:
    return Teller(Mind(agent(Steady(), **{"needs": {}, **changes})))


def boot(before: Mind, **changes) -> Teller:
    """The next boot: a new process with the journal that the last one left."""
    made = agent(Starting(), before.book, needs={}, **changes)
    return Teller(Mind(replace(made, boot=NEXT_BOOT), after=before.after + 60), first=True)


def test_the_words_of_the_configuration_are_the_events():
    assert EVENTS == NotifyEvent.__args__ == EventName.__args__  # type: ignore[attr-defined]


def rebooted(teller: Teller) -> list[str]:
    """From staged to the reboot."""
    told = teller.hear(says(NEED), ev.GatesAnswered("queue", (opened(),)))
    told += teller.hear(ev.Tick(), ev.EnqueueDone(), wait=5)
    told += teller.hear(ev.SlotTaken(slot(nonce=teller.mind.owed.nonce, since=at(9).wall), 1), wait=5)
    told += teller.hear(ev.GatesAnswered("drain", ()), ev.HooksListed("pre-reboot", ()), wait=5)
    told += teller.hear(ev.GatesAnswered("arm", ()), wait=5)
    return told + teller.hear(ev.ArmDone(teller.mind.owed.attempt), ev.RebootTold(), wait=5)


def test_one_reboot():
    teller = resting()
    assert rebooted(teller) == ["staged", "acquired", "rebooting"]
    staged_, acquired, rebooting = (one for one in teller.found if isinstance(one, Happened))
    assert staged_ == Happened(
        event="staged",
        key="staged/file/fp-1",
        time=at(0).wall,
        node="n1",
        group="web",
        state="steady",
        kind=None,
        text="an update is staged: file: linux-image",
        reason="file: linux-image",
        origin="v1",
        target="v2",
    )
    assert (acquired.time, acquired.token, acquired.origin, acquired.target) == (at(9).wall, "7", "v1", "v2")
    assert (rebooting.time, rebooting.state, rebooting.attempt) == (at(25).wall, "rebooting", 1)

    held = slot(nonce=teller.mind.owed.nonce, phase="armed")
    after = boot(teller.mind)
    # Once more, with its time: this process does not know what the last one could say. The channel drops it by its key.
    assert after.hear(ev.Begin()) == ["rebooting"]
    assert after.last == replace(rebooting, text=after.last.text)
    assert after.last.identity == rebooting.identity
    told = after.hear(found(held), ev.HooksListed("post-reboot", ()), ev.HealthAnswered((opened("app"),)))
    told += after.hear(ev.HealthAnswered((opened("app"),)), wait=policy().dwell.total_seconds())
    assert told == ["back"]
    assert (after.last.kind, after.last.state, after.last.text) == ("healthy", "releasing", "back, healthy")
    assert after.hear(ev.StoreFailed("release", "unavailable", "away"), ev.ReleaseDone(), NOTHING) == []
    assert any(one == Over("staged/file/") for one in after.found)


def test_nothing_is_told_while_nothing_changes():
    teller = resting()
    assert teller.hear(says(NEED), says(NEED), ev.Tick(), says(NEED)) == ["staged"]
    assert teller.hear(ev.GatesAnswered("queue", (closed(),)), says(NEED), wait=60) == []


def test_another_update_is_another_event_and_ends_the_last():
    teller = resting()
    teller.hear(says(NEED))
    assert teller.hear(says(staged("fp-2"))) == ["staged"]
    assert Over("staged/file/") in teller.found
    assert teller.hear(NOTHING) == []
    assert teller.found[-1] == Over("staged/file/")
    assert teller.hear(says(staged("fp-2"))) == ["staged"]
    told = [one for one in teller.found if isinstance(one, Happened)]
    assert len({one.key for one in told}) == 2


def test_the_same_update_later_has_an_identity_of_its_own():
    one = resting()
    one.hear(says(NEED))
    other = resting()
    other.hear(says(NEED), wait=60)
    assert one.last.key == other.last.key
    assert one.last.identity != other.last.identity


def test_a_request_is_told_with_who_asked():
    teller = resting()
    assert teller.hear(found(request=REQUEST, start=False)) == ["staged"]
    assert (teller.last.by, teller.last.kind, teller.last.reason) == ("alice@bastion1", "request", "please")
    assert teller.hear(found(request=REQUEST, start=False)) == []
    newer = RequestFact("req-2", "bob", "", NOON)
    assert teller.hear(found(request=newer, start=False)) == ["staged"]
    assert teller.last.text == "a reboot is asked for by bob"


# ------------------------------------------------------------------------------------------------ paused, halted


def standing(kind: str, reason: str) -> ev.StandingInLine:
    return ev.StandingInLine(kind, reason, 1)


@pytest.mark.parametrize(("kind", "event"), [("paused", "paused"), ("hold", "paused"), ("halted", "halted")])
def test_what_stops_our_waiting(kind, event):
    teller = Teller(Mind(agent(Queued(enqueued=True), ledger(owed(stage=Stage.CLAIMING, token=None)))))
    assert teller.hear(standing(kind, "by alice: INC-1")) == [event]
    assert (teller.last.event, teller.last.kind, teller.last.state) == (event, kind, "queued")
    assert "by alice: INC-1" in teller.last.text
    assert teller.hear(standing(kind, "by alice: INC-1"), ev.StoreFailed("claim", "unavailable", "away")) == []
    assert teller.hear(standing(kind, "by bob: INC-2")) == [event]
    assert teller.hear(standing("queue", "place 2")) == []
    assert teller.found[-2:] == [Over("paused/"), Over("halted/")]


def test_a_gate_in_between_does_not_end_a_pause():
    teller = Teller(Mind(agent(Queued(enqueued=True), ledger(owed(stage=Stage.CLAIMING, token=None)))))
    teller.hear(standing("paused", "by alice"))
    first = teller.last
    told = teller.hear(ev.GatesAnswered("queue", (closed(),)), ev.Cancelled(None))
    told += teller.hear(says(NEED), ev.GatesAnswered("queue", ()), ev.Tick(), ev.EnqueueDone(), wait=90)
    assert told == []
    assert teller.hear(standing("paused", "by alice")) == ["paused"]  # the channel has told it
    assert teller.last.key == first.key
    assert Over("paused/") not in teller.found


def test_a_hold_is_told_only_while_something_waits():
    held = HoldFact("held by alice: disk")
    teller = resting()
    assert teller.hear(found(hold=held, start=False)) == []
    assert teller.hear(says(NEED), ev.GatesAnswered("queue", ())) == ["staged", "paused"]
    assert (teller.last.kind, teller.last.state) == ("hold", "blocked")


# ------------------------------------------------------------------------------------------------ failed, recovered


def verifying(**changes) -> Teller:
    book = ledger(owed(stage=Stage.VERIFYING, boot=OLD_BOOT, verify_boot="boot-2/0", verify_since=UPTIME, **changes))
    held = None if changes.get("slotless") else slot(phase="verifying")
    state = Verifying(UPTIME, marked=True, pending=(), asking=True, slot_gone=bool(changes.get("slotless")))
    return Teller(Mind(agent(state, book, slot=held)))


SICK = ev.HealthAnswered((closed("app", "command"),))
WELL = ev.HealthAnswered((opened("app", "command"),))
DEADLINE, DWELL = policy().deadline.total_seconds(), policy().dwell.total_seconds()


def test_failed_and_recovered():
    teller = verifying()
    assert teller.hear(SICK) == []
    assert teller.hear(SICK, wait=DEADLINE) == ["failed"]
    assert (teller.last.kind, teller.last.text) == ("health", "came back unhealthy: app: not now")
    assert teller.hear(SICK, SICK, wait=60) == []
    assert teller.hear(WELL) == []
    assert teller.hear(WELL, wait=DWELL) == ["back"]
    assert teller.last.kind == "recovered"


def test_a_restart_while_failed_tells_the_same_again_under_the_same_key():
    teller = verifying()
    teller.hear(SICK, wait=DEADLINE)
    again = Teller(Mind(agent(Starting(), teller.mind.book, needs={}), after=DEADLINE + 5), first=True)
    assert again.hear(ev.Begin(), found(slot(phase="failed", boot="boot-2/0"))) == ["failed"]
    assert (again.last.key, again.last.identity) == (teller.last.key, teller.last.identity)


def test_without_a_slot_failed_and_back_are_told_all_the_same():
    teller = verifying(slotless=True, token=None)
    assert teller.hear(SICK, wait=DEADLINE - 1) == []
    assert teller.hear(SICK, wait=1) == ["failed"]
    assert teller.hear(SICK, wait=30) == []
    assert teller.hear(WELL) == []
    assert teller.hear(WELL, wait=DWELL) == ["back"]
    assert teller.mind.agent.owed is None


def test_a_rollback_that_is_accepted_is_back_and_says_as_what():
    book = ledger(
        owed(
            stage=Stage.VERIFYING, boot=OLD_BOOT, verify_boot="boot-2/0", verify_since=UPTIME, origin="v1", target="v2"
        )
    )
    state = Verifying(UPTIME, marked=True, pending=(), asking=True)
    mind = Mind(agent(state, book, slot=slot(), policy=policy(rollback_holds=False), running={"file": "v1"}, needs={}))
    teller = Teller(mind)
    assert teller.hear(WELL) == []
    assert teller.hear(WELL, wait=DWELL) == ["back"]
    assert (teller.last.kind, teller.last.came_as, teller.last.target) == ("rolled_back", "v1", "v2")
    assert teller.last.text == "back as v1, rolled_back"


def test_a_reboot_that_nobody_sanctioned_is_no_rebooting_of_ours():
    before = Mind(agent(Draining(), ledger(owed())))
    teller = boot(before)
    assert teller.hear(ev.Begin(), found(slot())) == []
    assert teller.hear(ev.HooksListed("post-reboot", ()), WELL) == []
    assert teller.hear(WELL, wait=DWELL) == ["back"]
    assert teller.last.kind == "unsanctioned"


# ------------------------------------------------------------------------------------------------ forced


def test_forced_while_draining():
    teller = Teller(Mind(agent(Draining("10-a", ("10-a",)), ledger(owed()), slot=slot())))
    assert teller.hear(ev.HolderSeen(gone=True)) == ["forced"]
    assert (teller.last.token, teller.last.kind) == ("7", "revoked")
    assert teller.hear(ev.HooksListed("undo", ()), found(start=False), NOTHING) == []


def test_asked_back_is_not_forced():
    teller = Teller(Mind(agent(Draining("10-a", ("10-a",)), ledger(owed()), slot=slot())))
    assert teller.hear(ev.HolderSeen(kind="maintenance", reason="asked by alice")) == []


def test_forced_while_verifying():
    teller = verifying()
    assert teller.hear(ev.SlotGone(), SICK) == ["forced"]


def test_forced_while_failed():
    teller = verifying()
    teller.hear(SICK, wait=DEADLINE)
    assert teller.hear(ev.SlotGone()) == []
    assert teller.hear(found(unlocked=("7",))) == ["forced"]
    assert teller.last.token == "7"


def test_a_failed_slot_that_nothing_explains_was_forced_by_nobody():
    teller = verifying()
    teller.hear(SICK, wait=DEADLINE)
    assert "forced" not in teller.hear(ev.SlotGone(), found())


def test_forced_while_it_was_down():
    before = Mind(agent(Rebooting(UPTIME), ledger(owed(stage=Stage.ARMED, attempt="a-1", armed_at=NOON))))
    teller = boot(before)
    assert teller.hear(ev.Begin()) == ["rebooting"]
    assert teller.hear(found(unlocked=("7",))) == ["forced"]


def test_without_a_slot_nothing_can_be_taken():
    before = Mind(agent(Rebooting(UPTIME), ledger(owed(stage=Stage.ARMED, slotless=True, token=None, armed_at=NOON))))
    teller = boot(before, policy=policy(strategy=Strategy.REBOOT))
    assert teller.hear(ev.Begin(), found()) == ["rebooting"]


# ------------------------------------------------------------------------------------------------ overdue


def test_a_stuck_reboot_is_overdue_once_a_try():
    book = ledger(owed(stage=Stage.ARMED, attempt="a-1", arms=1, armed_at=NOON))
    teller = Teller(Mind(agent(Rebooting(UPTIME), book, slot=slot())))
    assert teller.hear(ev.Tick(), ev.PendingSeen("inhibited by apt")) == ["overdue"]
    assert (teller.last.kind, teller.last.text) == ("stuck", "the reboot does not come: inhibited by apt")
    assert teller.hear(ev.Tick(), ev.PendingSeen("inhibited by dpkg"), wait=60) == []


@pytest.mark.parametrize(
    ("state", "kind", "limit"),
    [
        (Draining("10-a", ("10-a",)), "drain", policy().hook_timeout + timedelta(minutes=5)),
        (Undoing("gate", "not now", "10-a", ("10-a",)), "drain", policy().hook_timeout + timedelta(minutes=5)),
        (Releasing(), "release", policy().deadline + policy().dwell),
    ],
)
def test_what_takes_longer_than_its_limits(state, kind, limit):
    teller = Teller(Mind(agent(state, ledger(owed(called_off="gate")), slot=slot(), since=at(0))))
    assert teller.hear(says(NEED), wait=limit.total_seconds()) == []
    assert teller.hear(says(NEED), wait=1) == ["overdue"]
    assert teller.last.kind == kind
    assert teller.hear(says(NEED), wait=3600) == []


# ------------------------------------------------------------------------------------------------ in general


@pytest.mark.parametrize("name", STATES)
def test_the_same_picture_twice_tells_nothing(name):
    one = picture(mind_in(name).agent, at(0))
    assert [found for found in changes(one, one) if isinstance(found, Happened)] == []


@pytest.mark.parametrize("name", STATES)
def test_the_first_picture_of_a_process_tells_what_holds_and_no_more(name):
    mind = mind_in(name)
    told = [one.event for one in changes(None, picture(mind.agent, at(0))) if isinstance(one, Happened)]
    expected = {
        "arming": ["staged", "acquired"],
        "draining": ["staged", "acquired"],
        "rebooting": ["staged", "acquired"],
        "stuck": ["staged", "acquired", "overdue"],
        "disarming": ["staged", "acquired", "overdue"],
        "failed": ["staged", "failed"],
    }
    assert told == expected.get(name, ["staged"])


def test_the_document():
    mind = Mind(
        agent(Failed(UPTIME, "app", "bad"), ledger(owed(stage=Stage.VERIFYING, origin="v1", target="v2", arms=2)))
    )
    [told] = [one for one in changes(picture(agent(Verifying(UPTIME)), at()), picture(mind.agent, at(1.5))) if
              isinstance(one, Happened) and one.event == "failed"]  # fmt: skip
    document = told.document("host-1", "etcd://a:1/locksmith")
    assert len(document.pop("id")) == 32
    assert document == {
        "schema": 1,
        "event": "failed",
        "time": "2026-03-01T12:00:01.500000Z",
        "node": "n1",
        "host": "host-1",
        "group": "web",
        "store": "etcd://a:1/locksmith",
        "state": "failed",
        "kind": "health",
        "text": "came back unhealthy: app: bad",
        "reason": "file: linux-image",
        "from": "v1",
        "to": "v2",
        "came_as": None,
        "token": "7",
        "attempt": 2,
        "by": None,
    }


def test_an_empty_agent_tells_nothing():
    quiet = picture(agent(Steady(), Ledger(), needs={}), at())
    assert changes(None, quiet) == ()
    blocked = agent(Blocked((Reason("window", "night", "closed", NOON),)))
    assert [one.event for one in changes(quiet, picture(blocked, at())) if isinstance(one, Happened)] == ["staged"]
