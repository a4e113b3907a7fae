import json
import os
import signal
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from locksmith.host.groups import group_alive
from locksmith.host.system import System
from locksmith.rebooters import Accepted, Firing, Idle, NotAccepted, Rebooter
from locksmith.rebooters.rpm_ostree import FinalizingRebooter

SAMPLES = Path(__file__).parents[2] / "samples" / "updates" / "rpm-ostree"
LONG = timedelta(seconds=60)
NEW = "967b7b8d624e6d10ff51c2e81ef198fae966c567ac2e9b479771c693d0987949"
NAME = "31.20200517.3.0 (967b7b8d624e)"
DIGEST = "sha256:" + "d" * 64

LOCKED, STAGED = "zincati-staged-locked", "constructed-staged"

# In `finalize` stands what finalize-deployment does; the daemon's lock is the file `status`, as everybody sees it.
RPM_OSTREE = """#!/bin/sh
cd {folder}
if [ "$1" = status ]; then test -e broken && {{ echo "error: no daemon" >&2; exit 1; }}; exec cat status; fi
echo "$* as $RPMOSTREE_CLIENT_ID for $LOCKSMITH_REASON" >> calls
cp {folder}/run/finalize-deployment {folder}/run/reboot-command.json {folder}/ 2>/dev/null
. ./finalize
"""


@dataclass
class Inner:
    """The rebooter inside, with what it answers."""

    answer: Accepted | NotAccepted = field(default_factory=Accepted)
    state: Idle | Firing = field(default_factory=Idle)
    told: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    kind = "inner"

    def reboot(self, reason, environment):
        self.told.append((reason, environment))
        return self.answer

    def pending(self):
        return self.state

    def explain(self):
        return "nothing"


def sample(name):
    return json.loads((SAMPLES / f"{name}.json").read_text())


@dataclass
class Machine:
    """A machine with an rpm-ostree, a systemd that can go down, and a rebooter."""

    folder: Path
    inner: Inner = field(default_factory=Inner)
    blocked: str = ""

    def status(self, name=LOCKED, **first):
        document = sample(name)
        document["deployments"][0] |= first
        (self.folder / "status").write_text(json.dumps(document))

    def finalize(self, script):
        (self.folder / "finalize").write_text(f"{script}\n")

    def calls(self):
        path = self.folder / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def rebooter(self, wait=LONG, boot="b1/0") -> Rebooter:
        runtime = self.folder / "runtime"
        return FinalizingRebooter(
            self.inner,
            self.folder / "run",
            boot,
            System(runtime=runtime, tools=self.folder / "tools"),
            blocked=lambda: self.blocked,
            command=(str(self.folder / "rpm-ostree"),),
            lock=self.folder / "lock",
            limit=LONG,
            wait=wait,
        )


UNLOCK = "cp unlocked status"
GOES_DOWN = "touch down"


@pytest.fixture
def machine(tmp_path, tool):
    (tmp_path / "run").mkdir()
    (tmp_path / "runtime" / "systemd" / "system").mkdir(parents=True)
    tool("systemctl", f"test $1 = list-jobs && exit 0; test -e {tmp_path}/down && echo stopping || echo running")
    tool("busctl", "echo b false")
    (tmp_path / "rpm-ostree").write_text(RPM_OSTREE.format(folder=tmp_path))
    (tmp_path / "rpm-ostree").chmod(0o755)
    (tmp_path / "unlocked").write_text(json.dumps(sample(STAGED)))
    made = Machine(tmp_path)
    made.status()
    made.finalize(f"{UNLOCK}; {GOES_DOWN}")
    yield made
    record = tmp_path / "run" / "reboot-command.json"
    if record.is_file():
        document = json.loads(record.read_text())
        if group_alive(document["pid"], document["start_ticks"]):
            os.killpg(document["pid"], signal.SIGKILL)


def end_call(machine):
    os.killpg(json.loads((machine.folder / "run" / "reboot-command.json").read_text())["pid"], signal.SIGKILL)


def test_what_it_is(machine):
    assert machine.rebooter().kind == "inner"
    assert machine.rebooter().pending() == Idle()
    assert machine.rebooter().explain() == "nothing"


@pytest.mark.parametrize(
    "name", [STAGED, "zincati-booted", "constructed-rolled-back", "constructed-rollback-queued", "insights-edge"]
)
def test_without_a_lock_the_inner_one_reboots(machine, name):
    machine.status(name)
    machine.inner.answer = NotAccepted("no")
    assert machine.rebooter().reboot("kernel", {"A": "1"}) == NotAccepted("no")
    assert machine.inner.told == [("kernel", {"A": "1"})]
    assert machine.calls() == []


