"""What every check that asks over a wire must do: come back within its time limit, say so, and raise on nothing.

To add one: a line in CHECKS that makes the check for a TCP address or, in UNIX, for a socket's path.
"""

import re
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from locksmith.checks import Check, Occasion, Role
from locksmith.checks.alerts import AlertmanagerAlerts, PrometheusAlerts
from locksmith.checks.command import CommandCheck
from locksmith.checks.consul_health import ConsulHealth
from locksmith.checks.containers import ContainersCheck
from locksmith.checks.kubernetes_node import KubernetesNode
from locksmith.checks.url import UrlCheck
from locksmith.core.verdict import Closed, Open, Unknown
from locksmith.host.http import NO_FILES
from locksmith.host.kubeconfig import Access
from tests.servers.raw import dripping, http, json_of, listening, server, silent

OCCASION = Occasion(datetime(2026, 1, 1, tzinfo=UTC), clock_trusted=True, environment={})
BOOTED = datetime(2026, 1, 1, tzinfo=UTC)
SHORT = timedelta(seconds=0.2)
LONG = timedelta(seconds=30)
ROLES: tuple[Role, ...] = ("gate", "health")
NOWHERE = Path("/nowhere/baseline.json")

Make = Callable[[Role, str, timedelta], Check]


def kubernetes(role: Role, where: str, timeout: timedelta) -> Check:
    access = Access(f"http://{where}", NO_FILES, "a test")
    return KubernetesNode("c", role, "n1", None, timeout, lambda: BOOTED, find=lambda _: access)


CHECKS: dict[str, Make] = {
    "url": lambda role, where, timeout: UrlCheck("c", role, f"http://{where}", timeout, body="fine"),
    "alerts": lambda role, where, timeout: PrometheusAlerts("c", role, f"http://{where}", timeout),
    "alerts of expressions": lambda role, where, timeout: PrometheusAlerts(
        "c", role, f"http://{where}", timeout, expressions=["up == 0", "down"]
    ),
    "alerts of alertmanager": lambda role, where, timeout: AlertmanagerAlerts("c", role, f"http://{where}", timeout),
    "consul-health": lambda role, where, timeout: ConsulHealth(
        "c", role, f"http://{where}", timeout, services=["web"], min_passing=1
    ),
    "kubernetes-node": kubernetes,
}
UNIX: dict[str, Make] = {
    "containers": lambda role, where, timeout: ContainersCheck("c", role, Path(where), timeout, baseline=NOWHERE),
}
BLOCKING: dict[str, Make] = {
    "command": lambda role, _where, timeout: CommandCheck("c", ["/bin/sleep", "100"], timeout, role),
}


@contextmanager
def hanging(name: str) -> Iterator[str]:
    """A peer that takes the connection and says nothing."""
    if name in CHECKS:
        with server(silent) as where:
            yield where
        return
    with tempfile.TemporaryDirectory(prefix="ls-") as folder, socket.socket(socket.AF_UNIX) as listener:
        path = str(Path(folder, "s"))
        listener.bind(path)
        listener.listen()
        with listening(listener, silent):
            yield path


def assert_late(check: Check) -> None:
    verdict = check.ask(OCCASION)
    assert isinstance(verdict, Unknown | Closed)
    assert re.search(r"(limit of|within) [0-9]+ms", verdict.reason), verdict


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("name", [*CHECKS, *UNIX, *BLOCKING])
def test_a_peer_that_hangs(name: str, role: Role) -> None:
    with hanging(name) as where:
        assert_late({**CHECKS, **UNIX, **BLOCKING}[name](role, where, SHORT))


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"])
@pytest.mark.parametrize("name", CHECKS)
def test_a_peer_that_drips(name: str, head: bytes) -> None:
    with dripping(head) as where:
        assert_late(CHECKS[name]("gate", where, SHORT))


WORDS = st.sampled_from(
    [
        "status",
        "success",
        "error",
        "data",
        "alerts",
        "labels",
        "alertname",
        "state",
        "firing",
        "active",
        "result",
        "resultType",
        "vector",
        "metric",
        "value",
        "warnings",
        "ID",
        "Service",
        "web",
        "Tags",
        "CheckID",
        "ServiceID",
        "Name",
        "Status",
        "Notes",
        "Node",
        "Config",
        "NodeName",
        "Checks",
        "metadata",
        "conditions",
        "type",
        "Ready",
        "kind",
        "items",
        "State",
        "Names",
        "Id",
        "Labels",
    ]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | WORDS | st.text(max_size=5)
TREES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=5), max_leaves=15
)
ANSWERS = st.one_of(
    st.binary(max_size=80),
    st.builds(http, st.sampled_from([200, 204, 302, 400, 403, 404, 422, 500, 503]), st.binary(max_size=80)),
    st.builds(json_of, TREES, st.sampled_from([200, 200, 200, 400, 404, 422, 503])),
)


@pytest.mark.parametrize("name", CHECKS)
def test_garbage_raises_nothing_and_is_told_the_same_each_time(name: str) -> None:
    """A reason that changes with each question would be logged with each."""
    now = [b""]

    def serve(peer: socket.socket) -> None:
        peer.recv(65536)
        peer.sendall(now[0])

    with server(serve) as where:

        @settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
        @given(answer=ANSWERS)
        def run(answer: bytes) -> None:
            now[0] = answer
            check = CHECKS[name]("gate", where, LONG)
            first = check.ask(OCCASION)
            assert isinstance(first, Open | Closed | Unknown)
            assert "\n" not in first.reason
            assert check.ask(OCCASION) == first

        run()
