"""What a Flatcar host says to locksmith in update.conf and LOCKSMITHD_*, as the weakest layer of our configuration.

The ideas a reader would miss. The words are locksmith's and mean what they meant to it (its README, its daemon.go), with
three exceptions, each of which leaves less to chance: an unknown strategy is refused at once; no strategy, or an empty
one, is *ours* (lock) where locksmith rebooted without asking anybody; and its default endpoints on 127.0.0.1 are not
taken, since a node that asks an etcd of its own gets every slot (see docs/flatcar.md).

What locksmith.toml says wins, and then what update.conf says about the same thing is not even judged. Three things go
together: the endpoints with their credentials, the start of the window with its length, and all windows: a window in
locksmith.toml replaces REBOOT_WINDOW_*, for windows add up, and two of them would be open for longer than either.

Only the two files of Flatcar are looked at. Those of its ancestor (/etc/coreos) are not: Container Linux ended in 2020.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

from locksmith.core import names
from locksmith.core.durations import format_duration
from locksmith.core.environment_file import parse_environment_file
from locksmith.core.reboot_window import LENGTH, START, parse_length, parse_start
from locksmith.core.store_url import parse_store_url
from locksmith.errors import ConfigError

FILES = (Path("/usr/share/flatcar/update.conf"), Path("/etc/flatcar/update.conf"))
"""The weaker first, as locksmithd.service lists them in EnvironmentFile=."""
WINDOW = "locksmith"
"""The name of the window that REBOOT_WINDOW_* makes."""

Tree = dict[str, object]

_STRATEGIES = {"etcd-lock": "lock", "reboot": "reboot", "off": "off"}
_CREDENTIALS = {
    "LOCKSMITHD_ETCD_CAFILE": "ca_file",
    "LOCKSMITHD_ETCD_CERTFILE": "cert_file",
    "LOCKSMITHD_ETCD_KEYFILE": "key_file",
    "LOCKSMITHD_ETCD_USERNAME": "username",
}
_PORTS = {"http": 80, "https": 443}
_VARIABLES = (
    "REBOOT_STRATEGY",
    "LOCKSMITHD_ENDPOINT",
    *_CREDENTIALS,
    "LOCKSMITHD_ETCD_PASSWORD",
    "LOCKSMITHD_GROUP",
    *(prefix + name for prefix in ("LOCKSMITHD_", "") for name in (START, LENGTH)),
)


@dataclass(frozen=True, slots=True)
class Said:
    """The value of one variable that is not empty, and where it was found: `file:PATH` or `environment NAME`."""

    name: str
    value: str
    origin: str

    def wrong(self, problem: str) -> NoReturn:
        """Raise ConfigError about it."""
        in_file = f": {self.name}" if self.origin.startswith("file:") else ""
        raise ConfigError(f"{self.origin.removeprefix('file:')}{in_file}: {problem}")


@dataclass(slots=True)
class FlatcarLayer:
    """The parts that apply, each with its origin, and the files that said anything."""

    parts: list[tuple[Tree, str]] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)

    def add(self, table: str, key: str, value: str, said: Said) -> None:
        """One key."""
        self.parts.append(({table: {key: value}}, said.origin))


def flatcar_layer(
    environ: Mapping[str, str], taken: Mapping[str, object], files: Sequence[Path] = FILES
) -> FlatcarLayer:
    """What the variables and the files mean, without what `taken`, the tree of all stronger layers, says already.

    A variable of the environment wins over both files, the later file over the earlier one, and an empty value of the
    winner counts as none. Raises ConfigError that names file, variable and remedy.
    """
    values = _values(environ, files)
    layer = FlatcarLayer(files=[path for path in files if any(s.origin == f"file:{path}" for s in values.values())])
    _strategy(layer, values, taken)
    _store(layer, values, taken)
    _group(layer, values, taken)
    _window(layer, values, taken)
    return layer


def _values(environ: Mapping[str, str], files: Sequence[Path]) -> dict[str, Said]:
    found: dict[str, Said] = {}
    for path in files:
        for name, value in read_update_conf(path).items():
            found[name] = Said(name, value, f"file:{path}")
    for name in _VARIABLES:
        if environ.get(name):
            found[name] = Said(name, environ[name].strip(), f"environment {name}")
    return {name: found[name] for name in _VARIABLES if name in found and found[name].value}


def _given(taken: Mapping[str, object], table: str, key: str) -> bool:
    inside = taken.get(table)
    return isinstance(inside, Mapping) and key in inside


def _strategy(layer: FlatcarLayer, values: Mapping[str, Said], taken: Mapping[str, object]) -> None:
    said = values.get("REBOOT_STRATEGY")
    if said is None or _given(taken, "agent", "strategy"):
        return
    if said.value == "best-effort":
        said.wrong(
            "best-effort rebooted without a lock whenever etcd was away, and is gone: write etcd-lock, "
            "or reboot for a machine that may reboot at any time"
        )
    if said.value not in _STRATEGIES:
        near = names.did_you_mean(said.value, _STRATEGIES)
        said.wrong(f"unknown strategy {said.value[:40]!r}{near} (known: {', '.join(_STRATEGIES)})")
    layer.add("agent", "strategy", _STRATEGIES[said.value], said)


def _store(layer: FlatcarLayer, values: Mapping[str, Said], taken: Mapping[str, object]) -> None:
    """Endpoints and credentials are one thing: whoever names another store has no use for these credentials."""
    said = values.get("LOCKSMITHD_ENDPOINT")
    if said is None or _given(taken, "store", "url"):
        return
    try:
        url = store_url(said.value)
    except ValueError as error:
        said.wrong(str(error))
    password = values.get("LOCKSMITHD_ETCD_PASSWORD")
    if password is not None and not _given(taken, "store", "password_file"):
        password.wrong(
            "secrets are files, and everybody can read this one: write the password into a file of root's and name "
            "that as password_file in [store] of /etc/locksmith/locksmith.toml"
        )
    layer.add("store", "url", url, said)
    for name, key in _CREDENTIALS.items():
        credential = values.get(name)
        if credential is None or _given(taken, "store", key):
            continue
        if key != "username" and not url.startswith("etcds:"):
            credential.wrong(
                "has no use with http:// endpoints: write https:// in LOCKSMITHD_ENDPOINT, or leave it out"
            )
        layer.add("store", key, credential.value, credential)


def store_url(endpoints: str) -> str:
    """The store URL of a list of etcd endpoints such as `http://10.0.0.1:2379, http://10.0.0.2:2379`.

    Raises ValueError with the remedy. A port that is not written is that of the scheme (80, 443), as it was to locksmith.
    The URL stands for etcd's v3 API: what locksmith keeps on the same servers under the v2 API is another, unseen lock.
    """
    schemes: list[str] = []
    hosts: list[str] = []
    for one in (part.strip() for part in endpoints.split(",")):
        scheme, host = _endpoint(one)
        schemes.append(scheme)
        hosts.append(host)
    if len(set(schemes)) > 1:
        raise ValueError(
            "http:// and https:// are mixed: with one of them in clear nothing is protected; write the same for all"
        )
    return str(parse_store_url(f"{'etcds' if schemes[0] == 'https' else 'etcd'}://{','.join(hosts)}"))


def _endpoint(text: str) -> tuple[str, str]:
    if not text:
        raise ValueError("an endpoint is empty: write http://HOST:2379 between single commas")
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError as error:
        raise ValueError("an endpoint cannot be read: write http://HOST:2379 or https://HOST:2379") from error
    if "@" in url.netloc:  # not shown: what stands before it may be a password
        raise ValueError(
            "an endpoint has user or password in it: write neither; see store.username, store.password_file"
        )
    if url.scheme not in _PORTS or not url.hostname:
        raise ValueError(f"{text[:80]!r} is not an etcd endpoint: write http://HOST:2379 or https://HOST:2379")
    if url.path.strip("/") or url.query or url.fragment:
        raise ValueError(f"{text[:80]!r} has a path: etcd's v3 API has none; write {url.scheme}://{url.netloc}")
    host = f"[{url.hostname}]" if ":" in url.hostname else url.hostname
    return url.scheme, f"{host}:{_PORTS[url.scheme] if port is None else port}"


def _group(layer: FlatcarLayer, values: Mapping[str, Said], taken: Mapping[str, object]) -> None:
    """GROUP of the same file is another thing: the channel of updates."""
    said = values.get("LOCKSMITHD_GROUP")
    if said is None or _given(taken, "node", "group"):
        return
    try:
        names.group_name(said.value)
    except ValueError as error:
        said.wrong(f"{error}; rename it on all nodes of the group together")
    layer.add("node", "group", said.value, said)


# ---------------------------------------------------------------- the window


def _window(layer: FlatcarLayer, values: Mapping[str, Said], taken: Mapping[str, object]) -> None:
    start, length = (values.get(f"LOCKSMITHD_{name}") or values.get(name) for name in (START, LENGTH))
    if (start is None and length is None) or taken.get("windows"):
        return
    if start is None or length is None:
        there, missing = (length, START) if start is None else (start, LENGTH)
        if there is not None:
            there.wrong(f"needs {missing} beside it: write both or neither")
        return
    try:
        begins, period = parse_start(start.value)
    except ValueError as error:
        start.wrong(str(error))
    try:
        lasts = parse_length(length.value, period)
    except ValueError as error:
        length.wrong(str(error))
    for key, value, said in (("start", begins, start), ("length", format_duration(lasts), length)):
        layer.parts.append(({"windows": {WINDOW: {key: value}}}, said.origin))
    layer.parts.append(({"windows": {WINDOW: {"timezone": "local"}}}, start.origin))


def read_update_conf(path: Path) -> dict[str, str]:
    """The variables of one file; a missing file has none. Raises ConfigError when it cannot be read."""
    try:
        text = path.read_bytes().decode(errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read: {error.strerror}; it is meant to be readable by everybody"
        ) from error
    return parse_environment_file(text)


_STRATEGY_PLACES = (*(f"file:{path}" for path in FILES), "environment REBOOT_STRATEGY")


def notices(origins: Mapping[str, str]) -> Iterator[str]:
    """What somebody who moves here from locksmith should hear at each start; `origins` are those of `Config.origin`."""
    places = (*(f"file:{path}" for path in FILES), "environment LOCKSMITHD_ENDPOINT")
    if origins.get("store.url") in places:
        yield (
            "the store comes from LOCKSMITHD_ENDPOINT, and is used through etcd's v3 API: slots that nodes with the old "
            "locksmith hold there (v2) are not seen, so do not let both reboot at the same time; see docs/flatcar.md"
        )


def lock_left_out(strategy: str, origins: Mapping[str, str]) -> str | None:
    """Why strategy reboot is not believed: update.conf says it, and somebody named a store elsewhere, surely to lock in it."""
    if strategy != "reboot" or origins.get("agent.strategy") not in _STRATEGY_PLACES:
        return None
    if origins.get("store.url", "default") in ("default", *_STRATEGY_PLACES, "environment LOCKSMITHD_ENDPOINT"):
        return None
    return (
        "comes from locksmith's REBOOT_STRATEGY and takes no slot, while the store is configured elsewhere: say in [agent] "
        'which is meant, strategy = "lock" or strategy = "reboot"'
    )


def without_store(origins: Mapping[str, str]) -> str:
    """What to add to "no store is configured" on a host whose strategy comes from locksmith's variables; else nothing."""
    if origins.get("agent.strategy") not in _STRATEGY_PLACES:
        return ""
    return (
        "; or LOCKSMITHD_ENDPOINT: locksmith's default of 127.0.0.1 is not taken, since a node with an etcd of its own would "
        "always get a slot (docs/flatcar.md)"
    )
