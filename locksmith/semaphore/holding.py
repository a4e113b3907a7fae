"""From holding a slot to having given it back: drain, arm, verify, fail, release.

The one idea a reader would miss: what a commit adds or takes away is computed from the snapshot that it checks, never
from what the agent remembers; the agent brings only the identity of its holder (key, token, nonce).
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from locksmith.core import keys
from locksmith.core.documents import EXPLAINED, Brake, Failure, Guard, Holder, Phase, Request, Unlocked
from locksmith.core.history import Entry
from locksmith.errors import Conflict, Corrupt, StoreError, Unknown
from locksmith.semaphore.actor import PATIENCE, Actor, Done, Try, View, believe_absent, look, settle
from locksmith.semaphore.claiming import Barred, Held, barred, held, recount, stopped
from locksmith.semaphore.recording import Outlived, counted, dropping, entry_of, note, noting, outlived_of, with_step
from locksmith.stores import MAX_OPERATIONS, Check, Commit, Put


@dataclass(frozen=True, slots=True)
class Slot:
    """The identity of a holder of ours. `group` and `limits` are those stored in it."""

    node: str
    token: int
    nonce: str
    group: str
    limits: tuple[str, ...]

    @property
    def key(self) -> str:
        """The holder's key."""
        return keys.own(self.node)


def slot_of(current: Held) -> Slot:
    """The identity of a holder just read."""
    holder = current.holder
    return Slot(keys.own_node(current.key), current.token, holder.nonce, holder.group, holder.limits)


@dataclass(frozen=True, slots=True)
class Gone:
    """The own key is absent or not ours: taken, given back, or (another `epoch`) the store was restored."""

    by: Held | None = None
    epoch: int | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Kept:
    """The holder is ours and stands as shown."""

    held: Held


@dataclass(frozen=True, slots=True)
class CalledOff:
    """Ours, but somebody wants it back or nothing may be armed now. `kind` is a closed word."""

    held: Held
    kind: str
    reason: str


@dataclass(frozen=True, slots=True)
class Armed:
    """The holder carries the attempt: the machine may reboot now, once."""

    held: Held


@dataclass(frozen=True, slots=True)
class Unsettled:
    """The arm did not apply, or its fate is not known: arm again with a new attempt, or undo."""

    reason: str


@dataclass(frozen=True, slots=True)
class Released:
    """The slot is given back, or was gone already; `by_hand` when it was left to an operator."""

    by_hand: bool = False


def ours(view: View, slot: Slot) -> Held | None:
    """The holder of this slot in a snapshot, None when the key is absent or not ours."""
    current = held(view, slot.node)
    return current if current is not None and current.ours(slot.token, slot.nonce) else None


def _gone(actor: Actor, view: View, slot: Slot) -> Gone:
    """Not ours any more, and surely so. Raises Denied when it may only be kept from us, StoreError."""
    believe_absent(actor.store, view, slot.key)
    return Gone(held(view, slot.node), view.config.epoch if view.config is not None else None)


def called_off(view: View, current: Held, slot: Slot, now: datetime | None) -> CalledOff | None:
    """Whether a mark on the holder, a pause, a hold or a halt forbids to go on."""
    holder = current.holder
    if holder.revoke is not None:
        return CalledOff(current, "revoked", f"{holder.revoke.by} asked for the slot: {holder.revoke.reason}")
    if holder.then is not None:
        return CalledOff(current, "maintenance", f"{holder.then.by} wants the slot by hand: {holder.then.reason}")
    if stop := stopped(view, slot.node, slot.group, now):
        return CalledOff(current, stop.kind, stop.reason)
    return None


def watch_over(actor: Actor, slot: Slot) -> Kept | CalledOff | Gone:
    """Look at the own holder while draining. Raises StoreError."""
    view = look(actor.store, [slot.key, keys.brake(slot.group), keys.hold(slot.node)])
    current = ours(view, slot)
    if current is None:
        return _gone(actor, view, slot)
    return called_off(view, current, slot, actor.trusted_now()) or Kept(current)


