"""The screens of docs/screens, taken from a small real fleet: `python -m tests.tools.screens FOLDER [--store sqlite|etcd]`.

Fourteen agents, each a process that believes in a host name of its own (a UTS namespace: needs root), on a three-member etcd
or, without one, on SQLite. What lockctl draws is read from a real terminal of 80 and of 200 columns, with and without
colours, and from a pipe; the terminal's text becomes an SVG, the rest text files. Nothing is edited: that a path is short
comes from a mount of the host's folder.
"""

import argparse
import fcntl
import hashlib
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.terminal_theme import DIMMED_MONOKAI
from rich.text import Text

from tests.integration.fleet.fleet import Fleet, Hardware
from tests.integration.fleet.host import BIN, Ways
from tests.integration.fleet.stores import EtcdRaw, Raw, phases, sqlite_file
from tests.servers.etcd import EtcdCluster
from tests.servers.process import without_prefix

NAMES = (
    "web1",
    "web2",
    "web3",
    "web4",
    "web5",
    "web6",
    "web7",
    "db1",
    "db2",
    "edge1",
    "batch1",
    "batch2",
    "old1",
    "api1",
)
SCREENS = {
    "status": ("status",),
    "nodes": ("nodes",),
    "why": ("why", "web5"),
    "plan": ("plan",),
    "history": ("history", "--last", "16"),
    "doctor": ("doctor",),
}
WIDTHS = (80, 200)
ROWS = 60
HOOK = "10-drain"
PRE = f"pre-reboot.{HOOK}"
WAYS = Ways(heartbeat="10s", dwell="1s", deadline="3s", pre=(HOOK,), gate=True, health=True)
HARDWARE = Hardware(boot_seconds=60)
"""Longer than the screens take after two have got their slots, so that the plan need not say that they are late."""
FOLDER = "/mnt"
"""Where each host sees its own folder."""
REASONS = {
    "batch2": ("gates.backup", "the backup of 21:00 is still running"),
    "db1": ("health.app", "HTTP 503 of http://127.0.0.1:8080/healthz"),
}
"""What keeps these from rebooting, or from being well."""
BERLIN = ZoneInfo("Europe/Berlin")
SVG = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {terminal_width} {terminal_height}">
<style>
.{unique_id}-matrix {{
  font-family: "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: {char_height}px; line-height: {line_height}px;
}}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal"><rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/></clipPath>
{lines}
</defs>
<rect width="100%" height="100%" rx="6" fill="#191919"/>
<g transform="translate(9, 9)" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""
"""Rich's picture without its window, its title, and the font that it would fetch from somewhere."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What one command wrote to where, and how it ended."""

    text: str
    code: int


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--store", choices=("sqlite", "etcd"), default="etcd")
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("each agent gets a host name of its own, which needs root: sudo make screens")
    options.folder.mkdir(parents=True, exist_ok=True)
    with _store(options.store) as raw, Fleet(raw, len(NAMES), ways=WAYS, hardware=HARDWARE) as fleet:
        site = Site(fleet)
        site.set_up()
        for name, words in SCREENS.items():
            site.take(name, words, options.folder)
    return 0


@contextmanager
def _store(kind: str) -> Iterator[Raw]:
    if kind == "sqlite":
        with sqlite_file() as raw:
            yield raw
        return
    with EtcdCluster("3.5", members=3) as cluster:
        yield EtcdRaw(cluster)


def on(name: str, folder: Path, command: Sequence[str | Path]) -> list[str]:
    """The command on a host that is called so and has this folder."""
    words = f'hostname "$0" && mount --bind "$1" {FOLDER} && shift && exec "$@"'
    return ["/usr/bin/unshare", "--uts", "--mount", "sh", "-c", words, name, *map(str, (folder, *command))]


