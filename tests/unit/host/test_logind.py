from datetime import timedelta

import pytest

from locksmith.host.bus import MethodFailed, NoAnswer
from locksmith.host.logind import MANAGER, Inhibitor, Logind, RebootFlag, Session
from tests.fakes.bus import FakeBus

ALICE = {"Name": "alice", "TTY": "pts/0", "State": "active", "Class": "user", "Remote": True}


@pytest.fixture
def bus():
    bus = FakeBus()
    bus.methods["ListSessions"] = ([("c1", 1000, "alice", "", "/s/c1"), ("c2", 1000, "alice", "", "/s/c2")],)
    bus.props["/s/c1", ""] = ALICE
    bus.props["/s/c2", ""] = {"Name": "alice"}
    return bus


def test_inhibitors(bus):
    bus.methods["ListInhibitors"] = ([("shutdown:sleep", "apt", "upgrading", "block", 0, 7)],)
    [lock] = Logind(bus).inhibitors()
    assert lock == Inhibitor(frozenset({"shutdown", "sleep"}), "apt", "upgrading", "block", 0, 7)
    assert str(lock) == "apt (upgrading; uid 0, pid 7)"


def test_sessions(bus):
    assert Logind(bus).sessions() == (
        Session("c1", "alice", "pts/0", "active", "user"),
        Session("c2", "alice", "", "", ""),
    )


@pytest.mark.parametrize(
    "name",
    [
        "org.freedesktop.DBus.Error.UnknownObject",
        "org.freedesktop.DBus.Error.UnknownMethod",
        "org.freedesktop.login1.NoSuchSession",
    ],
)
def test_a_session_that_has_ended_meanwhile(bus, name):
    bus.props["/s/c1", ""] = MethodFailed(name, "gone")
    assert [session.id for session in Logind(bus).sessions()] == ["c2"]


def test_a_session_that_cannot_be_looked_at(bus):
    bus.props["/s/c1", ""] = MethodFailed("org.example.Broken", "broken")
    with pytest.raises(MethodFailed, match="broken"):
        Logind(bus).sessions()


def test_all_sessions_together_have_one_limit(bus):
    with pytest.raises(NoAnswer, match="too long to tell its 2 sessions"):
        Logind(bus, timedelta(0)).sessions()


def test_telling(bus):
    for method in ("SetWallMessage", "RebootWithFlags", "Reboot"):
        bus.methods[method] = ()
    bus.methods["Inhibit"] = (5,)
    bus.props[MANAGER.path, "PreparingForShutdown"] = True
    logind = Logind(bus)
    assert logind.preparing_for_shutdown()
    assert logind.inhibit("last words") == 5
    logind.set_wall_message("bye")
    logind.reboot(RebootFlag.KEXEC | RebootFlag.CHECK_INHIBITORS, timedelta(1))
    logind.reboot_plainly(timedelta(1))
    assert bus.calls == [
        ("Inhibit", "shutdown", "locksmith", "last words", "delay"),
        ("SetWallMessage", "bye", True),
        ("RebootWithFlags", 3),
        ("Reboot", False),
    ]
