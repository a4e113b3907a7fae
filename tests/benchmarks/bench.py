"""All figures of docs/performance.md in one run, and that report with its drawings, written anew.

    python -m tests.benchmarks.bench [--quick] [--part NAME ...] [--out FOLDER] [--render]

At most 15 minutes on two quiet cores, 3 with `--quick`, which writes below .cache/bench unless told otherwise: its figures
are too few to be published. `--part` measures only the named parts anew and keeps the others of the last run; `--render`
measures nothing. The agents that are watched while idle run beside everything else: of them only counts are taken. It exits
1 when an idle agent, `lockctl status` or the makespan is not as promised."""

import argparse
import contextlib
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.benchmarks.parts import classic, cold, crowd, cycle, leader, polling, races, report, tools, waiters, whole
from tests.integration.fleet.stores import ConsulRaw, EtcdRaw
from tests.integration.places import Place, place, sqlite_url
from tests.servers.consul import ConsulCluster
from tests.servers.etcd import EtcdCluster
from tests.servers.fetch import consul, etcd

ROOT = Path(__file__).resolve().parents[2]
SERVERS = ("etcd", "consul")
KINDS = ("sqlite", *SERVERS)
DATA = "performance/figures.json"
LARGE = ROOT / "docs/performance/makespan.json"
"""A run of the makespan with fleets that are too large for this one; the report takes from it what it has not run itself."""


@dataclass(frozen=True, slots=True)
class Extent:
    """How much is measured."""

    rounds: int
    turns: int
    fleets: tuple[int, ...]
    crowds: tuple[int, ...]
    threads: tuple[int, ...]
    cycles: int
    starts: int
    seconds: int
    outages: int
    nodes: tuple[int, ...]
    registered: int
    idle_minutes: float


FULL = Extent(
    rounds=100,
    turns=4,
    fleets=(1, 10, 100, 1000, 10_000),
    crowds=(1, 10, 30),
    threads=(10, 60, 200),
    cycles=15,
    starts=15,
    seconds=5,
    outages=3,
    nodes=(10, 100, 1000),
    registered=10_000,
    idle_minutes=10.0,
)
QUICK = Extent(
    rounds=10,
    turns=2,
    fleets=(1, 10, 100, 1000),
    crowds=(1, 5),
    threads=(10,),
    cycles=4,
    starts=3,
    seconds=1,
    outages=1,
    nodes=(10, 100),
    registered=300,
    idle_minutes=1.0,
)


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--part", action="append", choices=[*PARTS, "idle"])
    parser.add_argument("--out", type=Path, help="default: docs, or .cache/bench with --quick")
    parser.add_argument("--render", action="store_true")
    options = parser.parse_args()
    out = options.out or ROOT / (".cache/bench" if options.quick else "docs")
    data = out / DATA
    told: dict[str, Any] = json.loads(data.read_text()) if (options.render or options.part) and data.exists() else {}
    if not options.render:
        data.parent.mkdir(parents=True, exist_ok=True)
        told["quick"] = options.quick
        all_parts = [name for name in (*PARTS, "idle") if name != "whole" or not options.quick]
        _measure(told, options.part or all_parts, QUICK if options.quick else FULL, data)
    if LARGE.exists():
        told["large"] = json.loads(LARGE.read_text())
    data.write_text(json.dumps(told, indent=1) + "\n")
    report.write(told, out)
    print(f"written: {out / 'performance.md'}")
    broken = report.broken(told)
    for each in broken:
        print(f"NOT AS PROMISED: {each}")
    return 1 if broken else 0


def _measure(told: dict[str, Any], parts: list[str], extent: Extent, data: Path) -> None:
    """Each part anew, into `told`; kept after each, so that what fails costs only itself."""

    def keep(name: str, figures: Any, before: float) -> None:
        told[name] = figures
        run = {"seconds": round(time.monotonic() - before), "commit": told["about"]["commit"]}
        told.setdefault("runs", {})[name] = run
        data.write_text(json.dumps(told, indent=1) + "\n")
        print(f"{time.monotonic() - began:6.0f} s  {name} ({time.monotonic() - before:.0f} s)", flush=True)

    began = time.monotonic()
    told["about"] = _about()
    with contextlib.ExitStack() as stack:
        idle = stack.enter_context(_idle(extent.idle_minutes)) if "idle" in parts else None
        for name in [name for name in PARTS if name in parts]:
            before = time.monotonic()
            keep(name, PARTS[name](extent), before)
        if idle is not None:
            keep("idle", idle(), began)


