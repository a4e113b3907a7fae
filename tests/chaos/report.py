"""docs/evidence/chaos.md: one section a store, each with the command that repeats it; a run rewrites its own section."""

import datetime as dt
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.judge import Judgement
from tests.chaos.plan import Timeline

ROOT = Path(__file__).parents[2]
REPORT = ROOT / "docs" / "evidence" / "chaos.md"
_HEAD = """# Chaos on real clusters

Three servers of a store, each in a network namespace of its own, with TLS and users or tokens; real `locksmithd`
processes, each in a namespace of its own, that want to reboot again and again; faults of every kind, overlapping. Judged by
the store's own history and by what the machines wrote of themselves, not by the product (`tests/chaos/judge.py`).
Written by `make chaos`; each section by its own run.
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a run on one store. `failures` empty: it is good."""

    store: str
    version: str
    commit: str
    seed: str
    minutes: float
    seconds: float
    hosts: int
    slots: int
    reboots: int
    most_down: int
    kinds: Sequence[str]
    goal: int
    timeline: Timeline
    judgement: Judgement
    failures: Sequence[str]


def write(outcome: Outcome, path: Path = REPORT) -> None:
    """Put the section in its place."""
    sections = _sections(path.read_text()) if path.exists() else {}
    sections[outcome.store] = section(outcome)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([_HEAD, *(sections[store] for store in sorted(sections, reverse=True))]))


def _sections(text: str) -> dict[str, str]:
    parts = text.split("\n## ")[1:]
    return {part.split("\n", 1)[0].strip(): f"## {part.rstrip()}\n" for part in parts}


def section(outcome: Outcome) -> str:
    """One store's."""
    seen, counts = outcome.judgement, outcome.timeline.counts()
    verdict = "no violation, nobody stuck" if not outcome.failures else f"**FAILED**: {len(outcome.failures)} findings"
    lines = [
        f"## {outcome.store}",
        "",
        f"`make chaos MINUTES={outcome.minutes:g} STORE={outcome.store} SEED={outcome.seed}`",
        "",
        "(a seed draws the same faults; what they meet, and so their order, depends on the machine)",
        "",
        f"{dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M} UTC, commit {outcome.commit}, {_machine()}, {outcome.version}",
        "",
        f"**Result: {verdict}.**",
        "",
        *(f"- {line}" for failure in outcome.failures for line in failure.splitlines()[:40]),
        "",
        *_table(
            {
                "seconds of faults": f"{outcome.seconds:.0f}",
                "agents": str(outcome.hosts),
                "slots of the group": f"2 to {outcome.slots}",
                "reboots finished": str(outcome.reboots),
                "most machines down at once": str(outcome.most_down),
                "steps of the history judged": str(seen.moments),
                "most holders in any of them": str(max(seen.most.values(), default=0)),
                "slots granted to agents": str(seen.grants),
                "slots held by hand": str(seen.by_hand),
                "slots taken by force or unlocked": str(seen.forced),
                "slots put back after a restore": str(seen.put_back),
                "arms": str(sum(map(len, seen.armed.values()))),
            }
        ),
        "",
        f"Faults (at least {outcome.goal} of each are demanded of a run of 10 minutes):",
        "",
        *_table({kind: str(counts[kind]) for kind in outcome.kinds}),
        "",
        "<details><summary>Timeline</summary>",
        "",
        "```",
        *(event.line() for event in sorted(outcome.timeline.events, key=lambda event: event.began)),
        "```",
        "",
        "</details>",
        "",
    ]
    return "\n".join(lines)


def _table(rows: Mapping[str, str]) -> list[str]:
    return ["| | |", "|---|---:|", *(f"| {name} | {value} |" for name, value in rows.items())]


def _machine() -> str:
    return f"{os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}"


def commit_of(name: str | None) -> str:
    """What a run is about: that commit, or the tree as it stands."""
    commit = _git("rev-parse", "--short", name or "HEAD") or "unknown"
    changed = not name and _git("status", "--porcelain", "locksmith")
    return f"{commit} with changes" if changed else commit


def _git(*words: str) -> str:
    done = subprocess.run(["git", "-C", ROOT, *words], capture_output=True, text=True, timeout=30, check=False)
    return done.stdout.strip()
