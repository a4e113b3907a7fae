"""What locksmith costs, as ratios measured in one run, so that they mean the same on another machine.

    python -m tests.benchmarks.figures [--store sqlite] [--store etcd] [--store consul] [--quick]

For each store, next to bare commits of the same store: the requests of a cycle, alone and with 200 waiters; acquire and
release; the hand-off from a release to the next holder. And the time and memory of a cold `lockctl status`, next to Python
itself. Durations in milliseconds are printed only to say what a ratio is a ratio of.
"""

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.parts import cold, crowd, cycle, whole
from tests.integration.fleet.stores import ConsulRaw, EtcdRaw
from tests.integration.places import Place, place, sqlite_url
from tests.servers.consul import ConsulCluster
from tests.servers.etcd import EtcdCluster

KINDS = ("sqlite", "etcd", "consul")


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", action="append", choices=KINDS)
    parser.add_argument("--quick", action="store_true", help="fewer rounds: to see that it runs")
    options = parser.parse_args()
    rounds = 10 if options.quick else 100
    for kind in options.store or KINDS:
        with site(kind) as (where, raw):
            print(f"== {kind}")
            cycle.report(where, rounds)
            if raw is not None:
                whole.report(where, raw)
            crowd.report(where, cycles=10 if options.quick else 40)
            cold.report(where, rounds=3 if options.quick else 15)
    return 0


@contextlib.contextmanager
def site(kind: str) -> Iterator[tuple[Place, EtcdRaw | ConsulRaw | None]]:
    """One store of the kind, with one member on this machine; and what looks into it, where requests can be counted."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        raw: EtcdRaw | ConsulRaw | None = None
        match kind:
            case "sqlite":
                url = sqlite_url(folder)
            case "etcd":
                raw = EtcdRaw(stack.enter_context(EtcdCluster("3.5")), "locksmith/whole")
                url = raw.cluster.url()
            case _:
                raw = ConsulRaw(stack.enter_context(ConsulCluster()), "locksmith/whole")
                url = raw.cluster.url()
        yield stack.enter_context(place(folder, url)), raw


if __name__ == "__main__":
    sys.exit(main())
