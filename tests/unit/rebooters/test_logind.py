import json

import pytest

from locksmith.host.bus import BusDenied, MethodFailed, NoAnswer, NoBus, NoService
from locksmith.host.logind import MANAGER
from locksmith.host.system import System
from locksmith.rebooters import Accepted, Firing, Idle, NotAccepted, Rebooter
from locksmith.rebooters.logind import LogindRebooter
from locksmith.rebooters.method import Methods
from locksmith.rebooters.simulated import SimulatedRebooter
from tests.fakes.bus import FakeBus
from tests.fakes.clock import VirtualClock

INVALID = MethodFailed("org.freedesktop.DBus.Error.InvalidArgs", "invalid flags")
UNKNOWN = MethodFailed("org.freedesktop.DBus.Error.UnknownMethod", "no such method")
BUSY = MethodFailed("org.freedesktop.login1.OperationInProgress", "in progress")
DONE = ()
APT = ("shutdown:sleep", "apt", "upgrading", "block", 0, 12)


class Machine:
    """A bus with a logind, a run_dir, and a systemd that says nothing (no /run/systemd/system)."""

    def __init__(self, folder):
        self.folder = folder
        self.bus = FakeBus()
        self.clock = VirtualClock()
        self.run_dir = folder / "locksmith"
        self.run_dir.mkdir()
        self.system = System(runtime=folder / "run", tools=folder)
        self.inhibited()
        self.preparing(value=False)
        self.bus.methods |= {
            "RebootWithFlags": DONE,
            "Reboot": DONE,
            "SetWallMessage": DONE,
            "Inhibit": NoService("none"),
        }

    def inhibited(self, *rows):
        self.bus.methods["ListInhibitors"] = (list(rows),)

    def preparing(self, value):
        self.bus.props[MANAGER.path, "PreparingForShutdown"] = value

    def rebooter(self, **more) -> Rebooter:
        more = {"run_dir": self.run_dir, "boot": "b1/0", "clock": self.clock, **more}
        return LogindRebooter(self.bus, self.system, **more)

    def flags(self):
        return [flags for (flags,) in self.bus.made("RebootWithFlags")]

    def method(self, word):
        """The choice of an operator, on a machine with a kernel for kexec."""
        loaded = self.folder / "loaded"
        loaded.write_text("1")
        return Methods(word, self.system, self.folder / "none", loaded)


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_a_reboot(machine):
    rebooter = machine.rebooter()
    assert rebooter.kind == "logind"
    assert rebooter.pending() == Idle()
    assert rebooter.reboot("new\nkernel", {}) == Accepted()
    assert machine.flags() == [1]
    assert machine.bus.made("SetWallMessage") == [("locksmith: newkernel", True)]
    assert machine.bus.made("Inhibit")[0][:2] == ("shutdown", "locksmith")
    assert machine.bus.made("Inhibit")[0][3] == "delay"
    assert not (machine.run_dir / "reboot-logind.json").exists()


def test_the_call_is_on_record_before_it_is_sent(machine):
    seen = []

    class Watched(FakeBus):
        def call(self, peer, method, *rest, **limits):
            if method == "RebootWithFlags":
                seen.append(json.loads((machine.run_dir / "reboot-logind.json").read_text()))
            return super().call(peer, method, *rest, **limits)

    watched = Watched()
    watched.methods, watched.props = machine.bus.methods, machine.bus.props
    rebooter = LogindRebooter(watched, machine.system, run_dir=machine.run_dir, boot="b1/0", clock=machine.clock)
    assert rebooter.reboot("k", {}) == Accepted()
    assert seen == [{"boot": "b1/0", "at": machine.clock.boottime()}]


@pytest.mark.parametrize("error", [BusDenied("denied"), BUSY, INVALID, NoService("gone"), NoBus("gone")])
def test_refused_and_nothing_left(machine, error):
    machine.bus.methods["RebootWithFlags"] = error
    rebooter = machine.rebooter()
    assert rebooter.reboot("k", {}) == NotAccepted(str(error))
    assert rebooter.pending() == Idle()
    assert len(machine.flags()) == 1


@pytest.mark.parametrize("error", [BusDenied("denied"), BUSY, NoService("gone")])
def test_refused_and_going_down_all_the_same(machine, error):
    class Turning(FakeBus):
        def call(self, peer, method, *rest, **limits):
            if method == "RebootWithFlags":
                machine.preparing(value=True)
            return super().call(peer, method, *rest, **limits)

    turning = Turning()
    turning.methods, turning.props = machine.bus.methods, machine.bus.props
    turning.methods["RebootWithFlags"] = error
    assert LogindRebooter(turning, machine.system, clock=machine.clock).reboot("k", {}) == Accepted()


