"""What only real Consul servers show: elections, restores, lost answers, tokens, certificates, policies, sessions.

What every store must do is in tests/conformance, which runs on the same servers.
"""

import itertools
import json
import os
import secrets
import shutil
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest

from locksmith.core import keys
from locksmith.core.admission import Patience
from locksmith.core.documents import NodeRecord
from locksmith.errors import (
    AuthFailed,
    Conflict,
    Denied,
    SessionLost,
    StoreError,
    TlsFailed,
    Unavailable,
    Unknown,
    WrongStore,
)
from locksmith.host.clock import SystemClock
from locksmith.semaphore.actor import Actor
from locksmith.semaphore.claiming import Attempt, Claimed, Enqueued, claim, enqueue
from locksmith.semaphore.holding import Armed, Kept, Released, arm, fail, release, slot_of, verify
from locksmith.semaphore.recovery import Found, setup, start, write_record
from locksmith.stores import Access, Check, Put
from locksmith.stores.consul import ConsulStore
from tests.servers.consul import ConsulCluster
from tests.servers.fetch import ServerMissing
from tests.servers.process import wait_until
from tests.servers.proxy import TcpProxy

pytestmark = pytest.mark.servers

TTL = timedelta(seconds=10)
TIMEOUT = timedelta(seconds=5)
_prefixes = (f"p{number}" for number in itertools.count())


def cluster(**options) -> ConsulCluster:
    try:
        return ConsulCluster(**options)
    except ServerMissing as error:
        if os.environ.get("LOCKSMITH_REQUIRE_SERVERS"):
            raise
        pytest.skip(f"NOT TESTED: {error}")


@pytest.fixture(scope="module")
def single() -> Iterator[ConsulCluster]:
    with cluster() as servers:
        yield servers


@pytest.fixture(scope="module")
def three() -> Iterator[ConsulCluster]:
    with cluster(members=3) as servers:
        yield servers


@pytest.fixture(scope="module")
def locked() -> Iterator[ConsulCluster]:
    """Everything is denied unless a token says otherwise."""
    with cluster(acl=True) as servers:
        servers.request("PUT", "/v1/catalog/register", {"Node": "locksmith", "Address": "127.0.0.1"})
        yield servers


@pytest.fixture(scope="module")
def mutual() -> Iterator[ConsulCluster]:
    with cluster(tls=True, verify_clients=True) as servers:
        yield servers


@pytest.fixture
def connect() -> Iterator[Callable[..., ConsulStore]]:
    """Make stores under one fresh prefix."""
    fresh = next(_prefixes)
    with ExitStack() as stack:

        def make(*endpoints: str, prefix: str = fresh, timeout: timedelta = TIMEOUT, **more) -> ConsulStore:
            store = ConsulStore(endpoints, prefix, timeout=timeout, **more)
            stack.callback(store.close)
            return store

        yield make


def create(store: ConsulStore, key: str, value: bytes = b"1") -> int:
    revision = store.commit([Check(key, 0)], [Put(key, value)])
    assert revision is not None
    return revision


# ── several servers ──


class Counted:
    """A worker that counts in one guard and leaves one key a step, as a claim does; it settles every Unknown."""

    def __init__(self, store: ConsulStore, name: str) -> None:
        self.store = store
        self.name = name
        self.nonces: list[bytes] = []
        self.unknown = 0

    def step(self, number: int) -> None:
        own, nonce = f"own/{self.name}/{number:04}", secrets.token_hex(8).encode()
        while True:
            try:
                snapshot = self.store.read(["guard", own])
                if snapshot[own]:  # only this worker writes it: an earlier try was applied
                    self.nonces.append(snapshot[own].value)
                    return
                count = int(snapshot["guard"].value or b"0") + 1
                self.store.commit(
                    [Check("guard", snapshot["guard"].mod), Check(own, 0)],
                    [Put("guard", f"{count}".encode()), Put(own, nonce)],
                )
            except Unknown:
                self.unknown += 1
            except (Conflict, Unavailable):
                time.sleep(0.01)

    def run(self, until: Callable[[], bool]) -> None:
        for number in itertools.count():
            if until():
                return
            self.step(number)


