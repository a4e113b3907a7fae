"""Both releases of `lockctl` steer one fleet in which agents of both run, and read what the other has written.

On an SQLite file; the roll-out in test_roll shows the agents on etcd and Consul.
"""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from locksmith.stores import Check, Put
from locksmith.stores.sqlite import SqliteStore
from tests.integration.fleet.fleet import Fleet, Hardware
from tests.integration.fleet.host import Ways
from tests.integration.fleet.judges import judge_downs, read_ledger
from tests.integration.fleet.stores import SqliteRaw, counts, phases, sqlite_file, tickets
from tests.upgrade.graft import BEYOND
from tests.upgrade.release import Release

PRE, LIMIT = "pre-reboot.10-drain", "group/fleet"
WAYS = Ways(poll_interval="1s", heartbeat="5s", dwell="200ms", pre=("10-drain",), undo=("10-drain",))
GROUP = ("--group", "fleet")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def raw() -> Iterator[SqliteRaw]:
    with sqlite_file() as found:
        yield found


def of_each(fleet: Fleet, old: Release, new: Release) -> None:
    """The first host has the previous release, the second this one."""
    for host, release in zip(fleet.hosts, (old, new), strict=True):
        host.install(release.package)


def test_either_tool_writes_and_the_other_reads(raw: SqliteRaw, old: Release, new: Release) -> None:
    with Fleet(raw, 2, ways=WAYS, slots=2) as fleet:
        of_each(fleet, old, new)
        fleet.start()
        fleet.wait_all(lambda host: host.is_in("steady"), "both are up")
        for by, other in ((old, new), (new, old)):
            _settings(raw.url, by, other)
            _slots(raw.url, by, other)
        _drains_are_called_off(fleet, old, new)
        for release in (old, new):
            release.ctl(raw.url, "fsck")
        _history(raw.url, old, new)
        snapshot = raw.snapshot()
        assert (phases(snapshot), tickets(snapshot), counts(snapshot)) == ({}, [], {LIMIT: 0})


def _settings(url: str, by: Release, other: Release) -> None:
    """The number of slots, a pause of the fleet, of the group and of a node."""
    slots = 3 if by.package is None else 2
    by.ctl(url, "set-max", str(slots), *GROUP)
    for scope in (GROUP, ("--fleet",)):
        by.ctl(url, "pause", *scope, "--reason", f"by {by.version}")
        seen = other.ask(url, "status", *GROUP)
        assert (seen["paused"]["reason"], seen["slots"]) == (f"by {by.version}", slots)
        other.ctl(url, "resume", *scope)
    assert by.ask(url, "status", *GROUP)["paused"] is None
    by.ctl(url, "pause", "--node", "h01", "--reason", "keep it")
    assert "keep it" in json.dumps(other.ask(url, "why", "h01", *GROUP))
    other.ctl(url, "resume", "--node", "h01")


def _slots(url: str, by: Release, other: Release) -> None:
    """A slot held by hand, seen and given up by the other tool; by force with the previous release."""
    by.ctl(url, "lock", "db", *GROUP, "--reason", "disks")
    (holder,) = other.ask(url, "status", *GROUP)["holders"]
    assert (holder["node"], holder["phase"], holder["reason"]) == ("db", "maintenance", "disks")
    other.ctl(url, "unlock", "db", *GROUP, "--reason", "done", *(("--force",) if other.package else ()))
    assert by.ask(url, "status", *GROUP)["holders"] == []


def _drains_are_called_off(fleet: Fleet, old: Release, new: Release) -> None:
    """Each agent gives its slot back to the tool of the other release."""
    for host in fleet.hosts:
        host.hold(PRE)
        host.stage_update()
        host.poke()
    fleet.wait_all(lambda host: host.began(PRE) == 1, "both drain")
    for release, host in zip((new, old), fleet.hosts, strict=True):
        release.ctl(fleet.raw.url, "unlock", host.name, *GROUP, "--reason", "not now", "--timeout", "60s")
    assert [host.status()["called_off"] for host in fleet.hosts] == [{"revoked": 1}] * 2
    assert [host.began("reboot") for host in fleet.hosts] == [0, 0]


def _history(url: str, old: Release, new: Release) -> None:
    """The changes by the previous release have no entry: told as such, and passed over from a later moment on."""
    findings = new.ask(url, "audit", code=1)["findings"]
    assert {finding["kind"] for finding in findings} == {"unrecorded"}, findings
    seen = new.ask(url, "history", *GROUP)
    assert f"by {new.version}" in json.dumps(seen)
    assert f"by {old.version}" not in json.dumps(seen)  # it wrote no notes
    # Once the last word is this release's, everything before it may be passed over.
    new.ctl(url, "set-max", "2", *GROUP)
    new.ctl(url, "audit", "--since", "0s")


def _restrict(path: Path) -> None:
    """What a release to come would write together with a field that restricts."""
    store = SqliteStore(path, "locksmith", timeout=timedelta(seconds=10))
    try:
        item = store.read(["cfg"])["cfg"]
        document = {**json.loads(item.value), "min_claim": BEYOND, "gen": "later", "quiet": {"zone": "a"}}
        store.commit([Check("cfg", item.mod)], [Put("cfg", json.dumps(document).encode())])
    finally:
        store.close()


def test_a_restriction_bars_claims_of_both_and_no_return_of_a_slot(raw: SqliteRaw, old: Release, new: Release) -> None:
    with Fleet(raw, 2, ways=WAYS, slots=4, hardware=Hardware(auto=False)) as fleet:
        of_each(fleet, old, new)
        for release in (old, new):
            release.ctl(raw.url, "lock", f"by-{release}", *GROUP, "--reason", "disks")
        for host in fleet.hosts:
            host.stage_update()
        fleet.start()
        fleet.wait_all(lambda host: host.began("reboot") == 1, "both were told to reboot")
        _restrict(raw.path)
        for host in fleet.hosts:
            fleet.boot(host)
        fleet.wait_all(fleet.rebooted_and_steady, "both have verified and released")
        for host in fleet.hosts:
            host.stage_update()
            host.poke()
        fleet.wait_all(lambda host: host.status().get("kind") == "config", "both are barred")
        for release, other in ((old, new), (new, old)):
            refused = release.ask(raw.url, "lock", "db", *GROUP, "--reason", "x", code=1)
            assert refused["error"]["kind"] == "newer_format"
            release.ctl(raw.url, "unlock", f"by-{other}", *GROUP, "--reason", "done")
            release.ctl(raw.url, "set-max", "2", *GROUP)
        snapshot = raw.snapshot()
        assert (phases(snapshot), tickets(snapshot), counts(snapshot)) == ({}, [], {LIMIT: 0})
        config = snapshot["cfg"].document()
        assert (config["min_claim"], config["quiet"]) == (BEYOND, {"zone": "a"})
        assert judge_downs(read_ledger(fleet.ledger)).pairs == {"h00": 1, "h01": 1}