def test_no_answer_is_accepted_and_may_fire(machine):
    machine.bus.methods["RebootWithFlags"] = NoAnswer("slow")
    rebooter = machine.rebooter()
    assert rebooter.reboot("k", {}) == Accepted()
    firing = Firing("logind was told to reboot and did not answer: it may still do so")
    assert rebooter.pending() == firing
    assert machine.rebooter().pending() == firing
    assert machine.rebooter(boot="b1/1").pending() == Idle()
    assert rebooter.reboot("k", {}) == Accepted()
    assert len(machine.flags()) == 1
    machine.clock.advance(61)
    assert rebooter.pending() == Idle()
    assert machine.rebooter().pending() == Idle()
    machine.preparing(NoAnswer("hangs"))
    assert isinstance(rebooter.pending(), Firing)


def test_without_a_run_dir_this_life_knows(machine):
    machine.bus.methods["RebootWithFlags"] = NoAnswer("slow")
    rebooter = machine.rebooter(run_dir=None)
    assert rebooter.reboot("k", {}) == Accepted()
    assert isinstance(rebooter.pending(), Firing)


@pytest.mark.parametrize(
    ("answer", "pending"),
    [
        (False, Idle()),
        (True, Firing("logind is preparing for a shutdown")),
        (NoAnswer("x"), Firing("nobody can say whether logind still carries out an earlier call: x")),
        (NoService("x"), Idle()),
        (NoBus("x"), Idle()),
        (BusDenied("x"), Idle()),
        (MethodFailed("a.b", "x"), Idle()),
    ],
)
def test_pending(machine, answer, pending):
    machine.preparing(answer)
    assert machine.rebooter().pending() == pending


def test_what_systemd_has_left_to_do_counts(machine, tool):
    (machine.folder / "run" / "systemd" / "system").mkdir(parents=True)
    machine.system = System(
        runtime=machine.folder / "run",
        tools=tool(
            "systemctl", 'case "$1" in list-jobs) echo "7 reboot.target start waiting" ;; *) echo running ;; esac'
        ),
    )
    tool("busctl", "exit 1")
    assert machine.rebooter().pending() == Firing("systemd has the job reboot.target (waiting)")
    assert machine.rebooter().reboot("k", {}) == Accepted()
    assert machine.flags() == []


@pytest.mark.parametrize("text", ["", "garbage", "[]", '{"boot": 1, "at": 2}', '{"boot": "b1/0"}'])
def test_a_record_that_is_none_is_firing(machine, text):
    (machine.run_dir / "reboot-logind.json").write_text(text)
    pending = machine.rebooter().pending()
    assert isinstance(pending, Firing)
    assert "remove the file" in pending.cause


# ------------------------------------------------------------------------------------------------ inhibitors


@pytest.mark.parametrize("error", [NoService("none"), NoBus("none")])
def test_without_logind_there_may_be_another_way(machine, error):
    machine.bus.methods["ListInhibitors"] = error
    assert machine.rebooter().reboot("k", {}) == NotAccepted("logind cannot be reached: none")
    assert machine.rebooter().explain() == "inhibitor: nobody can say (none)"
    told = []
    other = SimulatedRebooter(lambda reason, environment: told.append((reason, environment)) or Accepted(), Idle)
    rebooter = machine.rebooter(otherwise=other)
    assert rebooter.reboot("k", {"LOCKSMITH_NODE": "n1"}) == Accepted()
    assert told == [("k", {"LOCKSMITH_NODE": "n1"})]
    assert rebooter.explain() == other.explain()


def test_the_other_way_is_not_for_a_logind_that_says_no(machine):
    def never(reason, environment):
        raise AssertionError(reason)

    rebooter = machine.rebooter(otherwise=SimulatedRebooter(never, Idle))
    for error in (NoAnswer("slow"), BusDenied("no")):
        machine.bus.methods["ListInhibitors"] = error
        assert isinstance(rebooter.reboot("k", {}), NotAccepted)
    machine.inhibited(APT)
    assert isinstance(rebooter.reboot("k", {}), NotAccepted)