def mark(
    actor: Actor,
    slot: Slot,
    change: Callable[[Holder], Holder | None],
    patience: timedelta = PATIENCE,
) -> Kept | Gone:
    """Rewrite the own holder; `change` gives the new one, or None when it stands already as wanted.

    It must not move the holder into or out of phase failed (the brake's set goes with that: `fail`, `release`).
    Raises StoreError; Unknown when a write may still apply.
    """
    written: set[str] = set()

    def step() -> Done[Kept | Gone] | Try[Kept | Gone]:
        view = look(actor.store, [slot.key])
        current = ours(view, slot)
        if current is None:
            return Done(_gone(actor, view, slot))
        changed = change(current.holder) if current.holder.gen not in written else None
        if changed is None:
            return Done(Kept(current))
        gen = actor.nonce()
        written.add(gen)
        changed = with_step(current.holder, replace(changed, gen=gen))
        commit = Commit((Check(slot.key, current.mod),), (Put(slot.key, changed.encode()),))
        return Try(commit, lambda revision: Kept(Held(slot.key, changed, current.token, _revision(revision, slot))))

    return settle(actor, step, patience)


def _revision(revision: int | None, slot: Slot) -> int:
    if revision is None:
        raise Corrupt(f"{slot.key}: the store gave a write no revision")
    return revision


def to_phase(actor: Actor, slot: Slot, phase: Phase, expected: timedelta | None) -> Kept | Gone:
    """Write phase draining (also to disarm) or another one that is not failed; a failed holder stays it. Raises StoreError."""
    now = actor.clock.wall()

    def change(holder: Holder) -> Holder | None:
        if holder.phase in (phase, Phase.FAILED):
            return None
        return replace(holder, phase=phase, phase_since=now, expected_by=now + expected if expected else None)

    return mark(actor, slot, change)


def arm(  # noqa: PLR0913
    actor: Actor,
    slot: Slot,
    *,
    epoch: int,
    attempt: str,
    request: str | None,
    expected: timedelta | None,
    sole: bool = False,
) -> Armed | CalledOff | Barred | Gone | Unsettled:
    """One arm with one new attempt id, sent once. The journal must name the attempt before.

    `request` is the identity of the operator's request that this reboot serves: the same commit deletes it.
    `sole`: nothing but that request asks for the reboot, so one that was taken back calls it off.
    Raises StoreError when surely nothing was sent, or when the fate is open and the store cannot be read.
    """
    request_key = keys.request(slot.node)
    view = look(actor.store, [slot.key, keys.brake(slot.group), keys.hold(slot.node), request_key])
    current = ours(view, slot)
    if current is None:
        return _gone(actor, view, slot)
    if bar := barred(view, slot.group, ()):
        return bar
    if view.config is None or view.config.epoch != epoch:
        return CalledOff(current, "identity", "the fleet's epoch has changed since the claim: the store was restored")
    if off := called_off(view, current, slot, actor.trusted_now()):
        return off
    if current.holder.phase in (Phase.VERIFYING, Phase.FAILED):
        # Out of failed there is one way, and it changes the brake: release.
        return Unsettled(f"the holder is {current.holder.phase}: only one that drains may be armed")
    now = actor.clock.wall()
    armed = with_step(
        current.holder,
        replace(
            current.holder,
            phase=Phase.ARMED,
            phase_since=now,
            attempt=attempt,
            gen=actor.nonce(),
            expected_by=now + expected if expected else None,
        ),
    )
    checked = [slot.key, keys.CFG, keys.brake(slot.group), keys.hold(slot.node)]
    deletes: tuple[str, ...] = ()
    pending = view.document(request_key, Request) if request is not None else None
    if sole and pending is None and current.holder.phase != Phase.ARMED:
        # An armed holder has deleted its request itself: a retry.
        return CalledOff(current, "withdrawn", "the request was taken back")
    if pending is not None and pending.gen == request:
        checked, deletes = [*checked, request_key], (request_key,)
    try:
        revision = actor.store.commit(
            [Check(key, view.mod(key)) for key in checked], [Put(slot.key, armed.encode())], deletes
        )
        return Armed(Held(slot.key, armed, current.token, _revision(revision, slot)))
    except Conflict:
        return Unsettled("the holder or the fleet's settings changed while arming")
    except Unknown as error:
        return _settle_arm(actor, slot, attempt, error)


def _settle_arm(actor: Actor, slot: Slot, attempt: str, error: Unknown) -> Armed | Gone | Unsettled:
    """An arm of unknown fate holds only if the holder carries that very attempt."""
    try:
        view = look(actor.store, [slot.key])
        current = ours(view, slot)
        if current is None:
            return _gone(actor, view, slot)
    except StoreError as later:
        raise error from later
    if current.holder.phase == Phase.ARMED and current.holder.attempt == attempt:
        return Armed(current)
    return Unsettled(f"the answer to the arm was lost ({error})")