def test_the_leader_is_killed_in_a_stream_of_commits(three: ConsulCluster, connect) -> None:
    """Twice, and each time the endpoints begin with it: nothing is lost, nothing is doubled."""
    three.wait_for_voters()
    leader = three.leader()
    others = [member.endpoint for member in three.members if member is not leader]
    workers = [Counted(connect(leader.endpoint, *others), f"w{number}") for number in range(4)]
    stop = threading.Event()

    def steps() -> int:
        return sum(len(worker.nonces) for worker in workers)

    def more(count: int) -> None:
        goal = steps() + count
        wait_until(lambda: steps() >= goal, "no commits go through", timeout=40)

    with ThreadPoolExecutor() as pool:
        running = [pool.submit(worker.run, stop.is_set) for worker in workers]
        try:
            for _ in range(2):
                more(20)
                victim = three.leader()
                victim.kill()
                more(20)
                victim.restart()
                three.wait_for_voters(60)
            more(20)
        finally:
            stop.set()
        for each in running:
            each.result()
    snapshot = workers[0].store.read(["guard"], ["own/"])
    held = Counter(key.split("/")[1] for key, _ in snapshot.under("own/"))
    assert held == {worker.name: len(worker.nonces) for worker in workers}
    assert int(snapshot["guard"].value) == steps()
    creates = [item.create for _, item in snapshot.under("own/")]
    assert len(set(creates)) == len(creates), "one commit an applied step"


def test_a_watch_outlives_the_leader(three: ConsulCluster, connect) -> None:
    three.wait_for_voters()
    leader = three.leader()
    others = [member for member in three.members if member is not leader]
    store = connect(leader.endpoint, *[member.endpoint for member in others], timeout=timedelta(seconds=20))
    writer = connect(*[member.endpoint for member in others])
    mod = create(store, "a")

    def watch() -> None:
        while store.read(["a"])["a"].mod == mod:
            assert store.watch("a", mod, timedelta(seconds=50))

    with ThreadPoolExecutor() as pool:
        watcher = pool.submit(watch)
        time.sleep(0.2)
        leader.kill()
        try:
            three.leader()
            writer.commit([Check("a", mod)], [Put("a", b"2")])
            watcher.result()
        finally:
            leader.restart()
            three.wait_for_voters(60)


def test_a_server_that_hangs_is_passed_by(three: ConsulCluster, connect) -> None:
    three.wait_for_voters()
    frozen, *rest = three.followers()
    store = connect(
        frozen.endpoint, *[member.endpoint for member in [*rest, three.leader()]], timeout=timedelta(seconds=4)
    )
    mod = create(store, "a")
    frozen.stop_process()
    try:
        assert store.read(["a"])["a"].mod == mod
        assert store.commit([Check("a", mod)], [Put("a", b"2")])
    finally:
        frozen.cont()
        three.wait_for_voters(60)


def test_without_a_quorum_a_server_counts_as_down(single: ConsulCluster, connect) -> None:
    """It answers, but cannot know: a read goes on to a server that can, and fails as unavailable when there is none."""
    with cluster(members=3) as broken:
        first, *rest = broken.members
        for member in rest:
            member.kill()
        lone = connect(first.endpoint)
        with pytest.raises(Unavailable, match=first.endpoint):
            lone.read(["a"])
        with pytest.raises(Unknown):
            lone.commit([], [Put("a", b"1")])
        store = connect(first.endpoint, *single.endpoints)
        assert not store.read(["a"])["a"]


