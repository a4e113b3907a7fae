"""Unpack Debian packages of any suite into a folder: nothing is installed, no service starts, no root needed.

The one idea: the machine's own package source is copied with only its suite changed, and apt is given private
folders for everything it writes. So mirrors, proxies and credentials stay as the machine has them, and no host
is named here.
"""

import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

_ETC = Path("/etc/apt")
_TIMEOUT_SECONDS = 300
# `-c` is read after the machine's configuration, so that these win; the hooks would tell desktop services about us.
_CONFIG = """\
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "{work}/sources";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State "{work}/state";
Dir::State::lists "{work}/lists";
Dir::Cache "{work}/cache";
Dir::Cache::archives "{work}/archives";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "2";
Acquire::http::Timeout "30";
Acquire::https::Timeout "30";
Acquire::Check-Valid-Until "false";
"""


class AptFailed(Exception):
    """The packages could not be had; the message says what apt said."""


def unpack(suite: str, packages: Sequence[str], target: Path, work: Path, *, etc: Path = _ETC) -> None:
    """Fetch `packages` of `suite` and unpack them into `target`; `work` is scratch and stays with the caller.

    Raises:
        AptFailed: no apt, no usable package source, or apt refused.
    """
    for tool in ("apt-get", "dpkg"):
        if shutil.which(tool) is None:
            raise AptFailed(f"{tool} is not on this machine (not a Debian or a relative of it)")
    for folder in ("sources", "state", "lists/partial", "cache", "archives/partial", "debs"):
        (work / folder).mkdir(parents=True, exist_ok=True)
    (work / "sources" / "one.sources").write_text(source_for(suite, etc))
    config = work / "apt.conf"
    config.write_text(_CONFIG.format(work=work))
    _run(["apt-get", "-qq", "-c", str(config), "update"], work)
    _run(["apt-get", "-qq", "-c", str(config), "download", *packages], work / "debs")
    for package in sorted((work / "debs").glob("*.deb")):
        _run(["dpkg", "-x", str(package), str(target)], work)


def source_for(suite: str, etc: Path = _ETC) -> str:
    """The machine's first Debian source as a deb822 stanza for `suite`, whichever of apt's two formats it is in.

    Raises:
        AptFailed: no file under `etc` names a source of packages.
    """
    parts = etc / "sources.list.d"
    first = parts / "debian.sources"
    for path in [first, *sorted(set(parts.glob("*.sources")) - {first})]:
        for stanza in _stanzas(path):
            if _is_base(stanza.get("types", ""), stanza.get("suites", ""), stanza):
                return _write({**stanza, "types": "deb", "suites": suite, "components": "main"})
    for path in [etc / "sources.list", *sorted(parts.glob("*.list"))]:
        for stanza in _lines(path):
            if _is_base("deb", stanza["suites"], stanza):
                return _write({**stanza, "suites": suite, "components": "main"})
    raise AptFailed(f"no package source with component main in {etc}/sources.list or {parts}")


def _is_base(types: str, suites: str, stanza: dict[str, str]) -> bool:
    """A whole distribution: security and third-party archives do not hold the other suites."""
    usable = stanza.get("enabled", "yes").strip().lower() not in ("no", "false", "off", "0")
    whole = any(re.fullmatch(r"[a-z]+", word) for word in suites.split())
    return usable and whole and "deb" in types.split() and "main" in stanza.get("components", "").split()


def _stanzas(path: Path) -> Iterator[dict[str, str]]:
    if not path.is_file():
        return
    for block in re.split(r"\n\s*\n", path.read_text()):
        stanza: dict[str, str] = {}
        name = ""
        for line in block.splitlines():
            if line.startswith("#"):
                continue
            if line[:1].isspace() and name:  # a key may be given inline, over many lines
                stanza[name] += "\n" + line
            elif ":" in line:
                name, _, value = line.partition(":")
                name = name.strip().lower()
                stanza[name] = value.strip()
        if stanza:
            yield stanza


def _lines(path: Path) -> Iterator[dict[str, str]]:
    """`deb [signed-by=FILE arch=A] URI SUITE COMPONENT…` as stanzas."""
    if not path.is_file():
        return
    for line in path.read_text().splitlines():
        found = re.match(r"\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s+([^#]+)", line)
        if not found:
            continue
        options, uri, suite, components = found.groups()
        stanza = {"types": "deb", "uris": uri, "suites": suite, "components": components.strip()}
        for option in (options or "").split():
            key, _, value = option.partition("=")
            key = {"arch": "architectures", "lang": "languages"}.get(key.lower(), key.lower())
            stanza[key] = value.replace(",", " ")
        yield stanza


def _write(stanza: dict[str, str]) -> str:
    return "".join(f"{name.title()}: {value}\n" for name, value in stanza.items())


def _run(command: Sequence[str], folder: Path) -> None:
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise AptFailed(f"`{command[0]}` did not end within {_TIMEOUT_SECONDS} s") from error
    if done.returncode != 0:
        said = " / ".join(line for line in (done.stdout + done.stderr).splitlines() if not line.startswith("W:"))
        raise AptFailed(f"`{' '.join(command)}` failed: {said or done.returncode}")
