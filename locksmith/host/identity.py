"""Who this machine is, and which of its boots this is.

The ideas a reader would miss. The machine id is confidential (machine-id(5)), so what others see is derived from it. And
a boot is named by the kernel's boot id *and* systemd's count of soft reboots, because a soft reboot keeps the kernel: if
that count cannot be had, no name is given out at all. A count that is 0 in one answer and 1 in the next would look like a
reboot that never was.
"""

import hashlib
import hmac
import os
import re
import shlex
import socket
from pathlib import Path

from locksmith.errors import ConfigError, Damaged
from locksmith.host.system import System

APPLICATION_ID = bytes.fromhex("a17fe49c56644da0bcfb586dee216f43")
"""Made once with `systemd-id128 new`. Changing it gives every node a new name."""
KERNEL_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
MACHINE_ID = Path("/etc/machine-id")
PRODUCT_UUID = Path("/sys/class/dmi/id/product_uuid")
OS_RELEASE = (Path("/etc/os-release"), Path("/usr/lib/os-release"))

_HEX_32 = re.compile(r"[0-9a-f]{32}")
_BOOT_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
_EMPTY_UUIDS = frozenset({"0" * 32, "f" * 32})


def node_id(machine_id: str) -> str:
    """The id of a node, 32 hexadecimal digits, as sd_id128_get_machine_app_specific(3) derives it.

    Raises ConfigError when `machine_id` is not 32 hexadecimal digits.
    """
    text = machine_id.strip().lower()
    if not _HEX_32.fullmatch(text):
        raise ConfigError(f"a machine id is 32 hexadecimal digits, not {machine_id.strip()[:40]!r}")
    derived = bytearray(hmac.new(bytes.fromhex(text), APPLICATION_ID, hashlib.sha256).digest()[:16])
    derived[6] = derived[6] & 0x0F | 0x40  # version and variant of a random UUID, as systemd sets them
    derived[8] = derived[8] & 0x3F | 0x80
    return derived.hex()


def machine_id(path: Path = MACHINE_ID) -> str:
    """What the file says. Raises ConfigError when it is missing, uninitialized or malformed."""
    try:
        text = path.read_text(errors="replace").strip()
    except FileNotFoundError:
        raise ConfigError(f"{path} is missing: run `systemd-machine-id-setup`, or set node.id") from None
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}; or set node.id") from None
    if text in ("", "uninitialized"):
        raise ConfigError(
            f"{path} is not initialized yet: start after first-boot-complete.target, run `systemd-machine-id-setup`, "
            "or set node.id"
        )
    if not _HEX_32.fullmatch(text.lower()):
        raise ConfigError(f"{path} holds no machine id (32 hexadecimal digits): run `systemd-machine-id-setup`")
    return text.lower()


def boot(boot_id_file: Path = KERNEL_BOOT_ID, system: System | None = None) -> str:
    """The name of this boot, `<boot id>/<soft reboots>`. Soft reboots are asked for only with the kernel's own file.

    Raises ConfigError when the file is missing or malformed, Damaged when systemd does not give the count (ask again).
    """
    try:
        text = boot_id_file.read_text(errors="replace").strip()
    except OSError as error:
        raise ConfigError(f"cannot read {boot_id_file}: {error.strerror}; see node.boot_id_file") from None
    if not _BOOT_ID.fullmatch(text):
        raise ConfigError(f"{boot_id_file} holds no boot id (letters, digits and `-`); see node.boot_id_file")
    if boot_id_file != KERNEL_BOOT_ID:
        return f"{text}/0"
    count = (system or System()).soft_reboots()
    if count is None:
        raise Damaged("systemctl does not say how often this boot was soft-rebooted (SoftRebootsCount): is the bus up?")
    return f"{text}/{count}"


def fingerprint(product_uuid_file: Path = PRODUCT_UUID) -> str:
    """16 hexadecimal digits for the hardware, to tell machines with a copied machine id apart.

    Empty when nothing can be told: the file is for root only, missing without firmware tables, or holds a blank value.
    """
    try:
        text = product_uuid_file.read_text(errors="replace").strip().lower().replace("-", "")
    except OSError:
        return ""
    if not text or text in _EMPTY_UUIDS:
        return ""
    return hmac.new(APPLICATION_ID, text.encode(), hashlib.sha256).hexdigest()[:16]


def host_name() -> str:
    """The kernel's host name, for people; never an identity."""
    return socket.gethostname()


def running_kernel() -> str:
    """The release of the running kernel, as `uname -r`."""
    return os.uname().release


def os_release(*paths: Path) -> dict[str, str]:
    """The variables of the first os-release(5) file that can be read; empty when there is none."""
    for path in paths or OS_RELEASE:
        try:
            text = path.read_text(errors="replace")
        except OSError:
            continue
        return dict(filter(None, (_assignment(line) for line in text.splitlines())))
    return {}


def os_version(release: dict[str, str]) -> str:
    """`debian 12`: the id and the most exact version that the file names; empty when it names none."""
    version = release.get("IMAGE_VERSION") or release.get("VERSION_ID") or release.get("BUILD_ID") or ""
    return " ".join(filter(None, (release.get("ID", ""), version)))


def _assignment(line: str) -> tuple[str, str] | None:
    name, equals, value = line.strip().partition("=")
    if not equals or name.startswith("#"):
        return None
    try:
        return name, "".join(shlex.split(value))
    except ValueError:
        return None
