"""One configuration file for Debian, Flatcar and an ostree system: first observe, then lock."""

import json
import re

from tests.e2e.fleet import Fleet
from tests.e2e.node import CONFIG as PLACE
from tests.e2e.node import Node
from tests.e2e.systems import NEW, OLD, make_flatcar, make_ostree, stage_flatcar, stage_ostree

NAMES = ("debian", "flatcar", "ostree")


def test_a_mixed_fleet_rolls_through_one_group_after_a_rehearsal(fleet):
    rolling = fleet(NAMES)
    debian, flatcar, ostree = rolling.nodes
    make_flatcar(flatcar)
    make_ostree(ostree)
    rehearsal = rolling.config.replace("[agent]\n", '[agent]\nstrategy = "observe"\n')
    for node in rolling.nodes:
        node.container.write(PLACE, rehearsal)
    rolling.boot()

    debian.stage_update()
    stage_flatcar(flatcar)
    stage_ostree(ostree)
    rolling.wait(lambda: all(node.status().get("would") for node in rolling.nodes), "each would")
    rolling.wait(
        lambda: would(rolling) == dict.fromkeys(NAMES, "would now take a slot"), "lockctl says what would happen"
    )
    assert [node.boots for node in rolling.nodes] == [1, 1, 1]
    assert rolling.history().granted == []

    for node in rolling.nodes:
        node.container.write(PLACE, rolling.config)
        node.container.run("systemctl", "reload", "locksmithd.service")
    rolling.wait(lambda: all(node.boots == 2 and node.state() == "steady" for node in rolling.nodes), "all rebooted")
    assert {node.name: node.status()["reboots"] for node in rolling.nodes} == {name: {"healthy": 1} for name in NAMES}
    assert came(flatcar) == (OLD, NEW)
    assert [version.split()[0] for version in came(ostree)] == [OLD, NEW]
    downs, history = rolling.downs(), rolling.history()
    assert (downs.problems, downs.most, downs.pairs) == ([], 1, dict.fromkeys(NAMES, 1))
    assert (history.problems, history.most) == ([], {"group/e2e": 1})


def would(rolling: Fleet) -> dict[str, str]:
    """Host by host, the part of the fleet's table that says it."""
    nodes = json.loads(rolling.ctl("nodes", "--group", "e2e", "--json"))["nodes"]
    return {node["host"]: found[0] for node in nodes if (found := re.findall("would now take a slot", node["why"]))}


def came(node: Node) -> tuple[str, str]:
    """From which version to which one its last reboot went."""
    last = node.status()["last_reboot"]
    return last["from"], last["to"]
