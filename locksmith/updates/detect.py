"""Which update systems this machine has, when none is configured: one configuration for a mixed fleet.

The ideas a reader would miss. Only files are looked at, no program runs. Of systems that update the whole image there is one
on a machine, and what else is installed there (dnf inside of an ostree, Debian's files in Ubuntu Core) does not update it. On
Debian the flag file alone would be a quiet "nothing to do" for ever where nobody writes it: it is written by
unattended-upgrades, update-notifier-common or snapd, so needrestart, or else a look at the kernels, is added. And in a
container nobody may look at kernels: they are the host's.

rpm-ostree goes before bootc: on one ostree they see the same deployments, and those with layered packages bootc calls
incompatible while rpm-ostree still reads them (bootc-status(8), "Detecting rpm-ostree vs bootc").
"""

from collections.abc import Iterator
from pathlib import Path

from locksmith.host.identity import os_release
from locksmith.updates.container import in_container
from locksmith.updates.kernel_images import installed

_BIN = ("usr/bin", "usr/sbin", "bin", "sbin", "usr/local/bin", "usr/local/sbin")
_UPDATE_ENGINE = (
    "usr/bin/update_engine_client",
    "usr/share/dbus-1/system-services/com.coreos.update1.service",
)
_FLAG_WRITERS = (
    "etc/kernel/postinst.d/unattended-upgrades",
    "etc/kernel/postinst.d/update-notifier",
    "usr/share/update-notifier/notify-reboot-required",
)
_SYSUPDATE = ("usr/lib/systemd/systemd-sysupdate", "lib/systemd/systemd-sysupdate", "usr/bin/systemd-sysupdate")
_TRANSFERS = ("etc", "run", "usr/local/lib", "usr/lib")
"""Where systemd-sysupdate looks for sysupdate.d/*.transfer, before version 257 *.conf (sysupdate.d(5))."""
_PLUGINS = (
    "usr/lib/python*/site-packages/dnf-plugins/needs_restarting.py",
    "usr/lib*/dnf5/plugins/needs_restarting_cmd_plugin.so",
)


def detect(root: Path = Path("/")) -> tuple[str, ...]:
    """The words for providers that this machine has, the one that knows most first; empty when nothing is found.

    Raises nothing: what cannot be looked at is not there.
    """
    whole = _whole_image(root)
    return (whole,) if whole is not None else tuple(dict.fromkeys(_packages(root)))


def _whole_image(root: Path) -> str | None:
    """The one system that replaces the whole system, if this machine is of that kind."""
    ostree = _is_there(root, "run/ostree-booted")
    if any(_is_there(root, mark) for mark in _UPDATE_ENGINE):
        return "update-engine"
    if ostree and _has_program(root, "rpm-ostree"):
        return "rpm-ostree"
    if ostree and _has_program(root, "bootc"):
        return "bootc"
    if _has_program(root, "transactional-update"):
        return "transactional-update"
    if os_release(root / "etc/os-release", root / "usr/lib/os-release").get("ID") == "ubuntu-core":
        return "snapd"
    if _is_there(root, "k3os/system"):
        return "k3os"
    return None


def _packages(root: Path) -> Iterator[str]:
    """A machine of packages: what it has, and the kernels where nothing else would notice them."""
    contained, found = in_container(root), False
    if _is_there(root, "etc/debian_version") or _is_there(root, "run/reboot-required"):
        yield "reboot-required"
        found = any(_is_there(root, writer) for writer in _FLAG_WRITERS)
        if not contained and _has_program(root, "needrestart"):
            yield "needrestart"
            found = True
    elif _is_there(root, "run/ostree-booted"):
        found = False  # an ostree without a tool of its own: what dnf says of it is not how it is updated
    elif any(_has_program(root, program) for program in ("dnf", "dnf5", "needs-restarting", "zypper")):
        found = _can_tell(root)
        if found or not contained:
            yield "needs-restarting"  # without its plugin it is unknown, and names the package to install
    if _has_transfers(root):
        yield "sysupdate"
        found = True
    if not (found or contained) and _has_kernels(root):
        yield "kernel"


def _can_tell(root: Path) -> bool:
    """Whether the command is there and not only dnf, whose plugin it is."""
    programs = any(_has_program(root, program) for program in ("needs-restarting", "zypper"))
    return programs or any(True for pattern in _PLUGINS for _ in root.glob(pattern))


def _has_transfers(root: Path) -> bool:
    if not any(_is_there(root, program) for program in _SYSUPDATE):
        return False
    folders = (root / name / "sysupdate.d" for name in _TRANSFERS)
    return any(True for folder in folders for ending in ("transfer", "conf") for _ in folder.glob(f"*.{ending}"))


def _has_kernels(root: Path) -> bool:
    try:
        return bool(installed(root))
    except OSError:
        return False


def _has_program(root: Path, name: str) -> bool:
    return any(_is_there(root, f"{folder}/{name}") for folder in _BIN)


def _is_there(root: Path, name: str) -> bool:
    """Whether a file of any kind has this name; links of another root lead astray and count by their name."""
    path = root / name
    try:
        return path.exists() or path.is_symlink()
    except OSError:
        return False
