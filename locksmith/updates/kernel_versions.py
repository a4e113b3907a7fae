"""Which of two kernel releases is the newer one, in the order of Debian and in that of RPM.

The idea a reader would miss: the two orders differ for releases that both distributions use. RPM takes `427.13.1.el9_4`
for newer than `427.el9` (a number beats letters), dpkg takes it for older (letters beat the end of a part). So the host
decides which order holds. Sources: deb-version(7) with the tags that GRUB treats as pre-releases
(`[._-](pre|rc|test|git|old|trunk)`), and rpmvercmp in rpm's lib/rpmvercmp.c.
"""

import re
from itertools import zip_longest
from pathlib import Path

_PRE_RELEASE = re.compile(r"[._-](pre|rc|test|git|old|trunk)")
_DEB_PART = re.compile(r"([^0-9]*)([0-9]*)")
_RPM_PART = re.compile(r"[0-9]+|[A-Za-z]+|~|\^")
_DEBIAN = ("etc/debian_version", "var/lib/dpkg/status")


def is_newer(one: str, other: str, *, debian: bool) -> bool:
    """Whether `one` is the newer kernel release of the two."""
    return (compare_debian if debian else compare_rpm)(one, other) > 0


def is_debian(root: Path) -> bool:
    """Whether Debian's order of versions holds on the machine with this root."""
    return any((root / name).exists() for name in _DEBIAN)


def compare_debian(one: str, other: str) -> int:
    """Negative, 0 or positive, as dpkg orders upstream versions."""
    parts = (_DEB_PART.findall(_PRE_RELEASE.sub(r"~\1", text)) for text in (one, other))
    for (head, digits), (other_head, other_digits) in zip_longest(*parts, fillvalue=("", "")):
        for char, other_char in zip_longest(head, other_head, fillvalue=""):
            if order := _weight(char) - _weight(other_char):
                return order
        if order := _number(digits, other_digits):
            return order
    return 0


def compare_rpm(one: str, other: str) -> int:
    """Negative, 0 or positive, as rpm orders versions; separators mean nothing."""
    for part, other_part in zip_longest(_RPM_PART.findall(one), _RPM_PART.findall(other), fillvalue=""):
        if part != other_part and (order := _rpm_part(part, other_part)):
            return order
    return 0


def _rpm_part(one: str, other: str) -> int:
    """Two parts that differ; empty is the end. A tilde is older than the end, a caret newer than it but older than a part."""
    if "~" in (one, other):
        return -1 if one == "~" else 1
    if not one or not other:
        return 1 if one else -1
    if "^" in (one, other):
        return -1 if one == "^" else 1
    if one[0].isdigit() and other[0].isdigit():
        return _number(one, other)
    if one[0].isdigit() or other[0].isdigit():
        return 1 if one[0].isdigit() else -1
    return (one > other) - (one < other)


def _weight(char: str) -> int:
    if not char:
        return 0
    if char == "~":
        return -1
    return ord(char) if char.isascii() and char.isalpha() else ord(char) + 256


def _number(one: str, other: str) -> int:
    """Digits of any length, without converting them: Python refuses to convert very long ones."""
    left, right = ((len(text), text) for text in (one.lstrip("0"), other.lstrip("0")))
    return (left > right) - (left < right)
