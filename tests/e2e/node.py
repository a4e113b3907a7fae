"""A container with locksmith in it: what a test writes into it, what it reads from it, and whether it is in service.

A node is *in service* while its application (a plain unit of ours, stopped by a shutdown and started by a boot like any other)
has processes, and since that boot the agent's unit is READY, which an oneshot unit ordered after it notes in /run. Both
are seen by the host from outside: by cgroup and by file.
"""

import contextlib
import json
import secrets
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.e2e.container import Container

APP = "e2e-app.service"
READY = "/run/e2e-ready"
CONFIG = "/etc/locksmith/locksmith.toml"

_UNITS = {
    APP: """
[Unit]
Description=what this node is there for
[Service]
ExecStart=sleep infinity
[Install]
WantedBy=multi-user.target
""",
    "e2e-ready.service": f"""
[Unit]
Description=notes that the agent was READY
After=locksmithd.service
[Service]
Type=oneshot
ExecStart=touch {READY}
[Install]
WantedBy=locksmithd.service
""",
}
_JOURNAL = "[Journal]\nStorage=persistent\nSystemMaxUse=64M\nRateLimitBurst=0\n"
_SHOWN = 120
"""Lines of the journal in a report."""
_MASKED = ("console-getty.service", "getty@.service", "container-getty@.service", "systemd-networkd.service")
_MASKED_TIMERS = (
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "fstrim.timer",
)


class Node:
    """One node. The machine is `container`."""

    def __init__(self, name: str, folder: Path, config: str, on_exit: Callable[[str], None] = lambda _: None) -> None:
        """Make it, with the agent enabled and this configuration; it is off."""
        self.name = name
        self.container = Container(name, folder, on_exit)
        write, link = self.container.write, self.container.link
        write("/etc/machine-id", f"{secrets.token_hex(16)}\n")
        write("/etc/hostname", f"{name}\n")
        write(CONFIG, config)
        write("/etc/systemd/journald.conf.d/e2e.conf", _JOURNAL)
        for unit, text in _UNITS.items():
            self.unit(unit, text)
        self.enable("locksmithd.service", "multi-user.target")
        for unit in (*_MASKED, *_MASKED_TIMERS):
            link(f"/etc/systemd/system/{unit}", "/dev/null")

    # ---------------------------------------------------------------- while it is off

    def unit(self, name: str, text: str) -> None:
        """A unit of the operator's, enabled as it says."""
        self.container.write(f"/etc/systemd/system/{name}", text.lstrip())
        for line in text.splitlines():
            for key, folder in (("WantedBy=", "wants"), ("RequiredBy=", "requires")):
                if line.startswith(key):
                    self.enable(name, line.removeprefix(key), folder)

    def enable(self, unit: str, target: str, folder: str = "wants") -> None:
        """What `systemctl enable` and `systemctl add-wants` do."""
        own = (self.container.upper / "etc/systemd/system" / unit).exists()
        place = "/etc/systemd/system" if own else "/usr/lib/systemd/system"
        self.container.link(f"/etc/systemd/system/{target}.{folder}/{unit}", f"{place}/{unit}")

    def drop_in(self, unit: str, text: str) -> None:
        """What `systemctl edit` writes."""
        self.container.write(f"/etc/systemd/system/{unit}.d/{secrets.token_hex(3)}.conf", text.lstrip())

    def hook(self, stage: str, name: str, script: str) -> None:
        """A hook, as a shell script."""
        self.container.write(f"/etc/locksmith/hooks/{stage}.d/{name}", f"#!/bin/sh\n{script}\n", 0o755)

    # ---------------------------------------------------------------- while it runs

    def stage_update(self) -> None:
        """What Debian's package scripts do."""
        self.container.write("/run/reboot-required", "*** System restart required ***\n")
        self.container.write("/run/reboot-required.pkgs", "linux-image-6.1.0-27-amd64\n")
        self.poke()

    def ctl(self, *words: str) -> str:
        """lockctl on this node."""
        return self.container.run("lockctl", "--timeout", "60s", *words).stdout

    def poke(self) -> None:
        """What `lockctl` does on this machine: tell the agent to look now."""
        root = self.container.root()
        if root is not None:
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
                channel.sendto(b"poke", str(root / "run/locksmith/poke.sock"))

    # ---------------------------------------------------------------- what can be seen

    @property
    def boots(self) -> int:
        """How often it was started."""
        return self.container.boots

    def in_service(self) -> bool:
        """See the module."""
        root = self.container.root()
        return root is not None and (root / READY.lstrip("/")).exists() and bool(self.container.processes(APP))

    def app_runs(self) -> bool:
        """Whether the application has a process."""
        return bool(self.container.processes(APP))

    def boot_id(self) -> str:
        """What the kernel tells the processes in there."""
        return self.container.read("/proc/sys/kernel/random/boot_id").strip()

    def status(self) -> dict[str, Any]:
        """The agent's status file of this boot; empty before there is one."""
        text = self.container.read("/run/locksmith/status.json")
        return dict(json.loads(text)) if text else {}

    def state(self) -> str:
        """The agent's state; empty before it has one."""
        return str(self.status().get("state", ""))

    def why(self) -> str:
        """All reasons of the status file in one text."""
        status = self.status()
        return "\n".join(
            [str(status.get("summary", "")), *(str(step.get("reason")) for step in status.get("steps", []))]
        )

    def journal(self) -> dict[str, Any]:
        """The agent's journal; empty without one."""
        text = self.container.read("/var/lib/locksmith/journal.json")
        return dict(json.loads(text)) if text else {}

    def id(self) -> str:
        """Its name in the store."""
        return str(self.status()["node"])

    def report(self) -> str:
        """For a failure."""
        told = {key: value for key, value in self.status().items() if key != "steps"}
        return (
            f"======== {self.name}: {'on' if self.container.powered else 'off'}, boots {self.boots}, "
            f"exits {self.container.exits}, in service: {self.in_service()}\n"
            f"  status: {json.dumps(told)}\n{self.container.tail()}\n{self.log()}"
        )

    def log(self, lines: int = _SHOWN) -> str:
        """The end of the journal, with that of earlier boots; empty while it is off."""
        if not self.container.init():
            return ""
        return self.container.run(
            "journalctl", "-o", "short-precise", "--no-hostname", "-n", str(lines), check=False
        ).stdout