class Site:
    """The fleet, in which everything is going on at once."""

    def __init__(self, fleet: Fleet) -> None:
        """Give the hosts their names, ids and groups."""
        self.fleet = fleet
        self.hosts = dict(zip(NAMES, fleet.hosts, strict=True))
        opens = datetime.now(BERLIN) + timedelta(hours=5)
        for name, host in self.hosts.items():
            text = host.config.read_text().replace(f'id = "{host.name}"', f'id = "{node_id(name)}"')
            text = text.replace('group = "fleet"', f'group = "{name.rstrip("0123456789")}"')
            if name == "batch1":
                text += f'[windows.night]\nstart = "{opens:%H:00}"\nlength = "4h"\ntimezone = "Europe/Berlin"\n'
            text = text.replace("[gates.gate]", "[gates.backup]").replace(str(host.hooks), f"{FOLDER}/hooks")
            host.process.command = on(name, host.folder, host.process.command)
            if name in REASONS:
                table, reason = REASONS[name]
                command = json.dumps(["sh", "-c", f"echo {reason}; exit 1"])
                text = re.sub(
                    rf"(?<=\[{re.escape(table)}\]\n)((?:.+\n)*?)command = .+", rf"\1command = {command}", text
                )
            host.config.write_text(text)

    def set_up(self) -> None:
        """Two have rebooted, one reboots, one drains, three wait; a group is halted and one paused; others wait for else."""
        hosts, fleet = self.hosts, self.fleet
        for group, slots in (("web", 2), ("db", 1), ("edge", 1), ("batch", 2), ("old", 1), ("api", 1)):
            self.ctl("set-max", str(slots), "--group", group)
        for name in ("web1", "web2", "db1"):
            self.stage(name)
        fleet.start([hosts[name] for name in ("web1", "web2", "db1", "old1", "api1")], gap=1)
        self.wait(lambda: all(hosts[name].boots for name in ("web1", "web2", "db1")), "three have rebooted")
        self.wait(lambda: all(hosts[name].is_in("steady") for name in ("web1", "web2")), "two are back")
        self.wait(lambda: self.phase("db1") == "failed", "one is sick")
        self.wait(lambda: "old1" in self.ctl("nodes"), "the one that will be silent has told of itself")
        hosts["old1"].kill()
        self.ctl("pause", "--group", "edge", "--reason", "INC-4711: packet loss at the edge")
        hosts["web3"].reboot_mode("noop")
        hosts["web4"].hold(PRE)
        others, waiters = ("db2", "edge1", "batch1", "batch2"), ("web5", "web6", "web7")
        self.start(others)
        self.wait(lambda: all(hosts[name].is_in("queued") for name in ("db2", "edge1")), "these wait for an operator")
        self.wait(lambda: all(hosts[name].is_in("blocked") for name in ("batch1", "batch2")), "these are blocked")
        self.wait(lambda: self.silent("old1"), "one has been silent for long enough")
        self.start(("web3", "web4"))
        self.wait(lambda: (self.phase("web3"), self.phase("web4")) == ("armed", "draining"), "two hold the slots")
        self.start(waiters)
        self.wait(lambda: all(hosts[name].is_in("queued") for name in waiters), "three wait behind them")

    def start(self, names: Sequence[str]) -> None:
        """Agents that find an update, one after the other."""
        for name in names:
            self.stage(name)
            self.fleet.start([self.hosts[name]], gap=1)

    def stage(self, name: str) -> None:
        """An update that names its package, as on Debian."""
        required = self.hosts[name].required
        required.with_name("reboot-required.pkgs").write_text("linux-image-6.1.0-27-amd64\n")
        self.hosts[name].stage_update()

    def wait(self, done: object, what: str) -> None:
        """As the fleet waits."""
        self.fleet.wait(done, what, 90)

    def phase(self, name: str) -> str | None:
        """Of the slot that this host holds."""
        return phases(self.fleet.raw.snapshot()).get(node_id(name))

    def silent(self, name: str) -> bool:
        """Whether nothing is heard of this one any more."""
        nodes = json.loads(self.ctl("nodes", "--json"))["nodes"]
        return any(node["silent"] for node in nodes if node["host"] == name)

    def ctl(self, *words: str) -> str:
        """What alice does on her machine."""
        command = on("ops1", self.fleet.ledger.parent, [BIN / "lockctl", "--store", self.fleet.raw.url, *words])
        environment = without_prefix("LOCKSMITH") | {"LOGNAME": "alice", "USER": "alice", "SUDO_USER": "alice"}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True).stdout

    def take(self, name: str, words: Sequence[str], folder: Path) -> None:
        """One screen, in every manner."""
        lockctl = [BIN / "lockctl", "--config", f"{FOLDER}/locksmith.toml", *words]
        command = on("web5", self.hosts["web5"].folder, lockctl)
        for width in WIDTHS:
            self.draw(folder / f"{name}-{width}.svg", terminal(command, width), width, words)
        plain = terminal(command, 80, NO_COLOR="1")
        assert "\x1b" not in plain.text, f"{name} writes escape codes though NO_COLOR is set"
        (folder / f"{name}-80-no-colour.txt").write_text(plain.text)
        (folder / f"{name}-piped.txt").write_text(piped(command).text)

    def draw(self, file: Path, taken: Taken, width: int, words: Sequence[str]) -> None:
        """The picture of a terminal after the command."""
        shown = Text(f"web5$ lockctl {' '.join(words)}\n", style="bold")
        shown.append_text(Text.from_ansi(taken.text.rstrip("\n")))
        with Path(os.devnull).open("w") as nowhere:
            console = Console(record=True, width=width, file=nowhere, force_terminal=True, color_system="truecolor")
            console.print(shown, soft_wrap=True)
        svg = console.export_svg(title="", theme=DIMMED_MONOKAI, code_format=SVG, unique_id=file.stem)
        file.write_text(re.sub(r'(?<=viewBox="0 0 )([\d.]+) ([\d.]+)', _framed, svg) + "\n")


def _framed(size: re.Match[str]) -> str:
    """As large as the terminal, and the frame that the picture is moved by."""
    return " ".join(f"{float(number) + 2 * 9:g}" for number in size.groups())


def node_id(name: str) -> str:
    """As long as those of machines, and the same each time."""
    return hashlib.sha256(name.encode()).hexdigest()[:32]


def terminal(command: Sequence[str], width: int, **more: str) -> Taken:
    """Run it on a terminal of its own."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, width, 0, 0))
    environment = without_prefix("LOCKSMITH") | {"TERM": "xterm-256color", "TZ": "Europe/Berlin", **more}
    for name in {"COLUMNS", "LINES", *({"NO_COLOR"} - more.keys())}:
        environment.pop(name, None)
    process = subprocess.Popen(command, stdin=follower, stdout=follower, stderr=follower, env=environment)
    os.close(follower)
    pieces = []
    while piece := _read(leader):
        pieces.append(piece)
    os.close(leader)
    return Taken(b"".join(pieces).decode().replace("\r\n", "\n"), process.wait(60))


def _read(leader: int) -> bytes:
    try:
        return os.read(leader, 65536)
    except OSError:  # EIO: nobody has the other end open any more
        return b""


def piped(command: Sequence[str]) -> Taken:
    """Run it in a pipe."""
    environment = without_prefix("LOCKSMITH") | {"TERM": "xterm-256color", "TZ": "Europe/Berlin"}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, timeout=60, check=False)
    return Taken(done.stdout, done.returncode)


if __name__ == "__main__":
    sys.exit(main())
