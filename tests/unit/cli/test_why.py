"""`lockctl why` for people and for programs, with the store and without it."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from locksmith.cli.local import LOCK, STATUS
from locksmith.core.documents import Phase
from locksmith.host.files import HostLock
from tests.unit.cli.conftest import ID, Fleet, Lockctl, node_id

NEEDED = {"step": "update", "name": "apt", "state": "passed", "reason": "linux-image, from v1 to v2"}


def window(opens: datetime) -> dict[str, Any]:
    berlin = opens + timedelta(hours=1)
    return {
        "step": "window",
        "name": "night",
        "state": "closed",
        "kind": "window",
        "reason": f"the next window opens at {berlin:%Y-%m-%dT%H:%M:%S}+01:00",
        "until": opens.isoformat(),
    }


def test_a_window_is_told_in_its_own_zone_and_in_utc(lockctl: Lockctl, fleet: Fleet) -> None:
    fleet.slots(1)
    opens = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=5, minutes=30)
    fleet.register(node_id(1), "n1", need="x", kind="window", steps=(NEEDED, window(opens)))
    out = lockctl("why", "n1").out
    assert f"{opens + timedelta(hours=1):%Y-%m-%dT%H:%M:%S}+01:00" in out
    assert f"until {opens:%Y-%m-%dT%H:%M:%S}Z, in 5h" in out


def test_a_silent_node_says_what_is_of_then(lockctl: Lockctl, fleet: Fleet) -> None:
    fleet.slots(1)
    seen = datetime.now(UTC) - timedelta(hours=3)
    fleet.register(node_id(1), "n1", need="x", seen=seen, steps=(NEEDED, window(datetime.now(UTC))))
    said = lockctl("why", "n1")
    assert (said.code, "Of then, not of now: update, window." in said.out) == (0, True)
    document = lockctl("why", "n1", "--json").document
    assert (document["silent"], document["source"], document["verdict"]) == (True, "store", "unknown")
    assert (document["steps"][0]["step"], document["steps"][0]["kind"]) == ("agent", "silent")


def test_the_document_without_a_queue(lockctl: Lockctl, fleet: Fleet) -> None:
    fleet.slots(1)
    fleet.register(node_id(1), "n1")
    document = lockctl("why", "n1", "--json").document
    assert set(document) == {
        "schema", "time", "node", "host", "group", "seen", "silent", "source", "verdict", "summary", "steps", "queue",
    }  # fmt: skip
    assert document["queue"] is None


def test_a_remedy_is_said_only_for_what_is_not_passed(lockctl: Lockctl, fleet: Fleet) -> None:
    fleet.slots(1)
    fleet.register(node_id(1), "n1", need="x", steps=({**NEEDED, "remedy": "nothing"},))
    fleet.hold(node_id(2), Phase.FAILED, host="n2", check="app")
    out = lockctl("why", "n1").out
    assert "to do: nothing" not in out
    assert "to do: make n2 well" in out


# ---------------------------------------------------------------- the store is away


@pytest.fixture
def away(bare: Lockctl, monkeypatch: pytest.MonkeyPatch) -> Lockctl:
    """lockctl whose store is a port on which nobody listens."""
    monkeypatch.setenv("LOCKSMITH_STORE", "etcd://127.0.0.1:9/locksmith")
    return bare


def say(run_dir: Path, **more: Any) -> None:
    """What the agent on this machine has said."""
    run_dir.mkdir(exist_ok=True)
    raw = {
        "node": ID,
        "group": "web",
        "time": datetime.now(UTC).isoformat(),
        "verdict": "waiting",
        "summary": "it waits",
    }
    (run_dir / STATUS).write_text(json.dumps({**raw, "steps": [NEEDED], **more}))


def test_this_machine_is_explained_without_the_store(away: Lockctl, tmp_path: Path) -> None:
    say(tmp_path / "run")
    lock = HostLock(tmp_path / "run" / LOCK)
    lock.acquire()
    try:
        for name in ((), (ID,), (ID[:8],), (os.uname().nodename,)):
            document = away("why", *name, "--json").document
            assert (document["source"], document["verdict"], document["node"]) == ("agent", "waiting", ID)
            assert [step["kind"] for step in document["steps"] if step["state"] != "passed"] == ["store"]
        said = away("why")
    finally:
        lock.release()
    assert said.code == 0
    assert "The store does not answer" in said.out
    assert "127.0.0.1:9" in said.out


def test_an_agent_that_does_not_run_is_said(away: Lockctl, tmp_path: Path) -> None:
    say(tmp_path / "run")
    document = away("why", "--json").document
    assert [step["kind"] for step in document["steps"] if step["state"] != "passed"] == ["silent", "store"]


def test_another_machine_is_not_answered_for(away: Lockctl, tmp_path: Path) -> None:
    say(tmp_path / "run")
    for name in ("n7", ID[:7], f"{ID}0"):
        assert away("why", name, "--json").kind == "unavailable"


@pytest.mark.parametrize("text", [None, "not json", "[]", "{}"])
def test_an_agent_that_has_said_nothing_leaves_the_error(away: Lockctl, tmp_path: Path, text: str | None) -> None:
    if text is not None:
        say(tmp_path / "run")
        (tmp_path / "run" / STATUS).write_text(text)
    said = away("why", "--json")
    assert (said.code, said.kind) == (4, "unavailable")
