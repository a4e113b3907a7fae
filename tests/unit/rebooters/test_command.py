import json
import os
import signal
import subprocess
import sys
from datetime import timedelta

import pytest

from locksmith.host.groups import group_alive, start_ticks
from locksmith.host.system import System
from locksmith.rebooters import Accepted, Firing, Idle, NotAccepted, Rebooter
from locksmith.rebooters.command import CommandRebooter

LONG = timedelta(seconds=60)
SHORT = timedelta(seconds=0.2)


@pytest.fixture
def no_systemd(tmp_path):
    return System(runtime=tmp_path / "no run", tools=tmp_path)


@pytest.fixture
def run_dir(tmp_path):
    """The run_dir; what is recorded in it at the end of the test and still runs is killed."""
    folder = tmp_path / "run"
    folder.mkdir()
    yield folder
    record = folder / "reboot-command.json"
    if record.is_file():
        document = json.loads(record.read_text())
        if group_alive(document["pid"], document["start_ticks"]):
            os.killpg(document["pid"], signal.SIGKILL)


@pytest.fixture
def make(run_dir, no_systemd):
    def rebooter(script, wait=LONG, boot="b1/0", system=no_systemd) -> Rebooter:
        return CommandRebooter(["/bin/sh", "-c", script], run_dir, boot, system, wait)

    return rebooter


def recorded(run_dir):
    return json.loads((run_dir / "reboot-command.json").read_text())


def finish(rebooter):
    """End a command that still runs, and let the rebooter reap it."""
    cause = rebooter.pending().cause
    os.killpg(int(cause.rpartition(" ")[2]), signal.SIGKILL)
    while isinstance(rebooter.pending(), Firing):
        pass


def test_idle_before_anything(make):
    assert make("true").pending() == Idle()


def test_a_command_that_succeeds(make, tmp_path):
    rebooter = make(f'echo "$LOCKSMITH_REASON $LOCKSMITH_NODE" > {tmp_path}/fired')
    assert rebooter.reboot("kernel", {"LOCKSMITH_NODE": "n1"}) == Accepted()
    assert (tmp_path / "fired").read_text() == "kernel n1\n"
    assert rebooter.pending() == Idle()


def test_the_record_is_there_before_the_command_can_fire(make, tmp_path, run_dir):
    assert (
        make(f"cp {run_dir}/reboot-command.json {tmp_path}/seen; echo $$ > {tmp_path}/pid").reboot("k", {})
        == Accepted()
    )
    seen = json.loads((tmp_path / "seen").read_text())
    assert seen["pid"] == int((tmp_path / "pid").read_text())
    assert seen["boot"] == "b1/0"


def test_a_command_that_fails(make):
    rebooter = make("echo one; echo no such machine >&2; exit 3")
    assert rebooter.reboot("k", {}) == NotAccepted("the reboot command /bin/sh: exit code 3: no such machine")
    assert rebooter.pending() == Idle()
    assert make("kill -9 $$").reboot("k", {}) == NotAccepted("the reboot command /bin/sh: killed by SIGKILL")


def test_a_program_that_is_not_there(run_dir, no_systemd):
    rebooter = CommandRebooter(["/nowhere/reboot"], run_dir, "b1/0", no_systemd, LONG)
    answer = rebooter.reboot("k", {})
    assert isinstance(answer, NotAccepted)
    assert "exit code 127" in answer.reason


def test_one_that_still_runs_may_fire(make, run_dir):
    rebooter = make("exec sleep 100", SHORT)
    assert rebooter.reboot("k", {}) == Accepted()
    pid = recorded(run_dir)["pid"]
    assert rebooter.pending() == Firing(f"the reboot command still runs, pid {pid}")
    # A later life of the agent in the same boot sees it too; one in another boot knows that it is gone.
    assert make("true").pending() == Firing(f"the reboot command still runs, pid {pid}")
    assert make("true", boot="b2/0").pending() == Idle()
    assert make("true", boot="b1/1").pending() == Idle()
    finish(rebooter)
    assert rebooter.pending() == Idle()


def test_no_second_command_while_one_runs(make, tmp_path):
    rebooter = make(f"echo >> {tmp_path}/fired; exec sleep 100", SHORT)
    while not (tmp_path / "fired").exists():
        assert rebooter.reboot("k", {}) == Accepted()
    assert rebooter.reboot("k", {}) == Accepted()
    assert make(f"echo >> {tmp_path}/fired", LONG).reboot("k", {}) == Accepted()
    assert (tmp_path / "fired").read_text() == "\n"
    finish(rebooter)


def test_a_failure_that_left_something_behind_is_no_failure(make, run_dir):
    rebooter = make("sleep 100 & exit 1")
    assert rebooter.reboot("k", {}) == Accepted()
    assert rebooter.pending() == Firing(f"the reboot command still runs, pid {recorded(run_dir)['pid']}")
    finish(rebooter)


