"""The file system of every node, as layers that are made once and kept in `.cache/e2e` of the checkout.

    debian-KEY    debootstrap, with systemd, logind, polkit, D-Bus and Python
    python-KEY    what locksmith depends on, installed by pip for that Debian's Python
    product-KEY   locksmith of this tree: the package, its programs, and deploy/

`python -m tests.e2e.layers` makes them; a test asks `layers()`.

The one idea: a layer is named by a digest of all that it was made from, so that none is ever out of date, and a change of the
tree costs a second, not a debootstrap. A node lays a writable layer of its own over them (see `container`).
"""

import fcntl
import functools
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.servers.apt import AptFailed, source_for, unpack
from tests.servers.fetch import ServerMissing

CHECKOUT = Path(__file__).resolve().parents[2]
CACHE = CHECKOUT / ".cache" / "e2e"
SUITE = "bookworm"
PACKAGES = ("systemd", "systemd-sysv", "dbus", "libpam-systemd", "polkitd", "login", "python3")
SITE = "usr/lib/python3/dist-packages"
KEPT = 3
"""Layers of one kind, at most: other runs may still use the older ones."""

_TOOL_SECONDS = 60
_BOOTSTRAP_SECONDS = 900
_PIP_SECONDS = 300


class ContainersMissing(ServerMissing):
    """This machine cannot have the nodes; the message names what is missing and the remedy."""


def tree() -> Path:
    """The checkout whose locksmith is tested: this one, or LOCKSMITH_TEST_TREE."""
    return Path(os.environ.get("LOCKSMITH_TEST_TREE", CHECKOUT)).resolve()


# ---------------------------------------------------------------- programs


@dataclass(frozen=True, slots=True)
class Program:
    """A program of this machine, or one unpacked from Debian's packages with what it must be told."""

    path: str
    environment: Mapping[str, str]


def nspawn() -> Program:
    """systemd-nspawn. Raises ContainersMissing."""
    return _program("systemd-nspawn", ("systemd-container", "libsystemd-shared"), "usr/bin/systemd-nspawn")


def debootstrap() -> Program:
    """debootstrap, a shell script. Raises ContainersMissing."""
    return _program("debootstrap", ("debootstrap",), "usr/sbin/debootstrap")


@functools.cache
def _program(name: str, packages: tuple[str, ...], place: str) -> Program:
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if path is not None:
        return Program(path, {})
    try:
        target = _cached(f"tool-{name}", [SUITE, *packages], lambda fresh, work: unpack(SUITE, packages, fresh, work))
    except AptFailed as error:
        raise ContainersMissing(
            f"{name} is not here and cannot be fetched ({error}): apt-get install {packages[0]}"
        ) from error
    libraries = ":".join(str(found) for found in target.glob("usr/lib/*/systemd"))
    environment = {"DEBOOTSTRAP_DIR": str(target / "usr/share/debootstrap"), "LD_LIBRARY_PATH": libraries}
    return Program(str(target / place), {key: value for key, value in environment.items() if Path(value).is_dir()})


# ---------------------------------------------------------------- the layers


@functools.cache
def layers() -> tuple[Path, ...]:
    """All of them, the uppermost first. Raises ContainersMissing."""
    if os.geteuid() != 0:
        raise ContainersMissing("containers need root: run this as root (sudo make e2e)")
    base = debian()
    below = python(base)
    return product(below, base), below, base


def debian() -> Path:
    """Debian, about 300 MB, in about a minute."""
    recipe = ["minbase", SUITE, *PACKAGES, platform.machine()]
    return _cached("debian", recipe, _bootstrap)


def _bootstrap(fresh: Path, work: Path) -> None:
    program = debootstrap()
    source = dict(line.split(": ", 1) for line in _source().splitlines() if not line.startswith(" "))
    print(f"making a Debian {SUITE} for the nodes of tests/e2e, which takes a minute", file=sys.stderr, flush=True)
    keyring = source.get("Signed-By", "")
    _run(
        [
            program.path,
            "--variant=minbase",
            f"--include={','.join(PACKAGES)}",
            *([f"--keyring={keyring}"] if Path(keyring).is_file() else []),
            SUITE,
            str(fresh),
            source["Uris"].split()[0],
        ],
        "debootstrap",
        _BOOTSTRAP_SECONDS,
        {**program.environment, "TMPDIR": str(work)},
    )
    for waste in ("var/cache/apt/archives", "var/lib/apt/lists", "usr/share/doc", "usr/share/locale", "usr/share/man"):
        shutil.rmtree(fresh / waste, ignore_errors=True)
    (fresh / "etc/machine-id").write_text("uninitialized\n")
    (fresh / "etc/hostname").unlink(missing_ok=True)


def _source() -> str:
    try:
        return source_for(SUITE)
    except AptFailed as error:
        raise ContainersMissing(f"no Debian to make the nodes from: {error}") from error


def python(base: Path) -> Path:
    """The dependencies, for the Python of `base`."""
    version = next(path.name.removeprefix("python") for path in sorted(base.glob("usr/bin/python3.*")))
    project = tomllib.loads((tree() / "pyproject.toml").read_text())["project"]
    wanted = sorted(project["dependencies"])

    def build(fresh: Path, work: Path) -> None:
        _pip(wanted, version, fresh / SITE)
        _finish(fresh, (base,), work)

    return _cached("python", [base.name, version, *wanted], build)


