"""What the store went through, taken down while it happens, so that the history may be compacted behind it.

Of etcd every revision is taken, and one that is missing is a violation. Consul keeps no history: there each state that a
consistent read shows is taken, as often as the store changes and the reader keeps up; what was between two reads is not seen.
"""

import base64
import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from subprocess import DEVNULL, PIPE, Popen
from typing import Any

JUDGED = ("own/", "lim/", "brake/", "cfg", "hold/", "ev/unlock/", "q/")
"""Names whose documents are kept."""


@dataclass(frozen=True, slots=True)
class Change:
    """One key after a change. `document` None: deleted. `bound`: it hangs on a lease or session."""

    name: str
    document: dict[str, Any] | None
    created: int = 0
    bound: bool = False


@dataclass(frozen=True, slots=True)
class Moment:
    """One step of the history. `whole`: nothing was between it and the step before. `at` is when it was read, monotonic."""

    revision: int
    changes: tuple[Change, ...]
    whole: bool
    at: float
    back: bool = False
    """The store was put back to a backup: `whole`, of this revision; else the next states show what that changed."""


class EtcdRecord:
    """Follows etcd through `etcdctl watch`, which is started anew as often as it must."""

    def __init__(self, command: Callable[[int], Sequence[str]], prefix: str) -> None:
        """`command` makes the watch from a revision on, printing JSON."""
        self.moments: list[Moment] = []
        self.last = 1  # the empty store
        self.holes: list[str] = []
        self._command, self._prefix = command, prefix
        self._process: Popen[bytes] | None = None
        self._ended, self._held = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._follow, name="record", daemon=True)
        self._thread.start()

    def reached(self, revision: int, timeout: float = 30) -> bool:
        """Whether all up to `revision` is taken down, after waiting; a watch that hangs is started anew meanwhile."""
        end = time.monotonic() + timeout
        nudge = time.monotonic() + 3
        while self.last < revision:
            if time.monotonic() > end:
                return False
            if time.monotonic() > nudge:
                self._kill()
                nudge = time.monotonic() + 5
            time.sleep(0.02)
        return True

    def restart_at(self, revision: int) -> None:
        """The store was put back: its history goes on from `revision`, which must be what it stands at."""
        self.moments.append(Moment(revision, (), whole=True, at=time.monotonic(), back=True))
        self.last = revision
        self._held.clear()

    def hold(self) -> None:
        """Take nothing down until `restart_at`."""
        self._held.set()
        self._kill()

    def close(self) -> None:
        """End it."""
        self._ended.set()
        self._kill()
        self._thread.join(30)

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    def _follow(self) -> None:
        while not self._ended.wait(0.2):
            if self._held.is_set():
                continue
            with Popen(self._command(self.last + 1), stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL) as process:
                self._process = process
                assert process.stdout is not None
                for line in process.stdout:
                    self._take(line)
                process.kill()

    def _take(self, line: bytes) -> None:
        if self._held.is_set():
            return
        try:
            answer = json.loads(line)
        except ValueError:
            return  # cut off in the middle, by the end of the watch: it comes again
        batches: dict[int, list[Change]] = {}
        for event in answer.get("Events") or []:
            item = event["kv"]
            changes = batches.setdefault(item["mod_revision"], [])
            change = self._change(event.get("type", 0) in (1, "DELETE"), item)
            if change is not None:
                changes.append(change)
        for revision, batch in sorted(batches.items()):
            if revision <= self.last:
                continue
            if revision != self.last + 1:
                self.holes.append(f"the store's revisions {self.last + 1} to {revision - 1} were not seen")
            self.moments.append(Moment(revision, tuple(batch), whole=True, at=time.monotonic()))
            self.last = revision

    def _change(self, deleted: bool, item: dict[str, Any]) -> Change | None:
        key = base64.b64decode(item["key"]).decode()
        name = key.removeprefix(f"{self._prefix}/")
        if name == key or not name.startswith(JUDGED):
            return None
        if deleted:
            return Change(name, None)
        document = json.loads(base64.b64decode(item["value"]))
        return Change(name, document, item["create_revision"], bool(item.get("lease")))


class ConsulRecord:
    """Reads all of Consul's keys again and again, each time at one index."""

    def __init__(self, ask: Callable[[str], Any], prefix: str) -> None:
        """`ask` GETs a path and returns the decoded answer, None without one."""
        self.moments: list[Moment] = []
        self.last = 0
        self.holes: list[str] = []
        self._ask, self._prefix = ask, prefix
        self._seen: dict[str, tuple[int, int]] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="record", daemon=True)
        self._thread.start()

    def reached(self, revision: int, timeout: float = 30) -> bool:
        """Whether a state of that index or later was read."""
        end = time.monotonic() + timeout
        while self.last < revision and time.monotonic() < end:
            time.sleep(0.05)
        return self.last >= revision

    def close(self) -> None:
        """End it."""
        self._ended.set()
        self._thread.join(30)

    def _follow(self) -> None:
        while not self._ended.wait(0.04):
            items = self._ask(f"/v1/kv/{self._prefix}/?recurse&consistent")
            if isinstance(items, list):
                self._take(items)

    def put_back(self) -> None:
        """Say that from here on states of a backup are seen."""
        self.moments.append(Moment(self.last, (), whole=False, at=time.monotonic(), back=True))

    def _take(self, items: list[dict[str, Any]]) -> None:
        now: dict[str, tuple[int, int]] = {}
        changes = []
        for item in items:
            name = item["Key"].removeprefix(f"{self._prefix}/")
            if not name.startswith(JUDGED):
                continue
            now[name] = (item["CreateIndex"], item["ModifyIndex"])
            if self._seen.get(name) != now[name]:
                document = json.loads(base64.b64decode(item["Value"] or "e30="))
                changes.append(Change(name, document, item["CreateIndex"], bool(item.get("Session"))))
        changes += [Change(name, None) for name in self._seen.keys() - now.keys()]
        self._seen = now
        self.last = max([self.last, *(item["ModifyIndex"] for item in items)])
        if changes:
            self.moments.append(Moment(self.last, tuple(changes), whole=False, at=time.monotonic()))
