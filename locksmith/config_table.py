"""One table of the configuration, read key by key: type, range, default, and the error that says file, key and remedy.

A key is known because somebody asked for it: `finish` refuses what nobody asked for. So a key is declared in one place,
where it is read, and that place also records its value and origin for `lockctl config --origin`.
"""

import json
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import NoReturn, TypeVar, cast, get_args

from locksmith.config_files import Layers
from locksmith.core import names
from locksmith.core.durations import format_duration, parse_duration
from locksmith.errors import ConfigError

T = TypeVar("T")
Word = TypeVar("Word", bound=str)

DEFAULT = "default"
NOTHING = timedelta(0)
_MAX_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Setting:
    """One key as it was read: dotted, its value as text (None: unset), and where it comes from."""

    key: str
    value: str | None
    origin: str


class Table:
    """A table under its dotted name; missing is empty. Every reader raises ConfigError."""

    def __init__(
        self, name: str, layers: Layers, settings: list[Setting], values: object = None, entry_name: str = ""
    ) -> None:
        """Take the top-level table of that name, or `values` as the table; `entry_name` is the last part of the name."""
        self.name = name
        self.entry_name = entry_name or name.rpartition(".")[2]
        self._layers = layers
        self._settings = settings
        found = layers.tree.get(name, {}) if values is None else values
        if not isinstance(found, dict):
            raise ConfigError(f"{self._where(name)}: must be a table: write [{name}]")
        self._values: dict[str, object] = found
        self._asked: list[str] = []

    def _where(self, dotted: str) -> str:
        return f"{shown_origin(self._layers.origins.get(dotted, DEFAULT))}: {dotted}"

    def origin(self, key: str) -> str:
        """Where the key comes from."""
        return self._layers.origins.get(f"{self.name}.{key}", DEFAULT) if key in self._values else DEFAULT

    def strength(self, key: str) -> int:
        """How strong the place is in which the key was given: nowhere, file, environment, option."""
        origin = self.origin(key)
        kinds = (DEFAULT, "file:", "environment ", "--")
        return max(rank for rank, kind in enumerate(kinds) if origin.startswith(kind))

    def fail(self, key: str, problem: str) -> NoReturn:
        """Raise ConfigError about one key of this table, or about the table when the key was not written."""
        dotted = f"{self.name}.{key}"
        known = dotted if dotted in self._layers.origins else self.name
        raise ConfigError(f"{shown_origin(self._layers.origins.get(known, DEFAULT))}: {dotted}: {problem}")

    def _take(self, key: str) -> object:
        self._asked.append(key)
        return self._values.get(key)

    def record(self, key: str, value: str | None) -> None:
        """Note what a key came to be."""
        self._settings.append(Setting(f"{self.name}.{key}", value, self.origin(key)))

    def parsed(self, key: str, default: str | None, parse: Callable[[str], T]) -> T | None:
        """A text that a parser understands; its ValueError becomes the message. None only without a default."""
        value = self._text(key, default)
        try:
            result = None if value is None else parse(value)
        except ValueError as error:
            self.fail(key, str(error))
        self.record(key, value)
        return result

    def _text(self, key: str, default: str | None) -> str | None:
        value = self._take(key)
        if value is None:
            return default
        if not isinstance(value, str):
            self.fail(key, f"{_shown(value)} is not a text: write it in quotes")
        return value

    def required(self, key: str, example: str, parse: Callable[[str], T]) -> T:
        """A text without a default."""
        result = self.parsed(key, None, parse)
        if result is None:
            self.fail(key, f"is missing: write {key} = {json.dumps(example)}")
        return result

    def word(self, key: str, default: Word, words: object) -> Word:
        """One of the words of a Literal."""
        known: tuple[str, ...] = get_args(words)

        def check(text: str) -> Word:
            if text not in known:
                raise ValueError(
                    f"unknown word {text[:_MAX_SHOWN]!r}{names.did_you_mean(text, known)} (known: {', '.join(known)})"
                )
            return cast("Word", text)

        return self.parsed(key, default, check) or default

    def duration(self, key: str, default: str, *, above: timedelta | None = None) -> timedelta:
        """A duration, written as text; `above` is what it must be more than."""
        value = self._take(key)
        if isinstance(value, int | float) and not isinstance(value, bool):
            example = f"{value}s" if isinstance(value, int) and value >= 0 else default
            self.fail(key, f'{value} is a bare number: write a duration in quotes, such as "{example}"')
        if value is not None and not isinstance(value, str):
            self.fail(key, f'{_shown(value)} is not a duration: write one in quotes, such as "{default}"')
        try:
            duration = parse_duration(default if value is None else value)
        except ValueError as error:
            self.fail(key, str(error))
        if above is not None and duration <= above:
            self.fail(key, f'{value!r} is too short: write more than {format_duration(above)}, such as "{default}"')
        self.record(key, format_duration(duration))
        return duration

    def whole(self, key: str, default: int) -> int:
        """A whole number, 0 or more."""
        value = self._take(key)
        if value is None:
            value = default
        # To Python True is the number 1; to the person who wrote it, it is not.
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            self.fail(key, f"{_shown(value)} is not a number: write a whole one of 0 or more, without quotes")
        self.record(key, str(value))
        return value

    def flag(self, key: str, *, default: bool) -> bool:
        """True or false."""
        value = self._take(key)
        if value is None:
            value = default
        if not isinstance(value, bool):
            self.fail(key, f"{_shown(value)} is neither true nor false: write one of them, without quotes")
        self.record(key, str(value).lower())
        return value

    def path(self, key: str, default: str) -> Path:
        """An absolute path."""
        return self.parsed(key, default, absolute_path) or Path(default)

    @staticmethod
    def absolute(text: str) -> Path:
        """Parser of a path, for `required`."""
        return absolute_path(text)

    def credential(self, key: str, environ: Mapping[str, str]) -> Path | None:
        """The file itself, or the credential of its base name that systemd gave to the unit, see systemd.exec(5)."""

        def find(text: str) -> Path:
            folder, written = environ.get("CREDENTIALS_DIRECTORY"), Path(text)
            if folder and written.name and is_file(given := Path(folder) / written.name):
                return given
            # Who types a variable stands in a folder; who writes a file does not.
            return written.absolute() if self.origin(key).startswith("environment ") else absolute_path(text)

        return self.parsed(key, None, find)

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts, each with something in it; empty when it was not written."""
        value = self._take(key)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(text, str) and text.strip() for text in value):
            self.fail(key, f'{_shown(value)} is not a list of texts: write {key} = ["one", "other"]')
        self.record(key, json.dumps(value, ensure_ascii=False))
        return tuple(str(text) for text in value)

    def numbers(self, key: str, allowed: Container[int]) -> tuple[int, ...]:
        """A list of whole numbers; empty when it was not written."""
        value = self._take(key)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(type(number) is int and number in allowed for number in value):
            self.fail(key, f"{_shown(value)} is not a list of such numbers: write {key} = [200, 204]")
        self.record(key, json.dumps(value))
        return tuple(int(number) for number in value)

    def command(self, key: str) -> tuple[str, ...]:
        """A command as a list of words; empty when it was not written."""
        value = self._take(key)
        if value is None:
            return ()
        if isinstance(value, str):
            self.fail(key, f'a command is a list: write ["sh", "-c", {json.dumps(value, ensure_ascii=False)}]')
        if not isinstance(value, list) or not value or not all(isinstance(word, str) for word in value):
            self.fail(key, f'{_shown(value)} is not a command: write a list of texts such as ["/usr/bin/true"]')
        words = tuple(str(word) for word in value)
        if not words[0] or any("\0" in word for word in words):
            self.fail(key, "the command has no program: write its path first")
        self.record(key, json.dumps(words, ensure_ascii=False))
        return words

    def needed_command(self) -> tuple[str, ...]:
        """The key `command`, where it must be there."""
        return self.command("command") or self.fail("command", 'is missing: write command = ["/path/of/program"]')

    def mapping(self, key: str, check_name: Callable[[str], str], check_value: Callable[[str], str]) -> dict[str, str]:
        """A table of texts."""
        value = self._take(key)
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.fail(key, f'{_shown(value)} is not a table: write {key} = {{ name = "value" }}')
        table = Table(f"{self.name}.{key}", self._layers, self._settings, value)
        found = {}
        for name in sorted(value):
            try:
                check_name(name)
            except ValueError as error:
                table.fail(name, str(error))
            found[name] = table.required(name, "value", check_value)
        return found

    def entries(self) -> Iterator["Table"]:
        """The named entries in this table, in the order of their names."""
        for name in sorted(self._values):
            entry = Table(f"{self.name}.{name}", self._layers, self._settings, self._values[name])
            try:
                names.entry_name(name)
            except ValueError as error:
                raise ConfigError(f"{self._where(entry.name)}: {error}") from error
            yield entry

    def kind(self, words: object, elsewhere: Mapping[str, str] | None = None) -> str:
        """The key `kind`, one of the words of a Literal; `elsewhere` says where other words belong."""
        known: tuple[str, ...] = get_args(words)

        def check(text: str) -> str:
            if elsewhere and text in elsewhere:
                raise ValueError(elsewhere[text])
            if text not in known:
                raise ValueError(f"unknown kind {text!r}{names.did_you_mean(text, known)} (known: {', '.join(known)})")
            return text

        return self.required("kind", known[0], check)

    def inner(self, key: str) -> Iterator["Table"]:
        """The tables in the table `key`, in the order of their names, which are those of files."""
        value = self._take(key)
        if value is None:
            return
        if not isinstance(value, dict):
            self.fail(key, f'{_shown(value)} is not a table: write [{self.name}.{key}."NAME"]')
        for name in sorted(value):
            if "/" in name or not name.isprintable():
                self.fail(key, f"{name!r} is not the name of a file in a folder: leave its folder out")
            yield Table(f"{self.name}.{key}.{name}", self._layers, self._settings, value[name], name)

    def is_empty(self) -> bool:
        """Whether nothing stands in it."""
        return not self._values

    def finish(self, also: Sequence[str] = ()) -> None:
        """Refuse keys that nobody asked for; `also` are known all the same."""
        known = {*self._asked, *also}
        for key in self._values:
            if key not in known:
                near = names.did_you_mean(key, known)
                self.fail(key, f"unknown key{near} (known in [{self.name}]: {', '.join(sorted(known))})")


def absolute_path(text: str) -> Path:
    """Return the path if it is absolute: programs start in folders that nobody chose. Raises ValueError."""
    if not text.startswith("/") or "\0" in text:
        raise ValueError(f"{text!r} is not an absolute path: write one that begins with '/'")
    return Path(text)


def is_file(path: Path) -> bool:
    """Whether it is there; what may not be looked at is left for its reader to report, which may have more rights."""
    try:
        return path.is_file()
    except PermissionError:
        return True


def shown_origin(origin: str) -> str:
    """An origin as the head of a message."""
    return origin.removeprefix("file:")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"
