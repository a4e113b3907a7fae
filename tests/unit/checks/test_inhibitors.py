from datetime import UTC, datetime

import pytest

from locksmith.checks import Check, Occasion
from locksmith.checks.inhibitors import InhibitorsCheck
from locksmith.core.verdict import Closed, Open, Unknown
from locksmith.host.bus import BusDenied, MethodFailed, NoAnswer, NoBus, NoService
from locksmith.host.system import System
from tests.fakes.bus import FakeBus

OCCASION = Occasion(datetime(2026, 1, 1, tzinfo=UTC), True, {})
APT = ("shutdown:sleep", "apt", "upgrading", "block", 0, 12)


def check(tmp_path, answer, *ignore) -> Check:
    bus = FakeBus()
    bus.methods["ListInhibitors"] = answer
    return InhibitorsCheck("inhibitors", bus, ignore, System(runtime=tmp_path, tools=tmp_path))


@pytest.mark.parametrize(
    ("rows", "ignore", "verdict"),
    [
        ([], (), Open("nobody blocks a shutdown")),
        ([APT], (), Closed("a shutdown is blocked by apt (upgrading; uid 0, pid 12)")),
        (
            [("shutdown", "apt", "upgrading", "block-weak", 0, 12)],
            (),
            Closed("a shutdown is blocked by apt (upgrading; uid 0, pid 12)"),
        ),
        ([("shutdown", "NetworkManager", "bye", "delay", 0, 12)], (), Open("nobody blocks a shutdown")),
        ([("sleep:idle:handle-shutdown", "gnome", "x", "block", 0, 12)], (), Open("nobody blocks a shutdown")),
        ([APT], ("apt",), Open("ignored: apt")),
        ([APT], ("ap", "APT"), Closed("a shutdown is blocked by apt (upgrading; uid 0, pid 12)")),
        (
            [("shutdown", "z", "b", "block", 1, 2), APT],
            ("x",),
            Closed("a shutdown is blocked by apt (upgrading; uid 0, pid 12); z (b; uid 1, pid 2)"),
        ),
        (
            [("shutdown", "a\x1b[2Jb", "c\nd", "block", 1, 2)],
            (),
            Closed("a shutdown is blocked by a[2Jb (cd; uid 1, pid 2)"),
        ),
    ],
)
def test_who_closes(tmp_path, rows, ignore, verdict):
    gate = check(tmp_path, (rows,), *ignore)
    assert gate.kind == "gate"
    assert gate.ask(OCCASION) == verdict


@pytest.mark.parametrize("answer", [NoAnswer("slow"), BusDenied("no"), MethodFailed("a.b", "x"), (), (7,), ([("x",)],)])
def test_no_answer_is_unknown(tmp_path, answer):
    assert isinstance(check(tmp_path, answer).ask(OCCASION), Unknown)


def test_without_logind_the_gate_is_open(tmp_path):
    assert check(tmp_path, NoService("nobody")).ask(OCCASION) == Open("no logind: nobody")
    assert check(tmp_path, NoBus("no bus")).ask(OCCASION) == Open("no logind: no bus")
    # systemd without a bus is a machine that is not well.
    (tmp_path / "systemd" / "system").mkdir(parents=True)
    assert isinstance(check(tmp_path, NoBus("no bus")).ask(OCCASION), Unknown)
