"""Providers against the real programs: needrestart of Debian on a made /boot, dpkg's order of versions, and this machine.

What cannot run here is skipped with "NOT TESTED" and the reason. dnf and zypper are tried where they are installed.
"""

import itertools
import os
import random
import shutil
import subprocess
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from locksmith.core.needs import Need, NeedUnknown, NotNeeded
from locksmith.updates import Provider
from locksmith.updates.detect import detect
from locksmith.updates.kernel import Kernel
from locksmith.updates.kernel_versions import compare_debian
from locksmith.updates.needrestart import Needrestart
from locksmith.updates.needs_restarting import NeedsRestarting
from locksmith.updates.reboot_required import RebootRequired
from tests.servers import needrestart
from tests.servers.fetch import ServerMissing

LONG = timedelta(seconds=100)
RUNNING, BUILD = os.uname().release, os.uname().version
NEWER = "99.1.0-1-amd64"


def image(path: Path, release: str, build: str = "(somebody@somewhere) #1 SMP another build") -> None:
    """An x86 kernel image as far as needrestart looks: its size, and the version text that the header points at."""
    text = f"{release} {build}".encode() + b"\0"
    data = bytearray(1_100_000)
    data[0x202:0x206] = b"HdrS"
    data[0x20E:0x210] = (0x400).to_bytes(2, "little")
    data[0x600 : 0x600 + len(text)] = text
    path.write_bytes(data)


@pytest.fixture
def boot(tmp_path) -> Path:
    folder = tmp_path / "boot"
    folder.mkdir()
    return folder


@pytest.fixture
def ask(boot, tmp_path) -> Callable[..., Need | NotNeeded | NeedUnknown]:
    """needrestart's provider, with our /boot."""
    if os.uname().machine != "x86_64":
        pytest.skip("NOT TESTED: the made kernel images are for x86_64")

    def provider(*, container: bool = False, microcode: bool = False) -> Need | NotNeeded | NeedUnknown:
        try:
            script = needrestart.program(boot, tmp_path, container=container)
        except ServerMissing as error:
            pytest.skip(f"NOT TESTED: {error}")
        made: Provider = Needrestart("nr", LONG, microcode, command=(str(script),), boot=boot)
        answer = made.ask()
        if not container and isinstance(answer, NeedUnknown) and "as in a container" in answer.reason:
            pytest.skip("NOT TESTED: needrestart takes this machine for a container and looks at no kernel")
        return answer

    return provider


def test_needrestart_says_that_the_running_build_is_current(ask, boot):
    image(boot / f"vmlinuz-{RUNNING}", RUNNING, f"(somebody@somewhere) {BUILD}")
    assert ask() == NotNeeded("nr", RUNNING)


def test_needrestart_says_that_another_build_waits(ask, boot):
    image(boot / f"vmlinuz-{RUNNING}", RUNNING)
    need = ask()
    if os.geteuid() != 0:
        assert isinstance(need, NeedUnknown)
        return
    assert isinstance(need, Need)
    assert (need.reason, need.target) == (f"a newer build of kernel {RUNNING}", None)
    assert need.fingerprint == ask().fingerprint
    os.utime(boot / f"vmlinuz-{RUNNING}", (1, 1))
    assert need.fingerprint != ask().fingerprint


def test_needrestart_says_that_a_newer_version_waits(ask, boot):
    image(boot / f"vmlinuz-{RUNNING}", RUNNING, f"(somebody@somewhere) {BUILD}")
    image(boot / f"vmlinuz-{NEWER}", NEWER)
    need = ask()
    assert isinstance(need, Need)
    assert (need.reason, need.origin, need.target) == (f"kernel {NEWER}", RUNNING, NEWER)


def test_an_older_kernel_alone_is_a_version_upgrade_to_needrestart_and_unknown_to_us(ask, boot):
    image(boot / "vmlinuz-2.6.32-5-amd64", "2.6.32-5-amd64")
    answer = ask()
    assert isinstance(answer, NeedUnknown)
    assert "only older ones are installed (2.6.32-5-amd64)" in answer.reason


def test_an_empty_boot_is_unknown(ask):
    answer = ask()
    assert isinstance(answer, NeedUnknown)
    assert "found no kernel image" in answer.reason


def test_in_a_container_needrestart_says_nothing(ask, boot):
    image(boot / f"vmlinuz-{NEWER}", NEWER)
    answer = ask(container=True, microcode=True)
    assert isinstance(answer, NeedUnknown)
    assert "as in a container" in answer.reason


def test_microcode_is_asked_for_without_harm(ask, boot):
    image(boot / f"vmlinuz-{NEWER}", NEWER)
    need = ask(microcode=True)
    assert isinstance(need, Need)
    assert need.target == NEWER


def test_the_order_of_debian_is_that_of_dpkg():
    if shutil.which("dpkg") is None:
        pytest.skip("NOT TESTED: no dpkg here")
    chance = random.Random(3)
    parts = ["1", "0", "10", "9", "a", "el", "~", "+", ".", "bpo", "427", "z"]
    versions = ["1" + "".join(chance.choices(parts, k=chance.randint(1, 5))) for _ in range(60)]
    for one, other in itertools.pairwise(versions):
        order = compare_debian(one, other)
        for relation, holds in (("lt", order < 0), ("eq", order == 0), ("gt", order > 0)):
            done = subprocess.run(["dpkg", "--compare-versions", one, relation, other], check=False)
            assert (done.returncode == 0) is holds, (one, relation, other)


@pytest.mark.parametrize("tool", ["dnf", "dnf5", "needs-restarting", "zypper"])
def test_what_is_installed_here_answers(tool):
    if shutil.which(tool) is None:
        pytest.skip(f"NOT TESTED: no {tool} here; its outputs are samples in tests/samples/updates")
    assert isinstance(NeedsRestarting("rpm", LONG).ask(), Need | NotNeeded | NeedUnknown)


def test_this_machine_is_asked_without_harm():
    found = detect()
    assert len(set(found)) == len(found)
    assert isinstance(Kernel("k").ask(), Need | NotNeeded | NeedUnknown)
    assert isinstance(RebootRequired("flag").ask(), Need | NotNeeded | NeedUnknown)
