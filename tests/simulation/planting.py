"""Planted faults: each patch below faults/ breaks one rule of the real code, and the simulation must say which.

A patch begins with a header of lines `Name: value`: `Fault` (what is wrong), `Rule` (where the rule stands that it breaks),
`Caught` (the name in `judge.RULES` by which it must be caught) and `Seeds` (the range in which it must be). It is applied to a
copy of the product in a folder of its own, and the fleets run there in a process of their own.
"""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

FAULTS = Path(__file__).parent / "faults"
ROOT = Path(__file__).parents[2]
LIMIT = 600
"""Seconds after which a run is given up."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One patch and what its header promises."""

    path: Path
    fault: str
    rule: str
    caught: str
    seeds: str

    @property
    def name(self) -> str:
        """Of the file, without its ending."""
        return self.path.stem


def faults() -> list[Fault]:
    """All of them, by name."""
    return [_read(path) for path in sorted(FAULTS.glob("*.patch"))]


def _read(path: Path) -> Fault:
    head = path.read_text().split("\n---", 1)[0]
    fields = dict(line.split(": ", 1) for line in head.splitlines() if ": " in line)
    return Fault(path, fields["Fault"], fields["Rule"], fields["Caught"], fields["Seeds"])


def plant(fault: Fault, folder: Path) -> None:
    """A copy of the product with the fault in it. Raises CalledProcessError when the patch does not apply."""
    shutil.copytree(ROOT / "locksmith", folder / "locksmith", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "tests").symlink_to(ROOT / "tests")
    command = ["git", "apply", "--verbose", "-p1", str(fault.path)]
    # Outside of any repository git takes the folder it is in for the root.
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(folder.parent), "GIT_DIR": str(folder / "none")}
    subprocess.run(command, cwd=folder, check=True, capture_output=True, env=environment)


def catch(fault: Fault, folder: Path, seeds: str | None = None) -> tuple[int, str, str] | None:
    """The first seed that breaks a rule, the rule, and what it said; None when none does."""
    plant(fault, folder)
    command = [
        sys.executable,
        "-m",
        "tests.simulation.run",
        "--json",
        "--until-broken",
        "--seeds",
        seeds or fault.seeds,
    ]
    ran = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=LIMIT, check=False,
        env={**os.environ, "PYTHONPATH": str(folder)},
    )  # fmt: skip
    if ran.returncode not in (0, 1):
        raise RuntimeError(f"{fault.name}: {ran.stderr[-2000:]}")
    found = json.loads(ran.stdout)
    if found["product"] != str(folder / "locksmith"):
        raise RuntimeError(f"{fault.name}: not the planted copy was run but {found['product']}")
    return tuple(found["broken"][0]) if found["broken"] else None
