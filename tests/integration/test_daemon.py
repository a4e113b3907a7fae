"""locksmithd as a program: real processes on SQLite files, for what a service manager, an operator and a boot do to it."""

import json
import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from random import SystemRandom
from typing import Any

import pytest

from locksmith.core import keys
from locksmith.core.admission import Patience
from locksmith.core.documents import Guard, Holder, Ticket
from locksmith.host.clock import SystemClock
from locksmith.semaphore import by_hand, operating, recovery
from locksmith.semaphore.actor import Actor, look
from locksmith.semaphore.claiming import Attempt, Claimed, Enqueued, claim, enqueue
from locksmith.semaphore.holding import Slot, release, slot_of
from locksmith.stores.sqlite import SqliteStore
from tests.servers.process import DataFolder, ServerProcess, wait_until, without_prefix

BIN = Path(sys.executable).parent
NODE, GROUP = "node1", "web"
WAIT = 60
"""Seconds after which what should have come to be is a failure; it is no expectation."""
NOBODY = 65534


class Shelf:
    """One SQLite store, and somebody who acts on it."""

    def __init__(self, path: Path) -> None:
        self.url = f"sqlite://{path}"
        self.store = SqliteStore(path, "locksmith", timeout=timedelta(seconds=10))
        self.actor = Actor(self.store, SystemClock(), SystemRandom(), "test@here", "here")

    def set_up(self, slots: int = 1, *groups: str) -> None:
        recovery.setup(self.actor)
        for group in groups or (GROUP,):
            operating.set_max(self.actor, group, slots)

    def fill(self, node: str = "other", group: str = GROUP) -> Slot:
        """Another node takes a slot."""
        attempt = Attempt(
            node=node,
            host=f"host-{node}",
            group=group,
            limits=(keys.group_limit(group),),
            nonce=self.actor.nonce(),
            since=self.actor.clock.wall(),
            reason="x",
            boot="b/0",
        )
        session = self.store.session(timedelta(minutes=5))
        assert enqueue(self.actor, attempt, session.id, timedelta(0)) == Enqueued()
        claimed = claim(self.actor, attempt, Patience())
        assert isinstance(claimed, Claimed), claimed
        return slot_of(claimed.held)

    def tickets(self) -> dict[str, int]:
        """The tickets, with the revisions at which they were made."""
        view = look(self.store, (), [keys.QUEUES])
        return {key: item.create for key, item, _ in view.documents(keys.QUEUES, Ticket)}

    def holder(self, node: str = NODE) -> Holder | None:
        return look(self.store, [keys.own(node)]).document(keys.own(node), Holder)

    def count(self, group: str = GROUP) -> int:
        key = keys.guard(keys.group_limit(group))
        guard = look(self.store, [key]).document(key, Guard)
        return guard.count if guard is not None else 0


