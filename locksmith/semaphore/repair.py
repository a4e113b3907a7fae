"""`fsck` and `forget`: does what the store counts fit what it holds, and mending it.

The one idea a reader would miss: guards and brakes are read first, then all holders in pieces, and the recount is
committed under the revision read at first. Every commit that adds or removes a holder changes its guards, so a guard that
has not changed proves that the pieces belong together.
"""

from collections import Counter
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from locksmith.core import keys
from locksmith.core.codec import Document
from locksmith.core.documents import Brake, Failure, Guard, Hold, Holder, Phase, Request, Ticket
from locksmith.core.history import Entry
from locksmith.errors import Conflict, Corrupt, HeldByAgent, HeldElsewhere, Unknown
from locksmith.semaphore.actor import Actor, Done, Try, View, look, settle
from locksmith.semaphore.claiming import Held, held
from locksmith.semaphore.recording import counted
from locksmith.stores import Check, Commit, Item, Put

D = TypeVar("D", bound=Document)

CHUNK = 50
"""Keys of one read."""
ROUNDS = 5
"""So often the whole is read again because holders came and went meanwhile."""
REQUESTS = keys.request("")

Kind = Literal["corrupt", "not_set_up", "count", "no_guard", "failed_set", "no_record"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that does not fit. `repaired` when fsck has mended it."""

    key: str
    kind: Kind
    text: str
    repaired: bool = False


@dataclass(frozen=True, slots=True)
class FsckReport:
    """What fsck found, among so many holders and guards. Nothing found is a sound store."""

    findings: tuple[Finding, ...]
    holders: int
    guards: int


@dataclass(frozen=True, slots=True)
class _Mend:
    """A finding, and the write that mends it under the revision that was read; without one: report only."""

    finding: Finding
    check: Check
    puts: tuple[Put, ...]


@dataclass(frozen=True, slots=True)
class _Whole:
    """What one round read: `counters` (cfg, guards, brakes) before any holder. `blind`: some holder cannot be read."""

    counters: View
    guards: dict[str, Guard]
    brakes: dict[str, Brake]
    holders: tuple[Held, ...]
    corrupt: tuple[Finding, ...]
    blind: bool


def fsck(actor: Actor, *, repair: bool) -> FsckReport:
    """Compare counts and failed sets with the holders, and mend them if asked. Raises Denied, StoreError.

    Holders without a registry record and documents that cannot be read are reported and never touched.
    """
    repaired: list[Finding] = []
    for _ in range(ROUNDS):
        whole = _read(actor)
        wrong = _wrong(actor, whole)
        steady = _unmoved(actor, wrong)
        left = steady
        if repair:
            left = [mend for mend in steady if not mend.puts or not _apply(actor, mend)]
            repaired += [replace(mend.finding, repaired=True) for mend in steady if mend not in left]
        if len(steady) == len(wrong) and all(not mend.puts or not repair for mend in left):
            break
    findings = [*whole.corrupt, *repaired, *(mend.finding for mend in left), *_unregistered(actor, whole)]
    if whole.counters.config is None:
        actor.store.probe(keys.CFG)
        findings.insert(0, Finding(keys.CFG, "not_set_up", "nothing is set up in the store under this prefix"))
    return FsckReport(tuple(findings), len(whole.holders), len(whole.guards))


def _read(actor: Actor) -> _Whole:
    counters = look(actor.store, (), [keys.GUARDS, keys.BRAKES])
    corrupt: list[Finding] = []
    guards = {key: guard for key, _, guard in _readable(counters, keys.GUARDS, Guard, corrupt)}
    brakes = {key: brake for key, _, brake in _readable(counters, keys.BRAKES, Brake, corrupt)}
    unread = len(corrupt)
    holders: list[Held] = []
    for digit in "0123456789abcdef":
        piece = look(actor.store, (), [f"{keys.OWNERS}{digit}"])
        found = _readable(piece, keys.OWNERS, Holder, corrupt)
        holders += [Held(key, holder, item.create, item.mod) for key, item, holder in found]
    blind = len(corrupt) > unread
    rest = look(actor.store, (), [keys.QUEUES, keys.HOLDS, REQUESTS])
    _readable(rest, keys.QUEUES, Ticket, corrupt)
    _readable(rest, keys.HOLDS, Hold, corrupt)
    _readable(rest, REQUESTS, Request, corrupt)
    return _Whole(counters, guards, brakes, tuple(holders), tuple(corrupt), blind)


def _readable(view: View, prefix: str, cls: type[D], corrupt: list[Finding]) -> list[tuple[str, Item, D]]:
    found = []
    for key, item in view.snapshot.under(prefix):
        try:
            found.append((key, item, cls.decode(key, item.value)))
        except Corrupt as error:
            corrupt.append(Finding(key, "corrupt", str(error)))
    return found


def _wrong(actor: Actor, whole: _Whole) -> list[_Mend]:
    """What does not fit, by the pieces read; whether they belong together is checked afterwards."""
    unreadable = {finding.key for finding in whole.corrupt}
    limits = Counter(keys.guard(limit) for one in whole.holders for limit in one.holder.limits)
    mends = [
        _recounted(actor, whole, key, limits[key])
        for key in sorted({*whole.guards, *limits} - unreadable)
        if key not in whole.guards or whole.guards[key].count != limits[key]
    ]
    failed: dict[str, dict[str, Held]] = {key: {} for key in whole.brakes}
    for one in whole.holders:
        if one.holder.phase == Phase.FAILED:
            failed.setdefault(keys.brake(one.holder.group), {})[keys.own_node(one.key)] = one
    for key in sorted(set(failed) - unreadable):
        named = {node: entry.token for node, entry in whole.brakes.get(key, Brake()).failed.items()}
        if named != {node: str(one.token) for node, one in failed[key].items()}:
            mends.append(_refilled(actor, whole, key, failed[key]))
    return mends


def _recounted(actor: Actor, whole: _Whole, key: str, count: int) -> _Mend:
    guard = whole.guards.get(key)
    kind: Kind = "count" if guard is not None else "no_guard"
    text = f"counts {guard.count} holders, there are {count}" if guard else f"is missing, and {count} holders name it"
    if whole.blind:
        text += "; not to be mended before the holders that cannot be read are"
    entry = Entry(gen=actor.nonce(), seq=0, act="recounted", at=actor.clock.wall(), by=actor.by, count=0, slots=0)
    puts = counted(key.removeprefix(keys.GUARDS), replace(guard or Guard(), count=count), entry)
    return _Mend(Finding(key, kind, text), Check(key, whole.counters.mod(key)), () if whole.blind else puts)


def _refilled(actor: Actor, whole: _Whole, key: str, failed: dict[str, Held]) -> _Mend:
    brake = whole.brakes.get(key, Brake())
    entries = {}
    for node, one in failed.items():
        known, holder = brake.failed.get(node), one.holder
        fresh = Failure(token=str(one.token), check=holder.check, since=holder.phase_since, host=holder.host)
        entries[node] = known if known is not None and known.token == fresh.token else fresh
    text = f"names {sorted(brake.failed) or 'nobody'} as failed; failed are {sorted(failed) or 'none'}"
    if whole.blind:
        text += "; not to be mended before the holders that cannot be read are"
    put = Put(key, replace(brake, failed=entries, gen=actor.nonce()).encode())
    finding = Finding(key, "failed_set", text)
    return _Mend(finding, Check(key, whole.counters.mod(key)), () if whole.blind else (put,))


def _unmoved(actor: Actor, wrong: list[_Mend]) -> list[_Mend]:
    """Those whose guard or brake has not changed since it was read: only they are true."""
    steady: list[_Mend] = []
    for start in range(0, len(wrong), CHUNK):
        piece = wrong[start : start + CHUNK]
        view = look(actor.store, [mend.check.key for mend in piece])
        steady += [mend for mend in piece if view.mod(mend.check.key) == mend.check.mod]
    return steady


def _apply(actor: Actor, mend: _Mend) -> bool:
    """Send it once; False means that the next round looks again."""
    if not mend.puts:
        return False
    put = mend.puts[0]
    try:
        actor.store.commit((mend.check,), mend.puts)
    except Conflict:
        return False
    except Unknown:
        return look(actor.store, [put.key]).item(put.key).value == put.value
    return True


def _unregistered(actor: Actor, whole: _Whole) -> list[Finding]:
    """Holders of agents that have never described themselves. A hold by hand may name what is no node."""
    ours = [one for one in whole.holders if one.holder.phase != Phase.MAINTENANCE]
    findings = []
    for start in range(0, len(ours), CHUNK):
        piece = {keys.record(h.holder.group, keys.own_node(h.key)): h for h in ours[start : start + CHUNK]}
        view = look(actor.store, list(piece))
        findings += [
            Finding(
                one.key,
                "no_record",
                f"held by {one.holder.host or 'a node'} in {one.holder.group} ({one.holder.phase}), "
                "which is not registered: if it is gone for good, lockctl unlock --force",
            )
            for record, one in piece.items()
            if not view.item(record)
        ]
    return findings


def forget(actor: Actor, node: str) -> tuple[str, ...]:
    """Delete what the store remembers of a node that is gone; gives the keys.

    Raises HeldByAgent or HeldElsewhere while it holds a slot; Corrupt, StoreError.
    """
    own = keys.own(node)
    removed: set[str] = set()

    def step() -> Done[None] | Try[None]:
        records = [key for key, _ in look(actor.store, (), [keys.RECORDS]).snapshot.under(keys.RECORDS)]
        mine = [key for key in records if keys.record_node(key) == node]
        wanted = [*mine, keys.hold(node), keys.request(node), keys.unlocked(node), keys.notes_of_node(node)]
        view = look(actor.store, [own, *wanted])
        current = held(view, node)
        if current is not None:
            raise _still_held(current)
        there = tuple(key for key in wanted if view.item(key))
        if not there:
            return Done(None)
        removed.update(there)
        checks = (Check(own, 0), *(Check(key, view.mod(key)) for key in there))
        return Try(Commit(checks, deletes=there), lambda _: None)

    settle(actor, step)
    return tuple(sorted(removed))


def _still_held(current: Held) -> HeldByAgent | HeldElsewhere:
    holder = current.holder
    named = holder.host or keys.own_node(current.key)
    if holder.phase == Phase.MAINTENANCE:
        return HeldElsewhere(f"{named} is held by hand by {holder.by} in {holder.group}: lockctl unlock it first")
    return HeldByAgent(f"{named} holds a slot of {holder.group} ({holder.phase}): lockctl unlock it first")
