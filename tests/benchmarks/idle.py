"""A real `locksmithd` with nothing to do: what it asks of its store, how often it wakes, what memory it takes.

    python -m tests.benchmarks.idle [--minutes 10] [--store etcd] [--store consul]

The requests are counted by a proxy in front of the server, the wake-ups by the kernel (voluntary context switches of each
thread). It exits 1 when a promise is broken: at most 3 requests and 1 write in ten minutes, and the loop's thread wakes at
most twice a minute besides what the feeders bring (one event for each `poll_interval`, which is a minute).
"""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.parts.counting import Counting
from tests.integration.places import LOCKSMITHD
from tests.servers.consul import ConsulCluster
from tests.servers.etcd import EtcdCluster
from tests.servers.process import free_port, wait_until, without_prefix

SETTLE_SECONDS = 45
"""After the agent is steady: its registry record is written, imports and first answers are over."""
FED_PER_MINUTE = 1.12
"""What the provider's feeder brings: one event every 54 to 66 seconds."""


@dataclass(frozen=True, slots=True)
class Thread:
    """One thread of the agent."""

    tid: int
    name: str
    switches: int


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--store", action="append", choices=["etcd", "consul"])
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        agents = [stack.enter_context(_agent(kind)) for kind in options.store or ["etcd", "consul"]]
        time.sleep(SETTLE_SECONDS)
        befores = [(agent.proxy.requests, agent.proxy.writes, _threads(agent.pid)) for agent in agents]
        time.sleep(options.minutes * 60)
        verdicts = [_report(agent, *before, options.minutes) for agent, before in zip(agents, befores, strict=True)]
    return 0 if all(verdicts) else 1


@dataclass(frozen=True, slots=True)
class Agent:
    """A running agent and its way to the store."""

    kind: str
    pid: int
    proxy: Counting


@contextlib.contextmanager
def _agent(kind: str) -> Iterator[Agent]:
    cluster = EtcdCluster("3.5") if kind == "etcd" else ConsulCluster()
    with cluster, Counting(cluster.endpoints[0]) as proxy, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "boot_id").write_text(f"{uuid.uuid4()}\n")
        node = {word: str(folder / word) for word in ("boot_id_file", "state_dir", "run_dir")}
        node["boot_id_file"] = str(folder / "boot_id")
        tables: dict[str, dict[str, object]] = {
            "store": {"url": f"{kind}://{proxy.endpoint}/locksmith"},
            "node": {"id": "idle", **node},
            "agent": {"require_time_sync": False, "metrics_listen": f"127.0.0.1:{free_port()}"},
            "updates.file": {"kind": "reboot-required", "path": str(folder / "reboot-required")},
        }
        lines = [
            line
            for table, values in tables.items()
            for line in (f"[{table}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items()))
        ]
        (folder / "locksmith.toml").write_text("\n".join(lines) + "\n")
        process = subprocess.Popen(
            [LOCKSMITHD, "--config", folder / "locksmith.toml"],
            env=without_prefix("LOCKSMITH"),
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_until(lambda: _state(folder) == "steady", "the agent is not steady", timeout=60)
            yield Agent(kind, process.pid, proxy)
        finally:
            process.kill()
            process.wait()


def _state(folder: Path) -> str | None:
    try:
        return str(json.loads((folder / "run_dir" / "status.json").read_text())["state"])
    except (OSError, ValueError):
        return None


def _threads(pid: int) -> list[Thread]:
    found = []
    for folder in sorted(Path(f"/proc/{pid}/task").iterdir(), key=lambda path: int(path.name)):
        fields = _fields(folder / "status")
        found.append(Thread(int(folder.name), fields["Name"], int(fields["voluntary_ctxt_switches"])))
    return found


def _fields(path: Path) -> dict[str, str]:
    pairs = (line.split(":", 1) for line in path.read_text().splitlines() if ":" in line)
    return {name: value.strip() for name, value in pairs}


def _report(agent: Agent, requests: int, writes: int, before: list[Thread], minutes: float) -> bool:
    requests, writes = agent.proxy.requests - requests, agent.proxy.writes - writes
    earlier = {thread.tid: thread.switches for thread in before}
    rates = [(thread, (thread.switches - earlier.get(thread.tid, 0)) / minutes) for thread in _threads(agent.pid)]
    loop = next(rate for thread, rate in rates if thread.tid == agent.pid)
    memory = _fields(Path(f"/proc/{agent.pid}/status"))
    shared = _fields(Path(f"/proc/{agent.pid}/smaps_rollup"))
    scale = max(1.0, minutes / 10)
    kept = requests <= 3 * scale and writes <= scale and loop <= 2 + FED_PER_MINUTE
    print(f"== an idle agent on {agent.kind}, {minutes:g} minutes: {'well' if kept else 'NOT AS PROMISED'}")
    print(f"requests {requests} (at most {3 * scale:g}), of which writes {writes} (at most {scale:g})")
    print(f"the loop's thread woke {loop:.2f} times a minute, about {FED_PER_MINUTE:g} of them for the feeder")
    for thread, rate in rates:
        if thread.tid != agent.pid:
            print(f"  another thread ({thread.name}): {rate:.2f} a minute")
    print(f"memory: {memory['VmRSS']} resident, {memory['VmHWM']} at most, {shared['Pss']} in proportion")
    return kept


if __name__ == "__main__":
    sys.exit(main())