class Node:
    """One machine: a folder with all that `locksmithd` needs, its process, and what may be done to both."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.state, self.run, self.hooks = folder / "state", folder / "run", folder / "hooks"
        self.boot_file, self.required = folder / "boot_id", folder / "reboot-required"
        self.file, self.log, self.done = folder / "locksmith.toml", folder / "log", folder / "done"
        self.pids = folder / "pids"
        self.environment: dict[str, str] = {}
        self.fetters: list[str] = []
        self.process: ServerProcess | None = None
        self.boot_file.write_text(f"{uuid.uuid4()}\n")
        (folder / "uuid").write_text(f"{uuid.uuid4()}\n")
        self.tables: dict[str, dict[str, Any]] = {
            "store": {"url": url},
            "node": {
                "id": NODE,
                "group": GROUP,
                "boot_id_file": str(self.boot_file),
                "product_uuid_file": str(folder / "uuid"),
                "state_dir": str(self.state),
                "run_dir": str(self.run),
            },
            "agent": {
                "min_uptime": "0s",
                "min_interval": "0s",
                "require_time_sync": False,
                "poll_interval": "1s",
                "metrics_listen": "",
                "log_format": "text",
            },
            "updates.file": {"kind": "reboot-required", "path": str(self.required)},
            "verify": {"dwell": "200ms"},
            "reboot": {"kind": "command", "command": ["sleep", "300"], "timeout": "5m"},
            "hooks": {"directory": str(self.hooks)},
        }
        self.configure()

    # ---------------------------------------------------------------- files

    def configure(self, **tables: dict[str, Any]) -> None:
        """Write the configuration, with changes."""
        for name, values in tables.items():
            self.tables.setdefault(name, {}).update(values)
        parts: list[str] = []
        for name, table in self.tables.items():
            parts += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
        self.file.write_text("\n".join(parts) + "\n")

    def stage(self) -> None:
        """An update is staged."""
        self.required.write_text("")

    def hook(self, stage: str, script: str, name: str = "10-drain") -> None:
        """A hook; it may note a word in `done` by `note WORD`."""
        folder = self.hooks / f"{stage}.d"
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
        self.hooks.chmod(0o755)
        (folder / name).write_text(
            f'#!/bin/sh\necho $$ >> "{self.pids}"\nnote() {{ echo "$1" >> "{self.done}"; }}\n{script}\n'
        )
        (folder / name).chmod(0o755)

    def noted(self) -> list[str]:
        return self.done.read_text().split() if self.done.exists() else []

    def boot(self, *, clear: bool = True) -> None:
        """The machine has rebooted: what ran is gone, the boot id is another one, and the update is applied."""
        self.kill()
        self.boot_file.write_text(f"{uuid.uuid4()}\n")
        (self.run / "reboot-command.json").unlink(missing_ok=True)
        if clear:
            self.required.unlink(missing_ok=True)

    # ---------------------------------------------------------------- the process

    def command(self, *words: str) -> list[str | Path]:
        settings = [f"{name}={value}" for name, value in self.environment.items()]
        return ["/usr/bin/env", *settings, *self.fetters, BIN / "locksmithd", "--config", self.file, *words]

    def start(self, *words: str) -> None:
        with suppress(FileNotFoundError):
            (self.run / "status.json").unlink()
        self.process = ServerProcess(self.command(*words), self.log, without="LOCKSMITH")
        self.process.start()

    def once(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run it to its end."""
        return subprocess.run(
            self.command(*words), env=without_prefix("LOCKSMITH"), stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=WAIT, check=False,
        )  # fmt: skip

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        os.kill(self.process.pid, number)

    def ended(self) -> int:
        """Wait for its end; gives the exit code."""
        assert self.process is not None
        assert self.process._popen is not None
        return self.process._popen.wait(WAIT)

    def stop(self) -> int:
        """SIGTERM; gives the exit code."""
        self.signal(signal.SIGTERM)
        return self.ended()

    def kill(self) -> None:
        """SIGKILL, and what it had started that would run on for minutes."""
        if self.process is None:
            return
        self.process.kill()
        started = self.pids.read_text().split() if self.pids.exists() else []
        with suppress(FileNotFoundError, ValueError):
            started.append(str(json.loads((self.run / "reboot-command.json").read_text())["pid"]))
        for pid in started:
            with suppress(FileNotFoundError, ProcessLookupError):
                if Path(f"/proc/{pid}/cmdline").read_bytes() == b"sleep\x00300\x00":
                    os.kill(int(pid), signal.SIGKILL)

    # ---------------------------------------------------------------- what can be seen

    def status(self) -> dict[str, Any]:
        try:
            return dict(json.loads((self.run / "status.json").read_text()))
        except (FileNotFoundError, ValueError):
            return {}

    def wait(self, ready: Callable[[], bool], what: str) -> None:
        wait_until(ready, what, self.report, WAIT)

    def wait_for(self, *states: str) -> None:
        self.wait(lambda: self.status().get("state") in states, f"{NODE} is not {states}")

    def wait_log(self, words: str, times: int = 1) -> None:
        self.wait(lambda: self.log.read_text().count(words) >= times, f"not in the log: {words!r}")

    def journal(self) -> dict[str, Any]:
        path = self.state / "journal.json"
        return dict(json.loads(path.read_text())) if path.exists() else {}

    def report(self) -> str:
        return f"{self.status()}\n{self.journal()}\n{self.log.read_text() if self.log.exists() else '(no log)'}"

    def lockctl(self, *words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [BIN / "lockctl", "--config", self.file, *words], env=without_prefix("LOCKSMITH"), stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=WAIT, check=False,
        )  # fmt: skip


@pytest.fixture
def folder() -> Iterator[Path]:
    made = DataFolder("daemon")
    yield made.path
    made.remove()


@pytest.fixture
def shelf(folder: Path) -> Iterator[Shelf]:
    made = Shelf(folder / "store.db")
    made.set_up()
    yield made
    made.store.close()


@pytest.fixture
def node(folder: Path, shelf: Shelf) -> Iterator[Node]:
    (folder / "node").mkdir()
    made = Node(folder / "node", shelf.url)
    yield made
    made.kill()


