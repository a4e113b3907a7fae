"""Many who want a slot at the same moment, on a real server: ours beside the classic lock, in the same run.

Fifty at a barrier with fifty free slots; and grants a second of eight who take and give back without a pause, all in one
group, or each in a group of its own. The classic lock tries again at once in the second, which none of its users does: its
documented delays would leave next to nothing. In the first the delays are added up and not slept, one round after the
other."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random

from locksmith.core import keys
from locksmith.core.admission import Patience
from locksmith.semaphore.actor import Actor
from locksmith.semaphore.claiming import Attempt, Claimed, Enqueued, InLine, claim, enqueue
from locksmith.semaphore.holding import Slot, release, slot_of
from locksmith.stores import Store
from locksmith.stores.measured import Measured, Request
from tests.benchmarks.parts.classic import ALGORITHMS, FLATCAR, Classic
from tests.benchmarks.parts.cycle import bare_commits
from tests.integration.places import TTL, Place

CROWD, CONTENDERS = 50, 8
ROUNDS = 20
"""Rounds after which the classic crowd is not waited for any longer."""


@dataclass(slots=True)
class Count:
    """Of one contender: how often it had the slot, and how many of its commits met another's."""

    grants: int = 0
    lost: int = 0

    def observe(self, request: Request) -> None:
        """One request of its store."""
        self.lost += request.error == "conflict"


