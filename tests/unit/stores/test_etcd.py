"""The etcd adapter against a server of our own that answers what a test tells it: no real etcd is this unlucky."""

import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest

from locksmith.errors import (
    AuthFailed,
    ConfigError,
    Conflict,
    Rejected,
    SessionLost,
    StoreFull,
    Throttled,
    Unavailable,
    Unknown,
    WrongStore,
)
from locksmith.stores import Access, Check, Put
from locksmith.stores import etcd_channel as door
from locksmith.stores import etcd_rpc_pb2 as rpc
from locksmith.stores.etcd import EtcdSession, EtcdStore

METHODS = [
    getattr(door, name)
    for name in ("RANGE", "TXN", "LEASE_GRANT", "LEASE_REVOKE", "LEASE_KEEP_ALIVE", "MEMBER_LIST", "STATUS")
]
CLUSTER = 0xABC
TTL = timedelta(seconds=10)

Status = tuple[grpc.StatusCode, str]
Unavailable_ = grpc.StatusCode.UNAVAILABLE
NO_SPACE: Status = (grpc.StatusCode.RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded")


def header(cluster: int = CLUSTER, revision: int = 7) -> Any:
    return rpc.ResponseHeader(cluster_id=cluster, revision=revision)


class Member(grpc.GenericRpcHandler):
    """Answers from a script, by the last word of the method's path, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.tokens: list[str | None] = []
        self.script: dict[str, deque[Any]] = {}
        self.cluster = CLUSTER
        self.streams = threading.Semaphore(0)
        self._server = grpc.server(ThreadPoolExecutor(max_workers=4), [self])
        self.endpoint = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def close(self) -> None:
        self._server.stop(None).wait()

    def answers(self, method: str, *answers: Any) -> None:
        """The next answers: a message, a status to fail with, or a function that makes one; the default after that."""
        self.script.setdefault(method, deque()).extend(answers)

    def service(self, details: Any) -> Any:
        name = details.method.rpartition("/")[2]
        metadata = dict(details.invocation_metadata)
        if name == "Authenticate":
            method = door.AUTHENTICATE
        elif name == "Watch":
            return grpc.stream_stream_rpc_method_handler(
                self._watch,
                rpc.WatchRequest.FromString,
                rpc.WatchResponse.SerializeToString,
            )
        else:
            method = next(one for one in METHODS if one.path == details.method)

        def handle(request: Any, context: Any) -> Any:
            self.asked.append(name)
            self.tokens.append(metadata.get("token"))
            script = self.script.get(name)
            answer = script.popleft() if script else self._default(name)
            if callable(answer):
                answer = answer()
            if isinstance(answer, tuple):
                context.abort(*answer)
            return answer

        return grpc.unary_unary_rpc_method_handler(handle, method.request.FromString, method.response.SerializeToString)

    def _default(self, name: str) -> Any:
        if name == "Txn":
            return rpc.TxnResponse(header=header(self.cluster), succeeded=True)
        if name == "Authenticate":
            token = f"token{self.asked.count('Authenticate')}"
            return rpc.AuthenticateResponse(header=header(self.cluster), token=token)
        if name == "LeaseGrant":
            return rpc.LeaseGrantResponse(header=header(self.cluster), ID=5, TTL=10)
        if name == "LeaseKeepAlive":
            return rpc.LeaseKeepAliveResponse(header=header(self.cluster), TTL=10)
        if name == "Range":
            return rpc.RangeResponse(header=header(self.cluster))
        return {"LeaseRevoke": rpc.LeaseRevokeResponse, "MemberList": rpc.MemberListResponse}.get(
            name, rpc.StatusResponse
        )(header=header(self.cluster))

    def _watch(self, requests: Iterator[Any], context: Any) -> Iterator[Any]:
        self.asked.append("Watch")
        next(requests)
        answers = self.script.get("Watch")
        for answer in answers.popleft() if answers else ():
            if isinstance(answer, tuple):
                context.abort(*answer)
            yield answer
        self.streams.release()
        for _ in requests:  # silent from now on, as a member that hangs
            pass


@pytest.fixture
def members() -> Iterator[list[Member]]:
    made = [Member(), Member()]
    yield made
    for member in made:
        member.close()


@pytest.fixture
def member(members: list[Member]) -> Member:
    return members[0]


@pytest.fixture
def connect(members: list[Member]) -> Iterator[Callable[..., EtcdStore]]:
    stores: list[EtcdStore] = []

    def make(*chosen: Member, access: Access | None = None, timeout: float = 5) -> EtcdStore:
        endpoints = [one.endpoint for one in chosen or members[:1]]
        stores.append(EtcdStore(endpoints, "p", timeout=timedelta(seconds=timeout), access=access or Access()))
        return stores[-1]

    yield make
    for store in stores:
        store.close()


@pytest.fixture
def access(tmp_path: Path) -> Access:
    password = tmp_path / "password"
    password.write_text("secret\n")
    return Access(username="u", password_file=password)


def put(store: EtcdStore) -> int | None:
    return store.commit([Check("a", 3)], [Put("a", b"mine")])


# A commit is sent once


@pytest.mark.parametrize(
    "status",
    [
        (Unavailable_, "etcdserver: request timed out"),
        (Unavailable_, "etcdserver: leader changed"),
        (Unavailable_, "Socket closed"),
        (grpc.StatusCode.UNKNOWN, "context deadline exceeded"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded"),
        (grpc.StatusCode.INTERNAL, "what nobody has seen before"),
    ],
    ids=lambda status: status[1],
)
def test_an_answer_that_proves_nothing_is_unknown(members, connect, status: Status) -> None:
    for member in members:
        member.answers("Txn", status)
    with pytest.raises(Unknown):
        put(connect(*members))
    assert [member.asked.count("Txn") for member in members] in ([1, 0], [0, 1])


def test_a_leaderless_member_is_left_for_the_next(members, connect) -> None:
    for member in members:
        member.answers("Txn", (Unavailable_, "etcdserver: no leader"))
    assert put(connect(*members)) == 7
    assert sorted(member.asked.count("Txn") for member in members) == [1, 2]


def test_a_dead_endpoint_is_left_for_the_next(members, connect) -> None:
    members[1].close()
    for _ in range(8):  # the first endpoint is drawn by lot
        assert put(connect(*members)) == 7


def test_an_endpoint_is_tried_with_something_harmless_before_it_gets_a_commit(member, connect) -> None:
    store = connect()
    put(store)
    put(store)
    assert member.asked == ["Range", "Txn", "Txn"]


def test_a_read_proves_an_endpoint_too(member, connect) -> None:
    store = connect()
    store.read(["a"])
    put(store)
    assert member.asked == ["Txn", "Txn"]


def test_an_endpoint_without_a_sign_of_life_gets_no_commit(member, connect) -> None:
    member.answers("Range", (Unavailable_, "etcdserver: request timed out"))
    with pytest.raises(Unavailable) as caught:
        put(connect())
    assert caught.type is Unavailable
    assert member.asked == ["Range"]


def test_a_refused_sign_of_life_is_one(member, connect) -> None:
    member.answers("Range", (grpc.StatusCode.PERMISSION_DENIED, "etcdserver: permission denied"))
    assert put(connect()) == 7


def test_a_failed_check(member, connect) -> None:
    member.answers("Txn", rpc.TxnResponse(header=header(), succeeded=False))
    with pytest.raises(Conflict, match="a"):
        put(connect())


@pytest.mark.parametrize(
    ("status", "error"),
    [
        ((grpc.StatusCode.RESOURCE_EXHAUSTED, "etcdserver: too many requests"), Throttled),
        ((grpc.StatusCode.NOT_FOUND, "etcdserver: requested lease not found"), SessionLost),
        ((grpc.StatusCode.INVALID_ARGUMENT, "etcdserver: request is too large"), Rejected),
    ],
)
def test_a_refusal_is_final(members, connect, status: Status, error: type[Exception]) -> None:
    for member in members:
        member.answers("Txn", status)
    with pytest.raises(error) as caught:
        put(connect(*members))
    assert caught.type is error
    assert sum(member.asked.count("Txn") for member in members) == 1


def test_a_session_of_another_store_is_no_lease(connect) -> None:
    with pytest.raises(Rejected, match="no etcd session"):
        connect().commit([Check("a", 0)], [Put("a", b"", "not-a-number")])


# The write that fills the store


def found(value: bytes, mod: int) -> Any:
    item = rpc.KeyValue(key=b"p/a", value=value, mod_revision=mod, create_revision=1)
    answer = rpc.ResponseOp(response_range=rpc.RangeResponse(kvs=[item]))
    return rpc.TxnResponse(header=header(), succeeded=True, responses=[answer])


@pytest.mark.parametrize(
    ("afterwards", "error"),
    [
        (found(b"before", 3), StoreFull),
        (found(b"mine", 3), StoreFull),  # an equal value at the checked revision: not by this commit
        (found(b"mine", 9), Unknown),
        (found(b"foreign", 9), Unknown),  # applied, and written over by somebody who saw it
        ((grpc.StatusCode.PERMISSION_DENIED, "etcdserver: permission denied"), Unknown),
    ],
)
def test_no_space_proves_nothing_until_the_key_is_read(member, connect, afterwards, error: type[Exception]) -> None:
    member.answers("Txn", NO_SPACE, afterwards)
    with pytest.raises(error) as caught:
        put(connect())
    assert caught.type is error
    assert member.asked.count("Txn") == 2


def test_no_space_for_a_claim_is_told_by_the_key_that_nobody_else_makes(member, connect) -> None:
    """The guard has gone on in any case; the holder is there, or it is not."""
    checks, puts = [Check("guard", 3), Check("own", 0)], [Put("guard", b"mine"), Put("own", b"mine")]

    def answer(*own: bytes) -> Any:
        kvs = [rpc.KeyValue(key=b"p/own", value=value, mod_revision=8, create_revision=8) for value in own]
        guard = rpc.KeyValue(key=b"p/guard", value=b"foreign", mod_revision=9, create_revision=1)
        ranges = [rpc.RangeResponse(kvs=[guard]), rpc.RangeResponse(kvs=kvs)]
        responses = [rpc.ResponseOp(response_range=each) for each in ranges]
        return rpc.TxnResponse(header=header(), succeeded=True, responses=responses)

    member.answers("Txn", NO_SPACE, answer(), NO_SPACE, answer(b"mine"))
    with pytest.raises(StoreFull):
        connect().commit(checks, puts)
    with pytest.raises(Unknown):
        connect().commit(checks, puts)


def test_no_space_for_a_write_without_a_check(member, connect) -> None:
    """Nothing can prove it, but another value means the same as never applied: the last writer wins."""
    member.answers("Txn", NO_SPACE, found(b"foreign", 9), NO_SPACE, found(b"mine", 9))
    with pytest.raises(StoreFull):
        connect().commit([], [Put("a", b"mine")])
    with pytest.raises(Unknown):
        connect().commit([], [Put("a", b"mine")])


# Reads go on


def test_a_read_is_asked_again_elsewhere(members, connect) -> None:
    for member in members:
        member.answers("Txn", (Unavailable_, "etcdserver: request timed out"))
    assert connect(*members).read(["a"]).items == {}


def test_a_big_answer(member, connect) -> None:
    """gRPC's own limit is 4 MiB; 10,000 holders are more."""
    member.answers("Txn", found(b"x" * 6_000_000, 3))
    assert len(connect().read(["a"])["a"].value) == 6_000_000


# Logins


def test_one_login_serves_all_calls(member, connect, access) -> None:
    store = connect(access=access)
    store.read(["a"])
    put(store)
    assert member.asked == ["Range", "Authenticate", "Txn", "Txn"]
    assert member.tokens == [None, None, "token1", "token1"]


@pytest.mark.parametrize("commit", [True, False])
@pytest.mark.parametrize(
    "status",
    [
        (grpc.StatusCode.UNAUTHENTICATED, "etcdserver: invalid auth token"),
        (grpc.StatusCode.INVALID_ARGUMENT, "etcdserver: revision of auth store is old"),
        (grpc.StatusCode.UNKNOWN, "auth: revision in header is old"),
        (grpc.StatusCode.INVALID_ARGUMENT, "etcdserver: user name is empty"),
    ],
    ids=lambda status: status[1],
)
def test_an_expired_login_is_renewed_once(member, connect, access, status: Status, commit: bool) -> None:
    store = connect(access=access)
    store.read(["a"])
    member.answers("Txn", status)
    if commit:
        assert put(store) == 7
    else:
        store.read(["a"])
    assert member.asked.count("Authenticate") == 2
    assert member.tokens[-1] == "token2"


def test_a_login_that_never_holds(member, connect, access) -> None:
    member.answers("Txn", *[(grpc.StatusCode.UNAUTHENTICATED, "etcdserver: invalid auth token")] * 5)
    with pytest.raises(AuthFailed, match="after a new login"):
        put(connect(access=access))
    assert member.asked.count("Authenticate") == 2


def test_a_login_without_an_answer_is_not_an_unknown_commit(member, connect, access) -> None:
    member.answers("Authenticate", (Unavailable_, "etcdserver: request timed out"))
    with pytest.raises(Unavailable):
        put(connect(access=access))
    assert "Txn" not in member.asked


def test_a_login_without_an_answer_holds_up_nobody_else(member, connect, access) -> None:
    """A login has 5 s; who needs one too does not wait for it longer than his own time."""
    store, asked, answered = connect(access=access, timeout=0.5), threading.Event(), threading.Event()

    def late() -> Any:
        asked.set()
        answered.wait(30)
        return rpc.AuthenticateResponse(header=header(), token="late")

    member.answers("Authenticate", late)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(store.read, ["a"])
        try:
            assert asked.wait(30)
            with pytest.raises(Unavailable, match="login"):
                store.read(["a"])
            assert not first.done()
        finally:
            answered.set()
    first.result()
    assert member.asked.count("Authenticate") == 1


def test_a_new_password_means_a_new_login(member, connect, access) -> None:
    store = connect(access=access)
    store.read(["a"])
    assert access.password_file is not None
    access.password_file.write_text("a new and longer secret\n")
    store.read(["a"])
    assert member.asked.count("Authenticate") == 2


# Whose answer it is


def test_an_answer_from_another_cluster_is_not_believed(members, connect) -> None:
    store = connect()
    store.read(["a"])
    members[0].cluster = CLUSTER + 1
    for call in (lambda: store.read(["a"]), lambda: put(store), lambda: store.session(TTL), store.facts):
        with pytest.raises(WrongStore, match="abd"):
            call()


def test_a_login_at_another_cluster_lets_no_commit_through(members, connect, access) -> None:
    """It refuses the sign of life, because it does not know our token; its login is what tells."""
    ours, theirs = members
    theirs.cluster = 0xDEF
    leaderless = (Unavailable_, "etcdserver: no leader")
    unknown = (grpc.StatusCode.UNAUTHENTICATED, "etcdserver: invalid auth token")
    up = threading.Event()
    theirs.answers("Range", *[lambda: unknown if up.is_set() else leaderless] * 2)
    theirs.answers("Txn", unknown)
    store = connect(ours, theirs, access=access)
    store.read(["a"])
    up.set()
    ours.answers("Txn", leaderless)
    with pytest.raises(WrongStore, match="def"):
        put(store)
    assert theirs.asked.count("Txn") == 1, "the one that was refused"


def test_facts(member, connect) -> None:
    member.answers(
        "MemberList",
        rpc.MemberListResponse(header=header(), members=[rpc.Member(), rpc.Member(isLearner=True), rpc.Member()]),
    )
    member.answers("Status", rpc.StatusResponse(header=header(), version="3.5.0"))
    facts = connect().facts()
    assert (facts.identity, facts.members, facts.version) == ("abc", 2, "3.5.0")


def test_facts_that_are_not_allowed(member, connect) -> None:
    denied = (grpc.StatusCode.PERMISSION_DENIED, "etcdserver: permission denied")
    member.answers("MemberList", denied)
    member.answers("Status", denied)
    facts = connect().facts()
    assert (facts.identity, facts.members, facts.version) == ("abc", None, None)


# Sessions


def test_a_keepalive_that_comes_too_late(member, connect) -> None:
    session = connect().session(TTL)
    session.keepalive()
    member.answers("LeaseKeepAlive", rpc.LeaseKeepAliveResponse(header=header(), TTL=0))
    with pytest.raises(SessionLost, match=session.id):
        session.keepalive()


def test_a_session_whose_first_answer_was_lost_is_ours(member, connect) -> None:
    member.answers(
        "LeaseGrant",
        (Unavailable_, "etcdserver: request timed out"),
        (grpc.StatusCode.FAILED_PRECONDITION, "etcdserver: lease already exists"),
    )
    assert isinstance(connect().session(TTL), EtcdSession)


def test_a_session_that_may_exist_is_unknown(member, connect) -> None:
    member.answers("LeaseGrant", *[(Unavailable_, "etcdserver: request timed out")] * 20)
    with pytest.raises(Unknown):
        connect(timeout=0.3).session(TTL)


def test_the_end_of_a_dead_session(member, connect) -> None:
    session = connect().session(TTL)
    member.answers("LeaseRevoke", (grpc.StatusCode.NOT_FOUND, "etcdserver: requested lease not found"))
    session.end()


# Watches


def test_a_silent_member_is_left_for_the_next(members, connect) -> None:
    """Whichever is asked first says nothing; the second one knows of a change."""
    created = rpc.WatchResponse(header=header(revision=9), created=True)
    change = rpc.WatchResponse(header=header(revision=9), events=[rpc.Event(kv=rpc.KeyValue(key=b"p/a"))])
    store = connect(*members, timeout=0.4)
    answers = deque([[], [created, change]])
    for member in members:
        member.script["Watch"] = answers
    assert store.watch("a", 3, timedelta(seconds=20))


def test_compacted_history_of_an_unchanged_key_is_watched_on(member, connect) -> None:
    created = rpc.WatchResponse(header=header(revision=9), created=True)
    member.answers(
        "Watch",
        [created, rpc.WatchResponse(header=header(revision=9), canceled=True, compact_revision=8)],
        [created],
    )
    member.answers("Range", rpc.RangeResponse(header=header(), kvs=[rpc.KeyValue(key=b"p/a", mod_revision=3)]))
    assert not connect().watch("a", 3, timedelta(seconds=0.5))
    assert member.asked == ["Watch", "Range", "Watch"]


def test_members_that_drop_every_watch_are_not_hammered(members, connect) -> None:
    created = rpc.WatchResponse(header=header(revision=9), created=True)
    for member in members:
        member.script["Watch"] = deque([[created, (Unavailable_, "Socket closed")]] * 10_000)
    assert not connect(*members).watch("a", 3, timedelta(seconds=1))
    assert sum(member.asked.count("Watch") for member in members) <= 11


def test_history_that_is_compacted_late_is_watched_on(member, connect) -> None:
    """The time limit of a call is no limit of a watch."""

    created = rpc.WatchResponse(header=header(revision=9), created=True)

    def slowly() -> Iterator[Any]:
        yield created
        time.sleep(0.4)
        yield rpc.WatchResponse(header=header(revision=9), canceled=True, compact_revision=8)

    member.answers("Watch", slowly(), [created])
    member.answers("Range", rpc.RangeResponse(header=header(), kvs=[rpc.KeyValue(key=b"p/a", mod_revision=3)]))
    assert not connect(timeout=0.3).watch("a", 3, timedelta(seconds=0.8))
    assert member.asked == ["Watch", "Range", "Watch"]


def test_compacted_history_of_a_changed_key_wakes(member, connect) -> None:
    member.answers("Watch", [rpc.WatchResponse(header=header(revision=9), canceled=True, compact_revision=8)])
    assert connect().watch("a", 3, timedelta(seconds=20))


def test_a_store_younger_than_what_was_read_wakes(member, connect) -> None:
    member.answers("Watch", [rpc.WatchResponse(header=header(revision=2), created=True)])
    assert connect().watch("a", 3, timedelta(seconds=20))


def test_another_cluster_is_not_watched(member, connect) -> None:
    store = connect()
    store.read(["a"])
    member.answers("Watch", [rpc.WatchResponse(header=header(cluster=1, revision=9), created=True)])
    with pytest.raises(WrongStore):
        store.watch("a", 3, timedelta(seconds=20))


def test_close_ends_a_watch_and_everything_after(member, connect) -> None:
    store = connect()
    member.answers("Watch", [rpc.WatchResponse(header=header(revision=9), created=True)])
    with ThreadPoolExecutor() as pool:
        waiter = pool.submit(store.watch, "a", 3, timedelta(seconds=50))
        assert member.streams.acquire(timeout=30)
        store.close()
        assert waiter.result() is False
    for call in (lambda: store.read(["a"]), lambda: put(store), lambda: store.session(TTL)):
        with pytest.raises(Unavailable, match="closed"):
            call()
    assert store.watch("a", 3, TTL) is False


def test_a_failed_call_does_not_end_the_watch_beside_it_and_close_still_does(member, connect) -> None:
    """The endpoint gets a new channel; the watch lives on, on the old one."""
    store = connect()
    member.answers("Watch", [rpc.WatchResponse(header=header(revision=9), created=True)])
    member.answers("Txn", (Unavailable_, "etcdserver: request timed out"))
    with ThreadPoolExecutor() as pool:
        waiter = pool.submit(store.watch, "a", 3, timedelta(seconds=50))
        assert member.streams.acquire(timeout=30)
        with pytest.raises(Unknown):
            put(store)
        assert put(store) == 7
        assert not waiter.done()
        store.close()
        assert waiter.result(timeout=25) is False
    assert member.asked.count("Watch") == 1


# Configuration


@pytest.mark.parametrize("endpoints", [[], ["host"], ["host:"], ["::1:2379"], ["http://h:1"], ["u:p@h:1"], ["h:1/x"]])
def test_what_is_no_endpoint(endpoints: list[str]) -> None:
    with pytest.raises(ConfigError, match="etcd"):
        EtcdStore(endpoints, "p", timeout=TTL)


@pytest.mark.parametrize(
    ("access", "tls", "words"),
    [
        (Access(username="u"), False, "password_file"),
        (Access(password_file=Path("/p")), False, "username"),
        (Access(token_file=Path("/t")), False, "token_file"),
        (Access(cert_file=Path("/c")), True, "key_file"),
        (Access(key_file=Path("/k")), True, "cert_file"),
        (Access(ca_file=Path("/c")), False, "etcds://"),
        (Access(ca_file=Path("/no/such/file")), True, "/no/such/file"),
        (Access(username="u", password_file=Path("/no/such/file")), False, "/no/such/file"),
    ],
)
def test_credentials_that_cannot_work(access: Access, tls: bool, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        EtcdStore(["h:1"], "p", timeout=TTL, tls=tls, access=access)


def test_a_file_that_is_no_certificate(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_text("no certificate")
    with pytest.raises(ConfigError, match=r"ca\.pem"):
        EtcdStore(["h:1"], "p", timeout=TTL, tls=True, access=Access(ca_file=path))


def test_the_prefix_is_one_slash_and_no_more(member, connect) -> None:
    item = rpc.KeyValue(key=b"deep/er/a", value=b"1", mod_revision=1, create_revision=1)
    answer = rpc.ResponseOp(response_range=rpc.RangeResponse(kvs=[item]))
    member.answers("Txn", rpc.TxnResponse(header=header(), succeeded=True, responses=[answer]))
    store = EtcdStore([member.endpoint], "/deep/er/", timeout=TTL)
    assert list(store.read(["a"]).items) == ["a"]
    store.close()


# What importing does


def python(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.strip()


def test_the_contract_does_not_load_grpc() -> None:
    assert python("import sys, locksmith.stores; print('grpc' in sys.modules)") == "False"


def test_grpc_is_quiet_and_our_children_do_not_know() -> None:
    program = "import os, locksmith.stores.etcd; print(os.environ.get('GRPC_VERBOSITY'))"
    assert python(program) == "None"


def test_the_messages_have_a_package_of_their_own() -> None:
    """Another etcd client in the same process registers etcdserverpb.*"""
    assert rpc.DESCRIPTOR.package == "locksmith.etcd"