def test_a_locked_deployment_is_finalized_and_that_is_the_reboot(machine):
    rebooter = machine.rebooter()
    assert rebooter.reboot("kernel", {}) == Accepted()
    assert machine.calls() == [f"finalize-deployment {NEW} as locksmith for kernel"]
    assert machine.inner.told == []
    assert rebooter.pending() == Firing("the system is stopping")
    assert rebooter.explain() == "the system is stopping; nothing"


def test_both_records_are_there_before_rpm_ostree_can_do_anything(machine):
    machine.rebooter().reboot("kernel", {})
    assert (machine.folder / "finalize-deployment").read_text() == "b1/0\n"
    assert json.loads((machine.folder / "reboot-command.json").read_text())["boot"] == "b1/0"


def test_the_checksum_is_the_one_without_layered_packages(machine):
    machine.status(**{"base-checksum": "9" * 64})
    machine.rebooter().reboot("kernel", {})
    assert machine.calls() == [f"finalize-deployment {'9' * 64} as locksmith for kernel"]


def test_a_version_that_wants_the_digest(machine):
    machine.status(**{"container-image-reference-digest": DIGEST})
    machine.finalize(
        f"""[ "$2" = {DIGEST} ] || {{ echo "error: Expected staged base checksum $2" >&2; exit 1; }}
        {UNLOCK}; {GOES_DOWN}"""
    )
    assert machine.rebooter().reboot("kernel", {}) == Accepted()
    assert [call.split()[1] for call in machine.calls()] == [NEW, DIGEST]


def test_a_refusal(machine):
    machine.status(**{"container-image-reference-digest": DIGEST})
    machine.finalize('echo "error: not $2" >&2; exit 1')
    rebooter = machine.rebooter()
    assert rebooter.reboot("kernel", {}) == NotAccepted(
        f"{NAME} stays locked: the reboot command {machine.folder}/rpm-ostree: exit code 1: error: not {NEW}"
    )
    assert len(machine.calls()) == 2
    assert machine.inner.told == []
    assert rebooter.pending() == Idle()


def test_a_failure_while_the_system_goes_down_is_none(machine):
    machine.status(**{"container-image-reference-digest": DIGEST})
    machine.finalize(f"{UNLOCK}; {GOES_DOWN}; echo 'error: the bus is gone' >&2; exit 1")
    assert machine.rebooter().reboot("kernel", {}) == Accepted()
    assert len(machine.calls()) == 1
    assert machine.inner.told == []


def test_finalized_but_the_reboot_did_not_come(machine):
    """rpm-ostree does not look at what its `systemctl reboot` says."""
    machine.finalize(UNLOCK)
    rebooter = machine.rebooter()
    assert rebooter.reboot("kernel", {"A": "1"}) == Accepted()
    assert machine.inner.told == [("kernel", {"A": "1"})]
    assert rebooter.reboot("kernel", {}) == Accepted()  # again, with an arm of its own: there is no lock any more
    assert len(machine.calls()) == 1


def test_a_failure_after_the_lock_was_taken_off(machine):
    machine.finalize(f"{UNLOCK}; exit 1")
    assert machine.rebooter().reboot("kernel", {}) == Accepted()
    assert len(machine.inner.told) == 1


def test_a_success_that_did_nothing(machine):
    machine.finalize("exit 0")
    assert machine.rebooter().reboot("kernel", {}) == NotAccepted(
        f"{NAME} stays locked: rpm-ostree has not finalized it"
    )
    assert machine.inner.told == []


def test_a_call_that_hangs_may_still_fire(machine):
    machine.finalize("exec sleep 100")
    rebooter = machine.rebooter(wait=timedelta(seconds=0.2))
    assert rebooter.reboot("kernel", {}) == Accepted()
    while not machine.calls():
        pass
    hanging = rebooter.pending()
    assert isinstance(hanging, Firing)
    assert "still runs" in hanging.cause
    assert rebooter.explain() == f"{hanging.cause}; nothing"
    # A later life of the agent knows it, and so does a second call; another boot knows that it is gone.
    assert machine.rebooter().pending() == hanging
    assert machine.rebooter().reboot("kernel", {}) == Accepted()
    assert machine.rebooter(boot="b2/0").pending() == Idle()
    assert len(machine.calls()) == 1
    end_call(machine)
    while isinstance(rebooter.pending(), Firing):
        pass
    assert rebooter.pending() == Idle()


