"""Both releases."""

from collections.abc import Iterator

import pytest

from locksmith import __version__
from tests.upgrade.release import Release, unpacked


@pytest.fixture(scope="session")
def old() -> Iterator[Release]:
    """The previous release."""
    with unpacked() as release:
        yield release


@pytest.fixture(scope="session")
def new() -> Release:
    """This tree."""
    return Release("new", __version__, None)
