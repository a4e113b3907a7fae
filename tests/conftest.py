"""Shared single-member servers, one of each a pytest worker, and a key prefix of its own for each test.

A test that hurts its server starts a cluster of its own from tests.servers. What is missing on this machine is a loud
skip; with LOCKSMITH_REQUIRE_SERVERS=1, where nothing may be missing, it is a failure.
"""

import contextlib
import os
import secrets
from collections.abc import Iterator

import pytest

from tests.servers.consul import ConsulCluster
from tests.servers.etcd import EtcdCluster
from tests.servers.fetch import ServerMissing


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first, by the time that each may take, so that no worker ends long after the others.

    What only waits stands between what computes, so that neither all workers wait nor all compute.
    """

    def allowed(item: pytest.Item) -> float:
        limit = item.get_closest_marker("timeout")
        return float(limit.args[0]) if limit is not None and limit.args else 0.0

    items.sort(key=lambda item: (item.get_closest_marker("slow") is None, -allowed(item)))
    waiting = [item for item in items if item.get_closest_marker("waits") is not None]
    if not waiting:
        return
    busy = [item for item in items if item.get_closest_marker("waits") is None]
    slow = sum(item.get_closest_marker("slow") is not None for item in busy)
    gap = max(1.0, slow / len(waiting))
    items[:] = [
        item
        for _, item in sorted(
            [
                *((float(place), item) for place, item in enumerate(busy)),
                *((n * gap + 0.5, w) for n, w in enumerate(waiting)),
            ],
            key=lambda placed: placed[0],
        )
    ]


@contextlib.contextmanager
def _loud_skip() -> Iterator[None]:
    try:
        yield
    except ServerMissing as error:
        if os.environ.get("LOCKSMITH_REQUIRE_SERVERS"):
            raise
        pytest.skip(f"NOT TESTED: {error}")


@pytest.fixture(scope="session")
def etcd34() -> Iterator[EtcdCluster]:
    """One plain etcd 3.4 member."""
    with _loud_skip():
        cluster = EtcdCluster("3.4")
    with cluster:
        yield cluster


@pytest.fixture(scope="session")
def etcd35() -> Iterator[EtcdCluster]:
    """One plain etcd 3.5 member."""
    with _loud_skip():
        cluster = EtcdCluster("3.5")
    with cluster:
        yield cluster


@pytest.fixture(scope="session")
def consul() -> Iterator[ConsulCluster]:
    """One plain Consul server."""
    with _loud_skip():
        cluster = ConsulCluster()
    with cluster:
        yield cluster


@pytest.fixture
def key_prefix() -> str:
    """A prefix that no other test uses, below the one that a cluster's least role may write."""
    return f"locksmith/test-{secrets.token_hex(6)}"
