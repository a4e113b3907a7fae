"""Documents with fields of a release to come survive each act that rewrites them, by this release and by the previous one.

Nor does a `min_claim` that neither has reached keep anybody from verifying, releasing, unlocking and steering; it is there
afterwards, too. Claims and arms are barred by it: see test_operators.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.servers.process import without_prefix
from tests.upgrade.acts import ACTS
from tests.upgrade.graft import lost
from tests.upgrade.release import Release

ROOT = Path(__file__).parents[2]
GIVEN_UP_BY = {"0.1.0": ("ev/unlock/n1",)}
"""What a release that is out loses: the unlock record, which it made anew with what it knew of the one before."""

numbers = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
fields = st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=6), values, min_size=1, max_size=4)
few = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("act", ACTS)
@few
@given(fields)
def test_this_release_keeps_them(act: str, fields: dict[str, Any]) -> None:
    assert lost(act, fields) == []


class Writer:
    """Another release, in a process of its own."""

    def __init__(self, release: Release) -> None:
        path = {"PYTHONPATH": f"{release.package}:{ROOT}"}
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tests.upgrade.graft"],
            env={**without_prefix("LOCKSMITH"), **path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._answer() == {"release": release.version}

    def lost(self, act: str, fields: dict[str, Any]) -> list[str]:
        """See graft.lost."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"act": act, "fields": fields}) + "\n")
        self._process.stdin.flush()
        return list(self._answer())

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the other release has ended: see its error above"
        return json.loads(line)

    def close(self) -> None:
        """End it."""
        self._process.communicate(timeout=60)


@contextmanager
def writing(release: Release) -> Iterator[Writer]:
    """A writer that is ended."""
    writer = Writer(release)
    try:
        yield writer
    finally:
        writer.close()


@pytest.fixture(scope="module")
def writer(old: Release) -> Iterator[Writer]:
    with writing(old) as made:
        yield made


@pytest.mark.parametrize("act", ACTS)
@few
@given(fields)
def test_the_previous_release_keeps_them(writer: Writer, old: Release, act: str, fields: dict[str, Any]) -> None:
    known = GIVEN_UP_BY.get(old.version, ())
    assert [place for place in writer.lost(act, fields) if not place.startswith(known)] == []
