"""A program that stands in for the one a provider asks, and JSON that nobody expects."""

from pathlib import Path

import pytest
from hypothesis import strategies as st

SAMPLES = Path(__file__).parents[2] / "samples" / "updates"


@pytest.fixture
def program(tmp_path):
    """Write a program with these answers; returns the command. Its arguments go to `arguments` beside it."""
    path = tmp_path / "program"

    def write(stdout="", stderr="", code=0, then=""):
        (tmp_path / "stdout").write_text(stdout)
        (tmp_path / "stderr").write_text(stderr)
        path.write_text(
            f'#!/bin/sh\ncd {tmp_path}\necho "$@" > arguments\ncat stdout\ncat stderr >&2\n{then}\nexit {code}\n'
        )
        path.chmod(0o755)
        return (str(path),)

    return write


@pytest.fixture
def arguments(tmp_path):
    """What the program was called with."""
    return lambda: (tmp_path / "arguments").read_text().strip()


def anything(*names: str):
    """JSON values whose objects have these names, so that a reader comes deep into them."""
    leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(names)
    return st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(names) | st.text(max_size=3), inner, max_size=6)
        ),
        max_leaves=20,
    )
