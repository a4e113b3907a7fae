"""The contract under concurrent use, on every store: exact counts, atomic snapshots, nothing lost, nothing twice."""

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from locksmith.errors import Conflict, SessionLost
from locksmith.stores import Check, Put, Store

THREADS = 8
ROUNDS = 8


def change_number(store: Store, key: str, by: int) -> tuple[int, int]:
    """Read, add, commit, again on a conflict, as every user of a guard does. The number and revision that were written."""
    while True:
        item = store.read([key])[key]
        number = int(item.value or b"0") + by
        try:
            revision = store.commit([Check(key, item.mod)], [Put(key, f"{number}".encode())])
        except Conflict:
            time.sleep(random.uniform(0, 0.02))
        else:
            assert revision is not None
            return number, revision


def test_concurrent_increments_are_all_counted(store: Store, other: Store) -> None:
    def increment(number: int) -> list[tuple[int, int]]:
        return [change_number((store, other)[number % 2], "guard", 1) for _ in range(ROUNDS)]

    with ThreadPoolExecutor(max_workers=THREADS) as pool:
        written = sorted(pair for pairs in pool.map(increment, range(THREADS)) for pair in pairs)
    assert [number for number, _ in written] == list(range(1, THREADS * ROUNDS + 1))
    revisions = [revision for _, revision in written]
    assert len(set(revisions)) == len(revisions)
    item = store.read(["guard"])["guard"]
    assert (int(item.value), item.mod) == (THREADS * ROUNDS, revisions[-1])


def test_a_key_is_created_once(store: Store, other: Store) -> None:
    """Everybody tries to create it at once: exactly one succeeds, and what stands there is his."""
    barrier = threading.Barrier(THREADS)

    def create(number: int) -> int | None:
        barrier.wait()
        try:
            return (store, other)[number % 2].commit([Check("own", 0)], [Put("own", f"{number}".encode())])
        except Conflict:
            return None

    with ThreadPoolExecutor(max_workers=THREADS) as pool:
        revisions = list(pool.map(create, range(THREADS)))
    winners = [number for number, revision in enumerate(revisions) if revision is not None]
    assert len(winners) == 1
    item = store.read(["own"])["own"]
    assert (int(item.value), item.mod, item.create) == (winners[0], revisions[winners[0]], revisions[winners[0]])


def test_a_snapshot_is_of_one_moment(store: Store, other: Store) -> None:
    """One commit writes both keys and a new one under a prefix: a read sees all three or none."""
    store.commit([Check("a", 0)], [Put("a", b"0"), Put("z", b"0"), Put("q/0", b"")])
    stop = threading.Event()

    def write(writer: Store) -> None:
        while not stop.is_set():
            snapshot = writer.read(["a"], ["q/"])
            number = int(snapshot["a"].value) + 1
            old = [key for key, _ in snapshot.under("q/")]
            try:
                writer.commit(
                    [Check("a", snapshot["a"].mod), *[Check(key, snapshot[key].mod) for key in old]],
                    [Put("a", f"{number}".encode()), Put("z", f"{number}".encode()), Put(f"q/{number}", b"")],
                    old,
                )
            except Conflict:
                time.sleep(random.uniform(0, 0.01))

    seen = set()
    with ThreadPoolExecutor() as pool:
        writers = [pool.submit(write, store), pool.submit(write, other)]
        try:
            while len(seen) < 30 and not any(writer.done() for writer in writers):
                snapshot = other.read(["z", "a"], ["q/"])
                assert (snapshot["a"].value, snapshot["a"].mod) == (snapshot["z"].value, snapshot["z"].mod)
                assert [key for key, _ in snapshot.under("q/")] == [f"q/{int(snapshot['a'].value)}"]
                seen.add(snapshot["a"].mod)
        finally:
            stop.set()
        for writer in writers:
            writer.result()


def test_what_was_seen_is_not_unseen(store: Store, other: Store) -> None:
    """Reads are linearizable: whichever client reads later sees at least as much."""
    store.commit([Check("n", 0)], [Put("n", b"0")])
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            change_number(store, "n", 1)

    with ThreadPoolExecutor() as pool:
        writer = pool.submit(write)
        try:
            last = 0
            for number in range(100):
                value = int((store, other)[number % 2].read(["n"])["n"].value)
                assert value >= last
                last = value
        finally:
            stop.set()
        writer.result()


def test_slots_are_never_overcommitted(store: Store, other: Store) -> None:
    """The guard's pattern: count and holders change in one commit, so that they agree in every snapshot."""
    slots = 2

    def cycle(number: int) -> None:
        client = (store, other)[number % 2]
        own = f"own/{number}"
        taken = 0
        while taken < 3:
            snapshot = client.read(["lim", own])
            count = int(snapshot["lim"].value or b"0")
            held = bool(snapshot[own])
            if not held and count >= slots:
                client.watch("lim", snapshot["lim"].mod, timedelta(seconds=1))
                continue
            checks = [Check("lim", snapshot["lim"].mod), Check(own, snapshot[own].mod)]
            guard = Put("lim", f"{count - 1 if held else count + 1}".encode())
            try:
                if held:
                    client.commit(checks, [guard], [own])
                    taken += 1
                else:
                    client.commit(checks, [guard, Put(own, b"held")])
            except Conflict:
                time.sleep(random.uniform(0, 0.02))

    with ThreadPoolExecutor() as pool:
        cycles = [pool.submit(cycle, number) for number in range(5)]
        while not all(future.done() for future in cycles):
            snapshot = other.read(["lim"], ["own/"])
            holders = len(list(snapshot.under("own/")))
            assert holders == int(snapshot["lim"].value or b"0")
            assert holders <= slots
        for future in cycles:
            future.result()
    assert store.read(["lim"])["lim"].value == b"0"


def test_sessions_of_several_threads(operator: Store, store: Store, other: Store, ttl: timedelta) -> None:
    operator.prepare()

    def queue(number: int) -> None:
        client = (store, other)[number % 2]
        for _ in range(4):
            session = client.session(ttl)
            mod = client.commit([Check(f"q/{number}", 0)], [Put(f"q/{number}", b"t", session.id)])
            session.keepalive()
            assert client.read([f"q/{number}"])[f"q/{number}"].mod == mod
            session.end()
            assert not client.read([f"q/{number}"])[f"q/{number}"]
            try:
                client.commit([Check(f"q/{number}", 0)], [Put(f"q/{number}", b"t", session.id)])
            except SessionLost:
                continue
            raise AssertionError("an ended session was accepted")

    with ThreadPoolExecutor() as pool:
        list(pool.map(queue, range(4)))
    assert list(store.read(prefixes=["q/"]).under("q/")) == []
