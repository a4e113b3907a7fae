"""The small searches find nothing, and each rule that is taken away is missed: that is what a control is for."""

import os
from pathlib import Path

import pytest

from tests.model.configurations import CONTROLS, SMALL, Search
from tests.model.searching import run
from tests.servers.fetch import ServerMissing

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
SECONDS = 180


@pytest.mark.parametrize("search", [*SMALL, *CONTROLS], ids=lambda search: search.name)
def test_search(search: Search):
    try:
        found = run(search, SECONDS)
    except ServerMissing as error:
        if os.environ.get("LOCKSMITH_REQUIRE_SERVERS"):
            raise
        pytest.skip(f"NOT TESTED: {error}")

    assert found.expected, f"{search.name}: {found}"


def test_every_dagger_has_a_control():
    """The marks of the protocol's text are counted, so that a new rule does not go without."""
    text = (Path(__file__).resolve().parents[2] / "docs" / "protocol.md").read_text()
    marks = text.split("## What must always hold")[1].count("†")
    covered = {number for control in CONTROLS for number in control.daggers}

    assert covered == set(range(1, marks + 1)), (
        f"{marks} marked rules, controls for {sorted(covered)}: add what is missing"
    )
