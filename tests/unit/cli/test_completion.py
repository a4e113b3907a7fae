"""Completion: what lockctl answers to a shell, and the scripts that ask."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from locksmith.cli.completion import SCRIPTS
from locksmith.cli.program import COMMANDS, COMPLETING
from tests.unit.cli.conftest import Fleet, Lockctl, Said, node_id

DEPLOYED = Path(__file__).parents[3] / "deploy/completions"
FILES = {"bash": "lockctl.bash", "zsh": "_lockctl", "fish": "lockctl.fish"}
WAIT = 60


@pytest.fixture
def typing(lockctl: Lockctl, monkeypatch: pytest.MonkeyPatch) -> Lockctl:
    monkeypatch.setenv(COMPLETING, "1")
    return lockctl


def words(typing: Lockctl, *line: str) -> list[str]:
    """The words of an answer; a store may take its time here, since others work on this machine."""
    said = typing("--timeout", "60s", *line)
    assert (said.code, said.err) == (0, "")
    return [row.partition("\t")[0] for row in said.out.splitlines()]


def test_commands_with_what_they_do(typing: Lockctl) -> None:
    said = typing("re")
    assert said.out.splitlines() == [f"{name}\t{COMMANDS[name][1]}" for name in ("resume", "reboot", "restored")]
    assert words(typing, "") == list(COMMANDS)
    assert [row.partition("\t")[0] for row in typing().out.splitlines()] == list(COMMANDS)


def test_options_and_their_values(typing: Lockctl) -> None:
    assert {"--fleet", "--until", "--node", "--json", "--store"} <= set(words(typing, "pause", "--"))
    assert words(typing, "pause", "--fl") == ["--fleet"]
    assert words(typing, "status", "--color", "a") == ["auto", "always"]
    assert words(typing, "--color=n") == ["never"]
    assert words(typing, "status", "--config", "/etc/h") == [":files"]
    assert words(typing, "completion", "") == ["bash", "zsh", "fish"]
    assert words(typing, "set-max", "") == []


def test_groups_and_nodes_of_the_store(typing: Lockctl, fleet: Fleet) -> None:
    fleet.slots(1, "web")
    fleet.slots(1, "db")
    fleet.register(node_id(1), "n1", group="web")
    fleet.register(node_id(2), "n2", group="db")
    fleet.register(node_id(3), "twin", group="db")
    fleet.register(node_id(4), "twin", group="db")
    assert words(typing, "status", "--group", "") == ["db", "web"]
    assert words(typing, "status", "--group=w") == ["web"]
    assert words(typing, "why", "n") == ["n1", "n2"]
    assert set(words(typing, "why", "")) == {"n1", "n2", node_id(3), node_id(4)}
    assert words(typing, "why", "--group", "web", "n") == ["n1"]
    assert words(typing, "--group", "web", "reboot", "n1", "n") == ["n1"]
    assert words(typing, "forget", node_id(2)[:8]) == [node_id(2)]
    for line in (["pause", "--node", "n"], ["resume", "--node=n"], ["history", "--node", "n"], ["lock", "n"]):
        assert words(typing, *line) == ["n1", "n2"], line


def test_the_store_of_the_line_is_asked(bare: Lockctl, fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(COMPLETING, "1")
    fleet.slots(1, "web")
    assert words(bare, "status", "--group", "") == []
    assert words(bare, "status", "--store", fleet.url, "--group", "") == ["web"]


def test_a_store_that_does_not_answer_is_not_told(typing: Lockctl, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        monkeypatch.setenv("LOCKSMITH_STORE", f"consul://127.0.0.1:{deaf.getsockname()[1]}")
        assert typing("why", "n") == Said(0, "", "")
    monkeypatch.setenv("LOCKSMITH_STORE", "nonsense://x")
    assert words(typing, "status", "--group", "") == []


def test_names_that_a_terminal_would_obey(typing: Lockctl, fleet: Fleet) -> None:
    fleet.slots(1)
    fleet.register(node_id(1), "n1\x1b[2J\n:files")
    assert [word for word in words(typing, "why", "n") if word.startswith("n1")] == ["n1?[2J?:files"]


def test_commands_and_options_are_completed_without_what_stores_need() -> None:
    program = f"""
import os, sys
os.environ[{COMPLETING!r}] = "1"
from locksmith.cli.program import run
for line in (["s"], ["status", "--"], ["pause", "--"], ["lock", "--"]):
    run(line)
sys.exit(", ".join({{"grpc", "requests", "consul", "rich", "sqlite3", "jeepney", "yaml"}} & set(sys.modules)) or 0)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=WAIT, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("shell", SCRIPTS)
def test_the_deployed_scripts_are_those_of_the_program(bare: Lockctl, shell: str) -> None:
    said = bare("completion", shell)
    assert (DEPLOYED / FILES[shell]).read_text() == said.out, "run `make completions`"
    assert bare("completion", shell, "--json").document["script"] == said.out


@pytest.mark.parametrize("shell", SCRIPTS)
def test_shells_can_read_their_scripts(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"NOT TESTED: no {shell} here")
    command = [shell, "-n", DEPLOYED / FILES[shell]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_bash_completes_with_it(fleet: Fleet, tmp_path: Path) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("NOT TESTED: no bash here")
    fleet.slots(1, "web")
    fleet.register(node_id(1), "n1", group="web")
    (tmp_path / "l.toml").write_text("")
    script = f"""
source {DEPLOYED}/lockctl.bash
try() {{
    COMP_WORDS=("$@")
    COMP_CWORD=$(( $# - 1 ))
    _lockctl {Path(sys.executable).with_name("lockctl")}
    echo "${{COMPREPLY[*]}}"
}}
try lockctl why --timeout 60s n
try lockctl status --timeout 60s --group = ""
try lockctl status --timeout 60s --group =
try lockctl status --timeout 60s --group = w
try lockctl fsck --rep
"""
    environment = os.environ | {"LOCKSMITH_CONFIG": str(tmp_path / "l.toml"), "LOCKSMITH_STORE": fleet.url}
    done = subprocess.run(
        [bash, "--norc", "-c", script], env=environment, capture_output=True, text=True, timeout=WAIT, check=False
    )
    assert (done.stdout.splitlines(), done.stderr) == (["n1", "web", "web", "web", "--repair"], "")
