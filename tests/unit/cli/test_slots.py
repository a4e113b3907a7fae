"""`lockctl lock`, `unlock`, `set-max` on a real store."""

import pytest

from locksmith.core import keys
from locksmith.core.documents import Guard, Phase, Unlocked
from locksmith.semaphore import operating
from locksmith.semaphore.actor import look
from tests.unit.cli.conftest import ID, Fleet, Lockctl, node_id


def count(fleet: Fleet, group: str = "default") -> int:
    key = keys.guard(keys.group_limit(group))
    guard = look(fleet.store, [key]).document(key, Guard)
    assert guard is not None
    return guard.count


def test_lock_again_and_unlock(lockctl: Lockctl, fleet: Fleet) -> None:
    fleet.slots(1)
    first = lockctl("lock", "n1", "--reason", "disk", "--json")
    assert first.code == 0
    assert first.document["already"] is False
    holder = first.document["holder"]
    assert (holder["phase"], holder["reason"], holder["node"]) == ("maintenance", "disk", "n1")
    assert "binds no agent" in first.err
    again = lockctl("lock", "n1", "--json").document
    assert (again["already"], again["holder"]["token"]) == (True, holder["token"])
    assert count(fleet) == 1
    assert lockctl("unlock", "n1", "--json").document["result"] == "by_hand"
    assert count(fleet) == 0
    assert lockctl("unlock", "n1", "--json").document["result"] == "not_held"
    strict = lockctl("unlock", "n1", "--strict", "--json")
    assert (strict.code, strict.kind) == (3, "not_held")


def test_without_a_node_this_machine_is_meant(lockctl: Lockctl, fleet: Fleet) -> None:
    fleet.slots(1)
    said = lockctl("lock", "--json")
    assert said.document["node"] == ID
    assert "binds no agent" not in said.err
    assert lockctl("unlock", "--json").document["node"] == ID


def test_a_known_node_is_locked_in_its_own_group(lockctl: Lockctl, fleet: Fleet) -> None:
    fleet.slots(1)
    fleet.slots(1, "web")
    fleet.register(node_id(1), "n1", group="web")
    said = lockctl("lock", "n1", "--json")
    assert (said.document["group"], said.document["node"], said.document["host"]) == ("web", node_id(1), "n1")
    assert "in the group web" in said.err
    elsewhere = lockctl("lock", "n1", "--group", "default", "--json")
    assert (elsewhere.code, elsewhere.kind) == (3, "held_elsewhere")


def test_refusals_of_lock(lockctl: Lockctl, fleet: Fleet) -> None:
    assert (unknown := lockctl("lock", "n1", "--group", "web", "--json")).code == 3
    assert unknown.kind == "no_such_group"
    fleet.slots(1)
    fleet.hold(node_id(1), Phase.DRAINING, host="n1")
    assert lockctl("lock", "n2", "--json").kind == "full"
    assert lockctl("lock", node_id(1), "--json").kind == "held_by_agent"
    operating.pause_group(fleet.actor, "default", "storm", None)
    assert lockctl("lock", "n2", "--json").kind == "paused"
    operating.resume_group(fleet.actor, "default")
    fleet.slots(3)
    fleet.hold(node_id(2), Phase.FAILED, host="n2", check="app")
    halted = lockctl("lock", "n3", "--json")
    assert (halted.code, halted.kind) == (3, "halted")
    assert "n2" in halted.err
    operating.pause_node(fleet.actor, "n4", "no", None)
    operating.acknowledge(fleet.actor, "default", "known")
    assert lockctl("lock", "n4", "--json").kind == "hold"
    assert lockctl("lock", "n3", "--json").code == 0


def test_lock_waits_in_the_queue_and_says_where(lockctl: Lockctl, fleet: Fleet) -> None:
    fleet.slots(1)
    assert lockctl("lock", "n1").code == 0
    said = lockctl("lock", "n2", "--wait", "--timeout", "300ms", "--json")
    assert (said.code, said.kind) == (3, "timeout")
    assert "place 1 in the queue" in said.err
    assert list(fleet.store.read([], [keys.QUEUES]).items) == []
    assert "place 1" not in lockctl("lock", "n2", "--wait", "--timeout", "300ms", "-q").err.split("lockctl: ")[0]


def test_an_ambiguous_name(lockctl: Lockctl, fleet: Fleet) -> None:
    fleet.slots(1)
    fleet.register(node_id(1), "twin")
    fleet.register(node_id(2), "twin")
    said = lockctl("lock", "twin", "--json")
    assert (said.code, said.kind) == (3, "ambiguous_node")
    assert node_id(1) in said.err
    assert lockctl("lock", node_id(1)[:12], "--json").document["node"] == node_id(1)


def test_unlock_asks_an_agent(lockctl: Lockctl, fleet: Fleet) -> None:
    fleet.slots(1)
    fleet.hold(node_id(1), Phase.DRAINING, host="n1")
    said = lockctl("unlock", node_id(1), "--timeout", "200ms", "--json", "--reason", "please")
    assert (said.code, said.kind) == (3, "asked")
    assert "was asked" in said.err
    assert lockctl("status", "--json").document["holders"][0]["asked_back_by"]
    assert count(fleet) == 1


@pytest.mark.parametrize("phase", [Phase.ARMED, Phase.VERIFYING])
def test_force_needs_one_more_flag_for_a_node_that_may_be_rebooting(
    lockctl: Lockctl, fleet: Fleet, phase: Phase
) -> None:
    fleet.slots(1)
    fleet.hold(node_id(1), phase, host="n1")
    words = ["unlock", node_id(1), "--force", "--reason", "dead", "--json"]
    refused = lockctl(*words)
    assert (refused.code, refused.kind) == (3, "armed")
    assert "--force-armed" in refused.err
    taken = lockctl(*words, "--force-armed")
    assert (taken.code, taken.document["result"]) == (0, "forced")
    assert count(fleet) == 0
    key = keys.unlocked(node_id(1))
    record = look(fleet.store, [key]).document(key, Unlocked)
    assert record is not None
    assert record.reason == "dead"


def test_set_max_prints_old_and_new(lockctl: Lockctl, fleet: Fleet) -> None:
    made = lockctl("set-max", "2", "--group", "web", "--json").document
    assert (made["group"], made["old"], made["new"], made["created"]) == ("web", None, 2, True)
    assert lockctl("set-max", "1", "--group", "web").out == "web: 2 -> 1 slot\n"
    fleet.slots(2, "web")
    fleet.hold("a", Phase.ARMED, group="web")
    fleet.hold("b", Phase.ARMED, group="web")
    lowered = lockctl("set-max", "1", "--group", "web")
    assert lowered.code == 0
    assert "2 are held now" in lowered.err
