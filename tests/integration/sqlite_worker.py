"""One process at a SQLite store; test_store_sqlite.py starts several of them. Each line of output says what it did.

increment PATH ROUNDS   count one key up, ROUNDS times
cycle PATH NAME         take a slot and give it back, for ever: count and holders change in one commit
stall PATH              stand still inside a write transaction
"""

import random
import sqlite3
import sys
import time
from datetime import timedelta
from pathlib import Path

from locksmith.errors import Conflict
from locksmith.stores import Check, Put
from locksmith.stores.sqlite import SqliteStore


def connect(path: Path) -> SqliteStore:
    return SqliteStore(path, "fleet", timeout=timedelta(seconds=20))


def increment(store: SqliteStore, rounds: int) -> None:
    for _ in range(rounds):
        while True:
            item = store.read(["n"])["n"]
            number = int(item.value or b"0") + 1
            try:
                store.commit([Check("n", item.mod)], [Put("n", f"{number}".encode())])
            except Conflict:
                continue
            print(number)
            break


def cycle(store: SqliteStore, name: str) -> None:
    own = f"own/{name}"
    while True:
        snapshot = store.read(["lim", own])
        held = bool(snapshot[own])
        count = int(snapshot["lim"].value or b"0") + (-1 if held else 1)
        puts = [Put("lim", f"{count}".encode())] + (
            [] if held else [Put(own, random.randbytes(random.randrange(9000)))]
        )
        try:
            store.commit(
                [Check("lim", snapshot["lim"].mod), Check(own, snapshot[own].mod)], puts, [own] if held else []
            )
        except Conflict:
            continue
        print("released" if held else "acquired", flush=True)


def stall(path: Path) -> None:
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    db.execute("UPDATE revision SET value = value + 1000")
    print("inside", flush=True)
    time.sleep(600)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["increment", path, rounds]:
            increment(connect(Path(path)), int(rounds))
        case ["cycle", path, name]:
            cycle(connect(Path(path)), name)
        case ["stall", path]:
            stall(Path(path))
        case _:
            raise SystemExit(f"unknown words: {sys.argv[1:]}")
