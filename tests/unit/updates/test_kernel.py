"""The running kernel against the one that boots next, on made roots. Where the boot loaders' files come from: ORIGINS.md."""

import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from locksmith.core.needs import Answer, Need, NeedUnknown, NotNeeded
from locksmith.updates import Provider
from locksmith.updates.boot_loader import Boots, Untold, next_kernel
from locksmith.updates.grub_menu import chosen, default_of
from locksmith.updates.kernel import Kernel
from locksmith.updates.kernel_images import installed, release_of

SAMPLES = Path(__file__).parents[2] / "samples" / "updates" / "kernel"
V9, V27, V28 = (f"6.1.0-{build}-amd64" for build in (9, 27, 28))
DEBIAN = {"etc/debian_version": "12.8\n", "proc/cmdline": f"BOOT_IMAGE=/boot/vmlinuz-{V27} root=/dev/vda1 ro quiet\n"}
IMAGES = {f"boot/vmlinuz-{version}": "" for version in (V9, V27, V28)}
GRUB = {"boot/grub/grub.cfg": (SAMPLES / "debian12-grub.cfg").read_text()}
SAVED = {
    "boot/grub/grub.cfg": (SAMPLES / "debian12-saved-grub.cfg").read_text(),
    "boot/grub/grubenv": (SAMPLES / "debian12-saved.grubenv").read_text(),
}
NEXT = SAVED | {"boot/grub/grubenv": (SAMPLES / "debian12-next.grubenv").read_text()}

EL_OLD, EL_NEW = "5.14.0-427.el9.x86_64", "5.14.0-427.13.1.el9_4.x86_64"
MACHINE = "ffffffffffffffffffffffffffffffff"
BLS = (SAMPLES / "rhel9-entry.conf").read_text()


def entry(release: str) -> str:
    return BLS.replace("5.14.0-362.el9.x86_64", release)


RHEL = {
    "boot/grub2/grub.cfg": (SAMPLES / "constructed-blscfg-grub.cfg").read_text(),
    "boot/grub2/grubenv": f"# GRUB Environment Block\nsaved_entry={MACHINE}-{EL_NEW}\nboot_success=1\n####",
    f"boot/loader/entries/{MACHINE}-{EL_OLD}.conf": entry(EL_OLD),
    f"boot/loader/entries/{MACHINE}-{EL_NEW}.conf": entry(EL_NEW),
    f"boot/loader/entries/{MACHINE}-0-rescue.conf": entry(f"0-rescue-{MACHINE}"),
    f"boot/vmlinuz-{EL_OLD}": "",
    f"boot/vmlinuz-{EL_NEW}": "",
    f"boot/vmlinuz-0-rescue-{MACHINE}": "",
    "proc/cmdline": f"BOOT_IMAGE=(hd0,gpt2)/vmlinuz-{EL_OLD} root=/dev/mapper/rhel-root\n",
}
HELD = {"boot/grub2/grubenv": f"saved_entry={MACHINE}-{EL_OLD}\n"}

LOADER = "sys/firmware/efi/efivars/{}-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"


def variable(name: str, text: str) -> dict[str, bytes]:
    return {LOADER.format(name): b"\x06\0\0\0" + (text + "\0").encode("utf-16-le")}


SYSTEMD = {
    **variable("LoaderInfo", "systemd-boot 252.31"),
    "boot/loader/loader.conf": "timeout 3\n#default nothing\n",
    "boot/loader/entries/aaaa-6.11.4.conf": "title A\nsort-key a\nmachine-id m\nversion 6.11.4\nlinux /aaaa/6.11.4/linux\n",
    "boot/loader/entries/aaaa-6.11.10.conf": "title A\nsort-key a\nmachine-id m\nversion 6.11.10\nlinux /aaaa/6.11.10/linux\n",
    "lib/modules/6.11.4/modules.dep": "",
    "lib/modules/6.11.4/vmlinuz": "",
    "lib/modules/6.11.10/vmlinuz": "",
}


def ask(root: Path, running: str) -> Answer:
    provider: Provider = Kernel("k", root=root, running=lambda: running)
    return provider.ask()


