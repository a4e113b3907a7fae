"""What the six commands that people look at write: as wide as the terminal and no wider, and nothing but text in a pipe."""

import os
import re
import sys
from pathlib import Path

import pytest

from locksmith.core.documents import Phase
from locksmith.semaphore import operating
from tests.tools.screens import SCREENS, piped, terminal
from tests.unit.cli.conftest import Fleet, Lockctl, node_id

LOCKCTL = Path(sys.executable).with_name("lockctl")
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
LONG = "an-image-with-a-name-that-does-not-fit-on-any-terminal-of-eighty-columns-at-all-6.1.0-27-amd64"


@pytest.fixture
def crowd(fleet: Fleet) -> Fleet:
    """Long names everywhere: two holders of whom one is sick, one that waits, a pause with a long reason."""
    fleet.slots(2, "web")
    for number in range(1, 6):
        host = f"web-server-{number}.datacentre-{number}.example.org"
        fleet.register(node_id(number), host, group="web", why=f"waits for {LONG}", need=LONG)
    fleet.hold(node_id(1), Phase.ARMED, group="web", host="web-server-1.datacentre-1.example.org")
    fleet.hold(node_id(2), Phase.FAILED, group="web", host="web-server-2.datacentre-2.example.org")
    operating.pause_group(fleet.actor, "web", f"INC-4711: {LONG} and again {LONG}", None)
    return fleet


def words_of(name: str) -> list[str]:
    words = [node_id(3) if word == "web5" else word for word in SCREENS[name]]
    return [*words, "--group", "web"]


def text(written: str) -> list[str]:
    return [ESCAPE.sub("", line) for line in written.splitlines()]


@pytest.mark.parametrize("width", [80, 200])
@pytest.mark.parametrize("name", SCREENS)
def test_no_line_is_wider_than_the_terminal(
    lockctl: Lockctl, crowd: Fleet, monkeypatch: pytest.MonkeyPatch, name: str, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    lines = text(lockctl(*words_of(name), "--color", "always").out)
    assert len(lines) > 2
    assert [line for line in lines if len(line) > width] == []


@pytest.mark.parametrize("name", SCREENS)
def test_a_pipe_gets_text(lockctl: Lockctl, crowd: Fleet, name: str) -> None:
    out = lockctl(*words_of(name)).out
    assert len(out.splitlines()) > 2
    assert [letter for letter in out if not letter.isprintable() and letter != "\n"] == []


@pytest.mark.slow
def test_a_real_terminal(crowd: Fleet) -> None:
    """Colours at its width; with NO_COLOR the same text and not one escape code; in a pipe whole ids."""
    command = [str(LOCKCTL), "--store", crowd.url, "--group", "web", "status"]
    colored, plain = terminal(command, 80), terminal(command, 80, NO_COLOR="1")
    assert (colored.code, plain.code) == (0, 0)
    assert ESCAPE.search(colored.text)
    assert not ESCAPE.search(plain.text)
    assert max(map(len, text(colored.text))) <= 80
    assert [line.split()[:2] for line in text(colored.text)] == [line.split()[:2] for line in text(plain.text)]
    whole = piped(command).text
    assert "\x1b" not in whole
    assert node_id(1) in whole
    assert node_id(1) not in plain.text
    assert os.linesep.join(text(whole)) == whole.rstrip("\n")


def test_a_long_name_is_cut_before_a_sentence_is_squeezed(
    lockctl: Lockctl, crowd: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a narrow terminal the reason keeps a column that can be read, and nodes can be told apart."""
    monkeypatch.setenv("COLUMNS", "80")
    for name, column in (("nodes", "WHY"), ("plan", "WHY"), ("status", "REASON")):
        lines = text(lockctl(*words_of(name), "--color", "always").out)
        head = next(line for line in lines if line.rstrip().endswith(column))
        assert head.index(column) <= 80 - 16
        assert "web-server-1.datace" in "".join(lines) or "web-server-3.datace" in "".join(lines)
