"""logind as a stand-in on a bus of our own: who blocks, who is logged in, and the reboot with its flags."""

import os
from datetime import UTC, datetime, timedelta

import pytest

from locksmith.checks import Occasion
from locksmith.checks.inhibitors import InhibitorsCheck
from locksmith.checks.sessions import SessionsCheck
from locksmith.core.verdict import Closed, Open, Unknown
from locksmith.host.system import System
from locksmith.host.terminals import Terminals
from locksmith.rebooters import Accepted, Firing, Idle, NotAccepted
from locksmith.rebooters.logind import LogindRebooter
from locksmith.rebooters.method import Methods
from tests.fakes.clock import VirtualClock
from tests.servers import dbus
from tests.servers.process import wait_until

pytestmark = [pytest.mark.servers, pytest.mark.timeout(120)]

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SHORT = timedelta(seconds=0.3)
HOUR = timedelta(hours=1)


@pytest.fixture
def login(private_bus):
    return dbus.Login(private_bus)


@pytest.fixture
def system(tmp_path):
    """A machine whose init is not systemd, so that only logind counts."""
    return System(runtime=tmp_path / "no run", tools=tmp_path)


@pytest.fixture
def make(private_bus, system, tmp_path):
    run_dir = tmp_path / "locksmith"
    run_dir.mkdir()

    def rebooter(**more):
        more = {"run_dir": run_dir, "boot": "b1/0", "linger": timedelta(0), **more}
        return LogindRebooter(more.pop("bus", private_bus.bus()), system, **more)

    return rebooter


def occasion(stage="queue", attempt="", now=NOW, **environment):
    return Occasion(now, True, environment, stage=stage, attempt=attempt)


# ---------------------------------------------------------------- inhibitors


def test_a_block_inhibitor_closes_and_is_named(private_bus, login, system):
    check = InhibitorsCheck("inhibitors", private_bus.bus(), ["packagekit"], system)
    assert check.ask(occasion()) == Open("nobody blocks a shutdown")
    with login.inhibitor("apt", "upgrading"):
        assert check.ask(occasion()) == Closed(
            "a shutdown is blocked by apt (upgrading; uid 1000, pid 123456)"  # the template's numbers
        )
    assert isinstance(check.ask(occasion()), Open)
    with (
        login.inhibitor("NetworkManager", mode="delay"),
        login.inhibitor("gnome", what="sleep:idle"),
        login.inhibitor("packagekit"),
    ):
        assert check.ask(occasion()) == Open("ignored: packagekit")


def test_without_logind_the_gate_is_open_and_without_an_answer_it_is_not(private_bus, login, system):
    check = InhibitorsCheck("inhibitors", private_bus.bus(), (), system, limit=SHORT)
    login.mock.process.freeze()
    assert isinstance(check.ask(occasion()), Unknown)
    login.mock.process.thaw()
    login.mock.stop()
    verdict = check.ask(occasion())
    assert isinstance(verdict, Open)
    assert verdict.reason.startswith("no logind: nobody provides org.freedesktop.login1")


def test_denied_is_unknown(denying_bus, system):
    private = denying_bus([(dbus.LOGIND, "ListInhibitors"), (dbus.LOGIND, "ListSessions")])
    dbus.Login(private)
    assert isinstance(InhibitorsCheck("i", private.bus(), (), system).ask(occasion()), Unknown)
    assert isinstance(SessionsCheck("s", private.bus(), HOUR, system=system).ask(occasion()), Unknown)


# ---------------------------------------------------------------- sessions


@pytest.fixture
def terminal(tmp_path):
    """A terminal of somebody: its name below the returned root, and a function that reads what was written to it."""
    ours, theirs = os.openpty()
    root = tmp_path / "dev"
    root.mkdir()
    (root / "pts").mkdir()
    (root / "pts" / "7").symlink_to(os.ttyname(theirs))
    os.set_blocking(ours, False)

    def read():
        try:
            return os.read(ours, 65536).decode()
        except BlockingIOError:
            return ""

    yield root, read
    os.close(ours)
    os.close(theirs)


