"""The requests of one cycle while others wait: few, many, and more than a queue takes.

A closed shop: whoever has had the slot queues again, so that as many wait at the end as at the beginning. All requests of all
nodes are counted between the first and the last release, and divided by the cycles between them.
"""

import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from locksmith.semaphore.claiming import Attempt
from locksmith.stores.measured import Measured, Request
from tests.benchmarks.parts.cycle import rest_of_cycle, wait_for_slot
from tests.integration.places import TTL, Place

GROUP = "crowd"
HELD_SECONDS = 0.25
"""How long a slot is held before it is armed: long enough for everybody who is woken by the claim to have looked."""


@dataclass
class Tally:
    """What was asked since `clear`; any thread may observe."""

    counts: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)
    cycles: int = 0

    def observe(self, request: Request) -> None:
        """One request."""
        with self.lock:
            self.counts[request.op] += 1

    def finished(self) -> int:
        """One more cycle is over; how many are."""
        with self.lock:
            self.cycles += 1
            return self.cycles

    def clear(self) -> None:
        """Begin to count."""
        with self.lock:
            self.counts.clear()
            self.cycles = 0


def figures(where: Place, crowds: Sequence[int], cycles: int) -> list[dict[str, float]]:
    """Of one store, one entry a crowd: requests of a cycle, all nodes together."""
    found = []
    for waiters in crowds:
        counts, tickets = measure(where, waiters, cycles)
        each = {op: counts[op] / cycles for op in ("read", "commit", "watch")}
        found.append({"waiters": waiters, "tickets": tickets, **each})
    return found


def measure(where: Place, waiters: int, cycles: int) -> tuple[Counter[str], int]:
    """What all nodes asked in so many cycles, and how many tickets stood meanwhile."""
    group = f"{GROUP}{waiters}"
    where.slots(1, group)
    tally, given_up, over = Tally(), threading.Event(), threading.Event()
    turn = threading.Semaphore(2)
    actor = where.another(Measured(where.connect(), tally.observe))
    session = where.actor.store.session(TTL)
    first = where.taken("first", group)

    def live(number: int) -> None:
        while not given_up.is_set():
            attempt: Attempt = where.attempt(f"node{number:03d}", group)
            slot = wait_for_slot(actor, attempt, session.id, given_up, turn)
            if slot is None:
                return
            given_up.wait(HELD_SECONDS)
            rest_of_cycle(actor, slot)
            if tally.finished() == cycles:
                counted.update(tally.counts)
                given_up.set()
                over.set()

    counted: Counter[str] = Counter()
    threads = [threading.Thread(target=live, args=(number,), daemon=True) for number in range(waiters)]
    for thread in threads:
        thread.start()
    tickets = _settle(where, tally)
    tally.clear()
    rest_of_cycle(where.actor, first)
    assert over.wait(600), f"{tally.cycles} of {cycles} cycles"
    for thread in threads:
        thread.join(90)
    session.end()
    actor.store.close()
    return counted, tickets


def _settle(where: Place, tally: Tally) -> int:
    """Wait until all have looked and nobody asks any more; how many stand in the queue."""
    before = -1
    while sum(tally.counts.values()) != before:
        before = sum(tally.counts.values())
        time.sleep(2)
    return len(where.tickets())
