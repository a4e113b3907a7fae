"""lockctl as a program: real processes on a real SQLite file, for every exit code that can be had there."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from locksmith.core import keys
from locksmith.core.documents import Brake as BrakeDocument
from locksmith.core.documents import Failure, Guard, Holder, NodeRecord, Phase, Request
from locksmith.host.clock import SystemClock
from locksmith.semaphore import operating, recovery
from locksmith.semaphore.actor import Actor, look
from locksmith.stores import Check, Put
from locksmith.stores.sqlite import SqliteStore

LOCKCTL = Path(sys.executable).with_name("lockctl")
NODE = "0123456789abcdef0123456789abcdef"
WAIT = 60
"""Seconds after which a process that should have ended is a failure."""


class Site:
    """A store, the environment of the programs on it, and an operator of the tests' own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "store.db"
        config = folder / "locksmith.toml"
        config.write_text(f'[node]\nid = "{NODE}"\nrun_dir = "{folder}/run"\nstate_dir = "{folder}/state"\n')
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("LOCKSMITH_", "COLUMNS"))}
        self.environment = clean | {"LOCKSMITH_CONFIG": str(config), "LOCKSMITH_STORE": f"sqlite://{self.path}"}
        self.store = SqliteStore(self.path, "locksmith", timeout=timedelta(seconds=5))
        self.actor = Actor(self.store, SystemClock(), Random(1), "test@here", "here")

    def run(self, *words: str, **more: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*more.pop("fetters", []), LOCKCTL, *words],
            env=self.environment | more.pop("environment", {}),
            capture_output=True,
            text=True,
            timeout=WAIT,
            check=False,
            stdin=subprocess.DEVNULL,
            **more,
        )

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [LOCKCTL, *words],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
        )

    def put(self, key: str, value: bytes) -> None:
        self.store.commit([Check(key, self.store.read([key])[key].mod)], [Put(key, value)])

    def hold(self, node: str, phase: Phase, group: str = "default") -> None:
        """A holder of an agent, counted, and in the brake when it is failed."""
        now = datetime.now(UTC)
        limit = keys.group_limit(group)
        holder = Holder(
            gen="g",
            nonce="n",
            group=group,
            limits=(limit,),
            phase=phase,
            boot="b/0",
            since=now,
            phase_since=now,
            host=node,
        )
        guard = look(self.store, [keys.guard(limit)]).document(keys.guard(limit), Guard)
        assert guard is not None
        self.put(keys.own(node), holder.encode())
        self.put(keys.guard(limit), replace(guard, count=guard.count + 1, gen=node).encode())
        if phase == Phase.FAILED:
            failure = Failure(token="1", check="app", since=now, host=node)
            self.put(keys.brake(group), BrakeDocument(gen=node, failed={node: failure}).encode())

    def record(self, host: str, **more: Any) -> None:
        fields = {
            "gen": host,
            "host": host,
            "group": "default",
            "state": "steady",
            "seen": datetime.now(UTC),
            "boot": "b/0",
        }
        record = NodeRecord(**(fields | {"heartbeat": 900} | more))
        self.put(keys.record("default", NODE), record.encode())

    def tickets(self) -> list[str]:
        return list(self.store.read([], [keys.QUEUES]).items)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.store.close()