def draining(node: Node, undo: str = "note undone") -> None:
    """The node holds a slot, and its pre hook runs until it is ended."""
    node.hook("pre-reboot", "note draining; exec sleep 300")
    node.hook("undo", undo)
    node.stage()
    node.start()
    node.wait(lambda: "draining" in node.noted(), "it does not drain")


def queued(node: Node, shelf: Shelf) -> Slot:
    """The node waits behind another one, which has its slot."""
    slot = shelf.fill()
    node.stage()
    node.start()
    node.wait(lambda: node.status().get("state") == "queued" and bool(shelf.tickets()), "it does not queue")
    return slot


# ------------------------------------------------------------------------------------------------ --check


def test_check_says_what_comes_from_where(node):
    said = node.once("--check")
    assert said.returncode == 0
    assert said.stderr == ""
    lines = dict(line.split(" = ", 1) for line in said.stdout.splitlines())
    assert lines["node.group"] == f"{GROUP}  # file:{node.file}"
    assert lines["verify.deadline"].endswith("# default")
    assert "updates.file.path" in lines
    assert not node.run.exists()
    assert not node.state.exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"agent": {"strategy": "sometimes"}}, ["agent.strategy", "sometimes"]),
        ({"agent": {"poll_intervall": "1s"}}, ["poll_intervall", "poll_interval"]),
        ({"store": {"url": "http://x"}}, ["store.url"]),
        ({"node": {"group": "a/b"}}, ["node.group"]),
        ({"verify": {"dwell": "30"}}, ["verify.dwell"]),
    ],
)
def test_check_refuses_what_is_wrong_with_file_and_key(node, change, words):
    node.configure(**change)
    said = node.once("--check")
    assert said.returncode == 2
    assert said.stdout == ""
    assert said.stderr.startswith("locksmithd: ")
    for word in [str(node.file), *words]:
        assert word in said.stderr


def test_check_without_a_store_names_the_choices(node):
    del node.tables["store"]
    node.configure()
    for words in (["--check"], []):
        said = node.once(*words)
        assert said.returncode == 2
        for word in ("store", "sqlite://", "etcd://", "lockctl demo"):
            assert word in said.stderr


def test_check_of_a_file_that_is_not_there(node):
    node.file.unlink()
    said = node.once("--check")
    assert said.returncode == 2
    assert str(node.file) in said.stderr


def test_what_it_does_not_know_is_refused(node):
    assert node.once("--daemonize").returncode == 2
    assert node.once("--version").stdout.startswith("locksmithd ")


# ------------------------------------------------------------------------------------------------ --once


def test_once_with_nothing_to_do_ends(node, shelf):
    said = node.once("--once")
    assert said.returncode == 0, said.stderr
    assert shelf.holder() is None
    assert shelf.tickets() == {}
    assert node.status()["state"] == "steady"


def test_once_goes_on_while_a_slot_is_free(node, shelf):
    node.stage()
    node.start("--once")
    node.wait_for("rebooting")
    held = shelf.holder()
    assert held is not None
    assert held.phase == "armed"
    node.boot()
    said = node.once("--once")
    assert said.returncode == 0, said.stderr
    assert (shelf.holder(), shelf.count()) == (None, 0)
    assert node.status()["reboots"] == {"healthy": 1}


def test_once_ends_instead_of_waiting_and_leaves_no_ticket(node, shelf):
    shelf.fill()
    node.stage()
    said = node.once("--once")
    assert said.returncode == 0, said.stderr
    assert shelf.tickets() == {}
    assert (shelf.holder(), shelf.count()) == (None, 1)
    assert node.journal()["owed"] is None


def test_once_ends_when_a_gate_is_closed(node, shelf):
    node.configure(**{"gates.never": {"kind": "command", "command": ["false"]}})
    node.stage()
    said = node.once("--once")
    assert said.returncode == 0, said.stderr
    assert shelf.tickets() == {}
    assert "never" in said.stderr


# ------------------------------------------------------------------------------------------------ one a host


def test_a_second_agent_is_refused_with_the_pid_of_the_first(node):
    node.start()
    node.wait_for("steady")
    assert node.process is not None
    said = node.once()
    assert said.returncode == 2
    assert f"pid {node.process.pid}" in said.stderr
    assert "node.run_dir" in said.stderr
    node.kill()
    node.start()
    node.wait_for("steady")  # the lock ends with the process, however that ends


