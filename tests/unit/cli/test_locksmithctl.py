"""locksmithctl on a SQLite store, in this process: each command, its words, and where safety makes it differ.

The table of the original, row by row on a real etcd, is in tests/integration/test_locksmithctl.py.
"""

import os
from dataclasses import dataclass

import pytest

from locksmith.cli.locksmithctl import FLAGS, run
from locksmith.core import keys
from locksmith.core.documents import Phase, Request
from locksmith.host.files import HostLock
from locksmith.host.identity import node_id as derived
from locksmith.semaphore import by_hand, operating
from locksmith.semaphore.actor import look
from locksmith.semaphore.reading import status
from tests.unit.cli.conftest import ID

OTHER = "ffffffff0123456789abcdef01234567"
RAW = "fedcba9876543210fedcba9876543210"

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: only root may ask for a reboot")


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


@pytest.fixture
def ctl(bare, fleet, monkeypatch, capfd):
    """locksmithctl on the fleet's store; `bare` has cleared the environment and written a configuration."""
    for flag in FLAGS:
        monkeypatch.delenv(f"LOCKSMITHCTL_{flag.upper().replace('-', '_')}", raising=False)
    monkeypatch.setenv("LOCKSMITH_STORE", fleet.url)

    def call(*words):
        capfd.readouterr()
        code = run(words)
        return Said(code, *capfd.readouterr())

    return call


def done(out=""):
    return Said(0, out, "")


def holders(fleet, group="default"):
    return {line.node: line.phase for line in status(fleet.actor, group).holders}


# --- slots -------------------------------------------------------------------------------------------------------


def test_lock_and_unlock_of_this_machine(ctl, fleet):
    assert ctl("lock") == done()
    assert holders(fleet) == {ID: "maintenance"}
    assert ctl("status") == done(f"Available: 0\nMax: 1\n\nMACHINE ID\n{ID}\n")
    assert ctl("unlock") == done()
    assert ctl("status") == done("Available: 1\nMax: 1\n")


def test_a_slot_that_is_held_by_hand_already(ctl, fleet):
    fleet.slots(2)
    ctl("lock")
    assert ctl("lock") == Said(1, "", "Error locking: holder exists\n")


def test_no_slot_is_free(ctl, fleet):
    fleet.slots(1)
    fleet.hold(OTHER, Phase.ARMED)
    said = ctl("lock")
    assert said.code == 1
    assert said.err.splitlines()[0] == "Error locking: semaphore is at 0"
    assert len(said.err.splitlines()) == 2


def test_a_slot_of_the_agent_is_not_taken_over(ctl, fleet):
    fleet.slots(2)
    fleet.hold(ID, Phase.DRAINING)
    said = ctl("lock")
    assert said.code == 1
    assert said.err.startswith("Error locking: holder exists\n")
    assert holders(fleet) == {ID: "draining"}


def test_unlock_of_a_slot_that_nobody_holds(ctl, fleet):
    fleet.slots(1)
    said = ctl("unlock")
    assert (said.code, said.err.splitlines()[0]) == (1, "Error unlocking: holder does not exist")


def test_a_paused_group_says_so(ctl, fleet):
    fleet.slots(1)
    operating.pause_group(fleet.actor, "default", "INC-1", None)
    said = ctl("lock")
    assert said.code == 1
    assert said.err.startswith("Error locking: ")
    assert "INC-1" in said.err
    assert ctl("status") == Said(0, "Available: 1\nMax: 1\n", "paused by alice@bastion1: INC-1\n")


def test_a_failed_node_that_halts_is_told_beside_the_numbers(ctl, fleet):
    fleet.slots(2)
    fleet.hold(OTHER, Phase.FAILED)
    said = ctl("status")
    assert said.out == f"Available: 1\nMax: 2\n\nMACHINE ID\n{OTHER}\n"
    assert "halted" in said.err


# --- names of nodes ----------------------------------------------------------------------------------------------


def test_an_id_of_no_agent_is_taken_literally(ctl, fleet):
    said = ctl("lock", "my-workstation")
    assert said.code == 0
    assert "warning" in said.err
    assert holders(fleet) == {"my-workstation": "maintenance"}
    assert ctl("unlock", "my-workstation").code == 0
    assert holders(fleet) == {}


def test_a_raw_machine_id_means_the_node_that_has_it(ctl, fleet):
    """locksmith's holders are machine ids, which we keep to ourselves: ours are derived from them."""
    fleet.register(derived(RAW), "n1")
    assert ctl("lock", RAW) == done()
    assert holders(fleet) == {derived(RAW): "maintenance"}
    assert ctl("unlock", RAW) == done()
    assert holders(fleet) == {}


def test_a_raw_machine_id_that_was_locked_literally_is_found_again(ctl, fleet):
    assert ctl("lock", RAW).code == 0
    assert holders(fleet) == {RAW: "maintenance"}
    fleet.register(derived(RAW), "n1")
    assert ctl("unlock", RAW).code == 0
    assert holders(fleet) == {}


