"""The server applies a commit and its answer is lost on the way: what was done is found, and is not done twice.

Another node holds a slot all the while, so that a release which applied twice would show in the guard.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from locksmith.core import keys
from locksmith.core.admission import Patience
from locksmith.errors import Conflict, Unknown
from locksmith.semaphore.actor import Actor
from locksmith.semaphore.claiming import Claimed, Enqueued, claim, enqueue
from locksmith.semaphore.holding import Armed, Released, Slot, arm, release, slot_of
from locksmith.stores import Check, Put
from locksmith.stores.measured import Measured, Request
from tests.integration.fleet.fleet import Fleet
from tests.integration.fleet.judges import judge_downs
from tests.integration.fleet.stores import ConsulRaw, EtcdRaw, Raw, counts, own, tickets
from tests.integration.losing import STEPS, Losing
from tests.integration.places import TTL, Place, place
from tests.servers.consul import ConsulCluster
from tests.servers.etcd import EtcdCluster

pytestmark = [pytest.mark.slow, pytest.mark.servers, pytest.mark.timeout(400)]


@dataclass
class Line:
    """A store that is looked at directly, and an agent that reaches it through the proxy alone."""

    kind: str
    direct: Place
    proxy: Losing
    raw: Raw
    requests: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.lossy = Place(
            self.direct.folder, f"{self.kind}://{self.proxy.endpoint}/{self.direct.url.split('/', 3)[3]}"
        )
        self.agent = self.direct.another(Measured(self.lossy.connect(), self.requests.append))
        self.attempt = self.direct.attempt("node1")
        self.session = self.agent.store.session(TTL)

    def close(self) -> None:
        """Free the agent's sockets."""
        self.agent.store.close()

    def commits(self) -> list[str | None]:
        """How the commits since the last call ended."""
        ended = [request.error for request in self.requests if request.op == "commit"]
        self.requests.clear()
        return ended

    # the four steps, each as the agent's hands call it

    def ticket(self) -> None:
        assert enqueue(self.agent, self.attempt, self.session.id, timedelta(0)) == Enqueued()

    def claim(self) -> Slot:
        claimed = claim(self.agent, self.attempt, Patience())
        assert isinstance(claimed, Claimed), claimed
        return slot_of(claimed.held)

    def arm(self, slot: Slot) -> str:
        number = self.agent.nonce()
        armed = arm(self.agent, slot, epoch=1, attempt=number, request=None, expected=None)
        assert isinstance(armed, Armed), armed
        assert armed.held.holder.attempt == number
        return number

    def release(self, slot: Slot) -> None:
        assert release(self.agent, slot) == Released()


@pytest.fixture(params=["etcd", "consul"])
def raw(request: pytest.FixtureRequest, key_prefix: str) -> Raw:
    if request.param == "etcd":
        etcd: EtcdCluster = request.getfixturevalue("etcd35")
        return EtcdRaw(etcd, key_prefix)
    consul: ConsulCluster = request.getfixturevalue("consul")
    return ConsulRaw(consul, key_prefix)


@pytest.fixture
def line(raw: Raw, tmp_path: Path) -> Iterator[Line]:
    kind, address = raw.url.split("://")
    with place(tmp_path, raw.url) as direct, Losing(address.split("/")[0]) as proxy:
        direct.slots(2)
        direct.taken("other")
        made = Line(kind, direct, proxy, raw)
        yield made
        made.close()


def test_the_ticket(line: Line) -> None:
    order = line.proxy.lose("ticket")["ticket"]
    line.ticket()
    assert order.lost
    assert line.commits() == ["unknown"], "sent once; what it did was found by reading"
    snapshot = line.raw.snapshot()
    assert tickets(snapshot) == ["node1"]
    found = snapshot[line.attempt.ticket_key]
    assert found.document()["nonce"] == line.attempt.nonce
    assert found.created == found.modified
    line.session.end()
    assert tickets(line.raw.snapshot()) == [], "it depends on the session that was meant"


def test_the_claim(line: Line) -> None:
    line.ticket()
    line.commits()
    order = line.proxy.lose("claim")["claim"]
    slot = line.claim()
    assert order.lost
    assert line.commits() == ["unknown"]
    snapshot = line.raw.snapshot()
    assert (tickets(snapshot), counts(snapshot)) == ([], {"group/web": 2})
    found = own(snapshot, "node1")
    assert found is not None
    assert (found.document()["nonce"], found.document()["phase"]) == (line.attempt.nonce, "acquired")
    assert (found.created, found.modified) == (slot.token, slot.token)
    line.release(slot)
    line.direct.settled(held=1)


