from datetime import timedelta
from pathlib import Path

import pytest

from locksmith.host.system import System

SAMPLES = Path(__file__).parents[2] / "samples" / "systemctl"

_SCRIPT = """#!/bin/sh
answer() {{ cat "{folder}/$1.txt"; cat "{folder}/$1.stderr.txt" >&2; exit "$(cat "{folder}/$1.code")"; }}
echo "$@" >> "{folder}/asked"
case "$1" in
is-system-running) answer running ;;
list-units) answer failed ;;
list-jobs) answer jobs ;;
show) answer show ;;
esac
exit 99
"""


class Machine:
    """What systemctl says here; each answer is a sample's name or a text."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "run/systemd/system").mkdir(parents=True)
        (folder / "tools").mkdir()
        tool = folder / "tools/systemctl"
        tool.write_text(_SCRIPT.format(folder=folder))
        tool.chmod(0o755)
        self.system = System(runtime=folder / "run", tools=folder / "tools", tool_limit=timedelta(seconds=60))
        self.says(running="running-running", failed="failed-none", jobs=("", 0), show=("", 0))

    def says(self, **answers: str | tuple[str, int]) -> None:
        """By question; a text comes with its exit code, a sample with the one that it was printed with."""
        for question, answer in answers.items():
            text, code, error = (*answer, "") if isinstance(answer, tuple) else _sample(answer)
            (self.folder / f"{question}.txt").write_text(text)
            (self.folder / f"{question}.stderr.txt").write_text(error)
            (self.folder / f"{question}.code").write_text(str(code))

    def asked(self) -> list[str]:
        """The words of each call so far."""
        path = self.folder / "asked"
        return path.read_text().splitlines() if path.exists() else []


def _sample(name: str) -> tuple[str, int, str]:
    text, error = SAMPLES / f"{name}.txt", SAMPLES / f"{name}.stderr.txt"
    assert text.exists() or error.exists(), f"no sample {name}"
    code = 1 if error.exists() or name in ("running-starting", "running-degraded") else 0
    return text.read_text() if text.exists() else "", code, error.read_text() if error.exists() else ""


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine that is well, with systemd."""
    return Machine(tmp_path)
