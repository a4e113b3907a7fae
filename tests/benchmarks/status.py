"""What `lockctl status` costs with 64 waiters, with ten registered nodes and with ten thousand.

    python -m tests.benchmarks.status [--store sqlite] [--store etcd] [--store consul] [--nodes 10000]

Requests are counted by a proxy in front of the server, bytes as those of the keys and values that came back; the time is that of
a whole cold process. It exits 1 when requests or bytes depend on the number of nodes.
"""

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from locksmith.core import keys
from locksmith.core.admission import MAX_TICKETS
from locksmith.core.documents import NodeRecord
from locksmith.semaphore.reading import status, store_seen
from locksmith.stores import Check, Put
from locksmith.stores.measured import Measured, Request
from tests.benchmarks.parts.cold import cost
from tests.benchmarks.parts.counting import Counting
from tests.integration.places import LOCKCTL, Place, place, sqlite_url
from tests.servers.consul import ConsulCluster
from tests.servers.etcd import EtcdCluster

KINDS = ("sqlite", "etcd", "consul")
FEW, SLOTS, A_COMMIT, ROUNDS = 10, 4, 30, 7


@dataclass(frozen=True, slots=True)
class Cost:
    """One `lockctl status`: requests that the server saw, reads and bytes of the semaphore, milliseconds."""

    requests: int
    reads: int
    bytes: int
    milliseconds: float


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", action="append", choices=KINDS)
    parser.add_argument("--nodes", type=int, default=10_000)
    options = parser.parse_args()
    kept = [_report(kind, options.nodes) for kind in options.store or KINDS]
    return 0 if all(kept) else 1


def _report(kind: str, nodes: int) -> bool:
    with _site(kind) as (where, proxy):
        where.slots(SLOTS)
        for number in range(SLOTS):
            where.taken(f"holder{number}")
        for number in range(MAX_TICKETS):
            where.queued(where.attempt(f"waiter{number}"))
        _register(where, 0, FEW)
        few = _cost(where, proxy)
        _register(where, FEW, nodes)
        many = _cost(where, proxy)
    same = replace(few, milliseconds=0.0) == replace(many, milliseconds=0.0)
    print(
        f"== {kind}: lockctl status, {SLOTS} holders, {MAX_TICKETS} waiters: {'the same' if same else 'NOT THE SAME'}"
    )
    for count, found in ((FEW, few), (nodes, many)):
        seen = f"{found.requests} requests, " if proxy is not None else ""
        print(
            f"{count:>6} nodes: {seen}{found.reads} reads of the group, {found.bytes} bytes of keys and values,"
            f" {found.milliseconds:.0f} ms cold"
        )
    return same


def _cost(where: Place, proxy: Counting | None) -> Cost:
    asked: list[Request] = []
    actor = replace(where.actor, store=Measured(where.actor.store, asked.append))
    store_seen(actor)
    assert len(status(actor, where.group).queue) == MAX_TICKETS
    requests = proxy.requests if proxy is not None else 0
    assert where.lockctl("status").code == 0
    requests = (proxy.requests if proxy is not None else 0) - requests
    wall = cost([str(LOCKCTL), "status"], where.environment, ROUNDS).wall
    return Cost(requests, len(asked), sum(each.bytes_read for each in asked), wall * 1000)


def _register(where: Place, start: int, end: int) -> None:
    """Nodes that have described themselves, as many agents would."""
    now = datetime.now(UTC)
    for begin in range(start, end, A_COMMIT):
        puts = []
        for number in range(begin, min(begin + A_COMMIT, end)):
            node = f"{number:032x}"
            record = NodeRecord(
                host=f"h{number}", group=where.group, state="steady", seen=now, heartbeat=900, why="x" * 300
            )
            puts.append(Put(keys.record(where.group, node), record.encode()))
        where.actor.store.commit([Check(put.key, 0) for put in puts], puts)


@contextlib.contextmanager
def _site(kind: str) -> Iterator[tuple[Place, Counting | None]]:
    """A store with one member on this machine, and what counts the requests that reach it."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if kind == "sqlite":
            yield stack.enter_context(place(folder, sqlite_url(folder))), None
            return
        cluster = stack.enter_context(EtcdCluster("3.5") if kind == "etcd" else ConsulCluster())
        proxy = stack.enter_context(Counting(cluster.endpoints[0]))
        yield stack.enter_context(place(folder, f"{kind}://{proxy.endpoint}/locksmith")), proxy


if __name__ == "__main__":
    sys.exit(main())
