"""`etcdctl lock` and `consul lock -n`, as processes on the same server, and our queue beside them.

So many wait; the first ends when told; then each holds for a fifth of a second, until all have had their turn. A hand-off
is from the end of one holder's work to the beginning of the next one's: the tools' contains the start of a shell, ours the
end of a thread's wait. Requests and bytes are those on the wire, from the moment at which all wait to the last one's end,
by turn.

Neither keeps its lock over a reboot: both are bound to a session that ends with the process. They are here as the least that
the servers' own makers need for mutual exclusion. Ours is the claim and the release only, without arm and verify.
"""

import contextlib
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from locksmith.semaphore.holding import release
from tests.benchmarks.parts.counting import Counting
from tests.benchmarks.parts.cycle import wait_for_slot
from tests.integration.places import TTL, Place, place
from tests.servers.fetch import consul, etcd
from tests.servers.process import wait_until, without_prefix

SLOTS = {"etcd": 1, "consul": 2}
"""`etcdctl lock` has one; `consul lock -n 1` would be a lock, from 2 on it is its semaphore."""
HELD_SECONDS, SETTLE_SECONDS = 0.2, 1.5
_CHILD = 'date +%s.%N >>"{0}/began"; while [ ! -e "{0}/go" ]; do sleep 0.05; done; sleep {1}; date +%s.%N >>"{0}/ended"'


def figures(kind: str, endpoint: str, folder: Path, crowds: tuple[int, ...]) -> list[dict[str, object]]:
    """For each crowd, the tool's and ours."""
    found = []
    for waiters in crowds:
        work = folder / f"{kind}{waiters}"
        work.mkdir(parents=True)
        with Counting(endpoint) as proxy:
            tool = _tool(kind, proxy, work, waiters)
        with Counting(endpoint) as proxy, place(work / "ours", f"{kind}://{proxy.endpoint}/tools{waiters}") as where:
            ours = _ours(where, proxy, waiters, SLOTS[kind])
        found.append({"waiters": waiters, "slots": SLOTS[kind], "tool": tool, "locksmith": ours})
    return found


def _tool(kind: str, proxy: Counting, work: Path, waiters: int) -> dict[str, float]:
    child = _CHILD.format(work, HELD_SECONDS)
    turns = waiters + SLOTS[kind]
    if kind == "etcd":
        command = [
            str(etcd("3.5").etcdctl),
            "--endpoints",
            proxy.endpoint,
            "lock",
            f"bench{waiters}",
            "--",
            "sh",
            "-c",
            child,
        ]
    else:
        words = ["lock", f"-n={SLOTS[kind]}", f"-http-addr=http://{proxy.endpoint}", "-child-exit-code"]
        command = [str(consul()), *words, f"bench{waiters}", child]
    environment = {**without_prefix("ETCD"), "ETCDCTL_API": "3"}
    with _processes(command, environment, turns, work / "log") as processes:
        wait_until(lambda: len(_times(work / "began")) == SLOTS[kind], "nobody holds the lock", timeout=60)
        _settle(proxy)
        before = proxy.requests, proxy.bytes
        (work / "go").touch()
        for process in processes:
            process.wait(120)
        counted = proxy.requests - before[0], proxy.bytes - before[1]
        return _turns(_times(work / "began"), _times(work / "ended"), turns, SLOTS[kind], counted)


@contextlib.contextmanager
def _processes(
    command: list[str], environment: dict[str, str], count: int, log: Path
) -> Iterator[list[subprocess.Popen[bytes]]]:
    processes: list[subprocess.Popen[bytes]] = []
    try:
        with log.open("wb") as output:
            for _ in range(count):
                started = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
                processes.append(started)
        yield processes
        assert not any(process.returncode for process in processes), log.read_text()
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.wait()


def _ours(where: Place, proxy: Counting, waiters: int, slots: int) -> dict[str, float]:
    where.slots(slots)
    go, given_up, turn = threading.Event(), threading.Event(), threading.Semaphore(2)
    began: list[float] = []
    ended: list[float] = []
    actors = [where.another() for _ in range(waiters + slots)]

    def live(number: int) -> None:
        actor = actors[number]
        session = actor.store.session(TTL)
        slot = wait_for_slot(actor, where.attempt(f"node{number:02d}"), session.id, given_up, turn)
        assert slot is not None
        began.append(time.time())
        go.wait()
        time.sleep(HELD_SECONDS)
        ended.append(time.time())
        release(actor, slot)
        session.end()

    threads = [threading.Thread(target=live, args=(number,)) for number in range(len(actors))]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(began) == slots and len(where.tickets()) == waiters, "not all wait", timeout=60)
    _settle(proxy)
    before = proxy.requests, proxy.bytes
    go.set()
    for thread in threads:
        thread.join()
    counted = proxy.requests - before[0], proxy.bytes - before[1]
    for actor in actors:
        actor.store.close()
    return _turns(sorted(began), sorted(ended), len(actors), slots, counted)


def _turns(
    began: list[float], ended: list[float], turns: int, slots: int, counted: tuple[int, int]
) -> dict[str, float]:
    """The n-th to begin after the first waited for the n-th to end."""
    assert len(began) == len(ended) == turns, (began, ended, turns)
    handed = sorted(start - end for start, end in zip(began[slots:], ended, strict=False))
    return {
        "hand_off_seconds": handed[len(handed) // 2],
        "hand_off_slowest": handed[-1],
        "requests": counted[0] / turns,
        "bytes": counted[1] / turns,
    }


def _times(path: Path) -> list[float]:
    try:
        return sorted(float(line) for line in path.read_text().splitlines())
    except (OSError, ValueError):
        return []


def _settle(proxy: Counting) -> None:
    """Until all have looked and asked what they ask before they wait."""
    before = -1
    while proxy.requests != before:
        before = proxy.requests
        time.sleep(SETTLE_SECONDS)
