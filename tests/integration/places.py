"""Where a test lets lockctl and the semaphore's functions act: a fresh prefix of a real store, and ways to fill it.

Plain Python, no pytest: the benchmarks use it too. What stands in the store is put there by the functions that agents use,
so that a test of lockctl meets what it would meet in a fleet.
"""

import contextlib
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import SystemRandom
from typing import Any

from locksmith import config
from locksmith.assemble import open_store
from locksmith.core import keys
from locksmith.core.admission import Patience
from locksmith.core.documents import Guard, Holder, NodeRecord
from locksmith.host.clock import SystemClock
from locksmith.semaphore import by_hand, operating, recovery, repair
from locksmith.semaphore.actor import Actor, View, look
from locksmith.semaphore.claiming import Attempt, Claimed, Enqueued, claim, enqueue
from locksmith.semaphore.holding import Armed, Slot, arm, slot_of
from locksmith.stores import Check, Put, Store

LOCKCTL = Path(sys.executable).with_name("lockctl")
LOCKSMITHD = Path(sys.executable).with_name("locksmithd")
TTL = timedelta(minutes=5)
OWN_ID = "0123456789abcdef0123456789abcdef"
HANG_SECONDS = 150
"""A process that has not ended by then hangs."""
PATIENT = ("--timeout", "100s")
"""For commands that are not about time: the machine may be busy with a hundred other tests."""


@dataclass(frozen=True)
class Said:
    """What one run of lockctl wrote, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The one document on standard output of a run with --json."""
        lines = self.out.splitlines()
        assert len(lines) == 1, f"not one document: {self.out!r}, {self.err!r}"
        document: dict[str, Any] = json.loads(lines[0])
        assert document["schema"] == 1
        assert datetime.fromisoformat(document["time"]).utcoffset() == timedelta(0)
        assert document["time"].endswith("Z")
        return document

    @property
    def kind(self) -> str | None:
        """The kind of the document's error."""
        error = self.document.get("error")
        return None if error is None else error["kind"]