@pytest.mark.parametrize("error", [NoAnswer("slow"), BusDenied("no")])
def test_who_cannot_be_asked_is_not_passed_over(machine, error):
    machine.bus.methods["ListInhibitors"] = error
    assert machine.rebooter().reboot("k", {}) == NotAccepted(f"logind does not say who blocks a shutdown: {error}")
    assert machine.flags() == []


def test_an_answer_that_is_none_is_not_passed_over(machine):
    machine.bus.methods["ListInhibitors"] = ([("shutdown", "apt")],)
    assert isinstance(machine.rebooter().reboot("k", {}), NotAccepted)


@pytest.mark.parametrize(
    ("rows", "more", "flags"),
    [
        ([], {}, [1]),
        ([APT], {}, []),
        ([("shutdown", "x", "y", "block-weak", 0, 1)], {}, []),
        ([("sleep:idle", "x", "y", "block", 0, 1)], {}, [1]),
        ([("handle-shutdown", "x", "y", "block", 0, 1)], {}, [1]),
        ([("shutdown", "x", "y", "delay", 0, 1)], {}, [1]),
        ([APT], {"ignore": ["apt"]}, [16]),
        ([APT, ("shutdown", "x", "y", "block", 0, 1)], {"ignore": ["apt"]}, []),
        ([], {"ignore": ["apt"]}, [1]),
        ([APT], {"honour_inhibitors": False}, [16]),
        ([], {"honour_inhibitors": False}, [16]),
    ],
)
def test_which_inhibitors_count(machine, rows, more, flags):
    machine.inhibited(*rows)
    answer = machine.rebooter(**more).reboot("k", {})
    assert machine.flags() == flags
    assert isinstance(answer, Accepted if flags else NotAccepted)


def test_who_blocks_is_named(machine):
    machine.inhibited(APT)
    assert machine.rebooter().reboot("k", {}) == NotAccepted("a shutdown is blocked by apt (upgrading; uid 0, pid 12)")


def test_who_came_in_between_is_named(machine):
    machine.bus.methods["ListInhibitors"] = [([],), ([APT],)]
    machine.bus.methods["RebootWithFlags"] = BusDenied("Access denied to root due to active block inhibitor")
    assert machine.rebooter().reboot("k", {}) == NotAccepted("a shutdown is blocked by apt (upgrading; uid 0, pid 12)")


# ------------------------------------------------------------------------------------------------ ways


@pytest.mark.parametrize(
    ("answers", "flags", "plain"),
    [
        ([DONE], [3], []),
        ([INVALID, DONE], [3, 1], []),
        ([UNKNOWN, UNKNOWN], [3, 1], [(False,)]),
        ([BUSY, DONE], [3, 1], []),
        ([BusDenied("no"), DONE], [3, 1], []),
        ([NoAnswer("slow")], [3], []),
    ],
)
def test_kexec_and_a_full_reboot_where_it_fails(machine, answers, flags, plain):
    machine.bus.methods["RebootWithFlags"] = answers
    assert machine.rebooter(methods=machine.method("kexec")).reboot("k", {}) == Accepted()
    assert machine.flags() == flags
    assert machine.bus.made("Reboot") == plain


def test_the_flag_that_passes_over_inhibitors_is_young(machine):
    machine.bus.methods["RebootWithFlags"] = [INVALID, DONE]
    assert machine.rebooter(honour_inhibitors=False).reboot("k", {}) == Accepted()
    assert machine.flags() == [16, 0]


def test_without_the_right_to_a_wall_message_it_reboots_all_the_same(machine):
    machine.bus.methods["SetWallMessage"] = BusDenied("no")
    assert machine.rebooter().reboot("k", {}) == Accepted()


# ------------------------------------------------------------------------------------------------ why it is still up


def test_why_the_machine_is_still_up(machine):
    rebooter = machine.rebooter()
    assert rebooter.explain() == "nobody names an inhibitor, a running job or a unit that does not stop"
    machine.inhibited(APT, ("shutdown", "sshd", "bye", "delay", 0, 13))
    assert rebooter.explain() == "inhibitor: apt (upgrading; uid 0, pid 12)"
    machine.preparing(value=True)
    assert rebooter.explain() == (
        "inhibitor: apt (upgrading; uid 0, pid 12); inhibitor: sshd (bye; uid 0, pid 13) delays it"
    )
    machine.bus.methods["ListInhibitors"] = NoAnswer("slow")
    assert rebooter.explain() == "inhibitor: nobody can say (slow)"