def test_people_are_told_and_the_grace_ends_when_they_have_left(private_bus, login, system, terminal):
    root, read = terminal
    clock = VirtualClock(NOW)
    check = SessionsCheck(
        "people", private_bus.bus(), timedelta(minutes=5), Terminals(root), clock, system=system, host="n1"
    )
    alice = login.log_in("1", "alice", "pts/7")
    login.log_in("2", "gdm", "tty1", Class="greeter")
    login.log_in("3", "cron", "", Class="background")
    login.log_in("4", "bob", "pts/7", State="closing")
    closed = check.ask(occasion(LOCKSMITH_REASON="kernel"))
    assert closed.reason == "alice (pts/7) may log out until 2026-01-01T00:05:00Z"
    said = read()
    assert "This machine will reboot: at 2026-01-01T00:05:00Z, or as soon as everybody has logged out." in said
    assert "kernel" in said
    assert check.ask(occasion()).reason == closed.reason
    assert read() == ""
    login.log_out(alice)
    assert check.ask(occasion()) == Open("nobody is logged in on a terminal")


def test_sessions_that_nobody_can_list_are_unknown(private_bus, login, system):
    check = SessionsCheck("people", private_bus.bus(), HOUR, system=system, limit=SHORT)
    login.mock.process.freeze()
    assert isinstance(check.ask(occasion()), Unknown)
    login.mock.process.thaw()


# ---------------------------------------------------------------- the reboot


def test_a_reboot(login, make):
    rebooter = make(linger=timedelta(hours=1))
    assert rebooter.pending() == Idle()
    assert rebooter.reboot("new\x1b[2Jkernel", {}) == Accepted()
    assert login.mock.calls("RebootWithFlags") == [(1,)]
    assert login.mock.calls("SetWallMessage") == [("locksmith: new[2Jkernel", True)]
    # The delay lock of ours is held while the last words are written.
    [(what, who, _, mode)] = login.locks()
    assert (what, who, mode) == ("shutdown", "locksmith", "delay")
    login.preparing(True)
    assert rebooter.pending() == Firing("logind is preparing for a shutdown")
    assert rebooter.reboot("again", {}) == Accepted()
    assert len(login.mock.calls("RebootWithFlags")) == 1


def test_the_delay_lock_is_given_up(login, make):
    assert make().reboot("kernel", {}) == Accepted()
    login.wait_for_no_lock_of("locksmith")


@pytest.mark.parametrize(
    "case",
    [
        ("kexec", None, "1\n", 3),
        ("kexec", None, "0\n", 1),
        ("kexec", None, None, 1),
        ("requested", "kexec\n", "1\n", 3),
        ("requested", "kexec\n", "0\n", 1),
        ("requested", "reboot\n", "1\n", 1),
        ("requested", None, "1\n", 1),
        ("requested", "poweroff", "1\n", 1),
        ("reboot", "kexec\n", "1\n", 1),
    ],
)
def test_the_flags_of_a_method(login, make, system, tmp_path, case):
    method, asks, loaded, flags = case
    requested, kexec = tmp_path / "reboot-needed", tmp_path / "kexec_loaded"
    for path, text in ((requested, asks), (kexec, loaded)):
        if text is not None:
            path.write_text(text)
    assert make(methods=Methods(method, system, requested, kexec)).reboot("k", {}) == Accepted()
    assert login.mock.calls("RebootWithFlags") == [(flags,)]


def test_an_inhibitor_is_honoured_and_named(login, make):
    rebooter = make()
    with login.inhibitor("apt", "upgrading"):
        refused = NotAccepted("a shutdown is blocked by apt (upgrading; uid 1000, pid 123456)")
        assert rebooter.reboot("k", {}) == refused
        assert login.mock.calls("RebootWithFlags") == []
        assert rebooter.explain() == "inhibitor: apt (upgrading; uid 1000, pid 123456)"
        assert make(ignore=["apt"]).reboot("k", {}) == Accepted()
        assert make(honour_inhibitors=False).reboot("k", {}) == Accepted()
    assert login.mock.calls("RebootWithFlags") == [(16,), (16,)]


