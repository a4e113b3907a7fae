"""What is true of etcd alone: history, quota, logins, rights, TLS, members that die, hang or belong to somebody else.

The contract that etcd shares with the other stores is in tests/conformance.
"""

import contextlib
import os
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from locksmith.errors import (
    AuthFailed,
    Conflict,
    Denied,
    Rejected,
    StoreFull,
    TlsFailed,
    Unavailable,
    Unknown,
    WrongStore,
)
from locksmith.stores import Access, Check, Put, Store
from locksmith.stores.etcd import EtcdStore
from tests.servers.certs import make_certificates
from tests.servers.etcd import EtcdCluster, EtcdMember
from tests.servers.fetch import ServerMissing
from tests.servers.proxy import TcpProxy

pytestmark = pytest.mark.servers

TTL = timedelta(seconds=10)
LONG = timedelta(seconds=50)
SHORT = timedelta(seconds=0.5)
TIMEOUT = timedelta(seconds=10)
BRIEF = timedelta(seconds=2)

Connect = Callable[..., EtcdStore]


@contextlib.contextmanager
def running(version: str, **options: object) -> Iterator[EtcdCluster]:
    """A cluster, or a skip that says what is missing."""
    try:
        cluster = EtcdCluster(version, **options)  # type: ignore[arg-type]
    except ServerMissing as error:
        if os.environ.get("LOCKSMITH_REQUIRE_SERVERS"):
            raise
        pytest.skip(f"NOT TESTED: {error}")
    with cluster:
        yield cluster