def test_a_session_outlives_the_server_that_made_it(connect) -> None:
    """Autopilot takes a dead server out of the catalog, and with it every session that belongs to it."""
    with cluster(members=3, options={"autopilot": {"cleanup_dead_servers": True}}) as servers:
        maker, other = servers.followers()
        first, second = connect(maker.endpoint), connect(other.endpoint)
        first.prepare()
        session = first.session(TTL)
        mod = first.commit([Check("t", 0)], [Put("t", b"ticket", session.id)])
        maker.kill()

        def nodes() -> set[str]:
            second.commit([], [Put("tick", b"")])  # autopilot looks at the servers while there is a leader
            found = servers.request("GET", "/v1/catalog/nodes")[1]
            return {node["Node"] for node in found}

        assert maker.name in nodes()
        renewed = connect(other.endpoint)
        renewal = type(session)(renewed._door, session.id, session.ttl)

        def gone() -> bool:
            renewal.keepalive()
            return maker.name not in nodes()

        wait_until(gone, "autopilot does not clean up", timeout=60)
        renewal.keepalive()
        assert second.read(["t"])["t"].mod == mod
        renewal.end()
        assert not second.read(["t"])["t"]


# ── lost answers ──


def test_a_lost_answer_of_a_commit_is_unknown(single: ConsulCluster, connect) -> None:
    """It was applied, and it was not sent again, also not to the second endpoint."""
    with TcpProxy(single.endpoints[0]) as proxy:
        store = connect(proxy.endpoint, *single.endpoints)
        order = proxy.lose_next_answer(b"/v1/txn")
        with pytest.raises(Unknown):
            store.commit([], [Put("a", b"1")])
        assert order.wait()
        item = store.read(["a"])["a"]
        assert item.mod == item.create, "a second put would have moved mod"


def test_a_lost_answer_of_a_read_is_asked_again(single: ConsulCluster, connect) -> None:
    with TcpProxy(single.endpoints[0]) as proxy:
        store = connect(proxy.endpoint)
        mod = create(store, "a")
        order = proxy.lose_next_answer(b"consistent")
        assert store.read(["a"])["a"].mod == mod
        assert order.lost


def test_a_lost_answer_of_a_session(single: ConsulCluster, connect) -> None:
    with TcpProxy(single.endpoints[0]) as proxy:
        store = connect(proxy.endpoint)
        store.prepare()
        order = proxy.lose_next_answer(b"/v1/session/create")
        with pytest.raises(Unknown):
            store.session(TTL)
        assert order.wait()
        session = store.session(TTL)
        order = proxy.lose_next_answer(b"/v1/session/destroy")
        session.end()
        assert order.lost
        with pytest.raises(SessionLost):
            session.keepalive()


def test_an_endpoint_that_is_cut_off(single: ConsulCluster, connect) -> None:
    """A commit goes to the next endpoint only when no connection can be made."""
    with TcpProxy(single.endpoints[0]) as proxy:
        store = connect(proxy.endpoint, *single.endpoints)
        mod = create(store, "a")
        proxy.cut()
        mod = store.commit([Check("a", mod)], [Put("a", b"2")])
        assert store.read(["a"])["a"].mod == mod


def test_an_endpoint_that_swallows(single: ConsulCluster, connect) -> None:
    with TcpProxy(single.endpoints[0]) as proxy:
        store = connect(proxy.endpoint, *single.endpoints, timeout=timedelta(seconds=2))
        mod = create(store, "a")
        proxy.black_hole()
        with pytest.raises(Unknown):
            store.commit([Check("a", mod)], [Put("a", b"2")])
        assert store.read(["a"])["a"].mod == mod


def test_a_watch_that_is_reset_goes_on(single: ConsulCluster, connect) -> None:
    with TcpProxy(single.endpoints[0]) as proxy:
        store, writer = connect(proxy.endpoint), connect(*single.endpoints)
        mod = create(writer, "a")
        with ThreadPoolExecutor() as pool:
            watcher = pool.submit(store.watch, "a", mod, timedelta(seconds=30))
            for _ in range(3):
                time.sleep(0.1)
                proxy.reset_connections()
            assert not watcher.done(), "one reset is no reason to read"
            writer.commit([Check("a", mod)], [Put("a", b"2")])
            assert watcher.result()


# ── the store goes back ──


