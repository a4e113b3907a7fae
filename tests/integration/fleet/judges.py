"""Two judges of a roll-out. Neither asks the product, neither shares a line with it.

The first reads what the hosts wrote: who was down when, on one clock. The second reads etcd's own history from its first
revision and rebuilds every state that the store ever had.
"""

import base64
import json
import subprocess
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.servers.etcd import EtcdCluster
from tests.servers.process import without_prefix

_SENTINEL = "the-judge-reads-up-to-here"
_READ_SECONDS = 60


@dataclass(slots=True)
class Downs:
    """What the ledger says: the most hosts down at once, the finished reboots of each host, and what makes no sense."""

    most: int = 0
    pairs: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def judge_downs(ledger: Iterable[str]) -> Downs:
    """Each line is `host down|up monotonic-seconds`."""
    found = Downs()
    moments: list[tuple[float, int]] = []
    down: set[str] = set()
    last: dict[str, float] = {}
    for line in ledger:
        host, word, text = line.split()
        at = float(text)
        if (host in down) == (word == "down") or at < last.get(host, at):
            found.problems.append(f"{host} went {word} at {text} out of turn")
        last[host] = at
        if word == "down":
            down.add(host)
            moments.append((at, 1))
        else:
            down.discard(host)
            moments.append((at, -1))
            found.pairs[host] = found.pairs.get(host, 0) + 1
    found.problems += [f"{host} went down and never came up" for host in sorted(down)]
    count = 0
    for _, change in sorted(moments, key=lambda moment: (moment[0], -moment[1])):  # at one instant: down counts first
        count += change
        found.most = max(found.most, count)
    return found


@dataclass(slots=True)
class History:
    """What the replay saw. `most` is the most holders of a limit at any revision; `granted` are claims in order."""

    revisions: int = 0
    most: dict[str, int] = field(default_factory=dict)
    granted: list[str] = field(default_factory=list)
    armed: dict[str, set[str]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def judge_history(cluster: EtcdCluster, slots: Mapping[str, int], prefix: str = "locksmith") -> History:
    """Replay every revision; `slots` are those of each limit, as the test set them."""
    return replay(_changes(cluster), slots, prefix)


Change = tuple[str, bytes | None]
"""A key and its new value; None: deleted."""


def replay(changes: Iterable[tuple[int, list[Change]]], slots: Mapping[str, int], prefix: str) -> History:
    """Judge the state after each revision."""
    seen, state = History(), dict[str, dict[str, Any]]()
    for revision, batch in changes:
        seen.revisions += 1
        for key, value in batch:
            if not key.startswith(f"{prefix}/"):
                continue
            name = key.removeprefix(f"{prefix}/")
            before = state.get(name)
            if value is None:
                state.pop(name, None)
            elif name.startswith(("own/", "lim/", "brake/")):
                state[name] = json.loads(value)
                _note(seen, name, before, state[name])
        _weigh(seen, revision, state, slots)
    return seen


def _note(seen: History, name: str, before: dict[str, Any] | None, document: dict[str, Any]) -> None:
    if not name.startswith("own/"):
        return
    node = name.rsplit("/", 1)[1]
    if before is None:
        seen.granted.append(node)
    if document["phase"] == "armed":
        seen.armed.setdefault(node, set()).add(document["attempt"])


def _weigh(seen: History, revision: int, state: Mapping[str, dict[str, Any]], slots: Mapping[str, int]) -> None:
    holders: dict[str, int] = {}
    failed: dict[str, set[str]] = {}
    for name, document in state.items():
        if name.startswith("own/"):
            for limit in document["limits"]:
                holders[limit] = holders.get(limit, 0) + 1
            if document["phase"] == "failed":
                failed.setdefault(document["group"], set()).add(name.rsplit("/", 1)[1])
    for limit in holders.keys() | {name.removeprefix("lim/") for name in state if name.startswith("lim/")}:
        held = holders.get(limit, 0)
        seen.most[limit] = max(seen.most.get(limit, 0), held)
        guard = state.get(f"lim/{limit}")
        if guard is None:
            seen.problems.append(f"revision {revision}: {held} holders of {limit}, which has no guard")
        elif guard["count"] != held:
            seen.problems.append(
                f"revision {revision}: the guard of {limit} counts {guard['count']}, holders are {held}"
            )
        if held > slots[limit]:
            seen.problems.append(f"revision {revision}: {held} holders of {limit}, which has {slots[limit]} slots")
    for group in failed.keys() | {name.removeprefix("brake/") for name in state if name.startswith("brake/")}:
        listed = set(state.get(f"brake/{group}", {}).get("failed", {}))
        if listed != failed.get(group, set()):
            seen.problems.append(f"revision {revision}: failed are {failed.get(group, set())}, the brake says {listed}")


def _changes(cluster: EtcdCluster) -> Iterator[tuple[int, list[Change]]]:
    """Every revision of the whole store, from the first to now, through etcdctl."""
    cluster.etcdctl("put", _SENTINEL, "")
    last = cluster.revision()
    endpoint = next(member.endpoint for member in cluster.members if member.alive)
    command = [str(cluster._programs.etcdctl), "--endpoints", endpoint, "watch", "", "--prefix", "--rev", "1"]
    process = subprocess.Popen(
        [*command, "--write-out", "json"],
        env={**without_prefix("ETCD"), "ETCDCTL_API": "3"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    timer = threading.Timer(_READ_SECONDS, process.kill)
    timer.start()
    try:
        assert process.stdout is not None
        yield from _revisions(process.stdout, last)
    finally:
        timer.cancel()
        process.kill()
        process.wait(timeout=30)
        if process.stdout is not None:
            process.stdout.close()


def _revisions(lines: Iterable[bytes], last: int) -> Iterator[tuple[int, list[Change]]]:
    """Group the events of etcdctl's answers by revision; one that is missing would be a hole in the history."""
    revision, batch = 1, list[Change]()  # revision 1 is the empty store
    for line in lines:
        answer = json.loads(line)
        assert not answer.get("CompactRevision"), "the history was compacted: the judge cannot read it from the first"
        for event in answer.get("Events", []):
            item = event["kv"]
            if item["mod_revision"] != revision:
                if batch:
                    yield revision, batch
                assert item["mod_revision"] == revision + 1, f"no change of revision {revision + 1} was seen"
                revision, batch = item["mod_revision"], []
            deleted = event.get("type", 0) in (1, "DELETE")
            value = None if deleted else base64.b64decode(item.get("value", ""))
            batch.append((base64.b64decode(item["key"]).decode(), value))
        if revision >= last:
            yield revision, batch
            return
    raise AssertionError(f"etcdctl ended at revision {revision} of {last}")


def read_ledger(path: Path) -> list[str]:
    """Its lines."""
    return path.read_text().splitlines()
