"""Nodes that look like other systems, as far as locksmith looks: what is staged becomes what runs by a boot, and only so.

Each keeps its versions in /var/lib/e2e: `running`, and `staged` while an update waits. A unit early in the boot makes the one
the other, as the boot loader of an image-based system does. The mocks themselves are programs in the node.
"""

from pathlib import Path

from tests.e2e.node import Node

OLD, NEW = "4081.2.0", "4152.1.0"
_HERE = Path(__file__).parent
_RUNNING, _STAGED = "/var/lib/e2e/running", "/var/lib/e2e/staged"

_BOOT = """
[Unit]
Description=boots what was staged
DefaultDependencies=no
After=local-fs.target
Before=sysinit.target
[Service]
Type=oneshot
ExecStart=sh -c 'if [ -e {staged} ]; then mv {staged} {running}; fi'
ExecStart=sh -c '{more}'
[Install]
WantedBy=sysinit.target
"""

# com.coreos.update1.conf of Flatcar's update_engine: root may own the name and call it.
_POLICY = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <policy user="root"><allow own="com.coreos.update1"/><allow send_destination="com.coreos.update1"/></policy>
</busconfig>
"""
_UPDATE_ENGINE = """
[Service]
Type=dbus
BusName=com.coreos.update1
ExecStart=/usr/sbin/update_engine
[Install]
WantedBy=multi-user.target
"""


def make_flatcar(node: Node) -> None:
    """Flatcar: update_engine on the system bus; the version that runs is VERSION_ID of os-release."""
    release = 'printf "ID=flatcar\\nVERSION_ID=$(cat ' + _RUNNING + ')\\n" > /etc/os-release'
    _make(node, release)
    write = node.container.write
    write("/etc/os-release", f"ID=flatcar\nVERSION_ID={OLD}\n")
    write("/usr/sbin/update_engine", (_HERE / "update_engine.py").read_text(), 0o755)
    write("/usr/bin/update_engine_client", "#!/bin/false\n", 0o755)
    write("/usr/share/dbus-1/system.d/com.coreos.update1.conf", _POLICY)
    node.unit("update-engine.service", _UPDATE_ENGINE)


def stage_flatcar(node: Node) -> None:
    """update_engine downloads an update, and says so by its signal."""
    manager = ("com.coreos.update1", "/com/coreos/update1", "com.coreos.update1.Manager")
    node.container.run("busctl", "call", *manager, "AttemptUpdate")


def make_ostree(node: Node) -> None:
    """An ostree system with rpm-ostree."""
    _make(node, "mkdir -p /run/ostree && touch /run/ostree-booted")
    node.container.write("/usr/bin/rpm-ostree", (_HERE / "rpm_ostree.py").read_text(), 0o755)


def stage_ostree(node: Node) -> None:
    """`rpm-ostree upgrade`, which tells nobody."""
    node.container.write(_STAGED, NEW)


def _make(node: Node, more: str) -> None:
    node.container.write(_RUNNING, OLD)
    node.unit("e2e-boot.service", _BOOT.format(staged=_STAGED, running=_RUNNING, more=more.replace("%", "%%")))
