"""A fleet goes from the previous release to this one and back, half by half, each node over a reboot of its own.

Judged as every roll-out is: by the hosts' own ledger, and on etcd by every revision that the store ever had.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from tests.integration.fleet.fleet import Fleet, Hardware
from tests.integration.fleet.host import Host, Ways
from tests.integration.fleet.judges import judge_downs, judge_history, read_ledger
from tests.integration.fleet.stores import ConsulRaw, EtcdRaw, Raw, counts, phases, skipping, tickets
from tests.servers.consul import ConsulCluster
from tests.servers.etcd import EtcdCluster
from tests.upgrade.release import Release

HOSTS, SLOTS, LIMIT = 4, 2, "group/fleet"
WAYS = Ways(poll_interval="2s", heartbeat="5s", dwell="300ms", pre=("10-drain",), undo=("10-drain",), post=("10-back",))

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.timeout(400)]


@contextmanager
def one_etcd() -> Iterator[EtcdRaw]:
    """A member of the test's own: its history is judged from the first revision."""
    with skipping():
        cluster = EtcdCluster("3.5")
    with cluster:
        yield EtcdRaw(cluster)


@contextmanager
def one_consul() -> Iterator[ConsulRaw]:
    """A server of the test's own."""
    with skipping():
        cluster = ConsulCluster()
    with cluster:
        yield ConsulRaw(cluster)


def roll(fleet: Fleet, to: Sequence[Release], reboots: int) -> None:
    """Every host reboots once, and its agent is then that of its release."""
    for host, release in zip(fleet.hosts, to, strict=True):
        host.install(release.package)
        host.stage_update()
        host.poke()
    fleet.wait_all(lambda host: _rolled(fleet, host, reboots), f"every host has rebooted {reboots} times", 240)


def _rolled(fleet: Fleet, host: Host, reboots: int) -> bool:
    return host.boots == reboots and fleet.rebooted_and_steady(host)


def versions(fleet: Fleet, release: Release) -> list[str]:
    """What the registry says, by host."""
    nodes = release.ask(fleet.raw.url, "nodes", "--group", "fleet")["nodes"]
    return [str(node["version"]) for node in sorted(nodes, key=lambda node: node["node"])]


def at_rest(fleet: Fleet, raw: Raw) -> None:
    """Nobody holds, nobody waits, and both operators' tools find nothing wrong."""
    snapshot = raw.snapshot()
    assert (phases(snapshot), tickets(snapshot), counts(snapshot)) == ({}, [], {LIMIT: 0})


@pytest.mark.parametrize("store", [one_etcd, one_consul], ids=["etcd", "consul"])
def test_a_fleet_is_upgraded_half_by_half_and_taken_back(old: Release, new: Release, store) -> None:
    hardware = Hardware(boot_seconds=0.7)
    with store() as raw, Fleet(raw, HOSTS, ways=WAYS, hardware=hardware, package=old.package) as fleet:
        old.ctl(raw.url, "set-max", str(SLOTS), "--group", "fleet")
        fleet.start()
        fleet.wait_all(lambda host: host.is_in("steady"), "every agent is up")
        for number, to in enumerate([(new, old, new, old), (old, new, new, old)], 1):
            roll(fleet, to, number)
            assert versions(fleet, old) == versions(fleet, new) == [release.version for release in to]
            at_rest(fleet, raw)
        for release in (old, new):
            release.ctl(raw.url, "fsck")
        # Changes by the previous release have no entry in the history; that is all that the audit may find.
        findings = new.ask(raw.url, "audit", code=1)["findings"]
        assert {finding["kind"] for finding in findings} <= {"unrecorded", "gap"}, findings
        assert [host.status()["reboots"] for host in fleet.hosts] == [{"healthy": 2}] * HOSTS
        assert [host.began("reboot") for host in fleet.hosts] == [2] * HOSTS
        downs = judge_downs(read_ledger(fleet.ledger))
        assert (downs.problems, downs.pairs) == ([], {host.name: 2 for host in fleet.hosts})
        assert downs.most <= SLOTS
        if isinstance(raw, EtcdRaw):
            history = judge_history(raw.cluster, {LIMIT: SLOTS})
            assert (history.problems, history.most) == ([], {LIMIT: SLOTS})
            assert sorted(history.granted) == sorted([host.name for host in fleet.hosts] * 2)
