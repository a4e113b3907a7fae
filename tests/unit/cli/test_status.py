"""`lockctl status` on a real store."""

from datetime import UTC, datetime, timedelta

from locksmith.core import keys
from locksmith.core.documents import Phase, Ticket
from locksmith.semaphore import operating
from locksmith.stores import Check, Put
from tests.unit.cli.conftest import Fleet, Lockctl, node_id

HOLDER = {
    "node", "host", "phase", "since", "phase_since", "expected_by", "overdue", "reason", "by", "token", "boot_id",
}  # fmt: skip


def test_a_store_that_is_not_set_up_says_so(lockctl: Lockctl) -> None:
    said = lockctl("status")
    assert said.code == 0
    assert "nothing is set up" in said.out
    document = lockctl("status", "--json").document
    assert document["exists"] is False
    assert (document["slots"], document["free"], document["holders"]) == (None, None, [])
    assert lockctl("status", "--all", "--json").document["groups"] == []


def test_a_group_that_does_not_exist(lockctl: Lockctl, fleet: Fleet) -> None:
    fleet.slots(1)
    assert lockctl("status", "--group", "web", "--json").document["exists"] is False
    assert "does not exist yet" in lockctl("status", "--group", "web").out
    assert [group["group"] for group in lockctl("status", "--all", "--json").document["groups"]] == ["default"]


def test_the_whole_document(lockctl: Lockctl, fleet: Fleet) -> None:
    now = datetime.now(UTC)
    fleet.slots(3)
    fleet.hold(node_id(1), Phase.ARMED, host="n1", expected_by=now - timedelta(minutes=1))
    fleet.hold(node_id(2), Phase.FAILED, host="n2", check="app")
    key = keys.ticket("default", node_id(3))
    ticket = Ticket(gen="t", nonce="t", limits=("group/default",), since=now, host="n3", reason="kernel")
    session = fleet.store.session(timedelta(seconds=60))
    fleet.store.commit([Check(key, 0)], [Put(key, ticket.encode(), session.id)])
    operating.pause_group(fleet.actor, "default", "INC-4711", None)
    document = lockctl("status", "--json").document
    assert document["store"]["kind"] == "sqlite"
    assert document["store"]["prefix"] == "locksmith"
    assert {name: document[name] for name in ("slots", "held", "free", "failed", "max_failed")} == {
        "slots": 3, "held": 2, "free": 1, "failed": 1, "max_failed": 0,
    }  # fmt: skip
    assert document["paused"]["scope"] == "group"
    assert document["paused"]["by"] == "alice@bastion1"
    assert document["paused"]["until"] is None
    assert document["halted"]["nodes"] == [node_id(2)]
    assert document["halted"]["reason"] == "app"
    armed = next(holder for holder in document["holders"] if holder["node"] == node_id(1))
    assert set(armed) >= HOLDER
    assert (armed["phase"], armed["overdue"], armed["by"]) == ("armed", True, None)
    assert isinstance(armed["token"], str)
    assert armed["since"].endswith("Z")
    (waiting,) = document["queue"]
    assert (waiting["node"], waiting["position"], waiting["reason"]) == (node_id(3), 1, "kernel")
    assert document["waiting_unqueued"] is None


def test_people_see_who_holds_who_waits_and_what_stops_them(lockctl: Lockctl, fleet: Fleet) -> None:
    fleet.slots(2)
    fleet.hold(node_id(1), Phase.ARMED, host="n1")
    fleet.hold(node_id(2), Phase.FAILED, host="n2", check="app")
    operating.pause_fleet(fleet.actor, "storm", None)
    out = lockctl("status").out
    assert "2 of 2 slots held, 0 waiting, 1 failed" in out
    assert "the fleet is paused by alice@bastion1" in out
    assert "n2 failed (app)" in out
    assert node_id(1) in out  # a pipe gets whole ids
    assert "\x1b" not in out
    assert "\x1b[" in lockctl("status", "--color", "always").out


def test_what_others_wrote_cannot_steer_the_terminal(lockctl: Lockctl, fleet: Fleet) -> None:
    fleet.slots(1)
    fleet.hold("n1", Phase.ARMED, host="evil\x1b[2Jhost")
    for words in (["status"], ["status", "--color", "always"]):
        assert "\x1b[2J" not in lockctl(*words).out
    assert "\x1b" not in lockctl("status", "--json").out


def test_watch_shows_a_picture_once_while_nothing_changes(lockctl: Lockctl, fleet: Fleet) -> None:
    fleet.slots(1)
    said = lockctl("status", "--watch", "--json", "--timeout", "10ms")
    assert said.code == 0
    assert said.document["slots"] == 1
    assert lockctl("status", "--watch", "--timeout", "10ms").out == lockctl("status").out
