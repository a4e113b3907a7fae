"""A crowd of processes that have loaded everything, wait at a barrier, and then all want a slot.

Run as a program: `contenders.py CONFIG GROUP COUNT [one-attempt]`. It prints one JSON list with how each of them fared. They
are forked from one process that has imported all and connected nowhere; each then connects, reads once, and waits.
`one-attempt` is the negative control: the same call on a store that makes the first conflict final.
"""

import json
import os
import select
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import NoReturn

from locksmith import config
from locksmith.assemble import open_store, operator
from locksmith.config_model import Config
from locksmith.errors import Conflict, LocksmithError, Rejected
from locksmith.semaphore import by_hand
from locksmith.semaphore.actor import Actor, look
from locksmith.stores import Check, Facts, Put, Session, Snapshot, Store

PATIENCE = timedelta(seconds=90)
GATHERING_SECONDS = 90


class OneAttempt:
    """A store on which a commit that meets a change is given up: nobody reads a second time. See Store."""

    def __init__(self, inner: Store) -> None:
        self.inner = inner

    @property
    def kind(self) -> str:
        return self.inner.kind

    def commit(self, checks: Sequence[Check], puts: Sequence[Put] = (), deletes: Sequence[str] = ()) -> int | None:
        try:
            return self.inner.commit(checks, puts, deletes)
        except Conflict as error:
            raise Rejected(f"one attempt, and it failed: {error}") from error

    def read(self, keys: Sequence[str] = (), prefixes: Sequence[str] = ()) -> Snapshot:
        return self.inner.read(keys, prefixes)

    def watch(self, key: str, after: int, timeout: timedelta) -> bool:
        return self.inner.watch(key, after, timeout)

    def probe(self, key: str) -> None:
        self.inner.probe(key)

    def session(self, ttl: timedelta) -> Session:
        return self.inner.session(ttl)

    def prepare(self) -> None:
        self.inner.prepare()

    def facts(self) -> Facts:
        return self.inner.facts()

    def close(self) -> None:
        self.inner.close()


def fare(actor: Actor, node: str, group: str) -> dict[str, object]:
    """One wish, without waiting in the queue, as `lockctl lock NODE` has it."""
    try:
        by_hand.lock(
            actor,
            node,
            node,
            group,
            "contention",
            wait=False,
            patience=PATIENCE,
            progress=lambda _: None,
            stop=threading.Event(),
        )
    except LocksmithError as error:
        return {"node": node, "code": error.exit_code, "kind": error.kind, "message": str(error)}
    return {"node": node, "code": 0, "kind": None}


def connected(loaded: Config, group: str, node: str, wrap: Callable[[Store], Store]) -> Callable[[], dict[str, object]]:
    """A wish on a store that has answered once already."""
    actor = operator(loaded, open_store(loaded))
    look(actor.store)
    return partial(fare, replace(actor, store=wrap(actor.store)), node, group)


def contend(loaded: Config, group: str, count: int, wrap: Callable[[Store], Store]) -> list[dict[str, object]]:
    """Let `count` processes loose at once."""
    ready, say_ready = os.pipe()
    go, let_go = os.pipe()
    told, tell = os.pipe()
    children = []
    for number in range(count):
        child = os.fork()
        if child == 0:
            os.close(let_go)
            _child(partial(connected, loaded, group, f"node{number}", wrap), say_ready, go, tell)
        children.append(child)
    for end in (say_ready, go, tell):
        os.close(end)
    gathered = 0
    while gathered < count:
        if not select.select([ready], [], [], GATHERING_SECONDS)[0]:
            break
        arrived = os.read(ready, count)
        if not arrived:
            break
        gathered += len(arrived)
    os.close(let_go)  # the barrier: every read of its other end returns now
    with os.fdopen(told) as pipe:
        outcomes = [json.loads(line) for line in pipe]
    for child in children:
        os.waitpid(child, 0)
    if gathered < count:
        raise SystemExit(f"only {gathered} of {count} came to the barrier")
    return outcomes


def _child(wanting: Callable[[], Callable[[], dict[str, object]]], say_ready: int, go: int, tell: int) -> NoReturn:
    """Connect, wait at the barrier, want."""
    try:
        want = wanting()
        os.write(say_ready, b".")
        os.read(go, 1)
        outcome = want()
        os.write(tell, (json.dumps(outcome) + "\n").encode())
    except BaseException as error:  # noqa: BLE001 - a child must never return into the loop that forks
        os.write(2, f"{error!r}\n".encode())
    finally:
        os._exit(0)


def main(file: str, group: str, count: str, *control: str) -> None:
    """See the module."""
    loaded = config.load(Path(file), environ={})
    match loaded.store and loaded.store.url.kind:
        case "etcd":
            import locksmith.stores.etcd  # noqa: PLC0415
        case "consul":
            import locksmith.stores.consul  # noqa: PLC0415
        case _:
            import locksmith.stores.sqlite  # noqa: F401, PLC0415
    wrap: Callable[[Store], Store] = OneAttempt if control == ("one-attempt",) else lambda store: store
    print(json.dumps(contend(loaded, group, int(count), wrap)))


if __name__ == "__main__":
    main(*sys.argv[1:])
