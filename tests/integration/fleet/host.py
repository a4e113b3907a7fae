"""One host: a folder with all that `locksmithd` needs, the process itself, and what a test may do to both.

The idea a reader would miss: everything that the host's agent starts carries the host's folder in its environment, so that
a reboot, which ends every process of a machine, can be played on one machine for thirty.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.servers.process import HERE, Place, ServerProcess, without_prefix

BIN = Path(sys.executable).parent
ACT = Path(__file__).with_name("act.py")
MARK = "FLEET_TEST_HOST"
COMMAND_SECONDS = 60
"""How long a `lockctl` may take before the test gives it up; it is no expectation."""


@dataclass(frozen=True, slots=True)
class Ways:
    """What the configuration of a host says; times are durations of locksmith."""

    group: str = "fleet"
    poll_interval: str = "1s"
    heartbeat: str = "15m"
    store_timeout: str = "5s"
    store_grace: str = "10m"
    dwell: str = "300ms"
    deadline: str = "10m"
    reboot_timeout: str = "5m"
    retries: int = 1
    log_level: str = "info"
    pre: tuple[str, ...] = ()
    undo: tuple[str, ...] = ()
    post: tuple[str, ...] = ()
    gate: bool = False
    health: bool = False
    store: tuple[tuple[str, str], ...] = ()
    """More settings of the store: credentials, and what to trust."""


class Host:
    """A host of the fleet. Tests and the supervisor may both act on it: `lock` is held over each act."""

    def __init__(
        self,
        name: str,
        folder: Path,
        *,
        url: str,
        ledger: Path,
        ways: Ways,
        package: Path | None = None,
        place: Place = HERE,
    ) -> None:
        """Make the folder; nothing runs. `package` is a folder with another copy of the package, for planted faults."""
        self.name = name
        self.folder = folder / name
        self.state, self.run, self.hooks = (self.folder / word for word in ("state", "run", "hooks"))
        self.boot_file, self.required = self.folder / "boot_id", self.folder / "reboot-required"
        self.config, self.log = self.folder / "locksmith.toml", self.folder / "log"
        self.ledger, self.ways, self.url = ledger, ways, url
        self.boots = 0
        self.lock = threading.RLock()
        self.wanted = False  # the agent should be running
        self.powered = True
        self._started_at = 0.0
        self.place = place
        for needed in (self.state, self.run, *(self.folder / word for word in ("hold", "sleep", "fail", "mode"))):
            needed.mkdir(parents=True)
        self._write_hooks()
        self.config.write_text(self._configuration())
        self._new_boot_id()
        self.process = ServerProcess(self._command(package), self.log, without="LOCKSMITH")

    # ---------------------------------------------------------------- the machine

    def start(self) -> None:
        """Start the agent in the present boot."""
        with self.lock:
            self._started_at = time.time()
            self.process.start()
            self.wanted = True

    def install(self, package: Path | None) -> None:
        """From its next start on, the agent is the copy of the package in this folder (None: this tree)."""
        with self.lock:
            self.process.command = self._command(package)

    def kill(self) -> None:
        """SIGKILL to the agent alone; what it had started runs on."""
        with self.lock:
            self.wanted = False
            self.process.kill()

    def power_off(self, *, clear: bool = True) -> None:
        """End every process of this host and lose what a boot loses; `clear`: the update is applied by it."""
        with self.lock:
            self.powered = False
            self.kill()
            self.kill_children()
            shutil.rmtree(self.run)
            self.run.mkdir()
            self._new_boot_id()
            if clear:
                self.required.unlink(missing_ok=True)

    def power_on(self) -> None:
        """Boot: the counter goes up and the agent starts."""
        with self.lock:
            self.boots += 1
            self.powered = True
            self.start()

    def start_again(self) -> None:
        """What systemd does after a crash: start the agent, unless the machine is off or has booted meanwhile."""
        with self.lock:
            if self.powered and not self.process.pid:
                self.start()

    def kill_children(self) -> None:
        """SIGKILL to all that this host's agents have started, found by their environment."""
        mark = f"{MARK}={self.folder}".encode()
        for _ in range(50):
            found = [pid for pid in _pids() if _carries(pid, mark)]
            if not found:
                return
            for pid in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
        raise AssertionError(f"{self.name}: some processes do not end: {found}")

    # ---------------------------------------------------------------- instructions

    def stage_update(self) -> None:
        """An update is staged now: the file is written anew, which is a new reason for the loop guard."""
        self.required.write_text("")
        os.utime(self.required, ns=(time.time_ns(), time.time_ns()))

    def hold(self, name: str) -> None:
        """Let the script `name` (`name@slot`: while a slot is held) wait."""
        (self.folder / "hold" / name).write_text("")

    def let_go(self, name: str) -> None:
        """End that."""
        (self.folder / "hold" / name).unlink()

    def sleep(self, name: str, seconds: float) -> None:
        """Let the script `name` (or `name@slot`) take so long."""
        (self.folder / "sleep" / name).write_text(str(seconds))

    def fail(self, name: str, code: int = 1) -> None:
        """Let the script `name` end with this exit code."""
        (self.folder / "fail" / name).write_text(str(code))

    def mend(self, name: str) -> None:
        """Let it end well again."""
        (self.folder / "fail" / name).unlink()

    def reboot_mode(self, mode: str) -> None:
        """`works`, or `noop`: the command ends well and nothing happens."""
        (self.folder / "mode" / "reboot").write_text(mode)

    def poke(self) -> None:
        """What `lockctl` does on this host: tell the agent to look now."""
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.sendto(b"poke", str(self.run / "poke.sock"))

    # ---------------------------------------------------------------- what can be seen

    def status(self) -> dict[str, Any]:
        """The status file of the agent that runs now; empty before it has written one."""
        path = self.run / "status.json"
        try:
            if path.stat().st_mtime < self._started_at:
                return {}
            return dict(json.loads(path.read_text()))
        except (FileNotFoundError, ValueError):
            return {}

    def is_in(self, *states: str) -> bool:
        """Whether the running agent says that it is in one of these states."""
        return self.status().get("state") in states

    def journal(self) -> dict[str, Any]:
        """The agent's journal; empty without one."""
        try:
            return dict(json.loads((self.state / "journal.json").read_text()))
        except FileNotFoundError:
            return {}

    def actions(self, name: str | None = None, event: str | None = None) -> list[dict[str, Any]]:
        """What the scripts of this host did, in order."""
        path = self.folder / "actions"
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [line for line in lines if name in (None, line["name"]) and event in (None, line["event"])]

    def began(self, name: str) -> int:
        """How often a script was started; for `reboot`, how often the command ran."""
        return len(self.actions(name)) if name == "reboot" else len(self.actions(name, "begin"))

    def log_lines(self) -> list[str]:
        """Everything the agents of this host have logged."""
        return self.log.read_text(errors="replace").splitlines() if self.log.exists() else []

    def report(self, lines: int = 40) -> str:
        """For a failure: what the agent says, what it owes, and the end of its log."""
        told = {key: value for key, value in self.status().items() if key != "steps"}
        log = "\n    ".join(self.log_lines()[-lines:])
        running = f"pid {self.process.pid}" if self.process.pid else "not running"
        acts = "\n    ".join(json.dumps(act) for act in self.actions()[-12:])
        return (
            f"{self.name} ({running}, boots {self.boots}, boot {self.boot_file.read_text().strip()})\n"
            f"  status: {json.dumps(told)}\n  journal: {json.dumps(self.journal())}\n  actions:\n    {acts}\n"
            f"  log:\n    {log}"
        )

    # ---------------------------------------------------------------- files

    def _new_boot_id(self) -> None:
        self.boot_file.write_text(f"{uuid.uuid4()}\n")

    def _command(self, package: Path | None) -> list[str]:
        path = [f"PYTHONPATH={package}"] if package is not None else []
        agent = [str(BIN / "locksmithd"), "--config", str(self.config)]
        return [*self.place.enter, "/usr/bin/env", f"{MARK}={self.folder}", *path, *agent]

    def _act(self, *words: object) -> list[str]:
        return [sys.executable, "-I", "-S", str(ACT), *map(str, words)]

    def _write_hooks(self) -> None:
        for stage, names in (("pre-reboot", self.ways.pre), ("undo", self.ways.undo), ("post-reboot", self.ways.post)):
            folder = self.hooks / f"{stage}.d"
            folder.mkdir(parents=True)
            for name in names:
                words = " ".join(f"'{word}'" for word in self._act("check", self.folder, f"{stage}.{name}"))
                (folder / name).write_text(f"#!/bin/sh\nexec {words}\n")
                (folder / name).chmod(0o755)

    def _configuration(self) -> str:
        ways = self.ways
        tables: dict[str, dict[str, object]] = {
            "store": {"url": self.url, "timeout": ways.store_timeout, **dict(ways.store)},
            "node": {
                "id": self.name,
                "group": ways.group,
                "boot_id_file": str(self.boot_file),
                "product_uuid_file": str(self.folder / "product_uuid"),
                "state_dir": str(self.state),
                "run_dir": str(self.run),
            },
            "agent": {
                "min_uptime": "0s",
                "min_interval": "0s",
                "require_time_sync": False,
                "poll_interval": ways.poll_interval,
                "heartbeat": ways.heartbeat,
                "store_grace": ways.store_grace,
                "metrics_listen": "",
                "log_level": ways.log_level,
                "log_format": "text",
            },
            "updates.file": {"kind": "reboot-required", "path": str(self.required)},
            "verify": {"dwell": ways.dwell, "deadline": ways.deadline},
            "reboot": {
                "kind": "command",
                "command": self._act("reboot", self.folder, self.ledger),
                "timeout": ways.reboot_timeout,
                "retries": ways.retries,
            },
            "hooks": {"directory": str(self.hooks)},
        }
        if ways.gate:
            tables["gates.gate"] = {"kind": "command", "command": self._act("check", self.folder, "gate")}
        if ways.health:
            tables["health.app"] = {"kind": "command", "command": self._act("check", self.folder, "health")}
        (self.folder / "product_uuid").write_text(f"{uuid.uuid4()}\n")
        parts = []
        for name, values in tables.items():
            parts += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())]
        return "\n".join(parts) + "\n"


def lockctl(*words: str, package: Path | None = None) -> "subprocess.CompletedProcess[str]":
    """Run the operator's tool (of another copy of the package), without what this process's environment says to it."""
    path = {} if package is None else {"PYTHONPATH": str(package)}
    return subprocess.run(
        [BIN / "lockctl", *words],
        env={**without_prefix("LOCKSMITH"), **path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208


def _carries(pid: int, mark: bytes) -> bool:
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
    return mark in environment.split(b"\0")
