from datetime import UTC, datetime, timedelta

import pytest

from locksmith.checks import Check, Occasion
from locksmith.checks.sessions import AGAIN, SessionsCheck
from locksmith.core.verdict import Closed, Open, Unknown
from locksmith.host.bus import BusDenied, MethodFailed, NoAnswer, NoBus, NoService
from locksmith.host.logind import MANAGER
from locksmith.host.system import System
from tests.fakes.bus import FakeBus
from tests.fakes.clock import VirtualClock

NOW = datetime(2026, 1, 1, tzinfo=UTC)
GRACE = timedelta(minutes=5)


class Room:
    """A machine, the people at its terminals, and what they were told."""

    def __init__(self, folder):
        self.bus = FakeBus()
        self.clock = VirtualClock(NOW)
        self.told = []
        self.system = System(runtime=folder / "run", tools=folder)
        self.people()

    def people(self, *names):
        """Who is logged in: `alice` is at pts/alice."""
        self.sessions(**{name: {"TTY": f"pts/{name}"} for name in names})

    def sessions(self, **properties):
        self.bus.methods["ListSessions"] = ([(name, 1000, name, "", f"/s/{name}") for name in properties],)
        for name, more in properties.items():
            self.bus.props[f"/s/{name}", ""] = {"Name": name, "TTY": "", "State": "active", "Class": "user"} | more

    def fail(self, error):
        self.bus.methods["ListSessions"] = error

    def tell(self, ttys, lines, host, now):
        self.told.append((list(ttys), " ".join(lines)))
        return ()

    def heard(self):
        """What was said since the last look: the terminals and the words."""
        told, self.told = self.told, []
        return told

    def check(self, grace=GRACE) -> Check:
        return SessionsCheck("people", self.bus, grace, self, self.clock, system=self.system, host="n1")


@pytest.fixture
def room(tmp_path):
    return Room(tmp_path)


def ask(room, check, stage="queue", attempt="", after=0.0, **environment):
    room.clock.advance(after)
    return check.ask(Occasion(room.clock.wall(), True, environment, stage=stage, attempt=attempt))


def test_nobody_there(room):
    check = room.check()
    assert check.kind == "gate"
    assert ask(room, check) == Open("nobody is logged in on a terminal")
    assert room.heard() == []


def test_the_grace_is_spent_and_then_over(room):
    check = room.check()
    room.people("alice", "bob")
    reason = "alice (pts/alice), bob (pts/bob) may log out until 2026-01-01T00:05:00Z"
    assert ask(room, check, LOCKSMITH_REASON="kernel") == Closed(reason, NOW + timedelta(minutes=5), AGAIN)
    [(ttys, words)] = room.heard()
    assert ttys == ["pts/alice", "pts/bob"]
    assert "at 2026-01-01T00:05:00Z, or as soon as everybody has logged out" in words
    assert "Reason: kernel" in words
    assert "lockctl pause --node n1" in words
    # The reason does not change with each question, and nobody is told twice.
    assert ask(room, check, after=5).reason == reason
    assert ask(room, check, after=290).reason == reason
    assert ask(room, check, after=5) == Open("told, and not waited for: alice (pts/alice), bob (pts/bob)")
    assert room.heard() == []


def test_it_ends_early_when_they_have_left(room):
    check = room.check()
    room.people("alice", "bob")
    ask(room, check)
    room.people("bob")
    assert ask(room, check, after=5).reason == "bob (pts/bob) may log out until 2026-01-01T00:05:00Z"
    room.people()
    assert isinstance(ask(room, check, after=5), Open)


def test_grace_0_tells_and_waits_for_nobody(room):
    check = room.check(timedelta(0))
    room.people("alice")
    assert isinstance(ask(room, check), Open)
    [(ttys, words)] = room.heard()
    assert ttys == ["pts/alice"]
    assert "in its turn, soon" in words


