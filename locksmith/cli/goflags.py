"""Flags as Go's `flag` package reads them, for `locksmithctl`.

The idea a reader would miss: one dash and two are the same, a word that is no flag ends them all, and a switch takes its
value only behind `=`; so `-group a lock` and `--group=a lock` are one, and `lock -group a` is none.
Origin: the documentation of Go's flag package, and what locksmithctl was seen to print (peers.md 2.2).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

_YES = ("1", "t", "T", "true", "TRUE", "True")
_NO = ("0", "f", "F", "false", "FALSE", "False")


class FlagError(Exception):
    """Words that Go's flag package refuses; the message is its own."""


class HelpAsked(Exception):
    """-h or -help, where no flag has that name."""


@dataclass(slots=True)
class Flags:
    """What was given, the last of each, and the words from the first on that is no flag."""

    texts: dict[str, str] = field(default_factory=dict)
    switches: dict[str, bool] = field(default_factory=dict)
    rest: list[str] = field(default_factory=list)


def parse(words: Sequence[str], known: Mapping[str, str], switches: Sequence[str] = ()) -> Flags:
    """Read the flags in front of the words. `known` are those with a value (and what they are for).

    Raises FlagError, HelpAsked.
    """
    found = Flags()
    left = list(words)
    while left and left[0].startswith("-") and left[0] != "-":
        word = left.pop(0)
        if word == "--":
            break
        name, equals, value = word.removeprefix("-").removeprefix("-").partition("=")
        if not name or name.startswith("-"):
            raise FlagError(f"bad flag syntax: {word}")
        if name in switches:
            found.switches[name] = _switch(name, value) if equals else True
        elif name in known:
            if not equals and not left:
                raise FlagError(f"flag needs an argument: -{name}")
            found.texts[name] = value if equals else left.pop(0)
        elif name in ("h", "help"):
            raise HelpAsked
        else:
            raise FlagError(f"flag provided but not defined: -{name}")
    found.rest = left
    return found


def from_environment(found: Flags, known: Mapping[str, str], prefix: str, environ: Mapping[str, str]) -> None:
    """Add what was not given from PREFIX_NAME, upper case and `_` for `-`; an empty variable counts as none."""
    for name in known:
        value = environ.get(f"{prefix}_{name.upper().replace('-', '_')}")
        if value:
            found.texts.setdefault(name, value)


def _switch(name: str, value: str) -> bool:
    if value not in (*_YES, *_NO):
        raise FlagError(f'invalid boolean value "{value}" for -{name}: parse error')
    return value in _YES