def snapshot_api(servers: ConsulCluster, body: bytes | None = None) -> bytes:
    """Save, or restore: the answer is binary."""
    url = f"http://127.0.0.1:{servers.members[0].http_port}/v1/snapshot"
    request = urllib.request.Request(url, data=body, method="GET" if body is None else "PUT")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=30) as answer:
        return bytes(answer.read())


def test_a_watch_from_before_a_restore_wakes(connect) -> None:
    """The index of a restored key is lower than the one waited for; nothing will ever reach that one."""
    with cluster() as servers:
        store = connect(*servers.endpoints)
        old = mod = create(store, "a")
        saved = snapshot_api(servers)
        for number in range(20):
            mod = store.commit([Check("a", mod)], [Put("a", f"{number}".encode())])
        snapshot_api(servers, saved)
        wait_until(lambda: store.read(["a"])["a"].mod == old, "the restore is not done")
        assert store.watch("a", mod, timedelta(seconds=30))
        newer = store.commit([Check("a", old)], [Put("a", b"on")])
        assert newer not in (old, mod)


# ── rights ──

AGENT = {
    'key "{p}/cfg"': "read",
    'key_prefix "{p}/brake/"': "write",
    'key_prefix "{p}/hold/"': "write",
    'key_prefix "{p}/req/"': "write",
    'key_prefix "{p}/lim/"': "write",
    'key_prefix "{p}/own/"': "write",
    'key_prefix "{p}/q/"': "write",
    'key_prefix "{p}/node/"': "write",
    'key_prefix "{p}/ev/"': "write",
    'session "locksmith"': "write",
}
"""The agent's policy of the README."""
OPERATOR = {'key_prefix "{p}/"': "write", 'session "locksmith"': "write", 'node "locksmith"': "write"}
READER = {'key_prefix "{p}/"': "read"}

Granted = Callable[[dict[str, str]], ConsulStore]


@pytest.fixture
def granted(locked: ConsulCluster, connect, tmp_path: Path) -> Granted:
    """Make a store with a token of just these rights."""
    prefix = f"ls{secrets.token_hex(4)}"

    def make(rules: dict[str, str]) -> ConsulStore:
        name = secrets.token_hex(8)
        text = "\n".join(f'{what.format(p=prefix)} {{ policy = "{right}" }}' for what, right in rules.items())
        locked.create_policy(name, text)
        file = tmp_path / name
        file.write_text(locked.create_token([name]))
        return connect(*locked.endpoints, prefix=prefix, access=Access(token_file=file))

    return make


OWN, TICKET, GUARD = keys.own("n1"), keys.ticket("web", "n1"), keys.guard("group/web")
BRAKE, HOLD, REQUEST, RECORD = keys.brake("web"), keys.hold("n1"), keys.request("n1"), keys.record("web", "n1")
UNLOCKED = keys.unlocked("n1")
ENTRY, NOTES = keys.entry("group/web", 1), keys.notes_of_group("web")
EVERY_KEY = (keys.CFG, OWN, TICKET, GUARD, BRAKE, HOLD, REQUEST, RECORD, UNLOCKED)


def cycle(store: ConsulStore) -> None:
    """Every shape of commit in which an agent touches a key, with each key it may find absent or there."""

    def mod(key: str) -> int:
        return store.read([keys.CFG, key])[key].mod

    for key in EVERY_KEY:
        store.probe(key)
    store.commit([], [Put(RECORD, b"steady")])
    session = store.session(TTL)
    try:
        session.keepalive()
        store.commit([Check(TICKET, 0)], [Put(TICKET, b"t", session.id)])
        assert store.watch(TICKET, 1, timedelta(seconds=5))
        checks = [Check(key, mod(key)) for key in (keys.CFG, BRAKE, HOLD, GUARD, OWN, TICKET)]
        store.commit(checks, [Put(GUARD, b"1"), Put(OWN, b"acquired"), Put(ENTRY, b"acquired")], [TICKET])
    finally:
        session.end()
    checks = [Check(key, mod(key)) for key in (OWN, keys.CFG, BRAKE, HOLD, REQUEST)]
    store.commit(checks, [Put(OWN, b"armed")], [REQUEST])
    puts = [Put(OWN, b"failed"), Put(BRAKE, b"n1"), Put(NOTES, b"failed")]
    store.commit([Check(OWN, mod(OWN)), Check(BRAKE, mod(BRAKE))], puts)
    checks = [Check(OWN, mod(OWN)), Check(GUARD, mod(GUARD)), Check(BRAKE, mod(BRAKE))]
    store.commit(checks, [Put(GUARD, b"0"), Put(BRAKE, b"")], [OWN])


