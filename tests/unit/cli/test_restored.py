"""`lockctl restored` on a real store."""

from datetime import UTC, datetime, timedelta

from locksmith.core import keys
from locksmith.core.documents import Config, Phase
from locksmith.semaphore.actor import look
from tests.unit.cli.conftest import Fleet, Lockctl, node_id


def config(fleet: Fleet) -> Config:
    found = look(fleet.store).config
    assert found is not None
    return found


def test_a_new_epoch_and_a_pause_that_does_not_end_by_itself(lockctl: Lockctl, fleet: Fleet) -> None:
    fleet.slots(1)
    fleet.register(node_id(1), "n1", epoch=1)
    before = config(fleet)
    said = lockctl("restored", "--reason", "disk of the store died", "--json").document
    after = config(fleet)
    assert after.epoch == said["epoch"] > before.epoch
    assert (said["before"], after.store) == (1, before.store)
    assert after.pause is not None
    assert after.pause.until is None
    assert said["paused"]["reason"] == "the store was restored: disk of the store died"
    assert (said["settled"], [each["host"] for each in said["missing"]], said["stuck"]) == (0, ["n1"], [])
    acts = [each["act"] for each in lockctl("history", "--json").document["events"]]
    assert "epoch" in acts


def test_an_epoch_is_never_used_twice_whatever_the_backup_holds(lockctl: Lockctl, fleet: Fleet) -> None:
    fleet.slots(1)
    backup = fleet.store.read([keys.CFG])[keys.CFG].value
    first = lockctl("restored", "--reason", "x", "--json").document["epoch"]
    second = lockctl("restored", "--reason", "x", "--json").document["epoch"]
    assert second > first
    fleet.put(keys.CFG, backup)
    assert lockctl("restored", "--reason", "x", "--json").document["epoch"] not in (1, first, second)


def test_who_has_settled_and_who_cannot(lockctl: Lockctl, fleet: Fleet) -> None:
    fleet.slots(1)
    epoch = lockctl("restored", "--reason", "x", "--json").document["epoch"]
    fleet.register(node_id(1), "fine", epoch=epoch)
    fleet.register(node_id(2), "late", epoch=epoch - 1)
    fleet.register(node_id(3), "older")
    fleet.register(node_id(4), "stuck", epoch=epoch, state="unready", why="the store does not know slot 7")
    document = lockctl("restored", "--show", "--json").document
    assert document["before"] is None
    assert document["settled"] == 1
    assert [each["host"] for each in document["missing"]] == ["late", "older"]
    assert [each["why"] for each in document["stuck"]] == ["the store does not know slot 7"]
    said = lockctl("restored", "--show")
    assert f"settled in epoch {epoch}: 1 of 4 nodes" in said.out
    for host in ("late", "older", "stuck"):
        assert host in said.out
    assert "fine" not in said.out
    assert config(fleet).epoch == epoch


def test_a_record_that_a_node_left_in_another_group_waits_for_nobody(lockctl: Lockctl, fleet: Fleet) -> None:
    fleet.slots(1)
    epoch = lockctl("restored", "--reason", "x", "--json").document["epoch"]
    fleet.register(node_id(1), "n1", group="old", epoch=epoch - 1, seen=datetime.now(UTC) - timedelta(days=30))
    fleet.register(node_id(1), "n1", epoch=epoch)
    document = lockctl("restored", "--show", "--json").document
    assert (document["settled"], document["missing"]) == (1, [])


def test_with_everybody_settled_it_says_what_comes_next(lockctl: Lockctl, fleet: Fleet) -> None:
    fleet.slots(1)
    fleet.hold(node_id(1), Phase.ARMED, host="n1")
    epoch = lockctl("restored", "--reason", "x", "--json").document["epoch"]
    fleet.register(node_id(1), "n1", epoch=epoch)
    assert "lockctl resume --fleet" in lockctl("restored", "--show").err


def test_bad_words_and_a_store_without_a_fleet(lockctl: Lockctl, fleet: Fleet) -> None:
    assert lockctl("restored", "--reason", "x", "--json").kind == "no_such_group"
    assert lockctl("restored", "--show", "--json").kind == "no_such_group"
    assert look(fleet.store).config is None
    for words in ((), ("--show", "--reason", "x")):
        said = lockctl("restored", *words, "--json")
        assert (said.code, said.kind) == (2, "usage")


def test_a_pause_that_stood_before_is_named_in_the_new_one(lockctl: Lockctl, fleet: Fleet) -> None:
    fleet.slots(1)
    lockctl("pause", "--fleet", "--reason", "INC-1")
    reason = lockctl("restored", "--reason", "x", "--json").document["paused"]["reason"]
    assert reason.startswith("the store was restored: x")
    assert "INC-1" in reason


def test_a_record_that_cannot_be_read_stands_in_nobodys_way(lockctl: Lockctl, fleet: Fleet) -> None:
    fleet.slots(1)
    fleet.put(keys.record("default", node_id(1)), b"{")
    said = lockctl("restored", "--reason", "x", "--json")
    assert (said.code, said.document["unreadable"], said.document["missing"]) == (0, [node_id(1)], [])
    shown = lockctl("restored", "--show")
    assert shown.code == 0
    assert "0 of 1 nodes" in shown.out
    assert node_id(1)[:8] in shown.out
    assert "resume" not in shown.err
