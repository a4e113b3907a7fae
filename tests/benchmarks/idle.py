"""A real `locksmithd` with nothing to do: what it asks of its store, how often it wakes, what memory it takes.

    python -m tests.benchmarks.idle [--minutes 10] [--store etcd] [--store consul] [--json FILE]

The requests are counted by a proxy in front of the server, the wake-ups by the kernel (voluntary context switches of each
thread). It exits 1 when a promise is broken: at most 3 requests and 1 write in ten minutes, and the loop's thread wakes at
most twice a minute besides what the feeders bring (one event for each `poll_interval`, which is a minute).
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    parser.add_argument("--json", type=Path, help="write the figures there as well")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        agents = [stack.enter_context(_agent(kind)) for kind in options.store or ["etcd", "consul"]]
        time.sleep(SETTLE_SECONDS)
        befores = [Seen.of(agent) for agent in agents]
        time.sleep(options.minutes * 60)
        found = [figures(agent, before, options.minutes) for agent, before in zip(agents, befores, strict=True)]
    for each in found:
        _print(each)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0 if all(each["kept"] for each in found) else 1


@dataclass(frozen=True, slots=True)
class Agent:
    """A running agent and its way to the store."""

    kind: str
    pid: int
    proxy: Counting


@dataclass(frozen=True, slots=True)
class Seen:
    """What has been counted of an agent at one moment; processor time in seconds."""

    requests: int
    writes: int
    bytes: int
    processor: float
    threads: list[Thread]

    @classmethod
    def of(cls, agent: Agent) -> "Seen":
        """Now."""
        times = Path(f"/proc/{agent.pid}/stat").read_text().rpartition(")")[2].split()
        processor = (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK")
        return cls(agent.proxy.requests, agent.proxy.writes, agent.proxy.bytes, processor, _threads(agent.pid))


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


def figures(agent: Agent, before: Seen, minutes: float) -> dict[str, Any]:
    """What happened since `before`, and whether it is as promised."""
    after = Seen.of(agent)
    requests, writes = after.requests - before.requests, after.writes - before.writes
    earlier = {thread.tid: thread.switches for thread in before.threads}
    rates = [(thread, (thread.switches - earlier.get(thread.tid, 0)) / minutes) for thread in after.threads]
    loop = next(rate for thread, rate in rates if thread.tid == agent.pid)
    memory = _fields(Path(f"/proc/{agent.pid}/status"))
    shared = _fields(Path(f"/proc/{agent.pid}/smaps_rollup"))
    scale = max(1.0, minutes / 10)
    return {
        "store": agent.kind,
        "minutes": minutes,
        "kept": requests <= 3 * scale and writes <= scale and loop <= 2 + FED_PER_MINUTE,
        "requests": requests,
        "requests_promised": 3 * scale,
        "writes": writes,
        "writes_promised": scale,
        "bytes": after.bytes - before.bytes,
        "processor": after.processor - before.processor,
        "loop_per_minute": loop,
        "others": [[thread.name, rate] for thread, rate in rates if thread.tid != agent.pid],
        "resident_mib": _mib(memory["VmRSS"]),
        "peak_mib": _mib(memory["VmHWM"]),
        "proportional_mib": _mib(shared["Pss"]),
    }


def _mib(told: str) -> float:
    return int(told.removesuffix("kB")) / 1024


def _print(found: dict[str, Any]) -> None:
    kept = "well" if found["kept"] else "NOT AS PROMISED"
    print(f"== an idle agent on {found['store']}, {found['minutes']:g} minutes: {kept}")
    print(
        f"requests {found['requests']} (at most {found['requests_promised']:g}), of which writes {found['writes']}"
        f" (at most {found['writes_promised']:g}); {found['bytes']} bytes; {found['processor']:.2f} s of processor"
    )
    print(
        f"the loop's thread woke {found['loop_per_minute']:.2f} times a minute,"
        f" about {FED_PER_MINUTE:g} of them for the feeder"
    )
    for name, rate in found["others"]:
        print(f"  another thread ({name}): {rate:.2f} a minute")
    print(
        f"memory in MiB: {found['resident_mib']:.0f} resident, {found['peak_mib']:.0f} at most,"
        f" {found['proportional_mib']:.0f} in proportion"
    )


if __name__ == "__main__":
    sys.exit(main())
