"""From files, environment and options to one merged tree that remembers where each value was written.

Tables merge, values and lists replace; a later layer wins: main file, drop-ins by file name, environment, options. Below
all of them lies what a Flatcar host says in update.conf, see `config_flatcar`.
What must be told with the exact file (syntax, unknown tables, slots, `[[gates]]`) is judged here, before the merge
blurs it; the meaning of single keys is judged by `config.py`, through `config_table.py`.
"""

import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from locksmith import config_flatcar
from locksmith.core.names import did_you_mean
from locksmith.errors import ConfigError

ROOTS = (Path("/etc/locksmith"), Path("/run/locksmith"), Path("/usr/lib/locksmith"))
"""The configuration's folders, the strongest first."""
NAME = "locksmith.toml"
ENTRY_TABLES = ("updates", "gates", "windows", "health", "notify")
"""Tables whose members are named entries."""
TABLES = ("store", "node", "agent", *ENTRY_TABLES, "verify", "reboot", "hooks", "gateway")
VARIABLES = {
    "LOCKSMITH_STORE": "store.url",
    "LOCKSMITH_GROUP": "node.group",
    "LOCKSMITH_NODE": "node.id",
    "LOCKSMITH_STORE_USERNAME": "store.username",
    "LOCKSMITH_STORE_PASSWORD_FILE": "store.password_file",
    "LOCKSMITH_STORE_TOKEN_FILE": "store.token_file",
    "LOCKSMITH_STORE_CA_FILE": "store.ca_file",
    "LOCKSMITH_STORE_CERT_FILE": "store.cert_file",
    "LOCKSMITH_STORE_KEY_FILE": "store.key_file",
}
"""Environment variables and the keys that they set. LOCKSMITH_CONFIG names the file."""
OPTIONS = {"store.url": "--store", "node.group": "--group", "gateway.metrics_listen": "--listen"}
"""The options behind the keys that a command line can set."""

_SECRET_VARIABLES = ("LOCKSMITH_STORE_PASSWORD", "LOCKSMITH_STORE_TOKEN")
_SLOT_KEYS = ("slots", "max")
_DEEPEST = 16
"""Tables in tables: no key of ours is as deep, and dots write thousands of them on one line."""

Tree = dict[str, object]


@dataclass(slots=True)
class Layers:
    """The merged tree, the origin of each dotted leaf, and the files in the order they were read."""

    tree: Tree = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)

    def lay(self, tree: Mapping[str, object], origin: str) -> None:
        """Put a layer on top."""
        _merge(self.tree, tree, "", origin, self.origins)


def gather(
    file: Path | None,
    environ: Mapping[str, str],
    roots: Sequence[Path],
    overrides: Mapping[str, str],
    flatcar: Sequence[Path] = config_flatcar.FILES,
) -> Layers:
    """Read everything that applies and merge it; a named file alone, so without Flatcar's. Raises ConfigError."""
    layers = Layers()
    named = file or (Path(environ["LOCKSMITH_CONFIG"]) if environ.get("LOCKSMITH_CONFIG") else None)
    for path in [named] if named is not None else find(roots):
        layers.lay(read(path), f"file:{path}")
        layers.files.append(path)
    for variable in _SECRET_VARIABLES:
        if environ.get(variable):
            raise ConfigError(
                f"environment {variable}: secrets are files: write it into a file and name that in {variable}_FILE"
            )
    for variable, key in VARIABLES.items():
        # An empty variable is an unset one, the way units and shells clear it.
        if environ.get(variable):
            layers.lay(_nested(key, environ[variable]), f"environment {variable}")
    for key, value in overrides.items():
        layers.lay(_nested(key, value), OPTIONS.get(key) or f"--{key.rpartition('.')[2]}")
    if named is None:
        # The weakest comes last: it gives only what nobody has said, so nothing of it is judged in vain.
        weakest = config_flatcar.flatcar_layer(environ, layers.tree, flatcar)
        for tree, origin in weakest.parts:
            layers.lay(tree, origin)
        layers.files[:0] = weakest.files
    return layers


