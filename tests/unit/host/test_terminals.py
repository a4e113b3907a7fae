import os
import pty
import termios
from datetime import UTC, datetime, timedelta

import pytest

from locksmith.host.terminals import Terminals

NOW = datetime(2026, 1, 1, 12, 30, tzinfo=UTC)
PATIENCE = timedelta(seconds=0.05)


class Terminal:
    """A terminal whose owner reads now and then."""

    def __init__(self):
        self.ours, self.theirs = pty.openpty()
        os.set_blocking(self.ours, False)
        self.name = os.ttyname(self.theirs).removeprefix("/dev/")

    def read(self):
        try:
            return os.read(self.ours, 65536).decode()
        except BlockingIOError:
            return ""

    def stop(self):
        """As Ctrl-S does: nothing goes out any more."""
        termios.tcflow(self.theirs, termios.TCOOFF)

    def close(self):
        os.close(self.ours)
        os.close(self.theirs)


@pytest.fixture
def terminal():
    made = []

    def make():
        made.append(Terminal())
        return made[-1]

    yield make
    for one in made:
        one.close()


def tell(ttys, *lines, root=None):
    return (
        Terminals(root, PATIENCE).tell(ttys, lines, "n1", NOW)
        if root
        else Terminals(patience=PATIENCE).tell(ttys, lines, "n1", NOW)
    )


def test_a_message(terminal):
    alice = terminal()
    assert tell([alice.name], "This machine will reboot.", "Reason: kernel") == (alice.name,)
    assert alice.read() == (
        "\r\n\aBroadcast message from locksmith on n1 (2026-01-01T12:30:00Z):\r\n\r\n"
        "This machine will reboot.\r\nReason: kernel\r\n\r\n"
    ).replace("\r\n", "\r\r\n")  # the terminal itself adds one to each line feed


def test_each_terminal_once(terminal):
    alice = terminal()
    assert tell([alice.name, alice.name], "x") == (alice.name,)
    assert alice.read().count("Broadcast") == 1


def test_no_escape_sequence_reaches_a_terminal(terminal):
    alice = terminal()
    tell([alice.name], "kernel\x1b[2J\x1b]0;owned\x07\r\n\x9b5n$(reboot)\u202e")
    said = alice.read()
    assert "\x1b" not in said
    assert "\x9b" not in said
    assert "\u202e" not in said
    assert said.count("\a") == 1
    assert "kernel[2J" in said


def test_a_stopped_terminal_is_given_up_and_the_others_are_told(terminal):
    stopped, alice = terminal(), terminal()
    stopped.stop()
    assert tell([stopped.name, alice.name], "x") == (alice.name,)
    assert "Broadcast" in alice.read()


def test_many_stopped_terminals_cost_no_more_than_five(terminal):
    several = [terminal() for _ in range(8)]
    for one in several:
        one.stop()
    assert tell([one.name for one in several], "x") == ()


@pytest.mark.parametrize(
    "tty", ["", "..", "../etc/passwd", "/dev/null", "pts/../null", "pts//1", ":0", "tty1\n", "a b"]
)
def test_what_is_no_name_of_a_terminal(tty):
    assert tell([tty], "x") == ()


def test_what_is_no_terminal(tmp_path):
    (tmp_path / "file").write_text("old")
    (tmp_path / "pts").mkdir()
    (tmp_path / "null").symlink_to("/dev/null")
    os.mkfifo(tmp_path / "fifo")
    assert tell(["file", "pts", "null", "fifo", "gone"], "x", root=tmp_path) == ()
    assert (tmp_path / "file").read_text() == "old"