def verify(actor: Actor, slot: Slot, boot: str, expected: timedelta | None) -> Kept | Gone:
    """Write that this boot verifies; a failed holder stays failed, with the new boot. Counts the boots.

    Raises StoreError.
    """
    now = actor.clock.wall()

    def change(holder: Holder) -> Holder | None:
        fresh = holder.boot != boot
        settled = holder.phase in (Phase.VERIFYING, Phase.FAILED)
        if settled and not fresh:
            return None
        return replace(
            holder,
            phase=holder.phase if holder.phase == Phase.FAILED else Phase.VERIFYING,
            phase_since=holder.phase_since if holder.phase == Phase.FAILED else now,
            boot=boot,
            boots=holder.boots + fresh,
            expected_by=now + expected if expected else None,
        )

    return mark(actor, slot, change)


def fail(actor: Actor, slot: Slot, check: str) -> Kept | Gone:
    """Write phase failed and the brake's entry in one commit; the slot is kept. Raises StoreError."""
    brake_key, notes = keys.brake(slot.group), keys.notes_of_group(slot.group)

    def step() -> Done[Kept | Gone] | Try[Kept | Gone]:
        view = look(actor.store, [slot.key, brake_key, notes])
        current = ours(view, slot)
        if current is None:
            return Done(_gone(actor, view, slot))
        if current.holder.phase == Phase.FAILED:
            return Done(Kept(current))
        now, gen = actor.clock.wall(), actor.nonce()
        brake = view.document(brake_key, Brake) or Brake()
        entry = Failure(token=str(current.token), check=check, since=now, host=current.holder.host)
        brake = replace(brake, gen=gen, failed={**brake.failed, slot.node: entry})
        failed = replace(current.holder, phase=Phase.FAILED, phase_since=now, gen=gen, check=check, expected_by=None)
        failed = with_step(current.holder, failed)
        told = noting(view, notes, note(actor, "failed", check, slot.node, current.holder.host), gen)
        commit = Commit(
            (Check(slot.key, current.mod), Check(brake_key, view.mod(brake_key))),
            (Put(slot.key, failed.encode()), Put(brake_key, brake.encode()), told),
        )
        return Try(commit, lambda revision: Kept(Held(slot.key, failed, current.token, _revision(revision, slot))))

    return settle(actor, step)


def removal(view: View, current: Held, entry: Entry, old: Outlived | None = None) -> Commit:
    """The commit that deletes a holder and takes it off all that counts it: guards, and the brake if it had failed.

    The snapshot must have read the holder, its guards and its group's brake. `entry` tells it to the history,
    of which the entries `old` go with it; see `recording.dropping`.
    """
    holder, node = current.holder, keys.own_node(current.key)
    checks, puts = [Check(current.key, current.mod)], list[Put]()
    for limit in holder.limits:
        key = keys.guard(limit)
        guard = view.document(key, Guard)
        checks.append(Check(key, view.mod(key)))
        if guard is not None:
            gone = old.numbers[-1] if old is not None and old.limit == limit else guard.gone
            puts += counted(limit, replace(guard, count=max(0, guard.count - 1), gone=gone), entry)
    if holder.phase == Phase.FAILED:
        key = keys.brake(holder.group)
        brake = view.document(key, Brake)
        checks.append(Check(key, view.mod(key)))
        if brake is not None:
            failed = {other: entry for other, entry in brake.failed.items() if other != node}
            puts.append(Put(key, replace(brake, failed=failed, gen=entry.gen).encode()))
    return Commit(tuple(checks), tuple(puts), (current.key,))


def removal_keys(holder: Holder) -> list[str]:
    """What `removal` needs besides the holder itself."""
    return [keys.brake(holder.group), *(keys.guard(limit) for limit in holder.limits)]


