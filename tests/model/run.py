"""`make model`: every search and every control, and the report docs/evidence/model.md, written also when something is wrong."""

import argparse
import os
import platform
import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from tests.model.configurations import CONTROLS, LARGE, SMALL
from tests.model.searching import Found, run
from tests.servers.fetch import ServerMissing, spin

REPORT = Path(__file__).resolve().parents[2] / "docs" / "evidence" / "model.md"
DAGGERS = (
    "an unknown commit is resolved by finding its own nonce, never the wanted state",
    "what a commit adds or takes away is computed from the snapshot that it checks",
    "START deletes its ticket, until confirmed, before anything else",
    "a hold by hand is never verified, released or armed",
    "a claim checks its ticket's revision",
    "a reboot is armed by a commit before it",
    "each arm has a new attempt id, and only that one confirms it",
    "each call of the rebooter has its own arm",
    "fsck reads the guard first",
)

SAYS = """## What the model says about the product

- `AS_BUILT` is one of the controls and is how core/starting.py stood before this model found it: after a restore that put an
  armed holder back to an earlier phase, an agent that is started again in the same boot, while the reboot command is still
  under way, goes by the store's phase and may give the slot back before the machine goes down. It takes a restore, a restart
  of the agent and a slow shutdown at once. The journal's armed stage counts, too, now.
- `GAP`: between the start of a restored store and `lockctl restored` no agent may reach it; no agent can know by itself.
- Not modelled: the epoch compared at ARM (no control of its own); unclear commits in restore.pml; min_claim; SQLite's sweep.
- In queue.pml reading and claiming are one step, and who is awake is taken to claim within the 30 s after which it is skipped.
""".splitlines()


def main() -> int:
    """0 when everything came out as it should; 1 if not; 2 without spin or gcc."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=600, help="for each search at most")
    parser.add_argument("--report", type=Path, default=REPORT)
    given = parser.parse_args()
    found: list[Found] = []
    try:
        for search in (*SMALL, *LARGE, *CONTROLS):
            found.append(run(search, given.seconds, "-O1" if search in LARGE else "-O0"))
            print(f"{'ok   ' if found[-1].expected else 'WRONG'} {_line(found[-1])}", flush=True)
    except ServerMissing as error:
        print(error, file=sys.stderr)
        return 2
    given.report.parent.mkdir(parents=True, exist_ok=True)
    given.report.write_text(_report(found))
    wrong = [one for one in found if not one.expected]
    print(f"{len(found) - len(wrong)} of {len(found)} came out as they should; {given.report}")
    return 1 if wrong else 0


def _line(one: Found) -> str:
    return f"{one.search.name}: {one.states} states, {one.seconds:.1f} s {one.wrong}"


def _report(found: list[Found]) -> str:
    whole = [one for one in found if not one.search.finds]
    controls = [one for one in found if one.search.finds]
    wrong = [one for one in found if not one.expected]
    head = _said(["git", "rev-parse", "--short=10", "HEAD"])
    changed = " with changes" if _said(["git", "status", "--porcelain", "locksmith", "tests/model"]) else ""
    lines = [
        "# The model",
        "",
        "Repeat it: `make model`. The small searches and all controls run in `make test`, too (tests/model/test_model.py).",
        "",
        (
            f"- Commit {head}{changed}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {os.cpu_count()} processors, "
            f"Python {platform.python_version()}, {_said([str(spin()), '-V'])}, {_said(['gcc', '--version']).splitlines()[0]}"
        ),
        (
            f"- **{len(found) - len(wrong)} of {len(found)} searches came out as they should"
            f"{'' if not wrong else ': WRONG are ' + '; '.join(one.search.name for one in wrong)}.** "
            f"{sum(one.states for one in whole):,} states of the protocol as it is, each search to its end"
        ),
        "",
        "What is modelled, and what is not, stands at the head of each model: `tests/model/slots.pml` (the slot's life, every",
        "commit lost, dropped or late, operators, a hold by hand), `restore.pml` (a store that comes back from a backup),",
        "`queue.pml` (who waits is served: liveness under weak fairness).",
        "",
        "## The protocol, searched to the end: nothing wrong",
        "",
        "| model | what | flags | states | depth | seconds | |",
        "|---|---|---|---:|---:|---:|---|",
        *(
            f"| {one.search.model} | {one.search.says} | `{one.search.flags}` | {one.states:,} | {one.depth:,} | "
            f"{one.seconds:.1f} | {'ok' if one.expected else '**' + (one.wrong or 'not to the end') + '**'} |"
            for one in whole
        ),
        "",
        "## The rules with a dagger, and what removes them",
        "",
        *(
            f"{number}. † {rule}: {', '.join(f'`{_name(one)}`' for one in controls if number in one.search.daggers)}"
            for number, rule in enumerate(DAGGERS, start=1)
        ),
        "",
        "## Controls: each rule removed must be missed",
        "",
        "| control | model | the rule that it removes | † | found | states |",
        "|---|---|---|---|---|---:|",
        *_rows(controls),
        "",
        *SAYS,
    ]
    return "\n".join(lines)


def _rows(controls: Iterable[Found]) -> Iterable[str]:
    for one in controls:
        daggers = ", ".join(map(str, one.search.daggers))
        what = one.wrong.replace("|", "\\|") if one.expected else f"**not found**: {one.wrong}"
        yield f"| `{_name(one)}` | {one.search.model} | {one.search.rule} | {daggers} | {what[:90]} | {one.states:,} |"


def _name(one: Found) -> str:
    """The name of a control: what it adds to the other flags."""
    plain = ("-DONENODE", "-DNOCLI", "-DGROUPS", "-DGUARDLOSS", "-DLEAVER", "-DPAUSE", "-DPOLL", "-DSLEEPER")
    return next(flag[2:] for flag in reversed(one.search.flags.split()) if flag not in plain and "=" not in flag)


def _said(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
