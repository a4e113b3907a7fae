import os
import shutil
import subprocess

import pytest

from locksmith.errors import ConfigError, Damaged
from locksmith.host import identity
from locksmith.host.system import System

MACHINE = "3d1219c7c4c5404aaa1f6d2a48adfda4"


def test_node_id_is_what_systemd_derives():
    # systemd-id128 machine-id --app-specific=a17fe49c56644da0bcfb586dee216f43 on a machine with this id
    assert identity.node_id(MACHINE) == "c3c95b9d69464a719e41c61a812af94c"
    assert identity.node_id(f" {MACHINE.upper()}\n") == identity.node_id(MACHINE)


@pytest.mark.skipif(shutil.which("systemd-id128") is None, reason="systemd-id128 is not installed")
def test_node_id_agrees_with_systemd_here():
    done = subprocess.run(
        ["systemd-id128", "machine-id", f"--app-specific={identity.APPLICATION_ID.hex()}"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip("this machine has no machine id")
    assert identity.node_id(identity.machine_id()) == done.stdout.strip()


@pytest.mark.parametrize("text", ["", "xyz", MACHINE[:-1], MACHINE + "0"])
def test_no_node_id_of_something_else(text):
    with pytest.raises(ConfigError, match="32 hexadecimal digits"):
        identity.node_id(text)


def test_machine_id_file(tmp_path):
    path = tmp_path / "machine-id"
    with pytest.raises(ConfigError, match="is missing: run `systemd-machine-id-setup`"):
        identity.machine_id(path)
    path.write_text(f"{MACHINE}\n")
    assert identity.machine_id(path) == MACHINE


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not initialized"),
        ("uninitialized\n", "not initialized"),
        ("hello", "no machine id"),
        ("1" * 33, "no machine"),
    ],
)
def test_machine_id_file_with_something_else(tmp_path, text, words):
    path = tmp_path / "machine-id"
    path.write_text(text)
    with pytest.raises(ConfigError, match=words):
        identity.machine_id(path)


def test_boot_of_a_test_file(tmp_path):
    path = tmp_path / "boot_id"
    path.write_text("b-1\n")
    assert identity.boot(path) == "b-1/0"


@pytest.mark.parametrize("text", ["", "two words", "a/b", "x" * 65])
def test_no_boot_of_a_malformed_file(tmp_path, text):
    path = tmp_path / "boot_id"
    path.write_text(text)
    with pytest.raises(ConfigError, match="holds no boot id"):
        identity.boot(path)


def test_no_boot_without_the_file(tmp_path):
    with pytest.raises(ConfigError, match="cannot read"):
        identity.boot(tmp_path / "missing")


def test_boot_of_the_kernel_counts_soft_reboots(tmp_path, tool):
    (tmp_path / "systemd" / "system").mkdir(parents=True)
    kernels = identity.KERNEL_BOOT_ID.read_text().strip()
    assert identity.boot(system=System(runtime=tmp_path / "none")) == f"{kernels}/0"
    system = System(runtime=tmp_path, tools=tool("systemctl", "echo 2"))
    assert identity.boot(system=system) == f"{kernels}/2"
    tool("systemctl", "exit 1")
    with pytest.raises(Damaged, match="SoftRebootsCount"):
        identity.boot(system=system)


def test_fingerprint(tmp_path):
    path = tmp_path / "product_uuid"
    assert identity.fingerprint(path) == ""
    path.write_text("4C4C4544-0042-4410-8057-B4C04F4B3132\n")
    first = identity.fingerprint(path)
    assert len(first) == 16
    path.write_text("4c4c454400424410 8057b4c04f4b3132".replace(" ", ""))
    assert identity.fingerprint(path) == first
    path.write_text("4C4C4544-0042-4410-8057-B4C04F4B3133\n")
    assert identity.fingerprint(path) != first


@pytest.mark.parametrize("text", ["", "00000000-0000-0000-0000-000000000000", "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF"])
def test_blank_hardware_tells_nothing(tmp_path, text):
    path = tmp_path / "product_uuid"
    path.write_text(text)
    assert identity.fingerprint(path) == ""


def test_os_release(tmp_path):
    path = tmp_path / "os-release"
    assert identity.os_release(path) == {}
    path.write_text('# comment\nID=debian\nVERSION_ID="12"\n\nNAME=\'Debian GNU/Linux\'\nBAD="open\nnonsense\n')
    found = identity.os_release(tmp_path / "missing", path)
    assert found == {"ID": "debian", "VERSION_ID": "12", "NAME": "Debian GNU/Linux"}
    assert identity.os_version(found) == "debian 12"
    assert identity.os_version(found | {"IMAGE_VERSION": "7"}) == "debian 7"
    assert identity.os_version({}) == ""


def test_kernel_and_host():
    assert identity.running_kernel() == os.uname().release
    assert identity.host_name() == os.uname().nodename
