"""Notifications of a real agent on SQLite, over a reboot: to a receiver that is there, slow, or away at the very reboot."""

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from locksmith.semaphore import by_hand, operating
from tests.fakes.receiver import Receiver, receiver
from tests.integration.test_daemon import GROUP, NODE, Node, Shelf, queued
from tests.servers.process import DataFolder, free_port
from tests.servers.raw import server, silent


@pytest.fixture
def shelf() -> Iterator[Shelf]:
    folder = DataFolder("notify")
    made = Shelf(folder.path / "store.db")
    made.set_up()
    yield made
    made.store.close()
    folder.remove()


@pytest.fixture
def node(shelf: Shelf) -> Iterator[Node]:
    folder = DataFolder("notify-node")
    made = Node(folder.path, shelf.url)
    yield made
    made.kill()
    folder.remove()


def tell(node: Node, url: str, **more) -> None:
    node.configure(**{"notify.hook": {"kind": "webhook", "url": url, **more}})


def distinct(told: Receiver) -> list[dict[str, Any]]:
    """What it took, each once: an agent that is killed between sending and striking off sends again, under the same id."""
    return list({document["id"]: document for document in told.taken}.values())


def heard(node: Node, told: Receiver, *events: str) -> None:
    def so_far() -> list[str]:
        return [document["event"] for document in distinct(told)]

    node.wait(lambda: so_far() == list(events), f"the receiver has not heard {events}")


def kept(node: Node) -> list[str]:
    path = node.state / "notify-hook.json"
    with suppress(FileNotFoundError):
        return [one["document"]["event"] for one in json.loads(path.read_text())["waiting"]]
    return []


def test_one_reboot(node, shelf):
    with receiver() as told:
        tell(node, told.url)
        node.start()
        node.wait_for("steady")
        node.stage()
        node.wait_for("rebooting")
        heard(node, told, "staged", "acquired", "rebooting")
        node.boot()
        node.start()
        heard(node, told, "staged", "acquired", "rebooting", "back")
        node.wait_for("steady")
        assert node.stop() == 0
    staged, acquired, rebooting, back = told.taken
    assert told.heard == told.taken  # nothing twice, not even under the same id
    held = {document["token"] for document in (acquired, rebooting, back)}
    assert len(held) == 1
    assert staged["token"] is None
    assert {(document["schema"], document["node"], document["group"]) for document in told.taken} == {(1, NODE, GROUP)}
    assert {document["host"] for document in told.taken} == {socket.gethostname()}
    assert {document["store"] for document in told.taken} == {shelf.url}
    times = [document["time"] for document in told.taken]
    assert times == sorted(times)
    assert len({document["id"] for document in told.taken}) == 4
    assert [header["idempotency-key"] for header in told.headers] == [document["id"] for document in told.taken]
    assert back["kind"] == "healthy"


def test_the_receiver_is_away_at_the_reboot(node):
    """As when the network ends before the agent does: what was not sent is sent after the boot, with its time."""
    port = free_port()
    tell(node, f"http://127.0.0.1:{port}/hook")
    node.stage()
    node.start()
    node.wait_for("rebooting")
    node.wait(lambda: kept(node) == ["staged", "acquired", "rebooting"], "it does not keep what it cannot send")
    armed_at = node.journal()["owed"]["armed_at"]
    assert node.log.read_text().count("notify.hook: staged is not sent: 127.0.0.1") == 1
    node.boot()
    with receiver(port=port) as told:
        node.start()
        heard(node, told, "staged", "acquired", "rebooting", "back")
        node.wait(lambda: kept(node) == [], "it still keeps what it has sent")
    assert told.taken[2]["time"] == armed_at


def test_a_kill_before_anything_was_kept_loses_no_reboot(node):
    """The journal proves that the machine was told to reboot."""
    with receiver() as told:
        node.stage()
        node.start()
        node.wait_for("rebooting")  # nothing is configured to be told yet
        armed_at = node.journal()["owed"]["armed_at"]
        node.boot()
        tell(node, told.url)
        node.start()
        heard(node, told, "rebooting", "back")
    assert told.taken[0]["time"] == armed_at


def test_a_receiver_that_never_answers_holds_nothing_up(node):
    with server(silent) as where:
        tell(node, f"http://{where}/hook", timeout="5m")
        node.stage()
        node.start()
        node.wait_for("rebooting")
        assert node.stop() == 0  # long before the receiver's time limit: the test's own is two minutes
        assert kept(node) == ["staged", "acquired", "rebooting"]


def test_an_error_and_then_success(node):
    with receiver(500, 503) as told:
        tell(node, told.url, events=["rebooting"])
        node.stage()
        node.start()
        heard(node, told, "rebooting")
    assert [document["id"] for document in told.heard] == [told.taken[0]["id"]] * 3
    log = node.log.read_text()
    assert log.count("notify.hook: ") == 2, log


def test_paused_and_forced(node, shelf):
    with receiver() as told:
        tell(node, told.url)
        operating.pause_group(shelf.actor, GROUP, "INC-1", None)
        node.stage()
        node.start()
        heard(node, told, "staged", "paused")
        operating.resume_group(shelf.actor, GROUP)
        heard(node, told, "staged", "paused", "acquired", "rebooting")
        by_hand.force_unlock(shelf.actor, NODE, "x", armed_too=True)
        node.boot()
        node.start()
        heard(node, told, "staged", "paused", "acquired", "rebooting", "forced", "back")
    assert "INC-1" in told.taken[1]["text"]


def test_failed(node):
    node.configure(
        verify={"deadline": "1s"}, **{"health.app": {"kind": "command", "command": ["false"], "timeout": "5s"}}
    )
    with receiver() as told:
        tell(node, told.url, events=["failed", "back"])
        node.stage()
        node.start()
        node.wait_for("rebooting")
        node.boot()
        node.start()
        heard(node, told, "failed")
        node.kill()
        node.start()
        node.wait_for("failed")
        node.tables["health.app"]["command"] = ["true"]
        node.configure()
        node.signal(signal.SIGHUP)
        heard(node, told, "failed", "back")
    failed, back = distinct(told)
    assert failed["text"].startswith("came back unhealthy: app")
    assert back["kind"] == "recovered"


def test_a_reload_brings_a_receiver(node, shelf):
    queued(node, shelf)
    with receiver() as told:
        tell(node, told.url)
        node.signal(signal.SIGHUP)
        node.wait_log("the configuration was read again")
        heard(node, told, "staged")  # what holds at that moment
        assert node.stop() == 0


@pytest.mark.parametrize("words", [["--check"], []])
def test_a_file_that_is_not_there(node, words):
    node.configure(**{"notify.hook": {"kind": "webhook", "url_file": "/nonexistent/url"}})
    said = node.once(*words)
    assert said.returncode == 2
    assert "notify.hook: url_file /nonexistent/url: no such file or directory" in said.stderr


def test_a_receiver_that_cannot_be_used_keeps_no_slot(node, shelf):
    node.stage()
    node.start()
    node.wait_for("rebooting")
    node.boot()
    node.configure(**{"notify.hook": {"kind": "webhook", "url_file": "/nonexistent/url"}})
    node.start()
    node.wait(lambda: shelf.holder() is None, "the slot is kept")
    node.wait_log("going on without notifications, since this node has something to settle")


def test_lockctl_does_not_load_what_tells(tmp_path):
    program = "import sys, locksmith.cli.program; print([name for name in sys.modules if name.startswith('locksmith.notify')])"
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60, cwd=Path.cwd()
    )
    assert said.stdout == "[]\n"
