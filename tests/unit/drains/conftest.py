"""Drains against stand-ins on loopback, under a clock on which waiting costs nothing."""

from datetime import UTC, datetime, timedelta

import pytest

from locksmith.drains.ending import Patience


class Clock:
    """Goes on only when somebody sleeps. `at_sleep` are what happens then, one a sleep."""

    def __init__(self):
        self.seconds = 1000.0
        self.at_sleep = []

    def wall(self):
        return datetime.now(UTC)

    def boottime(self):
        return self.seconds

    def synchronised(self):
        return True

    def sleep(self, seconds):
        self.seconds += seconds
        if self.at_sleep:
            self.at_sleep.pop(0)()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def patience(clock):
    def make(seconds=60.0):
        return Patience(timedelta(seconds=seconds), clock)

    return make


@pytest.fixture
def said():
    return []
