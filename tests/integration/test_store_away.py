"""Two minutes without the store, in the middle of a roll-out, for ten agents in every state that can be waiting."""

import time
from collections.abc import Iterator

import pytest

from tests.integration.fleet.fleet import Fleet, Hardware
from tests.integration.fleet.host import Host, Ways, lockctl
from tests.integration.fleet.judges import judge_downs, read_ledger
from tests.integration.fleet.outage import Roads
from tests.integration.fleet.stores import ConsulRaw, EtcdRaw, counts, own, phases, tickets
from tests.servers.proxy import TcpProxy

HOSTS = 11
"""Ten that want to reboot, and one that does not."""
AWAY = 120
"""Seconds: half of them connections are reset, half of them refused."""
LIMIT = "group/fleet"
HOOK = "10-drain"
PRE, POST = f"pre-reboot.{HOOK}", f"post-reboot.{HOOK}"
WAYS = Ways(poll_interval="5s", dwell="2s", pre=(HOOK,), undo=(HOOK,), post=(HOOK,), health=True)

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(params=["etcd", "consul"])
def raw(request: pytest.FixtureRequest) -> Iterator[EtcdRaw | ConsulRaw]:
    prefix = request.getfixturevalue("key_prefix")
    if request.param == "etcd":
        yield EtcdRaw(request.getfixturevalue("etcd34"), prefix)
    else:
        yield ConsulRaw(request.getfixturevalue("consul"), prefix)


def url(raw: EtcdRaw | ConsulRaw, endpoint: str) -> str:
    scheme = "etcd" if isinstance(raw, EtcdRaw) else "consul"
    return f"{scheme}://{endpoint}/{raw.prefix}"


def test_two_minutes_without_the_store(raw: EtcdRaw | ConsulRaw) -> None:
    upstream = raw.cluster.members[0].endpoint
    with Roads(upstream, HOSTS + 1) as roads:
        urls = [url(raw, endpoint) for endpoint in roads.endpoints]
        with Fleet(raw, HOSTS, ways=WAYS, slots=4, hardware=Hardware(auto=False), urls=urls) as fleet:
            cast(fleet, raw)
            go_through_it(fleet, raw, roads)
            back_to_work(fleet, raw, roads)


def go_through_it(fleet: Fleet, raw: EtcdRaw | ConsulRaw, roads: Roads) -> None:
    """Nobody reboots, nobody crashes, nobody chatters, and not all knock at the same instants."""
    idle, drains, armed, about_to_arm, verifies, *queued = fleet.hosts
    lines = {host.name: len(host.log_lines()) for host in fleet.hosts}
    token = own(raw.snapshot(), armed.name)
    began = roads.reset_all()
    time.sleep(5)
    fleet.boot(armed)  # its machine comes up while there is no store
    about_to_arm.let_go(PRE)
    verifies.mend("health")
    fleet.wait(lambda: armed.began("health") > 0, "the host that booted looks at its health", hosts=[armed])
    assert len(armed.actions(POST, "end")) == 1
    fleet.wait(lambda: armed.is_in("releasing"), "it serves again and owes its slot", hosts=[armed])
    fleet.wait(lambda: verifies.is_in("releasing"), "so does the one that verified", hosts=[verifies])
    lockctl_gives_up(roads)
    fleet.wait(lambda: time.monotonic() > began + AWAY / 2, "half of the outage is over", AWAY)
    knocks = [[at - began for at in instants if at > began + 1] for instants in roads.attempts[1:HOSTS]]
    roads.refuse_all()
    lockctl_gives_up(roads)
    fleet.wait(lambda: time.monotonic() > began + AWAY, "the outage is over", AWAY)

    assert [line.split()[:2] for line in read_ledger(fleet.ledger)[-1:]] == [[armed.name, "up"]]
    assert [host.name for host in fleet.hosts if host.began("reboot")] == [armed.name, verifies.name]
    assert [host.boots for host in (armed, verifies)] == [1, 1]
    states = [host.status()["state"] for host in fleet.hosts]
    assert states == ["steady", "draining", "releasing", "arming", "releasing", *["queued"] * len(queued)]
    snapshot = raw.snapshot()
    held = {drains: "draining", armed: "armed", about_to_arm: "draining", verifies: "verifying"}
    assert phases(snapshot) == {host.name: phase for host, phase in held.items()}
    assert own(snapshot, armed.name) == token

    said = {host.name: host.log_lines()[lines[host.name] :] for host in fleet.hosts}
    for name, words in said.items():
        print(name, *words, sep="\n    ")
    # A new process introduces itself; what the one before it said when its road was cut is not counted.
    starts = [place for place, line in enumerate(said[armed.name]) if "info: locksmithd" in line]
    assert len(starts) == 1
    said[armed.name] = said[armed.name][starts[0] :]
    # Two steps at most, a registry entry of unknown fate, and one line that the store is away, which is not repeated
    # while it stays so; and no line twice.
    away = {name: [line for line in words if "warning: the store is away: " in line] for name, words in said.items()}
    assert {name: words for name, words in away.items() if len(words) > 1} == {}
    assert {name: words for name, words in said.items() if len(words) > 4 + (name == armed.name)} == {}
    told = {name: [line.partition(" ")[2] for line in words] for name, words in said.items()}
    assert {name: words for name, words in told.items() if len(words) != len(set(words))} == {}
    assert said[idle.name] == []

    first = [tuple(round(at, 1) for at in instants[:5]) for instants in knocks]
    print(*first, sep="\n")
    assert len(first) == len(set(first)) == 10
    tenth = [instants[9] for instants in knocks[-len(queued) :]]
    assert max(tenth) - min(tenth) > 0.3  # those that lost the store in the very same state drift apart


