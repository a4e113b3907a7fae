"""Which kernel boots next, as far as files tell: GRUB's menu, GRUB with boot loader entries (Fedora, RHEL), systemd-boot.

The ideas a reader would miss. "The highest number" is a guess that a held default, a one-time entry or a failed update makes
wrong, so what the boot loader reads is read here: its default, which the environment block may override for one boot
(`next_entry`) or for good (`saved_entry`). And where anything is in doubt (a file that only root may read, a name that
matches nothing, boot counting under way, another loader) the answer is Untold, never the next best guess.

Sources: GRUB's manual ("Simple configuration", "The GRUB environment block"), Fedora's blscfg (entries in rpm's order of
their file names, newest first), the UAPI Boot Loader Specification and systemd-boot(7), loader.conf(5) and the Boot Loader
Interface (LoaderInfo, LoaderEntryOneShot, LoaderEntryDefault).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cmp_to_key
from pathlib import Path

from locksmith.updates.grub_menu import chosen, default_of
from locksmith.updates.kernel_images import release_of
from locksmith.updates.kernel_versions import compare_rpm

_EFI_VARIABLES = Path("sys/firmware/efi/efivars")
_LOADER = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
_GRUB = ("boot/grub2", "boot/grub")
_BOOT = ("boot", "efi", "boot/efi")
_COUNTER = re.compile(r"\+([0-9]+)(?:-[0-9]+)?$")
_BIGGEST = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Boots:
    """This release is what the boot loader takes."""

    release: str


@dataclass(frozen=True, slots=True)
class Untold:
    """Files do not say it, and why."""

    reason: str


Next = Boots | Untold


@dataclass(frozen=True, slots=True)
class _Entry:
    """A boot loader entry of type 1. `name` is its file's without the ending and without a boot counter."""

    name: str
    fields: dict[str, str]
    bad: bool
    boot: Path

    def boots(self) -> Next:
        version = self.fields.get("version", "")
        named = release_of(self.boot, self.fields.get("linux", ""))
        release = named or (version if version[:1].isdigit() else None)
        return (
            Boots(release)
            if release
            else Untold(f"the boot loader entry {self.name} does not tell its kernel's release")
        )


def next_kernel(root: Path) -> Next:
    """What boots next on the machine with this root. Raises nothing."""
    try:
        if _variable(root, "LoaderInfo").startswith("systemd-boot"):
            return _systemd_boot(root)
        return _grub(root)
    except OSError as error:
        return Untold(f"cannot read {error.filename}: {error.strerror}")


# ------------------------------------------------------------------------------------------------ grub


def _grub(root: Path) -> Next:
    folder = next((root / name for name in _GRUB if (root / name).is_dir()), None)
    entries = _entries(root / "boot")
    if folder is None:
        return Untold("neither GRUB nor systemd-boot has left a configuration that can be read")
    config, environment = _text(folder / "grub.cfg"), _environment(_text(folder / "grubenv"))
    if not config and not entries:
        return Untold(f"there is no {folder / 'grub.cfg'}")
    if environment.get("boot_counter") and environment.get("boot_success") != "1":
        return Untold("GRUB counts boots until one is told to be good (boot_counter)")
    wanted = environment.get("next_entry") if not config or "next_entry" in config else None
    wanted = wanted or default_of(config, environment)
    if wanted is None:
        return Untold(f"the default in {folder / 'grub.cfg'} is none that can be followed")
    if entries and (not config or "blscfg" in config):
        return _among(sorted(entries, key=cmp_to_key(_newest_first)), wanted).boots()
    image = chosen(config, wanted)
    release = release_of(root / "boot", image) if image else None
    return (
        Boots(release)
        if release
        else Untold(f"the menu in {folder / 'grub.cfg'} does not tell the kernel of entry {wanted!r}")
    )


def _among(entries: list[_Entry], wanted: str) -> _Entry:
    """By name, title or number; GRUB takes the first one for what it cannot find."""
    for number, entry in enumerate(entries):
        if wanted in (entry.name, entry.fields.get("title"), str(number)):
            return entry
    return entries[0]


def _newest_first(one: _Entry, other: _Entry) -> int:
    return -compare_rpm(one.name, other.name)


def _environment(text: str) -> dict[str, str]:
    lines = (line.partition("=") for line in text.splitlines() if not line.startswith("#"))
    return {name: value for name, equals, value in lines if equals}


# ------------------------------------------------------------------------------------------------ systemd-boot


def _systemd_boot(root: Path) -> Next:
    folders = [root / name for name in _BOOT]
    if any((folder / "EFI/Linux").is_dir() and any((folder / "EFI/Linux").iterdir()) for folder in folders):
        return Untold("systemd-boot finds unified kernel images here, which are not looked into")
    entries = sorted((entry for folder in folders for entry in _entries(folder)), key=cmp_to_key(_systemd_order))
    if not entries:
        return Untold("systemd-boot has no entries in /boot, /efi or /boot/efi that can be read")
    settings = _fields(next(filter(None, (_text(folder / "loader/loader.conf") for folder in folders)), ""))
    for wanted in (
        _variable(root, "LoaderEntryOneShot"),
        _variable(root, "LoaderEntryDefault"),
        settings.get("default", ""),
    ):
        if wanted.startswith("@"):
            return Untold(f"systemd-boot's default is {wanted}, which files do not tell")
        if wanted and (found := _matching(entries, wanted)):
            return found.boots()
    return entries[0].boots()


def _matching(entries: Iterable[_Entry], pattern: str) -> _Entry | None:
    names = {pattern, pattern.removesuffix(".conf")}
    return next((entry for entry in entries if any(fnmatchcase(entry.name, name) for name in names)), None)


def _systemd_order(one: _Entry, other: _Entry) -> int:
    """Bad ones last; those with a sort-key first, by it, then the machine, the newest version first; then by file name."""
    left, right = ((entry.bad, "sort-key" not in entry.fields) for entry in (one, other))
    if left != right:
        return -1 if left < right else 1
    for key in ("sort-key", "machine-id"):
        mine, others = one.fields.get(key, ""), other.fields.get(key, "")
        if mine != others and "sort-key" in one.fields:
            return -1 if mine < others else 1
    if "sort-key" in one.fields and (
        order := compare_rpm(one.fields.get("version", ""), other.fields.get("version", ""))
    ):
        return -order
    return -compare_rpm(one.name, other.name)


def _variable(root: Path, name: str) -> str:
    """An EFI variable of the Boot Loader Interface: four bytes of attributes, then UTF-16; empty when there is none."""
    try:
        data = (root / _EFI_VARIABLES / f"{name}-{_LOADER}").read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    return data[4:].decode("utf-16-le", errors="replace").rstrip("\0")


# ------------------------------------------------------------------------------------------------ files


def _entries(boot: Path) -> list[_Entry]:
    folder = boot / "loader/entries"
    if not folder.is_dir():
        return []
    found = []
    for path in sorted(folder.glob("*.conf")):
        counter = _COUNTER.search(path.stem)
        name = path.stem[: counter.start()] if counter else path.stem
        if "-rescue" not in name:
            found.append(_Entry(name, _fields(_text(path)), counter is not None and int(counter[1]) == 0, boot))
    return found


def _fields(text: str) -> dict[str, str]:
    lines = (line.strip().split(None, 1) for line in text.splitlines() if not line.lstrip().startswith("#"))
    return {words[0]: words[1] for words in lines if len(words) == 2}  # noqa: PLR2004 - a key and its value


def _text(path: Path) -> str:
    """The file; empty when there is none. Raises OSError when it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(_BIGGEST).decode(errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return ""