@pytest.mark.parametrize(
    ("files", "running", "target"),
    [
        (DEBIAN | IMAGES | GRUB, V27, V28),
        (DEBIAN | IMAGES | GRUB, V9, V28),
        (
            DEBIAN | IMAGES | SAVED,
            V9,
            V27,
        ),  # the default is an older one than the newest, and still newer than what runs
        (RHEL, EL_OLD, EL_NEW),
        (
            RHEL | HELD | {"boot/grub2/grubenv": "boot_success=1\n"},
            EL_OLD,
            EL_NEW,
        ),  # nothing saved: the first in the menu
        (SYSTEMD, "6.11.4", "6.11.10"),
        # One kernel, and no loader that says anything: the running one is removed, so it is that one.
        (DEBIAN | {f"boot/vmlinuz-{V28}": ""}, V27, V28),
    ],
)
def test_needed(files, running, target, make_root):
    need = ask(make_root(files), running)
    assert isinstance(need, Need)
    assert (need.provider, need.kind, need.reason) == ("k", "kernel", f"kernel {target}")
    assert (need.origin, need.target, need.since) == (running, target, None)


@pytest.mark.parametrize(
    ("files", "running"),
    [
        (DEBIAN | IMAGES | GRUB, V28),
        (DEBIAN | IMAGES | SAVED, V27),  # held: 28 is installed, and would not boot
        (DEBIAN | IMAGES | SAVED, V28),  # downgraded: a reboot would bring an older one
        (DEBIAN | IMAGES | NEXT, V27),  # for one boot "1>2", which is 27
        (DEBIAN | IMAGES, V28),  # whatever boots, nothing newer is here
        (RHEL | HELD, EL_OLD),
        (RHEL | HELD, EL_NEW),
        (RHEL, EL_NEW),
        (SYSTEMD, "6.11.10"),
        (SYSTEMD | {"boot/loader/loader.conf": "default aaaa-6.11.4.conf\n"}, "6.11.4"),
        (SYSTEMD | {"boot/loader/loader.conf": "default *-6.11.4\n"}, "6.11.4"),
        (SYSTEMD | variable("LoaderEntryDefault", "aaaa-6.11.4.conf"), "6.11.4"),
        (SYSTEMD | variable("LoaderEntryOneShot", "aaaa-6.11.4.conf"), "6.11.4"),
    ],
)
def test_not_needed(files, running, make_root):
    assert ask(make_root(files), running) == NotNeeded("k", running)


@pytest.mark.parametrize(
    ("files", "running", "reason"),
    [
        ({}, V27, "no kernel is installed in /boot or /usr/lib/modules: is /boot mounted?"),
        (DEBIAN | IMAGES | GRUB | {"run/systemd/container": "lxc"}, V27, "this is a container"),
        (DEBIAN | IMAGES | GRUB | {".dockerenv": ""}, V27, "this is a container"),
        (
            IMAGES | GRUB | {"proc/cmdline": "console=ttyS0 root=/dev/vda\n"},
            "6.18.44-fc",
            "not booted from this file system",
        ),
        (IMAGES | GRUB, "6.18.44-fc", "not booted from this file system"),
        (
            DEBIAN | IMAGES,
            V27,
            f"kernel {V28} is installed and {V27} runs, and which boots next is unknown: neither GRUB",
        ),
        (DEBIAN | IMAGES | {"boot/grub/": ""}, V27, "there is no"),
        (DEBIAN | IMAGES | {"boot/grub/grub.cfg": 'set default="${mine}"\n'}, V27, "none that can be followed"),
        (DEBIAN | IMAGES | {"boot/grub/grub.cfg": 'set default="9"\n'}, V27, "does not tell the kernel of entry '9'"),
        (DEBIAN | IMAGES | GRUB | {"boot/grub/grubenv": "next_entry=gone>x\n"}, V27, "entry 'gone>x'"),
        (RHEL | {"boot/grub2/grubenv": "boot_counter=2\nboot_success=0\n"}, EL_OLD, "counts boots"),
        (SYSTEMD | {"boot/loader/loader.conf": "default @saved\n"}, "6.11.4", "@saved"),
        (SYSTEMD | {"boot/EFI/Linux/debian.efi": ""}, "6.11.4", "unified kernel images"),
        (IMAGES | DEBIAN | variable("LoaderInfo", "systemd-boot 255"), V27, "no entries"),
    ],
)
def test_nobody_can_say(files, running, reason, make_root):
    answer = ask(make_root(files), running)
    assert isinstance(answer, NeedUnknown)
    assert reason in answer.reason


