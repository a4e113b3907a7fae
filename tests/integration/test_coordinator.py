"""The agent beside other coordinators, in a /run and a /proc of its own: the file, its lock, and who closes the gate."""

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers.process import wait_until

LOCKSMITHD = Path(sys.executable).with_name("locksmithd")
ALONE = ("unshare", "--mount", "--propagation=private", "--pid", "--fork", "--kill-child", "--mount-proc")
"""Neither the real /run nor anybody else's processes: a stranger called locksmithd would stop every agent on the machine."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


class Machine:
    """A host with update_engine's folder; what the agent wants to reboot for is a file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run = folder / "run"
        (self.run / "update-engine").mkdir(parents=True)
        self.conf = self.run / "update-engine" / "coordinator.conf"
        self.need = folder / "need"
        self.rebooted = folder / "rebooted"
        self.agent: subprocess.Popen[bytes] | None = None

    def configure(self, agent: str = "") -> Path:
        path = self.folder / "locksmith.toml"
        path.write_text(
            f'[store]\nurl = "sqlite://{self.folder}/store.db"\n'
            f'[node]\nid = "n1"\nstate_dir = "{self.folder}/state"\n'
            f'[agent]\nmin_uptime = "0s"\nmin_interval = "0s"\nrequire_time_sync = false\nmetrics_listen = ""\n'
            f'poll_interval = "1s"\n{agent}\n'
            f'[updates.file]\nkind = "command"\ncommand = ["test", "-e", "{self.need}"]\n'
            f'[reboot]\nkind = "command"\ncommand = ["touch", "{self.rebooted}"]\n'
        )
        return path

    @contextlib.contextmanager
    def up(self, agent: str = "", beside: str = "") -> Iterator[None]:
        """With the agent running; `beside` is what the shell starts before it."""
        script = f"mount --bind {self.run} /run && {beside}exec {LOCKSMITHD} --config {self.configure(agent)}"
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen([*ALONE, "sh", "-c", script], stdin=subprocess.DEVNULL, stderr=log)
        try:
            wait_until(lambda: self.status() is not None, "the agent does not start", timeout=60)
            yield
        finally:
            process.kill()  # and the kernel what it forked, with all of the namespace; TERM would not do
            process.wait(timeout=60)

    def status(self) -> dict[str, Any] | None:
        with contextlib.suppress(OSError, ValueError):
            found: dict[str, Any] = json.loads((self.run / "locksmith" / "status.json").read_text())
            return found
        return None

    def blocked(self) -> str:
        """What stands in the way, as kind and sentence."""
        status = self.status() or {}
        return f"{status.get('kind')}: {status.get('summary')}"

    def locked(self) -> bool:
        with self.conf.open() as opened:
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            return False

    def says(self, state: str) -> bool:
        return self.conf.exists() and self.conf.read_text() == f"NAME=locksmithd\nSTRATEGY=etcd-lock\nSTATE={state}"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    tried = subprocess.run([*ALONE, "mount", "--bind", tmp_path, "/run"], capture_output=True, check=False)
    if os.geteuid() != 0 or tried.returncode != 0:
        pytest.skip(f"NOT TESTED: no namespaces of our own here: {tried.stderr.decode().strip() or 'not root'}")
    return Machine(tmp_path)


def stranger(machine: Machine, name: str) -> str:
    """A program of that name, as a line for the shell."""
    path = machine.folder / "bin" / name
    path.parent.mkdir(exist_ok=True)
    shutil.copy("/bin/sleep", path)
    return f"{path} 300 & "


def test_the_file_follows_the_agent_and_its_lock_ends_with_it(machine: Machine) -> None:
    with machine.up():
        wait_until(lambda: machine.says("running"), "not running", timeout=60)
        assert machine.locked()
        machine.need.touch()
        wait_until(machine.rebooted.exists, "nothing rebooted", timeout=60)
        wait_until(lambda: machine.says("rebooting"), "not rebooting", timeout=60)
        assert machine.locked()
    wait_until(lambda: not machine.locked(), "the lock outlives the agent", timeout=60)


@pytest.mark.parametrize("name", ["locksmithd", "kured"])
def test_beside_another_coordinator_nothing_reboots(machine: Machine, name: str) -> None:
    machine.need.touch()
    with machine.up(beside=stranger(machine, name)):
        wait_until(lambda: "coordinator" in machine.blocked(), "it is not blocked", timeout=60)
        assert f'agent.allow_coordinators = ["{name}"]' in machine.blocked()
        assert not machine.rebooted.exists()


def test_unless_it_is_told_to(machine: Machine) -> None:
    machine.need.touch()
    with machine.up('allow_coordinators = ["locksmithd"]', stranger(machine, "locksmithd")):
        wait_until(machine.rebooted.exists, "nothing rebooted", timeout=60)


def test_whoever_has_the_lock_keeps_it(machine: Machine) -> None:
    machine.need.touch()
    machine.conf.write_text("NAME=other\nSTATE=running")
    holder = f"flock {machine.conf} sleep 300 & "
    with machine.up(beside=holder):
        wait_until(lambda: "coordinator" in machine.blocked(), "it is not blocked", timeout=60)
        assert "as other" in machine.blocked()
        assert machine.conf.read_text() == "NAME=other\nSTATE=running"
    assert not machine.rebooted.exists()


def test_observing_leaves_the_file_to_others(machine: Machine) -> None:
    with machine.up('strategy = "observe"'):
        wait_until(lambda: (machine.status() or {}).get("state") == "steady", "it does not settle", timeout=60)
        assert not machine.conf.exists()
