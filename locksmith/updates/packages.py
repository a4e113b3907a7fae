"""Packages that want a reboot, as people read them: a few names, never a wall of text.

The idea a reader would miss: the list is cut only here, for the eye. A fingerprint is made from all of them.
"""

from collections.abc import Sequence

_SHOWN = 8


def named(packages: Sequence[str]) -> str:
    """`linux-image-6.1.0-27, libc6 and 3 more`; empty for none."""
    more = len(packages) - _SHOWN
    return ", ".join(packages[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