def release(
    actor: Actor,
    slot: Slot,
    patience: timedelta = PATIENCE,
    unwritten: str | None = None,
    told: Callable[[Entry], Entry] = lambda entry: entry,
) -> Released:
    """Give the slot back. An operator's `then` mark leaves him the slot as a hold by hand instead.

    `unwritten` says why the journal does not know of this release: then the same commit leaves a record that explains to
    the next START where the slot went. `told` completes the entry of the history.

    Raises StoreError; Unknown when it may still apply: call it again, whatever happened
    it is harmless.
    """

    def step() -> Done[Released] | Try[Released]:
        needed = [keys.brake(slot.group), keys.unlocked(slot.node), *(keys.guard(limit) for limit in slot.limits)]
        view = look(actor.store, [slot.key, *needed])
        current = ours(view, slot)
        if current is None:
            by = _gone(actor, view, slot).by
            return Done(Released(by_hand=by is not None and by.holder.phase == Phase.MAINTENANCE))
        if current.holder.then is not None and current.holder.phase != Phase.FAILED:
            left = with_step(current.holder, by_hand(current.holder, actor.clock.wall()))
            commit = Commit((Check(slot.key, current.mod),), (Put(slot.key, left.encode()),))
            return Try(commit, lambda _: Released(by_hand=True))
        entry = told(entry_of(actor, "released", actor.nonce(), (slot.node, current.holder, current.token)))
        away = removal(view, current, entry)
        # A clock that was never set, years ahead, would make the whole history look old.
        room = (MAX_OPERATIONS - 1 - _operations(away)) // 2 if actor.trusted_now() is not None else 0
        old = outlived_of(view, slot.limits, entry.at, room)
        if old is not None:
            with suppress(StoreError):  # history never stands in the way: they go with a later release
                away = dropping(actor, removal(view, current, entry, old), old)
        if unwritten is not None:
            away = replace(away, puts=(*away.puts, _record(actor, view, current, unwritten)))
        return Try(away, lambda _: Released())

    return settle(actor, step, patience)


def _operations(commit: Commit) -> int:
    return len(commit.checks) + len(commit.puts) + len(commit.deletes)


def _record(actor: Actor, view: View, current: Held, problem: str) -> Put:
    """Like the record of an operator who took the slot away."""
    key = keys.unlocked(keys.own_node(current.key))
    reason = f"given back without a journal: {problem}"
    return Put(key, explained(actor, view.document(key, Unlocked), current, reason, actor.nonce()).encode())


def explained(actor: Actor, before: Unlocked | None, current: Held, reason: str, gen: str) -> Unlocked:
    """The unlock record with this slot as its last one; what a newer locksmith wrote into it stays."""
    last = Unlocked(
        gen=gen,
        token=str(current.token),
        nonce=current.holder.nonce,
        phase=current.holder.phase,
        by=actor.by,
        reason=reason,
        since=actor.clock.wall(),
    )
    if before is None:
        return last
    earlier = before.tokens[-EXPLAINED:]
    return replace(last, earlier=earlier, v=before.v, min_claim=before.min_claim, extra=before.extra)


def by_hand(holder: Holder, now: datetime) -> Holder:
    """The holder as the operator of its `then` mark wants it: by hand, without a fingerprint."""
    then = holder.then
    if then is None:
        return holder
    return replace(
        holder,
        phase=Phase.MAINTENANCE,
        phase_since=now,
        since=now,
        nonce=then.nonce,
        gen=then.nonce,
        by=then.by,
        host=then.host,
        reason=then.reason,
        fingerprint="",
        attempt="",
        expected_by=None,
        revoke=None,
        then=None,
    )


def put_back(actor: Actor, node: str, holder: Holder) -> Held:
    """After a restore of the store: our slot again, counts one up even above `effective`. Raises StoreError."""
    own = keys.own(node)

    guards = [keys.guard(limit) for limit in holder.limits]

    def step() -> Done[Held] | Try[Held]:
        view = look(actor.store, [own, *guards])
        if not all(view.item(guard) for guard in guards):
            # Only with a recount may a guard be made: others may have put their holders back first.
            view = look(actor.store, [own, *guards], [keys.OWNERS])
        current = held(view, node)
        if current is not None:
            return Done(current)
        believe_absent(actor.store, view, own)
        gen = actor.nonce()
        checks, puts = [Check(own, 0)], [Put(own, replace(holder, gen=gen).encode())]
        entry = entry_of(actor, "restored", gen, (node, holder, None))
        for limit in holder.limits:
            key = keys.guard(limit)
            guard = view.document(key, Guard) or Guard(count=recount(view, limit))
            checks.append(Check(key, view.mod(key)))
            puts += counted(limit, replace(guard, count=guard.count + 1), entry)
        restored = replace(holder, gen=gen)

        def then(revision: int | None) -> Held:
            return Held(own, restored, revision or 0, revision or 0)

        return Try(Commit(tuple(checks), tuple(puts)), then)

    return settle(actor, step)
