import json
from datetime import timedelta
from pathlib import Path

import pytest

from locksmith.core.needs import Need, NeedUnknown, NotNeeded
from locksmith.host.process import KEPT_BYTES
from locksmith.updates import Provider
from locksmith.updates.rpm_ostree import RpmOstree

SAMPLES = Path(__file__).parents[2] / "samples" / "updates" / "rpm-ostree"
LONG = timedelta(seconds=60)
OLD, NEW = "31.20200505.3.0 (01f074cc6cd8)", "31.20200517.3.0 (967b7b8d624e)"


def sample(name):
    return (SAMPLES / f"{name}.json").read_text()


@pytest.fixture
def ask(program):
    def of(stdout, **more):
        provider: Provider = RpmOstree("os", LONG, command=program(stdout, **more))
        return provider.ask()

    return of


@pytest.mark.parametrize(
    ("name", "origin", "target", "reason"),
    [
        ("zincati-staged-locked", OLD, NEW, f"{NEW} is staged, finalization locked"),
        ("constructed-staged", OLD, NEW, f"{NEW} is staged"),
        ("constructed-rollback-queued", NEW, OLD, f"{OLD} boots next"),
        (
            "constructed-same-version",
            "39.20240210.3.0 (01f074cc6cd8)",
            "39.20240210.3.0 (967b7b8d624e)",
            "39.20240210.3.0 (967b7b8d624e) is staged",
        ),
        (
            "constructed-kernel-arguments",
            OLD,
            "31.20200505.3.0 (01f074cc6cd8.1)",
            "31.20200505.3.0 (01f074cc6cd8.1) is staged",
        ),
    ],
)
def test_a_need(ask, name, origin, target, reason):
    need = ask(sample(name))
    assert need == Need("os", "rpm-ostree", need.fingerprint, reason, origin=origin, target=target)


@pytest.mark.parametrize(
    ("name", "running"),
    [
        ("zincati-booted", "30.1 (ce718b90ce19)"),
        ("zincati-oci", "41.20250105.2.0 (93d0341726ae)"),
        ("insights-edge", "7c25253d45a3"),
        ("constructed-pinned", OLD),
        ("constructed-rolled-back", OLD),
    ],
)
def test_no_need(ask, name, running):
    assert ask(sample(name)) == NotNeeded("os", running=running)


def test_an_answer_that_is_longer_than_what_is_kept_of_others(ask):
    document = json.loads(sample("zincati-oci"))
    meta = document["deployments"][0]["base-commit-meta"]
    meta["ostree.manifest"], meta["ostree.container.image-config"] = "m" * 17_000, "c" * 9_000
    text = json.dumps(document)
    assert len(text) > KEPT_BYTES
    assert ask(text) == NotNeeded("os", running="41.20250105.2.0 (93d0341726ae)")
    # What was staged stands at the beginning: an answer without it would look like one that has nothing staged.
    staged = json.loads(sample("constructed-staged"))
    staged["deployments"][1] |= {"base-commit-meta": meta}
    assert ask(json.dumps(staged)).target == NEW


def test_what_is_asked(ask, arguments):
    ask(sample("constructed-staged"))
    assert arguments() == "status --json"


def test_a_rollback_is_noticed(ask):
    """Verifying compares what runs with what ran: the words have to be the same on both sides of the reboot."""
    need = ask(sample("constructed-staged"))
    assert ask(sample("constructed-rolled-back")).running == need.origin
    booted = json.loads(sample("constructed-rollback-queued"))
    booted["deployments"].reverse()
    assert ask(json.dumps(booted)).running == need.target


def test_withdrawn(ask):
    assert isinstance(ask(sample("constructed-staged")), Need)
    document = json.loads(sample("constructed-staged"))
    del document["deployments"][0]  # rpm-ostree cleanup -p
    assert ask(json.dumps(document)) == NotNeeded("os", running=OLD)


def test_the_commit_is_the_update(ask):
    first = ask(sample("constructed-staged")).fingerprint
    assert ask(sample("zincati-staged-locked")).fingerprint == first
    document = json.loads(sample("constructed-staged"))
    document["deployments"][0] |= {"serial": 1, "version": "another name"}  # it was rolled back and is staged again
    assert ask(json.dumps(document)).fingerprint == first
    document["deployments"][0]["checksum"] = "f" * 64
    assert ask(json.dumps(document)).fingerprint != first


def test_other_kernel_arguments_for_the_same_commit_are_an_update_of_their_own(ask):
    first = ask(sample("constructed-kernel-arguments"))
    document = json.loads(sample("constructed-kernel-arguments"))
    document["deployments"][0]["serial"] = 2
    assert ask(json.dumps(document)).fingerprint != first.fingerprint
    assert len(first.fingerprint) == 32


@pytest.mark.parametrize("text", ["", "{", "null", "[]", "{}", '{"deployments": null}', "State: idle", "\x00\xff"])
def test_garbage(ask, text):
    assert isinstance(ask(text), NeedUnknown)


def test_half_a_document(ask):
    text = sample("constructed-staged")
    for part in (text[: len(text) // 2], text[len(text) // 2 :]):
        assert isinstance(ask(part), NeedUnknown)


def test_why_nobody_can_say(ask, program):
    unknown = ask("", stderr=(SAMPLES / "not-booted.stderr.txt").read_text(), code=1)
    assert unknown.reason.endswith(
        "status --json: exit code 1: rpm-ostree is designed to manage host systems, not containers."
    )
    assert ask(sample("constructed-nothing-booted")).reason.endswith(
        "no deployment is booted: this is a live system, or a container"
    )
    assert "exit code 77" in ask(sample("constructed-staged"), code=77).reason
    assert "killed by SIGKILL" in ask(sample("constructed-staged"), then="kill -9 $$").reason
    command = program(sample("constructed-staged"), then="exec sleep 100")
    assert "no end within 100ms" in RpmOstree("os", timedelta(seconds=0.1), command=command).ask().reason
    assert RpmOstree("os", LONG, command=("/nowhere",)).ask() == NeedUnknown(
        "os", "/nowhere status --json: cannot be started: /nowhere: no such file or directory"
    )


def test_a_program_that_must_not_be_run(program):
    command = program()
    Path(command[0]).chmod(0o644)
    assert RpmOstree("os", LONG, command=command).ask().reason.endswith("permission denied")