def _pip(wanted: Sequence[str], version: str, target: Path) -> None:
    machine, short = platform.machine(), f"cp{version.replace('.', '')}"
    glibcs = ("manylinux2014", "manylinux_2_17", "manylinux_2_27", "manylinux_2_28", "manylinux_2_34", "linux")
    words = ["--quiet", "--target", str(target), "--only-binary=:all:", "--implementation", "cp"]
    words += ["--python-version", version, *(word for abi in (short, "abi3", "none") for word in ("--abi", abi))]
    words += [word for glibc in glibcs for word in ("--platform", f"{glibc}_{machine}")]
    words += ["--platform", "any", "--no-compile", "--disable-pip-version-check"]
    _run([sys.executable, "-m", "pip", "install", *words, *wanted], "pip", _PIP_SECONDS)


def product(below: Path, base: Path) -> Path:
    """locksmith of the tree, laid out as a distribution's package would."""
    source = tree()
    files = sorted(_files(source))
    digests = [f"{path} {hashlib.sha256((source / path).read_bytes()).hexdigest()}" for path in files]

    def build(fresh: Path, work: Path) -> None:
        for path in files:
            _install(source, path, fresh)
        scripts = tomllib.loads((source / "pyproject.toml").read_text())["project"]["scripts"]
        (fresh / "usr/local/bin").mkdir(parents=True)
        for name, entry in scripts.items():
            module, function = entry.split(":")
            script = fresh / "usr/local/bin" / name
            script.write_text(
                f"#!/usr/bin/python3\nimport sys\nfrom {module} import {function}\nsys.exit({function}())\n"
            )
            script.chmod(0o755)
        _finish(fresh, (below, base), work)

    return _cached("product", [below.name, *digests], build)


def _files(source: Path) -> Iterator[Path]:
    yield Path("pyproject.toml")
    for folder in ("locksmith", "deploy"):
        for path in (source / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path.relative_to(source)


def _install(source: Path, path: Path, fresh: Path) -> None:
    """deploy/ stands at /usr/share/locksmith; what takes effect without a decision of the operator stands in its place."""
    places = {"locksmith": f"{SITE}/locksmith", "deploy": "usr/share/locksmith/deploy"}
    targets = [Path(places[path.parts[0]], *path.parts[1:])] if path.parts[0] in places else []
    if path.match("deploy/systemd/*.service"):
        targets.append(Path("usr/lib/systemd/system", path.name))
    if path.match("deploy/tmpfiles.d/*.conf") or path.match("deploy/sysusers.d/*.conf"):
        targets.append(Path("usr/lib", path.parts[1], path.name))
    for target in targets:
        (fresh / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source / path, fresh / target)


# ---------------------------------------------------------------- making


def _cached(kind: str, recipe: Sequence[str], build: Callable[[Path, Path], None]) -> Path:
    """The layer made by this recipe. One of many racing processes makes it, and nobody sees half of it."""
    target = CACHE / f"{kind}-{hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:12]}"
    if target.is_dir():
        os.utime(target)
        return target
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f".{kind}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if target.is_dir():
            return target
        for stale in CACHE.glob(f".{kind}-making-*"):  # of a run that was killed; the lock says it is nobody's
            shutil.rmtree(stale)
        scratch = Path(tempfile.mkdtemp(dir=CACHE, prefix=f".{kind}-making-"))
        try:
            (scratch / "layer").mkdir(mode=0o755)
            (scratch / "work").mkdir()
            build(scratch / "layer", scratch / "work")
            (scratch / "layer").rename(target)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        others = sorted(CACHE.glob(f"{kind}-*"), key=lambda path: path.stat().st_mtime, reverse=True)
        for old in others[KEPT:]:
            shutil.rmtree(old)
    return target


def _finish(fresh: Path, lower: Sequence[Path], work: Path) -> None:
    """What a package does when it is installed: its users are made, and the node's own Python compiles it."""
    (work / "merged").mkdir()
    (work / "overlay").mkdir()
    script = (
        'mount -t overlay overlay -o "lowerdir=$1,upperdir=$2,workdir=$3/overlay" "$3/merged" && '
        f'chroot "$3/merged" systemd-sysusers && exec chroot "$3/merged" /usr/bin/python3 -m compileall -q /{SITE}'
    )
    words = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"]
    _run([*words, ":".join(map(str, lower)), str(fresh), str(work)], "an overlay mount", _TOOL_SECONDS)


def _run(command: Sequence[str], what: str, seconds: int, environment: Mapping[str, str] | None = None) -> None:
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ContainersMissing(f"{what} failed: {error}") from error
    if done.returncode != 0:
        raise ContainersMissing(f"{what} failed (exit code {done.returncode}): {done.stdout[-1500:].strip()}")


def main() -> int:
    """Make what is not there yet; 1 when this machine cannot."""
    try:
        print(" ".join(map(str, layers())))
    except ServerMissing as error:
        bar = "*" * 100
        print(f"{bar}\n{error}\n{bar}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
