import os
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from locksmith.host.groups import start_ticks
from locksmith.host.outcome import Cancelled, Finished, NotStarted, Signalled, TimedOut
from locksmith.host.process import KEPT_BYTES, run

LONG = timedelta(seconds=60)
SHORT = timedelta(seconds=0.3)
NO_GRACE = timedelta(seconds=0.1)


def shell(script, **options):
    return run(["/bin/sh", "-c", script], **({"timeout": LONG} | options))


def gone(pid):
    """Not there, or a zombie that somebody else has to reap."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] in "ZX"
    except FileNotFoundError:
        return True


def test_exit_code_and_both_outputs():
    assert shell("echo out; echo err >&2; exit 3") == Finished(3, "out\n", "err\n")


def test_death_by_a_signal_is_told_apart():
    assert shell("echo last; kill -9 $$") == Signalled(9, "last\n", "")


@pytest.mark.parametrize("size", [1, 1_000_000])
def test_standard_input_arrives_whole(size):
    assert shell("wc -c", stdin=b"x" * size) == Finished(0, f"{size}\n", "")


def test_without_input_standard_input_is_at_its_end():
    assert shell("cat; echo done") == Finished(0, "done\n", "")


def test_a_command_need_not_read_its_input():
    assert shell("exec true", stdin=b"x" * 1_000_000) == Finished(0, "", "")


def test_only_the_end_of_a_long_output_is_kept():
    outcome = shell("head -c 1000000 /dev/zero | tr '\\0' x; echo end")
    assert isinstance(outcome, Finished)
    assert len(outcome.stdout) == KEPT_BYTES
    assert outcome.stdout.endswith("xend\n")


def test_a_caller_can_ask_for_more_of_the_output():
    outcome = shell("head -c 100000 /dev/zero | tr '\\0' x; echo end; echo why >&2", keep=200_000)
    assert outcome == Finished(0, "x" * 100_000 + "end\n", "why\n")
    assert len(shell("head -c 100000 /dev/zero | tr '\\0' x", keep=50_000).stdout) == 50_000
    assert shell("echo abc", keep=2).stdout == "c\n"


def test_output_that_is_no_text_survives():
    assert shell(r"printf 'a\377b'") == Finished(0, "a\ufffdb", "")


def test_time_out_ends_the_whole_group():
    outcome = shell("sleep 100 & echo $!; echo $$; wait", timeout=SHORT)
    assert isinstance(outcome, TimedOut)
    assert outcome.limit == SHORT
    pids = outcome.stdout.split()
    assert len(pids) == 2
    assert all(gone(pid) for pid in pids)


def test_what_ignores_term_is_killed():
    script = "trap '' TERM; echo $$; while :; do sleep 0.01; done"
    outcome = shell(script, timeout=SHORT, grace=NO_GRACE)
    assert isinstance(outcome, TimedOut)
    assert gone(outcome.stdout.strip())


def test_term_leaves_time_to_clean_up():
    outcome = shell("trap 'echo cleaned; exit 0' TERM; while :; do sleep 0.01; done", timeout=SHORT, grace=LONG)
    assert isinstance(outcome, TimedOut)
    assert outcome.stdout == "cleaned\n"


def test_a_stopped_command_is_ended_too():
    outcome = shell("echo $$; kill -STOP $$", timeout=SHORT, grace=LONG)
    assert isinstance(outcome, TimedOut)
    assert gone(outcome.stdout.strip())


def test_left_overs_of_a_finished_command_are_ended():
    outcome = shell("sleep 100 >/dev/null 2>&1 & echo $!")
    assert isinstance(outcome, Finished)
    assert gone(outcome.stdout.strip())


def test_a_grandchild_that_keeps_the_pipe_open_does_not_hold_us(tmp_path):
    os.mkfifo(tmp_path / "left")
    outcome = shell(f"setsid sh -c 'echo $$; echo >{tmp_path}/left; exec sleep 100' & read _ <{tmp_path}/left; exit 0")
    assert isinstance(outcome, Finished)
    pid = int(outcome.stdout.strip())
    try:
        # Had we waited for the end of the pipe, the sleep would be over by now.
        assert not gone(pid)
    finally:
        os.kill(pid, 9)


def test_cancelled_before_it_began():
    cancel = threading.Event()
    cancel.set()
    assert shell("sleep 100", cancel=cancel) == Cancelled()


def test_cancelled_from_another_thread(tmp_path):
    os.mkfifo(tmp_path / "started")
    cancel = threading.Event()

    def stop():
        (tmp_path / "started").read_text()  # blocks until the command opens its end
        cancel.set()

    thread = threading.Thread(target=stop)
    thread.start()
    outcome = shell(f"echo $$ > {tmp_path}/pid; echo > {tmp_path}/started; sleep 100", cancel=cancel)
    thread.join()
    assert outcome == Cancelled()
    assert gone((tmp_path / "pid").read_text().strip())


def test_several_threads_at_once():
    results = {}

    def ask(number):
        results[number] = shell(f"echo {number}; exit {number}")

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {number: Finished(number, f"{number}\n", "") for number in range(8)}


def test_environment_is_added_and_the_service_managers_words_are_not_passed_on(monkeypatch):
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/nowhere")
    monkeypatch.setenv("KEPT", "kept")
    outcome = shell('echo "$KEPT $ADDED ${NOTIFY_SOCKET-none}"', environment={"ADDED": "added"})
    assert outcome == Finished(0, "kept added none\n", "")


def test_no_file_is_inherited(tmp_path):
    held = os.open(tmp_path / "lock", os.O_CREAT | os.O_RDWR)
    os.set_inheritable(held, True)
    try:
        outcome = shell(f"ls -l /proc/$$/fd | grep -c {tmp_path}/lock")
    finally:
        os.close(held)
    assert outcome == Finished(1, "0\n", "")


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (["/nowhere/at/all"], "/nowhere/at/all: no such file or directory"),
        (["/etc/passwd"], "/etc/passwd: permission denied"),
        ([], "the command is an empty list"),
        (["echo", "a\0b"], "echo: embedded null byte"),
    ],
)
def test_what_cannot_be_started(command, reason):
    assert run(command, timeout=LONG) == NotStarted(reason)


def test_a_script_without_its_first_line(tmp_path):
    (tmp_path / "hook").write_text("echo no interpreter\n")
    (tmp_path / "hook").chmod(0o755)
    assert run([str(tmp_path / "hook")], timeout=LONG) == NotStarted(f"{tmp_path}/hook: exec format error")


def test_exit_codes_that_the_kernel_throws_away_are_not_made_up():
    program = (
        "import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        "from datetime import timedelta\n"
        "from locksmith.host.process import run\n"
        "print(run(['false'], timeout=timedelta(seconds=9)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("NotStarted(reason='SIGCHLD is ignored")


def test_the_leader_leads_a_session_of_its_own():
    outcome = shell("cat /proc/$$/stat")
    assert isinstance(outcome, Finished)
    pid, _name, _state, _parent, group, session, *_ = outcome.stdout.split()
    assert pid == group == session != str(os.getsid(0))
    assert start_ticks(int(pid)) is None
