"""The metrics of real agents: through a reboot, with the address taken, and moved by a reload."""

import contextlib
import http.client
import json
import os
import signal
import socket
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.servers.process import DataFolder, ServerProcess, free_port, wait_until

LOCKSMITHD = Path(sys.executable).with_name("locksmithd")
WAIT = 60
"""Seconds after which something that should have happened is a failure; no expectation."""


class Node:
    """One agent on an SQLite store, whose machine is a file with a boot id and a reboot command that does nothing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "run" / "metrics.sock"
        self.boot_file, self.required = folder / "boot_id", folder / "reboot-required"
        self.config, self.log = folder / "locksmith.toml", folder / "log"
        self.boot()
        self.configure(f"unix:{self.socket}")
        self.process = ServerProcess([LOCKSMITHD, "--config", self.config], self.log, without="LOCKSMITH")

    def configure(self, listen: str, more: str = "") -> None:
        """Write the configuration."""
        quoted = {name: json.dumps(str(self.folder / name)) for name in ("state", "run", "boot_id", "reboot-required")}
        self.config.write_text(
            f"""
            [store]
            url = "sqlite://{self.folder}/store.db"
            [node]
            id = "n1"
            group = "web"
            state_dir = {quoted["state"]}
            run_dir = {quoted["run"]}
            boot_id_file = {quoted["boot_id"]}
            [agent]
            min_uptime = "0s"
            min_interval = "0s"
            require_time_sync = false
            poll_interval = "200ms"
            metrics_listen = "{listen}"
            [updates.file]
            kind = "reboot-required"
            path = {quoted["reboot-required"]}
            [verify]
            dwell = "100ms"
            [reboot]
            kind = "command"
            command = ["true"]
            {more}
            """
        )

    def boot(self) -> None:
        """A new boot, which applies the update."""
        self.boot_file.write_text(f"{uuid.uuid4()}\n")
        self.required.unlink(missing_ok=True)

    def start(self) -> None:
        """Start the agent and wait for its first word."""
        with contextlib.suppress(FileNotFoundError):
            (self.folder / "run" / "status.json").unlink()
        self.process.start()
        self.process.wait_until(lambda: self.status() != {})

    def status(self) -> dict[str, object]:
        """The status file."""
        try:
            return dict(json.loads((self.folder / "run" / "status.json").read_text()))
        except FileNotFoundError:
            return {}

    def hup(self) -> None:
        """Tell the agent to read its configuration again."""
        self.signal(signal.SIGHUP)

    def signal(self, number: signal.Signals) -> None:
        """To the agent alone."""
        os.kill(self.process.pid, number)

    def wait_for(self, state: str) -> None:
        """Until the agent says that it is there."""
        wait_until(lambda: self.status().get("state") == state, f"not {state}", self.process.tail, WAIT)

    def logged(self, text: str) -> None:
        """Until it has logged that."""
        wait_until(lambda: text in self.log.read_text(), f"not logged: {text}", self.process.tail, WAIT)


@pytest.fixture
def node() -> Iterator[Node]:
    data = DataFolder("metrics")
    node = Node(data.path)
    yield node
    node.process.kill()
    data.remove()


def get(where: Path | int, path: str) -> tuple[int, str]:
    family, address = (
        (socket.AF_UNIX, str(where)) if isinstance(where, Path) else (socket.AF_INET, ("127.0.0.1", where))
    )
    with socket.socket(family) as channel:
        channel.settimeout(WAIT)
        channel.connect(address)
        channel.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        answer = http.client.HTTPResponse(channel)
        answer.begin()
        return answer.status, answer.read().decode()


def metrics(where: Path | int) -> dict[str, float]:
    """`name` or `name{the only label's value}`, and the value."""
    status, text = get(where, "/metrics")
    assert status == 200
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(sample.labels.values())
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def test_a_reboot_as_prometheus_sees_it(node):
    node.start()
    node.wait_for("steady")
    before = metrics(node.socket)
    assert before["locksmith_agent_state{steady}"] == 1
    assert before["locksmith_reboot_required"] == 0
    assert before["locksmith_store_up"] == 1
    assert before["locksmith_store_request_duration_seconds_count{read}"] > 0
    assert before["locksmith_reboots_total{healthy}"] == 0
    assert "locksmith_last_reboot_timestamp_seconds" not in before
    assert get(node.socket, "/healthz") == (200, "ok: steady: no update is staged\n")

    node.required.write_text("")
    node.wait_for("rebooting")
    during = metrics(node.socket)
    assert during["locksmith_agent_state{rebooting}"] == 1
    assert (during["locksmith_reboot_required"], during["locksmith_slot_held"]) == (1, 1)
    assert (
        during["locksmith_slot_held_since_timestamp_seconds"] >= before["locksmith_agent_state_since_timestamp_seconds"]
    )
    assert during["locksmith_store_request_duration_seconds_count{session}"] > 0

    node.process.kill()
    assert node.socket.exists()  # what a killed agent leaves behind is replaced
    node.boot()
    node.start()
    node.wait_for("steady")
    after = metrics(node.socket)
    assert after["locksmith_reboots_total{healthy}"] == 1
    assert after["locksmith_slot_held"] == 0
    assert after["locksmith_last_reboot_timestamp_seconds"] >= during["locksmith_slot_held_since_timestamp_seconds"]
    assert after["locksmith_last_reboot_phase_seconds{verifying}"] > 0
    assert after["locksmith_last_reboot_phase_seconds{down}"] > 0


def test_an_address_in_use_ends_an_agent_that_owes_nothing(node):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        node.configure(f"127.0.0.1:{port}")
        node.process.start()
        wait_until(lambda: node.process.pid == 0, "it runs on", node.process.tail, WAIT)
    last = node.log.read_text().splitlines()[-1]
    assert last.startswith(
        f"locksmithd: agent.metrics_listen: cannot listen on 127.0.0.1:{port}: address already in use;"
    )
    assert not (node.folder / "state" / "journal.json").exists()


def test_an_address_in_use_never_keeps_a_slot(node):
    node.start()
    node.required.write_text("")
    node.wait_for("rebooting")
    node.process.kill()
    node.boot()
    with socket.create_server(("127.0.0.1", 0)) as other:
        node.configure(f"127.0.0.1:{other.getsockname()[1]}")
        node.start()
        node.wait_for("steady")
    assert node.status()["reboots"] == {"healthy": 1}
    node.logged(
        "going on without metrics, since this node has something to settle: agent.metrics_listen: cannot listen"
    )


def test_a_reload_moves_the_metrics(node):
    node.start()
    node.wait_for("steady")
    port = free_port()
    node.configure(f"127.0.0.1:{port}")
    node.hup()
    node.logged(f"metrics are at 127.0.0.1:{port}")
    assert not node.socket.exists()
    assert metrics(port)["locksmith_config_load_success"] == 1
    reads = metrics(port)["locksmith_store_request_duration_seconds_count{read}"]
    assert reads > 0  # the counts of the process go on

    node.configure("")
    node.hup()
    wait_until(lambda: not answers(port), "it still answers", node.process.tail, WAIT)
    node.configure(f"127.0.0.1:{port}", more="[nonsense]")
    node.hup()
    node.logged("the configuration is not taken, the old one stays")
    assert not answers(port)


def test_a_refused_configuration_shows(node):
    node.start()
    node.configure(f"unix:{node.socket}", more="[nonsense]")
    node.hup()
    wait_until(
        lambda: metrics(node.socket)["locksmith_config_load_success"] == 0, "0 is not shown", node.process.tail, WAIT
    )
    with socket.create_server(("127.0.0.1", 0)) as other:
        node.configure(f"127.0.0.1:{other.getsockname()[1]}")
        node.hup()
        node.logged("cannot listen on 127.0.0.1")
    assert metrics(node.socket)["locksmith_config_load_success"] == 0
    node.configure(f"unix:{node.socket}")
    node.hup()
    wait_until(
        lambda: metrics(node.socket)["locksmith_config_load_success"] == 1, "1 is not shown", node.process.tail, WAIT
    )


def test_metrics_that_were_off_are_switched_on(node):
    node.configure("")
    node.start()
    node.wait_for("steady")
    assert not node.socket.exists()
    node.configure(f"unix:{node.socket}")
    node.hup()
    node.logged("metrics are at unix:")
    shown = metrics(node.socket)
    assert shown["locksmith_agent_state{steady}"] == 1
    assert get(node.socket, "/healthz")[0] == 200


def test_the_socket_is_gone_after_a_stop(node):
    node.start()
    node.wait_for("steady")
    node.signal(signal.SIGTERM)
    wait_until(lambda: node.process.pid == 0, "it runs on", node.process.tail, WAIT)
    assert not node.socket.exists()


def answers(port: int) -> bool:
    try:
        return get(port, "/healthz")[0] == 200
    except ConnectionError:
        return False
