"""A message bus of one's own for a test, where the machine can have one; see tests.servers.dbus."""

import contextlib
import os
from collections.abc import Iterator

import pytest

from tests.servers.dbus import PrivateBus
from tests.servers.fetch import ServerMissing


def _bus(denied=()) -> PrivateBus:
    """Raises a loud skip, or with LOCKSMITH_REQUIRE_SERVERS=1 the failure, when there is none to be had."""
    try:
        return PrivateBus(denied)
    except ServerMissing as error:
        if os.environ.get("LOCKSMITH_REQUIRE_SERVERS"):
            raise
        pytest.skip(f"NOT TESTED: {error}")


@pytest.fixture
def private_bus() -> Iterator[PrivateBus]:
    """A bus that this test may kill."""
    with _bus() as bus:
        yield bus


@pytest.fixture
def denying_bus():
    """Returns a function that makes a bus on which some methods may not be called."""
    with contextlib.ExitStack() as stack:
        yield lambda denied: stack.enter_context(_bus(denied))