def test_a_scheduled_shutdown_may_fire(make, tmp_path, tool):
    runtime = tmp_path / "systemd-run"
    (runtime / "systemd" / "system").mkdir(parents=True)
    (runtime / "systemd" / "shutdown").mkdir()
    tool("busctl", "exit 1")
    system = System(runtime=runtime, tools=tool("systemctl", '[ "$1" = list-jobs ] || echo running'))
    rebooter = make(f"echo MODE=reboot > {runtime}/systemd/shutdown/scheduled; exit 1", system=system)
    assert rebooter.pending() == Idle()
    assert rebooter.reboot("k", {}) == Accepted()
    assert rebooter.pending() == Firing("a reboot is scheduled; `shutdown -c` cancels it")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"boot": "b1/0"}', '{"boot": "b1/0", "pid": 1, "start_ticks": 1}'])
def test_a_record_that_cannot_be_read_is_firing(make, run_dir, tmp_path, text):
    (run_dir / "reboot-command.json").write_text(text)
    rebooter = make(f"echo > {tmp_path}/fired")
    pending = rebooter.pending()
    (run_dir / "reboot-command.json").unlink()
    assert isinstance(pending, Firing)
    assert "remove it when no reboot command runs" in pending.cause
    assert rebooter.pending() == Idle()


def test_a_number_that_was_given_out_again_is_not_ours(make, run_dir):
    mine = {"boot": "b1/0", "pid": os.getpid(), "start_ticks": start_ticks(os.getpid()) - 1}
    (run_dir / "reboot-command.json").write_text(json.dumps(mine))
    assert make("true").pending() == Idle()


def test_nothing_is_started_that_cannot_be_recorded(make, run_dir, tmp_path):
    (run_dir / ".reboot-command.json.new").mkdir()
    answer = make(f"echo > {tmp_path}/fired").reboot("k", {})
    assert isinstance(answer, NotAccepted)
    assert "was not started, since it cannot be recorded" in answer.reason
    assert not (tmp_path / "fired").exists()


def test_no_run_dir(tmp_path, no_systemd):
    rebooter = CommandRebooter(["true"], tmp_path / "missing", "b1/0", no_systemd, LONG)
    answer = rebooter.reboot("k", {})
    assert isinstance(answer, NotAccepted)
    assert "cannot be started" in answer.reason


def test_the_command_outlives_an_agent_that_is_killed(run_dir, tmp_path):
    """The agent dies while it waits; the command goes on, and the next life of the agent knows of it."""
    program = (
        "import sys\nfrom datetime import timedelta\nfrom pathlib import Path\n"
        "from locksmith.host.system import System\nfrom locksmith.rebooters.command import CommandRebooter\n"
        "here = Path(sys.argv[1])\n"
        "command = ['sh', '-c', 'kill -9 $0; exec sleep 100', str(__import__('os').getpid())]\n"
        "CommandRebooter(command, here, 'b1/0', System(runtime=here), timedelta(seconds=60)).reboot('k', {})"
    )
    done = subprocess.run([sys.executable, "-c", program, str(run_dir)], check=False)
    assert done.returncode == -signal.SIGKILL
    later = CommandRebooter(["true"], run_dir, "b1/0", System(runtime=tmp_path / "no"), LONG)
    assert later.pending() == Firing(f"the reboot command still runs, pid {recorded(run_dir)['pid']}")


def test_why_the_machine_is_still_up(make, run_dir, tool, tmp_path):
    nothing = "nobody names an inhibitor, a running job or a unit that does not stop"
    assert make("true").explain() == nothing
    rebooter = make("echo waiting for the array; exec sleep 100", SHORT)
    while not (run_dir / "reboot-command.log").exists() or not (run_dir / "reboot-command.log").read_text():
        assert rebooter.reboot("k", {}) == Accepted()
    pid = recorded(run_dir)["pid"]
    said = "the reboot command said: waiting for the array"
    assert rebooter.explain() == f"the reboot command still runs, pid {pid}; {said}; {nothing}"
    finish(rebooter)
    runtime = tmp_path / "systemd-run"
    (runtime / "systemd" / "system").mkdir(parents=True)
    tool(
        "systemctl",
        '[ "$1" != list-jobs ] || echo "8 nfs.mount stop running"; [ "$1" != is-system-running ] || echo running',
    )
    tool("busctl", "exit 1")
    tools = tool("systemd-inhibit", "echo 'apt 0 root 12 apt shutdown upgrading block'")
    explained = make("true", system=System(runtime=runtime, tools=tools)).explain()
    assert explained == f"{said}; inhibitor: apt 0 root 12 apt shutdown upgrading block; job: nfs.mount stop running"
