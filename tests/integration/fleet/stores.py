"""The stores of a fleet as their own tools show them: every key with its value, nothing of the product in between."""

import base64
import contextlib
import http.client
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.servers.consul import ConsulCluster
from tests.servers.etcd import EtcdCluster
from tests.servers.fetch import ServerMissing
from tests.servers.process import DataFolder

_PATIENCE = 30.0
"""Seconds that a look goes on trying, while an election goes on."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One key: its bytes, the revision of its creation and of its last change."""

    value: bytes
    created: int
    modified: int

    def document(self) -> dict[str, Any]:
        """The JSON object that it is."""
        return dict(json.loads(self.value))

    def text(self) -> str:
        """For a failure's report."""
        return self.value[:300].decode(errors="replace")


class Raw(Protocol):
    """A store to look into."""

    @property
    def url(self) -> str:
        """For the product."""

    def snapshot(self) -> dict[str, Entry]:
        """Every key below the prefix, without it, at one moment (Consul: nearly one)."""


class EtcdRaw:
    """etcd, through its JSON gateway; `member` may be any that runs."""

    def __init__(self, cluster: EtcdCluster, prefix: str = "locksmith") -> None:
        """`prefix` as in the URL."""
        self.cluster, self.prefix = cluster, prefix

    @property
    def url(self) -> str:
        """See Raw."""
        return self.cluster.url(self.prefix)

    def snapshot(self) -> dict[str, Entry]:
        """See Raw."""
        first = f"{self.prefix}/"
        last = first[:-1] + "0"  # the character after "/"
        body = {"key": _b64(first), "range_end": _b64(last)}
        answer = _patiently(lambda: self._post("/v3/kv/range", body))
        found = {}
        for item in answer.get("kvs", []):
            key = base64.b64decode(item["key"]).decode().removeprefix(first)
            value = base64.b64decode(item.get("value", ""))
            found[key] = Entry(value, int(item["create_revision"]), int(item["mod_revision"]))
        return found

    def _post(self, path: str, body: Any) -> Any:
        for member in self.cluster.members:
            if not member.alive:
                continue
            connection = http.client.HTTPConnection("127.0.0.1", member.client_port, timeout=5)
            with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException, ValueError):
                connection.request("POST", path, json.dumps(body))
                answer = connection.getresponse()
                text = answer.read()
                if answer.status == http.client.OK:
                    return json.loads(text)
        return None


class ConsulRaw:
    """Consul, through its key-value API."""

    def __init__(self, cluster: ConsulCluster, prefix: str = "locksmith") -> None:
        """`prefix` as in the URL."""
        self.cluster, self.prefix = cluster, prefix

    @property
    def url(self) -> str:
        """See Raw."""
        return self.cluster.url(self.prefix)

    def snapshot(self) -> dict[str, Entry]:
        """See Raw."""

        def ask() -> Any:
            status, answer = self.cluster.request("GET", f"/v1/kv/{self.prefix}/?recurse&consistent", check=False)
            if status == http.client.NOT_FOUND:
                return []
            return answer if status == http.client.OK else None

        return {
            item["Key"].removeprefix(f"{self.prefix}/"): Entry(
                base64.b64decode(item["Value"] or ""), item["CreateIndex"], item["ModifyIndex"]
            )
            for item in _patiently(ask)
        }


class SqliteRaw:
    """An SQLite file."""

    def __init__(self, path: Path) -> None:
        """The file need not exist yet."""
        self.path = path

    @property
    def url(self) -> str:
        """See Raw."""
        return f"sqlite://{self.path}"

    def snapshot(self) -> dict[str, Entry]:
        """See Raw."""
        if not self.path.exists():
            return {}
        with contextlib.closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, timeout=30)) as db:
            rows = db.execute("SELECT key, value, created, modified FROM item").fetchall()
        return {key.split("/", 1)[1]: Entry(bytes(value), created, modified) for key, value, created, modified in rows}


def own(snapshot: dict[str, Entry], node: str) -> Entry | None:
    """The holder of a node."""
    return next((entry for key, entry in snapshot.items() if key.startswith("own/") and key.endswith(f"/{node}")), None)


def phases(snapshot: dict[str, Entry]) -> dict[str, str]:
    """The phase of each holder, by node."""
    return {
        key.rsplit("/", 1)[1]: str(entry.document()["phase"])
        for key, entry in snapshot.items()
        if key.startswith("own/")
    }


def tickets(snapshot: dict[str, Entry]) -> list[str]:
    """The nodes that wait, in the order of their tickets."""
    waiting = [(entry.created, key) for key, entry in snapshot.items() if key.startswith("q/")]
    return [key.rsplit("/", 1)[1] for _, key in sorted(waiting)]


def counts(snapshot: dict[str, Entry]) -> dict[str, int]:
    """The count of each guard, by limit."""
    return {
        key.removeprefix("lim/"): int(entry.document()["count"])
        for key, entry in snapshot.items()
        if key.startswith("lim/")
    }


def _b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _patiently(ask: Callable[[], Any]) -> Any:
    end = time.monotonic() + _PATIENCE
    while (answer := ask()) is None:
        if time.monotonic() > end:
            raise AssertionError(f"the store did not answer the judge within {_PATIENCE} s")
        time.sleep(0.1)
    return answer


@contextlib.contextmanager
def three_etcds() -> Iterator[EtcdRaw]:
    """A three-member cluster of the test's own; a loud skip where there is none to be had."""
    with skipping():
        cluster = EtcdCluster(members=3)
    with cluster:
        yield EtcdRaw(cluster)


@contextlib.contextmanager
def three_consuls() -> Iterator[ConsulRaw]:
    """Three servers of the test's own."""
    with skipping():
        cluster = ConsulCluster(members=3)
    with cluster:
        yield ConsulRaw(cluster)


@contextlib.contextmanager
def sqlite_file() -> Iterator[SqliteRaw]:
    """A file in memory."""
    data = DataFolder("sqlite")
    try:
        yield SqliteRaw(data.path / "store.db")
    finally:
        data.remove()


@contextlib.contextmanager
def skipping() -> Iterator[None]:
    """A missing server is a loud skip, and a failure where LOCKSMITH_REQUIRE_SERVERS says that none may be missing."""
    try:
        yield
    except ServerMissing as error:
        if os.environ.get("LOCKSMITH_REQUIRE_SERVERS"):
            raise
        pytest.skip(f"NOT TESTED: {error}")
