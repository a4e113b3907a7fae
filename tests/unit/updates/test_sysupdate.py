from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from locksmith.core.needs import Need, NeedUnknown, NotNeeded
from locksmith.host.outcome import Finished
from locksmith.updates import Provider
from locksmith.updates.sysupdate import Sysupdate

SAMPLES = Path(__file__).parents[2] / "samples" / "updates" / "sysupdate"
LONG = timedelta(seconds=60)


def sample(name):
    return (SAMPLES / f"{name}.stderr.txt").read_text()


@pytest.fixture
def ask(program):
    def of(stderr, code, **more):
        provider: Provider = Sysupdate("image", LONG, command=program(stderr=stderr, code=code, **more))
        return provider.ask()

    return of


@pytest.mark.parametrize(
    ("name", "origin", "target"), [("newer", "004", "005"), ("constructed-newer-chatty", "1.0", "1.1")]
)
def test_a_need(ask, name, origin, target):
    need = ask(sample(name), 0)
    assert need == Need(
        "image", "sysupdate", need.fingerprint, f"version {target} is installed", origin=origin, target=target
    )


@pytest.mark.parametrize(("name", "running"), [("matches", "004"), ("older", "20260527200656")])
def test_no_need(ask, name, running):
    assert ask(sample(name), 1) == NotNeeded("image", running=running)


@pytest.mark.parametrize("name", ["no-definitions", "none-installed", "no-image-version", "component"])
def test_a_failure_has_the_exit_code_of_a_no_and_is_none(ask, name):
    said = sample(name).splitlines()[-1]
    assert ask(sample(name), 1) == NeedUnknown(
        "image", f"systemd-sysupdate pending: no word about versions; exit code 1: {said}"
    )


@pytest.mark.parametrize(
    ("name", "code"), [("newer", 1), ("newer", 2), ("matches", 0), ("older", 0), ("matches", 3), ("no-definitions", 0)]
)
def test_a_code_that_does_not_fit_the_words(ask, name, code):
    assert isinstance(ask(sample(name), code), NeedUnknown)


def test_what_is_asked_and_how(ask, arguments, tmp_path, monkeypatch):
    """The environment of the agent must not hide the message or mark it up."""
    monkeypatch.setenv("SYSTEMD_LOG_LEVEL", "emerg")
    monkeypatch.setenv("SYSTEMD_LOG_TARGET", "null")
    ask(sample("newer"), 0, then=f'echo "$SYSTEMD_LOG_LEVEL $SYSTEMD_LOG_TARGET $LC_ALL" > {tmp_path}/environment')
    assert arguments() == "pending"
    assert (tmp_path / "environment").read_text() == "info console C\n"


def test_the_installed_version_is_the_update(ask):
    first = ask(sample("newer"), 0).fingerprint
    assert ask("noise\n" + sample("newer"), 0).fingerprint == first
    assert ask(sample("newer").replace("004", "003"), 0).fingerprint == first
    assert ask(sample("newer").replace("005", "006"), 0).fingerprint != first


def test_why_nobody_can_say(ask, program):
    assert "killed by SIGKILL" in ask("", 0, then="kill -9 $$").reason
    slow = program(then="exec sleep 100")
    assert "no end within 100ms" in Sysupdate("image", timedelta(seconds=0.1), command=slow).ask().reason
    assert Sysupdate("image", LONG, command=("/nowhere",)).ask() == NeedUnknown(
        "image", "systemd-sysupdate pending: cannot be started: /nowhere: no such file or directory"
    )


def test_the_program_is_looked_up_in_the_path(program, tmp_path, monkeypatch):
    program(stderr=sample("newer"))
    (tmp_path / "program").rename(tmp_path / "systemd-sysupdate")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert Sysupdate("image", LONG).ask().target == "005"


WORDS = st.sampled_from(["Newest installed version '", "' is newer than", "' matches", " booted version '", "'.", "\n"])


@settings(max_examples=200)
@given(st.lists(WORDS | st.text(max_size=4), max_size=12).map("".join), st.integers(0, 255))
def test_nothing_raises(stderr, code):
    answer = Sysupdate("image", LONG).read(Finished(code, "", stderr))
    if isinstance(answer, Need):
        assert code == 0
        assert "is newer than" in stderr
