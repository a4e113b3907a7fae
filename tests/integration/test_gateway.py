"""`locksmith-gateway` as a process: its command line, its pages, two of them, and its end."""

import json
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.fleet.host import BIN
from tests.integration.places import Place, place, sqlite_url
from tests.servers.process import DataFolder, ServerProcess, free_port, read, wait_until, without_prefix

GATEWAY = BIN / "locksmith-gateway"
LIMIT = 60
"""Seconds after which something that should have happened is a failure; no expectation."""


@pytest.fixture
def where() -> Iterator[Place]:
    data = DataFolder("gateway")
    with place(data.path, sqlite_url(data.path), more='[gateway]\ncache = "0s"\n') as made:
        yield made
    data.remove()


def run(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [GATEWAY, *map(str, words)],
        env=without_prefix("LOCKSMITH"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )


class Gateway:
    """One that runs."""

    def __init__(self, where: Place, listen: str = "", name: str = "a") -> None:
        self.port = free_port()
        listen = listen or f"127.0.0.1:{self.port}"
        words = ["--metrics-only", "--config", where.file, "--listen", listen]
        self.process = ServerProcess([GATEWAY, *words], where.folder / f"{name}.log", without="LOCKSMITH")

    def __enter__(self) -> Self:
        self.process.start()
        self.process.wait_until(lambda: "metrics of" in self.process.tail())
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()

    def get(self, path: str) -> str:
        return read(f"http://127.0.0.1:{self.port}{path}")

    def samples(self) -> dict[str, float]:
        """By name and the values of the labels."""
        families = text_string_to_metric_families(self.get("/metrics"))
        return {
            f"{sample.name}{{{','.join(sample.labels.values())}}}": sample.value
            for family in families
            for sample in family.samples
        }


# ---------------------------------------------------------------- the command line


def test_what_is_not_there_yet_is_said(where):
    done = run("--config", where.file)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "locksmith-gateway: FleetLock comes in a later version: give --metrics-only, to serve the fleet's metrics\n"
    )


def test_check_says_what_comes_from_where(where):
    done = run("--check", "--config", where.file, "--listen", "127.0.0.1:9")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert "gateway.metrics_listen = 127.0.0.1:9  # --listen" in lines
    assert f"gateway.cache = 0s  # file:{where.file}" in lines
    assert run("--check", "--metrics-only", "--config", where.file).returncode == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--listen", "nonsense"), "--listen: gateway.metrics_listen: 'nonsense' is no address to listen on"),
        (("--listen", ""), 'gateway.metrics_listen is "", so there is nothing to serve'),
        (("--lissen", "127.0.0.1:1"), "unrecognized arguments: --lissen"),
    ],
)
def test_words_that_mean_nothing(where, words, told):
    done = run("--metrics-only", "--config", where.file, *words)
    assert done.returncode == 2
    assert told in done.stderr


def test_no_store(tmp_path):
    (tmp_path / "empty.toml").write_text("")
    done = run("--metrics-only", "--config", tmp_path / "empty.toml")
    assert done.returncode == 2
    assert "no store is configured" in done.stderr


def test_an_address_in_use(where):
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        done = run("--metrics-only", "--config", where.file, "--listen", address)
    assert done.returncode == 2
    assert f"gateway.metrics_listen: cannot listen on {address}: address already in use" in done.stderr
    assert done.stderr.endswith("or one for this call: --listen HOST:PORT\n"), "it cannot be switched off"


def test_its_version():
    from locksmith import __version__  # noqa: PLC0415

    assert run("--version").stdout == f"locksmith-gateway {__version__}\n"


# ---------------------------------------------------------------- the pages


def test_the_fleet(where):
    where.slots(2)
    where.taken("n1")
    where.register("n1", "host-n1")
    with Gateway(where) as gateway:
        assert gateway.get("/healthz") == "ok: nothing was asked yet\n"
        samples = gateway.samples()
        assert samples["locksmith_group_slots{web}"] == 2
        assert samples["locksmith_group_holders{web,acquired}"] == 1
        assert samples["locksmith_group_nodes{web}"] == 1
        assert samples["locksmith_exporter_up{}"] == 1
        assert samples["locksmith_queue_wait_seconds_count{web}"] == 0  # it was before this gateway
        where.taken("n2")
        assert gateway.samples()["locksmith_queue_wait_seconds_count{web}"] == 1
        assert gateway.samples()["locksmith_queue_wait_seconds_count{web}"] == 1
        assert gateway.get("/healthz").startswith("ok: the fleet was read ")


