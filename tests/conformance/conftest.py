"""The stores that the suite in test_store_*.py runs on, by name.

To add one: write a generator function that takes a fresh folder, starts what it needs, yields a `Site` and ends it,
and put `@maker("name")` over it (`@maker("name", servers=True)` when it needs a server). A site lives for the whole
test session; each test has a key prefix of its own on it. What is missing on this machine is reported with `missing`.
"""

import itertools
import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

import pytest

from locksmith.stores import Access, Store
from locksmith.stores.consul import ConsulStore
from locksmith.stores.etcd import EtcdStore
from locksmith.stores.measured import Measured, Request
from locksmith.stores.memory import MemoryStore
from locksmith.stores.sqlite import SqliteStore
from tests.servers.consul import ConsulCluster
from tests.servers.etcd import EtcdCluster
from tests.servers.fetch import ServerMissing


@dataclass(frozen=True)
class Site:
    """A running store: `connect(prefix)` makes one more client of it, `operator(prefix)` one that may set it up."""

    connect: Callable[[str], Store]
    operator: Callable[[str], Store] | None = None


Maker = Callable[[Path], Iterator[Site]]
MAKERS: dict[str, tuple[Maker, bool]] = {}


def maker(name: str, *, servers: bool = False) -> Callable[[Maker], Maker]:
    """Register a store under a name."""

    def register(function: Maker) -> Maker:
        MAKERS[name] = (function, servers)
        return function

    return register


def missing(what: str) -> NoReturn:
    """Skip, and say what is missing; where nothing may be missing (LOCKSMITH_REQUIRE_SERVERS=1), fail."""
    if os.environ.get("LOCKSMITH_REQUIRE_SERVERS"):
        pytest.fail(f"LOCKSMITH_REQUIRE_SERVERS is set, and {what} is missing")
    pytest.skip(f"NOT TESTED: {what} is missing")


@maker("memory")
def memory(folder: Path) -> Iterator[Site]:
    root = MemoryStore()
    yield Site(connect=root.client)
    root.close()


def consul(folder: Path, *, members: int, secure: bool) -> Iterator[Site]:
    """Real servers; `secure` means TLS in both directions, ACLs that deny by default, and the least rights."""
    try:
        cluster = ConsulCluster(members=members, acl=secure, verify_clients=secure)
    except ServerMissing as error:
        missing(str(error))

    def client(prefix: str, access: Access) -> Store:
        return ConsulStore(cluster.endpoints, prefix, timeout=timedelta(seconds=5), tls=secure, access=access)

    with cluster:
        if secure:
            agent, setup = consul_rights(cluster, folder)
            yield Site(lambda prefix: client(prefix, agent), lambda prefix: client(prefix, setup))
        else:
            yield Site(lambda prefix: client(prefix, Access()))


def consul_rights(cluster: ConsulCluster, folder: Path) -> tuple[Access, Access]:
    """The least that an agent needs, with the suite's keys instead of the product's, and the least for `prepare`."""
    rules = {
        "agent": 'key_prefix "t" { policy = "write" } session "locksmith" { policy = "write" }',
        "setup": 'node "locksmith" { policy = "write" }',
    }
    made = cluster.certificates
    assert made is not None
    for name, rule in rules.items():
        cluster.create_policy(name, rule)
        (folder / name).write_text(cluster.create_token([name]))
    agent = Access(token_file=folder / "agent", ca_file=made.ca, cert_file=made.client_cert, key_file=made.client_key)
    return agent, replace(agent, token_file=folder / "setup")


@maker("consul", servers=True)
def consul_single(folder: Path) -> Iterator[Site]:
    yield from consul(folder, members=1, secure=False)


@maker("consul-3", servers=True)
def consul_three(folder: Path) -> Iterator[Site]:
    yield from consul(folder, members=3, secure=False)


@maker("consul-tls-acl", servers=True)
def consul_secure(folder: Path) -> Iterator[Site]:
    yield from consul(folder, members=1, secure=True)


