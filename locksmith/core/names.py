"""The names that people give: groups, labels, nodes, entries of the configuration; and the nearest known one to a slip.

Names become parts of store keys, of metrics and of command lines, so they are plain ASCII without slashes or spaces, and
none begins with a dash. The patterns are those of the protocol (docs/protocol.md) and never become wider.
"""

import difflib
import re
from collections.abc import Iterable

NAME_LENGTH = 63
"""Most characters of a group, a label's name and a label's value."""
NODE_LENGTH = 128
"""Most characters of a node id."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_ENTRY = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_ENTRY_FORM = "small letters, digits, '_' and '-', first a letter or digit, at most 32 characters"


def group_name(text: str) -> str:
    """Return the group's name if it is one; raises ValueError with the rule."""
    return _checked(text, "group name", NAME_LENGTH)


def label_name(text: str) -> str:
    """Return the label's name if it is one; raises ValueError with the rule."""
    return _checked(text, "label name", NAME_LENGTH)


def label_value(text: str) -> str:
    """Return the label's value if it is one; raises ValueError with the rule."""
    return _checked(text, "label value", NAME_LENGTH)


def node_id(text: str) -> str:
    """Return the node id if it is one; raises ValueError with the rule."""
    return _checked(text, "node id", NODE_LENGTH)


def entry_name(text: str) -> str:
    """Return the name of an entry such as [gates.NAME] if it is one; raises ValueError with the rule."""
    if not _ENTRY.fullmatch(text):
        raise ValueError(f"{_shown(text)} is not an entry name: use {_ENTRY_FORM}")
    return text


def _checked(text: str, what: str, length: int) -> str:
    if len(text) > length:
        raise ValueError(f"{_shown(text)} is too long for a {what}: {len(text)} characters, at most {length}")
    if not _NAME.fullmatch(text):
        raise ValueError(
            f"{_shown(text)} is not a {what}: use letters, digits, '.', '_' and '-', first a letter or digit"
        )
    return text


def _shown(text: str) -> str:
    """Quoted, so that control characters cannot reach a terminal, and short."""
    return repr(text if len(text) <= NODE_LENGTH else f"{text[:40]}…")


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate that the writer of `word` most likely meant, in any case; None when nothing is near."""
    by_small = {candidate.casefold(): candidate for candidate in candidates}
    found = difflib.get_close_matches(word.casefold()[:NODE_LENGTH], by_small, n=1, cutoff=0.6)
    return by_small[found[0]] if found else None


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """`; did you mean 'x'?` to put behind a message, or nothing."""
    found = nearest(word, candidates)
    return f"; did you mean {found!r}?" if found else ""
