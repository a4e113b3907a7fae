"""Where etcd, Consul, Prometheus, D-Bus mocks and spin come from: the environment, PATH, or unpacked Debian packages.

`python -m tests.servers.fetch` fills `.cache/servers/` of the checkout; importing code asks `etcd()`, `consul()`,
`prometheus()`, `dbus()` or `spin()`.
A server that cannot be had is one `ServerMissing` whose message says what to do; tests turn it into a skip.
"""

import fcntl
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from tests.servers.apt import AptFailed, unpack

CACHE = Path(__file__).resolve().parents[2] / ".cache" / "servers"
ETCD_VERSIONS = ("3.4", "3.5")


class ServerMissing(Exception):
    """A server program that is neither here nor could be fetched; the message names it and the remedy."""


@dataclass(frozen=True, slots=True)
class EtcdPrograms:
    """The server and the command-line client of one etcd version."""

    etcd: Path
    etcdctl: Path


@dataclass(frozen=True, slots=True)
class PrometheusPrograms:
    """Prometheus, its checker of rules, and Alertmanager, which is to be run in the folder `share`."""

    prometheus: Path
    promtool: Path
    alertmanager: Path
    share: Path


@dataclass(frozen=True, slots=True)
class DbusPrograms:
    """The bus and a Python that has dbusmock, both to be run with `environment` (NAME=VALUE words) added."""

    daemon: Path
    python: Path
    environment: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Download:
    name: str
    suite: str
    packages: tuple[str, ...]
    variable: str
    probe: tuple[str, str]  # run once before the folder is put in place: a program for another libc must not get in
    finish: Callable[[Path], None] = lambda _: None

    def fetch(self, cache: Path = CACHE) -> Path:
        """The folder with the unpacked packages, fetched only when it is not there yet.

        The lock lets one of many racing processes do the work; the rename lets nobody see half of it.
        """
        target = cache / f"{self.name}-{self.suite}"
        if target.is_dir():
            return target
        cache.mkdir(parents=True, exist_ok=True)
        with (cache / f".{target.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if target.is_dir():
                return target
            for stale in cache.glob(f".{target.name}-*"):  # of a run that was killed; the lock says it is nobody's
                shutil.rmtree(stale)
            print(f"fetching {self.name} from Debian {self.suite} into {target}", file=sys.stderr, flush=True)
            with tempfile.TemporaryDirectory(dir=cache, prefix=f".{target.name}-") as scratch:
                fresh = Path(scratch, "root")
                fresh.mkdir()
                try:
                    unpack(self.suite, self.packages, fresh, Path(scratch, "apt"))
                    _version(fresh / self.probe[0], self.probe[1])
                    self.finish(fresh)
                except (AptFailed, OSError, subprocess.SubprocessError) as error:
                    raise ServerMissing(self._remedy(str(error))) from error
                fresh.rename(target)
        return target

    def _remedy(self, why: str) -> str:
        return (
            f"{self.name} is missing: {' and '.join(self.packages)} of Debian {self.suite} cannot be fetched ({why}). "
            f"Remedy: set {self.variable}=/path/to/{self.name}, "
            f"or get the network back and run `make servers`"
        )


_ETCD = {
    "3.4": _Download(
        "etcd", "bookworm", ("etcd-server", "etcd-client"), "LOCKSMITH_TEST_ETCD34", ("usr/bin/etcd", "--version")
    ),
    "3.5": _Download(
        "etcd", "trixie", ("etcd-server", "etcd-client"), "LOCKSMITH_TEST_ETCD35", ("usr/bin/etcd", "--version")
    ),
}
_CONSUL = _Download("consul", "bullseye", ("consul",), "LOCKSMITH_TEST_CONSUL", ("usr/bin/consul", "version"))
_SPIN = _Download("spin", "bookworm", ("spin",), "LOCKSMITH_TEST_SPIN", ("usr/bin/spin", "-V"))
_TEMPLATES = b"/usr/share/prometheus/alertmanager"


def _uninstalled(root: Path) -> None:
    """Debian's Alertmanager does not start without its templates in /usr: let it look in the folder that it runs in."""
    program = root / "usr" / "bin" / "prometheus-alertmanager"
    here = b"/proc/self/cwd".ljust(len(_TEMPLATES), b"/")
    program.write_bytes(program.read_bytes().replace(_TEMPLATES, here))


_PROMETHEUS = _Download(
    "prometheus",
    "bookworm",
    ("prometheus", "prometheus-alertmanager"),
    "LOCKSMITH_TEST_PROMETHEUS",
    ("usr/bin/prometheus", "--version"),
    _uninstalled,
)


_SYSTEM_PYTHON = Path("/usr/bin/python3")
_IMPORTS = "import dbus, dbusmock; from gi.repository import GLib"


def _with_mocks(root: Path) -> None:
    """Raises SubprocessError when the unpacked modules are not for this machine's Python."""
    programs = _unpacked_dbus(root)
    for command in ([programs.python, "-c", _IMPORTS], [programs.daemon, "--version"]):
        subprocess.run(["/usr/bin/env", *programs.environment, *command], capture_output=True, timeout=30, check=True)


def _unpacked_dbus(root: Path) -> DbusPrograms:
    library = next((root / "usr" / "lib").glob("*-linux-gnu*"), root)
    words = (
        f"PYTHONPATH={root}/usr/lib/python3/dist-packages",
        f"LD_LIBRARY_PATH={library}",
        f"GI_TYPELIB_PATH={library}/girepository-1.0",
    )
    return DbusPrograms(root / "usr" / "bin" / "dbus-daemon", _SYSTEM_PYTHON, words)


# Extension modules fit one Python only: these are for the one of Debian 12. Elsewhere dbusmock has to be installed.
_DBUS = _Download(
    "dbusmock",
    "bookworm",
    (
        *("dbus-daemon", "python3-dbusmock", "python3-dbus", "python3-gi", "libgirepository-1.0-1", "gir1.2-glib-2.0"),
        *(
            "libglib2.0-0",
            "libdbus-1-3",
            "libffi8",
            "libexpat1",
            "libapparmor1",
            "libaudit1",
            "libsystemd0",
            "libcap-ng0",
        ),
    ),
    "LOCKSMITH_TEST_DBUS_PYTHON (a Python with dbusmock, and dbus-daemon on PATH)",
    (str(_SYSTEM_PYTHON), "--version"),
    _with_mocks,
)


@functools.cache
def _once(name: str, version: str | None) -> EtcdPrograms | PrometheusPrograms | DbusPrograms | Path | ServerMissing:
    """Looked for once a process: without a network, not every test shall wait for apt to give up."""
    try:
        match name:
            case "consul":
                return _find_consul()
            case "spin":
                return _find_spin()
            case "prometheus":
                return _find_prometheus()
            case "dbus":
                return _find_dbus()
            case _:
                return _find_etcd(version)
    except ServerMissing as error:
        return error


def etcd(version: str | None = None) -> EtcdPrograms:
    """The programs of etcd `version` ("3.4", "3.5"); None takes whichever is at hand.

    Looked for in LOCKSMITH_TEST_ETCD34 or LOCKSMITH_TEST_ETCD35, in LOCKSMITH_TEST_ETCD (when it is of that
    version), for None on PATH, then in Debian's packages.

    Raises:
        ServerMissing: it is nowhere and cannot be fetched.
    """
    found = _once("etcd", version)
    if isinstance(found, EtcdPrograms):
        return found
    raise ServerMissing(str(found))


def consul() -> Path:
    """Consul's program: LOCKSMITH_TEST_CONSUL, PATH, or Debian's package.

    Raises:
        ServerMissing: it is nowhere and cannot be fetched.
    """
    found = _once("consul", None)
    if isinstance(found, Path):
        return found
    raise ServerMissing(str(found))


def spin() -> Path:
    """The model checker's program: LOCKSMITH_TEST_SPIN, PATH, or Debian's package.

    Raises:
        ServerMissing: it is nowhere and cannot be fetched.
    """
    found = _once("spin", None)
    if isinstance(found, Path):
        return found
    raise ServerMissing(str(found))


def prometheus() -> PrometheusPrograms:
    """Prometheus, promtool and Alertmanager: beside LOCKSMITH_TEST_PROMETHEUS, on PATH, or of Debian's packages.

    Raises:
        ServerMissing: they are nowhere and cannot be fetched.
    """
    found = _once("prometheus", None)
    if isinstance(found, PrometheusPrograms):
        return found
    raise ServerMissing(str(found))


def dbus() -> DbusPrograms:
    """dbus-daemon and dbusmock: LOCKSMITH_TEST_DBUS_PYTHON, Debian's own Python with what is installed, or its packages.

    Raises:
        ServerMissing: they are nowhere and cannot be fetched.
    """
    found = _once("dbus", None)
    if isinstance(found, DbusPrograms):
        return found
    raise ServerMissing(str(found))


def _find_dbus() -> DbusPrograms:
    named, daemon = _named("LOCKSMITH_TEST_DBUS_PYTHON"), shutil.which("dbus-daemon")
    for python in [named] if named is not None else [_SYSTEM_PYTHON]:
        if daemon is not None and _imports(python):
            return DbusPrograms(Path(daemon), python, ())
    return _unpacked_dbus(_DBUS.fetch())


def _imports(python: Path) -> bool:
    try:
        subprocess.run([python, "-c", _IMPORTS], capture_output=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return False
    return True


def _find_etcd(version: str | None) -> EtcdPrograms:
    if version is not None and version not in _ETCD:
        raise ServerMissing(f"etcd {version} is not one of {', '.join(_ETCD)}: use one of these")
    named = _named(_ETCD[version].variable) if version else None
    if named is None:
        named = _named("LOCKSMITH_TEST_ETCD")
        if (
            named is not None
            and version is not None
            and f"etcd Version: {version}." not in _version(named, "--version")
        ):
            named = None
    if named is None and version is None and (on_path := shutil.which("etcd")):
        named = Path(on_path)
    if named is None:
        folder = _ETCD[version or ETCD_VERSIONS[0]].fetch() / "usr" / "bin"
        return EtcdPrograms(folder / "etcd", folder / "etcdctl")
    beside = named.with_name("etcdctl")
    etcdctl = str(beside) if beside.is_file() else shutil.which("etcdctl")
    if etcdctl is None:
        raise ServerMissing(f"etcdctl is missing: put it beside {named} or on PATH")
    return EtcdPrograms(named, Path(etcdctl))


def _find_consul() -> Path:
    named = _named(_CONSUL.variable)
    if named is not None:
        return named
    if on_path := shutil.which("consul"):
        return Path(on_path)
    return _CONSUL.fetch() / "usr" / "bin" / "consul"


def _find_spin() -> Path:
    if (named := _named(_SPIN.variable)) is not None:
        return named
    if on_path := shutil.which("spin"):
        return Path(on_path)
    return _SPIN.fetch() / "usr" / "bin" / "spin"


def _find_prometheus() -> PrometheusPrograms:
    if (named := _named(_PROMETHEUS.variable)) is not None:
        found = _beside(named)
        if found is None:
            raise ServerMissing(f"promtool or alertmanager is missing: put them beside {named}")
        return found
    on_path = shutil.which("prometheus")
    found = _beside(Path(on_path)) if on_path else None
    return found or _beside(_PROMETHEUS.fetch() / "usr" / "bin" / "prometheus") or _incomplete()


def _incomplete() -> NoReturn:
    raise ServerMissing(f"a program of {' or '.join(_PROMETHEUS.packages)} is missing: delete {CACHE}/prometheus-*")


def _beside(program: Path) -> PrometheusPrograms | None:
    """Alertmanager has another name in Debian than in its own releases."""
    alertmanagers = (program.with_name("prometheus-alertmanager"), program.with_name("alertmanager"))
    alertmanager = next((path for path in alertmanagers if path.is_file()), None)
    promtool = program.with_name("promtool")
    if alertmanager is None or not promtool.is_file():
        return None
    share = program.parents[1] / "share" / "prometheus" / "alertmanager"
    return PrometheusPrograms(program, promtool, alertmanager, share if share.is_dir() else program.parent)


def _named(variable: str) -> Path | None:
    value = os.environ.get(variable)
    if not value:
        return None
    path = Path(value).absolute()
    if not os.access(path, os.X_OK) or path.is_dir():
        raise ServerMissing(f"{variable}={value} is no program: correct it or unset it")
    return path


def _version(program: Path, argument: str) -> str:
    done = subprocess.run([program, argument], capture_output=True, text=True, timeout=30, check=True)
    return done.stdout


def main() -> int:
    """Fetch all; 1 when one is missing, after having tried the others."""
    missing = 0
    finders: list[Callable[[], object]] = [functools.partial(etcd, version) for version in ETCD_VERSIONS]
    for find in (*finders, consul, prometheus, dbus, spin):
        try:
            print(find())
        except ServerMissing as error:
            missing += 1
            bar = "*" * 100
            print(f"{bar}\n{error}\n{bar}", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
