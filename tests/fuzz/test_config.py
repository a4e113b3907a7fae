"""The configuration: any text and any tree is a configuration, or one error that names file, key and remedy."""

import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from locksmith.config import describe, load
from locksmith.config_checks import CHECK_KEYS, CheckKind
from locksmith.config_files import ENTRY_TABLES, TABLES, VARIABLES, gather
from locksmith.config_flatcar import _VARIABLES as FLATCAR
from locksmith.config_notify import NOTIFY_KEYS
from locksmith.config_updates import UPDATE_KEYS, UpdateKind
from locksmith.core.environment_file import parse_environment_file
from locksmith.errors import ConfigError
from locksmith.notify.events import EVENTS
from tests.fuzz.profile import fuzz

KINDS = (*get_args(CheckKind), *get_args(UpdateKind), "webhook", "apprise", "window", "")
KEYS = sorted({setting.key.rpartition(".")[2] for setting in load(Path("/dev/null"), environ={}).settings})
OTHER_KEYS = (
    "enabled",
    "kind",
    "start",
    "length",
    "timezone",
    "each",
    "force_after",
    "on_failure",
    "slots",
    "max",
    "x",
)
WORDS = st.one_of(
    st.text(max_size=6),
    st.sampled_from([*KINDS, *KEYS, *EVENTS]),
    st.sampled_from([
        "", " ", "0s", "5s", "1h30m", "-1s", "99999999d", "Thu 23:00", "*-*-* 25:61", "23:00", "Europe/Berlin", "UTC", "../x",
        "/", "/etc/passwd", "/nonexistent/" + "x" * 300, "/\0", "relative", "unix:", "unix:/x", "127.0.0.1:9810", "[::1]:1", ":1",
        "[::1", "h:99999", "h:٣", "http://[", "http://[::1]:x", "https://u:p@h/", "http://h:0/\n", "etcd://h", "etcds://[", "consul://",
        "sqlite:///x", "sqlite:///\0", "memory://", "(", "(?i", "a{99999999999}", "[z-a]", "lock", "observe", "closed", "present",
        "alertmanager", "prometheus", "a=b", 'severity=~"x', "{x}", "{0.__class__}", "\x1b[2J", "\ud7ff", "é" * 100,
    ]),
)  # fmt: skip
VALUES = st.recursive(
    WORDS | st.booleans() | st.integers() | st.floats() | st.sampled_from([10**400, -1, 0, 1, 2**63]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(["a", "10-drain", "B", "é", "", "x" * 40]) | WORDS
BODIES = st.dictionaries(
    st.sampled_from([*KEYS, *CHECK_KEYS, *UPDATE_KEYS, *NOTIFY_KEYS, *OTHER_KEYS]), VALUES, max_size=4
)


@st.composite
def entries(draw: st.DrawFn) -> dict[str, Any]:
    """Entries that have a kind, most of them, so that their other keys are read."""
    kinds = st.sampled_from(KINDS) | VALUES
    found = draw(st.dictionaries(NAMES, BODIES, max_size=2))
    return {name: {"kind": draw(kinds), **body} if draw(st.booleans()) else body for name, body in found.items()}


@st.composite
def trees(draw: st.DrawFn) -> dict[str, Any]:
    """A whole configuration."""
    tree: dict[str, Any] = {}
    for name in draw(st.lists(st.sampled_from(TABLES), max_size=3, unique=True)):
        tree[name] = draw((entries() if name in ENTRY_TABLES else BODIES) | VALUES if draw(st.booleans()) else BODIES)
    return tree


def toml(value: Any) -> str:
    """A value as TOML writes it."""
    match value:
        case bool():
            return str(value).lower()
        case str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case float():
            return repr(value)
        case list():
            return "[" + ", ".join(map(toml, value)) + "]"
        case dict():
            return "{" + ", ".join(f"{toml(name)} = {toml(item)}" for name, item in value.items()) + "}"
        case _:
            return str(value)


def document(tree: dict[str, Any]) -> str:
    """A tree as a TOML file, each table on one line."""
    return "".join(f"{toml(name)} = {toml(value)}\n" for name, value in tree.items())


def judged(path: Path, *, environ: dict[str, str] | None = None, overrides: dict[str, str] | None = None) -> None:
    """What is there is a configuration that can be shown, or one error of one line that names where it comes from."""
    try:
        config = load(path, environ=environ or {}, overrides=overrides)
    except ConfigError as error:
        text = str(error)
        assert re.match(rf"{re.escape(str(path))}|environment |--|default", text), text
        text.encode()
    else:
        for key, value, origin in describe(config):
            assert key
            assert origin
            "".join((value or "",)).encode()


@fuzz(10)
@given(trees())
def test_any_tree(tmp_path: Path, tree: dict[str, Any]) -> None:
    path = tmp_path / "locksmith.toml"
    path.write_bytes(document(tree).encode("utf-8", "surrogatepass"))
    judged(path)


@fuzz(4)
@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")))
@example(b"[" * 5000)
@example(b"a = " + b"1" * 5000)
@example(b"a=" + b"[" * 5000)
@example(b"a=" + b"{a=" * 5000)
@example(b".".join([b"a"] * 3000) + b"=1")
def test_any_bytes(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "locksmith.toml"
    path.write_bytes(data)
    judged(path)


@fuzz(4)
@given(
    st.dictionaries(st.sampled_from([*VARIABLES, "CREDENTIALS_DIRECTORY", *FLATCAR]), WORDS, max_size=4),
    st.dictionaries(st.sampled_from(["store.url", "node.group", "gateway.metrics_listen"]), WORDS, max_size=2),
)
def test_any_environment_and_any_options(tmp_path: Path, environ: dict[str, str], overrides: dict[str, str]) -> None:
    path = tmp_path / "locksmith.toml"
    path.write_text("")
    judged(path, environ=environ, overrides=overrides)


LINES = st.lists(
    st.one_of(
        st.tuples(st.sampled_from([*FLATCAR, "GROUP", "x y", ""]), st.just("="), WORDS).map("".join),
        st.sampled_from([
            "REBOOT_STRATEGY=reboot", "REBOOT_STRATEGY='etcd-lock", "LOCKSMITHD_ENDPOINT=http://h,https://h", "# x\\", "\\", "'",
            "LOCKSMITHD_ENDPOINT=http://[::1]:1", "REBOOT_WINDOW_START=Thu 23:00", "REBOOT_WINDOW_LENGTH=1.5h", "export A=b",
        ]),
        st.text(max_size=12),
    ),
    max_size=6,
).map("\n".join)  # fmt: skip


@fuzz(4)
@given(LINES | st.text(alphabet="'\"\\\n =aA#;$`\r\t", max_size=20))
def test_any_update_conf(tmp_path: Path, text: str) -> None:
    path = tmp_path / "update.conf"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        layers = gather(None, {}, (tmp_path / "none",), {}, (path,))
    except ConfigError as error:
        assert str(error).startswith(str(path))  # noqa: PT017  one of two right ends
        return
    assert set(layers.tree) <= {"agent", "store", "node", "windows"}


@fuzz(4)
@given(LINES | st.text(alphabet="'\"\\\n =aA#;$`\r\t", max_size=20))
def test_an_environment_file_is_read_or_refused(text: str) -> None:
    try:
        found = parse_environment_file(text)
    except ValueError:
        return
    for name, value in found.items():
        assert (name, value) == (name.strip(), value.strip())
        assert set(name + value) <= set(text) | {"\n"}


WRITABLE = st.text(st.characters(exclude_characters="\0\r'\"", exclude_categories=["Cs"]), max_size=12)


@fuzz(2)
@given(st.dictionaries(st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,5}", fullmatch=True), WRITABLE, max_size=3))
def test_an_environment_file_of_single_quotes_is_read_as_written(values: dict[str, str]) -> None:
    """White space at the ends goes, since two of the three readers of update.conf see it as none."""
    text = "".join(f"{name}='{value}'\n" for name, value in values.items())
    assert parse_environment_file(text) == {name: value.strip() for name, value in values.items()}


@pytest.mark.parametrize("name", TABLES)
def test_each_table_of_each_type(tmp_path: Path, name: str) -> None:
    @fuzz()
    @given(VALUES)
    def run(value: Any) -> None:
        path = tmp_path / "locksmith.toml"
        path.write_bytes(document({name: value}).encode("utf-8", "surrogatepass"))
        judged(path)

    run()
