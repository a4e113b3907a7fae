"""One node alone: the requests of its cycle, the time of acquire and release, and of the hand-off to a second node."""

import queue
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta

from locksmith.agent.watching import KeyWatches
from locksmith.core.admission import Patience
from locksmith.core.events import Event
from locksmith.semaphore.actor import Actor
from locksmith.semaphore.claiming import Attempt, Claimed, Enqueued, InLine, QueueFull, claim, enqueue
from locksmith.semaphore.holding import Armed, Kept, Released, Slot, arm, release, slot_of, verify
from locksmith.stores import Check, Put, Store
from locksmith.stores.measured import Measured, Request
from tests.integration.places import TTL, Place

AGENT_POLL = 60.0
"""Seconds after which an agent that waits looks again, whatever its watches say."""

PAIR_COMMITS = 3
"""Of acquire and release together: ticket, claim, release."""


def acquire(actor: Actor, attempt: Attempt, session: str) -> Slot:
    """Ticket and claim of a node that is alone. Raises AssertionError when it is not."""
    assert enqueue(actor, attempt, session, timedelta(0)) == Enqueued()
    claimed = claim(actor, attempt, Patience())
    assert isinstance(claimed, Claimed), claimed
    return slot_of(claimed.held)


def rest_of_cycle(actor: Actor, slot: Slot) -> None:
    """Arm; after the boot verify and release. A phase `draining` is written only where there are hooks to run."""
    armed = arm(actor, slot, epoch=1, attempt=actor.nonce(), request=None, expected=None)
    assert isinstance(armed, Armed), armed
    assert isinstance(verify(actor, slot, "boot-2/0", None), Kept)
    assert release(actor, slot) == Released()


def wait_for_slot(
    actor: Actor, attempt: Attempt, session: str, given_up: threading.Event, turn: threading.Semaphore
) -> Slot | None:
    """Ticket, and then a claim whenever a watch says so, as an agent does it; None when told to give up.

    So many enqueue at once as `turn` lets: agents have their jitter for that, and the limit of a queue is not exact.
    """
    inbox: queue.SimpleQueue[Event] = queue.SimpleQueue()
    watches = KeyWatches(actor.store, inbox.put, actor.random)
    walks = Patience()
    with turn:
        entered = enqueue(actor, attempt, session, timedelta(0))
    while isinstance(entered, QueueFull) and not given_up.wait(entered.retry_after.total_seconds()):
        entered = enqueue(actor, attempt, session, timedelta(0))
    while not given_up.is_set():
        outcome = claim(actor, attempt, walks)
        if isinstance(outcome, Claimed):
            watches.want(())
            return slot_of(outcome.held)
        assert isinstance(outcome, InLine), outcome
        if outcome.retry:
            time.sleep(0.05 + 0.3 * actor.random.random())
            continue
        watches.want(outcome.watches)
        wait_for(inbox, AGENT_POLL, given_up)
    watches.want(())
    return None


def wait_for(inbox: "queue.SimpleQueue[Event]", seconds: float, given_up: threading.Event) -> None:
    """Until something arrives, at most so long; looks up now and then whether it was told to give up."""
    end = time.monotonic() + seconds
    while not given_up.is_set() and (left := end - time.monotonic()) > 0:
        try:
            inbox.get(timeout=min(left, 0.5))
        except queue.Empty:
            continue
        return


def bare_commits(store: Store, key: str, count: int) -> list[float]:
    """Seconds of each of `count` commits of one key under its own check: the least that a lock could cost here."""
    mod, spent = store.read([key])[key].mod, []
    for number in range(count):
        before = time.perf_counter()
        mod = store.commit([Check(key, mod)], [Put(key, f"{number:016d}".encode())]) or 0
        spent.append(time.perf_counter() - before)
    return spent


def timed(action: Callable[[], object]) -> float:
    """Seconds that it takes."""
    before = time.perf_counter()
    action()
    return time.perf_counter() - before


def figures(where: Place, rounds: int) -> dict[str, float]:
    """Of one store: counts, seconds, and ratios against bare commits of the same store."""
    where.slots(1)
    requests: list[Request] = []
    actor = where.another(Measured(where.connect(), requests.append))
    session = actor.store.session(TTL)
    rest_of_cycle(actor, acquire(actor, where.attempt("warm"), session.id))
    requests.clear()
    rest_of_cycle(actor, acquire(actor, where.attempt("alone"), session.id))
    counted = Counter(request.op for request in requests)
    moved = sum(request.bytes_read + request.bytes_written for request in requests)
    pairs, bare, commits = [], [], len([request for request in requests if request.op == "commit"])

    def pair() -> None:
        release(actor, acquire(actor, where.attempt("pair"), session.id))

    for _ in range(rounds):
        pairs.append(timed(pair))
        bare += bare_commits(actor.store, "bare", PAIR_COMMITS)
    handed = [_hand_off(where, number, session.id) for number in range(max(5, rounds // 5))]
    session.end()
    actor.store.close()
    commit = statistics.median(bare)
    return {
        "reads": counted["read"],
        "commits": commits,
        "bytes": moved,
        "commit_seconds": commit,
        "pair_seconds": statistics.median(pairs),
        "pair_ratio": statistics.median(pairs) / (PAIR_COMMITS * commit),
        "hand_off_seconds": statistics.median(handed),
        "hand_off_ratio": statistics.median(handed) / commit,
        "hand_off_slowest": max(handed),
    }


def _hand_off(where: Place, number: int, session: str) -> float:
    """Seconds between the end of one node's release and the moment at which the waiting one has its claim's answer."""
    first, second = where.another(), where.another()
    slot = acquire(first, where.attempt(f"first{number}"), session)
    waits, done, given_up = threading.Event(), [], threading.Event()

    def wait() -> None:
        attempt = where.attempt(f"second{number}")
        threading.Timer(0.3, waits.set).start()
        mine = wait_for_slot(second, attempt, session, given_up, threading.Semaphore())
        done.append(time.perf_counter())
        assert mine is not None
        release(second, mine)

    thread = threading.Thread(target=wait)
    thread.start()
    waits.wait()
    release(first, slot)
    released = time.perf_counter()
    thread.join(120)
    for actor in (first, second):
        actor.store.close()
    return done[0] - released
