"""What a check with several questions has found, and what it comes to.

The idea a reader would miss: one thing that is surely wrong outweighs another that nobody could say, since the first is what
somebody can see to; and a reason must read the same as long as nothing has changed, so names come sorted and few.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from locksmith.core.verdict import Closed, Open, Unknown, Verdict

_SHOWN = 4


@dataclass(slots=True)
class Findings:
    """Filled while asking: what is `wrong`, what is `unclear`, and `notes` for an open verdict."""

    wrong: list[str] = field(default_factory=list)
    unclear: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def verdict(self) -> Verdict:
        """Closed by anything wrong, else unknown by anything unclear, else open."""
        if self.wrong:
            return Closed("; ".join(self.wrong))
        if self.unclear:
            return Unknown(self.unclear[0])  # what cannot be asked once cannot be asked for the next question either
        return Open("; ".join(self.notes))


def listed(names: Iterable[str]) -> str:
    """`a, b, c, d and 3 more`, sorted."""
    ordered = sorted(names)
    more = len(ordered) - _SHOWN
    return ", ".join(ordered[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
