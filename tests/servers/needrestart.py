"""The real needrestart for tests: unpacked below .cache, run with a /boot of its own in a mount namespace.

The one idea: the package is never installed, because it brings a hook that runs after every apt-get on the machine. Its Perl
modules are found through PERL5LIB; only the machine's own perl and shell run.
"""

import fcntl
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.servers.apt import AptFailed, unpack
from tests.servers.fetch import CACHE, ServerMissing

SUITE = "bookworm"
PACKAGES = (
    "needrestart",
    "libintl-perl",
    "libproc-processtable-perl",
    "libsort-naturally-perl",
    "libterm-readkey-perl",
    "libmodule-find-perl",
)
_TIMEOUT_SECONDS = 60


def fetch(cache: Path = CACHE) -> Path:
    """The folder with the unpacked packages. Raises ServerMissing with the reason."""
    target = cache / f"needrestart-{SUITE}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f".{target.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if target.is_dir():
            return target
        with tempfile.TemporaryDirectory(dir=cache, prefix=f".{target.name}-") as scratch:
            fresh = Path(scratch, "root")
            fresh.mkdir()
            try:
                unpack(SUITE, PACKAGES, fresh, Path(scratch, "apt"))
            except AptFailed as error:
                raise ServerMissing(f"needrestart of Debian {SUITE} cannot be fetched: {error}") from error
            fresh.rename(target)
    return target


def program(boot: Path, folder: Path, *, container: bool = False) -> Path:
    """A script in `folder` that is needrestart with `boot` at /boot; `container`: process 1 says that it is one.

    Raises:
        ServerMissing: it cannot be fetched, or this machine allows no mount namespace.
    """
    root = fetch()
    libraries = [root / "usr/share/perl5", *sorted(root.glob("usr/lib/*/perl5/*"))]
    inner = f'mount --bind {shlex.quote(str(boot))} /boot && exec perl {root}/usr/sbin/needrestart -c "$CONFIG" "$@"'
    spaces = "--mount --pid --fork --mount-proc" if container else "--mount"
    script = folder / ("needrestart-contained" if container else "needrestart")
    script.write_text(
        "#!/bin/sh\n"
        f"export PERL5LIB={shlex.quote(':'.join(map(str, libraries)))}\n"
        f"export CONFIG={shlex.quote(str(root / 'etc/needrestart/needrestart.conf'))}\n"
        f"{'export container=lxc' if container else 'unset container'}\n"
        f'exec unshare {spaces} sh -c {shlex.quote(inner)} needrestart "$@"\n'
    )
    script.chmod(0o755)
    _probe(script)
    return script


def _probe(script: Path) -> None:
    for tool in ("unshare", "perl", "mount"):
        if shutil.which(tool) is None:
            raise ServerMissing(f"needrestart needs {tool}, which is not on this machine")
    done = subprocess.run(
        [script, "-b", "-k", "-r", "l"], capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False
    )
    if done.returncode != 0 or "NEEDRESTART-VER" not in done.stdout:
        raise ServerMissing(
            f"needrestart does not run here (exit code {done.returncode}): {done.stderr.strip()[-200:]}"
        )