def test_a_host_name_means_its_node(ctl, fleet):
    fleet.register(OTHER, "n1")
    assert ctl("lock", "n1") == done()
    assert holders(fleet) == {OTHER: "maintenance"}


@pytest.mark.parametrize("name", ["a/b", "a b", ".."])
def test_what_can_be_no_id(ctl, name):
    said = ctl("lock", name)
    assert said.code == 1
    assert said.err.startswith("Error locking: ")


# --- groups ------------------------------------------------------------------------------------------------------


def test_a_group_by_flag_and_by_variable(ctl, fleet, monkeypatch):
    assert ctl("-group", "web", "set-max", "2") == done("Old-Max: 1\nMax: 2\n")
    assert ctl("--group=web", "lock") == done()
    assert holders(fleet, "web") == {ID: "maintenance"}
    monkeypatch.setenv("LOCKSMITHCTL_GROUP", "web")
    assert ctl("status").out.startswith("Available: 1\nMax: 2\n")
    assert ctl("-group", "default", "status").out == "Available: 1\nMax: 1\n"


def test_a_group_that_nobody_made_is_not_made_by_a_lock(ctl):
    """A slip in the name would be a lock of its own."""
    said = ctl("-group", "wbe", "lock")
    assert said.code == 1
    assert "set-max" in said.err


def test_a_group_that_can_be_none(ctl):
    said = ctl("-group", "prod/database", "status")
    assert said.code == 1
    assert "prod/database" in said.err


def test_reading_makes_nothing(ctl, fleet):
    assert ctl("-group", "web", "status") == done("Available: 1\nMax: 1\n")
    assert operating.known_groups(fleet.actor) == ()


# --- set-max -----------------------------------------------------------------------------------------------------


def test_set_max(ctl, fleet):
    fleet.slots(1)
    assert ctl("set-max", "3") == done("Old-Max: 1\nMax: 3\n")
    assert ctl("set-max", "+2", "ignored") == done("Old-Max: 3\nMax: 2\n")


@pytest.mark.parametrize("word", ["abc", "1.5", "", " 1", "0x1", "9999999", "9" * 40, "٣"])
def test_no_number(ctl, word):
    assert ctl("set-max", word) == Said(1, "", f"Invalid maximum value: {word}\n")


@pytest.mark.parametrize("word", ["0", "-2"])
def test_no_slots_at_all_is_what_pause_is_for(ctl, fleet, word):
    fleet.slots(2)
    said = ctl("set-max", "--", word)
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith("Error setting value: ")
    assert "pause" in said.err
    assert ctl("status").out == "Available: 2\nMax: 2\n"


def test_lowering_it_below_the_holders_goes_below_zero(ctl, fleet):
    fleet.slots(3)
    for node in "abc":
        fleet.hold(node * 32, Phase.ARMED)
    assert ctl("set-max", "1") == done("Old-Max: 3\nMax: 1\n")
    assert ctl("status").out.startswith("Available: -2\nMax: 1\n")


# --- the store ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("endpoint", "says"),
    [
        ("10.0.0.1:2379", "not an etcd endpoint"),
        ("http://a:2379,https://b:2379", "mixed"),
        ("ectd://a", "unknown store scheme"),
        ("http://me:s3cret@a:2379", "password_file"),
    ],
)
def test_endpoints_that_are_none(ctl, endpoint, says):
    said = ctl("-endpoint", endpoint, "status")
    assert said.code == 1
    assert said.err.startswith("Error initializing etcd client: ")
    assert says in said.err
    assert "s3cret" not in said.err


def test_a_store_url_of_ours_is_an_endpoint_too(ctl, fleet, tmp_path):
    elsewhere = f"sqlite://{tmp_path}/other.db"
    assert ctl("-endpoint", elsewhere, "lock") == done()
    assert holders(fleet) == {}
    assert ctl("-endpoint", elsewhere, "status").out.startswith("Available: 0")


def test_without_a_store_anywhere(ctl, monkeypatch):
    monkeypatch.delenv("LOCKSMITH_STORE")
    said = ctl("status")
    assert said.code == 1
    assert said.err.startswith("Error initializing etcd client: no store is configured")


@pytest.mark.parametrize("command", ["lock", "unlock", "status"])
def test_a_store_that_cannot_be_opened(ctl, command, tmp_path):
    (tmp_path / "garbage").write_text("no database " * 100)
    said = ctl("-endpoint", f"sqlite://{tmp_path}/garbage", command)
    assert said.code == 1
    assert said.err.startswith("Error initializing etcd client: ")


