"""docs/performance.md and its drawings, from the figures of a run: `bench.py` says when.

The prose says how a figure was made and what it is compared with; whatever depends on the figures is computed here, so that a
sentence cannot outlive the measurement that it was written for.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from tests.benchmarks.parts import chapters_fleet, chapters_queue
from tests.benchmarks.parts.markdown import Told

COMMAND = "make bench"


def write(told: Told, out: Path) -> None:
    """The report with the drawings of all parts that were measured."""
    folder = out / "performance"
    parts: list[str] = [_head(told)]
    for name, chapter in CHAPTERS:
        if told.get(name):
            parts.append(chapter(told, folder))
    (out / "performance.md").write_text("\n".join(line.rstrip() for part in parts for line in part.split("\n")))


def broken(told: Told) -> list[str]:
    """The promises that this run has not kept."""
    found = [f"an idle agent on {each['store']}" for each in told.get("idle") or () if not each["kept"]]
    found += [name for name in ("status", "makespan") if (told.get(name) or {}).get("code")]
    return found


def _head(told: Told) -> str:
    about = told["about"]
    runs = told["runs"]
    seconds = max(run["seconds"] for run in runs.values())
    seconds = max(seconds, sum(run["seconds"] for name, run in runs.items() if name != "idle"))
    commits = ", ".join(dict.fromkeys(run["commit"] for run in runs.values()))
    quick = "\n**A quick run: too few rounds to be published.**\n" if told.get("quick") else ""
    return f"""# What locksmith costs
{quick}
This report is written by one command, which measures everything in it anew; the drawings are made from the same figures,
which are kept in [performance/figures.json](performance/figures.json).

```
{COMMAND}                                      # 15 minutes on two quiet cores
python -m tests.benchmarks.bench --quick        # 3 minutes, to see that it runs; writes below .cache/bench
python -m tests.benchmarks.bench --part races   # one part anew
```

Commit {commits}, {about["date"]}, {seconds} seconds; {about["cores"]} processors (load {about["load"]} when it began),
Python {about["python"]}, etcd {about["etcd"]} and Consul {about["consul"]} on the same machine, one server each but for the
leader's loss. Durations are those of this machine and stand in brackets, or beside the same duration of something else in the
same run: take the ratios.

The **classic lock** is what others do: one JSON document, read, changed, and written if nobody else was faster. It is
written by us after the sources of Flatcar's locksmith and of airlock with zincati, with their documented delays
(tests/benchmarks/parts/classic.py), over the same client and the same server. Nobody's programs but `etcdctl lock` and
`consul lock` were run.
"""


CHAPTERS: Sequence[tuple[str, Callable[[Told, Path], str]]] = (
    ("cycle", chapters_queue.cycle),
    ("waiters", chapters_queue.waiters),
    ("crowd", chapters_queue.crowd),
    ("tools", chapters_queue.tools),
    ("races", chapters_fleet.races),
    ("leader", chapters_fleet.leader),
    ("makespan", chapters_fleet.makespan),
    ("idle", chapters_fleet.idle),
    ("cold", chapters_fleet.cold),
    ("status", chapters_fleet.status),
)
