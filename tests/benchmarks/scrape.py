"""What a scrape of the gateway costs the store, with ten registered nodes and with ten thousand.

    python -m tests.benchmarks.scrape [--store sqlite] [--store etcd] [--store consul] [--nodes 10000]

Requests are counted by a proxy in front of the server, bytes as those of the keys and values that came back. The records are as
long as those of nodes that wait, and the ring of the history is full. It exits 1 when a scrape is more than one request.
"""

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from locksmith.core import keys
from locksmith.core.documents import NodeRecord
from locksmith.core.history import RING
from locksmith.fleet_metrics import FleetMetrics
from locksmith.fleet_reader import FleetReader
from locksmith.semaphore.fleet import FleetWatch
from locksmith.semaphore.holding import release
from locksmith.stores import Put
from tests.benchmarks.parts.counting import Counting
from tests.integration.places import Place, place, sqlite_url
from tests.servers.consul import ConsulCluster
from tests.servers.etcd import EtcdCluster

KINDS = ("sqlite", "etcd", "consul")
FEW, A_COMMIT = 10, 30
STEPS = tuple(
    {
        "step": step,
        "name": "packages",
        "state": "passed",
        "kind": None,
        "reason": "open since the last look, and asked again before the reboot",
        "since": "2026-01-01T00:00:00Z",
        "until": None,
        "remedy": "",
    }
    for step in ("update", "hold", "window", "gate", "pause", "queue", "slot", "drain", "reboot", "health")
)


@dataclass(frozen=True, slots=True)
class Cost:
    """One scrape after the first: requests that the server saw, bytes read, seconds with nothing and with everything changed."""

    requests: int
    bytes: int
    unchanged: float
    changed: float
    page: int


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", action="append", choices=KINDS)
    parser.add_argument("--nodes", type=int, default=10_000)
    options = parser.parse_args()
    kept = [_report(kind, options.nodes) for kind in options.store or KINDS]
    return 0 if all(kept) else 1


def _report(kind: str, nodes: int) -> bool:
    well = True
    with _site(kind) as (where, proxy):
        where.slots(1)
        for _ in range(RING // 2):
            release(where.actor, where.taken("holder"))
        where.taken("holder")
        print(f"== {kind}: a scrape of the gateway, the history's ring full")
        for count in (FEW, nodes):
            _register(where, count)
            cost = _cost(where, proxy, count)
            well = well and cost.requests <= 1
            seen = f"{cost.requests} requests, " if proxy is not None else ""
            print(
                f"{count:>6} nodes: {seen}{cost.bytes / 1e6:.2f} MB of keys and values,"
                f" {cost.unchanged * 1000:.0f} ms when nothing has changed,"
                f" {cost.changed * 1000:.0f} ms when everything has; the page has {cost.page / 1000:.0f} kB"
            )
    return well


def _cost(where: Place, proxy: Counting | None, count: int) -> Cost:
    reader = FleetReader(FleetWatch(where.another(where.actor.store)).look, timedelta(0), 300)
    pages = FleetMetrics(reader).pages()
    pages["/metrics"]()
    before = proxy.requests if proxy is not None else 0
    began = time.perf_counter()
    page = pages["/metrics"]()
    unchanged = time.perf_counter() - began
    requests = proxy.requests - before if proxy is not None else 1
    _register(where, count)
    began = time.perf_counter()
    pages["/metrics"]()
    changed = time.perf_counter() - began
    seen = reader.last()
    assert seen.fleet is not None, seen.problem
    assert len(seen.fleet.nodes) == count
    return Cost(requests, seen.fleet.size, unchanged, changed, len(page.body))


def _register(where: Place, count: int) -> None:
    """So many records, each with a generation of its own."""
    store, now = where.actor.store, datetime.now(UTC)
    for first in range(0, count, A_COMMIT):
        puts = [_record(where, number, now) for number in range(first, min(first + A_COMMIT, count))]
        store.commit((), puts)


def _record(where: Place, number: int, now: datetime) -> Put:
    node = f"{number:032x}"
    record = NodeRecord(
        gen=where.actor.nonce(),
        host=f"node{number}.example.org",
        group=where.group,
        state="blocked",
        seen=now,
        state_since=now,
        heartbeat=900,
        kind="window",
        why="outside of the reboot windows until 23:00",
        boot="4e1ae34e-1f2c-4a8e-9d1c-0d0c6f1f8e5b/0",
        need="reboot-required: linux-image-6.1.0-27-amd64",
        need_since=now,
        steps=STEPS,
        reboots={"healthy": 12},
    )
    return Put(keys.record(where.group, node), record.encode())


@contextlib.contextmanager
def _site(kind: str) -> Iterator[tuple[Place, Counting | None]]:
    """A store of the kind with one member on this machine, behind a proxy that counts where there is a server."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if kind == "sqlite":
            yield stack.enter_context(place(folder, sqlite_url(folder))), None
            return
        cluster = stack.enter_context(EtcdCluster("3.5") if kind == "etcd" else ConsulCluster())
        address = cluster.url().split("://")[1].split("/")[0]
        proxy = stack.enter_context(Counting(address))
        yield stack.enter_context(place(folder, f"{kind}://{proxy.endpoint}/locksmith")), proxy


if __name__ == "__main__":
    sys.exit(main())
