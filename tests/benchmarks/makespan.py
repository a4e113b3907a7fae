"""How long a fleet takes to reboot, beside the ideal, and what each node asks of the store: 10 to 100,000 simulated nodes.

    python -m tests.benchmarks.makespan [--quick] [--nodes N]... [--slots] [--seed N] [--json FILE]

The real `step`, hands, semaphore and admission over the memory store, driven by events under a virtual clock
(tests/simulation/large). Groups have at most 1,000 nodes and a slot for each fifty; a node holds its slot for 90 to 150 s.
The ideal is defined in tests/simulation/large/fleet.py: held time divided by slots, of the slowest group. Above 2,000 nodes
two processes share the groups, each with a store of its own: groups have no key in common that is ever written here.
What a node asks of the store is counted from the staged update to its release: reads, commits, keepalives, long polls, but
not its entry in the registry (one write when its state changes, at most one in 10 s, and one each 15 minutes). `--slots` adds
one group of 1,000 under ever more slots: a queue holds 64 tickets, so a group that serves faster than those beyond come back
(60 to 900 s) runs out of them near its end. Exits 1 where a fleet's ratio is above 1.05; a limit that was passed, or a
node that was left over, ends it with the reason. 100,000 nodes take minutes on two quiet cores and 2 GiB.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

from tests.simulation.large.fleet import Fleet, Result

SIZES = (10, 100, 1_000, 10_000, 100_000)
QUICK = (10, 100, 1_000)
GROUP = 1_000
"""Nodes of a group, at most."""
PER_SLOT = 50
"""Nodes for each slot of a group."""
ALONE = 2_000
"""Up to so many nodes one process does it."""
PROCESSES = 2
BOUND = 1.05
MORE_SLOTS = (10, 20, 30, 50, 100)
HEAD = (
    f"{'nodes':>7} {'groups':>6} {'slots':>5} {'makespan':>9} {'ideal':>8} {'ratio':>6} {'worst':>6} {'requests':>8}"
    f" {'/h wait':>7} {'reads':>6} {'commits':>7} {'session':>7} {'watch':>6} {'KiB in':>7} {'KiB out':>7} {'conflicts':>9}"
    f" {'cpu s':>6} {'wall s':>6} {'MiB':>6}"
)


@dataclass(frozen=True, slots=True)
class Share:
    """The groups that one process simulates."""

    seed: int
    first: int
    groups: int
    size: int
    slots: int


@dataclass(frozen=True, slots=True)
class Done:
    """What one process found, and what it needed in CPU seconds and MiB at its peak."""

    result: Result
    cpu: float
    memory: float


def simulate(share: Share) -> Done:
    """One process's part. Raises LimitPassed, Unfinished."""
    before = time.process_time()
    result = Fleet(share.seed, share.groups, share.size, share.slots, share.first).run()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Done(result, time.process_time() - before, peak)


def run(nodes: int, slots: int | None, seed: int) -> dict[str, Any]:
    """One fleet, in processes of its own so that the peak of memory is its own."""
    groups = max(1, nodes // GROUP)
    size = nodes // groups
    slots = slots or max(1, size // PER_SLOT)
    processes = PROCESSES if nodes > ALONE else 1
    begins = [groups * number // processes for number in range(processes + 1)]
    shares = [Share(seed, a, b - a, size, slots) for a, b in pairwise(begins)]
    before = time.perf_counter()
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        done = list(pool.map(simulate, shares))
    return figures(shares, done, time.perf_counter() - before)


def figures(shares: list[Share], done: list[Done], wall: float) -> dict[str, Any]:
    """The processes' sums as one fleet: see /docs/performance.md for what the fields mean."""
    results = [each.result for each in done]
    nodes = sum(result.nodes for result in results)
    groups = [group for result in results for group in result.groups]
    ratios = [group.makespan / group.ideal for group in groups]
    makespan, ideal = max(group.makespan for group in groups), max(group.ideal for group in groups)
    requests = {op: sum(result.ops[op] for result in results) / nodes for op in ("read", "commit", "session", "watch")}
    requests["all"] = sum(requests.values())
    waited = sum(result.waited for result in results) / nodes
    return {
        "nodes": nodes,
        "groups": len(groups),
        "nodes_per_group": shares[0].size,
        "slots_per_group": shares[0].slots,
        "seed": shares[0].seed,
        "makespan": makespan,
        "ideal": ideal,
        "ratio": makespan / ideal,
        "worst_group": max(ratios),
        "median_group": median(ratios),
        "waited_mean": waited,
        "held_mean": sum(result.held for result in results) / nodes,
        "requests": requests,
        "bytes_read": sum(result.read for result in results) / nodes,
        "bytes_written": sum(result.written for result in results) / nodes,
        "requests_per_hour": requests["all"] / waited * 3600,
        "conflicts": sum(result.conflicts for result in results) / nodes,
        "busiest": max(result.busiest for result in results),
        "most_held": max(result.most_held for result in results),
        "steps": sum(result.steps for result in results),
        "cpu": sum(each.cpu for each in done),
        "wall": wall,
        "memory_mib": sum(each.memory for each in done),
        "processes": len(shares),
    }


def line(run: dict[str, Any]) -> str:
    """One row under HEAD."""
    asked = run["requests"]
    return (
        f"{run['nodes']:>7} {run['groups']:>6} {run['slots_per_group']:>5} {run['makespan']:>9.0f} {run['ideal']:>8.0f}"
        f" {run['ratio']:>6.3f} {run['worst_group']:>6.3f} {asked['all']:>8.1f} {run['requests_per_hour']:>7.1f}"
        f" {asked['read']:>6.1f} {asked['commit']:>7.2f} {asked['session']:>7.1f} {asked['watch']:>6.1f}"
        f" {run['bytes_read'] / 1024:>7.1f} {run['bytes_written'] / 1024:>7.1f} {run['conflicts']:>9.3f}"
        f" {run['cpu']:>6.1f} {run['wall']:>6.1f} {run['memory_mib']:>6.0f}"
    )


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, action="append", help="a fleet of so many nodes; may be repeated")
    parser.add_argument("--quick", action="store_true", help="10, 100 and 1,000 nodes only")
    parser.add_argument("--slots", action="store_true", help="also one group of 1,000 under ever more slots")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the figures there")
    options = parser.parse_args()
    print(HEAD)
    runs, more = [], []
    for nodes in options.nodes or (QUICK if options.quick else SIZES):
        runs.append(run(nodes, None, options.seed))
        print(line(runs[-1]), flush=True)
    for slots in MORE_SLOTS if options.slots else ():
        more.append(run(GROUP, slots, options.seed))
        print(line(more[-1]), flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps(document(runs, more), indent=1) + "\n")
    late = [each for each in runs if each["ratio"] > BOUND]
    for each in late:
        print(
            f"{each['nodes']} nodes took {each['ratio']:.3f} of the ideal; at most {BOUND} is wanted", file=sys.stderr
        )
    return 1 if late else 0


def document(runs: list[dict[str, Any]], more: list[dict[str, Any]]) -> dict[str, Any]:
    """The file that the report is made from."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return {
        "benchmark": "makespan",
        "version": 1,
        "command": " ".join(["python", "-m", "tests.benchmarks.makespan", *sys.argv[1:]]),
        "commit": commit.stdout.strip(),
        "date": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "machine": {"cores": os.cpu_count(), "python": platform.python_version()},
        "runs": runs,
        "slots": more,
    }


if __name__ == "__main__":
    sys.exit(main())
