import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locksmith.host.rpm_ostree import Status, parse

SAMPLES = Path(__file__).parents[2] / "samples" / "updates" / "rpm-ostree"
DEPLOYMENT = {"checksum": "c" * 64, "serial": 0, "booted": True}


def sample(name):
    return json.loads((SAMPLES / f"{name}.json").read_text())


def test_what_a_deployment_has():
    status = parse(sample("zincati-staged-locked"))
    assert isinstance(status, Status)
    assert status.next.checksum == "967b7b8d624e6d10ff51c2e81ef198fae966c567ac2e9b479771c693d0987949"
    assert (status.next.staged, status.next.locked, status.next.booted) == (True, True, False)
    assert (status.booted.staged, status.booted.locked, status.booted.booted) == (False, False, True)
    assert status.next.base == status.next.digest == ""
    assert parse(sample("zincati-booted")).booted.base.startswith("41af286d")
    assert parse(sample("zincati-oci")).booted.digest.startswith("sha256:c4a15145")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("zincati-booted", "30.1 (ce718b90ce19)"),
        ("insights-edge", "7c25253d45a3"),
        ("constructed-kernel-arguments", "31.20200505.3.0 (01f074cc6cd8.1)"),
    ],
)
def test_the_name_of_what_boots_next(name, words):
    assert parse(sample(name)).next.name() == words


def test_a_transaction_has_the_name_of_its_method():
    assert parse(sample("constructed-staged")).transaction == ""
    assert parse(sample("constructed-transaction")).transaction == "FinalizeDeployment"


@pytest.mark.parametrize("transaction", [[], [None], {}, "x", 7, ["\x1b"]])
def test_a_transaction_without_a_name_is_one_all_the_same(transaction):
    assert (
        parse({"deployments": [DEPLOYMENT], "transaction": transaction}).transaction == "a transaction without a name"
    )


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({}, "no list of deployments"),
        ({"deployments": {}}, "no list of deployments"),
        ({"deployments": []}, "no deployment is booted"),
        ({"deployments": [DEPLOYMENT | {"booted": False}]}, "no deployment is booted"),
        ({"deployments": [DEPLOYMENT | {"booted": "true"}]}, "no deployment is booted"),
        ({"deployments": [DEPLOYMENT, DEPLOYMENT]}, "more than one"),
        ({"deployments": [DEPLOYMENT | {"staged": True}]}, "booted and staged"),
        ({"deployments": [DEPLOYMENT, 7]}, "without a checksum"),
        ({"deployments": [DEPLOYMENT, {"checksum": None}]}, "without a checksum"),
        ({"deployments": [DEPLOYMENT | {"checksum": "\x1b[31m"}]}, "without a checksum"),
    ],
)
def test_what_is_no_status(document, words):
    assert words in parse(document)


NAMES = ("deployments", "checksum", "serial", "version", "booted", "staged", "finalization-locked", "transaction")
VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.lists(st.none(), max_size=2)


@given(
    st.lists(st.dictionaries(st.sampled_from(NAMES), VALUES) | VALUES, max_size=4)
    | st.lists(
        st.fixed_dictionaries({"checksum": st.text(min_size=1)}, optional=dict.fromkeys(NAMES[2:], VALUES)), max_size=4
    ),
    VALUES,
)
def test_nothing_raises(deployments, transaction):
    status = parse({"deployments": deployments, "transaction": transaction})
    if isinstance(status, Status):
        assert status.booted.booted
        assert status.next == status.booted or not status.next.booted
        assert status.next.name()
