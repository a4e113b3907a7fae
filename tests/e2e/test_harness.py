"""The harness itself: both judges can see two nodes down at once, and a killed test run leaves no container behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.e2e.fleet import LIMIT
from tests.e2e.test_power import SLOW, STOP
from tests.servers.process import DataFolder

RUN = """
import sys, time
from pathlib import Path
from tests.e2e.container import Container
container = Container("orphan", Path(sys.argv[1]))
container.power_on()
while not container.init():
    time.sleep(0.02)
print(container.init(), flush=True)
time.sleep(600)
"""


def test_both_judges_see_two_nodes_down_at_once(fleet):
    """The control: with two slots two nodes go at once, held in their shutdowns until both are down."""
    rolling = fleet(("n1", "n2"), slots=2)
    for node in rolling.nodes:
        node.unit("e2e-slow.service", SLOW)
    rolling.boot()
    for node in rolling.nodes:
        node.container.write(STOP, "")
        node.stage_update()
    rolling.wait(lambda: not any(node.app_runs() for node in rolling.nodes), "both are going down")
    rolling.wait(lambda: rolling.downs().most == 2, "the watch has seen it")
    for node in rolling.nodes:
        node.container.remove(STOP)
    rolling.wait(lambda: all(node.boots == 2 and node.state() == "steady" for node in rolling.nodes), "both rebooted")
    assert rolling.downs().most == 2
    history = rolling.history()
    assert (history.problems, history.most) == ([], {LIMIT: 2})


def test_a_killed_run_leaves_no_container_behind(ground):
    data = DataFolder("e2e-orphan")
    with subprocess.Popen(
        [sys.executable, "-c", RUN, str(data.path)], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    ) as run:
        try:
            assert run.stdout is not None
            init = int(run.stdout.readline())
            assert "/systemd" in Path(f"/proc/{init}/cmdline").read_text()
        finally:
            os.kill(run.pid, signal.SIGKILL)
    end = time.monotonic() + 30
    while Path(f"/proc/{init}").exists():
        assert time.monotonic() < end, "the container outlived the run that started it"
        time.sleep(0.05)
    assert str(data.path) not in Path("/proc/self/mounts").read_text()
    data.remove()
