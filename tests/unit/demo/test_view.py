"""What the demo looks like: it fits the terminal that there is, and a pipe gets whole lines."""

import io
from collections.abc import Sequence
from dataclasses import replace

import pytest
from rich.console import Console

from locksmith.demo.fleet import Picture
from locksmith.demo.hosts import Row
from locksmith.demo.plan import Settings
from locksmith.demo.proof import Claim, Report
from locksmith.demo.view import Lines, drawn, screen, summary

LONG = (
    "came back unhealthy and keeps its slot: web: answers 503, and this goes on for longer than any terminal is wide "
    * 2
)
PICTURE = Picture(
    settings=Settings(),
    store="sqlite",
    seconds=12.34,
    rows=(Row("n01", "1.0 > 2.0", "failed", LONG), Row("n02", "2.0", "steady", "no update is staged")),
    out=1,
    most=2,
    updated=5,
    away=False,
    requests=1234,
)
REPORT = Report(
    settings=Settings(seed=9),
    store="etcd",
    seconds=27.56,
    updated=12,
    reboots=12,
    most_out=2,
    claims=(Claim("limit", True, "at most 2"),),
    missing=(),
    requests={"read": 204, "commit": 109, "session": 1, "watch": 88},
)


def text_of(picture: Picture, width: int, height: int = 40) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width, height=height, color_system=None).print(drawn(picture, width, height))
    return out.getvalue().splitlines()


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_every_line_fits_and_each_host_has_one(width: int):
    lines = text_of(PICTURE, width)
    assert all(len(line) <= width for line in lines)
    assert sum("n01" in line for line in lines) == 1
    assert sum("n02" in line for line in lines) == 1
    assert len(lines) == 5
    assert "1 of 2 out of service (most 2)" in lines[1]
    assert "group halted" in lines[1] or width < 80


def test_the_head_says_what_is_wrong_and_more_where_there_is_room():
    calm = replace(PICTURE, rows=PICTURE.rows[1:])
    assert "sqlite" in text_of(calm, 80)[1]
    assert "group halted" in text_of(PICTURE, 80)[1]
    assert "store away" in text_of(replace(PICTURE, away=True), 80)[1]
    assert "1234 requests" in text_of(PICTURE, 120)[1]
    assert "requests" not in text_of(PICTURE, 80)[1]


def test_a_low_terminal_shows_the_busy_hosts_and_counts_the_others():
    rows = [Row(f"n{number:02}", "1.0", "steady", "") for number in range(30)]
    rows[20] = Row("n20", "1.0 > 2.0", "queued", "place 1")
    lines = text_of(replace(PICTURE, rows=tuple(rows)), 80, 24)
    assert len(lines) <= 24
    assert any("n20" in line for line in lines)
    shown = sum(" steady " in line and line.startswith("n") for line in lines)
    assert f"and {29 - shown} more that are steady" in lines[-1]


def test_a_pipe_gets_whole_lines():
    out = io.StringIO()
    lines = Lines(out)
    lines.told(1.25, "something")
    lines.moved(2.0, PICTURE.rows[0])
    lines.see(PICTURE)
    assert out.getvalue().splitlines()[0].endswith("* something")
    assert LONG in out.getvalue()
    assert len(out.getvalue().splitlines()) == 2


def test_a_screen_repaints_and_keeps_what_happened_above():
    out = io.StringIO()
    with screen(Console(file=out, width=80, height=24, force_terminal=True, color_system=None)) as view:
        view.told(0.5, "first")
        view.see(PICTURE)
        view.see(replace(PICTURE, seconds=PICTURE.seconds + 0.01, updated=6))
        view.moved(0.6, PICTURE.rows[0])
    assert "first" in out.getvalue()
    assert "5/12 updated" in out.getvalue()
    assert "6/12 updated" not in out.getvalue(), "two pictures within one frame"


def lines_of(report: Report) -> Sequence[str]:
    return [text for text, _ in summary(report)]


def test_the_summary_says_proved_only_when_everything_holds():
    assert "proved" in lines_of(REPORT)
    assert "  402 requests, 34 a reboot: 204 reads, 109 commits, 1 session, 88 long polls" in lines_of(REPORT)
    assert "  27.6 s on etcd, --seed 9" in lines_of(REPORT)
    broken = replace(REPORT, claims=(Claim("limit", False, "3 were out"),))
    assert "NOT PROVED" in lines_of(broken)
    assert "  NO  3 were out" in lines_of(broken)
    late = replace(REPORT, missing=("n03 is not done",), reboots=0)
    assert "NOT PROVED" in lines_of(late)
    assert "  NO  n03 is not done" in lines_of(late)
    assert late.failure().endswith("n03 is not done")
    assert late.fields()["proved"] is False
    assert REPORT.fields()["most_out"] == 2
