"""The contract of `Store.watch`, on every store: it may wake for nothing, and it never misses a change."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta

import pytest

from locksmith.errors import StoreError
from locksmith.stores import Check, Put, Store

LONG = timedelta(seconds=20)
"""A watch that waits this long has missed what it waited for."""
SHORT = timedelta(seconds=0.3)


def put(store: Store, key: str, value: bytes, mod: int = 0) -> int:
    revision = store.commit([Check(key, mod)], [Put(key, value)])
    assert revision is not None
    return revision


def change(store: Store, key: str, mod: int) -> None:
    put(store, key, b"changed", mod)


def change_to_the_same(store: Store, key: str, mod: int) -> None:
    put(store, key, store.read([key])[key].value, mod)


def delete(store: Store, key: str, mod: int) -> None:
    store.commit([Check(key, mod)], deletes=[key])


def delete_and_create(store: Store, key: str, mod: int) -> None:
    delete(store, key, mod)
    put(store, key, b"1")


CHANGES = [change, change_to_the_same, delete, delete_and_create]
Change = Callable[[Store, str, int], None]


def settled(store: Store, key: str) -> None:
    """Watch until the key is not at its first mod any more, as a user does: a wake-up for nothing watches again."""
    mod = store.read([key])[key].mod
    assert mod
    while store.read([key])[key].mod == mod:
        assert store.watch(key, mod, LONG), "a change was missed"


def quiet(store: Store, key: str, mod: int) -> bool:
    """Whether a watch of an unchanged key ever says that the time has passed."""
    for _ in range(20):
        before = time.monotonic()
        if not store.watch(key, mod, SHORT):
            assert time.monotonic() - before >= SHORT.total_seconds() * 0.9, "the time had not passed"
            return True
    return False


@pytest.mark.parametrize("happening", CHANGES)
def test_what_happened_before_the_call_wakes_at_once(store: Store, other: Store, happening: Change) -> None:
    mod = put(store, "key", b"1")
    happening(other, "key", mod)
    assert store.watch("key", mod, LONG)


@pytest.mark.parametrize("happening", CHANGES)
@pytest.mark.parametrize("own", [True, False], ids=["own write", "foreign write"])
def test_what_happens_during_the_call_wakes(store: Store, other: Store, happening: Change, own) -> None:
    mod = put(store, "key", b"1")
    with ThreadPoolExecutor() as pool:
        waiter = pool.submit(settled, store, "key")
        time.sleep(0.2)  # most runs are inside the watch by now; the test holds for those that are not
        happening(store if own else other, "key", mod)
        waiter.result()


def test_nothing_happens_and_the_time_passes(store: Store) -> None:
    assert quiet(store, "key", put(store, "key", b"1"))


def test_no_time_at_all(store: Store) -> None:
    mod = put(store, "key", b"1")
    for _ in range(20):
        if not store.watch("key", mod, timedelta(0)):
            break
    else:
        pytest.fail("a watch without time never said that it passed")
    change(store, "key", mod)
    assert store.watch("key", mod, timedelta(seconds=1))


def test_an_old_mod_wakes_however_many_changes_came_since(store: Store) -> None:
    first = mod = put(store, "key", b"0")
    for number in range(10):
        mod = put(store, "key", f"{number}".encode(), mod)
    assert store.watch("key", first, LONG)
    assert quiet(store, "key", mod)


def test_other_keys_are_not_what_it_waits_for(store: Store) -> None:
    mod = put(store, "key", b"1")
    put(store, "ke", b"1")
    put(store, "key2", b"1")
    put(store, "key/2", b"1")
    assert quiet(store, "key", mod)


def test_no_change_is_missed(store: Store, other: Store) -> None:
    """Writes go on while the watcher reads and watches: it must always come to the last one."""
    last = 40
    put(store, "key", b"0")

    def follow() -> int:
        seen = 0
        while True:
            item = store.read(["key"])["key"]
            seen += 1
            if int(item.value) == last:
                return seen
            assert store.watch("key", item.mod, LONG), f"missed what came after {item.value!r}"

    with ThreadPoolExecutor() as pool:
        follower = pool.submit(follow)
        for number in range(1, last + 1):
            put(other, "key", f"{number}".encode(), other.read(["key"])["key"].mod)
        assert follower.result() >= 1


def test_watches_of_several_threads(store: Store, other: Store) -> None:
    """Each on the same client; some on the same key; writes go through the same client meanwhile."""
    mods = {f"key{number}": put(store, f"key{number}", b"1") for number in range(4)}
    with ThreadPoolExecutor(max_workers=8) as pool:
        waiters: list[Future[None]] = [pool.submit(settled, store, key) for key in mods for _ in range(2)]
        time.sleep(0.1)
        for number, (key, mod) in enumerate(mods.items()):
            change((store, other)[number % 2], key, mod)
        for waiter in waiters:
            waiter.result()


def test_a_watch_does_not_hold_up_other_calls(store: Store) -> None:
    mod = put(store, "key", b"1")
    with ThreadPoolExecutor() as pool:
        waiter = pool.submit(settled, store, "key")
        for number in range(10):
            put(store, f"k{number}", b"1")
            assert store.read([f"k{number}"])[f"k{number}"]
        assert not waiter.done()
        change(store, "key", mod)
        waiter.result()


def test_close_ends_a_watch(connect) -> None:
    store = connect()
    mod = put(store, "key", b"1")
    entered = threading.Event()

    def wait() -> str:
        entered.set()
        try:
            while store.watch("key", mod, timedelta(seconds=50)):
                entered.set()
        except StoreError:
            return "refused"
        return "passed"

    with ThreadPoolExecutor() as pool:
        waiter = pool.submit(wait)
        entered.wait()
        time.sleep(0.2)
        store.close()
        # Far below the 50 s of the watch, far above what a poll or an aborted request takes.
        assert waiter.result(timeout=25) in ("refused", "passed")


def test_close_twice_and_the_other_client_goes_on(store: Store, other: Store) -> None:
    put(store, "key", b"1")
    store.close()
    store.close()
    assert other.read(["key"])["key"].value == b"1"
