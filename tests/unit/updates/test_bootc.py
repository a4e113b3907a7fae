import json
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given

from locksmith.core.needs import Need, NeedUnknown, NotNeeded
from locksmith.updates import Provider
from locksmith.updates.bootc import Bootc
from tests.unit.updates.unexpected import anything

SAMPLES = Path(__file__).parents[2] / "samples" / "updates" / "bootc"
LONG = timedelta(seconds=60)
NOW = "stream9.20240807.0 (47e5ed613a97)"
NEXT = "stream9.20240901.0 (16dc2b6256b4)"


def sample(name):
    return (SAMPLES / f"{name}.json").read_text()


@pytest.fixture
def ask(program):
    def of(stdout, **more):
        provider: Provider = Bootc("image", LONG, command=program(stdout, **more))
        return provider.ask()

    return of


@pytest.mark.parametrize(
    ("name", "origin", "target", "what"),
    [
        ("fixture-staged-booted", "nightly (736b359467c9)", "nightly (16dc2b6256b4)", "is staged"),
        ("fixture-ostree-to-bootc", "f9fa3a553cea", NOW, "is staged"),
        ("fixture-ostree-deployment", "f9fa3a553cea", "1c24260fdd1b", "is staged"),
        ("constructed-staged", NOW, NEXT, "is staged"),
        ("constructed-rollback-queued", NOW, "stream9.20240701.0 (736b359467c9)", "is queued as a rollback"),
        ("constructed-composefs", NOW, "ffffffffffff", "is staged"),
    ],
)
def test_a_need(ask, name, origin, target, what):
    need = ask(sample(name))
    assert need == Need("image", "bootc", need.fingerprint, f"{target} {what}", origin=origin, target=target)


@pytest.mark.parametrize("name", ["fixture-only-booted", "constructed-pinned", "constructed-download-only"])
def test_no_need(ask, name):
    assert ask(sample(name)) == NotNeeded("image", running=NOW)


@pytest.mark.parametrize("name", ["not-a-bootc-host", "fixture-staged-rollback"])
def test_not_booted_from_an_image(ask, name):
    assert ask(sample(name)).reason.endswith("this machine did not boot from a bootc image")


def test_what_is_asked(ask, arguments):
    ask(sample("constructed-staged"))
    assert arguments() == "status --json --format-version=1"


def test_a_rollback_is_noticed(ask):
    need = ask(sample("constructed-staged"))
    document = json.loads(sample("constructed-staged"))
    document["status"] |= {"staged": None}
    assert ask(json.dumps(document)).running == need.origin
    document["status"]["booted"] = json.loads(sample("constructed-staged"))["status"]["staged"]
    assert ask(json.dumps(document)).running == need.target


def test_the_image_is_the_update(ask):
    document = json.loads(sample("constructed-staged"))
    first = ask(json.dumps(document)).fingerprint
    staged = document["status"]["staged"]
    staged["pinned"], staged["ostree"] = True, {"checksum": "0" * 64, "deploySerial": 1}
    assert ask(json.dumps(document)).fingerprint == first
    staged["image"]["imageDigest"] = "sha256:" + "0" * 64
    second = ask(json.dumps(document)).fingerprint
    assert second != first
    staged["image"]["image"]["image"] = "quay.io/other"
    assert ask(json.dumps(document)).fingerprint not in (first, second)


@pytest.mark.parametrize(
    "status",
    [
        None,
        {},
        {"booted": None},
        {"booted": {}, "staged": None},
        {"booted": {"image": {"imageDigest": 1.5}}, "staged": None},
        {"booted": "x", "staged": None},
        {"booted": {"ostree": {"checksum": "a"}}, "staged": {}},
        {"booted": {"ostree": {"checksum": "a"}}, "staged": [1]},
        {"booted": {"ostree": {"checksum": "a"}}, "staged": None, "rollbackQueued": True, "rollback": None},
    ],
)
def test_a_status_that_is_none(ask, status):
    assert isinstance(ask(json.dumps({"status": status})), NeedUnknown)


@pytest.mark.parametrize("text", ["", "{", "null", "[]", "{}", "apiVersion: x", sample("constructed-staged")[:300]])
def test_garbage(ask, text):
    assert isinstance(ask(text), NeedUnknown)


def test_why_nobody_can_say(ask):
    root = "error: Status: This command must be executed as the root user"
    assert ask("", stderr=root, code=1).reason.endswith(f"exit code 1: {root}")
    old = "error: unexpected argument '--format-version' found"
    assert ask("", stderr=old, code=2).reason.endswith(f"exit code 2: {old}")
    assert "exit code 3" in ask(sample("constructed-staged"), code=3).reason
    assert Bootc("image", LONG, command=("/nowhere",)).ask().reason.endswith("/nowhere: no such file or directory")


NAMES = (
    "status",
    "staged",
    "booted",
    "rollback",
    "rollbackQueued",
    "image",
    "imageDigest",
    "ostree",
    "checksum",
    "version",
)


@given(anything(*NAMES), anything(*NAMES), anything(*NAMES))
def test_nothing_raises(booted, staged, queued):
    document = {"status": {"booted": booted, "staged": staged, "rollback": staged, "rollbackQueued": queued}}
    answer = Bootc("image", LONG)._read(document)
    assert isinstance(answer, (Need, NotNeeded, str))
    if isinstance(answer, Need):
        assert answer.origin
        assert answer.target
