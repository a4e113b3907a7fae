import subprocess
import sys
import time
from datetime import timedelta

from locksmith.host import gated
from locksmith.host.gated import Gated
from locksmith.host.groups import group_alive, start_ticks
from locksmith.host.outcome import NotStarted

LONG = timedelta(seconds=60)


def start(tmp_path, script, **environment):
    found = gated.start(["/bin/sh", "-c", script], environment=environment, output=tmp_path / "log")
    assert isinstance(found, Gated)
    return found


def test_nothing_runs_before_the_gate_opens_and_the_process_stays_the_same(tmp_path):
    waiting = start(tmp_path, f"echo $$ > {tmp_path}/pid; echo said $WORD; exit 3", WORD="it")
    assert group_alive(waiting.pid, waiting.start_ticks)
    assert waiting.wait(timedelta(0)) is None
    waiting.let_go()
    assert waiting.wait(LONG) == 3
    assert (tmp_path / "pid").read_text() == f"{waiting.pid}\n"
    assert waiting.output() == "said it\n"
    assert not group_alive(waiting.pid, waiting.start_ticks)


def test_the_start_time_survives_the_gate(tmp_path):
    waiting = start(tmp_path, "exec sleep 100")
    waiting.let_go()
    assert start_ticks(waiting.pid) == waiting.start_ticks
    subprocess.run(["kill", "-9", str(waiting.pid)], check=True)
    assert waiting.wait(LONG) == -9


def test_an_abandoned_one_never_runs(tmp_path):
    waiting = start(tmp_path, f"echo > {tmp_path}/fired")
    waiting.abandon()
    assert waiting.wait(timedelta(0)) == 1
    assert not group_alive(waiting.pid, waiting.start_ticks)
    assert not (tmp_path / "fired").exists()


def test_it_never_runs_when_we_die_before_the_gate_is_open(tmp_path):
    program = (
        "import os, sys\nfrom pathlib import Path\nfrom locksmith.host import gated\n"
        "here = Path(sys.argv[1])\n"
        "g = gated.start(['touch', str(here / 'fired')], environment={}, output=here / 'log')\n"
        "print(g.pid, g.start_ticks, flush=True)\nos.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=False)
    pid, ticks = map(int, done.stdout.split())
    while group_alive(pid, ticks):
        time.sleep(0.01)
    assert done.returncode == -9
    assert not (tmp_path / "fired").exists()


def test_its_standard_input_is_empty(tmp_path):
    waiting = start(tmp_path, "cat; echo end")
    waiting.let_go()
    assert waiting.wait(LONG) == 0
    assert waiting.output() == "end\n"


def test_a_program_that_is_not_there(tmp_path):
    waiting = gated.start(["/nowhere/reboot"], environment={}, output=tmp_path / "log")
    assert isinstance(waiting, Gated)
    waiting.let_go()
    assert waiting.wait(LONG) == 127
    assert "/nowhere/reboot" in waiting.output()


def test_what_cannot_be_started(tmp_path):
    assert gated.start([], environment={}, output=tmp_path / "log") == NotStarted("the command is an empty list")
    missing = gated.start(["true"], environment={}, output=tmp_path / "no" / "log")
    assert missing == NotStarted(f"cannot write {tmp_path}/no/log: No such file or directory")
