"""The ground that containers stand on: made once a run, or one loud skip that says what this machine refuses.

Collected by a plain `pytest` only when the marker e2e is asked for (`-m e2e`): they need root and a minute for the first root.
"""

import contextlib
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.e2e import container
from tests.e2e.fleet import Fleet
from tests.integration.fleet.stores import skipping
from tests.servers.etcd import EtcdCluster
from tests.servers.process import DataFolder

HERE = Path(__file__).parent
END_OF_FILE = "\x04"
LOGIN = ("python3", "-c", "import pty; pty.spawn(['login', '-f', 'alice'])")
"""login(1) on a terminal of the container's own: pam_systemd makes a session of it as of any other."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """All here carry the marker, and are left out unless it was asked for."""
    mine = [item for item in items if HERE in item.path.parents]
    for item in mine:
        item.add_marker(pytest.mark.e2e)
        item.add_marker(pytest.mark.timeout(600))
    if "e2e" not in config.getoption("markexpr", ""):
        items[:] = [item for item in items if item not in mine]
        config.hook.pytest_deselected(items=mine)


@pytest.fixture(scope="session")
def ground() -> None:
    """This machine can have the nodes."""
    with skipping():
        data = DataFolder("e2e-probe")
        try:
            container.allowed(data.path)
        finally:
            data.remove()


MakeFleet = Callable[..., Fleet]


@pytest.fixture
def fleet(ground: None, etcd34: EtcdCluster, key_prefix: str) -> Iterator[MakeFleet]:
    """Makes a fleet of these names; at the end of the test it is gone."""
    with contextlib.ExitStack() as stack:

        def make(names: Sequence[str], config: str = "", *, slots: int = 1) -> Fleet:
            return stack.enter_context(Fleet(etcd34, key_prefix, names, config, slots=slots))

        yield make


@pytest.fixture
def inside() -> Iterator:
    """Start a program in a node that lives until its input ends. Comes before `fleet`, whose end is surely theirs."""
    started: list[subprocess.Popen[str]] = []

    def start(node, *words: str) -> "subprocess.Popen[str]":
        pipe = subprocess.PIPE
        started.append(
            subprocess.Popen(
                node.container.command(*words), stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, text=True
            )
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate(timeout=30)
