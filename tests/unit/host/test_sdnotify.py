import socket
import uuid
from contextlib import suppress
from datetime import timedelta

import pytest

from locksmith.host.sdnotify import Notifier


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path):
    """The receiving end, and its address as NOTIFY_SOCKET has it."""
    address = str(tmp_path / "notify") if request.param == "path" else f"@locksmith-test-{uuid.uuid4()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(address.replace("@", "\0", 1))
        receiver.settimeout(60)
        yield receiver, address


def test_each_message(manager):
    receiver, address = manager
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": address})
    notifier.ready()
    assert receiver.recv(4096) == b"READY=1"
    notifier.status("waits for\na slot since 10:00")
    assert receiver.recv(4096) == b"STATUS=waits for a slot since 10:00"
    notifier.watchdog()
    assert receiver.recv(4096) == b"WATCHDOG=1"
    notifier.stopping()
    assert receiver.recv(4096) == b"STOPPING=1"
    notifier.extend_timeout(timedelta(seconds=90))
    assert receiver.recv(4096) == b"EXTEND_TIMEOUT_USEC=90000000"
    notifier.reloading()
    first, second = receiver.recv(4096).decode().splitlines()
    assert first == "RELOADING=1"
    assert second.startswith("MONOTONIC_USEC=")
    assert int(second.partition("=")[2]) > 0


@pytest.mark.parametrize("address", ["", "vsock:2:1", "/nowhere/at/all", "@nobody-listens", "/x" * 200, "/nul\0byte"])
def test_nobody_there_is_no_error(address):
    Notifier.from_environment({"NOTIFY_SOCKET": address}).ready()


def test_a_full_queue_is_no_error(tmp_path):
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(address)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as filler:
            filler.setblocking(False)
            with suppress(BlockingIOError):
                while True:
                    filler.sendto(b"x", address)
        Notifier(address).watchdog()


@pytest.mark.parametrize(
    ("environment", "interval"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "60000000"}, timedelta(seconds=60)),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "7"}, timedelta(seconds=60)),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_watchdog_interval(environment, interval):
    assert Notifier.from_environment(environment, pid=7).watchdog_interval == interval