@maker("measured")
def measured(folder: Path) -> Iterator[Site]:
    """The wrapper must not change what a store does."""
    root = MemoryStore()
    requests: list[Request] = []
    yield Site(connect=lambda prefix: Measured(root.client(prefix), requests.append))
    root.close()


@maker("sqlite")
def sqlite(folder: Path) -> Iterator[Site]:
    path = folder / "store.db"
    yield Site(connect=lambda prefix: SqliteStore(path, prefix, timeout=timedelta(seconds=10)))


def etcd(version: str, *, members: int = 1, auth: bool = False, client_cert_auth: bool = False) -> Iterator[Site]:
    """Real members; `auth` means TLS and a user that may read and write the suite's keys and nothing else."""
    try:
        cluster = EtcdCluster(
            version, members=members, tls=auth, auth=auth, client_cert_auth=client_cert_auth, prefix="t"
        )
    except ServerMissing as error:
        missing(str(error))
    with cluster:
        access, made = Access(), cluster.certificates
        if made is not None and client_cert_auth:
            access = Access(ca_file=made.ca, cert_file=made.client_cert, key_file=made.client_key)
        elif made is not None:
            access = Access(ca_file=made.ca, username=cluster.user, password_file=cluster.password_file)

        def connect(prefix: str) -> Store:
            return EtcdStore(cluster.endpoints, prefix, timeout=timedelta(seconds=10), tls=auth, access=access)

        yield Site(connect)


@maker("etcd-3.4", servers=True)
def etcd_34(folder: Path) -> Iterator[Site]:
    yield from etcd("3.4")


@maker("etcd-3.5", servers=True)
def etcd_35(folder: Path) -> Iterator[Site]:
    yield from etcd("3.5")


@maker("etcd-3.5-three", servers=True)
def etcd_three(folder: Path) -> Iterator[Site]:
    yield from etcd("3.5", members=3)


@maker("etcd-3.4-password", servers=True)
def etcd_34_password(folder: Path) -> Iterator[Site]:
    yield from etcd("3.4", auth=True)


@maker("etcd-3.5-password", servers=True)
def etcd_35_password(folder: Path) -> Iterator[Site]:
    yield from etcd("3.5", auth=True)


@maker("etcd-3.4-certificate", servers=True)
def etcd_34_certificate(folder: Path) -> Iterator[Site]:
    yield from etcd("3.4", auth=True, client_cert_auth=True)


@maker("etcd-3.5-certificate", servers=True)
def etcd_35_certificate(folder: Path) -> Iterator[Site]:
    yield from etcd("3.5", auth=True, client_cert_auth=True)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "site" in metafunc.fixturenames:
        params = [
            pytest.param(name, marks=[pytest.mark.servers] if servers else []) for name, (_, servers) in MAKERS.items()
        ]
        metafunc.parametrize("site", params, indirect=True, scope="session")


@pytest.fixture(scope="session")
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One running store, for all tests of the suite."""
    function, _ = MAKERS[request.param]
    yield from function(tmp_path_factory.mktemp(request.param))


_numbers = itertools.count()


@pytest.fixture
def prefix() -> str:
    """A fresh key prefix."""
    return f"t{next(_numbers)}-{secrets.token_hex(4)}"


@pytest.fixture
def connect(site: Site, prefix: str) -> Iterator[Callable[..., Store]]:
    """Make clients, by default with the test's prefix; all are closed at its end."""
    clients: list[Store] = []

    def make(suffix: str = "") -> Store:
        clients.append(site.connect(prefix + suffix))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def store(connect: Callable[..., Store]) -> Store:
    """The store under test."""
    return connect()


@pytest.fixture
def other(connect: Callable[..., Store]) -> Store:
    """A second client of the same store, as if on another machine."""
    return connect()


@pytest.fixture
def operator(site: Site, prefix: str) -> Iterator[Store]:
    """A client with an operator's rights: `prepare` needs more than the rest does."""
    client = (site.operator or site.connect)(prefix)
    yield client
    client.close()


@pytest.fixture
def ttl() -> timedelta:
    """The shortest session that every store can keep."""
    return timedelta(seconds=10)