def lockctl_gives_up(roads: Roads) -> None:
    """Exit 4, and the endpoint is named; that it ends at all is seen to by `lockctl`'s own limit and then by ours."""
    endpoint = roads.endpoints[-1]
    for scheme in ("etcd", "consul"):
        done = lockctl("--store", f"{scheme}://{endpoint}/locksmith", "--timeout", "3s", "status")
        assert (done.returncode, endpoint in done.stderr) == (4, True), done


def back_to_work(fleet: Fleet, raw: EtcdRaw | ConsulRaw, roads: Roads) -> None:
    """What was owed is given back at once, and the roll-out goes on where it was."""
    idle, drains, armed, about_to_arm, verifies, *_ = fleet.hosts
    fleet.hardware = Hardware(boot_seconds=0.5)
    roads.open_all()

    def released(host: Host) -> bool:
        host.poke()  # as lockctl does there: its own next try may be minutes away by now
        return host.is_in("steady")

    fleet.wait(lambda: all(map(released, (armed, verifies))), "two have released", 400, [armed, verifies])
    assert not {armed.name, verifies.name} & phases(raw.snapshot()).keys()
    assert len(armed.actions(POST, "begin")) == 1
    drains.let_go(PRE)
    fleet.wait_all(lambda host: host is idle or fleet.rebooted_and_steady(host), "the roll-out is over", 400)
    assert (idle.boots, idle.is_in("steady")) == (0, True)
    assert [host.status()["reboots"] for host in fleet.hosts[1:]] == [{"healthy": 1}] * (HOSTS - 1)
    assert [host.status()["called_off"] for host in fleet.hosts] == [{}] * HOSTS
    assert [host.began(PRE) for host in (drains, about_to_arm)] == [1, 1]
    downs = judge_downs(read_ledger(fleet.ledger))
    assert (downs.problems, downs.pairs) == ([], {host.name: 1 for host in fleet.hosts[1:]})
    assert downs.most <= 4
    snapshot = raw.snapshot()
    assert (phases(snapshot), tickets(snapshot), counts(snapshot)) == ({}, [], {LIMIT: 0})
    fleet.ctl("fsck")


def test_lockctl_gives_up_on_a_store_that_accepts_and_says_nothing(raw: EtcdRaw | ConsulRaw) -> None:
    with TcpProxy(raw.cluster.members[0].endpoint) as road:
        road.black_hole()
        done = lockctl("--store", url(raw, road.endpoint), "--timeout", "3s", "status")
        assert (done.returncode, road.endpoint in done.stderr) == (4, True), done


def cast(fleet: Fleet, raw: EtcdRaw | ConsulRaw) -> None:
    """One host steady, two draining, one armed and down, one that verifies, six in the queue."""
    idle, drains, armed, about_to_arm, verifies, *queued = fleet.hosts
    for host in (drains, about_to_arm):
        host.hold(PRE)
    for host in fleet.hosts[1:]:
        host.stage_update()
    verifies.start()
    fleet.wait(lambda: verifies.began("reboot") == 1, "the first one reboots", hosts=[verifies])
    verifies.fail("health")
    fleet.boot(verifies)
    fleet.start([drains, about_to_arm, armed])
    fleet.wait(lambda: all(host.began(PRE) for host in (drains, about_to_arm)), "two drain")
    fleet.wait(lambda: armed.began("reboot") == 1, "one is on its way down", hosts=[armed])
    fleet.wait(lambda: phases(raw.snapshot()).get(verifies.name) == "verifying", "one verifies", hosts=[verifies])
    fleet.start([idle, *queued])
    fleet.wait(lambda: len(tickets(raw.snapshot())) == len(queued), "the others wait", hosts=queued)
    fleet.wait(lambda: idle.is_in("steady"), "one has nothing to do", hosts=[idle])