def test_the_arm(line: Line) -> None:
    line.ticket()
    slot = line.claim()
    line.commits()
    order = line.proxy.lose("arm")["arm"]
    number = line.arm(slot)
    assert order.lost
    assert line.commits() == ["unknown"]
    found = own(line.raw.snapshot(), "node1")
    assert found is not None
    assert (found.document()["phase"], found.document()["attempt"]) == ("armed", number)
    assert found.created == slot.token, "the same slot as before"
    line.release(slot)
    line.direct.settled(held=1)


def test_the_release(line: Line) -> None:
    line.ticket()
    slot = line.claim()
    line.arm(slot)
    line.commits()
    order = line.proxy.lose("release")["release"]
    line.release(slot)
    assert order.lost
    assert line.commits() == ["unknown"]
    snapshot = line.raw.snapshot()
    assert (own(snapshot, "node1"), counts(snapshot)) == (None, {"group/web": 1})
    line.direct.settled(held=1)


def test_all_four_of_one_reboot_and_then_another_one(line: Line) -> None:
    """A second life of the same node is not taken for the first."""
    for _ in range(2):
        orders = line.proxy.lose(*STEPS)
        line.attempt = line.direct.attempt("node1")
        line.ticket()
        slot = line.claim()
        line.arm(slot)
        line.release(slot)
        assert all(order.lost for order in orders.values())
        line.direct.settled(held=1)


def test_the_proxy_does_lose_applied_answers(line: Line) -> None:
    """Negative control: who takes a lost answer for a failure counts twice."""

    def careless(actor: Actor, slot: Slot) -> int:
        """Give the slot back as one would without a nonce: again and again until the answer is good."""
        key = keys.guard(keys.group_limit("web"))
        for number in range(1, 4):
            snapshot = actor.store.read([key])
            count = line.direct.guard().count - 1
            value = b'{"v":1,"min_claim":1,"gen":"%d","slots":2,"effective":2,"count":%d}' % (number, count)
            try:
                actor.store.commit([Check(key, snapshot[key].mod)], [Put(key, value)])
            except (Unknown, Conflict):
                continue
            return number
        raise AssertionError("never answered")

    line.ticket()
    slot = line.claim()
    assert counts(line.raw.snapshot()) == {"group/web": 2}
    order = line.proxy.lose_next_answer({"etcd": b'"gen"', "consul": b'"Verb": "set"'}[line.kind])
    assert careless(line.agent, slot) == 2
    assert order.lost
    assert counts(line.raw.snapshot()) == {"group/web": 0}


def test_an_agent_that_loses_all_four_reboots_once(raw: Raw) -> None:
    """The real agents, each behind a proxy that loses the answer to each of its four commits."""
    upstream = raw.url.split("://")[1].split("/")[0]
    proxies = [Losing(upstream) for _ in range(2)]
    try:
        orders = [proxy.lose(*STEPS) for proxy in proxies]
        urls = [raw.url.replace(upstream, proxy.endpoint) for proxy in proxies]
        with Fleet(raw, len(urls), slots=1, urls=urls) as fleet:
            for host in fleet.hosts:
                host.stage_update()
            fleet.start()
            fleet.wait_all(fleet.rebooted_and_steady, "each has rebooted", timeout=120)
            assert [host.began("reboot") for host in fleet.hosts] == [1, 1]
            assert [host.boots for host in fleet.hosts] == [1, 1]
            assert all(order.lost for lost in orders for order in lost.values()), orders
            downs = judge_downs(fleet.ledger.read_text().splitlines())
            assert (downs.most, downs.problems, downs.pairs) == (1, [], {host.name: 1 for host in fleet.hosts})
            snapshot = raw.snapshot()
            assert (tickets(snapshot), counts(snapshot)) == ([], {"group/fleet": 0})
            assert not any(own(snapshot, host.name) for host in fleet.hosts)
            assert all(host.status()["reboots"]["healthy"] == 1 for host in fleet.hosts)
            fleet.ctl("fsck")
    finally:
        for proxy in proxies:
            proxy.close()
