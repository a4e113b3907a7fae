"""`lockctl windows`: no store is needed."""

import pytest

from tests.unit.cli.conftest import Lockctl

NIGHT = ["--start", "23:00", "--length", "1h30m", "--timezone", "Europe/Berlin"]


def test_closed_and_the_next_openings(bare: Lockctl) -> None:
    document = bare("windows", *NIGHT, "--at", "2026-01-01T12:00:00Z", "--next", "2", "--json").document
    assert document["at"] == "2026-01-01T13:00:00+01:00"
    assert (document["open"], document["closes"]) == (False, None)
    assert document["next"] == [
        {"start": "2026-01-01T23:00:00+01:00", "end": "2026-01-02T00:30:00+01:00"},
        {"start": "2026-01-02T23:00:00+01:00", "end": "2026-01-03T00:30:00+01:00"},
    ]


def test_open_until(bare: Lockctl) -> None:
    said = bare("windows", *NIGHT, "--at", "2026-01-01T22:00:00Z", "--check", "--json")
    assert said.code == 0
    assert (said.document["open"], said.document["closes"]) == (True, "2026-01-02T00:30:00+01:00")


def test_check_refuses_when_closed_with_one_document(bare: Lockctl) -> None:
    said = bare("windows", *NIGHT, "--at", "2026-01-01T12:00:00Z", "--check", "--json")
    assert (said.code, said.kind) == (3, "window")
    assert said.document["open"] is False
    people = bare("windows", *NIGHT, "--at", "2026-01-01T12:00:00Z", "--check", "--next", "0")
    assert people.code == 3
    assert (
        "closed at Thu 2026-01-01 13:00 +01:00, opens Thu 2026-01-01 23:00 +01:00 = Thu 22:00 UTC (in 10h)"
        in people.out
    )


def test_people_see_both_clocks(bare: Lockctl) -> None:
    words = ["windows", "--start", "0:30", "--length", "2h", "--at", "2026-01-01T12:00:00Z", "--next", "1"]
    said = bare(*words, "--timezone", "Asia/Kolkata").out.splitlines()
    assert said[1].split() == ["OPENS", "CLOSES", "LENGTH", "OPENS", "IN", "UTC"]
    assert " ".join(said[2].split()) == "Fri 2026-01-02 00:30 +05:30 Fri 2026-01-02 02:30 +05:30 2h Thu 19:00"
    opened = bare(*words[:-3], "2026-01-01T20:00:00Z", "--timezone", "Asia/Kolkata").out
    assert "closes Fri 2026-01-02 02:30 +05:30 = Thu 21:00 UTC" in opened
    assert "IN UTC" not in bare(*words).out
    asked = bare(*words, "--json").document["windows"]
    assert asked == [{"name": "given", "start": "00:30", "length_seconds": 7200.0, "timezone": "UTC"}]


def test_configured_windows(bare: Lockctl, monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    assert "no windows are configured" in bare("windows").out
    path = tmp_path / "windows.toml"
    path.write_text('[windows.night]\nstart = "Thu 23:00"\nlength = "1h"\n')
    document = bare("windows", "--config", str(path), "--at", "2026-01-01T23:30:00Z", "--json").document
    assert (document["at"], document["open"]) == ("2026-01-01T23:30:00Z", True)
    assert document["next"][0]["start"] == "2026-01-08T23:00:00Z"


def test_an_opening_without_end(bare: Lockctl) -> None:
    document = bare("windows", "--start", "00:00", "--length", "24h", "--json").document
    assert (document["open"], document["closes"], document["next"]) == (True, None, [])


def test_a_time_out_of_range(bare: Lockctl) -> None:
    said = bare("windows", *NIGHT, "--at", "1950-01-01T00:00:00Z", "--json")
    assert (said.code, said.kind) == (2, "usage")
