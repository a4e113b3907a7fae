"""The power goes in each phase: nothing is lost, nobody else takes the slot meanwhile, and it is given back in the end."""

import json

import pytest

from tests.e2e.fleet import LIMIT, Fleet
from tests.e2e.node import Node

NAMES = ("n1", "n2", "n3")
CONFIG = """
[health.app]
kind = "command"
command = ["test", "!", "-e", "/etc/e2e-sick"]
"""
DRAIN, STOP, SICK = "/etc/e2e-hold-drain", "/run/e2e-hold-stop", "/etc/e2e-sick"
# A service that takes its time to stop, so that the machine is still there when its power goes, armed.
SLOW = f"""
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=true
ExecStop=sh -c 'while [ -e {STOP} ]; do sleep 0.1; done'
[Install]
WantedBy=multi-user.target
"""


def begin(rolling: Fleet) -> Node:
    """Boot all; the first is the victim. It drains and stops as long as the files say."""
    for node in rolling.nodes:
        node.hook("pre-reboot", "10-drain", f"while [ -e {DRAIN} ]; do sleep 0.1; done")
        node.unit("e2e-slow.service", SLOW)
    rolling.boot()
    return rolling.nodes[0]


def to_queued(rolling: Fleet, victim: Node) -> None:
    rolling.ctl("lock", "nobody", "--group", "e2e", "--reason", "so that all wait")
    victim.stage_update()


def to_draining(rolling: Fleet, victim: Node) -> None:
    victim.container.write(DRAIN, "")
    victim.stage_update()


def to_armed(rolling: Fleet, victim: Node) -> None:
    victim.container.write(STOP, "")
    victim.stage_update()


def to_verifying(rolling: Fleet, victim: Node) -> None:
    victim.container.write(SICK, "")
    victim.stage_update()


@pytest.mark.parametrize(
    ("phase", "bring", "boots", "result"),
    [
        ("queued", to_queued, 2, "unsanctioned"),
        ("draining", to_draining, 2, "unsanctioned"),
        ("armed", to_armed, 2, "healthy"),
        ("verifying", to_verifying, 3, "healthy"),
    ],
)
def test_the_power_goes_while(fleet, phase, bring, boots, result):
    rolling = fleet(NAMES, CONFIG)
    victim = begin(rolling)
    name = victim.id()
    bring(rolling, victim)
    rolling.wait(lambda: rolling.phase(name) == phase, f"the victim is {phase}")
    for node in rolling.nodes[1:]:
        node.stage_update()
    rolling.wait(lambda: {node.state() for node in rolling.nodes[1:]} == {"queued"}, "the others wait")
    rolling.cut(victim)
    assert rolling.phase(name) == phase
    if phase == "queued":
        rolling.ctl("unlock", "nobody", "--group", "e2e")
    else:  # while it is away its slot is nobody else's
        stranger = (
            "lockctl",
            "--timeout",
            "60s",
            "lock",
            "stranger",
            "--group",
            "e2e",
            "--reason",
            "is it free?",
            "--json",
        )
        refused = rolling.nodes[1].container.run(*stranger, check=False)
        assert (refused.returncode, json.loads(refused.stdout)["error"]["kind"]) == (3, "full")
    for path in (DRAIN, SICK):
        (victim.container.upper / path.lstrip("/")).unlink(missing_ok=True)
    victim.container.power_on()
    rolling.wait(lambda: rolling.holders() == {} and _all_steady(rolling), "all steady, nothing held")
    assert victim.boots == boots
    assert [node.container.exits for node in rolling.nodes[1:]] == [["reboot"], ["reboot"]]
    downs, history = rolling.downs(cuts=phase != "queued"), rolling.history()
    assert (downs.problems, downs.most) == ([], 1)
    assert (history.problems, history.most) == ([], {LIMIT: 1})
    # It was granted once: after the cut it came back to its own slot, or had none and needs none, its update being booted.
    assert history.granted.count(name) == (0 if phase == "queued" else 1)
    assert victim.status()["reboots"] == {result: 1}
    rolling.ctl("fsck")


def _all_steady(rolling: Fleet) -> bool:
    return all(node.state() == "steady" and node.in_service() for node in rolling.nodes)