def test_a_second_call_that_hangs_is_on_record_as_the_first(machine):
    machine.status(**{"container-image-reference-digest": DIGEST})
    machine.finalize(f"[ $2 = {DIGEST} ] || exit 1; exec sleep 100")
    rebooter = machine.rebooter(wait=timedelta(seconds=1))
    assert rebooter.reboot("kernel", {}) == Accepted()
    assert isinstance(machine.rebooter().pending(), Firing)
    end_call(machine)
    while isinstance(rebooter.pending(), Firing):
        pass


def test_the_command_has_ended_and_the_daemon_has_not(machine):
    machine.finalize("cp busy status; kill -9 $$")
    (machine.folder / "busy").write_text(json.dumps(sample("constructed-transaction")))
    rebooter = machine.rebooter()
    assert rebooter.reboot("kernel", {}) == Accepted()
    at_work = Firing("rpm-ostree is at work (FinalizeDeployment); see `rpm-ostree status`")
    assert rebooter.pending() == at_work
    assert machine.rebooter().pending() == at_work
    assert rebooter.reboot("kernel", {}) == Accepted()
    assert len(machine.calls()) == 1
    machine.status()
    assert rebooter.pending() == Idle()


def test_a_daemon_that_gives_no_answer_may_still_fire(machine):
    machine.finalize("touch broken; exit 1")
    rebooter = machine.rebooter()
    assert rebooter.reboot("kernel", {}) == Accepted()
    assert rebooter.pending().cause.startswith("nobody can say whether rpm-ostree still finalizes a deployment: ")
    (machine.folder / "broken").unlink()
    assert rebooter.pending() == Idle()


def test_a_settled_call_needs_no_more_questions(machine):
    machine.finalize("exit 1")
    rebooter = machine.rebooter()
    assert isinstance(rebooter.reboot("kernel", {}), NotAccepted)
    (machine.folder / "broken").touch()
    assert rebooter.pending() == Idle()
    machine.inner.state = Firing("inner")
    assert rebooter.pending() == Firing("inner")


def test_while_anything_fires_nothing_is_called(machine):
    machine.inner.state = Firing("a reboot is scheduled")
    assert machine.rebooter().reboot("kernel", {}) == Accepted()
    assert machine.calls() == machine.inner.told == []


def test_an_inhibitor_is_honoured(machine):
    machine.blocked = "backup root sleep:shutdown block"
    assert machine.rebooter().reboot("kernel", {}) == NotAccepted(
        "an inhibitor blocks the shutdown: backup root sleep:shutdown block"
    )
    assert machine.calls() == machine.inner.told == []


def test_whoever_systemd_names_counts_without_a_word_about_it(machine, tool):
    tool("busctl", 'case "$*" in *BlockInhibited) echo s \\"shutdown\\";; *) echo b false;; esac')
    tool("systemd-inhibit", 'echo "backup 0 root 7 tar shutdown nightly block"')
    system = System(runtime=machine.folder / "runtime", tools=machine.folder / "tools")
    command = (str(machine.folder / "rpm-ostree"),)
    rebooter = FinalizingRebooter(machine.inner, machine.folder / "run", "b1/0", system, command=command)
    assert rebooter.reboot("kernel", {}) == NotAccepted(
        "an inhibitor blocks the shutdown: backup 0 root 7 tar shutdown nightly block"
    )


def test_without_an_answer_the_lock_decides(machine):
    (machine.folder / "broken").touch()
    assert machine.rebooter().reboot("kernel", {}) == Accepted()
    assert len(machine.inner.told) == 1
    (machine.folder / "lock").touch()
    answer = machine.rebooter().reboot("kernel", {})
    assert isinstance(answer, NotAccepted)
    assert answer.reason.startswith(f"{machine.folder}/lock is there, but rpm-ostree does not say what is staged: ")
    assert len(machine.inner.told) == 1


def test_what_cannot_be_recorded_is_not_called(machine):
    (machine.folder / "run").rmdir()
    answer = machine.rebooter().reboot("kernel", {})
    assert isinstance(answer, NotAccepted)
    assert "the call cannot be recorded" in answer.reason
    assert machine.calls() == machine.inner.told == []


def test_a_record_that_cannot_be_read_is_taken_for_ours(machine):
    (machine.folder / "run" / "finalize-deployment").mkdir()
    (machine.folder / "broken").touch()
    assert isinstance(machine.rebooter().pending(), Firing)
    (machine.folder / "broken").unlink()
    assert machine.rebooter().pending() == Idle()
