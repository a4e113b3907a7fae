"""Ctrl-C and SIGTERM, sent to this process."""

import os
import signal
import threading

import pytest

from locksmith.cli.signals import SIGNALS, Stop
from locksmith.errors import Interrupted


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_interrupts_at_once(number: signal.Signals) -> None:
    stop = Stop()
    before = signal.getsignal(number)
    with stop.installed(), pytest.raises(Interrupted, match=number.name):
        os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before
    assert stop.event.is_set()


@pytest.mark.parametrize("number", SIGNALS)
def test_while_a_ticket_stands_the_first_one_only_sets_the_event(number: signal.Signals) -> None:
    stop = Stop()
    with stop.installed():
        with stop.deferred() as event:
            os.kill(os.getpid(), number)
            assert event.is_set()
            with pytest.raises(Interrupted):
                os.kill(os.getpid(), number)
        with pytest.raises(Interrupted):
            os.kill(os.getpid(), number)


def test_in_another_thread_no_handler_is_changed() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    inside: list[object] = []

    def run() -> None:
        with Stop().installed():
            inside.extend(signal.getsignal(number) for number in SIGNALS)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert inside == before