# ------------------------------------------------------------------------------------------------ SIGTERM


def test_a_stop_while_queued_leaves_no_ticket(node, shelf):
    queued(node, shelf)
    assert node.stop() == 0
    assert shelf.tickets() == {}
    assert node.journal()["owed"] is None


def test_a_stop_while_draining_undoes_and_releases(node, shelf):
    draining(node)
    assert shelf.count() == 1
    assert node.stop() == 0
    assert node.noted() == ["draining", "undone"]
    assert (shelf.holder(), shelf.count()) == (None, 0)
    assert node.journal()["owed"] is None
    assert node.journal()["called_off"] == {"stopped": 1}


def test_a_stop_when_armed_keeps_everything_for_the_next_start(node, shelf):
    node.hook("undo", "note undone")
    node.stage()
    node.start()
    node.wait_for("rebooting")
    assert node.stop() == 0
    held = shelf.holder()
    assert held is not None
    assert held.phase == "armed"
    assert node.noted() == []
    node.start()
    node.wait_for("rebooting")  # the command still runs: nobody calls a second one
    assert "an earlier reboot command may still fire" in node.status()["summary"]
    node.boot()
    node.start()
    node.wait_for("steady")
    assert (shelf.holder(), shelf.count()) == (None, 0)


def test_a_stop_while_nothing_is_owed(node):
    node.start()
    node.wait_for("steady")
    assert node.stop() == 0
    assert not (node.run / "poke.sock").exists()


def test_a_kill_while_draining_is_taken_up_again(node, shelf):
    draining(node)
    before = shelf.holder()
    node.kill()
    node.hook("pre-reboot", "note again")
    node.start()
    node.wait_for("rebooting")
    after = shelf.holder()
    assert before is not None
    assert after is not None
    assert after.nonce == before.nonce
    assert node.noted() == ["draining", "again"]


# ------------------------------------------------------------------------------------------------ SIGHUP


def test_a_new_configuration_is_taken_without_losing_the_place(node, shelf):
    slot = queued(node, shelf)
    tickets = shelf.tickets()
    node.configure(agent={"poll_interval": "2s"}, verify={"dwell": "1s"})
    node.signal(signal.SIGHUP)
    node.wait_log("the configuration was read again")
    assert shelf.tickets() == tickets
    release(shelf.actor, slot)
    node.wait_for("rebooting")


def test_a_broken_configuration_is_not_taken_and_says_why(node, shelf):
    slot = queued(node, shelf)
    tickets = shelf.tickets()
    node.configure(agent={"strategy": "sometimes"})
    node.signal(signal.SIGHUP)
    node.wait_log("the configuration is not taken, the old one stays")
    assert "agent.strategy" in node.log.read_text()
    assert shelf.tickets() == tickets
    release(shelf.actor, slot)
    node.wait_for("rebooting")


def test_a_strategy_that_is_switched_off_leaves_the_queue(node, shelf):
    slot = queued(node, shelf)
    node.configure(agent={"strategy": "off"})
    node.signal(signal.SIGHUP)
    node.wait(lambda: node.status().get("kind") == "strategy", "it does not stop")
    assert shelf.tickets() == {}
    release(shelf.actor, slot)
    assert node.stop() == 0
    assert shelf.count() == 0


def test_another_group_is_queued_for_after_leaving_the_first(node, shelf):
    shelf.set_up(1, "db")
    shelf.fill("other-db", "db")
    queued(node, shelf)
    assert list(shelf.tickets()) == [keys.ticket(GROUP, NODE)]
    node.configure(node={"group": "db"})
    node.signal(signal.SIGHUP)
    node.wait(lambda: list(shelf.tickets()) == [keys.ticket("db", NODE)], "it does not queue in the other group")
    assert node.status()["group"] == "db"
    assert node.journal()["owed"]["group"] == "db"


def test_another_group_while_a_slot_is_held_waits_until_it_is_released(node, shelf):
    shelf.set_up(1, "db")
    draining(node)
    node.configure(node={"group": "db"})
    node.signal(signal.SIGHUP)
    by_hand.force_unlock(shelf.actor, NODE, "x", armed_too=False)
    node.wait(lambda: node.status().get("group") == "db", "it does not go on in the other group")
    node.wait_for("blocked")  # the cool-down after what was called off
    assert (shelf.holder(), shelf.count()) == (None, 0)
    assert node.noted() == ["draining", "undone"]
    assert node.log.read_text().count("starting anew with it") == 1


