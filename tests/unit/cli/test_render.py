"""Words and tables for people."""

from datetime import UTC, datetime, timedelta

import pytest

from locksmith.cli import forms, render
from locksmith.cli.output import Output
from locksmith.semaphore.vigil import Progress

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (timedelta(0), "0s"),
        (timedelta(seconds=59.9), "59s"),
        (timedelta(minutes=1), "1m"),
        (timedelta(minutes=59, seconds=59), "59m"),
        (timedelta(hours=1), "1h"),
        (timedelta(hours=1, minutes=5), "1h05m"),
        (timedelta(days=2, hours=3, minutes=59), "2d3h"),
        (timedelta(days=7), "7d"),
        (-timedelta(minutes=3), "-3m"),
    ],
)
def test_span(duration: timedelta, text: str) -> None:
    assert render.span(duration) == text


def test_ago_and_until() -> None:
    assert render.ago(NOW - timedelta(minutes=3), NOW) == "3m"
    assert render.ago(NOW + timedelta(minutes=3), NOW) == "0s"  # another machine's clock may be ahead
    assert render.ago(None, NOW) == ""
    assert render.until(NOW + timedelta(minutes=3), NOW) == "in 3m"
    assert render.until(NOW - timedelta(minutes=3), NOW) == "3m late"
    assert render.until(None, NOW) == ""


@pytest.mark.parametrize("text", ["a\x1b[31mb", "a\x9bb", "a\nb", "a\u202eb", "a\u2028b", "a\x07b"])
def test_clean_takes_out_what_a_terminal_obeys(text: str) -> None:
    assert render.clean(text).isprintable()
    assert render.clean("ü漢🙂") == "ü漢🙂"


def test_plain_columns_line_up_and_nothing_is_cut() -> None:
    columns = (render.Column("A"), render.Column("N", right=True), render.Column("EMPTY"), render.Column("LAST"))
    rows = [("x" * 50, "1", "", "y" * 300), ("漢字", "10", None, "z")]
    lines = list(render.plain([render.Line("first"), render.table(columns, rows)]))
    assert lines[0] == "first"
    assert lines[1] == "A" + " " * 49 + "   N  LAST"
    assert lines[2] == "x" * 50 + "   1  " + "y" * 300
    assert lines[3] == "漢字" + " " * 46 + "  10  z"


def test_ids_are_short_on_a_terminal_only() -> None:
    node = "0123456789abcdef0123456789abcdef"
    assert render.node_id(Output(color="never"), node) == node
    assert render.node_id(Output(color="always"), node) == node[:8]
    assert (
        render.node_id(Output(color="always"), "a-name-that-somebody-chose-freely")
        == "a-name-that-somebody-chose-freely"
    )


@pytest.mark.parametrize("width", [40, 80, 200])
def test_a_terminals_table_fits_its_width(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    columns = (render.Column("NODE"), render.Column("OS", roomy=True), render.Column("WHY", prose=True))
    render.show(Output(color="always"), [render.table(columns, [("n1", "debian 12", "because " * 30)])])
    out = capsys.readouterr().out
    plain = [line.replace("\x1b[2m", "").replace("\x1b[0m", "") for line in out.splitlines()]
    assert max(len(line) for line in plain) <= width
    assert out.count("because") == 30
    assert ("debian" in out) == (width >= render.ROOM)


def test_a_waiting_command_names_who_is_ahead() -> None:
    node = "0123456789abcdef0123456789abcdef"
    assert forms.waiting(Progress("queue", "place 1")) == "place 1"
    assert forms.waiting(Progress("queue", "place 3", 3, (node, "b"))) == "place 3; ahead: 01234567, b"
    assert forms.waiting(Progress("queue", "place 6", 6, tuple("abcde"))) == "place 6; ahead: a, b, c and 2 more"
