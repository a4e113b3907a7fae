"""`lockctl history` and `lockctl audit` on a real store."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from locksmith.core import keys
from locksmith.core.documents import Guard, NodeRecord
from locksmith.core.history import Entry
from locksmith.semaphore import operating
from locksmith.semaphore.actor import look
from tests.unit.cli.conftest import Fleet, Lockctl, node_id


def test_nothing_was_done_yet(lockctl: Lockctl, fleet: Fleet) -> None:
    assert "nothing was done yet" in lockctl("history").err
    assert lockctl("history", "--json").document["events"] == []
    assert lockctl("audit", "--json").document == lockctl("audit", "--json").document | {"limits": [], "findings": []}


def test_a_slot_by_hand_from_taking_it_to_giving_it_back(lockctl: Lockctl, fleet: Fleet) -> None:
    fleet.slots(1, "web")
    fleet.register(node_id(1), "n1", group="web")
    assert lockctl("lock", "n1", "--group", "web", "--reason", "new disk").code == 0
    assert lockctl("unlock", "n1", "--group", "web", "--reason", "done").code == 0
    operating.pause_group(fleet.actor, "web", "INC-1", None)
    events = lockctl("history", "--json").document["events"]
    assert [event["act"] for event in events] == ["resized", "acquired", "taken", "paused"]
    resized, acquired, taken, paused = events
    assert (resized["slots"], resized["held"], resized["node"]) == (1, 0, None)
    assert (acquired["node"], acquired["host"], acquired["reason"], acquired["held"]) == (
        node_id(1),
        "n1",
        "new disk",
        1,
    )
    assert [phase["phase"] for phase in taken["phases"]] == ["maintenance"]
    assert (taken["outcome"], paused["reason"], paused["by"]) == ("done", "INC-1", "alice@bastion1")
    assert set(events[0]) == {
        *("at", "act", "by", "group", "node", "host", "reason", "seq", "token", "outcome", "check", "from", "to"),
        *("came_as", "waited_seconds", "held", "slots", "phases"),
    }
    out = lockctl("history").out
    assert "new disk" in out
    assert "INC-1" in out


def test_only_what_was_asked_for(lockctl: Lockctl, fleet: Fleet) -> None:
    fleet.slots(1, "web")
    fleet.slots(1, "db")
    fleet.register(node_id(1), "n1", group="web")
    lockctl("lock", "n1", "--group", "web", "--reason", "x")

    def acts(*words: str) -> list[str]:
        return [event["act"] for event in lockctl("history", *words, "--json").document["events"]]

    assert acts("--group", "db") == ["resized"]
    assert set(acts("--node", "n1")) == {"acquired", "maintenance"}
    assert len(acts("--last", "1")) == 1
    assert acts("--since", "1h") == acts()
    assert acts("--since", "2999-01-01T00:00:00Z") == []
    refused = lockctl("history", "--since", "yesterday")
    assert refused.code == 2
    assert "nor how long ago, such as 2h30m" in refused.err


def test_an_audit_that_passes(lockctl: Lockctl, fleet: Fleet) -> None:
    fleet.slots(1, "web")
    fleet.register(node_id(1), "n1", group="web")
    lockctl("lock", "n1", "--group", "web", "--reason", "x")
    lockctl("unlock", "n1", "--group", "web")
    answer = lockctl("audit", "--json")
    assert answer.code == 0
    [limit] = answer.document["limits"]
    assert (limit["limit"], limit["whole"], limit["grants"], limit["returns"], limit["most_held"]) == (
        "group/web",
        True,
        1,
        1,
        1,
    )
    assert "never exceeded" in lockctl("audit").out


def test_an_audit_that_fails(lockctl: Lockctl, fleet: Fleet) -> None:
    fleet.slots(1, "web")
    fleet.register(node_id(1), "n1", group="web")
    lockctl("lock", "n1", "--group", "web", "--reason", "x")
    limit = keys.group_limit("web")
    guard = look(fleet.store, [keys.guard(limit)]).document(keys.guard(limit), Guard)
    assert guard is not None
    first = look(fleet.store, [keys.entry(limit, guard.seq)]).document(keys.entry(limit, guard.seq), Entry)
    assert first is not None
    prior = guard.gen
    for number, (act, count) in enumerate([("acquired", 2), ("released", 1)], guard.seq + 1):
        gen = f"f{number}"
        entry = replace(first, seq=number, act=act, count=count, node=node_id(2), host="n2", gen=gen, prior=prior)
        fleet.put(keys.entry(limit, number), entry.encode())
        prior = gen
    fleet.put(keys.guard(limit), replace(guard, seq=guard.seq + 2, gen=prior).encode())
    answer = lockctl("audit", "--json")
    assert answer.code == 1
    assert answer.document["error"]["kind"] == "damaged"
    [finding] = answer.document["findings"]
    assert (finding["kind"], finding["node"], finding["wrong"]) == ("exceeded", node_id(2), True)
    assert "n2 was granted a slot of group/web as number 2 of 1" in lockctl("audit").out
    assert lockctl("audit", "--group", "default").code == 0


def test_reboots_that_nobody_sanctioned(lockctl: Lockctl, fleet: Fleet) -> None:
    fleet.slots(1, "web")
    fleet.register(node_id(1), "n1", group="web")
    key = keys.record("web", node_id(1))
    record = look(fleet.store, [key]).document(key, NodeRecord)
    assert record is not None
    last = {"at": "2026-01-02T03:04:05Z", "result": "unsanctioned"}
    fleet.put(key, replace(record, reboots={"unsanctioned": 1}, last_reboot=last, gen="x").encode())
    answer = lockctl("audit")
    assert answer.code == 1
    assert "n1 rebooted 1 time without an armed slot" in answer.out
    assert lockctl("audit", "--since", "2026-01-01T00:00:00Z").code == 1
    assert lockctl("audit", "--since", "2026-01-03T00:00:00Z").code == 0, "it was explained before"
    healthy = {"at": "2026-01-05T03:04:05Z", "result": "healthy"}
    fleet.put(key, replace(record, reboots={"unsanctioned": 1}, last_reboot=healthy, gen="y").encode())
    assert lockctl("audit", "--json").document["findings"][0]["at"] is None


def test_following_shows_what_there_is_and_ends_with_the_time(lockctl: Lockctl, fleet: Fleet) -> None:
    fleet.slots(1, "web")
    assert "resized" in lockctl("history", "--follow", "--timeout", "1s").out
    assert lockctl("history", "--follow", "--timeout", "1s", "--json").document["event"]["act"] == "resized"


@pytest.mark.parametrize("words", [(), ("--follow", "--timeout", "1s"), ("--last", "3")])
def test_a_terminal_obeys_nothing_that_others_wrote(lockctl: Lockctl, fleet: Fleet, words: tuple[str, ...]) -> None:
    evil = "\x1b]0;owned\x07\x9b2J\nfake line\u202e"
    fleet.slots(1, "web")
    limit = keys.group_limit("web")
    entry = Entry(
        seq=2, act=f"acquired{evil}", at=datetime.now(UTC), by=evil, count=1, slots=1, node="n", host=evil, group="web"
    )
    fleet.put(keys.entry(limit, 2), replace(entry, reason=evil, outcome=evil, check=evil, came_as=evil).encode())
    operating.pause_group(fleet.actor, "web", evil, None)
    out = lockctl("history", *words).out
    assert "owned" in out
    assert not {letter for letter in out if letter != "\n" and not letter.isprintable()}
    assert not [line for line in out.splitlines() if line.startswith("fake")]
    assert not {letter for letter in lockctl("audit").out if letter != "\n" and not letter.isprintable()}