def test_without_a_machine_id(ctl, monkeypatch, tmp_path):
    config = tmp_path / "no-id.toml"
    config.write_text(f'[node]\nmachine_id_file = "{tmp_path}/none"\nrun_dir = "{tmp_path}/run"\n')
    monkeypatch.setenv("LOCKSMITH_CONFIG", str(config))
    for command in ("lock", "unlock"):
        said = ctl(command)
        assert (said.code, said.err.splitlines()[0]) == (1, "Cannot read machine-id")
    assert ctl("lock", "somebody").code == 0


# --- reboot ------------------------------------------------------------------------------------------------------


@pytest.fixture
def agent(tmp_path):
    """The lock that a running agent has."""
    lock = HostLock(tmp_path / "run" / "locksmithd.lock")
    lock.acquire()
    yield
    lock.release()


def request(fleet):
    return look(fleet.store, [keys.request(ID)]).document(keys.request(ID), Request)


@as_root
def test_reboot_asks_the_agent(ctl, fleet, agent):
    fleet.slots(1)
    said = ctl("reboot")
    assert (said.code, said.out) == (0, "")
    assert said.err.startswith("asked: ")
    asked = request(fleet)
    assert asked is not None
    assert asked.ignore == ("window", "min_interval")
    assert holders(fleet) == {}


@as_root
def test_reboot_without_an_agent_does_nothing(ctl, fleet):
    fleet.slots(1)
    said = ctl("reboot")
    assert said.code == 1
    assert "no agent runs" in said.err
    assert request(fleet) is None


@as_root
def test_reboot_of_a_machine_that_is_held_by_hand(ctl, fleet, agent):
    fleet.slots(2)
    ctl("lock")
    said = ctl("reboot")
    assert (said.code, said.err.splitlines()[0]) == (1, "Error locking: holder exists")
    assert request(fleet) is None


@as_root
@pytest.mark.parametrize("strategy", ["off", "observe"])
@pytest.mark.usefixtures("agent")
def test_reboot_where_the_agent_reboots_nothing(ctl, fleet, tmp_path, strategy):
    fleet.slots(1)
    with (tmp_path / "locksmith.toml").open("a") as config:
        config.write(f'[agent]\nstrategy = "{strategy}"\n')
    said = ctl("reboot")
    assert said.code == 1
    assert strategy in said.err
    assert request(fleet) is None


# --- send-need-reboot --------------------------------------------------------------------------------------------


def busctl(folder, monkeypatch, script):
    path = folder / "bin" / "busctl"
    path.parent.mkdir()
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{path.parent}:{os.environ['PATH']}")


def test_the_signal_is_sent(ctl, tmp_path, monkeypatch):
    busctl(tmp_path, monkeypatch, f'for word; do echo "<$word>"; done > {tmp_path}/words')
    said = ctl("send-need-reboot")
    assert (said.code, said.out) == (0, "")
    assert "".join((tmp_path / "words").read_text().split("\n")) == (
        "<--system><emit></com/coreos/update1><com.coreos.update1.Manager><StatusUpdate>"
        "<xdssx><0><0><UPDATE_STATUS_UPDATED_NEED_REBOOT><><0>"
    )


def test_the_signal_cannot_be_sent(ctl, tmp_path, monkeypatch):
    busctl(tmp_path, monkeypatch, "echo 'Failed to connect to bus' >&2; exit 1")
    said = ctl("send-need-reboot")
    assert said.code == 1
    assert said.err.startswith("error emitting signal: ")
    assert "Failed to connect" in said.err


# --- words -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [(), ("help",), ("-h",), ("--help",)])
def test_help(ctl, words):
    said = ctl(*words)
    assert (said.code, said.err) == (0, "")
    for word in ("help", "lock", "reboot", "send-need-reboot", "set-max", "status", "unlock", "--etcd-cafile"):
        assert f"\t{word} " in said.out


def test_help_of_one_command(ctl):
    assert ctl("help", "lock").out.startswith("NAME:\n\tlock - ")
    assert ctl("help", "help").code == 0
    assert ctl("help", "bogus") == Said(1, "Unrecognized command: bogus\n", "")


def test_a_command_that_there_is_not(ctl):
    assert ctl("bogus") == Said(
        2, "locksmithctl: unknown subcommand: \"bogus\"\nRun 'locksmithctl help' for usage.\n", ""
    )


@pytest.mark.parametrize("words", [("-bogus",), ("status", "-h"), ("status", "-x"), ("set-max", "-2"), ("-group",)])
def test_flags_that_are_none(ctl, words):
    said = ctl(*words)
    assert (said.code, said.out) == (2, "")
    assert said.err


def test_a_bug_or_an_outage_leaves_no_trace_of_python(ctl, fleet):
    fleet.put(keys.CFG, b"no json")
    said = ctl("status")
    assert said.code == 1
    assert "Traceback" not in said.err


def test_a_lock_taken_here_is_one_to_lockctl_too(ctl, fleet):
    ctl("lock")
    taken = by_hand.force_unlock(fleet.actor, ID, "test", armed_too=False)
    assert taken.holder.reason == "locksmithctl lock"