@pytest.fixture(params=["3.4", "3.5"])
def version(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def single(version: str) -> Iterator[EtcdCluster]:
    with running(version) as cluster:
        yield cluster


@pytest.fixture
def three(version: str) -> Iterator[EtcdCluster]:
    with running(version, members=3) as cluster:
        yield cluster


@pytest.fixture
def secure(version: str) -> Iterator[EtcdCluster]:
    """TLS, and a user with a password."""
    with running(version, tls=True, auth=True) as cluster:
        yield cluster


@pytest.fixture
def mutual(version: str) -> Iterator[EtcdCluster]:
    """TLS in both directions, without users."""
    with running(version, client_cert_auth=True) as cluster:
        yield cluster


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Make clients that are closed at the test's end."""
    stores: list[EtcdStore] = []

    def make(
        endpoints: list[str],
        access: Access | None = None,
        *,
        tls: bool = False,
        timeout: timedelta = TIMEOUT,
        prefix: str = "locksmith",
    ) -> EtcdStore:
        stores.append(EtcdStore(endpoints, prefix, timeout=timeout, tls=tls, access=access or Access()))
        return stores[-1]

    yield make
    for store in stores:
        store.close()


def put(store: Store, key: str, value: bytes = b"1", mod: int = 0) -> int:
    revision = store.commit([Check(key, mod)], [Put(key, value)])
    assert revision is not None
    return revision


def login(cluster: EtcdCluster, **changes: object) -> Access:
    made = cluster.certificates
    assert made is not None
    fields = {"ca_file": made.ca, "username": cluster.user, "password_file": cluster.password_file}
    return Access(**{**fields, **changes})  # type: ignore[arg-type]


def certificate(cluster: EtcdCluster) -> Access:
    made = cluster.certificates
    assert made is not None
    return Access(ca_file=made.ca, cert_file=made.client_cert, key_file=made.client_key)


def settled(store: Store, key: str, mod: int) -> None:
    """Watch until the key is not at that mod any more, and fail when a watch sleeps over it."""
    while store.read([key])[key].mod == mod:
        assert store.watch(key, mod, LONG), "a change was missed"


# History


def test_compaction_of_what_a_watch_asks_for(single: EtcdCluster, connect: Connect) -> None:
    store = connect(single.endpoints)
    old = put(store, "key")
    put(store, "key", b"2", old)
    put(store, "other")
    single.compact()
    assert store.watch("key", old, LONG)


def test_a_key_that_nobody_touches_outlives_its_history(single: EtcdCluster, connect: Connect) -> None:
    """With automatic compaction that is every quiet key: "read again" each time would be a loop without a pause."""
    store, other = connect(single.endpoints), connect(single.endpoints)
    mod = put(store, "key")
    for number in range(5):
        other.commit([], [Put("other", f"{number}".encode())])
    single.compact()
    assert not store.watch("key", mod, SHORT)
    with ThreadPoolExecutor() as pool:
        waiter = pool.submit(settled, store, "key", mod)
        time.sleep(0.2)
        other.commit([], [Put("other", b"again")])
        single.compact()
        put(other, "key", b"2", mod)
        waiter.result()


def test_a_deleted_key_whose_history_is_gone(single: EtcdCluster, connect: Connect) -> None:
    store = connect(single.endpoints)
    mod = put(store, "key")
    store.commit([Check("key", mod)], deletes=["key"])
    put(store, "other")
    single.compact()
    assert store.watch("key", mod, LONG)


def test_a_store_that_was_restored_to_an_older_state_wakes(single: EtcdCluster, connect: Connect) -> None:
    store = connect(single.endpoints)
    mod = put(store, "key")
    assert store.watch("key", mod + 1_000_000, LONG)


# Quota


def test_a_full_store(version: str, connect: Connect) -> None:
    with running(version, quota_bytes=4 * 1024 * 1024) as cluster:
        store = connect(cluster.endpoints)
        mod, doomed = put(store, "key"), put(store, "doomed")
        session = store.session(TTL)
        cluster.fill()
        with pytest.raises(StoreFull, match="space exceeded"):
            put(store, "new")
        with pytest.raises(StoreFull):
            put(store, "key", b"2", mod)
        with pytest.raises(StoreFull):
            store.session(TTL)
        assert store.commit([Check("doomed", doomed)], deletes=["doomed"]) is None
        assert [key for key, _ in store.read(prefixes=[""]).under("")] == ["key"]
        assert not store.watch("key", mod, SHORT)
        session.keepalive()
        session.end()
        cluster.make_space()
        put(store, "key", b"2", mod)


def test_a_commit_that_fills_the_store_is_never_called_refused_when_it_was_applied(
    version: str, connect: Connect
) -> None:
    """Writers race to the quota; etcd answers "space exceeded" also to the write that crosses it and is applied."""
    with running(version, quota_bytes=3 * 1024 * 1024) as cluster:
        store = connect(cluster.endpoints)
        refused: list[str] = []

        def fill(writer: int) -> int:
            for number in range(400):
                key = f"big/{writer}/{number}"
                try:
                    put(store, key, secrets.token_bytes(60_000))
                except StoreFull:
                    refused.append(key)
                    return number
                except Unknown:
                    return number
            pytest.fail("the quota was not reached")

        with ThreadPoolExecutor(max_workers=6) as pool:
            list(pool.map(fill, range(6)))
        assert not any(store.read(refused).items.values()) if refused else True


# Logins and rights


def test_an_expired_login_is_renewed_without_an_error(secure: EtcdCluster, connect: Connect) -> None:
    store = connect(secure.endpoints, login(secure), tls=True)
    mod = put(store, "key")
    session = store.session(timedelta(seconds=60))
    secure.expire_tokens()
    assert store.read(["key"])["key"].mod == mod
    secure.etcdctl("role", "add", "newcomer")
    mod = put(store, "key", b"2", mod)
    secure.expire_tokens()
    assert not store.watch("key", mod, SHORT)
    secure.expire_tokens()
    session.keepalive()
    session.end()


def test_a_watch_survives_the_end_of_its_login(secure: EtcdCluster, connect: Connect) -> None:
    store, other = (connect(secure.endpoints, login(secure), tls=True) for _ in range(2))
    mod = put(store, "key")
    with ThreadPoolExecutor() as pool:
        waiter = pool.submit(watch_through_outages, store, "key", mod)
        time.sleep(0.3)
        secure.expire_tokens()
        put(other, "key", b"2", mod)
        waiter.result()


def watch_through_outages(store: Store, key: str, mod: int) -> None:
    while True:
        try:
            settled(store, key, mod)
        except Unavailable:
            time.sleep(0.1)
        else:
            return


def test_roles_may_be_edited_while_we_work(secure: EtcdCluster, connect: Connect) -> None:
    """Each edit makes every token old; no caller may notice."""
    store = connect(secure.endpoints, login(secure), tls=True)
    done = threading.Event()

    def work() -> int:
        mod = count = 0
        while not done.is_set():
            mod = put(store, "key", f"{count}".encode(), mod)
            assert store.read(["key"])["key"].mod == mod
            count += 1
        return count

    with ThreadPoolExecutor() as pool:
        worker = pool.submit(work)
        try:
            for number in range(8):
                secure.etcdctl("role", "add", f"role{number}")
        finally:
            done.set()
        assert worker.result() > 0


def test_a_wrong_password_then_the_right_one_in_the_same_file(
    secure: EtcdCluster, connect: Connect, tmp_path: Path
) -> None:
    password = tmp_path / "password"
    password.write_text("wrong\n")
    store = connect(secure.endpoints, login(secure, password_file=password), tls=True)
    for call in (lambda: store.read(["a"]), lambda: put(store, "a"), lambda: store.session(TTL)):
        with pytest.raises(AuthFailed, match="password_file"):
            call()
    password.write_text(secure.password + "\n")
    put(store, "a")
    password.write_text("wrong again\n")
    with pytest.raises(AuthFailed):
        store.read(["a"])


def test_nobody_has_logged_in(secure: EtcdCluster, connect: Connect) -> None:
    made = secure.certificates
    assert made is not None
    store = connect(secure.endpoints, Access(ca_file=made.ca), tls=True)
    with pytest.raises(AuthFailed, match="username"):
        store.read(["a"])
    with pytest.raises(AuthFailed, match="username"):
        put(store, "a")
    with pytest.raises(AuthFailed, match="username"):
        store.watch("a", 1, LONG)


def test_a_user_where_there_are_none(single: EtcdCluster, connect: Connect) -> None:
    """etcd's own client goes on without a login there, and so do we."""
    store = connect(single.endpoints, Access(username="u", password_file=single.password_file))
    mod = put(store, "a")
    assert not store.watch("a", mod, SHORT)


def test_a_missing_right(secure: EtcdCluster, connect: Connect) -> None:
    store = connect(secure.endpoints, login(secure), tls=True, prefix="elsewhere")
    for call in (
        lambda: store.read(["a"]),
        lambda: store.read(prefixes=["q/"]),
        lambda: store.probe("cfg"),
        lambda: put(store, "a"),
        lambda: store.watch("a", 1, LONG),
        store.facts,
    ):
        with pytest.raises(Denied, match="permission denied") as caught:
            call()
        assert caught.type is Denied
    assert secure.etcdctl("get", "--prefix", "elsewhere/") == ""


def test_a_key_that_may_be_read_and_not_written(secure: EtcdCluster, connect: Connect) -> None:
    secure.etcdctl("role", "grant-permission", "locksmith", "read", "narrow/cfg")
    secure.etcdctl("role", "grant-permission", "locksmith", "readwrite", "--prefix=true", "narrow/own/")
    secure.etcdctl("put", "narrow/cfg", "1")
    store = connect(secure.endpoints, login(secure), tls=True, prefix="narrow")
    cfg = store.read(["cfg"], ["own/"])["cfg"]
    mod = store.commit([Check("cfg", cfg.mod), Check("own/n", 0)], [Put("own/n", b"me")])
    assert mod is not None
    for key in ("cfg", "other"):
        with pytest.raises(Denied):
            store.commit([Check("own/n", mod)], [Put(key, b"2"), Put("own/n", b"mine")])
    assert store.read(["own/n"])["own/n"].mod == mod


# TLS


def test_an_untrusted_server(secure: EtcdCluster, connect: Connect) -> None:
    made = secure.certificates
    assert made is not None
    store = connect(secure.endpoints, login(secure, ca_file=made.untrusted_ca), tls=True)
    for call in (lambda: store.read(["a"]), lambda: put(store, "a"), lambda: store.watch("a", 1, LONG)):
        with pytest.raises(TlsFailed, match="ca_file") as caught:
            call()
        assert secure.endpoints[0] in str(caught.value)


def test_the_server_wants_a_client_certificate(mutual: EtcdCluster, connect: Connect, version: str) -> None:
    made = mutual.certificates
    assert made is not None
    store = connect(mutual.endpoints, Access(ca_file=made.ca), tls=True)
    with pytest.raises(TlsFailed, match="set cert_file and key_file"):
        store.read(["a"])
    with pytest.raises(TlsFailed, match="set cert_file and key_file"):
        put(store, "a")


def test_a_strangers_certificate_that_is_replaced_by_ours(
    mutual: EtcdCluster, connect: Connect, tmp_path: Path
) -> None:
    """Without a restart, and with the two files written one after the other."""
    made = mutual.certificates
    assert made is not None
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    shutil.copy(made.untrusted_client_cert, cert)
    shutil.copy(made.untrusted_client_key, key)
    store = connect(mutual.endpoints, Access(ca_file=made.ca, cert_file=cert, key_file=key), tls=True)
    with pytest.raises(TlsFailed, match="refuses our client certificate"):
        store.read(["a"])
    shutil.copy(made.client_cert, cert)
    with pytest.raises(TlsFailed):  # the key does not fit yet: still the old pair
        store.read(["a"])
    shutil.copy(made.client_key, key)
    mod = put(store, "a")
    fresh = make_certificates(tmp_path / "fresh")
    shutil.copy(fresh.client_cert, cert)
    assert store.read(["a"])["a"].mod == mod
    cert.unlink()
    assert store.read(["a"])["a"].mod == mod


def test_plain_text_on_a_tls_port_and_the_other_way(secure: EtcdCluster, single: EtcdCluster, connect: Connect) -> None:
    with pytest.raises(TlsFailed, match="etcds://"):
        connect(secure.endpoints).read(["a"])
    with pytest.raises(TlsFailed, match="etcds://"):
        put(connect(secure.endpoints), "a")
    with pytest.raises(TlsFailed, match="does not speak TLS"):
        connect(single.endpoints, login(secure), tls=True).read(["a"])


def test_certificates_alone(mutual: EtcdCluster, connect: Connect) -> None:
    store = connect(mutual.endpoints, certificate(mutual), tls=True)
    mod = put(store, "a")
    assert not store.watch("a", mod, SHORT)


# Members that are not there


def test_nobody_listens(connect: Connect) -> None:
    store = connect(["127.0.0.1:1", "[::1]:1"])
    for call in (
        lambda: store.read(["a"]),
        lambda: put(store, "a"),
        lambda: store.watch("a", 1, LONG),
        lambda: store.session(TTL),
        store.facts,
    ):
        with pytest.raises(Unavailable) as caught:
            call()
        assert caught.type is Unavailable
        for endpoint in ("127.0.0.1:1", "[::1]:1"):
            assert f"{endpoint} (connection refused)" in str(caught.value)


def test_a_name_that_does_not_exist(connect: Connect) -> None:
    store = connect(["no-such-host.invalid:2379"], timeout=BRIEF)
    with pytest.raises(Unavailable, match="no-such-host"):
        put(store, "a")


def test_an_endpoint_that_swallows_everything_costs_its_share_only(single: EtcdCluster, connect: Connect) -> None:
    """And a commit that met it first is not Unknown, because the connection was never made."""
    with TcpProxy(single.endpoints[0]) as hole:
        hole.black_hole()
        for number in range(8):  # the first endpoint is drawn by lot
            store = connect([hole.endpoint, single.endpoints[0]], timeout=BRIEF)
            mod = put(store, f"k{number}")
            assert store.read([f"k{number}"])[f"k{number}"].mod == mod


def test_a_login_at_a_member_that_swallows_everything(secure: EtcdCluster, connect: Connect) -> None:
    with TcpProxy(secure.endpoints[0]) as hole:
        hole.black_hole()
        for number in range(6):
            store = connect([hole.endpoint, secure.endpoints[0]], login(secure), tls=True, timeout=BRIEF)
            put(store, f"k{number}")


def test_a_lost_answer_is_unknown_and_the_commit_is_applied_once(single: EtcdCluster, connect: Connect) -> None:
    with TcpProxy(single.endpoints[0]) as proxy:
        direct = connect(single.endpoints)
        store = connect([proxy.endpoint, single.endpoints[0]])
        for number in range(6):
            proxied = connect([proxy.endpoint])
            assert proxied.read(["warm"])
            before = single.revision()
            order = proxy.lose_next_answer(f"locksmith/k{number}".encode())
            with pytest.raises(Unknown):
                put(proxied, f"k{number}", b"mine")
            assert order.wait()
            assert direct.read([f"k{number}"])[f"k{number}"].value == b"mine"
            assert single.revision() == before + 1
        put(store, "other")


def test_a_lost_answer_to_a_read_is_asked_for_again(single: EtcdCluster, connect: Connect) -> None:
    with TcpProxy(single.endpoints[0]) as proxy:
        store = connect([proxy.endpoint])
        mod = put(store, "key")
        order = proxy.lose_next_answer(b"locksmith/key")
        assert store.read(["key"])["key"].mod == mod
        assert order.wait()


def test_lost_answers_make_no_second_session(single: EtcdCluster, connect: Connect) -> None:
    with TcpProxy(single.endpoints[0]) as proxy:
        store = connect([proxy.endpoint])
        store.read(["a"])
        order = proxy.lose_next_answer()
        session = store.session(TTL)
        assert order.wait()
        leases = single.etcdctl("lease", "list").split()
        assert [int(word, 16) for word in leases[-1:]] == [int(session.id)]
        assert "found 1 leases" in " ".join(leases)
        order = proxy.lose_next_answer()
        session.end()
        assert order.wait()
        assert "found 0 leases" in single.etcdctl("lease", "list")


def test_a_watch_leaves_a_member_that_hangs(three: EtcdCluster, connect: Connect) -> None:
    hung, healthy = three.followers()
    with TcpProxy(healthy.endpoint) as door:
        door.cut()
        store = connect([hung.endpoint, door.endpoint])
        mod = put(store, "key")
        with ThreadPoolExecutor() as pool:
            waiter = pool.submit(store.watch, "key", mod, LONG)
            time.sleep(0.5)
            door.pass_all()
            hung.stop_process()
            writer = connect([healthy.endpoint, three.leader().endpoint])
            put(writer, "key", b"2", mod)
            try:
                assert waiter.result(), "the watch slept at the member that hangs"
            finally:
                hung.cont()


def test_without_a_quorum_nothing_is_applied_and_nobody_waits_for_ever(three: EtcdCluster, connect: Connect) -> None:
    store = connect(three.endpoints, timeout=timedelta(seconds=3))
    mod = put(store, "key")
    survivor, *others = three.members
    for member in others:
        member.kill()
    with pytest.raises(Unavailable, match=survivor.endpoint):
        store.read(["key"])
    until = time.monotonic() + 30
    while survivor.leads() and time.monotonic() < until:
        time.sleep(0.1)
    time.sleep(1.5)  # the election time-out, after which the member knows that it has no leader
    with pytest.raises(Unavailable, match="no leader") as caught:
        put(store, "key", b"2", mod)
    assert caught.type is Unavailable
    with pytest.raises(Unavailable):
        store.watch("key", mod, BRIEF * 3)
    for member in others:
        member.restart(wait=False)
    for member in others:
        member.process.wait_until(member.healthy)
    assert store.read(["key"])["key"].mod == mod
    put(store, "key", b"2", mod)


def kill(member: EtcdMember) -> None:
    member.kill()


def freeze(member: EtcdMember) -> None:
    member.stop_process()


@pytest.mark.parametrize("hurt", [kill, freeze])
@pytest.mark.parametrize("whom", ["leader", "follower"])
def test_no_commit_is_lost_or_doubled_when_a_member_goes(
    three: EtcdCluster, connect: Connect, whom: str, hurt: Callable[[EtcdMember], None]
) -> None:
    """Each commit counts the guard up and leaves a key of its own: what was said of it is compared with what is there.

    One answer in ten is lost on the way besides, so that some commits are applied and not known to be.
    """
    said: dict[str, str] = {}
    finish = threading.Event()
    proxies = [TcpProxy(endpoint) for endpoint in three.endpoints]
    stores = [connect([proxy.endpoint for proxy in proxies], timeout=timedelta(seconds=5)) for _ in range(4)]

    def write(store: EtcdStore) -> None:
        while not finish.is_set():
            nonce = secrets.token_hex(8)
            if secrets.randbelow(10) == 0:
                for proxy in proxies:
                    proxy.lose_next_answer(f"done/{nonce}".encode())
            said[nonce] = attempt_to_count(store, nonce)

    with ThreadPoolExecutor() as pool:
        writers = [pool.submit(write, store) for store in stores]
        try:
            wait_for(lambda: list(said.values()).count("applied") > 50)
            victim = three.leader() if whom == "leader" else three.followers()[0]
            hurt(victim)
            counted = list(said.values()).count("applied")
            wait_for(lambda: list(said.values()).count("applied") > counted + 100)
            if hurt is freeze:
                victim.cont()
            else:
                victim.restart()
            counted = list(said.values()).count("applied")
            wait_for(lambda: list(said.values()).count("applied") > counted + 50)
        finally:
            finish.set()
        for writer in writers:
            writer.result()
    for proxy in proxies:
        proxy.close()
    snapshot = connect(three.endpoints).read(["guard"], ["done/"])
    done = {key.removeprefix("done/") for key, _ in snapshot.under("done/")}
    assert int(snapshot["guard"].value) == len(done)
    assert {nonce for nonce, word in said.items() if word == "applied"} <= done
    assert not {nonce for nonce, word in said.items() if word == "refused"} & done
    assert {nonce for nonce, word in said.items() if word == "unknown"} & done


def attempt_to_count(store: EtcdStore, nonce: str) -> str:
    """One attempt to count up, and what the store said of it."""
    try:
        guard = store.read(["guard"])["guard"]
    except Unavailable:
        return "refused"
    number = int(guard.value or b"0") + 1
    try:
        store.commit(
            [Check("guard", guard.mod), Check(f"done/{nonce}", 0)],
            [Put("guard", f"{number}".encode()), Put(f"done/{nonce}", b"")],
        )
    except (Conflict, Rejected):
        return "refused"
    except Unknown:
        return "unknown"
    return "applied"


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come to that"
        time.sleep(0.02)


# Somebody else's members


def test_a_member_of_another_cluster(single: EtcdCluster, connect: Connect) -> None:
    with running("3.5") as foreign, TcpProxy(single.endpoints[0]) as ours, TcpProxy(foreign.endpoints[0]) as theirs:
        theirs.cut()
        store = connect([ours.endpoint, theirs.endpoint])
        put(store, "mine")
        theirs.pass_all()
        ours.cut()
        wait_for(lambda: refuses(store, "mine"))
        for call in (
            lambda: store.read(["mine"]),
            lambda: put(store, "new"),
            lambda: store.watch("mine", 1, LONG),
            lambda: store.session(TTL),
        ):
            with pytest.raises(WrongStore, match="belongs to the etcd cluster"):
                call()
        assert foreign.etcdctl("get", "--prefix", "locksmith/") == ""
        ours.pass_all()
        theirs.cut()
        wait_for(lambda: reads(store, "mine"))


def reads(store: Store, key: str) -> bool:
    """gRPC tries a connection that was refused again after up to a second."""
    try:
        return bool(store.read([key])[key])
    except Unavailable:
        return False


def refuses(store: Store, key: str) -> bool:
    try:
        return reads(store, key)
    except WrongStore:
        return True


def test_facts(three: EtcdCluster, connect: Connect, version: str) -> None:
    facts = connect(three.endpoints).facts()
    header = three.etcdctl("get", "nothing", "-w", "json")
    assert f'"cluster_id":{int(facts.identity, 16)}' in header
    assert facts.members == 3
    assert facts.version is not None
    assert facts.version.startswith(f"{version}.")


def test_facts_with_the_least_rights(secure: EtcdCluster, connect: Connect) -> None:
    facts = connect(secure.endpoints, login(secure), tls=True).facts()
    assert int(facts.identity, 16)
    assert facts.members in (1, None)


def test_the_role_of_the_readme_is_enough_for_a_waiter(secure: EtcdCluster, connect: Connect) -> None:
    """Ticket, claim and release as an agent, with the rights that the README grants it."""
    cluster = secure
    cluster.etcdctl("role", "add", "agent")
    for key in ("cfg", "hold/"):
        cluster.etcdctl("role", "grant-permission", "agent", "read", "--prefix=true", f"fleet/{key}")
    for key in ("brake/", "req/", "lim/", "own/", "q/", "node/", "ev/"):
        cluster.etcdctl("role", "grant-permission", "agent", "readwrite", "--prefix=true", f"fleet/{key}")
    cluster.etcdctl("user", "grant-role", cluster.user, "agent")
    cluster.etcdctl("put", "fleet/cfg", "{}")
    store = connect(cluster.endpoints, login(cluster), tls=True, prefix="fleet")
    session = store.session(TTL)
    ticket = store.commit([Check("q/g/n", 0)], [Put("q/g/n", b"t", session.id)])
    session.keepalive()
    snapshot = store.read(["cfg", "brake/g", "hold/n", "own/00/n", "lim/group/g"], ["q/g/"])
    checks = [Check(key, snapshot[key].mod) for key in ("cfg", "brake/g", "hold/n", "own/00/n", "lim/group/g", "q/g/n")]
    assert snapshot["q/g/n"].mod == ticket
    mod = store.commit(checks, [Put("lim/group/g", b"1"), Put("own/00/n", b"me")], ["q/g/n"])
    session.end()
    assert mod is not None
    assert not store.watch("own/00/n", mod, SHORT)
    store.commit([Check("own/00/n", mod), Check("lim/group/g", mod)], [Put("lim/group/g", b"0")], ["own/00/n"])
    with pytest.raises(Denied):
        store.commit([Check("cfg", snapshot["cfg"].mod)], [Put("cfg", b"mine")])
