"""Fifty at once want a slot: with fifty slots all get one, with one slot one does and the others are told that it is full.

The negative control is the same crowd on a store where the first conflict is final. It fails this very test, so the test
sees whether a commit that met another's is decided anew.
"""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.places import PATIENT, Place, ended, place, sqlite_url
from tests.servers.consul import ConsulCluster
from tests.servers.etcd import EtcdCluster

CONTENDERS = Path(__file__).with_name("contenders.py")
CROWD = 50
KINDS = [
    pytest.param("etcd", marks=pytest.mark.servers),
    pytest.param("consul", marks=pytest.mark.servers),
    pytest.param("sqlite"),
]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path, key_prefix: str) -> Iterator[Place]:
    """A fresh prefix of each store. etcd has three members here, so that a claim has to travel."""
    match request.param:
        case "etcd":
            three: EtcdCluster = request.getfixturevalue("three_members")
            url = three.url(key_prefix)
        case "consul":
            consul: ConsulCluster = request.getfixturevalue("consul")
            url = consul.url(key_prefix)
        case _:
            url = sqlite_url(tmp_path)
    with place(tmp_path, url) as made:
        yield made


@pytest.fixture(scope="module")
def three_members(etcd35: EtcdCluster) -> Iterator[EtcdCluster]:
    """Asks for the shared member too, because that one skips where there is no etcd."""
    with EtcdCluster(etcd35.version, members=3) as cluster:
        yield cluster


def loaded(where: Place, *control: str) -> list[dict[str, Any]]:
    """How fifty processes fared that had loaded everything and waited at a barrier."""
    command = [sys.executable, str(CONTENDERS), str(where.file), where.group, str(CROWD), *control]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=300, check=True)
    outcomes: list[dict[str, Any]] = json.loads(done.stdout)
    return outcomes


def plain(where: Place) -> list[dict[str, Any]]:
    """How fifty plain `lockctl lock NODE` fared; the time limit is for machines that have little to give to each."""
    processes = [where.start("lock", f"node{number}", "--json", *PATIENT) for number in range(CROWD)]
    said = [ended(process) for process in processes]
    return [{"code": one.code, "kind": one.kind, "message": one.err} for one in said]


def judge(where: Place, outcomes: list[dict[str, Any]], slots: int) -> None:
    """As many got a slot as there are, all others heard `full`, and the store says the same; then all is given back."""
    fared = Counter((one["code"], one["kind"]) for one in outcomes)
    others = [one for one in outcomes if one["kind"] not in (None, "full")]
    assert fared == Counter({(0, None): slots, (3, "full"): CROWD - slots}), others
    assert set(where.holders()) <= {f"node{number}" for number in range(CROWD)}
    where.settled(held=slots)
    where.unlock_all()
    where.settled(held=0)
    assert where.lockctl("fsck").code == 0


@pytest.mark.parametrize("slots", [CROWD, 1])
def test_loaded_and_at_a_barrier(store: Place, slots: int) -> None:
    store.slots(slots)
    judge(store, loaded(store), slots)


@pytest.mark.parametrize("slots", [CROWD, 1])
def test_plain_processes(store: Place, slots: int) -> None:
    store.slots(slots)
    judge(store, plain(store), slots)


def test_one_attempt_without_a_second_look_fails_this_test(store: Place) -> None:
    store.slots(CROWD)
    outcomes = loaded(store, "one-attempt")
    assert len(outcomes) == CROWD
    with pytest.raises(AssertionError):
        judge(store, outcomes, CROWD)
    assert sum(one["code"] == 0 for one in outcomes) < CROWD
    assert any("one attempt" in one.get("message", "") for one in outcomes)
    store.settled(held=len(store.holders()))
