import os
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from locksmith.core.needs import Need, NeedUnknown, NotNeeded
from locksmith.updates import Provider
from locksmith.updates.reboot_required import RebootRequired

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
WRITTEN = int(NOW.timestamp()) - 3600


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


@pytest.fixture
def flag(tmp_path):
    return tmp_path / "reboot-required"


@pytest.fixture
def provider(flag) -> Provider:
    return RebootRequired("packages", flag, clock=StoppedClock())


def stage(flag, packages=None, written=WRITTEN):
    flag.write_text("*** System restart required ***\n")
    os.utime(flag, (written, written))
    if packages is not None:
        flag.with_name("reboot-required.pkgs").write_text(packages)


def test_no_file_no_need(provider):
    assert provider.ask() == NotNeeded("packages", running=os.uname().release)


def test_a_folder_that_is_a_file_has_no_flag(tmp_path):
    (tmp_path / "file").write_text("")
    assert isinstance(RebootRequired("packages", tmp_path / "file" / "flag").ask(), NotNeeded)


def test_the_packages_are_the_reason(provider, flag):
    stage(flag, "linux-image-6.1.0-27\nlibc6\nlinux-image-6.1.0-27\n\n")
    need = provider.ask()
    assert isinstance(need, Need)
    assert (need.provider, need.kind) == ("packages", "reboot-required")
    assert need.reason == "linux-image-6.1.0-27, libc6"
    assert need.origin == os.uname().release
    assert need.target is None
    assert need.since == datetime(2026, 1, 1, 11, tzinfo=UTC)


def test_without_packages_the_file_is_the_reason(provider, flag):
    stage(flag)
    assert provider.ask().reason == f"{flag} exists"


def test_a_long_list_is_cut(provider, flag):
    stage(flag, "".join(f"p{number}\n" for number in range(20)))
    assert provider.ask().reason == "p0, p1, p2, p3, p4, p5, p6, p7 and 12 more"


def test_a_file_from_the_future_is_staged_now(provider, flag):
    stage(flag, written=WRITTEN + 7200)
    assert provider.ask().since == NOW


def test_the_same_list_in_another_order_is_the_same_need(provider, flag):
    stage(flag, "a\nb\n")
    first = provider.ask().fingerprint
    stage(flag, "b\na\nb\n")
    assert provider.ask().fingerprint == first


def test_the_fingerprint_is_that_of_0_1_0(flag):
    """Else an upgrade would take an update on which a reboot was spent for a new one: see tests/upgrade."""
    stage(flag, "linux-image-6.1\nlibc6\nlibc6\n")
    os.utime(flag, ns=(1_700_000_000_123_456_789,) * 2)
    need = RebootRequired("reboot-required", flag).ask()
    assert need.fingerprint == "3aa25fd2b64ee1d2b2fab436cec4da19"


@pytest.mark.parametrize(("packages", "written"), [("a\nb\nc\n", WRITTEN), ("a\nb\n", WRITTEN + 1), (None, WRITTEN)])
def test_another_list_or_a_flag_written_anew_is_another_need(provider, flag, packages, written):
    stage(flag, "a\nb\n")
    first = provider.ask().fingerprint
    flag.with_name("reboot-required.pkgs").unlink()
    stage(flag, packages, written)
    assert provider.ask().fingerprint != first


def test_a_list_that_cannot_be_read_is_unknown(provider, flag):
    stage(flag)
    flag.with_name("reboot-required.pkgs").mkdir()
    assert provider.ask() == NeedUnknown("packages", f"cannot read {flag}.pkgs: Is a directory")


def test_a_flag_that_cannot_be_looked_at_is_unknown(provider, flag):
    flag.symlink_to(flag)
    assert provider.ask() == NeedUnknown("packages", f"cannot look at {flag}: Too many levels of symbolic links")


def test_bytes_that_are_no_text(provider, flag):
    stage(flag)
    flag.with_name("reboot-required.pkgs").write_bytes(b"a\xff\n\x1b[31m\n")
    assert provider.ask().reason == "a\ufffd, [31m"