def test_a_clock_that_jumps_does_not_move_the_grace(room):
    check = room.check()
    room.people("alice")
    ask(room, check)
    room.clock.start += timedelta(days=1)
    assert ask(room, check, after=5).reason == "alice (pts/alice) may log out until 2026-01-01T00:05:00Z"


@pytest.mark.parametrize(
    "properties",
    [
        {"TTY": ""},
        {"State": "closing"},
        {"Class": "greeter"},
        {"Class": "background"},
        {"Class": "lock-screen"},
        {"Class": "manager"},
        {"Class": "username"},
        {},
    ],
)
def test_who_is_nobody_at_a_terminal(room, properties):
    room.sessions(x={"TTY": "pts/1"} | properties if properties else {})
    assert isinstance(ask(room, room.check()), Open)
    assert room.heard() == []


@pytest.mark.parametrize("properties", [{"State": "online"}, {"Class": "user-light"}, {"Class": "user-early"}])
def test_who_is_somebody(room, properties):
    room.sessions(x={"TTY": "tty1"} | properties)
    assert isinstance(ask(room, room.check()), Closed)


def test_a_session_that_ends_while_it_is_looked_at(room):
    room.people("alice", "bob")
    room.bus.props["/s/alice", ""] = MethodFailed("org.freedesktop.DBus.Error.UnknownObject", "gone")
    assert ask(room, room.check()).reason.startswith("bob (pts/bob) may")


def test_many_are_counted(room):
    room.people(*"abcdefgh")
    assert "e (pts/e) and 3 more may log out" in ask(room, room.check()).reason


# ------------------------------------------------------------------------------------------------ once spent


def spend(room, check, attempt="a1"):
    """Alice was told, had her grace, and the attempt began."""
    room.people("alice")
    ask(room, check)
    ask(room, check, after=150)
    assert isinstance(ask(room, check, after=150), Open)
    assert isinstance(ask(room, check, attempt=attempt, after=60), Open)
    room.heard()


def test_drain_and_arm_are_never_held_up(room):
    check = room.check()
    spend(room, check)
    assert isinstance(ask(room, check, "drain", "a1", after=3600), Open)
    assert room.heard() == []
    assert isinstance(ask(room, check, "arm", "a1", after=3600), Open)
    [(ttys, words)] = room.heard()
    assert ttys == ["pts/alice"]
    assert "This machine reboots now." in words
    assert isinstance(ask(room, check, "arm", "a1", after=3), Open)
    assert room.heard() == []


def test_waiting_in_the_queue_for_hours_renews_nothing(room):
    check = room.check()
    spend(room, check)
    assert isinstance(ask(room, check, "queue", "a1", after=4 * 3600), Open)
    assert room.heard() == []


@pytest.mark.parametrize("stage", ["queue", "drain", "arm"])
def test_a_session_that_comes_later_is_told_at_once_and_renews_nothing(room, stage):
    check = room.check()
    spend(room, check)
    room.people("alice", "bob")
    assert isinstance(ask(room, check, stage, "a1", after=60), Open)
    [(ttys, _)] = room.heard()
    assert "pts/bob" in ttys
    assert isinstance(ask(room, check, stage, "a1", after=60), Open)
    assert room.heard() == []


def test_one_that_comes_during_the_grace_gets_what_is_left_of_it(room):
    check = room.check()
    room.people("alice")
    ask(room, check)
    room.heard()
    room.people("alice", "bob")
    closed = ask(room, check, after=120)
    assert closed.reason == "alice (pts/alice), bob (pts/bob) may log out until 2026-01-01T00:05:00Z"
    [(ttys, words)] = room.heard()
    assert ttys == ["pts/bob"]
    assert "at 2026-01-01T00:05:00Z" in words


def test_one_that_comes_when_nobody_was_there_renews_nothing_for_this_attempt(room):
    check = room.check()
    ask(room, check)
    room.people("alice")
    assert isinstance(ask(room, check, "queue", "a1", after=1), Open)
    assert [ttys for ttys, _ in room.heard()] == [["pts/alice"]]


