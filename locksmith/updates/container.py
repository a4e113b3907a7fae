"""Whether this is a container: then the kernel is the host's, and no reboot of ours would change it.

The idea a reader would miss: only files are looked at, those that the container's manager or systemd inside it leaves behind
(systemd's "Container Interface", /run/systemd/container and /run/host/container-manager; Docker's /.dockerenv; Podman's
/run/.containerenv). `systemd-detect-virt` looks at the same and costs a process.
"""

from pathlib import Path

_MARKS = ("run/systemd/container", "run/host/container-manager", ".dockerenv", "run/.containerenv")


def in_container(root: Path) -> bool:
    """Whether a container manager has left its mark under this root."""
    return any((root / mark).exists() for mark in _MARKS)
