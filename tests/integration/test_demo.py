"""The demo as a whole: it proves what it says, on every store, and it can fail.

The last matters most: a store below the agents that drops the guard's check from each commit must end the demo with
exit 1, found by the hosts' own count.
"""

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from locksmith.assemble import open_store
from locksmith.cli.options import Given
from locksmith.cli.output import Reported
from locksmith.cli.program import run
from locksmith.config import load
from locksmith.core import keys
from locksmith.demo.command import run_demo
from locksmith.demo.plan import Fate, Plan, Settings
from locksmith.stores import Check, Facts, Put, Session, Snapshot, Store
from tests.servers.consul import ConsulCluster
from tests.servers.etcd import EtcdCluster

SMALL = ("demo", "--nodes", "4", "--slots", "1", "--speed", "10", "--seed", "3", "--json")

pytestmark = pytest.mark.timeout(300)


def outcome(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any], str]:
    code = run(arguments)
    captured = capsys.readouterr()
    return code, json.loads(captured.out), captured.err


def assert_proved(code: int, document: dict[str, Any]) -> None:
    assert code == 0, document
    assert document["proved"] is True
    assert document["most_out"] == 1
    assert document["updated"] == document["reboots"] == 4
    assert [claim["name"] for claim in document["claims"]] == ["updated", "limit", "killed", "sick", "away", "clean"]
    assert all(claim["holds"] for claim in document["claims"])
    assert document["requests"]["commit"] > 4 * 4


def test_a_small_fleet_proves_it_on_sqlite(capsys: pytest.CaptureFixture[str]):
    code, document, progress = outcome(capsys, *SMALL)
    assert_proved(code, document)
    assert document["store"]["kind"] == "sqlite"
    assert "an operator mends it" in progress
    assert "the store is back" in progress


def test_plain_lines_and_a_summary_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]):
    code = run(["demo", "--nodes", "2", "--slots", "2", "--sick", "0", "--speed", "10"])
    out = capsys.readouterr().out
    assert code == 0, out
    assert "\x1b" not in out
    assert "proved\n" in out
    assert "  ok  2 of 2 nodes run 2.0, each rebooted exactly once\n" in out


def test_only_sick_hosts_come_back_sick(capsys: pytest.CaptureFixture[str]):
    code, document, _ = outcome(capsys, "demo", "--nodes", "4", "--sick", "2", "--speed", "10", "--json", "-q")
    assert code == 0, document
    assert [claim["name"] for claim in document["claims"]].count("sick") == 2


def test_more_sick_hosts_than_can_be_is_a_usage_error(capsys: pytest.CaptureFixture[str]):
    code, document, _ = outcome(capsys, "demo", "--nodes", "3", "--sick", "3", "--json")
    assert (code, document["error"]["kind"]) == (2, "usage")


def test_what_is_missing_is_named_when_the_time_is_over(capsys: pytest.CaptureFixture[str]):
    code, document, _ = outcome(capsys, *SMALL, "--timeout", "300ms")
    assert code == 1
    assert document["proved"] is False
    assert document["error"]["kind"] == "damaged"
    assert any("is not done" in text for text in document["missing"])


def test_a_stop_from_outside_is_130_and_clears_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    given = Given(json=True, store=f"sqlite://{tmp_path / 'store.db'}")
    started = threading.Timer(1.0, given.stop.event.set)
    started.start()
    with pytest.raises(Exception, match="interrupted") as caught:
        run_demo(given, Settings(nodes=4, speed=0.5))
    started.join()
    assert getattr(caught.value, "exit_code", None) == 130
    assert stored(given.store or "") == []


def test_the_configured_store_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("LOCKSMITH_STORE", f"sqlite://{tmp_path / 'real.db'}")
    code, document, _ = outcome(capsys, *SMALL, "-q")
    assert_proved(code, document)
    assert not (tmp_path / "real.db").exists()


# ------------------------------------------------------------------------------------------------ other stores


def stored(url: str) -> list[str]:
    """The keys below the URL's prefix, whoever wrote them."""
    store = open_store(load(environ={}, roots=(), overrides={"store.url": url}))
    try:
        return sorted(key for key, item in store.read(prefixes=[""]).items.items() if item)
    finally:
        store.close()


