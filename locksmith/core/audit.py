"""Replay the ring of a limit and prove, or disprove, that never more nodes held a slot than allowed.

The ideas a reader would miss. The replay goes backwards, from the holders that the same snapshot shows: so the set of holders
is known at every entry, however much of the beginning the ring has forgotten, and is not believed from the counts. And a
number that is missing is not a pass: what cannot be proved is told apart from what is wrong.
"""

import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from locksmith.core.documents import Guard, NodeRecord
from locksmith.core.history import GRANTS, RETURNS, Entry

Kind = Literal["exceeded", "impossible", "miscounted", "unrecorded", "gap", "unsanctioned"]
UNPROVED: frozenset[Kind] = frozenset({"gap"})
"""Kinds that disprove nothing."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that does not fit. `at` is when, `node` who, where it is about one."""

    kind: Kind
    limit: str
    text: str
    at: datetime | None = None
    node: str = ""
    seq: int | None = None

    @property
    def disproves(self) -> bool:
        """Whether it is wrong, rather than only not proved."""
        return self.kind not in UNPROVED


@dataclass(frozen=True, slots=True)
class Replay:
    """One limit replayed. `most` is the highest number of holders that any entry leaves, `since` the time of the first one."""

    limit: str
    entries: int
    grants: int
    returns: int
    most: int
    since: datetime | None
    whole: bool
    findings: tuple[Finding, ...]


def replay(limit: str, entries: Sequence[Entry], guard: Guard | None, holders: Collection[str]) -> Replay:
    """Replay one limit. `holders` are the nodes whose holders name it; all of it from one snapshot."""
    line = sorted(entries, key=lambda entry: entry.seq)
    if guard is not None and guard.seq == 0 and not line:
        return Replay(limit, 0, 0, 0, len(holders), None, whole=False, findings=())
    found = [*_end(limit, line, guard), *_gaps(limit, line), *_backwards(limit, line, set(holders))]
    return Replay(
        limit,
        len(line),
        sum(entry.act in GRANTS for entry in line),
        sum(entry.act in RETURNS for entry in line),
        max([len(holders), *(entry.count for entry in line)]),
        line[0].at if line else None,
        whole=bool(line) and line[0].seq == 1,
        findings=tuple(sorted(found, key=lambda finding: finding.seq or 0)),
    )


def unsanctioned(node: str, record: NodeRecord) -> Finding | None:
    """Reboots of a node that nobody sanctioned: its boot changed without a slot, or before it was armed."""
    times = record.reboots.get("unsanctioned", 0)
    if not times:
        return None
    text = f"{record.host or node} rebooted {times} time{'s' if times != 1 else ''} without an armed slot"
    return Finding("unsanctioned", f"group/{record.group}", text, node=node)


def _end(limit: str, line: Sequence[Entry], guard: Guard | None) -> list[Finding]:
    """Does the last entry fit the guard?"""
    last = line[-1] if line else None
    seq, count = (guard.seq, guard.count) if guard is not None else (0, 0)
    if last is None:
        return [Finding("gap", limit, f"the guard has seen {seq} changes, and no entry is left")] if seq else []
    if last.seq != seq:
        return [Finding("unrecorded", limit, f"the guard is at change {seq}, the last entry is of change {last.seq}")]
    if last.count != count:
        text = (
            f"the guard counts {count} holders, its last entry {last.count}: changed by something that keeps no history"
        )
        return [Finding("unrecorded", limit, text, last.at)]
    return []


def _gaps(limit: str, line: Sequence[Entry]) -> list[Finding]:
    return [
        Finding("gap", limit, f"changes {before.seq + 1} to {entry.seq - 1} have no entry", entry.at, seq=entry.seq)
        for before, entry in itertools.pairwise(line)
        if entry.seq != before.seq + 1
    ]


def _backwards(limit: str, line: Sequence[Entry], inside: set[str]) -> list[Finding]:
    found: list[Finding] = []
    expected: int | None = None
    for entry in reversed(line):
        if expected is not None and entry.seq != expected:
            break  # behind a gap nobody knows who held
        expected = entry.seq - 1
        found += _one(limit, entry, inside)
        match entry.act:
            case "acquired" | "restored":
                inside.discard(entry.node)
            case "released" | "taken":
                inside.add(entry.node)
        if entry.act == "recounted":
            break  # the counts before it were wrong, which is why it was done
    return found


def _one(limit: str, entry: Entry, inside: set[str]) -> list[Finding]:
    """What is wrong with one entry, where `inside` are the holders after it."""
    who = entry.host or entry.node
    found = []
    if entry.act == "acquired" and len(inside) > entry.slots:
        text = f"{who} was granted a slot of {limit} as number {len(inside)} of {entry.slots}"
        found.append(Finding("exceeded", limit, text, entry.at, entry.node, entry.seq))
    if entry.act in GRANTS and entry.node not in inside:
        text = f"{who} was granted a slot and nobody gave it back, but it holds none"
        found.append(Finding("impossible", limit, text, entry.at, entry.node, entry.seq))
    if entry.act in RETURNS and entry.node in inside:
        text = f"{who} gave a slot back and holds it all the same, without a grant"
        found.append(Finding("impossible", limit, text, entry.at, entry.node, entry.seq))
    if entry.count != len(inside):
        text = f"change {entry.seq} counts {entry.count} holders, there were {len(inside)}"
        found.append(Finding("miscounted", limit, text, entry.at, entry.node, entry.seq))
    return found
