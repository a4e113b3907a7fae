from datetime import UTC, datetime, timedelta

import pytest

from locksmith.checks import Check, Occasion
from locksmith.checks.command import CommandCheck
from locksmith.core.verdict import Closed, Open, Unknown

OCCASION = Occasion(datetime(2026, 1, 1, tzinfo=UTC), clock_trusted=True, environment={"LOCKSMITH_NODE": "n1"})
LONG = timedelta(seconds=60)


def check(role, script, timeout=LONG) -> Check:
    return CommandCheck("backup", ["/bin/sh", "-c", script], timeout, role)


@pytest.mark.parametrize(
    ("script", "gate", "health"),
    [
        ("exit 0", Open(), Open()),
        ("echo all well", Open("all well"), Open("all well")),
        ("echo a backup runs; exit 1", Closed("a backup runs"), Closed("exit code 1: a backup runs")),
        ("exit 1", Closed("exit code 1"), Closed("exit code 1")),
        ("echo no host >&2; exit 2", Unknown("exit code 2: no host"), Closed("exit code 2: no host")),
        ("kill -9 $$", Unknown("killed by SIGKILL"), Closed("killed by SIGKILL")),
    ],
)
def test_what_exit_codes_mean(script, gate, health):
    assert check("gate", script).ask(OCCASION) == gate
    assert check("health", script).ask(OCCASION) == health


def test_a_time_out_is_no_answer():
    short = timedelta(seconds=0.2)
    assert check("gate", "sleep 100", short).ask(OCCASION) == Unknown("no end within 200ms")
    assert check("health", "sleep 100", short).ask(OCCASION) == Closed("no end within 200ms")


def test_a_command_that_is_not_there():
    reason = "cannot be started: /nowhere: no such file or directory"
    assert CommandCheck("x", ["/nowhere"], LONG, "gate").ask(OCCASION) == Unknown(reason)
    assert CommandCheck("x", ["/nowhere"], LONG, "health").ask(OCCASION) == Closed(reason)


def test_the_command_is_told_about_the_occasion():
    occasion = Occasion(OCCASION.now, clock_trusted=True, environment=OCCASION.environment, payload=b'{"node": "n1"}')
    assert check("gate", 'echo "$LOCKSMITH_NODE $(cat)"').ask(occasion) == Open('n1 {"node": "n1"}')


def test_names():
    assert check("gate", "").name == "backup"
    assert check("gate", "").kind == "gate"
    assert check("health", "").kind == "health"