def test_one_whose_modules_are_gone_needs_a_reboot_even_to_an_older_one(make_root):
    need = ask(make_root(DEBIAN | {f"boot/vmlinuz-{V9}": "", f"boot/vmlinuz-{V28}": ""} | GRUB), "6.1.0-29-amd64")
    assert isinstance(
        need, NeedUnknown
    )  # never from here: its command line names another one's image, which is not here
    files = DEBIAN | {"proc/cmdline": "BOOT_IMAGE=/boot/vmlinuz-6.1.0-29-amd64 ro\n", f"boot/vmlinuz-{V28}": ""} | GRUB
    need = ask(make_root(files), "6.1.0-29-amd64")
    assert isinstance(need, Need)
    assert need.reason == f"kernel {V28}, 6.1.0-29-amd64 is removed"
    assert need.target == V28


def test_arch_tells_its_release_only_inside_of_the_image(make_root, bzimage):
    files = {
        "boot/vmlinuz-linux": bzimage("6.12.1-arch1-1 (linux@archlinux) #1 SMP"),
        "usr/lib/modules/6.12.1-arch1-1/vmlinuz": "",
        "proc/cmdline": "initrd=\\initramfs-linux.img root=UUID=x rw BOOT_IMAGE=/boot/vmlinuz-linux\n",
        "boot/grub/grub.cfg": "menuentry 'Arch Linux' --id 'arch' {\n\tlinux\t/boot/vmlinuz-linux root=UUID=x rw\n}\n",
    }
    need = ask(make_root(files), "6.11.9-arch1-1")
    assert isinstance(need, Need)
    assert need.target == "6.12.1-arch1-1"
    assert ask(make_root({}), "6.12.1-arch1-1") == NotNeeded("k", "6.12.1-arch1-1")


def test_without_a_readable_loader_a_removed_kernel_is_a_need_without_a_target(make_root):
    root = make_root(DEBIAN | {f"boot/vmlinuz-{V9}": "", f"boot/vmlinuz-{V28}": ""})
    need = ask(root, V27)
    assert isinstance(need, Need)
    assert (need.reason, need.target) == (f"kernel {V27} is removed", None)


def test_a_folder_in_place_of_a_file_is_unknown(make_root):
    answer = ask(make_root(DEBIAN | IMAGES | {"boot/grub/grub.cfg/": ""}), V27)
    assert isinstance(answer, NeedUnknown)
    assert "cannot read" in answer.reason


def test_the_kernel_that_boots_next_is_the_update(make_root):
    root = make_root(DEBIAN | IMAGES | GRUB)
    first = ask(root, V27)
    assert isinstance(first, Need)
    assert ask(root, V27) == first
    other = ask(root, V9)
    assert isinstance(other, Need)
    assert other.fingerprint == first.fingerprint  # came up with an older one: the guard must know it again
    make_root(SAVED)
    later = ask(root, V9)
    assert isinstance(later, Need)
    assert later.fingerprint != first.fingerprint


def test_entries_that_failed_to_boot_come_last(make_root):
    files = {name: text for name, text in SYSTEMD.items() if not name.endswith("aaaa-6.11.10.conf")}
    text = SYSTEMD["boot/loader/entries/aaaa-6.11.10.conf"]
    root = make_root(files | {"boot/loader/entries/aaaa-6.11.10+0-3.conf": text})
    assert next_kernel(root) == Boots("6.11.4")
    (root / "boot/loader/entries/aaaa-6.11.10+0-3.conf").rename(root / "boot/loader/entries/aaaa-6.11.10+2-1.conf")
    assert next_kernel(root) == Boots("6.11.10")


def test_without_sort_keys_the_newest_file_name_is_first(make_root):
    files = {
        name: text.replace("sort-key a\n", "") if isinstance(text, str) else text for name, text in SYSTEMD.items()
    }
    assert next_kernel(make_root(files)) == Boots("6.11.10")


