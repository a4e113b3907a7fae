"""The manual pages are those of these commands, and groff has nothing to say against them."""

import shutil
import subprocess

import pytest

from locksmith.cli.program import COMMANDS
from tests.tools.manual import FOLDER, pages
from tests.tools.roff import Page, inline

WAIT = 60


@pytest.fixture(scope="module")
def written() -> dict[str, str]:
    return pages()


def test_every_command_has_its_page(written: dict[str, str]) -> None:
    assert {f"lockctl-{name}.1" for name in COMMANDS} <= set(written)
    assert "\\fB\\-\\-proof\\fR" in written["lockctl-doctor.1"]
    assert "\\fBnot_held\\fR" in written["lockctl.1"]
    assert "\\fBupdate\\-engine\\fR" in written["locksmith.toml.5"]
    assert "\\fB\\-\\-once\\fR" in written["locksmithd.8"]


def test_the_pages_in_deploy_are_those(written: dict[str, str]) -> None:
    kept = {path.name: path.read_text() for path in FOLDER.iterdir()}
    old = sorted(name for name in written.keys() | kept.keys() if written.get(name) != kept.get(name))
    assert not old, f"run `make man`: {', '.join(old)}"


def test_groff_renders_them_without_a_warning(written: dict[str, str]) -> None:
    groff = shutil.which("groff")
    if groff is None:
        pytest.skip("NOT TESTED: no groff here")
    for name, text in written.items():
        command = [groff, "-man", "-Tutf8", "-K", "utf8", "-wall", "-z"]
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=WAIT, check=False)
        assert (done.returncode, done.stderr) == (0, ""), name


def test_markdown_becomes_roff() -> None:
    page = Page("x", 1, "a test")
    page.markdown(
        "A `code-word`, **bold** and [a link](http://x); it's \\ *so*.\n.request\n\n- one\n  goes on\n- two\n"
        "| a | b |\n|---|---|\n| `x` | y \\| z |\n\n### Head\n```\n.raw '-'\n\n```\n"
    )
    lines = str(page).splitlines()
    assert "A \\fBcode\\-word\\fR, \\fBbold\\fR and a link; it\\(aqs \\e \\fIso\\fR. .request" in lines
    assert [lines[n + 1] for n, line in enumerate(lines) if line.startswith(".IP")] == ["one goes on", "two"]
    place = lines.index(".TP")
    assert lines[place + 1 : place + 3] == ["\\fBx\\fR", "y | z"]
    assert ".SS Head" in lines
    assert "\\&.raw \\(aq\\-\\(aq" in lines
    assert inline("plain") == "plain"
