"""The stores that the suite in test_store_*.py runs on, by name.

To add one: write a generator function that takes a fresh folder, starts what it needs, yields a `Site` and ends it,
and put `@maker("name")` over it (`@maker("name", servers=True)` when it needs a server). A site lives for the whole
test session; each test has a key prefix of its own on it. What is missing on this machine is reported with `missing`.
"""

import itertools
import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

import pytest

from locksmith.stores import Store
from locksmith.stores.memory import MemoryStore


@dataclass(frozen=True)
class Site:
    """A running store: `connect(prefix)` makes one more client of it."""

    connect: Callable[[str], Store]


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
def ttl() -> timedelta:
    """The shortest session that every store can keep."""
    return timedelta(seconds=10)