@pytest.mark.parametrize(
    ("wanted", "image"),
    [
        ("0", V28),
        ("1", V28),  # a submenu stands for its first entry
        ("1>2", V27),
        ("1>4", V9),
        ("Advanced options for Debian GNU/Linux>Debian GNU/Linux, with Linux 6.1.0-9-amd64", V9),
        ("gnulinux-simple-5ddf6df9-304d-4f61-bdfe-53fcea26b7a7", V28),
        ("2", None),
        ("1>99", None),
        ("1>2>3", V27),
        ("nothing", None),
        ("9" * 5000, None),
    ],
)
def test_the_menu(wanted, image):
    assert chosen(GRUB["boot/grub/grub.cfg"], wanted) == (f"/boot/vmlinuz-{image}" if image else None)


@pytest.mark.parametrize(
    ("config", "environment", "expected"),
    [
        ("", {}, "0"),
        ("", {"saved_entry": "x"}, "x"),
        ('set default="0"', {"saved_entry": "x"}, "0"),
        ('set default="${next_entry}"\n set default="1>2"', {}, "1>2"),
        ('set default="${saved_entry}"', {"saved_entry": "x"}, "x"),
        ('set default="${saved_entry}"', {}, "0"),
        ('set default=""', {}, "0"),
        ('set default="${chosen_by_me}"', {}, None),
        ('set default="a${b}"', {}, None),
    ],
)
def test_the_default(config, environment, expected):
    assert default_of(config, environment) == expected


@pytest.mark.parametrize(
    ("image", "release"),
    [
        ("/boot/vmlinuz-6.1.0-28-amd64", V28),
        ("/vmlinuz-6.1.0-28-amd64", V28),
        ("(hd0,gpt2)/ostree/fedora-coreos-abc/vmlinuz-6.11.4-300.fc41.x86_64", "6.11.4-300.fc41.x86_64"),
        ("\\EFI\\kernel-6.6.1", "6.6.1"),
        ("/boot/vmlinuz-6.1.0-28-amd64.dpkg-new", None),
        ("/boot/vmlinuz-6.1.0.old", None),
        (f"/boot/vmlinuz-0-rescue-{MACHINE}", None),
        ("/boot/vmlinuz-linux", None),
        ("/boot/initrd.img-6.1.0-28-amd64", None),
        ("", None),
        ("a\0b", None),
        ("vmlinuz-\0", None),
    ],
)
def test_the_release_in_a_name(image, release, tmp_path):
    assert release_of(tmp_path, image) == release


def test_folders_of_modules_without_an_image_are_no_kernel(make_root):
    root = make_root(
        {"lib/modules/6.1.0-1-amd64/updates/dkms/x.ko": "", f"boot/vmlinuz-{V9}": "", f"boot/config-{V28}": ""}
    )
    assert installed(root) == {V9}


def test_a_header_with_garbage_tells_nothing(make_root, bzimage):
    root = make_root({"boot/vmlinuz-a": bzimage("x y"), "boot/vmlinuz-b": bzimage(""), "boot/vmlinuz-c": b"HdrS" * 200})
    assert [release_of(root / "boot", f"vmlinuz-{name}") for name in "abcd"] == [None] * 4


_LINES = GRUB["boot/grub/grub.cfg"].splitlines()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(seed=st.integers(0, 10_000), text=st.text(max_size=30))
def test_no_file_makes_it_raise(seed, text, make_root):
    chance = random.Random(seed)
    config = "\n".join(line for line in _LINES if chance.random() > 0.1) + text
    files = DEBIAN | IMAGES | RHEL | {"boot/grub2/grub.cfg": config.encode(errors="replace")}
    files["boot/grub2/grubenv"] = chance.choice(["", "saved_entry=", "next_entry=1>2>>", f"next_entry={text}"]).encode(
        errors="replace"
    )
    files |= variable("LoaderInfo", chance.choice(["systemd-boot", "GRUB"])) | variable(
        "LoaderEntryDefault", text.encode(errors="replace").decode()
    )
    root = make_root(files)
    answer = ask(root, chance.choice([V27, EL_OLD, text or "x"]))
    assert isinstance(answer, Need | NotNeeded | NeedUnknown)
    assert isinstance(next_kernel(root), Boots | Untold)