def set_up(operator: ConsulStore) -> None:
    """What an operator has done when the agents come: a fleet, a request, an unlock."""
    operator.prepare()
    for key in (keys.CFG, REQUEST, UNLOCKED):
        item = operator.read([key])[key]
        operator.commit([Check(key, item.mod)], [Put(key, b"{}")])


def test_the_policies_suffice(granted: Granted) -> None:
    operator, agent, reader = granted(OPERATOR), granted(AGENT), granted(READER)
    set_up(operator)
    cycle(agent)
    assert agent.read([keys.CFG])[keys.CFG]
    assert (agent.facts().identity, agent.facts().members) == ("dc1", 1)
    operator.commit([Check(HOLD, 0)], [Put(HOLD, b"held")])
    session = operator.session(TTL)
    session.end()
    snapshot = reader.read([keys.CFG], [""])
    assert snapshot[keys.CFG]
    assert snapshot[HOLD].value == b"held"
    assert reader.facts().members == 1
    for key in EVERY_KEY:
        reader.probe(key)
    assert reader.watch(HOLD, 1, timedelta(seconds=5))


def test_the_protocol_itself_under_the_policies(granted: Granted) -> None:
    """The same with the semaphore's own steps, so that no commit of it was forgotten here."""

    def actor(store: ConsulStore) -> Actor:
        return Actor(store, SystemClock(), Random(), "somebody", "somewhere")

    setup(actor(granted(OPERATOR)))
    agent = actor(granted(AGENT))
    found = start(agent, "n1", "fp", None)
    assert isinstance(found, Found)
    now = agent.clock.wall()
    attempt = Attempt("n1", "host", "web", ("group/web",), agent.nonce(), now, "update", "b1", "fp")
    session = agent.store.session(TTL)
    assert isinstance(enqueue(agent, attempt, session.id, timedelta(0)), Enqueued)
    claimed = claim(agent, attempt, Patience())
    assert isinstance(claimed, Claimed)
    session.end()
    slot = slot_of(claimed.held)
    assert isinstance(arm(agent, slot, epoch=1, attempt="x", request=None, expected=None), Armed)
    assert isinstance(verify(agent, slot, "b2", None), Kept)
    assert isinstance(fail(agent, slot, "health"), Kept)
    write_record(agent, "n1", NodeRecord(gen="", host="host", group="web", state="failed", seen=now))
    assert isinstance(release(agent, slot), Released)


@pytest.mark.parametrize("lessened", AGENT)
def test_no_right_of_the_agent_can_be_left_out(granted: Granted, lessened: str) -> None:
    """Each one reduced by a step: write to read, read to deny."""
    set_up(granted(OPERATOR))
    less = {"write": "read", "read": "deny"}[AGENT[lessened]]
    with pytest.raises(Denied):
        cycle(granted({**AGENT, lessened: less}))


@pytest.mark.parametrize("right", ["read", "write"])
def test_hold_needs_write_only_where_it_is_absent(granted: Granted, right: str) -> None:
    """Consul asks for write to check that a key does not exist, and for read to check its index."""
    operator, agent = granted(OPERATOR), granted({**AGENT, 'key_prefix "{p}/hold/"': right})
    set_up(operator)
    held = operator.commit([Check(HOLD, 0)], [Put(HOLD, b"held")])
    agent.commit([Check(HOLD, held)], [Put(RECORD, b"1")])
    operator.commit([Check(HOLD, held)], deletes=[HOLD])
    if right == "write":
        agent.commit([Check(HOLD, 0)], [Put(RECORD, b"1")])
    else:
        with pytest.raises(Denied):
            agent.commit([Check(HOLD, 0)], [Put(RECORD, b"1")])


