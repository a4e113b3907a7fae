"""Replay the ring of a limit and prove, or disprove, that never more nodes held a slot than allowed.

The ideas a reader would miss. The replay goes backwards, from the holders that the same snapshot shows: so the set of holders
is known at every entry, however much of the beginning the ring has forgotten, and is not believed from the counts. Where the
line of entries is broken (a number is missing, the guard was changed in between by something that keeps no history, fsck has
recounted), nobody knows who held before; yet those who took or gave back a slot in such a piece surely held it in between,
and more of them than slots are a violation all the same. And a number that is missing is not a pass: what cannot be proved
is told apart from what is wrong.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from locksmith.core.documents import Guard, NodeRecord
from locksmith.core.durations import parse_rfc3339
from locksmith.core.history import ACTS, GRANTS, RETURNS, RING, Entry, Unsanctioned

Kind = Literal["exceeded", "impossible", "miscounted", "unrecorded", "gap", "unsanctioned"]
UNPROVED: frozenset[Kind] = frozenset({"gap"})
"""Kinds that disprove nothing."""
SOMEBODY = "something that keeps no history: an older locksmith, or by hand"


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
    """One limit replayed. `most` is the highest number of holders that anything shows.

    `since` is the time of the first entry from which on the holders are known without a break, `whole` that it made the limit.
    """

    limit: str
    entries: int
    grants: int
    returns: int
    most: int
    since: datetime | None
    whole: bool
    findings: tuple[Finding, ...]
    guarded: bool = True
    """Whether the limit has a guard."""


def replay(
    limit: str,
    entries: Sequence[Entry],
    guard: Guard | None,
    holders: Collection[str],
    lost: Collection[int] = (),
) -> Replay:
    """Replay one limit. `holders` are the nodes whose holders name it; all of it from one snapshot.

    `lost` are the places of the ring whose entries cannot be read.
    """
    line = sorted(entries, key=lambda entry: entry.seq)
    if guard is not None and guard.seq == 0 and not line:
        return Replay(limit, 0, 0, 0, len(holders), None, whole=False, findings=())
    found = _end(limit, line, guard, holders, lost)
    known = not found
    pieces: list[list[Entry]] = []
    for before, entry in zip([None, *line], line, strict=False):
        broken = before is None or _broken(limit, before, entry)
        if broken:
            pieces.append([])
        if isinstance(broken, Finding):
            found.append(broken)
        pieces[-1].append(entry)
    most = max([len(holders), *(entry.count for entry in line)])
    for number, piece in enumerate(pieces, 1):
        exact = known and number == len(pieces)
        for entry, inside in _inside(piece, holders if exact else None):
            most = max(most, len(inside))
            found += _one(limit, entry, inside, exact=exact)
        found += () if exact else _twice(limit, piece)
    first = pieces[-1][0] if pieces and known else None
    return Replay(
        limit,
        len(line),
        sum(entry.act in GRANTS for entry in line),
        sum(entry.act in RETURNS for entry in line),
        most,
        first.at if first is not None else None,
        whole=first is not None and _made_it(first),
        findings=tuple(sorted(found, key=lambda finding: finding.seq or 0)),
        guarded=guard is not None,
    )


def unsanctioned(node: str, record: NodeRecord, noted: Collection[Unsanctioned] = ()) -> Iterator[Finding]:
    """Reboots of a node that nobody sanctioned: its boot changed without a slot, or before it was armed.

    One by one where the record, or the history's notes, say which; the rest, of long ago or of an older locksmith, in one.
    """
    limit, who = f"group/{record.group}", record.host or node
    named = {each.boot: each for each in (*noted, *record.unsanctioned)}
    for each in sorted(named.values(), key=lambda each: each.at):
        yield Finding(
            "unsanctioned", limit, f"{who} rebooted without an armed slot, into boot {each.boot}", each.at, node
        )
    if (times := record.reboots.get("unsanctioned", 0) - len(named)) > 0:
        last = _last_unsanctioned(record)
        at = last if last is not None and all(each.at != last for each in named.values()) else None
        more = " more" if named else ""
        text = f"{who} rebooted {times}{more} time{'s' if times != 1 else ''} without an armed slot"
        yield Finding("unsanctioned", limit, text, at, node)


def _last_unsanctioned(record: NodeRecord) -> datetime | None:
    """When; None when the last reboot was another one."""
    last = record.last_reboot or {}
    try:
        return parse_rfc3339(str(last.get("at"))) if last.get("result") == "unsanctioned" else None
    except ValueError:
        return None


def _end(
    limit: str, line: Sequence[Entry], guard: Guard | None, holders: Collection[str], lost: Collection[int]
) -> list[Finding]:
    """Does the last entry fit the guard?"""
    last = line[-1] if line else None
    if guard is None and (holders or last is not None):
        what = f"{len(holders)} hold a slot of it" if holders else "it has a history"
        return [Finding("unrecorded", limit, f"{what}, and its guard is gone: lockctl fsck", last.at if last else None)]
    seq, count, gen = (guard.seq, guard.count, guard.gen) if guard is not None else (0, 0, "")
    if last is None:
        return [Finding("gap", limit, f"the guard has seen {seq} changes, and no entry is left")] if seq else []
    if last.seq != seq and seq % RING in lost:
        return [Finding("gap", limit, f"changes {last.seq + 1} to {seq} have no entry", last.at, seq=seq)]
    if last.seq != seq:
        return [Finding("unrecorded", limit, f"the guard is at change {seq}, the last entry is of change {last.seq}")]
    if last.count != count:
        text = f"the guard counts {count} holders, its last entry {last.count}: changed by {SOMEBODY}"
        return [Finding("unrecorded", limit, text, last.at)]
    if last.prior is not None and last.gen != gen:
        return [Finding("unrecorded", limit, f"the guard was changed after its last entry by {SOMEBODY}", last.at)]
    return []


def _broken(limit: str, before: Entry, entry: Entry) -> Finding | bool:
    """Whether between two entries something is missing, and what is to be told of it."""
    if entry.seq != before.seq + 1:
        text = f"changes {before.seq + 1} to {entry.seq - 1} have no entry"
        return Finding("gap", limit, text, entry.at, seq=entry.seq)
    if entry.prior is not None and entry.prior != before.gen:
        text = f"between the changes {before.seq} and {entry.seq} the guard was changed by {SOMEBODY}"
        return Finding("unrecorded", limit, text, entry.at, seq=entry.seq)
    if entry.act not in ACTS:
        text = f"change {entry.seq} is an act that this locksmith does not know: {entry.act}"
        return Finding("gap", limit, text, entry.at, seq=entry.seq)
    return entry.act == "recounted"  # the counts before it were wrong, which is why it was done


def _made_it(first: Entry) -> bool:
    """Whether the limit began with this entry: nobody held a slot before it, and there was no guard."""
    change = (first.act in GRANTS) - (first.act in RETURNS)
    return first.seq == 1 and not first.prior and first.count == change


def _inside(piece: Sequence[Entry], holders: Collection[str] | None) -> Iterator[tuple[Entry, frozenset[str]]]:
    """Each entry with those who held a slot after it: all of them from the `holders` of now, else those who surely did.

    Without them: who took one before and has not given it back, and who gave one back later without taking it in between.
    """
    inside = set(holders or ())
    behind = []
    for entry in reversed(piece):
        behind.append(frozenset(inside))
        if entry.act in GRANTS:
            inside.discard(entry.node)
        elif entry.act in RETURNS:
            inside.add(entry.node)
    before: set[str] = set()
    for entry, later in zip(piece, reversed(behind), strict=True):
        if entry.act in GRANTS:
            before.add(entry.node)
        elif entry.act in RETURNS:
            before.discard(entry.node)
        yield entry, later if holders is not None else later | before


def _one(limit: str, entry: Entry, inside: frozenset[str], *, exact: bool) -> list[Finding]:
    """What is wrong with one entry, where `inside` are the holders after it, or (not `exact`) some of them."""
    who = entry.host or entry.node
    number = len(inside) if exact else max(len(inside), entry.count)
    found = []
    if entry.act == "acquired" and number > entry.slots:
        text = f"{who} was granted a slot of {limit} as number {number} of {entry.slots}"
        found.append(Finding("exceeded", limit, text, entry.at, entry.node, entry.seq))
    if exact and entry.act in GRANTS and entry.node not in inside:
        text = f"{who} was granted a slot and nobody gave it back, but it holds none"
        found.append(Finding("impossible", limit, text, entry.at, entry.node, entry.seq))
    if exact and entry.act in RETURNS and entry.node in inside:
        text = f"{who} gave a slot back and holds it all the same, without a grant"
        found.append(Finding("impossible", limit, text, entry.at, entry.node, entry.seq))
    if entry.count != len(inside) if exact else entry.count < len(inside):
        text = f"change {entry.seq} counts {entry.count} holders, there were {len(inside)}"
        found.append(Finding("miscounted", limit, text, entry.at, entry.node, entry.seq))
    return found


def _twice(limit: str, piece: Sequence[Entry]) -> Iterator[Finding]:
    """What cannot be, whoever held a slot before: a slot taken or given back twice, a count that jumps."""
    last: dict[str, str] = {}
    for before, entry in zip([None, *piece], piece, strict=False):
        who, change = entry.host or entry.node, (entry.act in GRANTS) - (entry.act in RETURNS)
        if change and (entry.act in GRANTS) == (last.get(entry.node) in GRANTS) and entry.node in last:
            text = f"{who} {'was granted a slot' if change > 0 else 'gave a slot back'} twice, with nothing in between"
            yield Finding("impossible", limit, text, entry.at, entry.node, entry.seq)
        if change:
            last[entry.node] = entry.act
        if before is not None and entry.count != before.count + change:
            text = f"change {entry.seq} counts {entry.count} holders, after {before.count} at the change before"
            yield Finding("miscounted", limit, text, entry.at, entry.node, entry.seq)
