"""One search: spin writes the checker, gcc compiles it, it runs in a folder of its own."""

import re
import shlex
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.model.configurations import Search
from tests.servers.fetch import ServerMissing, spin

MODELS = Path(__file__).resolve().parent
MEMORY_MB = 6000


@dataclass(frozen=True, slots=True)
class Found:
    """What came out. `wrong` is what spin found, empty when it has searched everything and found nothing."""

    search: Search
    wrong: str
    states: int
    depth: int
    seconds: float
    complete: bool

    @property
    def expected(self) -> bool:
        """Whether it is what should come out."""
        return self.search.finds in self.wrong if self.search.finds else self.complete and not self.wrong


def run(search: Search, seconds: int, optimise: str = "-O0") -> Found:
    """Search for at most so long. Raises ServerMissing without spin or gcc."""
    program = spin()
    if shutil.which("gcc") is None:
        raise ServerMissing("gcc is missing, which compiles what spin writes: install it (Debian: apt install gcc)")
    with tempfile.TemporaryDirectory(prefix="model-") as scratch:
        flags = shlex.split(search.flags)
        shutil.copy(MODELS / f"{search.model}.pml", scratch)
        _do([str(program), "-a", *flags, f"{search.model}.pml"], scratch)
        kind = ["-DNFAIR=4"] if search.fair else ["-DSAFETY"]
        _do(
            ["gcc", optimise, "-w", *kind, "-DCOLLAPSE", "-DVECTORSZ=2048", f"-DMEMLIM={MEMORY_MB}", "-opan", "pan.c"],
            scratch,
        )
        began = time.monotonic()
        options = ["-m1000000", "-w22", *(["-a", "-f"] if search.fair else [])]
        done = subprocess.run(
            ["timeout", "-k", "5", "-s", "INT", str(seconds), "nice", "-n", "10", "./pan", *options],
            cwd=scratch, capture_output=True, text=True, check=False, timeout=seconds + 60,
        )  # fmt: skip
    return _read(search, done.stdout, time.monotonic() - began)


def _do(command: list[str], folder: str) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode != 0 or not Path(folder, "pan.c").is_file():
        raise RuntimeError(f"{command[0]} failed: {done.stdout[-2000:]}{done.stderr[-2000:]}")


def _read(search: Search, said: str, seconds: float) -> Found:
    problem = re.search(r"pan:\d+: (.*?) \(at depth", said)
    errors = re.search(r"errors: (\d+)", said)
    states = re.search(r"([0-9.e+]+) states, stored", said)
    depth = re.search(r"depth reached (\d+)", said)
    complete = errors is not None and not re.search(
        r"Search not completed|max search depth too small|out of memory", said
    )
    wrong = problem.group(1) if problem else ("" if errors and errors.group(1) == "0" else said[-300:])
    return Found(
        search,
        wrong,
        int(float(states.group(1))) if states else 0,
        int(depth.group(1)) if depth else 0,
        seconds,
        complete,
    )
