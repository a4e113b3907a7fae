"""Run fleets by their seeds: `python -m tests.simulation.run --seeds 0-99 [--jobs 2]`, `--replay SEED`, `--shrink SEED`.

Exit codes: 0 every fleet came to the end with all rules kept, 1 a rule was broken, 2 usage.
"""

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Collection, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import locksmith
from tests.simulation.judge import Broken
from tests.simulation.plan import Plan, draw
from tests.simulation.scene import Scene
from tests.simulation.shrink import shrink

PIECE = 50
"""Fleets of one task of a worker."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one fleet. `rule` is the broken one."""

    seed: int
    rule: str | None
    text: str
    counts: dict[str, int]


def fleet(seed: int) -> Outcome:
    """Run one."""
    plan = draw(seed)
    scene = Scene(plan)
    rule, text = None, ""
    try:
        scene.run()
    except Broken as error:
        rule, text = error.rule, str(error)
    counts = Counter(scene.judge.counts)
    counts["fleets"], counts["steps"], counts["nodes"] = 1, scene.steps, len(plan.groups)
    counts["seconds simulated"] = round(scene.clock.now - scene.begin)
    counts.update(f"trouble {trouble.kind}" for trouble in plan.troubles)
    return Outcome(seed, rule, text, dict(counts))


def piece(seeds: range) -> list[Outcome]:
    """Run some, one after the other."""
    return [fleet(seed) for seed in seeds]


def fleets(seeds: range, jobs: int) -> Iterator[Outcome]:
    """Run all, in the order of their seeds."""
    if jobs == 1:
        yield from map(fleet, seeds)
        return
    pieces = [range(start, min(start + PIECE, seeds.stop)) for start in range(seeds.start, seeds.stop, PIECE)]
    with ProcessPoolExecutor(jobs) as workers:
        for outcomes in workers.map(piece, pieces):
            yield from outcomes


def broken(plan: Plan, left_out: Collection[int]) -> str | None:
    """The rule that this fleet breaks without some of its troubles."""
    try:
        Scene(plan, left_out).run()
    except Broken as error:
        return error.rule
    return None


def replay(plan: Plan, left_out: Collection[int] = ()) -> int:
    """Print each step of one fleet."""
    print(plan)
    try:
        Scene(plan, left_out, print).run()
    except Broken as error:
        print(f"BROKEN seed {plan.seed} {error}")
        return 1
    print(f"seed {plan.seed}: every rule kept, everybody came to the end")
    return 0


def shrunk(plan: Plan) -> int:
    """Print the replay with as few troubles as still break the same rule."""
    rule = broken(plan, ())
    if rule is None:
        print(f"seed {plan.seed} breaks nothing")
        return 0
    kept = shrink(
        range(len(plan.troubles)), lambda kept: broken(plan, set(range(len(plan.troubles))) - set(kept)) == rule
    )
    replay(plan, set(range(len(plan.troubles))) - set(kept))
    print(f"{len(kept)} of {len(plan.troubles)} troubles are enough to break {rule}:")
    for place in kept:
        print(f"  {plan.troubles[place]}")
    return 1


def _seeds(text: str) -> range:
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def main(argv: list[str] | None = None) -> int:
    """The command; see the module."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.run", description="Simulated fleets.")
    parser.add_argument("--seeds", type=_seeds, default=range(100), metavar="A-B")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--until-broken", action="store_true", help="stop at the first broken rule")
    parser.add_argument("--json", action="store_true", help="print one object with all figures")
    parser.add_argument("--replay", type=int, metavar="SEED")
    parser.add_argument("--shrink", type=int, metavar="SEED")
    options = parser.parse_args(argv)
    if options.replay is not None:
        return replay(draw(options.replay))
    if options.shrink is not None:
        return shrunk(draw(options.shrink))
    totals: Counter[str] = Counter()
    failed: list[Outcome] = []
    begin = time.monotonic()
    for outcome in fleets(options.seeds, options.jobs):
        totals.update(outcome.counts)
        if outcome.rule is not None:
            failed.append(outcome)
            print(f"BROKEN seed {outcome.seed} {outcome.text}", file=sys.stderr if options.json else sys.stdout)
            if options.until_broken:
                break
    seconds = time.monotonic() - begin
    if options.json:
        listed = [[one.seed, one.rule, one.text] for one in failed]
        product = str(Path(locksmith.__file__).parent)
        print(json.dumps({"seconds": seconds, "product": product, "totals": totals, "broken": listed}))
    else:
        print(f"{totals['fleets']} fleets in {seconds:.1f} s, {len(failed)} broken; {totals['reboots']} reboots")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