def _about() -> dict[str, Any]:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return {
        "commit": commit.stdout.strip() or "unknown",
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "etcd": _version([str(etcd("3.5").etcd), "--version"]),
        "consul": _version([str(consul()), "version"]),
    }


def _version(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[0].split()[-1].removeprefix("v")


# ---------------------------------------------------------------- where


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


def _each(kinds: tuple[str, ...], measure: Callable[[str, Place, Any], Any]) -> dict[str, Any]:
    found = {}
    for kind in kinds:
        with site(kind) as (where, raw):
            found[kind] = measure(kind, where, raw)
    return found


# ---------------------------------------------------------------- the parts


def _cold(extent: Extent) -> dict[str, Any]:
    def measure(kind: str, where: Place, raw: Any) -> Any:
        where.slots(1)
        beside = {}
        if kind == "etcd":
            beside["peer"] = [str(etcd("3.5").etcdctl), "--endpoints", raw.cluster.endpoints[0], "get", "nothing"]
        elif kind == "consul":
            words = ["kv", "get", f"-http-addr=http://{raw.cluster.endpoints[0]}", "-keys", "locksmith"]
            beside["peer"] = [str(consul()), *words]
        return cold.figures(where, extent.starts, beside)

    return _each(KINDS, measure)


def _waiters(extent: Extent) -> dict[str, Any]:
    found = {"locksmith": [waiters.QueueShop(count).run(extent.turns) for count in extent.fleets]}
    for algorithm in classic.ALGORITHMS:
        found[algorithm.name] = [
            polling.PollingShop(algorithm, count).run(max(20, extent.turns)) for count in extent.fleets
        ]
    return found


def _tools(extent: Extent) -> dict[str, Any]:
    def measure(kind: str, _: Place, raw: Any) -> Any:
        with tempfile.TemporaryDirectory() as folder:
            return tools.figures(kind, raw.cluster.endpoints[0], Path(folder), extent.crowds)

    return _each(SERVERS, measure)


def _leader(extent: Extent) -> dict[str, Any]:
    found = {}
    for kind in SERVERS:
        with tempfile.TemporaryDirectory() as folder:
            found[kind] = leader.figures(kind, Path(folder), extent.outages)
    return found


def _makespan(extent: Extent) -> dict[str, Any] | None:
    words = [word for count in extent.nodes for word in ("--nodes", str(count))]
    return _program("tests.benchmarks.makespan", *words)


def _program(module: str, *words: str) -> dict[str, Any] | None:
    """Run a benchmark that is a program of its own; what it wrote, with its exit code."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "figures.json"
        command = [sys.executable, "-m", module, *words, "--json", str(target)]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=False)
        assert target.exists(), f"{module} wrote nothing and ended {done.returncode}"
        found: dict[str, Any] = json.loads(target.read_text())
    return {**found, "code": done.returncode}


def _status(extent: Extent) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.benchmarks.status", "--nodes", str(extent.registered)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    return {"said": done.stdout.splitlines(), "code": done.returncode}


@contextlib.contextmanager
def _idle(minutes: float) -> Iterator[Callable[[], Any]]:
    """Idle agents in the background, and what waits for their figures."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "idle.json"
        command = [sys.executable, "-m", "tests.benchmarks.idle", "--minutes", str(minutes), "--json", str(target)]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)

        def figures() -> Any:
            process.wait()
            return json.loads(target.read_text())

        try:
            yield figures
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)  # so that it ends what it has started
                process.wait()


PARTS: dict[str, Callable[[Extent], Any]] = {
    "cycle": lambda extent: _each(KINDS, lambda _, where, __: cycle.figures(where, extent.rounds)),
    "races": lambda extent: _each(
        SERVERS,
        lambda _, where, __: {"fifty": races.fifty(where), "rates": races.rates(where, extent.seconds)},
    ),
    "tools": _tools,
    "crowd": lambda extent: _each(SERVERS, lambda _, where, __: crowd.figures(where, extent.threads, extent.cycles)),
    "whole": lambda _: _each(SERVERS, lambda _, where, raw: whole.figures(where, raw)),
    "leader": _leader,
    "cold": _cold,
    "waiters": _waiters,
    "status": _status,
    "makespan": _makespan,
}


if __name__ == "__main__":
    sys.exit(main())
