"""`lockctl groups`, `nodes`, `forget` and `why` on a real store."""

from datetime import UTC, datetime, timedelta

from locksmith.core.documents import Phase
from locksmith.semaphore import operating
from tests.unit.cli.conftest import ID, Fleet, Lockctl, node_id


def test_groups(lockctl: Lockctl, fleet: Fleet) -> None:
    assert lockctl("groups", "--json").document["groups"] == []
    fleet.slots(2, "web")
    fleet.slots(1, "db")
    fleet.hold(node_id(1), Phase.ARMED, group="web")
    operating.pause_group(fleet.actor, "db", "storm", None)
    db, web = lockctl("groups", "--json").document["groups"]
    assert (db["group"], db["paused"]["reason"], web["held"], web["free"]) == ("db", "storm", 1, 1)
    assert "paused (group): storm" in lockctl("groups").out


def test_nodes(lockctl: Lockctl, fleet: Fleet) -> None:
    fleet.slots(1)
    fleet.register(
        node_id(1), "n1", state="blocked", kind="window", why="window night opens Thu 23:00", version="0.1.0"
    )
    fleet.register(node_id(2), "n2", group="web", seen=datetime.now(UTC) - timedelta(hours=3))
    first, second = lockctl("nodes", "--json").document["nodes"]
    assert (first["node"], first["host"], first["kind"], first["silent"]) == (node_id(1), "n1", "window", False)
    assert (second["group"], second["silent"]) == ("web", True)
    assert [node["host"] for node in lockctl("nodes", "--group", "web", "--json").document["nodes"]] == ["n2"]
    out = lockctl("nodes").out
    assert node_id(1) in out
    assert "window night opens Thu 23:00" in out
    assert out.splitlines()[0].split() == ["HOST", "ID", "GROUP", "STATE", "FOR", "SEEN", "VERSION", "OS", "WHY"]
    assert "0.1.0" in out


def test_forget(lockctl: Lockctl, fleet: Fleet) -> None:
    fleet.slots(1)
    fleet.register(node_id(1), "n1")
    fleet.hold(node_id(1), Phase.ARMED, host="n1")
    refused = lockctl("forget", "n1", "--json")
    assert refused.code == 3
    assert lockctl("unlock", "n1", "--force", "--force-armed", "--reason", "gone").code == 0
    assert lockctl("forget", "n1", "--json").document["removed"]
    assert lockctl("nodes", "--json").document["nodes"] == []
    assert lockctl("forget", "n1", "--json").document["removed"] == []


def test_why_a_node_waits(lockctl: Lockctl, fleet: Fleet) -> None:
    fleet.slots(1)
    window = {"step": "window", "name": "night", "state": "closed", "kind": "window", "reason": "opens Thu 23:00"}
    fleet.register(node_id(1), "n1", state="blocked", kind="window", need="x", why="closed", steps=(window,))
    document = lockctl("why", "n1", "--json").document
    assert (document["node"], document["host"], document["group"]) == (node_id(1), "n1", "default")
    assert document["verdict"] == "waiting"
    step = next(step for step in document["steps"] if step["step"] == "window")
    assert step["reason"] == "opens Thu 23:00"
    assert set(step) == {"step", "name", "state", "kind", "reason", "since", "until", "remedy"}
    assert "opens Thu 23:00" in lockctl("why", "n1").out


def test_why_names_the_failed_node_and_its_check(lockctl: Lockctl, fleet: Fleet) -> None:
    fleet.slots(1)
    fleet.register(node_id(1), "n1", need="x", kind="halted")
    fleet.hold(node_id(2), Phase.FAILED, host="n2", check="app")
    said = lockctl("why", "n1")
    assert said.code == 0
    assert "n2" in said.out
    assert "app" in said.out


def test_why_without_a_node_is_about_this_machine(lockctl: Lockctl, fleet: Fleet) -> None:
    fleet.slots(1)
    document = lockctl("why", "--json").document
    assert (document["node"], document["verdict"], document["seen"]) == (ID, "unknown", None)