def test_two_of_them_tell_the_same(where):
    where.slots(2)
    with Gateway(where) as one, Gateway(where, name="b") as other:
        for gateway in (one, other):
            gateway.samples()
        where.taken("n1")
        pages = [
            {
                key: value
                for key, value in gateway.samples().items()
                if key.startswith(("locksmith_group", "locksmith_h"))
            }
            for gateway in (one, other)
        ]
        assert pages[0] == pages[1]
        assert pages[0]["locksmith_group_holders{web,acquired}"] == 1


def test_it_writes_nothing(where):
    where.slots(1)
    where.taken("n1")
    everything = where.actor.store.read(prefixes=[""]).items
    with Gateway(where) as gateway:
        gateway.samples()
        gateway.samples()
    assert where.actor.store.read(prefixes=[""]).items == everything


def test_a_store_that_was_never_there():
    """It starts all the same, and says what is wrong."""
    data = DataFolder("gateway")
    url = f"etcd://127.0.0.1:{free_port()}/locksmith"
    with place(data.path, url, store={"timeout": "1s"}) as where, Gateway(where) as gateway:
        samples = gateway.samples()
        assert samples["locksmith_exporter_up{}"] == 0
        assert samples["locksmith_exporter_read_errors_total{unavailable}"] == 1
        assert "locksmith_exporter_last_success_timestamp_seconds{}" not in samples
        assert not [key for key in samples if key.startswith("locksmith_group")]
        assert gateway.get("/healthz").startswith("ok, but the fleet cannot be read: ")
    data.remove()


def test_a_damaged_holder_is_told_as_such(where):
    where.slots(1)
    where.damage("own/ab/n1", b"nonsense")
    with Gateway(where) as gateway:
        samples = gateway.samples()
        assert samples["locksmith_exporter_up{}"] == 0
        assert samples["locksmith_exporter_read_errors_total{corrupt}"] == 1
        assert "own/ab/n1" in gateway.get("/healthz")


# ---------------------------------------------------------------- its end


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_when_it_is_told_to(where, number):
    at = where.folder / "g.sock"
    with Gateway(where, f"unix:{at}") as gateway:
        assert at.is_socket()
        gateway.process._signal(number)
        wait_until(lambda: gateway.process.pid == 0, "it runs on", gateway.process.tail, LIMIT)
    assert not at.exists()


def test_systemd_hears_of_it(where, tmp_path):
    """READY=1 only once it listens."""
    heard: list[bytes] = []
    at = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(at))
        channel.settimeout(LIMIT)
        port = free_port()
        words = [GATEWAY, "--metrics-only", "--config", where.file, "--listen", f"127.0.0.1:{port}"]
        process = ServerProcess(["/usr/bin/env", f"NOTIFY_SOCKET={at}", *words], tmp_path / "log", without="LOCKSMITH")
        listener = threading.Thread(target=lambda: heard.append(channel.recv(100)))
        listener.start()
        process.start()
        listener.join(LIMIT)
        answered = read(f"http://127.0.0.1:{port}/healthz")
        process.kill()
    assert heard == [b"READY=1"]
    assert answered == "ok: nothing was asked yet\n"


def test_its_log_is_one_line_a_change(where):
    where.slots(1)
    config = Path(where.file)
    config.write_text(config.read_text() + '[agent]\nlog_format = "json"\n')
    with Gateway(where) as gateway:
        where.damage("own/ab/n1", b"nonsense")
        for _ in range(3):
            gateway.samples()
        lines = [json.loads(line) for line in (where.folder / "a.log").read_text().splitlines()]
    told = [line for line in lines if "cannot be read" in line["message"]]
    assert [line["kind"] for line in told] == ["corrupt"]
