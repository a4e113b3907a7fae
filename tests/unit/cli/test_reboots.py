"""`lockctl reboot` on a real store; the agents are played by writing what they would write."""

from locksmith.core import keys
from locksmith.core.documents import Request
from locksmith.semaphore.actor import look
from tests.unit.cli.conftest import ID, Fleet, Lockctl, node_id


def request(fleet: Fleet, node: str) -> Request | None:
    return look(fleet.store, [keys.request(node)]).document(keys.request(node), Request)


def test_a_request_and_its_withdrawal(lockctl: Lockctl, fleet: Fleet) -> None:
    fleet.slots(1)
    fleet.register(node_id(1), "n1")
    said = lockctl("reboot", "n1", "--reason", "drill", "--ignore", "window, gate", "--json")
    (asked,) = said.document["requests"]
    assert (asked["node"], asked["reason"], asked["ignore"], asked["result"]) == (
        node_id(1), "drill", ["window", "gate"], None,
    )  # fmt: skip
    stored = request(fleet, node_id(1))
    assert stored is not None
    assert stored.ignore == ("window", "gate")
    assert lockctl("reboot", "n1", "--cancel", "--json").document["cancelled"][0]["found"] is True
    assert request(fleet, node_id(1)) is None
    assert lockctl("reboot", "n1", "--cancel", "--json").document["cancelled"][0]["found"] is False


def test_without_a_node_this_machine_is_meant(lockctl: Lockctl, fleet: Fleet) -> None:
    fleet.slots(1)
    assert lockctl("reboot", "--json").document["requests"][0]["node"] == ID


def test_all_nodes_of_the_group_and_only_those(lockctl: Lockctl, fleet: Fleet) -> None:
    fleet.slots(1)
    fleet.slots(1, "web")
    for number in (1, 2):
        fleet.register(node_id(number), f"n{number}")
    fleet.register(node_id(3), "n3", group="web")
    unasked = lockctl("reboot", "--all", "--json")
    assert (unasked.code, unasked.kind) == (2, "usage")
    assert "--yes reboots all 2 nodes" in unasked.err
    said = lockctl("reboot", "--all", "--yes", "--json")
    assert [asked["host"] for asked in said.document["requests"]] == ["n1", "n2"]
    assert request(fleet, node_id(3)) is None
    assert len(lockctl("reboot", "--all", "--cancel", "--json").document["cancelled"]) == 2
    assert lockctl("reboot", "--all", "--yes", "--group", "empty").code == 2


def test_nobody_is_asked_when_one_name_is_wrong(lockctl: Lockctl, fleet: Fleet) -> None:
    fleet.slots(1)
    fleet.register(node_id(1), "n1")
    assert lockctl("reboot", "n1", "no/name").code == 2
    assert request(fleet, node_id(1)) is None


def test_wait_ends_by_the_time_limit_and_the_request_stands(lockctl: Lockctl, fleet: Fleet) -> None:
    fleet.slots(1)
    fleet.register(node_id(1), "n1", why="window night is closed")
    said = lockctl("reboot", "n1", "--wait", "--timeout", "100ms", "--json")
    assert (said.code, said.kind) == (3, "timeout")
    assert "window night is closed" in said.err
    assert request(fleet, node_id(1)) is not None