def test_a_denied_read_looks_absent_and_probe_tells(granted: Granted) -> None:
    operator, stranger = granted(OPERATOR), granted({})
    create(operator, OWN)
    assert not stranger.read([OWN], ["own/"])[OWN]
    with pytest.raises(Denied):
        stranger.probe(OWN)
    with pytest.raises(Denied):
        stranger.probe("absent")
    with pytest.raises(Denied):
        stranger.watch(OWN, 1, timedelta(seconds=5))
    with pytest.raises(Denied) as caught:
        stranger.commit([], [Put(OWN, b"2")])
    assert caught.type is Denied
    with pytest.raises(Denied):
        stranger.session(TTL)


def test_a_session_without_the_node_names_the_remedy(granted: Granted, locked: ConsulCluster) -> None:
    agent, operator = granted(AGENT), granted(OPERATOR)
    locked.request("PUT", "/v1/catalog/deregister", {"Node": "locksmith"})
    try:
        with pytest.raises(Denied, match="run `lockctl set-max` once with an operator's token"):
            agent.session(TTL)
        operator.session(TTL).end()  # it may register the node, and does
        agent.session(TTL).end()
    finally:
        operator.prepare()


def test_the_token_file_is_read_again(locked: ConsulCluster, connect, tmp_path: Path) -> None:
    locked.create_policy("anything", 'key_prefix "" { policy = "write" }')
    old, new = locked.create_token(["anything"]), locked.create_token(["anything"])
    file = tmp_path / "token"
    file.write_text(old)
    store = connect(*locked.endpoints, access=Access(token_file=file))
    create(store, "a")
    locked.delete_token(old)
    with pytest.raises(AuthFailed, match="token_file"):
        store.read(["a"])
    with pytest.raises(AuthFailed):
        store.commit([], [Put("a", b"2")])
    (tmp_path / "new").write_text(f"{new}\n")
    (tmp_path / "new").rename(file)
    assert store.read(["a"])["a"].value == b"1"
    assert store.commit([], [Put("a", b"2")])


# ── certificates ──


def access_of(servers: ConsulCluster, **changes: Path | None) -> Access:
    made = servers.certificates
    assert made is not None
    return replace(Access(ca_file=made.ca, cert_file=made.client_cert, key_file=made.client_key), **changes)


def test_authority_alone_is_enough_where_the_server_asks_for_nothing(connect) -> None:
    with cluster(tls=True) as servers:
        access = access_of(servers, cert_file=None, key_file=None)
        store = connect(*servers.endpoints, tls=True, access=access)
        assert store.watch("a", create(store, "a") - 1, timedelta(seconds=5))


def test_mutual_tls(mutual: ConsulCluster, connect) -> None:
    store = connect(*mutual.endpoints, tls=True, access=access_of(mutual))
    create(store, "a")
    assert store.read(["a"])["a"]


def test_a_server_that_is_not_trusted(mutual: ConsulCluster, connect) -> None:
    made = mutual.certificates
    assert made is not None
    store = connect(*mutual.endpoints, tls=True, access=access_of(mutual, ca_file=made.untrusted_ca))
    expected = f"{mutual.endpoints[0]}: certificate not trusted .*ca_file {made.untrusted_ca}"
    for call in (
        lambda: store.read(["a"]),
        lambda: store.commit([], [Put("a", b"1")]),
        lambda: store.watch("a", 1, TTL),
    ):
        with pytest.raises(TlsFailed, match=expected):
            call()
    with pytest.raises(TlsFailed, match="ca_file"):
        connect(*mutual.endpoints, tls=True).read(["a"])


