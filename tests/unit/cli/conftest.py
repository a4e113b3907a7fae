"""lockctl on a real SQLite store, in this process: run a line, look at what it wrote."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from locksmith.cli.program import run
from locksmith.core import keys
from locksmith.core.documents import Brake, Failure, Guard, Holder, NodeRecord, Phase
from locksmith.host.clock import SystemClock
from locksmith.semaphore import operating
from locksmith.semaphore.actor import Actor, look
from locksmith.stores import Check, Put
from locksmith.stores.sqlite import SqliteStore

ID = "0123456789abcdef0123456789abcdef"


def node_id(number: int) -> str:
    """An id as machines have them, different from the first digit on."""
    return f"{number:08x}" + ID[:24]


@dataclass
class Fleet:
    """The store behind the command line, and ways to put into it what agents would."""

    path: Path
    store: SqliteStore = field(init=False)
    actor: Actor = field(init=False)

    def __post_init__(self) -> None:
        self.store = SqliteStore(self.path, "locksmith", timeout=timedelta(seconds=5))
        self.actor = Actor(self.store, SystemClock(), Random(1), "alice@bastion1", "bastion1")

    @property
    def url(self) -> str:
        return f"sqlite://{self.path}"

    def slots(self, count: int, group: str = "default") -> None:
        operating.set_max(self.actor, group, count)

    def put(self, key: str, value: bytes) -> None:
        self.store.commit([Check(key, self.store.read([key])[key].mod)], [Put(key, value)])

    def hold(self, node: str, phase: Phase, *, group: str = "default", host: str = "", **more: Any) -> None:
        """A holder of an agent, counted in the guard and, when failed, in the brake."""
        now = datetime.now(UTC)
        limit = keys.group_limit(group)
        view = look(self.store, [keys.guard(limit), keys.brake(group), keys.own(node)])
        holder = Holder(
            gen="g",
            nonce="n" + node[:8],
            group=group,
            limits=(limit,),
            phase=phase,
            boot="b/0",
            since=now - timedelta(minutes=7),
            phase_since=now - timedelta(minutes=3),
            host=host,
            reason="reboot-required: linux-image-6.1.0-27",
            **more,
        )
        guard = view.document(keys.guard(limit), Guard) or Guard()
        puts = [
            Put(keys.own(node), holder.encode()),
            Put(keys.guard(limit), replace(guard, count=guard.count + 1, gen=node).encode()),
        ]
        checks = [Check(key, view.mod(key)) for key in (keys.own(node), keys.guard(limit))]
        if phase == Phase.FAILED:
            brake = view.document(keys.brake(group), Brake) or Brake()
            failure = Failure(token="1", check="app", since=now, host=host)
            changed = replace(brake, failed={**brake.failed, node: failure}, gen=node)
            puts.append(Put(keys.brake(group), changed.encode()))
            checks.append(Check(keys.brake(group), view.mod(keys.brake(group))))
        self.store.commit(checks, puts)

    def register(self, node: str, host: str, *, group: str = "default", state: str = "steady", **more: Any) -> None:
        """What the node's agent says of itself."""
        now = datetime.now(UTC)
        record = NodeRecord(
            **{
                "gen": node,
                "host": host,
                "group": group,
                "state": state,
                "seen": now,
                "state_since": now - timedelta(hours=2, minutes=5),
                "heartbeat": 900,
                "boot": "b/0",
                "os": "debian 12",
                "strategy": "lock",
                **more,
            }
        )
        self.put(keys.record(group, node), record.encode())


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    made = Fleet(tmp_path / "store.db")
    yield made
    made.store.close()


@dataclass(frozen=True)
class Said:
    """What one call of lockctl wrote, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The one document on standard output."""
        lines = self.out.splitlines()
        assert len(lines) == 1, self.out
        document: dict[str, Any] = json.loads(lines[0])
        assert document["schema"] == 1
        assert datetime.fromisoformat(document["time"]).tzinfo is not None
        assert document["time"].endswith("Z")
        return document

    @property
    def kind(self) -> str | None:
        """The kind of the error in the document."""
        error = self.document.get("error")
        return error["kind"] if error else None


class Lockctl:
    """Runs lines in this process, through the same top as the program."""

    def __init__(self, capfd: pytest.CaptureFixture[str]) -> None:
        self._capfd = capfd

    def __call__(self, *words: str) -> Said:
        self._capfd.readouterr()
        code = run(words)
        out, err = self._capfd.readouterr()
        return Said(code, out, err)


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Lockctl:
    """lockctl with a configuration that names a node and no store."""
    for name in ("LOCKSMITH_STORE", "LOCKSMITH_GROUP", "LOCKSMITH_NODE", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "locksmith.toml"
    (tmp_path / "boot_id").write_text("b-0\n")
    path.write_text(
        f'[node]\nid = "{ID}"\nrun_dir = "{tmp_path}/run"\nstate_dir = "{tmp_path}/state"\n'
        f'boot_id_file = "{tmp_path}/boot_id"\n[updates.packages]\nkind = "reboot-required"\n'
        f'[hooks]\ndirectory = "{tmp_path}/hooks"\n'
    )
    monkeypatch.setenv("LOCKSMITH_CONFIG", str(path))
    return Lockctl(capfd)


@pytest.fixture
def lockctl(bare: Lockctl, fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> Lockctl:
    """lockctl on the fleet's store."""
    monkeypatch.setenv("LOCKSMITH_STORE", fleet.url)
    return bare
