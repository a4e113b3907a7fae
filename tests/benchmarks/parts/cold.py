"""A cold `lockctl status`: a process from nothing to its answer, next to Python that does nothing, and to importing click.

A small process of its own starts each of them and asks the kernel for its time and memory, because the kernel counts the memory
of whoever forks in the child's peak.
"""

import json
import statistics
import subprocess
import sys
from dataclasses import asdict, dataclass

from tests.integration.places import LOCKCTL, Place

_RUNNER = """
import json, os, resource, sys, time
rounds, command = int(sys.argv[1]), sys.argv[2:]
walls, cpus, peak = [], [], 0
for _ in range(rounds):
    before = time.perf_counter()
    child = os.posix_spawn(command[0], command, os.environ, file_actions=[(os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0)])
    _, status, usage = os.wait4(child, 0)
    walls.append(time.perf_counter() - before)
    cpus.append(usage.ru_utime + usage.ru_stime)
    peak = max(peak, usage.ru_maxrss)
    if status:
        sys.exit(f"{command}: {status}")
print(json.dumps([walls, cpus, peak]))
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """Medians in seconds, and the peak in MiB."""

    wall: float
    processor: float
    memory: float


def cost(command: list[str], environment: dict[str, str], rounds: int) -> Cost:
    """Run it so many times, once more to warm the disk's cache."""
    runner = [sys.executable, "-I", "-S", "-c", _RUNNER]
    subprocess.run([*runner, "1", *command], env=environment, check=True, stdout=subprocess.DEVNULL)
    done = subprocess.run(
        [*runner, str(rounds), *command], env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    walls, processors, peak = json.loads(done.stdout)
    return Cost(statistics.median(walls), statistics.median(processors), peak / 1024)


def figures(where: Place, rounds: int, beside: dict[str, list[str]] | None = None) -> dict[str, dict[str, float]]:
    """Of one store: `lockctl status`, Python that does nothing, importing click, and other programs that are given."""
    commands = {
        "nothing": [sys.executable, "-c", "pass"],
        "click": [sys.executable, "-c", "import click"],
        "status": [str(LOCKCTL), "status"],
        **(beside or {}),
    }
    return {name: asdict(cost(command, where.environment, rounds)) for name, command in commands.items()}
