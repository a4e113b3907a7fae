"""The kernels that are installed, and which release a kernel image holds.

The ideas a reader would miss. A kernel is installed where there is an *image*: folders of modules outlive a removed package
(dkms leaves files behind). And a file's name need not tell its release (`/boot/vmlinuz-linux` of Arch): an x86 image tells it
itself, its header points at the version text (Documentation/arch/x86/boot.rst, `kernel_version` at 0x20e).
"""

import re
from pathlib import Path, PurePosixPath

_NAMED = re.compile(r"(?:vmlinuz|vmlinux|kernel|Image|linux)-([0-9]\S*)")
_GARBAGE = re.compile(r"\.(dpkg-.*|rpmsave|rpmnew|old|bak|sig|hmac|sha256|txt)$|^README|-rescue-|~$")
"""What GRUB's own scripts pass over as well (grub_file_is_not_garbage), and rescue images."""
_MODULES = ("usr/lib/modules", "lib/modules")
_HEADER, _MAGIC_AT, _VERSION_AT = 0x214, 0x202, 0x20E
_TEXT = 128


def installed(root: Path) -> frozenset[str]:
    """The releases with an image in /boot or beside their modules. Raises OSError when a folder cannot be listed."""
    boot = root / "boot"
    images = list(boot.iterdir()) if boot.is_dir() else []
    found = {release for image in images if (release := release_of(boot, image.name)) is not None}
    for folder in (root / name for name in _MODULES):
        modules = list(folder.iterdir()) if folder.is_dir() else []
        found |= {entry.name for entry in modules if (entry / "vmlinuz").exists()}
    return frozenset(found)


def has_modules(root: Path, release: str) -> bool:
    """Whether the modules of this release can still be loaded."""
    return any((root / name / release / "modules.dep").exists() for name in _MODULES)


def release_of(boot: Path, image: str) -> str | None:
    """The release in an image of the folder `boot` (only the last part of the path counts); None when nothing tells it."""
    name = PurePosixPath(image.replace("\\", "/")).name
    if not name or _GARBAGE.search(name):
        return None
    if match := _NAMED.fullmatch(name):
        return match[1]
    return header_release(boot / name) if name.startswith(("vmlinuz", "linux", "bzImage", "kernel")) else None


def header_release(image: Path) -> str | None:
    """What an x86 image says of itself; None for anything else, and for what cannot be read."""
    try:
        with image.open("rb") as file:
            header = file.read(_HEADER)
            if header[_MAGIC_AT : _MAGIC_AT + 4] != b"HdrS":
                return None
            file.seek(0x200 + int.from_bytes(header[_VERSION_AT : _VERSION_AT + 2], "little"))
            text = file.read(_TEXT)
    except (OSError, ValueError):
        return None
    words = text.partition(b"\0")[0].decode("ascii", errors="replace").split()
    return words[0] if words and words[0][:1].isdigit() else None
