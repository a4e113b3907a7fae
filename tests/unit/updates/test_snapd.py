import json
import os
import socketserver
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from locksmith.core.needs import Need, NeedUnknown, NotNeeded
from locksmith.updates import Provider
from locksmith.updates.snapd import Snapd
from tests.unit.updates.unexpected import anything

SAMPLES = Path(__file__).parents[2] / "samples" / "updates" / "snapd"
LONG = timedelta(seconds=60)
KERNEL = os.uname().release
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
BOOTED = NOW.timestamp() - 3600
INFO, CHANGES = "/v2/system-info", "/v2/changes?select=in-progress"


@dataclass
class StoppedClock:
    def wall(self):
        return NOW

    def boottime(self):
        return NOW.timestamp() - BOOTED

    def synchronised(self):
        return True

    def sleep(self, seconds):
        raise AssertionError("a provider does not wait")


@dataclass
class Daemon:
    """What stands in for snapd: bodies by path, and the paths that were asked for."""

    socket: Path
    bodies: dict[str, bytes] = field(default_factory=dict)
    status: int = 200
    asked: list[str] = field(default_factory=list)

    def says(self, info, changes="constructed-changes-none"):
        self.bodies = {INFO: sample(info), CHANGES: sample(changes)}


def sample(name):
    return (SAMPLES / f"{name}.json").read_bytes()


class Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    daemon: Daemon


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self):
        daemon = self.server.daemon
        daemon.asked.append(self.path)
        body = daemon.bodies.get(self.path)
        self.send_response(daemon.status if body is not None else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    path = tmp_path_factory.mktemp("s") / "snapd.socket"  # short: a socket's path has 108 bytes
    with Server(str(path), Handler) as server:
        server.daemon = Daemon(path)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.daemon
        server.shutdown()
        thread.join()


@pytest.fixture
def daemon(served):
    served.bodies, served.status, served.asked = {}, 200, []
    return served


@pytest.fixture
def maintenance(tmp_path):
    return tmp_path / "maintenance.json"


@pytest.fixture
def make(daemon, maintenance):
    def provider(socket=daemon.socket, timeout=LONG) -> Provider:
        return Snapd("snaps", socket, timeout, maintenance=maintenance, clock=StoppedClock())

    return provider


@pytest.mark.parametrize("changes", ["changes-doing", "constructed-changes-none", "constructed-changes-null"])
@pytest.mark.parametrize("info", ["system-info", "constructed-system-info-daemon"])
def test_no_need(make, daemon, info, changes):
    daemon.says(info, changes)
    assert make().ask() == NotNeeded("snaps", running=KERNEL)
    assert daemon.asked == [INFO, CHANGES]


@pytest.mark.parametrize(
    ("info", "changes", "reason"),
    [
        ("system-info", "constructed-changes-wait", 'Refresh "pc-kernel" snap waits for a reboot'),
        (
            "system-info",
            "constructed-changes-two-wait",
            'Refresh "core22" snap, Refresh "pc-kernel" snap wait for a reboot',
        ),
        ("constructed-system-info-restart", "constructed-changes-none", "snapd: system is restarting"),
        ("constructed-system-info-restart-old", "constructed-changes-none", "snapd: system is restarting"),
        (
            "constructed-system-info-restart",
            "constructed-changes-wait",
            'snapd: system is restarting; Refresh "pc-kernel" snap waits for a reboot',
        ),
    ],
)
def test_a_need(make, daemon, info, changes, reason):
    daemon.says(info, changes)
    need = make().ask()
    assert need == Need("snaps", "snapd", need.fingerprint, reason, origin=KERNEL)


def test_halting_is_no_reboot(make, daemon):
    daemon.says("constructed-system-info-halt")
    assert make().ask() == NeedUnknown("snaps", "snapd is taking the machine down without a reboot: system is halting")


def test_the_waiting_changes_are_the_update(make, daemon):
    provider = make()
    daemon.says("system-info", "constructed-changes-wait")
    first = provider.ask().fingerprint
    daemon.says("constructed-system-info-restart", "constructed-changes-wait")
    assert provider.ask().fingerprint == first
    del daemon.bodies[CHANGES]  # it is on its way down, and gives no list any more
    assert provider.ask().fingerprint == first
    daemon.says("system-info", "constructed-changes-two-wait")
    two = provider.ask().fingerprint
    document = json.loads(sample("constructed-changes-two-wait"))
    document["result"].reverse()
    daemon.bodies[CHANGES] = json.dumps(document).encode()
    assert provider.ask().fingerprint == two != first
    daemon.says("constructed-system-info-restart")
    assert provider.ask().fingerprint not in (first, two)


def test_withdrawn(make, daemon):
    provider = make()
    daemon.says("system-info", "constructed-changes-wait")
    assert isinstance(provider.ask(), Need)
    daemon.says("system-info")
    assert isinstance(provider.ask(), NotNeeded)


def test_no_socket(make, tmp_path):
    nowhere = tmp_path / "no.socket"
    assert make(nowhere).ask() == NeedUnknown(
        "snaps", f"unix:{nowhere}: there is no such socket; is the service installed and running?"
    )


def test_a_socket_that_nobody_listens_to(make, tmp_path):
    (tmp_path / "file").write_text("")
    assert isinstance(make(tmp_path / "file").ask(), NeedUnknown)


def test_what_snapd_left_behind_when_it_went_down(make, maintenance, tmp_path):
    provider = make(tmp_path / "no.socket")
    maintenance.write_bytes(sample("constructed-maintenance"))
    os.utime(maintenance, (BOOTED + 60, BOOTED + 60))
    need = provider.ask()
    assert need == Need("snaps", "snapd", need.fingerprint, "snapd: system is restarting", origin=KERNEL)
    # It stays behind over the reboot, until snapd serves again.
    os.utime(maintenance, (BOOTED - 60, BOOTED - 60))
    assert isinstance(provider.ask(), NeedUnknown)


@pytest.mark.parametrize("text", ["", "blah blah blah not json", "[]", '{"kind": ["system-restart"]}', "\xff"])
def test_garbage_that_was_left_behind(make, maintenance, tmp_path, text):
    maintenance.write_text(text)
    assert isinstance(make(tmp_path / "no.socket").ask(), NeedUnknown)


def test_a_restart_of_snapd_alone_says_nothing(make, maintenance, tmp_path):
    maintenance.write_bytes(sample("constructed-maintenance-daemon"))
    assert isinstance(make(tmp_path / "no.socket").ask(), NeedUnknown)
    maintenance.unlink()
    maintenance.mkdir()
    assert isinstance(make(tmp_path / "no.socket").ask(), NeedUnknown)


def test_what_is_left_behind_does_not_count_while_snapd_answers(make, daemon, maintenance):
    maintenance.write_bytes(sample("constructed-maintenance"))
    os.utime(maintenance, (BOOTED + 60, BOOTED + 60))
    daemon.says("system-info")
    assert isinstance(make().ask(), NotNeeded)


def test_a_list_that_cannot_be_had_is_unknown(make, daemon):
    daemon.says("system-info")
    del daemon.bodies[CHANGES]
    assert make().ask() == NeedUnknown(
        "snaps", f"unix:{daemon.socket}: GET {CHANGES}: status 404; is that snapd, and may we read from it?"
    )
    for result in ({}, "x", [1], 7, True):
        daemon.bodies[CHANGES] = json.dumps({"type": "sync", "result": result}).encode()
        assert make().ask() == NeedUnknown("snaps", f"unix:{daemon.socket}: the answer has no list of changes")


def test_forbidden(make, daemon):
    daemon.says("constructed-forbidden")
    daemon.status = 401
    assert "status 401" in make().ask().reason


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b"{}", b'{"type": "async"}', b"\xff", b"[" * 100_000, sample("constructed-forbidden")],
)
def test_garbage(make, daemon, body):
    daemon.bodies = {INFO: body, CHANGES: sample("constructed-changes-wait")}
    assert isinstance(make().ask(), NeedUnknown)


NAMES = (
    "type",
    "sync",
    "result",
    "maintenance",
    "kind",
    "system-restart",
    "value",
    "op",
    "status",
    "Wait",
    "id",
    "summary",
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(info=anything(*NAMES), maintenance=anything(*NAMES), result=anything(*NAMES))
def test_nothing_raises(daemon, info, maintenance, result):
    daemon.bodies = {
        INFO: json.dumps({"type": "sync", "result": info, "maintenance": maintenance}).encode(),
        CHANGES: json.dumps({"type": "sync", "result": result}).encode(),
    }
    provider = Snapd("snaps", daemon.socket, LONG, maintenance=Path("/nowhere"), clock=StoppedClock())
    answer = provider.ask()
    assert isinstance(answer, (Need, NotNeeded, NeedUnknown))
    if isinstance(answer, Need):
        assert answer.reason
