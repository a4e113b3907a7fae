"""The published report is that of the published figures, and what the benchmarks count does not grow where we say so."""

import json
from pathlib import Path

import pytest

from locksmith.host.clock import SystemClock
from locksmith.stores.memory import MemoryStore
from tests.benchmarks.parts.classic import ALGORITHMS, Classic
from tests.benchmarks.parts.polling import PollingShop
from tests.benchmarks.parts.waiters import QueueShop

DOCS = Path(__file__).resolve().parents[2] / "docs"
FIGURES = DOCS / "performance/figures.json"


def test_what_a_grant_costs_does_not_grow_with_those_who_wait():
    few, many = QueueShop(20).run(1), QueueShop(100).run(1)
    for run in (few, many):
        asked = {
            verb: sum(run["requests"][cause].get(verb, 0) for cause in ("turn", "woken")) for verb in ("read", "commit")
        }
        # The five of the node that has the slot, and those of eight who watch its guard, at the claim and at the release.
        assert asked["read"] <= 5 + 2 * 8 + 1
        assert asked["commit"] <= 5
        assert run["idle_seconds"] < 1
    assert "outside" not in few["requests"]
    assert many["requests"]["outside"]["read"] > 0


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda algorithm: algorithm.name)
def test_the_classic_lock_asks_by_the_clock_and_grows(algorithm):
    few, many = PollingShop(algorithm, 10).run(5), PollingShop(algorithm, 100).run(5)
    assert many["requests"]["clock"]["read"] > 5 * few["requests"]["clock"]["read"]
    assert few["idle_seconds"] > 1


class Overtaken(MemoryStore):
    """Somebody else writes between each read and the commit that follows it."""

    other = None

    def commit(self, checks, puts=(), deletes=()):
        if self.other is not None:
            other, self.other = self.other, None
            other()
        return super().commit(checks, puts, deletes)


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda algorithm: algorithm.name)
def test_the_classic_lock_loses_a_race_and_counts_its_slots(algorithm):
    store = Overtaken(SystemClock())
    lock = Classic(store, algorithm, "semaphore")
    lock.create(2)
    faster = Classic(store.client(), algorithm, "semaphore")
    store.other = lambda: faster.lock("b")
    assert lock.lock("a") == "conflict"
    assert lock.lock("a") == "taken"
    assert lock.lock("c") == "full"
    store.other = lambda: faster.unlock("b")
    assert not lock.unlock("a")
    assert lock.unlock("a")
    assert json.loads(store.read(["semaphore"])["semaphore"].value) == algorithm.document(2, [])


def test_the_report_is_that_of_its_figures(tmp_path):
    pytest.importorskip("matplotlib", reason="the drawings need the extra `bench`")
    from tests.benchmarks.parts import report  # noqa: PLC0415 - imports matplotlib

    told = json.loads(FIGURES.read_text())
    assert not told["quick"]
    report.write(told, tmp_path)
    assert (tmp_path / "performance.md").read_text() == (DOCS / "performance.md").read_text()
    assert {path.name for path in (tmp_path / "performance").glob("*.svg")} <= {
        path.name for path in (DOCS / "performance").glob("*.svg")
    }
