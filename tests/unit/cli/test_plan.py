"""`lockctl plan`: whom it names, in which order, and what it says that it assumes."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from locksmith.core import keys
from locksmith.core.documents import Hold, Phase, Request, Ticket
from locksmith.core.history import Entry, Step
from locksmith.semaphore import operating
from tests.unit.cli.conftest import ID, Fleet, Lockctl, node_id

HOUR = timedelta(hours=1)


def staged(fleet: Fleet, number: int, hours: int, **more) -> str:
    now = datetime.now(UTC)
    more = {"need": "linux-image", "need_since": now - hours * HOUR, "kind": "queue", **more}
    fleet.register(node_id(number), f"n{number}", **more)
    return node_id(number)


def queued(fleet: Fleet, number: int, **more) -> None:
    ticket = Ticket(
        gen="g", nonce="n", limits=("group/default",), since=datetime.now(UTC), host=f"n{number}", reason="why", **more
    )
    fleet.put(keys.ticket("default", node_id(number)), ticket.encode())


def released(fleet: Fleet, seq: int, minutes: int, drain: int, outcome: str = "healthy") -> None:
    end = datetime.now(UTC) - seq * HOUR
    begun = end - timedelta(minutes=minutes)
    steps = (
        Step(phase=Phase.ACQUIRED, at=begun),
        Step(phase=Phase.DRAINING, at=begun),
        Step(phase=Phase.ARMED, at=begun + timedelta(minutes=drain)),
        Step(phase=Phase.VERIFYING, at=end),
    )
    entry = Entry(
        gen="g", seq=seq, act="released", at=end, by="agent", count=0, slots=1, node=node_id(50), group="default",
        outcome=outcome, steps=steps,
    )  # fmt: skip
    fleet.put(keys.entry("group/default", seq), entry.encode())


def hosts(document: dict) -> list[str]:
    return [each["host"] for each in document["nodes"]]


def test_nobody_wants_a_reboot(lockctl: Lockctl, fleet: Fleet) -> None:
    assert lockctl("plan").code == 0
    fleet.slots(1)
    fleet.register(node_id(1), "n1")
    document = lockctl("plan", "--json").document
    assert (document["nodes"], document["left_out"], document["done"]) == ([], [], None)
    assert "no node wants a reboot" in lockctl("plan").out


def test_the_queue_comes_first_then_who_has_waited_longest(lockctl: Lockctl, fleet: Fleet) -> None:
    fleet.slots(1)
    staged(fleet, 1, 1)
    staged(fleet, 2, 9)
    staged(fleet, 3, 5)
    staged(fleet, 4, 2)
    queued(fleet, 3)
    queued(fleet, 4, priority=-1)
    fleet.put(keys.request(node_id(5)), Request(gen="g", by="alice", reason="INC", since=datetime.now(UTC)).encode())
    fleet.register(node_id(5), "n5")
    document = lockctl("plan", "--json").document
    assert hosts(document) == ["n4", "n3", "n2", "n1", "n5"]
    assert [each["queued"] for each in document["nodes"]] == [True, True, False, False, False]
    assert [each["position"] for each in document["nodes"]] == [1, 2, 3, 4, 5]
    ends = [datetime.fromisoformat(each["done"]) for each in document["nodes"]]
    assert ends[1] - ends[0] == timedelta(minutes=10)
    assert document["done"] == document["nodes"][-1]["done"]
    assert (document["per_node_seconds"], document["measured_reboots"], document["opening"]) == (600, 0, None)
    assert any("--per-node" in each for each in document["assumptions"])


def test_who_will_not_reboot_by_itself_is_left_out(lockctl: Lockctl, fleet: Fleet) -> None:
    fleet.slots(1)
    now = datetime.now(UTC)
    staged(fleet, 1, 1)
    fleet.put(keys.hold(staged(fleet, 2, 1)), Hold(gen="g", by="bob", reason="disk", since=now).encode())
    staged(fleet, 3, 1, seen=now - timedelta(days=2))
    staged(fleet, 4, 1, strategy="observe")
    staged(fleet, 5, 1, kind="loop_guard", why="rebooted for it already")
    staged(fleet, 6, 1, kind="gate", why="backup: running")
    staged(fleet, 7, 1, group="web")
    fleet.hold(staged(fleet, 8, 1), Phase.DRAINING, host="n8")
    document = lockctl("plan", "--json").document
    assert hosts(document) == ["n1", "n6"]
    assert document["nodes"][1]["note"] == "backup: running"
    left = {each["host"]: each["reason"] for each in document["left_out"]}
    assert set(left) == {"n2", "n3", "n4", "n5"}
    assert left["n2"] == "held by bob: disk"
    people = lockctl("plan").out
    assert "somebody must act first" in people
    assert "rebooted for it already" in people


def test_the_pace_is_what_was_measured(lockctl: Lockctl, fleet: Fleet) -> None:
    fleet.slots(1)
    staged(fleet, 1, 1)
    for seq, (minutes, drain, outcome) in enumerate(
        [(6, 1, "healthy"), (8, 2, "healthy"), (30, 9, "rolled_back"), (99, 0, "recovered")], start=1
    ):
        released(fleet, seq, minutes, drain, outcome)
    document = lockctl("plan", "--json").document
    assert (document["per_node_seconds"], document["drain_seconds"], document["measured_reboots"]) == (480, 120, 3)
    assert "8m, the median of 3 reboots" in lockctl("plan").out
    given = lockctl("plan", "--per-node", "20m", "--json").document
    assert (given["per_node_seconds"], given["drain_seconds"], given["measured_reboots"]) == (1200, 120, 0)


def test_slots_that_are_held(lockctl: Lockctl, fleet: Fleet) -> None:
    fleet.slots(3)
    staged(fleet, 1, 2)
    staged(fleet, 2, 1)
    fleet.hold(node_id(10), Phase.FAILED, host="bad")
    fleet.hold(node_id(11), Phase.ARMED, host="busy")  # since 7 minutes
    document = lockctl("plan", "--json").document
    at = datetime.fromisoformat(document["time"])
    first, second = [datetime.fromisoformat(each["begins"]) for each in document["nodes"]]
    assert abs(first - at) < timedelta(seconds=30)
    assert abs(second - (at + timedelta(minutes=3))) < timedelta(seconds=30)
    assert document["halted"]["nodes"] == [node_id(10)]
    said = " ".join(document["assumptions"])
    assert "1 slot stays held" in said
    assert "lockctl resume --failed" in said
    fleet.slots(1)
    stuck = lockctl("plan", "--json").document
    assert [each["begins"] for each in stuck["nodes"]] == [None, None]
    assert stuck["done"] is None
    assert "no telling" in lockctl("plan").out


def test_one_that_reboots_longer_than_any_before_is_not_counted_on(lockctl: Lockctl, fleet: Fleet) -> None:
    fleet.slots(1)
    staged(fleet, 1, 1)
    fleet.hold(node_id(11), Phase.ARMED, host="busy")  # since 7 minutes
    released(fleet, 1, 9, 1)
    document = lockctl("plan", "--json").document
    begins = datetime.fromisoformat(document["nodes"][0]["begins"])
    assert abs(begins - datetime.fromisoformat(document["time"]) - timedelta(minutes=2)) < timedelta(seconds=30)
    released(fleet, 1, 6, 1)
    document = lockctl("plan", "--json").document
    assert document["nodes"][0]["begins"] is None
    assert any("longer than any before" in each for each in document["assumptions"])


def test_windows_and_pauses(lockctl: Lockctl, fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet.slots(1)
    opens = (datetime.now(UTC) + 3 * HOUR).replace(minute=0, second=0, microsecond=0)
    path = tmp_path / "windows.toml"
    path.write_text(f'[node]\nid = "{ID}"\n[windows.soon]\nstart = "{opens:%H:%M}"\nlength = "25m"\n')
    for number in range(1, 5):
        staged(fleet, number, number)
    document = lockctl("plan", "--config", str(path), "--json").document
    assert datetime.fromisoformat(document["opening"]["start"]) == opens
    assert [each["fits"] for each in document["nodes"]] == [True, True, True, False]
    assert datetime.fromisoformat(document["nodes"][3]["begins"]) == opens + timedelta(days=1)
    assert "1 of 4 will not fit into the window that opens" in lockctl("plan", "--config", str(path)).out
    operating.pause_group(fleet.actor, "default", "INC", opens + timedelta(minutes=10))
    paused = lockctl("plan", "--config", str(path), "--json").document
    assert datetime.fromisoformat(paused["nodes"][0]["begins"]) == opens + timedelta(minutes=10)
    assert paused["paused"]["reason"] == "INC"
    assert any("the pause of alice@bastion1 (INC) ends" in each for each in paused["assumptions"])