def test_a_client_that_is_not_trusted(mutual: ConsulCluster, connect) -> None:
    made = mutual.certificates
    assert made is not None
    stranger = access_of(mutual, cert_file=made.untrusted_client_cert, key_file=made.untrusted_client_key)
    nobody = access_of(mutual, cert_file=None, key_file=None)
    for access in (stranger, nobody):
        with pytest.raises(TlsFailed, match="cert_file"):
            connect(*mutual.endpoints, tls=True, access=access).read(["a"])


def test_plain_text_to_a_tls_port(mutual: ConsulCluster, connect) -> None:
    with pytest.raises(TlsFailed, match="consuls://"):
        connect(*mutual.endpoints).read(["a"])


def test_tls_to_a_plain_port(single: ConsulCluster, connect) -> None:
    with pytest.raises(TlsFailed, match="does not speak TLS"):
        connect(*single.endpoints, tls=True).read(["a"])


def test_certificates_are_read_again(mutual: ConsulCluster, connect, tmp_path: Path) -> None:
    made = mutual.certificates
    assert made is not None
    ca = tmp_path / "ca.pem"
    shutil.copy(made.untrusted_ca, ca)
    store = connect(*mutual.endpoints, tls=True, access=access_of(mutual, ca_file=ca))
    with pytest.raises(TlsFailed):
        store.read(["a"])
    shutil.copy(made.ca, tmp_path / "new")
    (tmp_path / "new").rename(ca)
    create(store, "a")
    shutil.copy(made.untrusted_ca, tmp_path / "new")
    (tmp_path / "new").rename(ca)
    with pytest.raises(TlsFailed):
        store.read(["a"])


# ── places ──


def test_a_unix_socket(connect, tmp_path: Path) -> None:
    where = Path("/tmp") / f"locksmith-{secrets.token_hex(4)}.sock"  # the path of a socket must be short
    try:
        with cluster(options={"addresses": {"http": f"unix://{where} 127.0.0.1"}}) as servers:
            store = connect(unix_socket=str(where))
            mod = create(store, "a")
            assert store.read(["a"])["a"].mod == mod
            assert store.watch("a", mod - 1, timedelta(seconds=5))
            assert servers.endpoints
        with pytest.raises(Unavailable, match=f"unix:{where}"):
            store.read(["a"])
    finally:
        where.unlink(missing_ok=True)


def test_the_facts(three: ConsulCluster, connect) -> None:
    facts = connect(*three.endpoints).facts()
    assert (facts.identity, facts.members) == ("dc1", 3)
    assert facts.version is not None
    assert facts.version[0].isdigit()


def test_another_datacenter(single: ConsulCluster, connect) -> None:
    create(connect(*single.endpoints, datacenter="dc1"), "a")
    assert connect(*single.endpoints, datacenter="dc1").facts().identity == "dc1"
    store = connect(*single.endpoints, datacenter="dc2")
    calls: list[Callable[[], object]] = [
        store.facts,
        store.prepare,
        lambda: store.read(["a"]),
        lambda: store.commit([], [Put("a", b"1")]),
        lambda: store.probe("a"),
        lambda: store.session(TTL),
    ]
    for call in calls:
        with pytest.raises(WrongStore, match="dc"):
            call()


def test_more_watches_than_consul_allows_connections(connect) -> None:
    """Above the limit Consul breaks them off; they become polls, and no call fails otherwise."""
    limit = {"http_max_conns_per_client": 8}
    with cluster(options={"limits": limit}) as servers:
        store = connect(*servers.endpoints, timeout=timedelta(seconds=1))
        mod = create(store, "a")

        def watch(_: int) -> bool | str:
            try:
                return store.watch("a", mod, timedelta(seconds=3))
            except StoreError as error:
                return type(error).__name__

        with ThreadPoolExecutor(max_workers=16) as pool:
            results = Counter(pool.map(watch, range(16)))
        assert set(results) <= {True, False, "Throttled"}, results
        assert results[False] >= 1, "those within the limit wait their time out"
        assert results.total() - results[False] >= 1, f"nobody was broken off: {json.dumps(limit)}"
