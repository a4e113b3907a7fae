"""Delta debugging: the fewest pieces that still fail (Zeller's ddmin, over the list of troubles)."""

from collections.abc import Callable, Sequence


def shrink(pieces: Sequence[int], fails: Callable[[Sequence[int]], bool], budget: int = 2000) -> list[int]:
    """A list that still fails, and no longer does when any single piece is taken out (unless the budget of tries ends)."""
    kept, parts = list(pieces), 2
    tries = 0
    while len(kept) > 1 and tries < budget:
        size = max(1, len(kept) // parts)
        for start in range(0, len(kept), size):
            rest = kept[:start] + kept[start + size :]
            tries += 1
            if fails(rest):
                kept, parts = rest, max(2, parts - 1)
                break
        else:
            if size == 1:
                break
            parts = min(len(kept), parts * 2)
    if len(kept) == 1 and fails([]):
        return []
    return kept
