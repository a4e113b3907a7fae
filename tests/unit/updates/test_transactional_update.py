import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locksmith.core.needs import Need, NeedUnknown, NotNeeded
from locksmith.updates import Provider
from locksmith.updates.transactional_update import TransactionalUpdate

SAMPLES = Path(__file__).parents[2] / "samples" / "updates" / "transactional-update"
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
WRITTEN = int(NOW.timestamp()) - 3600
KERNEL = os.uname().release


@dataclass
class StoppedClock:
    now: datetime = NOW

    def wall(self):
        return self.now

    def boottime(self):
        return 0.0

    def synchronised(self):
        return True

    def sleep(self, seconds):
        raise AssertionError("a provider does not wait")


def sample(name):
    return (SAMPLES / f"{name}.txt").read_text()


@pytest.fixture
def flag(tmp_path):
    return tmp_path / "reboot-needed"


@pytest.fixture
def make(flag, program):
    def provider(default="constructed-default-12", mounts="mountinfo-snapshot", **more) -> Provider:
        return TransactionalUpdate(
            "zypp",
            flag,
            mounts=SAMPLES / f"{mounts}.txt",
            default_subvolume=program(sample(default) if default else "", **more),
            clock=StoppedClock(),
        )

    return provider


def stage(flag, word, written=WRITTEN):
    flag.write_text(word)
    os.utime(flag, (written, written))


def test_no_file_no_need(make, tmp_path):
    assert make().ask() == NotNeeded("zypp", running="snapshot 1")
    assert not (tmp_path / "arguments").exists()
    assert make(mounts="constructed-mountinfo-ext4").ask() == NotNeeded("zypp", running=KERNEL)
    assert make(mounts="nowhere").ask() == NotNeeded("zypp", running=KERNEL)


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("reboot", "packages were installed that need a reboot"),
        ("kexec", "packages were installed that need a reboot (kexec would do)"),
        ("soft-reboot\n", "packages were installed that need a reboot (soft-reboot would do)"),
        ("", "packages were installed that need a reboot"),
        ("NONE", "{flag} says 'NONE'"),
        ("\x1b[31mred\n", "{flag} says '[31mred'"),
    ],
)
def test_the_file_is_the_need_whatever_it_says(make, flag, word, reason):
    stage(flag, word)
    need = make().ask()
    assert need == Need(
        "zypp",
        "transactional-update",
        need.fingerprint,
        reason.format(flag=flag),
        origin="snapshot 1",
        target="snapshot 12",
        since=datetime(2026, 1, 1, 11, tzinfo=UTC),
    )


def test_what_is_asked(make, flag, arguments):
    stage(flag, "reboot")
    make().ask()
    assert arguments() == ""
    assert " ".join(TransactionalUpdate("zypp", flag)._default) == "btrfs subvolume get-default /"


@pytest.mark.parametrize(
    ("default", "more"),
    [
        ("default-1", {}),  # the booted one: a system that is updated in place
        ("default-tree", {}),
        ("", {}),
        ("constructed-default-12", {"code": 1, "stderr": "ERROR: cannot search tree: Operation not permitted\n"}),
        ("constructed-default-12", {"then": "kill -9 $$"}),
    ],
)
def test_without_a_snapshot_to_come_there_is_no_target(make, flag, default, more):
    stage(flag, "reboot")
    need = make(default, **more).ask()
    assert (need.origin, need.target) == ("snapshot 1", None)


def test_without_snapshots_the_kernel_is_the_version(make, flag, tmp_path):
    stage(flag, "reboot")
    need = make(mounts="constructed-mountinfo-ext4").ask()
    assert (need.origin, need.target) == (KERNEL, None)
    assert not (tmp_path / "arguments").exists()


def test_no_btrfs_program(flag):
    stage(flag, "reboot")
    mounts = SAMPLES / "mountinfo-snapshot.txt"
    need = TransactionalUpdate("zypp", flag, mounts=mounts, default_subvolume=("/nowhere",)).ask()
    assert (need.origin, need.target) == ("snapshot 1", None)


def test_a_file_from_the_future_is_staged_now(make, flag):
    stage(flag, "reboot", WRITTEN + 7200)
    assert make().ask().since == NOW


def test_a_flag_written_anew_is_another_need(make, flag):
    stage(flag, "soft-reboot")
    first = make().ask().fingerprint
    assert make("default-1").ask().fingerprint == first
    stage(flag, "reboot")
    second = make().ask().fingerprint
    stage(flag, "soft-reboot", WRITTEN + 1)
    assert len({first, second, make().ask().fingerprint}) == 3


def test_withdrawn(make, flag):
    stage(flag, "reboot")
    assert isinstance(make().ask(), Need)
    flag.unlink()
    assert isinstance(make().ask(), NotNeeded)


def test_what_cannot_be_read_is_unknown(make, flag):
    flag.symlink_to(flag)
    assert make().ask() == NeedUnknown("zypp", f"cannot read {flag}: Too many levels of symbolic links")
    flag.unlink()
    flag.mkdir()
    assert make().ask() == NeedUnknown("zypp", f"cannot read {flag}: Is a directory")


@given(st.binary(max_size=400), st.binary(max_size=100))
def test_nothing_raises(tmp_path_factory, word, mounts):
    folder = tmp_path_factory.mktemp("run")
    (folder / "flag").write_bytes(word)
    (folder / "mounts").write_bytes(mounts)
    provider = TransactionalUpdate(
        "zypp", folder / "flag", mounts=folder / "mounts", default_subvolume=("/nowhere",), clock=StoppedClock()
    )
    assert isinstance(provider.ask(), Need)