def test_a_given_store_is_used_below_a_prefix_of_its_own_and_cleared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    url = f"sqlite://{tmp_path / 'given.db'}"
    store = open_store(load(environ={}, roots=(), overrides={"store.url": url}))
    store.commit([Check("cfg", 0)], [Put("cfg", b"somebody else's")])
    store.close()
    code, document, _ = outcome(capsys, "--store", url, *SMALL)
    assert_proved(code, document)
    assert stored(url) == ["cfg"]


@pytest.mark.servers
def test_on_a_real_etcd(etcd35: EtcdCluster, key_prefix: str, capsys: pytest.CaptureFixture[str]):
    url = etcd35.url(key_prefix)
    code, document, _ = outcome(capsys, *SMALL, "--store", url)
    assert_proved(code, document)
    assert document["store"]["kind"] == "etcd"
    assert stored(url) == []


@pytest.mark.servers
def test_on_a_real_consul(consul: ConsulCluster, key_prefix: str, capsys: pytest.CaptureFixture[str]):
    url = consul.url(key_prefix)
    code, document, _ = outcome(capsys, *SMALL, "--store", url)
    assert_proved(code, document)
    assert document["store"]["kind"] == "consul"
    assert stored(url) == []


# ------------------------------------------------------------------------------------------------ the negative control


@dataclass
class Meeting:
    """Two claims based on the same guard wait for each other, so that both are sent before either applies."""

    partners: threading.Barrier = field(default_factory=lambda: threading.Barrier(2, timeout=60))

    def wait(self) -> None:
        try:
            self.partners.wait()
        except threading.BrokenBarrierError:
            return
        self.partners.abort()  # one pair is enough


@dataclass
class Careless:
    """A store that drops the check of the guard from each commit (or, to compare, keeps it)."""

    store: Store
    meeting: Meeting
    drops: bool = True

    @property
    def kind(self) -> str:
        return self.store.kind

    def commit(self, checks: Sequence[Check], puts: Sequence[Put] = (), deletes: Sequence[str] = ()) -> int | None:
        guarded = any(check.key.startswith(keys.GUARDS) for check in checks)
        if guarded and any(put.key.startswith(keys.OWNERS) for put in puts):
            self.meeting.wait()
        kept = [check for check in checks if not (self.drops and check.key.startswith(keys.GUARDS))]
        return self.store.commit(kept, puts, deletes)

    def read(self, keys: Sequence[str] = (), prefixes: Sequence[str] = ()) -> Snapshot:
        return self.store.read(keys, prefixes)

    def watch(self, key: str, after: int, timeout: timedelta) -> bool:
        return self.store.watch(key, after, timeout)

    def probe(self, key: str) -> None:
        self.store.probe(key)

    def session(self, ttl: timedelta) -> Session:
        return self.store.session(ttl)

    def prepare(self) -> None:
        self.store.prepare()

    def facts(self) -> Facts:
        return self.store.facts()

    def close(self) -> None:
        self.store.close()


def careless(*, drops: bool) -> Callable[[Store], Store]:
    meeting = Meeting()
    return lambda store: Careless(store, meeting, drops)


def all_at_once(boot_time: float) -> Plan:
    """Five updates at the same moment; the last host is the one whose agent is killed."""
    names = [f"n{number}" for number in range(1, 6)]
    fates = {name: Fate(boot_time, dies_armed=name == "n5") for name in names}
    return Plan(fates, tuple((0.0, name) for name in names), ())


def test_a_store_that_drops_the_guards_check_is_found_out_by_the_hosts(capsys: pytest.CaptureFixture[str]):
    # Boots of two minutes: whoever is let in too many meets the others down, on the slowest machine.
    settings = Settings(nodes=5, slots=2, sick=0, seed=1, patience=100)
    with pytest.raises(Reported) as caught:
        run_demo(Given(json=True), settings, plan=all_at_once(120), wrap=careless(drops=True))
    assert caught.value.error.exit_code == 1
    document = json.loads(capsys.readouterr().out)
    assert document["proved"] is False
    assert document["most_out"] == 3
    limit = next(claim for claim in document["claims"] if claim["name"] == "limit")
    assert limit["holds"] is False
    assert "3 were out of service at once (2 allowed)" in limit["text"]


def test_the_same_meeting_with_the_check_in_place_breaks_nothing(capsys: pytest.CaptureFixture[str]):
    settings = Settings(nodes=5, slots=2, sick=0, seed=1, speed=5)
    report = run_demo(Given(json=True), settings, plan=all_at_once(1), wrap=careless(drops=False))
    assert report.proved
    assert report.most_out <= 2
