"""One systemd-nspawn container that boots, reboots and loses its power; nothing in here knows what runs in it.

The ideas a reader would miss. Its mounts live in a mount namespace of its own: when the last of its processes is gone, so are
they, whoever killed it. nspawn ends with 133 when the container's init reboots, and then *we* are the hardware that starts it
again, with the same writable layer and an empty /run. nspawn is the init of a process namespace of its own, because a
container outlives an nspawn that is killed: so the kernel ends everything with it, and it with the process that started it.
Each has a cgroup of its own, since init believes that it owns the whole tree; they are also how the host
sees which processes of which service are alive, without asking anybody inside.
"""

import contextlib
import json
import os
import re
import secrets
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tests.e2e import layers
from tests.servers.process import ServerProcess

REBOOT = 133
"""What systemd-nspawn ends with when the container wants to be started again, systemd-nspawn(1)."""
GROUP = "locksmith-e2e"
COMMAND_SECONDS = 120
_POLL = 0.02
_END_SECONDS = 60

# $1 work, $2 layers, $3 name, $4 cgroup, $5 root of cgroups …; then nspawn's own words.
_START = """
set -eu
folder=$1 lower=$2 name=$3 group=$4 nspawn=$5
shift 5
while [ "$1" != -- ]; do mkdir -p "$1/$group"; echo $$ > "$1/$group/cgroup.procs"; shift; done
shift
mount -t overlay overlay -o "lowerdir=$lower,upperdir=$folder/upper,workdir=$folder/work" "$folder/root"
mount -t tmpfs tmpfs /run
exec "$nspawn" --directory="$folder/root" --machine="$name" --boot --register=no --keep-unit --console=pipe --quiet \
    --link-journal=no --resolv-conf=off --timezone=off "$@"
"""


ISOLATED = ("unshare", "--mount", "--propagation=private", "--pid", "--fork", "--kill-child", "--mount-proc")


def hierarchies() -> list[Path]:
    """Where systemd's own cgroup trees are: one, or two on a machine with the hybrid layout."""
    top = Path("/sys/fs/cgroup")
    return [path for path in (top / "systemd", top / "unified") if path.is_dir()] or [top]


class _Leader(ServerProcess):
    def exit_code(self) -> int | None:
        """None while it runs."""
        return None if self._popen is None else self._popen.poll()


