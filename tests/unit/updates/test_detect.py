"""A host of each distribution, as far as its files tell, and what is found there."""

from pathlib import Path

import pytest

from locksmith.updates.detect import detect

DEBIAN = {"etc/debian_version": "12.8\n", "var/lib/dpkg/status": "", "boot/vmlinuz-6.1.0-28-amd64": ""}
UBUNTU = {
    "etc/debian_version": "trixie/sid\n",
    "usr/lib/os-release": "ID=ubuntu\nID_LIKE=debian\n",
    "boot/vmlinuz-6.8.0-31-generic": "",
    "etc/kernel/postinst.d/update-notifier": "",
    "etc/kernel/postinst.d/unattended-upgrades": "",
    "usr/sbin/needrestart": "",
    "usr/bin/snap": "",
}
FLATCAR = {
    "usr/bin/update_engine_client": "",
    "etc/os-release": "ID=flatcar\n",
    "usr/lib/systemd/systemd-sysupdate": "",
    "etc/sysupdate.d/noop.conf": "",  # as Flatcar's guides for system extensions tell
}
FCOS = {
    "run/ostree-booted": "",
    "usr/bin/rpm-ostree": "",
    "usr/bin/bootc": "",
    "usr/lib/modules/6.11.4-301.fc41.x86_64/vmlinuz": "",
}
RHEL9 = {
    "usr/bin/dnf": "->dnf-3",
    "usr/bin/dnf-3": "",
    "usr/lib/python3.9/site-packages/dnf-plugins/needs_restarting.py": "",
    "boot/vmlinuz-5.14.0-427.el9.x86_64": "",
}
FEDORA41 = {
    "usr/bin/dnf": "->dnf5",
    "usr/bin/dnf5": "",
    "usr/lib64/dnf5/plugins/needs_restarting_cmd_plugin.so": "",
    "boot/vmlinuz-6.11.4-301.fc41.x86_64": "",
}
LEAP = {"usr/bin/zypper": "", "usr/lib/modules/6.4.0-150600.21-default/vmlinuz": ""}
ARCH = {"usr/bin/pacman": "", "usr/lib/modules/6.12.1-arch1-1/vmlinuz": "", "boot/vmlinuz-linux": ""}

