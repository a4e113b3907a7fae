import os
import shutil
import signal
import subprocess

import pytest

from locksmith.host.groups import group_alive, members, start_ticks


@pytest.fixture
def start():
    """Start a process in a session of its own; its whole group is gone after the test."""
    started = []

    def begin(*command, **options):
        popen = subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE, **options)
        started.append(popen)
        return popen

    yield begin
    for popen in started:
        if members(popen.pid):
            os.killpg(popen.pid, signal.SIGKILL)
        popen.wait()
        popen.stdout.close()


def test_start_time_is_the_same_each_time_and_none_without_a_process():
    assert start_ticks(os.getpid()) == start_ticks(os.getpid()) > 0
    assert start_ticks(2**22 + 1) is None


def test_a_running_leader(start):
    leader = start("sleep", "100")
    ticks = start_ticks(leader.pid)
    assert members(leader.pid) == (leader.pid,)
    assert group_alive(leader.pid, ticks)


def test_another_process_with_the_same_number_is_not_ours(start):
    leader = start("sleep", "100")
    assert not group_alive(leader.pid, start_ticks(leader.pid) - 1)


def test_members_outlive_their_leader(start):
    leader = start("sh", "-c", "sleep 100 >/dev/null & echo $!")
    child = int(leader.stdout.read())
    ticks = start_ticks(leader.pid)
    leader.wait()
    assert members(leader.pid) == (child,)
    assert group_alive(leader.pid, ticks)


def test_a_zombie_runs_nothing(start):
    leader = start("true")
    ticks = start_ticks(leader.pid)
    os.waitid(os.P_PID, leader.pid, os.WEXITED | os.WNOWAIT)
    assert start_ticks(leader.pid) == ticks
    assert not group_alive(leader.pid, ticks)


def test_a_group_that_is_gone(start):
    leader = start("true")
    ticks = start_ticks(leader.pid)
    leader.wait()
    assert not group_alive(leader.pid, ticks)


def test_a_name_with_brackets_and_blanks(start, tmp_path):
    program = tmp_path / "a) S 1 (b"
    shutil.copy(shutil.which("sleep"), program)
    leader = start(str(program), "100")
    assert members(leader.pid) == (leader.pid,)
    assert start_ticks(leader.pid) >= start_ticks(os.getpid())