class Container:
    """A machine with a power switch. `on_exit` hears each end of a boot: `reboot`, `cut`, or what nspawn said."""

    def __init__(self, name: str, folder: Path, on_exit: Callable[[str], None] = lambda _: None) -> None:
        """Make the folder of the writable layer, `upper`; nothing runs."""
        self.name = name
        self.folder = folder / name
        self.upper = self.folder / "upper"
        for part in ("upper", "work", "root"):
            (self.folder / part).mkdir(parents=True)
        self.console = self.folder / "console"
        self.exits: list[str] = []
        self.boots = 0
        self._on_exit = on_exit
        self._group = f"{GROUP}/{os.getpid()}-{secrets.token_hex(3)}-{name}"
        self._lock = threading.RLock()
        self._powered = False
        self._ending = threading.Event()
        nspawn = layers.nspawn()
        settings = [f"{key}={value}" for key, value in nspawn.environment.items()]
        command = ["/usr/bin/env", *settings, *ISOLATED, "sh", "-c", _START, "sh"]
        command += [str(self.folder), ":".join(map(str, layers.layers())), name, self._group, nspawn.path]
        self._process = _Leader([*command, *map(str, hierarchies()), "--"], self.console)
        self._thread = threading.Thread(target=self._supervise, name=f"hardware of {name}", daemon=True)

    # ---------------------------------------------------------------- the switch

    def power_on(self) -> None:
        """Boot; from now on a reboot boots again."""
        with self._lock:
            assert not self._powered, f"{self.name} is on"
            self._powered = True
            self.boots += 1
            self._process.start()
        if self._thread.ident is None:
            self._thread.start()

    def cut(self) -> None:
        """Take the power away: every process of it is gone when this returns, and it stays off."""
        with self._lock:
            if not self._powered:
                return
            self._powered = False
            self._process.kill()
            self._all_gone()
            self._ended("cut")

    def destroy(self) -> None:
        """The power, and all that is left of it."""
        self.cut()
        self._ending.set()
        if self._thread.ident is not None:
            self._thread.join(_END_SECONDS)
        for place in self._cgroups():
            remove_groups(place)
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def powered(self) -> bool:
        """Whether it is on, which includes the moment between two boots."""
        return self._powered

    def _supervise(self) -> None:
        while not self._ending.wait(_POLL):
            with self._lock:
                code = self._process.exit_code()
                if not self._powered or code is None:
                    continue
                self._all_gone()
                if code == REBOOT:
                    self._ended("reboot")
                    self.boots += 1
                    self._process.start()
                else:
                    self._powered = False
                    self._ended(f"nspawn ended with {code}")

    def _ended(self, how: str) -> None:
        self.exits.append(how)
        with self.console.open("a") as console:
            console.write(f"---------------- {self.name}: {how}\n")
        self._on_exit(how)

    def _all_gone(self) -> None:
        """Wait for the kernel to have ended every process, as a machine without power has."""
        end = time.monotonic() + _END_SECONDS
        while any(self._pids(place) for place in self._cgroups()):
            assert time.monotonic() < end, f"processes of {self.name} do not end"
            time.sleep(_POLL)

    # ---------------------------------------------------------------- what the host sees

    def init(self) -> int:
        """The host's number of the container's init; 0 while it does not run."""
        for pid in self._pids(self._cgroups()[0] / "payload" / "init.scope"):
            if self.inside(pid) == "1":
                return pid
        return 0

    def inside(self, pid: int) -> str:
        """The number that a process of the container has in there; empty when it is gone."""
        with contextlib.suppress(OSError):
            found = re.search(r"^NSpid:.*\t(\d+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
            return found[1] if found else ""
        return ""

    def processes(self, unit: str) -> list[int]:
        """The running processes of a unit of system.slice, as the kernel counts them."""
        return self._pids(self._cgroups()[0] / "payload" / "system.slice" / unit)

    def root(self) -> Path | None:
        """Its file system as its init sees it, /run included; None while it does not run."""
        init = self.init()
        return Path(f"/proc/{init}/root") if init else None

    def _cgroups(self) -> list[Path]:
        return [top / self._group for top in hierarchies()]

    def _pids(self, place: Path) -> list[int]:
        found = []
        for file in [place / "cgroup.procs", *place.rglob("cgroup.procs")]:
            with contextlib.suppress(OSError):  # a group that is just going
                found += [int(word) for word in file.read_text().split() if word != "0"]
        return found

    # ---------------------------------------------------------------- what an operator does inside

    def command(self, *words: str) -> list[str]:
        """The command line that runs these words inside, with the host's network, as root."""
        init = self.init()
        assert init, f"{self.name} does not run"
        namespaces = ["--mount", "--uts", "--ipc", "--pid", "--cgroup", "--root", "--wd"]
        path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return ["nsenter", f"--target={init}", *namespaces, "/usr/bin/env", "-i", path, "LC_ALL=C.UTF-8", *words]

    def run(self, *words: str, check: bool = True, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        """Run it; fails on another exit code than 0 unless `check` is False."""
        done = subprocess.run(
            self.command(*words),
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=COMMAND_SECONDS,
            check=False,
        )
        said = f"{self.name}: {' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}"
        assert not check or done.returncode == 0, said
        return done

    def json(self, *words: str) -> dict[str, object]:
        """What a command prints."""
        return dict(json.loads(self.run(*words).stdout))

    # ---------------------------------------------------------------- its files

    def write(self, path: str, content: str, mode: int = 0o644) -> None:
        """A file, in the running container or in the layer that it will boot with."""
        place = (self.root() or self.upper) / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(content)
        place.chmod(mode)

    def link(self, path: str, target: str) -> None:
        """A symbolic link; the container must be off."""
        place = self.upper / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(target)

    def remove(self, path: str) -> None:
        """Delete a file of the running container."""
        root = self.root()
        assert root is not None, f"{self.name} does not run"
        (root / path.lstrip("/")).unlink(missing_ok=True)

    def read(self, path: str) -> str:
        """A file of the running container; empty while it does not run or there is none."""
        with contextlib.suppress(OSError):
            root = self.root()
            return "" if root is None else (root / path.lstrip("/")).read_text(errors="replace")
        return ""

    def tail(self, lines: int = 60) -> str:
        """The end of the console: what nspawn and init said, and when each boot ended."""
        text = self.console.read_text(errors="replace").splitlines() if self.console.exists() else []
        return "\n".join(text[-lines:])


def allowed(folder: Path) -> None:
    """Try everything that a container needs, without booting one. Raises ContainersMissing with what was refused."""
    below = layers.layers()
    for top in hierarchies():
        place = top / GROUP / f"{os.getpid()}-probe"
        try:
            place.mkdir(parents=True)
            place.rmdir()
        except OSError as error:
            raise layers.ContainersMissing(
                f"no cgroups can be made here ({error}): containers need a writable {top}"
            ) from error
    for part in ("upper", "work", "root"):
        (folder / "probe" / part).mkdir(parents=True)
    nspawn = layers.nspawn()
    script = (
        'mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" "$2/root" && mount -t tmpfs tmpfs /run && '
        'exec "$3" --directory="$2/root" --register=no --keep-unit --pipe --quiet --resolv-conf=off --timezone=off -- /bin/true'
    )
    try:
        done = subprocess.run(
            [*ISOLATED, "sh", "-c", script, "sh", ":".join(map(str, below)), folder / "probe", nspawn.path],
            env={**os.environ, **nspawn.environment},
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=_END_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise layers.ContainersMissing(f"this machine runs no containers: {error}") from error
    if done.returncode != 0:
        why = (done.stdout + done.stderr).decode(errors="replace").strip()
        raise layers.ContainersMissing(f"this machine runs no containers: systemd-nspawn or a mount was refused: {why}")


def remove_groups(place: Path) -> None:
    """An empty cgroup with all its empty children."""
    for folder in sorted([place, *place.rglob("*")], key=lambda path: -len(path.parts)):
        with contextlib.suppress(OSError):
            if folder.is_dir():
                folder.rmdir()


def sweep() -> None:
    """What killed runs have left of cgroups."""
    for top in hierarchies():
        for place in (top / GROUP).glob("*"):
            if not Path("/proc", place.name.split("-")[0]).exists():
                remove_groups(place)
