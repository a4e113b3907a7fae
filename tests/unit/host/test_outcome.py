from datetime import timedelta

import pytest

from locksmith.host.outcome import (
    MAX_LINE,
    Cancelled,
    Finished,
    NotStarted,
    Signalled,
    TimedOut,
    describe,
    last_line,
    printable,
    signal_name,
)


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (Finished(3, "", ""), "exit code 3"),
        (Finished(3, "out\n", ""), "exit code 3: out"),
        (Finished(3, "out\n", "first\nlast\n\n"), "exit code 3: last"),
        (Signalled(9, "", ""), "killed by SIGKILL"),
        (TimedOut(timedelta(seconds=90), "half\n", ""), "no end within 1m30s: half"),
        (Cancelled(), "cancelled"),
        (NotStarted("x: no such file"), "cannot be started: x: no such file"),
    ],
)
def test_words(outcome, words):
    assert describe(outcome) == words


def test_last_line_skips_what_is_empty():
    assert last_line("a\nb\n \n\x1b\n") == "b"
    assert last_line("", "second") == "second"
    assert last_line("\n", "") == ""


def test_no_escape_sequence_survives():
    assert printable("\x1b[31mred\x1b[0m\ta\u202eb\x00") == "[31mred[0mab"
    assert printable("  grüße 日本  ") == "grüße 日本"


def test_a_long_line_is_cut():
    assert printable("x" * MAX_LINE) == "x" * MAX_LINE
    assert printable("x" * (MAX_LINE + 1)) == "x" * (MAX_LINE - 1) + "…"


def test_signals_without_a_name():
    assert signal_name(15) == "SIGTERM"
    assert signal_name(40) == "signal 40"
