"""Waiting for one key: blocking queries of a few seconds, one after another, until the key is at another mod.

The one idea: a query that fails says nothing about the key, and the next one starts from the same mod, so nothing can be
missed; what has to be decided is only how long to go on without an answer. Short waits keep two things cheap: a server
that hangs, and a restored store, whose index will not reach the one that is waited for.
"""

import functools
import random
import time
from datetime import timedelta

from locksmith.stores.consul_answers import Trouble
from locksmith.stores.consul_door import Client, Door

_MAX_WAIT = 5.0
_MARGIN = 0.5
"""Seconds of a query's time that are not waited, at most: Consul adds up to a sixteenth, and the answer has a way to go."""
_LEAST = 0.2
"""Seconds at the end that are not worth a query, and what a server has for an answer however little time is left."""
_BACKOFF = (0.1, 2.0)


def watch(door: Door, key: str, after: int, timeout: timedelta) -> bool:
    """Whether the key is to be read again (True) or the time has passed (False); `key` is a full one.

    An answer that cannot be had for the door's time limit ends it: with an error, or with True where the server is there
    and breaks the query off, as Consul does above 200 connections from one address. Then reading tells more, and the
    watch has become a poll with backoff.
    """
    deadline = time.monotonic() + timeout.total_seconds()
    index, failures, last_answer = after, 0, time.monotonic()
    answered = False
    while (left := deadline - time.monotonic()) > (_LEAST if answered else 0) and not door.closed:
        wait = min(_MAX_WAIT, left - min(_MARGIN, left / 2))
        try:
            current, mod = door.once(functools.partial(_query, door, key, index, wait), left + _LEAST)
        except Trouble as error:
            pause = random.uniform(0.5, 1.0) * min(_BACKOFF[0] * 2**failures, _BACKOFF[1])  # noqa: S311 - jitter
            failures += 1
            until = time.monotonic() + pause
            if until - last_answer >= door.seconds or (until >= deadline and not answered):
                return _give_up(error)
            door.pause(min(until, deadline) - time.monotonic())
            continue
        # An index that went back is a restored store, or the tombstones of a deleted key were collected.
        if mod != after or current < index:
            return True
        index, failures, answered, last_answer = current, 0, True, time.monotonic()
    door.pause(deadline - time.monotonic())
    return False


def _query(door: Door, key: str, index: int, wait: float, client: Client) -> tuple[int, int]:
    """Consul's index and the key's mod (0: gone), once something happened or the wait is over."""
    left = client.http.connections_timeout
    # py-consul adds the wait and Consul's sixteenth to this.
    client.http.connections_timeout = min(max(left - wait * 17 / 16, _LEAST), door.seconds)
    return door.entry(client, key, ("index", str(index)), ("wait", f"{wait * 1000:.0f}ms"))


def _give_up(error: Trouble) -> bool:
    if error.cut:
        return True
    raise error.error from error