# ------------------------------------------------------------------------------------------------ broken, and holding


def test_a_broken_configuration_keeps_the_slot_and_goes_on_when_it_is_mended(node, shelf):
    draining(node)
    node.kill()
    good = node.file.read_text()
    node.file.write_text("[store\n")
    node.environment["STATE_DIRECTORY"] = str(node.state)
    node.log.write_text("")
    node.start()
    node.wait_log("unready (config)")
    node.wait_log("the slot that this node holds is kept")
    assert str(node.file) in node.log.read_text()
    assert shelf.holder() is not None
    node.hook("pre-reboot", "note again")
    node.file.write_text(good)
    node.signal(signal.SIGHUP)
    node.wait_for("rebooting")


def test_a_broken_configuration_that_keeps_a_slot_can_be_stopped(node, shelf):
    draining(node)
    node.kill()
    node.file.write_text("[store\n")
    node.environment["STATE_DIRECTORY"] = str(node.state)
    node.start()
    node.wait_log("unready (config)")
    assert node.stop() == 0
    assert shelf.holder() is not None


def test_a_broken_configuration_without_a_slot_is_an_error(node):
    node.environment["STATE_DIRECTORY"] = str(node.state)
    node.file.write_text("[store\n")
    assert node.once().returncode == 2


# ------------------------------------------------------------------------------------------------ this machine


@pytest.mark.parametrize("key", ["state_dir", "run_dir"])
def test_a_folder_that_cannot_be_made_is_named_with_its_key(node, key):
    (node.folder / "file").write_text("")
    node.configure(node={key: str(node.folder / "file" / "below")})
    said = node.once()
    assert said.returncode == 2
    assert f"node.{key}" in said.stderr
    assert str(node.folder / "file" / "below") in said.stderr


def test_a_boot_that_cannot_be_told_is_an_error(node):
    node.boot_file.unlink()
    said = node.once()
    assert said.returncode != 0
    assert str(node.boot_file) in said.stderr


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: only root can become another user")
AS_NOBODY = [
    "setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups",
    "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search", "--bounding-set=-dac_override",
]  # fmt: skip
"""Nobody in particular, who may read everything (Python may be installed in root's home)."""


@needs_root
def test_it_runs_as_any_user_who_owns_its_folders(folder, shelf, node):
    shelf.store.close()
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, NOBODY, NOBODY)
    node.fetters = AS_NOBODY
    node.stage()
    node.start()
    node.wait_for("rebooting")
    assert (node.state / "journal.json").stat().st_uid == NOBODY
    assert node.process is not None
    assert Path(f"/proc/{node.process.pid}").stat().st_uid == NOBODY
    node.boot()
    node.start()
    node.wait_for("steady")
    assert node.stop() == 0


@needs_root
@pytest.mark.parametrize("key", ["state_dir", "run_dir"])
def test_a_folder_of_another_user_is_named_with_its_key(node, folder, key):
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, NOBODY, NOBODY)
    theirs = Path(node.tables["node"][key])
    theirs.mkdir()
    node.fetters = AS_NOBODY
    said = node.once()
    assert said.returncode == 2
    assert f"cannot write into {theirs}" in said.stderr
    assert f"node.{key}" in said.stderr


# ------------------------------------------------------------------------------------------------ the service manager


class Manager:
    """Listens where systemd would."""

    def __init__(self, path: Path) -> None:
        self.channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.channel.bind(str(path))
        self.channel.settimeout(WAIT)
        self.heard: list[str] = []

    def wait_for(self, start: str) -> str:
        """The next message that starts so."""
        while True:
            message = self.channel.recv(65536).decode()
            self.heard.append(message)
            if message.startswith(start):
                return message


@pytest.fixture
def manager(node: Node) -> Iterator[Manager]:
    made = Manager(node.folder / "notify")
    node.environment["NOTIFY_SOCKET"] = str(node.folder / "notify")
    yield made
    made.channel.close()


def test_the_service_manager_hears_how_it_is(node, manager):
    node.environment["WATCHDOG_USEC"] = "300000"
    node.start()
    manager.wait_for("READY=1")
    assert manager.wait_for("STATUS=steady") == "STATUS=steady: no update is staged"
    for _ in range(3):
        manager.wait_for("WATCHDOG=1")
    node.signal(signal.SIGHUP)
    assert "MONOTONIC_USEC=" in manager.wait_for("RELOADING=1")
    manager.wait_for("READY=1")
    node.signal(signal.SIGTERM)
    manager.wait_for("STOPPING=1")
    assert node.ended() == 0


