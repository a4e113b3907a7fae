"""`make simulate`: the fleets, every planted fault, and docs/evidence/simulation.md written anew from what came out.

Exit codes: 0 every rule kept and every fault caught, 1 otherwise; the report is written in either case.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from tests.simulation.judge import RULES
from tests.simulation.planting import ROOT, Fault, catch, faults
from tests.simulation.run import Outcome, fleets

REPORT = ROOT / "docs" / "evidence" / "simulation.md"
Caught = tuple[Fault, tuple[int, str, str] | None]


def _plant(fault: Fault) -> Caught:
    with tempfile.TemporaryDirectory() as folder:
        return fault, catch(fault, Path(folder).resolve())


def _commit() -> str:
    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

    changed = ", with changes that are not committed" if git("status", "--porcelain", "--", "locksmith") else ""
    return git("rev-parse", "--short", "HEAD") + changed


def _head(options: argparse.Namespace, took: float) -> list[str]:
    return [
        "# Simulated fleets",
        "",
        (
            f"Written by `make simulate FLEETS={options.fleets}` (`{Path(sys.executable).name} -m tests.simulation.report`); "
            "one seed again: `python -m tests.simulation.run --replay SEED`."
        ),
        "",
        f"* commit: {_commit()}",
        f"* date: {datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        (
            f"* machine: {os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}; "
            f"{options.jobs} processes, {took:.0f} s for the fleets"
        ),
        "",
        (
            "Each fleet is drawn from its seed: 2 to 8 machines in one or two groups, with limits of the group, the zone and the "
            "fleet that overlap; the real `step`, hands, semaphore and admission code over the memory store, a virtual clock. "
            "Every rule below is looked at when a commit is sent and when it stands."
        ),
        "",
    ]


def _table(head: tuple[str, str], rows: list[tuple[str, str]]) -> list[str]:
    return [f"| {head[0]} | {head[1]} |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows), ""]


def write(
    options: argparse.Namespace, totals: Counter[str], failed: list[Outcome], caught: list[Caught], took: float
) -> None:
    """Write the report."""
    counts = [(name, f"{count:,}") for name, count in sorted(totals.items())]
    figures = [(name, count) for name, count in counts if not name.startswith("trouble ")]
    troubles = [(name.removeprefix("trouble "), count) for name, count in counts if name.startswith("trouble ")]
    lines = _head(options, took)
    lines += ["## The code as it is", "", f"{totals['fleets']:,} fleets, {len(failed)} with a broken rule.", ""]
    lines += [f"* seed {one.seed}: {one.text}" for one in failed] + ([""] if failed else [])
    lines += _table(("figure", "count"), figures)
    lines += ["## Planted faults", "", f"{sum(_named(one) for one in caught)} of {len(caught)} caught by name.", ""]
    lines += ["| fault | rule broken | caught by | first seed |", "|---|---|---|---|"]
    for fault, found in caught:
        seed, rule = (found[0], found[1]) if found else ("-", f"nothing in {fault.seeds}")
        lines.append(
            f"| {fault.fault} ([patch](../../tests/simulation/faults/{fault.path.name})) | {fault.rule} | {rule} | {seed} |"
        )
    lines += ["", "## Rules", "", *_table(("rule", "what must hold"), list(RULES.items()))]
    lines += ["## Troubles", "", *_table(("kind", "drawn"), troubles)]
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text("\n".join(lines).rstrip() + "\n")


def _named(one: Caught) -> bool:
    fault, found = one
    return found is not None and found[1] == fault.caught


def main(argv: list[str] | None = None) -> int:
    """The command; see the module."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulation.report", description="The evidence of the simulation."
    )
    parser.add_argument("--fleets", type=int, default=10_000)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args(argv)
    totals: Counter[str] = Counter()
    failed: list[Outcome] = []
    begin = time.monotonic()
    for outcome in fleets(range(options.fleets), options.jobs):
        totals.update(outcome.counts)
        if outcome.rule is not None:
            failed.append(outcome)
            print(f"BROKEN seed {outcome.seed} {outcome.text}", flush=True)
        if totals["fleets"] % 500 == 0:
            print(f"{totals['fleets']} fleets, {time.monotonic() - begin:.0f} s", flush=True)
    took = time.monotonic() - begin
    with ThreadPoolExecutor(options.jobs) as workers:
        caught = list(workers.map(_plant, faults()))
    for one in caught:
        print(f"{'caught' if _named(one) else 'MISSED'} {one[0].name}: {one[1]}", flush=True)
    write(options, totals, failed, caught, took)
    print(f"{totals['fleets']} fleets, {len(failed)} broken; report: {REPORT}")
    return 1 if failed or not all(_named(one) for one in caught) else 0


if __name__ == "__main__":
    sys.exit(main())
