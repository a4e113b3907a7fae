"""Whether the updaters of this host are told to reboot it by themselves: what their own configuration says.

The idea a reader would miss: none of them has a state to be asked for. They install at some time of the day and then reboot
in passing, so the setting is all that can be seen beforehand. It is read from the files, and only apt's, whose syntax is
apt's own, through apt-config, which is asked again only when a file has changed.

Origins: unattended-upgrades' README (Automatic-Reboot), dnf-automatic(8) and dnf5-automatic(8) (reboot),
rpm-ostreed.conf(5) and coreos/rpm-ostree pull 4392 (AutomaticUpdatePolicy=apply), transactional-update.conf(5)
(REBOOT_METHOD).
"""

import configparser
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

from locksmith.core.environment_file import parse_environment_file
from locksmith.host.outcome import Finished, describe, last_line
from locksmith.host.process import run

ROOT = Path("/")
_APT_LIMIT = timedelta(seconds=5)
_OWN_REBOOT = ("auto", "rebootmgr", "systemd", "kexec")


class Unreadable(Exception):
    """The setting cannot be had; the message says which and why."""


def dnf_reboots(root: Path = ROOT) -> str | None:
    """The value of `reboot` when dnf-automatic, of dnf4 or dnf5, reboots; None: it does not. Raises Unreadable."""
    value = "never"
    for name in (
        "usr/share/dnf5/dnf5-plugins/automatic.conf",
        "etc/dnf/automatic.conf",
        "etc/dnf/dnf5-plugins/automatic.conf",
    ):
        value = _setting(root / name, "commands", "reboot") or value
    return None if value == "never" else value


def rpm_ostree_reboots(root: Path = ROOT) -> str | None:
    """The policy when rpm-ostreed-automatic reboots; None: it does not. Raises Unreadable."""
    policy = _setting(root / "etc/rpm-ostreed.conf", "Daemon", "AutomaticUpdatePolicy")
    return policy if policy == "apply" else None


def transactional_update_reboots(root: Path = ROOT) -> str | None:
    """The method when transactional-update reboots by itself or through rebootmgr; None: it does not. Raises Unreadable."""
    method = "auto"
    for path in _transactional_update_files(root):
        method = parse_environment_file(_text(path)).get("REBOOT_METHOD") or method
    known = (*_OWN_REBOOT, "none", "notify", "kured", "salt")
    # A word that it does not know is `auto` to it.
    return method if method in _OWN_REBOOT or method not in known else None


def _transactional_update_files(root: Path) -> Iterator[Path]:
    for folder in ("usr/etc", "etc"):
        yield from sorted((root / folder / "transactional-update.conf.d").glob("*"))
    yield root / "etc/transactional-update.conf"


def _setting(path: Path, section: str, key: str) -> str | None:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    try:
        parser.read_string(_text(path))
    except configparser.Error as error:
        raise Unreadable(f"{path}: {str(error).splitlines()[0]}") from error
    return parser.get(section, key, fallback="").strip() or None


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode(errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        raise Unreadable(f"{path}: {error.strerror}") from error


class UnattendedUpgrades:
    """Whether unattended-upgrades is there and may reboot. Not for several threads at once."""

    def __init__(
        self, root: Path = ROOT, command: Sequence[str] = ("apt-config",), limit: timedelta = _APT_LIMIT
    ) -> None:
        """`command` is apt-config."""
        self._root = root
        self._command = (*command, "shell", "REBOOT", "Unattended-Upgrade::Automatic-Reboot/b")
        self._limit = limit
        self._seen: object = None
        self._answer = False

    def reboots(self) -> bool:
        """Bounded in time. Raises Unreadable."""
        if not (self._root / "usr/bin/unattended-upgrade").exists():
            return False
        seen = self._stamp()
        if seen != self._seen:
            self._answer, self._seen = self._ask(), seen
        return self._answer

    def _ask(self) -> bool:
        outcome = run(self._command, timeout=self._limit, environment={"LC_ALL": "C"})
        if not isinstance(outcome, Finished) or outcome.code != 0:
            raise Unreadable(f"apt-config: {describe(outcome)}")
        said = outcome.stdout.strip()
        if said not in ("", "REBOOT=''", "REBOOT='false'", "REBOOT='true'"):
            raise Unreadable(f"apt-config: an answer that is none: {last_line(said)}")
        return said == "REBOOT='true'"

    def _stamp(self) -> object:
        """Changes when a file does."""
        apt = self._root / "etc/apt"
        files: list[tuple[str, int, int]] = []
        try:
            for path in (apt / "apt.conf", *sorted((apt / "apt.conf.d").glob("*"))):
                if path.exists():
                    status = path.stat()
                    files.append((str(path), status.st_mtime_ns, status.st_size))
        except OSError as error:
            raise Unreadable(f"{error.filename}: {error.strerror}") from error
        return files