def test_the_service_manager_hears_that_a_new_configuration_is_broken(node, manager):
    node.start()
    manager.wait_for("STATUS=steady")
    node.file.write_text("[store\n")
    node.signal(signal.SIGHUP)
    manager.wait_for("RELOADING=1")
    assert str(node.file) in manager.wait_for("STATUS=the new configuration is broken")
    manager.wait_for("READY=1")


def test_the_service_manager_gives_more_time_while_something_is_undone(node, manager):
    draining(node, "note undone; sleep 0.2")
    node.signal(signal.SIGTERM)
    manager.wait_for("EXTEND_TIMEOUT_USEC=")
    manager.wait_for("STATUS=undoing")
    assert node.ended() == 0
    assert "undone" in node.noted()


def test_the_watchdog_is_fed_while_a_broken_configuration_keeps_a_slot(node, shelf, manager):
    draining(node)
    node.kill()
    node.file.write_text("[store\n")
    node.environment |= {"STATE_DIRECTORY": str(node.state), "WATCHDOG_USEC": "300000"}
    node.start()
    manager.wait_for("STATUS=unready (config)")
    for _ in range(3):
        manager.wait_for("WATCHDOG=1")
    assert shelf.holder() is not None


# ------------------------------------------------------------------------------------------------ the operator


def test_a_request_of_this_machine_needs_no_waiting(node):
    node.configure(agent={"poll_interval": "9h"})
    node.start()
    node.wait_for("steady")
    assert node.lockctl("reboot", NODE, "--reason", "please").returncode == 0
    node.wait_for("rebooting")  # looking by itself it would have been minutes
    assert "please" in node.journal()["owed"]["reason"]


def test_a_pause_of_this_machine_needs_no_waiting(node):
    node.configure(agent={"poll_interval": "9h"})
    node.stage()
    node.configure(**{"gates.never": {"kind": "command", "command": ["false"]}})
    node.start()
    node.wait_for("blocked")
    assert node.lockctl("pause", "--node", NODE, "--reason", "fragile").returncode == 0
    node.wait(lambda: node.status().get("kind") == "hold", "it does not see the hold")


def test_a_machine_that_is_held_by_hand_is_left_alone_and_goes_on_afterwards(node, shelf):
    node.start()
    node.wait_for("steady")
    assert node.lockctl("lock", NODE, "--reason", "disk").returncode == 0
    node.wait(lambda: node.status().get("kind") == "maintenance", "it does not see the hold by hand")
    node.stage()
    assert node.lockctl("unlock", NODE).returncode == 0
    node.wait_for("rebooting")
    held = shelf.holder()
    assert held is not None
    assert held.phase == "armed"


# ------------------------------------------------------------------------------------------------ another store


@pytest.fixture
def second(folder: Path) -> Iterator[Shelf]:
    made = Shelf(folder / "second.db")
    made.set_up()
    yield made
    made.store.close()


def test_a_slot_in_the_old_store_is_given_back_before_the_new_one_is_used(node, shelf, second):
    draining(node)
    node.kill()
    node.configure(store={"url": second.url})
    node.start()
    node.wait(lambda: str(node.status().get("store", "")).startswith(second.url), "it does not use the second store")
    node.wait_for("blocked")  # the cool-down after what was called off
    assert (shelf.holder(), shelf.count(), second.holder()) == (None, 0, None)
    assert node.noted() == ["draining", "undone"]
    assert "settling there before the configured store is used" in node.log.read_text()
    assert node.journal()["home"]["store"].startswith(second.url)


def test_a_reboot_under_the_old_store_is_verified_there(node, shelf, second):
    node.stage()
    node.start()
    node.wait_for("rebooting")
    node.boot()
    node.configure(store={"url": second.url})
    node.start()
    node.wait(lambda: str(node.status().get("store", "")).startswith(second.url), "it does not use the second store")
    node.wait_for("steady")
    assert (shelf.holder(), shelf.count()) == (None, 0)
    assert node.status()["reboots"] == {"healthy": 1}


def test_a_new_store_after_a_reload_while_queued(node, shelf, second):
    queued(node, shelf)
    node.configure(store={"url": second.url})
    node.signal(signal.SIGHUP)
    node.wait(lambda: second.holder() is not None, "it does not go on in the second store")
    assert shelf.tickets() == {}
    node.wait_for("rebooting")
