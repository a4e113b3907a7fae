"""`lockctl pause` and `resume` on a real store."""

from locksmith.core.documents import Phase
from tests.unit.cli.conftest import Fleet, Lockctl, node_id


def test_pause_and_resume_of_a_group(lockctl: Lockctl, fleet: Fleet) -> None:
    fleet.slots(2)
    fleet.hold(node_id(1), Phase.ARMED, host="n1")
    fleet.hold(node_id(2), Phase.DRAINING, host="n2")
    document = lockctl("pause", "--reason", "storm", "--until", "2h", "--json").document
    assert (document["scope"], document["group"], document["node"]) == ("group", "default", None)
    assert document["paused"]["until"] is not None
    assert [holder["host"] for holder in document["armed"]] == ["n1"]
    again = lockctl("pause", "--reason", "flood", "--json").document
    assert again["before"]["reason"] == "storm"
    assert "n1 is rebooting already and goes on" in lockctl("pause", "--reason", "x").out
    assert lockctl("resume", "--json").document["was"]["reason"] == "x"
    assert lockctl("resume", "--json").document["was"] is None
    assert lockctl("resume").out == "group default was not paused\n"


def test_pause_and_resume_of_the_fleet_and_of_a_node(lockctl: Lockctl, fleet: Fleet) -> None:
    fleet.slots(1)
    fleet.register(node_id(1), "n1")
    assert lockctl("pause", "--fleet", "--reason", "storm", "--json").document["scope"] == "fleet"
    assert lockctl("status", "--json").document["paused"]["scope"] == "fleet"
    assert lockctl("resume", "--fleet").out.startswith("the fleet goes on")
    held = lockctl("pause", "--node", "n1", "--reason", "fragile", "--json").document
    assert (held["scope"], held["node"]) == ("node", node_id(1))
    assert "fragile" in lockctl("resume", "--node", "n1").out
    assert lockctl("resume", "--node", "n1", "--json").document["was"] is None


def test_an_unknown_group(lockctl: Lockctl, fleet: Fleet) -> None:
    fleet.slots(1)
    for words in (["pause", "--reason", "x"], ["resume"], ["resume", "--failed", "--reason", "x"]):
        said = lockctl(*words, "--group", "wbe", "--json")
        assert (said.code, said.kind) == (3, "no_such_group")
        assert "default" in said.err


def test_failed_nodes_are_acknowledged_by_name(lockctl: Lockctl, fleet: Fleet) -> None:
    fleet.slots(2)
    fleet.hold(node_id(1), Phase.FAILED, host="n1", check="app")
    assert lockctl("status", "--json").document["halted"] is not None
    words = ["resume", "--failed", "--reason", "known", "--json"]
    assert lockctl(*words).document["acknowledged"] == [node_id(1)]
    assert lockctl(*words).document["acknowledged"] == []
    status = lockctl("status", "--json").document
    assert (status["halted"], status["failed"]) == (None, 1)
    assert status["holders"][0]["acknowledged"] is True