HOSTS = {
    "Flatcar": (FLATCAR, ("update-engine",)),
    "Flatcar by its bus name": (
        {"usr/share/dbus-1/system-services/com.coreos.update1.service": ""},
        ("update-engine",),
    ),
    "Fedora CoreOS": (FCOS, ("rpm-ostree",)),
    "RHEL image mode": (FCOS | {"usr/bin/dnf": ""}, ("rpm-ostree",)),
    "bootc without rpm-ostree": ({"run/ostree-booted": "", "usr/bin/bootc": ""}, ("bootc",)),
    "bootc on a host of packages": (RHEL9 | {"usr/bin/bootc": ""}, ("needs-restarting",)),
    "Endless OS": ({"run/ostree-booted": "", "etc/debian_version": ""}, ("reboot-required",)),
    "ostree with dnf and no tool for it": (RHEL9 | {"run/ostree-booted": ""}, ("kernel",)),
    "openSUSE MicroOS": (LEAP | {"usr/sbin/transactional-update": ""}, ("transactional-update",)),
    "Ubuntu Core": (
        {"etc/debian_version": "", "etc/os-release": 'NAME="Ubuntu Core"\nID=ubuntu-core\n'},
        ("snapd",),
    ),
    "k3OS": ({"k3os/system/k3os/current": "->v0.20.7", "boot/vmlinuz-5.4.0": ""}, ("k3os",)),
    "Debian 12 as installed": (DEBIAN, ("reboot-required", "kernel")),
    "Debian 12 with needrestart": (DEBIAN | {"usr/sbin/needrestart": ""}, ("reboot-required", "needrestart")),
    "Debian 12 with unattended-upgrades": (
        DEBIAN | {"etc/kernel/postinst.d/unattended-upgrades": ""},
        ("reboot-required",),
    ),
    "Debian 12 with dnf on it": (DEBIAN | RHEL9 | {"usr/bin/zypper": ""}, ("reboot-required", "kernel")),
    "Debian 12 in systemd-nspawn": (
        DEBIAN | {"usr/sbin/needrestart": "", "run/systemd/container": "systemd-nspawn\n"},
        ("reboot-required",),
    ),
    "Debian 12 without a kernel": ({"etc/debian_version": ""}, ("reboot-required",)),
    "Ubuntu 24.04": (UBUNTU, ("reboot-required", "needrestart")),
    "another one with the flag": ({"run/reboot-required": ""}, ("reboot-required",)),
    "RHEL 9": (RHEL9, ("needs-restarting",)),
    "RHEL 9 without the plugin": (
        {name: text for name, text in RHEL9.items() if "plugins" not in name},
        ("needs-restarting", "kernel"),
    ),
    "RHEL 7": ({"usr/bin/yum": "", "usr/bin/needs-restarting": ""}, ("needs-restarting",)),
    "RHEL 7 without yum-utils": ({"usr/bin/yum": "", "boot/vmlinuz-3.10.0-1160.el7.x86_64": ""}, ("kernel",)),
    "Fedora 41": (FEDORA41, ("needs-restarting",)),
    "Fedora in a container": ({"usr/bin/dnf": "", "run/.containerenv": ""}, ()),
    "Fedora in a system container": (FEDORA41 | {"run/systemd/container": "lxc"}, ("needs-restarting",)),
    "Leap": (LEAP, ("needs-restarting",)),
    "Arch": (ARCH, ("kernel",)),
    "Arch in a container": (ARCH | {"run/systemd/container": "lxc"}, ()),
    "an image of systemd's own": (
        {"usr/lib/systemd/systemd-sysupdate": "", "usr/lib/sysupdate.d/50-root.transfer": "", "boot/vmlinuz-6.12": ""},
        ("sysupdate",),
    ),
    "sysupdate without anything to update": (
        ARCH | {"usr/lib/systemd/systemd-sysupdate": "", "usr/lib/sysupdate.d/": ""},
        ("kernel",),
    ),
    "Debian with an extension of sysupdate": (
        DEBIAN | {"usr/bin/systemd-sysupdate": "", "etc/sysupdate.d/kube.conf": "", "usr/sbin/needrestart": ""},
        ("reboot-required", "needrestart", "sysupdate"),
    ),
    "Alpine": ({"etc/alpine-release": "3.20\n", "boot/vmlinuz-lts": ""}, ()),
    "a bare container": ({".dockerenv": "", "bin/sh": ""}, ()),
    "nothing": ({}, ()),
}


@pytest.mark.parametrize("host", HOSTS)
def test_what_is_found(host, make_root):
    files, expected = HOSTS[host]
    assert detect(make_root(files)) == expected


def test_alpine_is_told_by_its_image(make_root, bzimage):
    files = {"etc/alpine-release": "3.20\n", "boot/vmlinuz-lts": bzimage("6.6.58-0-lts (buildozer@build) #1")}
    assert detect(make_root(files)) == ("kernel",)


def test_every_word_is_one_of_the_contract():
    words = {word for _, expected in HOSTS.values() for word in expected}
    assert words == {
        "update-engine", "rpm-ostree", "bootc", "transactional-update", "snapd", "k3os", "reboot-required", "needrestart",
        "needs-restarting", "sysupdate", "kernel",
    }  # fmt: skip


def test_a_root_that_is_not_there_has_nothing(tmp_path):
    assert detect(tmp_path / "nowhere") == ()


def test_files_in_place_of_folders_are_nothing(make_root):
    assert detect(make_root({"usr": "", "run": "", "etc": "", "boot": "", "lib": ""})) == ()


def test_this_machine_is_looked_at_without_harm():
    assert isinstance(detect(Path("/")), tuple)