@pytest.mark.parametrize("stage", ["drain", "arm"])
def test_an_agent_that_starts_in_the_middle_holds_up_nothing(room, stage):
    check = room.check()
    room.people("alice")
    assert isinstance(ask(room, check, stage, "a1"), Open)
    assert [ttys for ttys, _ in room.heard()] == [["pts/alice"]]


# ------------------------------------------------------------------------------------------------ anew


def test_after_an_attempt_that_was_called_off_it_starts_anew(room):
    check = room.check()
    spend(room, check)
    ask(room, check, "drain", "a1", after=1)
    closed = ask(room, check, after=60)
    assert isinstance(closed, Closed)
    assert closed.reason != "alice (pts/alice) may log out until 2026-01-01T00:05:00Z"
    assert [ttys for ttys, _ in room.heard()] == [["pts/alice"]]


def test_the_next_attempt_without_a_question_in_between_starts_anew(room):
    check = room.check()
    spend(room, check)
    assert isinstance(ask(room, check, "queue", "a2", after=60), Closed)


def test_what_was_not_asked_for_a_while_starts_anew(room):
    check = room.check()
    room.people("alice")
    first = ask(room, check)
    again = ask(room, check, after=301)
    assert isinstance(again, Closed)
    assert again.reason != first.reason
    assert len(room.heard()) == 2


def test_a_short_break_does_not(room):
    check = room.check()
    room.people("alice")
    ask(room, check)
    assert isinstance(ask(room, check, after=299), Closed)
    assert isinstance(ask(room, check, after=299), Open)
    assert len(room.heard()) == 1


def test_a_grace_that_nobody_used_does_not_last(room):
    check = room.check(timedelta(seconds=10))
    room.people("alice")
    ask(room, check)
    for _ in range(5):
        assert isinstance(ask(room, check, after=60), Open)
    assert isinstance(ask(room, check, after=61), Closed)


# ------------------------------------------------------------------------------------------------ nobody can say


@pytest.mark.parametrize("error", [NoAnswer("slow"), BusDenied("no"), MethodFailed("a.b", "failed")])
def test_not_to_know_is_not_nobody(room, error):
    check = room.check()
    room.fail(error)
    answer = ask(room, check)
    assert isinstance(answer, Unknown)
    assert str(error) in answer.reason
    # Nor does the grace pass for people who could not be told.
    assert isinstance(ask(room, check, after=60), Unknown)
    room.people("alice")
    assert isinstance(ask(room, check, after=5), Closed)


@pytest.mark.parametrize("body", [(), ([("1", 2)],), (7,)])
def test_garbage_is_unknown(room, body):
    room.fail(body)
    assert isinstance(ask(room, room.check()), Unknown)


def test_one_session_that_cannot_be_looked_at_is_unknown(room):
    room.people("alice")
    room.bus.props["/s/alice", ""] = NoAnswer("slow")
    assert isinstance(ask(room, room.check()), Unknown)


def test_not_to_know_holds_up_nothing_once_spent(room):
    check = room.check()
    spend(room, check)
    room.fail(NoAnswer("slow"))
    for stage in ("queue", "drain", "arm"):
        assert isinstance(ask(room, check, stage, "a1"), Open)


def test_without_logind_nobody_can_be_told(room, tmp_path):
    room.fail(NoService("nobody provides it"))
    answer = ask(room, room.check())
    assert isinstance(answer, Open)
    assert answer.reason.startswith("no logind")
    room.fail(NoBus("no bus"))
    assert isinstance(ask(room, room.check()), Open)
    (tmp_path / "run" / "systemd" / "system").mkdir(parents=True)
    assert isinstance(ask(room, room.check()), Unknown)
    assert MANAGER.name == "org.freedesktop.login1"