def document(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The one document on standard output."""
    lines = done.stdout.splitlines()
    assert len(lines) == 1, done
    read: dict[str, Any] = json.loads(lines[0])
    assert read["schema"] == 1
    return read


def nothing(_: Site) -> None:
    """No preparation."""


def one_slot(site: Site) -> None:
    operating.set_max(site.actor, "default", 1)


def full(site: Site) -> None:
    one_slot(site)
    site.hold("other", Phase.DRAINING)


def paused(site: Site) -> None:
    one_slot(site)
    operating.pause_fleet(site.actor, "storm", None)


def halted(site: Site) -> None:
    operating.set_max(site.actor, "default", 3)
    site.hold("other", Phase.FAILED)


def by_agent(site: Site) -> None:
    one_slot(site)
    site.hold("n1", Phase.DRAINING)


def elsewhere(site: Site) -> None:
    one_slot(site)
    operating.set_max(site.actor, "web", 1)
    site.hold("n1", Phase.DRAINING, "web")


def armed(site: Site) -> None:
    one_slot(site)
    site.hold("n1", Phase.ARMED)


def held(site: Site) -> None:
    one_slot(site)
    operating.pause_node(site.actor, "n1", "fragile", None)


def twins(site: Site) -> None:
    one_slot(site)
    for node in ("a" * 32, "b" * 32):
        record = NodeRecord(gen=node, host="twin", group="default", state="steady", seen=datetime.now(UTC))
        site.put(keys.record("default", node), record.encode())


def corrupt(site: Site) -> None:
    one_slot(site)
    site.put(keys.own("n1"), b"not json")


def newer(site: Site) -> None:
    one_slot(site)
    key = keys.guard("group/default")
    site.put(key, Guard(v=99, gen="x").encode())


def miscounted(site: Site) -> None:
    one_slot(site)
    site.put(keys.guard("group/default"), Guard(gen="x", count=1).encode())


def another_cluster(site: Site) -> None:
    one_slot(site)
    config = look(site.store).config
    assert config is not None
    site.put(keys.CFG, replace(config, cluster="another", gen="x").encode())


ROWS: list[tuple[Callable[[Site], None], list[str], int, str | None]] = [
    (nothing, ["status"], 0, None),
    (halted, ["status"], 0, None),
    (halted, ["why", "other"], 0, None),
    (halted, ["nodes"], 0, None),
    (corrupt, ["status"], 1, "corrupt"),
    (newer, ["set-max", "2"], 1, "newer_format"),
    (miscounted, ["fsck"], 1, "damaged"),
    (nothing, ["statsu"], 2, "usage"),
    (nothing, ["set-max", "0"], 2, "usage"),
    (nothing, ["windows", "--start", "14:00abc", "--length", "1h"], 2, "usage"),
    (nothing, ["status", "--store", "zookeeper://h"], 2, "config"),
    (nothing, ["status", "--config", "/nonexistent/locksmith.toml"], 2, "config"),
    (full, ["lock", "n1"], 3, "full"),
    (full, ["lock", "n1", "--wait", "--timeout", "300ms"], 3, "timeout"),
    (paused, ["lock", "n1"], 3, "paused"),
    (halted, ["lock", "n1"], 3, "halted"),
    (by_agent, ["lock", "n1"], 3, "held_by_agent"),
    (elsewhere, ["lock", "n1"], 3, "held_elsewhere"),
    (held, ["lock", "n1"], 3, "hold"),
    (one_slot, ["unlock", "n1", "--strict"], 3, "not_held"),
    (armed, ["unlock", "n1", "--force", "--reason", "x"], 3, "armed"),
    (by_agent, ["unlock", "n1", "--timeout", "300ms"], 3, "asked"),
    (twins, ["lock", "twin"], 3, "ambiguous_node"),
    (one_slot, ["lock", "n1", "--group", "web"], 3, "no_such_group"),
    (another_cluster, ["status"], 6, "identity"),
    (another_cluster, ["lock", "n1"], 6, "identity"),
    (
        nothing,
        ["windows", "--start", "1:00", "--length", "1h", "--check", "--at", "2026-01-01T12:00:00Z"],
        3,
        "window",
    ),
]


@pytest.mark.parametrize(("prepare", "words", "code", "kind"), ROWS, ids=lambda value: getattr(value, "__name__", None))
def test_exit_codes_and_kinds(
    site: Site, prepare: Callable[[Site], None], words: list[str], code: int, kind: str | None
) -> None:
    prepare(site)
    done = site.run(*words, "--json")
    assert done.returncode == code, done.stderr
    error = document(done).get("error")
    assert (error["kind"] if error else None) == kind
    if error:
        assert error["message"] in done.stderr


def test_a_store_that_stays_busy_is_unavailable_and_named(site: Site) -> None:
    one_slot(site)
    blocker = sqlite3.connect(site.path, isolation_level=None)
    blocker.execute("BEGIN EXCLUSIVE")
    try:
        done = site.run("set-max", "2", "--timeout", "1s", "--json")
    finally:
        blocker.execute("ROLLBACK")
        blocker.close()
    assert (done.returncode, document(done)["error"]["kind"]) == (4, "unavailable")
    assert str(site.path) in done.stderr


def test_a_store_that_may_not_be_opened_is_denied(site: Site) -> None:
    one_slot(site)
    site.store.close()
    site.path.chmod(0)
    # Root may open everything by two capabilities, so they are taken away.
    fetters = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    done = site.run("status", "--json", fetters=fetters)
    assert (done.returncode, document(done)["error"]["kind"]) == (6, "denied"), done.stderr
    assert str(site.path) in done.stderr


def until_queued(site: Site, process: subprocess.Popen[str]) -> None:
    while not site.tickets():
        assert process.poll() is None, process.communicate()
        site.actor.clock.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_wait_leaves_the_queue(site: Site, number: signal.Signals) -> None:
    full(site)
    process = site.start("lock", "n1", "--wait", "--json")
    until_queued(site, process)
    process.send_signal(number)
    out, err = process.communicate(timeout=WAIT)
    assert process.returncode == 130
    assert json.loads(out)["error"]["kind"] == "interrupted"
    assert "place 1 in the queue" in err
    assert site.tickets() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_watch(site: Site, number: signal.Signals) -> None:
    one_slot(site)
    process = site.start("status", "--watch", "--json")
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["slots"] == 1
    operating.set_max(site.actor, "default", 2)
    assert json.loads(process.stdout.readline())["slots"] == 2
    process.send_signal(number)
    out, _ = process.communicate(timeout=WAIT)
    assert process.returncode == 130
    assert json.loads(out)["error"]["kind"] == "interrupted"


def test_a_wait_ends_with_the_slot(site: Site) -> None:
    one_slot(site)
    assert site.run("lock", "n1").returncode == 0
    process = site.start("lock", "n2", "--wait", "--json")
    until_queued(site, process)
    assert site.run("unlock", "n1").returncode == 0
    out, err = process.communicate(timeout=WAIT)
    assert process.returncode == 0, err
    assert json.loads(out)["holder"]["node"] == "n2"
    assert site.tickets() == []


class Agent(threading.Thread):
    """Serves one request as an agent would, or fails, or drops it."""

    def __init__(self, site: Site, end: str) -> None:
        super().__init__(daemon=True)
        self.site, self.end, self.stop = site, end, threading.Event()

    def run(self) -> None:
        key = keys.request(NODE)
        while (found := look(self.site.store, [key]).document(key, Request)) is None:
            if self.stop.wait(0.02):
                return
        if self.end == "dropped":
            recovery.drop_request(self.site.actor, NODE, found.gen)
            self.site.record("n1", why="strategy observe")
            return
        if self.end == "failed":
            self.site.hold(NODE, Phase.FAILED)
        operating.cancel_request(self.site.actor, NODE)
        self.site.record("n1", boot="c/0")


@pytest.mark.parametrize(("end", "code"), [("rebooted", 0), ("failed", 1), ("dropped", 1)])
def test_reboot_wait_follows_the_node_to_its_end(site: Site, end: str, code: int) -> None:
    one_slot(site)
    site.record("n1")
    agent = Agent(site, end)
    agent.start()
    try:
        done = site.run("reboot", "n1", "--wait", "--json", "--timeout", "50s")
    finally:
        agent.stop.set()
        agent.join()
    assert done.returncode == code, done.stderr
    assert document(done)["requests"][0]["result"] == end
    assert (document(done).get("error") or {}).get("kind") == ("damaged" if code else None)


def test_a_reader_that_goes_away_is_no_traceback(site: Site) -> None:
    one_slot(site)
    process = site.start("status", "--watch")
    assert process.stdout is not None
    assert process.stdout.readline()
    process.stdout.close()
    operating.set_max(site.actor, "default", 2)
    assert process.wait(timeout=WAIT) == 1
    assert process.stderr is not None
    with process.stderr:
        assert process.stderr.read() == ""


def test_a_pipe_is_plain_in_any_locale(site: Site) -> None:
    one_slot(site)
    operating.pause_fleet(site.actor, "Störung ☃", None)
    done = site.run("status", environment={"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"})
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert "rung" in done.stdout


@pytest.mark.parametrize(
    ("words", "absent"),
    [
        (["version"], {"grpc", "consul", "requests", "rich", "sqlite3", "locksmith.config", "locksmith.semaphore"}),
        (["--help"], {"grpc", "consul", "requests", "rich", "sqlite3", "locksmith.config", "locksmith.semaphore"}),
        (["status"], {"grpc", "consul", "requests", "rich", "prometheus_client"}),
        (["windows"], {"grpc", "consul", "requests", "rich", "sqlite3"}),
    ],
)
def test_a_command_imports_only_what_it_uses(site: Site, words: list[str], absent: set[str]) -> None:
    one_slot(site)
    code = (
        "import sys; from locksmith.cli.program import run; code = run(sys.argv[1:]); "
        "print(*sys.modules, sep='\\n', file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        env=site.environment,
        capture_output=True,
        text=True,
        timeout=WAIT,
        check=True,
    )
    loaded = set(done.stderr.split())
    assert "locksmith.cli.program" in loaded
    assert loaded & absent == set()
