"""A real etcd is put back to a backup while a node reboots that the backup does not know."""

import json

import pytest

from tests.integration.fleet.fleet import Fleet, Hardware
from tests.integration.fleet.host import Ways, lockctl
from tests.integration.fleet.judges import judge_downs, read_ledger
from tests.integration.fleet.stores import EtcdRaw, counts, phases, skipping, tickets
from tests.servers.etcd import EtcdCluster

LIMIT = "group/fleet"

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.mark.parametrize("token", [None, "another"], ids=["same-cluster", "another-cluster"])
def test_a_node_that_the_backup_does_not_know_puts_its_slot_back(tmp_path, token) -> None:
    hardware = Hardware(auto=False)
    with skipping():
        cluster = EtcdCluster()
    raw = EtcdRaw(cluster)
    with cluster, Fleet(raw, 3, ways=Ways(poll_interval="1s"), slots=1, hardware=hardware) as fleet:
        gone, *others = fleet.hosts
        fleet.start()
        fleet.wait_all(lambda host: host.is_in("steady"), "all have reported")
        backup = tmp_path / "backup"
        raw.cluster.save(backup)
        gone.stage_update()
        gone.poke()
        fleet.wait(lambda: phases(raw.snapshot()) == {gone.name: "armed"} and gone.began("reboot") == 1, "it reboots")
        gone.power_off()
        for host in others:
            host.stage_update()
            host.poke()
        fleet.wait(lambda: all(host.is_in("queued") for host in others), "the others wait")

        said: list[dict] = []

        def operator(url: str) -> None:
            done = lockctl("--store", url, "restored", "--reason", "a disk died", "--json", "--timeout", "100s")
            assert done.returncode == 0, done.stderr
            said.append(json.loads(done.stdout))

        raw.cluster.restore(backup, operator, token=token)
        assert (said[0]["cluster"] is not None) == (token is not None)
        if token is not None:
            fleet.wait(lambda: all("was restored" in host.report() for host in others), "they refuse another cluster")
            for host in others:
                host.kill()
                host.start()
        assert said[0]["epoch"] > said[0]["before"] == 1
        assert phases(raw.snapshot()) == {}, "the backup knows of no slot"
        fleet.wait(lambda: _settled(fleet) == {host.name for host in others}, "the others have looked")
        assert all(host.boots == 0 for host in others), "the pause stands"

        fleet.boot(gone)
        fleet.wait(lambda: gone.is_in("steady"), "it has settled what it owed")
        assert gone.status()["reboots"] == {"healthy": 1}
        fleet.wait(lambda: len(_settled(fleet)) == 3, "all have settled")
        acts = [each["act"] for each in json.loads(fleet.ctl("history", "--json"))["events"] if each.get("node")]
        assert ("restored" in acts, "released" in acts) == (True, True)

        fleet.hardware = Hardware()
        fleet.ctl("resume", "--fleet")
        fleet.wait_all(fleet.rebooted_and_steady, "the roll-out goes on", 120)
        snapshot = raw.snapshot()
        assert (phases(snapshot), tickets(snapshot), counts(snapshot)) == ({}, [], {LIMIT: 0})
        fleet.ctl("fsck")
        fleet.ctl("audit")
        downs = judge_downs(read_ledger(fleet.ledger))
        assert (downs.problems, downs.most) == ([], 1)


def _settled(fleet: Fleet) -> set[str]:
    """The hosts that are not among the missing, by lockctl's word."""
    document = json.loads(fleet.ctl("restored", "--show", "--json", "--timeout", "100s"))
    missing = {each["node"] for each in (*document["missing"], *document["stuck"])}
    assert document["settled"] == 3 - len(missing)
    return {host.name for host in fleet.hosts} - missing