def together(actions: Sequence[Callable[[], object]]) -> float:
    """Run all from a barrier, each in a thread; seconds until the last has ended. The first error is raised."""
    barrier, errors = threading.Barrier(len(actions) + 1), []

    def run(action: Callable[[], object]) -> None:
        barrier.wait()
        try:
            action()
        except Exception as error:  # noqa: BLE001 - handed to who waits for the threads
            errors.append(error)

    threads = [threading.Thread(target=run, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    barrier.wait()
    began = time.perf_counter()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return time.perf_counter() - began


# ---------------------------------------------------------------- fifty at once


def fifty(where: Place) -> dict[str, object]:
    """Served at the first call, and seconds until all are, by lock."""
    actors = [where.another() for _ in range(CROWD)]
    for actor in actors:
        actor.store.read([keys.CFG])  # so that all are connected
    found: dict[str, object] = {"locksmith": _ours(where, actors)}
    for algorithm in ALGORITHMS:
        locks = [Classic(actor.store, algorithm, f"fifty-{algorithm.name.split()[0]}") for actor in actors]
        locks[0].create(CROWD)
        found[algorithm.name] = _in_rounds(locks)
    for actor in actors:
        actor.store.close()
    return found


def _ours(where: Place, actors: Sequence[Actor]) -> dict[str, object]:
    group = "fifty"
    where.slots(CROWD, group)
    session = where.actor.store.session(TTL)
    attempts = [where.attempt(f"node{number:02d}", group) for number in range(CROWD)]
    seconds = together(
        [lambda a=actor, w=wish: taken(a, w, session.id) for actor, wish in zip(actors, attempts, strict=True)]
    )
    held = sum(holder.group == group for holder in where.holders().values())
    session.end()
    return {"at_once": held, "seconds": seconds, "rounds": 1, "served": held}


def _in_rounds(locks: Sequence[Classic]) -> dict[str, object]:
    """The losers come again after the documented delay: together where it has no jitter, else one tenth as far apart as there."""
    random, waiting, rounds, delayed, spent, first = Random(1), list(range(CROWD)), 0, 0.0, 0.0, 0
    while waiting and rounds < ROUNDS:
        delays = [locks[0].algorithm.delay(rounds, random) if rounds else 0.0 for _ in waiting]
        earliest = min(delays)
        won: list[int] = []

        def once(number: int, later: float, won: list[int] = won) -> None:
            time.sleep(later / 10)
            if locks[number].lock(f"{number:032x}") == "taken":
                won.append(number)

        spent += together(
            [lambda n=n, d=d, o=once: o(n, d - earliest) for n, d in zip(waiting, delays, strict=True)]  # noqa: B023
        )
        waiting = [number for number in waiting if number not in won]
        first = first or len(won)
        rounds += 1
        delayed += max(delays)
    return {"at_once": first, "seconds": delayed + spent, "rounds": rounds, "served": CROWD - len(waiting)}


def taken(actor: Actor, attempt: Attempt, session: str) -> Slot:
    """Enqueue, and claim until the slot is ours: there is one for everybody, so nobody waits for long."""
    assert enqueue(actor, attempt, session, timedelta(0)) == Enqueued()
    patience = Patience()
    while True:
        outcome = claim(actor, attempt, patience)
        if isinstance(outcome, Claimed):
            return slot_of(outcome.held)
        assert isinstance(outcome, InLine), outcome
        time.sleep(0.005 + 0.02 * actor.random.random())


# ---------------------------------------------------------------- grants a second


def rates(where: Place, rounds: int) -> dict[str, dict[str, float]]:
    """Grants a second of eight contenders, and bare commits a second of the same eight on keys of their own.

    All take turns, second by second, so that whatever else the machine does in the meantime meets all of them alike.
    """
    stores = [where.connect() for _ in range(CONTENDERS)]
    kinds = {"bare": [BareLoop(store, number) for number, store in enumerate(stores)], **_loops(where, stores)}
    spent = dict.fromkeys(kinds, 0.0)
    for _ in range(rounds):
        for name, loops in kinds.items():
            spent[name] += _second(loops)
    for store in stores:
        store.close()
    found = {}
    for name, loops in kinds.items():
        counts = [loop.count for loop in loops]
        grants = sum(count.grants for count in counts)
        found[name] = {
            "per_second": grants / spent[name],
            "lost_per_grant": sum(c.lost for c in counts) / max(1, grants),
        }
    for each in found.values():
        each["of_bare"] = each["per_second"] / found["bare"]["per_second"]
    return found


def _loops(where: Place, stores: Sequence[Store]) -> dict[str, Sequence["OurLoop | ClassicLoop"]]:
    """Ours and the classic lock, on one group and on as many as there are contenders."""
    kinds: dict[str, Sequence[OurLoop | ClassicLoop]] = {}
    for name, groups in (("one", ["rate"] * CONTENDERS), ("many", [f"rate{n}" for n in range(CONTENDERS)])):
        for group in set(groups):
            where.slots(CONTENDERS, group)
        kinds[f"locksmith_{name}"] = [OurLoop(where, store, n, groups[n]) for n, store in enumerate(stores)]
        classic = [ClassicLoop(store, n, groups[n]) for n, store in enumerate(stores)]
        for loop in classic:
            loop.lock().create(CONTENDERS)
        kinds[f"classic_{name}"] = classic
    return kinds


def _second(loops: Sequence["BareLoop | OurLoop | ClassicLoop"]) -> float:
    over = threading.Event()
    timer = threading.Timer(1.0, over.set)
    timer.start()
    return together([lambda one=loop: one.run(over) for loop in loops])


@dataclass
class BareLoop:
    """Commits of one key under its own check; each counts as a grant."""

    store: Store
    number: int
    count: Count = field(default_factory=Count)

    def run(self, over: threading.Event) -> None:
        """Until told to end."""
        while not over.is_set():
            self.count.grants += len(bare_commits(self.store, f"bare{self.number}", 5))


@dataclass
class OurLoop:
    """One node that takes a slot and gives it back, again and again."""

    where: Place
    store: Store
    number: int
    group: str
    count: Count = field(default_factory=Count)

    def run(self, over: threading.Event) -> None:
        """Until told to end."""
        actor = self.where.another(Measured(self.store, self.count.observe))
        session = actor.store.session(TTL)
        while not over.is_set():
            release(actor, taken(actor, self.where.attempt(f"rate{self.number}", self.group), session.id))
            self.count.grants += 1
        session.end()


@dataclass
class ClassicLoop:
    """The same with the classic lock, which tries again at once."""

    store: Store
    number: int
    group: str
    count: Count = field(default_factory=Count)

    def run(self, over: threading.Event) -> None:
        """Until told to end."""
        lock, node = self.lock(), f"{self.number:032x}"
        while not over.is_set():
            while lock.lock(node) != "taken":
                pass
            while not lock.unlock(node):
                pass
            self.count.grants += 1

    def lock(self) -> Classic:
        """Its document."""
        return Classic(Measured(self.store, self.count.observe), FLATCAR, f"classic/{self.group}")
