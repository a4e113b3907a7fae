"""The leader of three is killed: when does the next commit, the next grant, succeed?

All of them run at once against the same outage, so that the election is the same for all: bare commits, which say when the
store is back for a client of this kind; our acquire and release; and the classic lock, tried again at once. Each begins
anew after an error, as an agent does, and what is counted is the first that began after the kill and was done."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from locksmith.errors import LocksmithError
from locksmith.semaphore.holding import release
from tests.benchmarks.parts.classic import FLATCAR, Classic
from tests.benchmarks.parts.cycle import bare_commits
from tests.benchmarks.parts.races import taken
from tests.integration.places import TTL, Place, place
from tests.servers.consul import ConsulCluster
from tests.servers.etcd import EtcdCluster

PAUSE = 0.05
"""After an error, and after a success."""
SECONDS = 60
"""An outage that lasts longer is a failure."""


@dataclass
class Loop:
    """One thing that is done again and again; `last` is when the latest that succeeded began and ended."""

    name: str
    action: Callable[[], object]
    over: threading.Event
    last: tuple[float, float] = (0.0, 0.0)
    errors: list[str] = field(default_factory=list)

    def run(self) -> None:
        """Until told to end."""
        while not self.over.is_set():
            began = time.monotonic()
            try:
                self.action()
            except LocksmithError as error:
                self.errors.append(error.kind)
            else:
                self.last = began, time.monotonic()
            self.over.wait(PAUSE)


def figures(kind: str, folder: Path, rounds: int) -> list[dict[str, float]]:
    """Seconds from each kill to the first success of each."""
    cluster = EtcdCluster("3.5", members=3) if kind == "etcd" else ConsulCluster(members=3)
    with cluster, place(folder, cluster.url()) as where, _running(where) as loops:
        found = []
        for _ in range(rounds):
            leader = cluster.leader()
            began = time.monotonic()
            _wait(loops, began)
            killed = time.monotonic()
            leader.kill()
            _wait(loops, time.monotonic())
            found.append({loop.name: loop.last[1] - killed for loop in loops})
            leader.restart()
        return found


def _wait(loops: list[Loop], since: float) -> None:
    """Until each has succeeded once with what it began after `since`; their first ones are still the latest then."""
    end = time.monotonic() + SECONDS
    firsts: dict[str, tuple[float, float]] = {}
    while len(firsts) < len(loops):
        for loop in loops:
            if loop.name not in firsts and loop.last[0] > since:
                firsts[loop.name] = loop.last
        assert time.monotonic() < end, f"{[loop.name for loop in loops if loop.name not in firsts]} did not come back"
        time.sleep(PAUSE / 10)
    for loop in loops:
        loop.last = firsts[loop.name]


@contextlib.contextmanager
def _running(where: Place) -> Iterator[list[Loop]]:
    """The three loops, each on a client of its own."""
    where.slots(1)
    over = threading.Event()
    stores = [where.connect() for _ in range(3)]
    actor = where.another(stores[1])
    session = stores[1].session(TTL)
    lock = Classic(stores[2], FLATCAR, "classic")
    lock.create(1)
    actions = {
        "commit": lambda: bare_commits(stores[0], "bare", 1),
        "locksmith": lambda: release(actor, taken(actor, where.attempt("leader"), session.id)),
        "classic": lambda: _classic(lock),
    }
    loops = [Loop(name, action, over) for name, action in actions.items()]
    threads = [threading.Thread(target=loop.run) for loop in loops]
    for thread in threads:
        thread.start()
    try:
        yield loops
    finally:
        over.set()
        for thread in threads:
            thread.join()
        for store in stores:
            store.close()


def _classic(lock: Classic) -> None:
    """With our own reading back of what an error left unclear: a lock that is held already is taken for ours."""
    taken_ = lock.lock("node")
    assert taken_ in ("taken", "full"), taken_
    assert lock.unlock("node")