def test_a_logind_that_does_not_know_the_flag_that_passes_over_inhibitors(login, make):
    login.mock.method(
        "RebootWithFlags",
        "t",
        "",
        "if args[0] & 16: raise dbus.exceptions.DBusException('flags', name='org.freedesktop.DBus.Error.InvalidArgs')",
    )
    assert make(honour_inhibitors=False).reboot("k", {}) == Accepted()
    assert login.mock.calls("RebootWithFlags") == [(16,), (0,)]


def test_a_logind_without_flags(login, make, private_bus):
    login.mock.method(
        "RebootWithFlags",
        "t",
        "",
        "raise dbus.exceptions.DBusException('no', name='org.freedesktop.DBus.Error.UnknownMethod')",
    )
    assert make().reboot("k", {}) == Accepted()
    assert login.mock.calls("Reboot") == [(False,)]


def test_denied(denying_bus, make):
    private = denying_bus([(dbus.LOGIND, "RebootWithFlags")])
    login = dbus.Login(private)
    rebooter = make(bus=private.bus())
    answer = rebooter.reboot("k", {})
    assert isinstance(answer, NotAccepted)
    assert "org.freedesktop.login1 does not allow RebootWithFlags" in answer.reason
    assert rebooter.pending() == Idle()
    login.wait_for_no_lock_of("locksmith")


def test_denied_and_going_down_all_the_same(login, make):
    login.mock.method(
        "RebootWithFlags",
        "t",
        "",
        "self.UpdateProperties('org.freedesktop.login1.Manager', {'PreparingForShutdown': True})\n"
        "raise dbus.exceptions.DBusException('busy', name='org.freedesktop.login1.OperationInProgress')",
    )
    assert make().reboot("k", {}) == Accepted()


def test_no_answer_may_fire_until_logind_has_answered_later(login, make):
    clock = VirtualClock(NOW)
    login.mock.method("RebootWithFlags", "t", "", "import time; time.sleep(3)")
    rebooter = make(clock=clock, call_limit=SHORT)
    assert rebooter.reboot("k", {}) == Accepted()
    told = Firing("logind was told to reboot and did not answer: it may still do so")
    assert rebooter.pending() == told
    # A later life of the agent in the same boot knows it too; one in another boot does not care.
    assert make(clock=clock).pending() == told
    clock.advance(61)
    login.mock.process.freeze()
    waiting = make(clock=clock).pending()
    assert isinstance(waiting, Firing)
    assert waiting.cause.startswith("nobody can say whether logind still carries out an earlier call")
    login.mock.process.thaw()
    wait_until(lambda: rebooter.pending() == Idle(), "pending for ever")
    assert make(clock=VirtualClock(NOW), boot="b2/0").pending() == Idle()


def test_without_logind(private_bus, make):
    answer = make().reboot("k", {})
    assert isinstance(answer, NotAccepted)
    assert "nobody provides org.freedesktop.login1" in answer.reason
    assert make().pending() == Idle()
    assert make().explain().startswith("inhibitor: nobody can say (nobody provides org.freedesktop.login1")


def test_delaying_locks_of_others_are_named_while_logind_waits(login, make):
    with login.inhibitor("sshd", "sessions", mode="delay"):
        assert make().explain() == "nobody names an inhibitor, a running job or a unit that does not stop"
        login.preparing(True)
        assert make().explain() == "inhibitor: sshd (sessions; uid 1000, pid 123456) delays it"


def test_a_record_that_cannot_be_read_is_firing(login, make, tmp_path):
    (tmp_path / "locksmith" / "reboot-logind.json").write_text("garbage")
    pending = make().pending()
    assert isinstance(pending, Firing)
    assert "reboot-logind.json" in pending.cause


def test_what_cannot_be_recorded_is_not_asked_for(login, make, tmp_path):
    answer = make(run_dir=tmp_path / "nowhere").reboot("k", {})
    assert isinstance(answer, NotAccepted)
    assert "cannot be recorded" in answer.reason
    assert login.mock.calls("RebootWithFlags") == []
