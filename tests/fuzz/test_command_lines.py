"""Command lines: any words end with a documented exit code and a word why, and never with a traceback."""

import io
import json
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from locksmith import daemon, gateway
from locksmith.cli import goflags, locksmithctl
from locksmith.cli.completion import answer
from locksmith.cli.program import COMMANDS, run
from locksmith.cli.program import lockctl as program
from locksmith.core.durations import format_duration, parse_duration
from locksmith.core.windows import parse_start, parse_window, parse_zone
from tests.fuzz.profile import fuzz
from tests.fuzz.running import captured, lockctl

HARMLESS = sorted(set(COMMANDS) - {"demo", "doctor"})
"""The demo takes its time, and the doctor asks the machine."""
OPTIONS = sorted({
    word
    for name in HARMLESS
    for param in program.get_command(program.make_context("lockctl", ["version"], resilient_parsing=True), name).params  # type: ignore[union-attr]
    for word in param.opts
    if word.startswith("-")
} - {"--store", "--timeout", "--config"})  # fmt: skip
"""Those that name another store or let it wait for ever are given on purpose below."""
WORDS = st.one_of(
    st.sampled_from(HARMLESS),
    st.sampled_from(OPTIONS),
    st.sampled_from([
        "", " ", "-", "--", "---", "-x", "--json=1", "--store", "--store=", "--store=etcd://", "--store=sqlite://", "--store=memory://",
        "--store=nonsense", "--store=consul://[", "--config", "--config=/", "--config=/nonexistent",
        "--timeout", "--timeout=0s",
        "--timeout=1ms", "--timeout=-1s", "--timeout=x", "--group=web", "--group=", "--group=a/b", "--color=always",
        "--color=x", "-qv",
        "--reason=x", "--reason=", "--reason", "--reason=\x1b[2J", "--reason=" + "x" * 9000,
        "n1", "default", "web", "0", "1", "999999",
        "2h", "1d", "99999999d", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59", "--until=36500d",
        "--until=9999-12-31T23:59:59Z", "--since=36500d",
        "--since=0001-01-01T00:00:00Z", "--at=9999-12-31T23:59:59Z",
        "--at=0001-01-01T00:00:00Z", "--start=23:00", "--start=Thu 23:00", "--length=1h", "--timezone=local",
        "--timezone=../../etc/passwd", "--timezone=Europe/Berlin", "--timezone=Asia/Tokyo", "bash", "\udcff", "--reason=\udcff",
        "--group=\udcff", "é", "\0", "a\nb",
    ]),
    st.text(max_size=5),
)  # fmt: skip
LINES = st.one_of(
    st.lists(WORDS, max_size=6),
    st.builds(lambda command, words: [command, *words], st.sampled_from(HARMLESS), st.lists(WORDS, max_size=4)),
)


@fuzz(8)
@given(LINES)
@example(["pause", "--reason=\udcff"])
@example(["windows", "--at=9999-12-31T23:59:59Z", "--start=23:00", "--length=1h", "--timezone=Asia/Tokyo"])
@example(["windows", "--at=0001-01-01T00:00:00Z", "--start=23:00", "--length=1h", "--timezone=America/New_York"])
@example(["pause", "--reason=x", "--until=9999-12-31T23:59:59Z"])
def test_lockctl(configured: Path, words: list[str]) -> None:
    lockctl("--timeout=300ms", *words)


@fuzz(4)
@given(st.sampled_from(HARMLESS), st.lists(WORDS, max_size=4))
def test_lockctl_in_json_writes_one_document(configured: Path, command: str, words: list[str]) -> None:
    if {"--", "completion", "--help", "-h", "--follow", "--watch", "--version"} & {*words, command}:
        return
    with captured() as (out, err):
        code = run(["--timeout=300ms", "--json", command, *words])
        out.flush()
        err.flush()
        said = out.buffer.getvalue().decode()  # type: ignore[attr-defined]
    assert code in range(7)
    lines = said.splitlines()
    assert len(lines) == 1, (command, words, said)
    document = json.loads(lines[0])
    assert document["schema"] == 1
    assert ("error" in document) <= (code != 0)


@fuzz(4)
@given(LINES)
def test_completion_never_says_a_word_of_its_own(configured: Path, words: list[str]) -> None:
    with captured() as (_, err):
        assert answer(program, words) == 0
        err.flush()
        assert err.buffer.getvalue() == b""  # type: ignore[attr-defined]


FLAGS = st.one_of(
    st.sampled_from([
        "status", "lock", "unlock", "set-max", "help", "3", "0", "-1", "n1", "-group", "-group=web", "--group=a/b", "-endpoint=http://[",
        "-endpoint=", "-endpoint=sqlite:///x/y", "-debug", "-debug=x", "-version", "-h", "-", "--", "---x", "-etcd-keyfile=/x",
        "-etcd-password=x", "-etcd-username=u", "\udcff", "-group=\udcff", "", "\0", "-=x",
    ]),
    st.text(max_size=4),
)  # fmt: skip


@fuzz(4)
@given(st.lists(FLAGS, max_size=5))
def test_locksmithctl(configured: Path, words: list[str]) -> None:
    with captured() as (out, err):
        code = locksmithctl.run(words)
        out.flush()
        err.flush()
        said = (out.buffer.getvalue() + err.buffer.getvalue()).decode()  # type: ignore[attr-defined]
    assert code in (0, 1, 2)
    assert "Traceback" not in said
    assert "internal" not in said


@fuzz(2)
@given(st.lists(FLAGS, max_size=5))
def test_flags(words: list[str]) -> None:
    try:
        found = goflags.parse(words, locksmithctl.FLAGS, locksmithctl.SWITCHES)
    except (goflags.FlagError, goflags.HelpAsked):
        return
    assert words[len(words) - len(found.rest) :] == found.rest
    assert set(found.texts) <= set(locksmithctl.FLAGS)


@pytest.mark.parametrize("main", [daemon.main, gateway.main], ids=["locksmithd", "locksmith-gateway"])
def test_the_daemons_check_whatever_they_are_given(configured: Path, main: Callable[[list[str]], int]) -> None:
    @fuzz()
    @given(st.lists(WORDS, max_size=3))
    def check(words: list[str]) -> None:
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            try:
                code = main(["--check", *words])
            except SystemExit as end:
                code = end.code
        assert code in (0, 1, 2), (words, err.getvalue())
        assert "Traceback" not in err.getvalue()

    check()


TIMES = st.text(alphabet="0123456789:.-*, MonTueWdhms/", max_size=14)
ZONES = st.sampled_from(
    ["UTC", "local", "Europe/Berlin", "", ".", "/", "..", "Europe", "/etc/passwd", "\0", "é", "posixrules"]
)


@fuzz(8)
@given(TIMES, st.text(alphabet="0123456789.dhmsu ", max_size=6), ZONES | st.text(max_size=6))
def test_a_window_is_one_or_a_value_error(start: str, length: str, zone: str) -> None:
    for parse in (lambda: parse_start(start), lambda: parse_zone(zone), lambda: parse_window("w", start, length, zone)):
        try:
            parse()
        except ValueError as error:
            str(error).encode("utf-8", "backslashreplace")


@fuzz(4)
@given(st.text(alphabet="0123456789.dhms", max_size=8))
def test_a_duration_that_is_read_is_written_and_read_as_the_same(text: str) -> None:
    try:
        read = parse_duration(text)
    except ValueError:
        return
    assert parse_duration(format_duration(read)) == read
