"""The lock that others have: one JSON document, read, changed, and written if nobody else was faster.

Two of them as their sources and runs are described in the project's notes on its peers: Flatcar's locksmith, and airlock
with its client zincati. Neither tries again at once when its write met another's; the delays are those that they document.
Written by us, over the same client and the same server as ours, so that only the algorithm differs.

Delays: locksmith's lock and unlock loops wait 10 s and double up to 5 min (daemon.go:112, 290); zincati asks its server
every 300 s and up to a tenth longer (update_agent/mod.rs:31), which answers 500 `failed_lock` to a lost race
(internal/lock/lock.go:209)."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

from locksmith.errors import Conflict
from locksmith.stores import Check, Put, Store

Taken = Literal["taken", "full", "conflict"]


@dataclass(frozen=True, slots=True)
class Algorithm:
    """One of them. `delay` are the seconds until it asks again, after so many failures in a row."""

    name: str
    delay: Callable[[int, Random], float]
    document: Callable[[int, list[str]], dict[str, Any]]
    slots: Callable[[dict[str, Any]], int]


def _flatcar_delay(failures: int, _: Random) -> float:
    return min(10.0 * 2 ** (failures - 1), 300.0)


def _airlock_delay(_: int, random: Random) -> float:
    return 300.0 * (1 + random.random() / 10)


FLATCAR = Algorithm(
    "Flatcar locksmith",
    _flatcar_delay,
    lambda slots, holders: {"semaphore": slots - len(holders), "max": slots, "holders": holders},
    lambda document: int(document["max"]),
)
AIRLOCK = Algorithm(
    "airlock + zincati",
    _airlock_delay,
    lambda slots, holders: {"total_slots": slots, "holders": holders},
    lambda document: int(document["total_slots"]),
)
ALGORITHMS = (FLATCAR, AIRLOCK)


@dataclass(frozen=True, slots=True)
class Classic:
    """One such document in a store."""

    store: Store
    algorithm: Algorithm
    key: str

    def create(self, slots: int) -> None:
        """Write it; whatever was there is replaced."""
        self._write(self.store.read([self.key])[self.key].mod, slots, [])

    def lock(self, node: str) -> Taken:
        """One attempt."""
        mod, slots, holders = self._read()
        if len(holders) >= slots:
            return "full"
        return "taken" if self._write(mod, slots, sorted([*holders, node])) else "conflict"

    def unlock(self, node: str) -> bool:
        """One attempt; False when another write was faster."""
        mod, slots, holders = self._read()
        return self._write(mod, slots, [holder for holder in holders if holder != node])

    def _read(self) -> tuple[int, int, list[str]]:
        item = self.store.read([self.key])[self.key]
        document = json.loads(item.value)
        return item.mod, self.algorithm.slots(document), document["holders"]

    def _write(self, mod: int, slots: int, holders: list[str]) -> bool:
        value = json.dumps(self.algorithm.document(slots, holders), separators=(",", ":")).encode()
        try:
            self.store.commit([Check(self.key, mod)], [Put(self.key, value)])
        except Conflict:
            return False
        return True