def find(roots: Sequence[Path]) -> Iterator[Path]:
    """The files that apply, weakest first: the first main file, then drop-ins by file name."""
    for root in roots:
        if _there(main := root / NAME):
            yield main
            break
    by_name: dict[str, Path] = {}
    for root in reversed(roots):
        by_name |= {path.name: path for path in _drop_ins(root / f"{NAME}.d")}
    for name in sorted(by_name):
        if by_name[name].resolve() != Path("/dev/null"):
            yield by_name[name]


def _there(path: Path) -> bool:
    """Whether the name exists, as a dangling link too: that one is an error to be told, not a file to be passed over."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    return True


def _drop_ins(folder: Path) -> Iterable[Path]:
    try:
        return [path for path in folder.iterdir() if path.suffix == ".toml" and not path.name.startswith(".")]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be listed: {error.strerror}") from error


def read(path: Path) -> Tree:
    """Parse one file and judge its shape. Raises ConfigError with file, key and remedy."""
    try:
        tree = tomllib.loads(path.read_bytes().decode())
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read: {error.strerror}; check --config, LOCKSMITH_CONFIG and rights"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 at byte {error.start}: save it as UTF-8") from error
    except ValueError as error:  # TOMLDecodeError, and what Python says to a number of 5000 digits
        raise ConfigError(f"{path}: not TOML: {error}") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: nested too deeply") from error
    _judge_slots(path, tree)
    for name, value in tree.items():
        if name not in TABLES:
            raise ConfigError(f"{path}: {name}: unknown table{did_you_mean(name, TABLES)} (known: {', '.join(TABLES)})")
        _judge_table(path, name, value)
    return tree


def _judge_slots(path: Path, tree: Mapping[str, object], inside: tuple[str, ...] = ()) -> None:
    """Slots in a file would differ between nodes; they are looked for first, since "unknown key" would not help."""
    if len(inside) > _DEEPEST:
        raise ConfigError(f"{path}: {'.'.join(inside[:3])}: nested too deeply")
    for key, value in tree.items():
        here = (*inside, key)
        named_by_people = inside == ("node", "labels") or (
            len(inside) == 1 and inside[0] in ENTRY_TABLES and isinstance(value, dict)
        )
        if key in _SLOT_KEYS and not named_by_people:
            raise ConfigError(f"{path}: {'.'.join(here)}: slots live in the store: lockctl set-max N --group G")
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, dict):
                _judge_slots(path, item, here)


def _judge_table(path: Path, name: str, value: object) -> None:
    right = f"[{name}.NAME]" if name in ENTRY_TABLES else f"[{name}]"
    if isinstance(value, list):
        raise ConfigError(f"{path}: {name}: [[{name}]] is a list; write a table {right}{_why_names(name)}")
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: {name}: must be a table: write {right}")
    if name not in ENTRY_TABLES:
        return
    for entry, body in value.items():
        if isinstance(body, list) and all(isinstance(item, dict) for item in body) and body:
            raise ConfigError(f"{path}: {name}.{entry}: [[{name}.{entry}]] is a list; write a table [{name}.{entry}]")
        if not isinstance(body, dict):
            raise ConfigError(
                f"{path}: {name}.{entry}: stands outside of an entry: write {right} above it{_why_names(name)}"
            )


def _why_names(name: str) -> str:
    return ", with a name of its own for each entry" if name in ENTRY_TABLES else ""


def _nested(key: str, value: str) -> Tree:
    table, _, last = key.rpartition(".")
    return {table: {last: value}}


def _merge(into: Tree, tree: Mapping[str, object], inside: str, origin: str, origins: dict[str, str]) -> None:
    for key, value in tree.items():
        here = f"{inside}.{key}" if inside else key
        old = into.get(key)
        if isinstance(value, dict):
            table: Tree = old if isinstance(old, dict) else {}
            into[key] = table
            origins.setdefault(here, origin)
            _merge(table, value, here, origin, origins)
        else:
            into[key] = value
            origins[here] = origin