@dataclass
class Place:
    """A prefix of a store, and the configuration file that names it. Close it.

    `store` are more lines of the file's table [store], `more` are tables after it.
    """

    folder: Path
    url: str
    store: Mapping[str, object] = field(default_factory=dict)
    more: str = ""
    group: str = "web"

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.file = self.folder / f"locksmith-{secrets.token_hex(4)}.toml"
        lines = [
            f"{key} = {json.dumps(str(value))}"
            for key, value in {"url": self.url, "timeout": "20s", **self.store}.items()
        ]
        node = [f'id = "{OWN_ID}"', f'group = "{self.group}"']
        node += [f'{name} = "{self.folder / name}"' for name in ("run_dir", "state_dir")]
        self.file.write_text("\n".join(["[store]", *lines, "[node]", *node, self.more, ""]))
        self._actor: Actor | None = None

    def close(self) -> None:
        """Free sockets and files."""
        if self._actor is not None:
            self._actor.store.close()

    # ---------------------------------------------------------------- as functions

    def connect(self) -> Store:
        """One more client."""
        return open_store(config.load(self.file, environ={}))

    @property
    def actor(self) -> Actor:
        """Somebody who acts here."""
        self._actor = self._actor or self.another()
        return self._actor

    def another(self, store: Store | None = None) -> Actor:
        """One more party, on a client of its own."""
        return Actor(store or self.connect(), SystemClock(), SystemRandom(), "alice@bastion1", "bastion1")

    def slots(self, count: int, group: str | None = None) -> None:
        """Set the slots of a group."""
        operating.set_max(self.actor, group or self.group, count)

    def attempt(self, node: str, group: str | None = None) -> Attempt:
        """The wish of a node's agent."""
        group = group or self.group
        return Attempt(
            node=node,
            host=f"host-{node}",
            group=group,
            limits=(keys.group_limit(group),),
            nonce=self.actor.nonce(),
            since=datetime.now(UTC),
            reason="reboot-required: linux-image",
            boot="boot-1/0",
            fingerprint=f"board-{node}",
        )

    def queued(self, attempt: Attempt) -> None:
        """Its ticket stands."""
        session = self.actor.store.session(TTL)
        assert enqueue(self.actor, attempt, session.id, timedelta(0)) == Enqueued()

    def taken(self, node: str, group: str | None = None) -> Slot:
        """The node's agent has a slot, phase acquired."""
        attempt = self.attempt(node, group)
        self.queued(attempt)
        claimed = claim(self.actor, attempt, Patience())
        assert isinstance(claimed, Claimed), claimed
        return slot_of(claimed.held)

    def armed(self, node: str) -> Slot:
        """The node may reboot at any moment."""
        slot = self.taken(node)
        outcome = arm(self.actor, slot, epoch=1, attempt=self.actor.nonce(), request=None, expected=None)
        assert isinstance(outcome, Armed), outcome
        return slot

    def register(self, node: str, host: str) -> None:
        """The node's agent has described itself."""
        now = datetime.now(UTC)
        record = NodeRecord(host=host, group=self.group, state="steady", seen=now, state_since=now, heartbeat=900)
        recovery.write_record(self.actor, node, record)

    def damage(self, key: str, value: bytes) -> None:
        """Write what no locksmith would."""
        self.actor.store.commit([Check(key, self.actor.store.read([key])[key].mod)], [Put(key, value)])

    # ---------------------------------------------------------------- what stands there

    def view(self) -> View:
        """Everything that counts, in one snapshot."""
        return look(self.actor.store, (), [keys.GUARDS, keys.OWNERS, keys.QUEUES, keys.BRAKES])

    def holders(self) -> dict[str, Holder]:
        """Who holds a slot."""
        return {keys.own_node(key): holder for key, _, holder in self.view().documents(keys.OWNERS, Holder)}

    def guard(self, group: str | None = None) -> Guard:
        """A group's guard."""
        guard = self.view().document(keys.guard(keys.group_limit(group or self.group)), Guard)
        assert guard is not None
        return guard

    def tickets(self) -> list[str]:
        """The keys of all tickets."""
        return [key for key, _ in self.view().snapshot.under(keys.QUEUES)]

    def settled(self, held: int) -> None:
        """Nobody waits, so many hold, and the counts say the same. Raises AssertionError."""
        view = self.view()
        assert not list(view.snapshot.under(keys.QUEUES))
        holders = [holder for _, _, holder in view.documents(keys.OWNERS, Holder)]
        assert len(holders) == held
        for key, _, guard in view.documents(keys.GUARDS, Guard):
            assert guard.count == sum(key.removeprefix(keys.GUARDS) in holder.limits for holder in holders), key
        kinds = {finding.kind for finding in repair.fsck(self.actor, repair=False).findings}
        assert kinds <= {"no_record"}, kinds

    def unlock_all(self) -> None:
        """Give back every slot that is held by hand."""
        for node in self.holders():
            by_hand.force_unlock(self.actor, node, "the test is over", armed_too=True)

    # ---------------------------------------------------------------- as programs

    def start(self, *words: str, program: Path = LOCKCTL) -> subprocess.Popen[str]:
        """Start a program here; its output goes into pipes."""
        return subprocess.Popen(
            [program, *words],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @property
    def environment(self) -> dict[str, str]:
        """Nothing of the machine's own configuration."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("LOCKSMITH_", "NO_COLOR"))}
        return {**kept, "LOCKSMITH_CONFIG": str(self.file)}

    def lockctl(self, *words: str) -> Said:
        """Run lockctl to its end, with patience unless a --timeout is given."""
        return ended(self.start(*words, *(() if "--timeout" in words else PATIENT)))


def ended(process: subprocess.Popen[str]) -> Said:
    """Wait for a process and give what it wrote; one that hangs is killed."""
    try:
        out, err = process.communicate(timeout=HANG_SECONDS)
    except BaseException:
        process.kill()
        process.communicate()
        raise
    return Said(process.returncode, out, err)


@contextlib.contextmanager
def place(folder: Path, url: str, **more: Any) -> Iterator[Place]:
    """A place that is closed at the end."""
    made = Place(folder, url, **more)
    try:
        yield made
    finally:
        made.close()


def sqlite_url(folder: Path) -> str:
    """A file of its own."""
    return f"sqlite://{folder}/store.db"
