"""What an operator says to a group, the fleet or a node: slots, pauses, acknowledgements, requests.

The one idea a reader would miss: a pause is written to what every claim and arm checks, so those on their way conflict;
who is armed is therefore read after the pause, and that list is complete.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from locksmith.core import keys
from locksmith.core.documents import Brake, Config, Failure, Guard, Hold, Holder, Pause, Phase, Request
from locksmith.core.history import Entry
from locksmith.core.names import did_you_mean
from locksmith.errors import NoSuchGroup, UsageError
from locksmith.semaphore.actor import Actor, Done, Try, look, settle
from locksmith.semaphore.claiming import Held, recount
from locksmith.semaphore.recording import counted, note
from locksmith.semaphore.recovery import setup
from locksmith.semaphore.rewriting import Told, delete, rewrite, writable
from locksmith.stores import Check, Commit

Scope = Literal["fleet", "group", "node"]

DEFAULT_GROUP = "default"
"""The group that may be named before it exists: a configuration that says nothing means it."""


@dataclass(frozen=True, slots=True)
class SetMax:
    """The slots of a group were written. `old` is None for a group that had no guard; `held` its holders now."""

    group: str
    old: int | None
    new: int
    held: int
    created: bool


@dataclass(frozen=True, slots=True)
class Paused:
    """A pause stands. `before` is the one it replaced; the holders in `armed` reboot all the same."""

    scope: Scope
    pause: Pause
    before: Pause | None
    armed: tuple[Held, ...]


@dataclass(frozen=True, slots=True)
class Resumed:
    """No pause stands; `was` is the one that was taken away, None when there was none."""

    scope: Scope
    was: Pause | Hold | None


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The failures of these nodes no longer halt the group; the nodes keep their slots."""

    nodes: tuple[str, ...]


def known_groups(actor: Actor) -> tuple[str, ...]:
    """The groups that have a guard, sorted. Raises StoreError."""
    prefix = keys.guard(keys.group_limit(""))
    return tuple(key.removeprefix(prefix) for key, _ in look(actor.store, (), [prefix]).snapshot.under(prefix))


def require_group(actor: Actor, group: str) -> None:
    """Refuse a group without a guard, except the default one of a store that is set up.

    Raises NoSuchGroup with the known names; Denied when the store hides its settings from us.
    """
    guard = keys.guard(keys.group_limit(group))
    view = look(actor.store, [guard])
    if view.config is None:
        require_setup(actor)
    if view.item(guard) or group == DEFAULT_GROUP:
        return
    known = known_groups(actor)
    raise NoSuchGroup(
        f"there is no group {group}{did_you_mean(group, known)}; known: {', '.join(known) or 'none'}; "
        f"lockctl set-max N --group {group} creates it"
    )


def require_setup(actor: Actor) -> None:
    """Refuse a store in which nothing is set up. Raises NoSuchGroup; Denied when its settings are hidden from us."""
    if look(actor.store).config is not None:
        return
    # Consul leaves out what may not be read, in silence: absent and forbidden are told apart by asking.
    actor.store.probe(keys.CFG)
    raise NoSuchGroup(
        "nothing is set up in the store under this prefix, so there is no group: "
        "check the store's URL, or run lockctl set-max N --group GROUP"
    )


def open_group(actor: Actor, group: str) -> None:
    """`require_group`, after setting up the store where the default group may do so. Raises NoSuchGroup, StoreError."""
    if group == DEFAULT_GROUP:
        setup(actor)
    require_group(actor, group)


def set_max(actor: Actor, group: str, slots: int) -> SetMax:
    """Write the slots of a group, which creates it. Lowering evicts nobody. Raises UsageError, StoreError."""
    if slots < 1:
        raise UsageError(f"{slots} is not a number of slots: at least 1; to stop the group use lockctl pause")
    setup(actor)
    key = keys.guard(keys.group_limit(group))
    written: set[str] = set()
    first: list[Guard | None] = []

    def step() -> Done[SetMax] | Try[SetMax]:
        view = look(actor.store, [key])
        if not view.item(key):
            # The recount needs every holder in the very snapshot whose absent guard the commit checks.
            view = look(actor.store, [key], [keys.OWNERS])
        guard = view.document(key, Guard)
        writable(key, guard)
        first.append(guard)
        was = first[0]
        old, created = (was.slots if was is not None else None), was is None
        if guard is not None and guard.gen in written:
            return Done(SetMax(group, old, slots, guard.count, created))
        gen = actor.nonce()
        written.add(gen)
        base = guard or Guard(count=recount(view, keys.group_limit(group)))
        entry = Entry(gen=gen, seq=0, act="resized", at=actor.clock.wall(), by=actor.by, count=0, slots=0, group=group)
        puts = counted(keys.group_limit(group), replace(base, slots=slots, effective=slots), entry)
        result = SetMax(group, old, slots, base.count, created)
        return Try(Commit((Check(key, view.mod(key)),), puts), lambda _: result)

    return settle(actor, step)


def pause_fleet(actor: Actor, reason: str, until: datetime | None) -> Paused:
    """Stop every claim and arm of the fleet. Raises StoreError."""
    setup(actor)
    pause = _pause(actor, reason, until)

    def change(config: Config | None) -> Config | None:
        return replace(config, pause=pause) if config is not None else None

    told = Told(keys.notes_of_fleet(), note(actor, "paused", reason))
    before = rewrite(actor, keys.CFG, Config, change, told=told)
    return Paused("fleet", pause, before.pause if before else None, armed_holders(actor, lambda _: True))


def pause_group(actor: Actor, group: str, reason: str, until: datetime | None) -> Paused:
    """Stop every claim and arm of a group. Raises NoSuchGroup, StoreError."""
    open_group(actor, group)
    pause = _pause(actor, reason, until)
    told = Told(keys.notes_of_group(group), note(actor, "paused", reason))
    before = rewrite(actor, keys.brake(group), Brake, lambda brake: replace(brake or Brake(), pause=pause), told=told)
    armed = armed_holders(actor, lambda held: held.holder.group == group)
    return Paused("group", pause, before.pause if before else None, armed)


def pause_node(actor: Actor, node: str, reason: str, until: datetime | None) -> Paused:
    """Say that this node must not reboot. Raises NoSuchGroup (nothing is set up), StoreError."""
    require_setup(actor)
    pause = _pause(actor, reason, until)

    def change(hold: Hold | None) -> Hold:
        fresh = Hold(by=pause.by, reason=pause.reason, since=pause.since, until=pause.until)
        return replace(hold, by=fresh.by, reason=fresh.reason, since=fresh.since, until=until) if hold else fresh

    told = Told(keys.notes_of_node(node), note(actor, "held", reason, node))
    before = rewrite(actor, keys.hold(node), Hold, change, told=told)
    was = Pause(by=before.by, reason=before.reason, since=before.since, until=before.until) if before else None
    return Paused("node", pause, was, armed_holders(actor, lambda held: held.key == keys.own(node)))


def resume_fleet(actor: Actor) -> Resumed:
    """Take the fleet's pause away. Raises NoSuchGroup (nothing is set up), StoreError."""
    require_setup(actor)
    first: list[Pause | None] = []

    def change(config: Config | None) -> Config | None:
        first.append(config.pause if config else None)
        # Only the pause that was seen at first: a later one is somebody's newer word.
        return replace(config, pause=None) if config and config.pause and config.pause == first[0] else None

    rewrite(actor, keys.CFG, Config, change, told=Told(keys.notes_of_fleet(), note(actor, "resumed")))
    return Resumed("fleet", first[0])


def resume_group(actor: Actor, group: str) -> Resumed:
    """Take the group's pause away. Raises NoSuchGroup, StoreError."""
    require_group(actor, group)
    first: list[Pause | None] = []

    def change(brake: Brake | None) -> Brake | None:
        first.append(brake.pause if brake else None)
        return replace(brake, pause=None) if brake and brake.pause and brake.pause == first[0] else None

    rewrite(actor, keys.brake(group), Brake, change, told=Told(keys.notes_of_group(group), note(actor, "resumed")))
    return Resumed("group", first[0])


def resume_node(actor: Actor, node: str) -> Resumed:
    """Let the node reboot again. Raises StoreError."""
    told = Told(keys.notes_of_node(node), note(actor, "unheld", node=node))
    return Resumed("node", delete(actor, keys.hold(node), Hold, told))


def acknowledge(actor: Actor, group: str, reason: str) -> Acknowledged:
    """Take today's failed holders out of what halts the group; they keep their slots. Raises NoSuchGroup, StoreError."""
    require_group(actor, group)
    nodes: list[str] = []

    def seen(failure: Failure) -> Failure:
        return replace(failure, acked=True, acked_by=actor.by, acked_reason=reason)

    def change(brake: Brake | None) -> Brake | None:
        nodes[:] = brake.unacked if brake else ()
        if brake is None or not nodes:
            return None
        return replace(
            brake, failed={n: failure if failure.acked else seen(failure) for n, failure in brake.failed.items()}
        )

    rewrite(
        actor,
        keys.brake(group),
        Brake,
        change,
        told=Told(keys.notes_of_group(group), note(actor, "acknowledged", reason)),
    )
    return Acknowledged(tuple(nodes))


def request_reboot(actor: Actor, node: str, reason: str, ignore: tuple[str, ...]) -> Request:
    """Ask a node's agent for one reboot, under a slot. Replaces a request that waits. Raises NoSuchGroup, StoreError."""
    require_setup(actor)
    key = keys.request(node)
    request = Request(by=actor.by, reason=reason, since=actor.clock.wall(), ignore=ignore)
    made: list[Request] = []

    def change(_: Request | None) -> Request:
        return request

    told = Told(keys.notes_of_node(node), note(actor, "requested", reason, node))
    rewrite(actor, key, Request, change, made=made, told=told)
    return made[-1]


def cancel_request(actor: Actor, node: str) -> Request | None:
    """Take back a request that no reboot has served yet; None when there is none. Raises StoreError."""
    told = Told(keys.notes_of_node(node), note(actor, "cancelled", node=node))
    return delete(actor, keys.request(node), Request, told)


def armed_holders(actor: Actor, wanted: Callable[[Held], bool]) -> tuple[Held, ...]:
    """The wanted holders that may reboot at any moment, read after the pause: nobody can arm past it. Raises StoreError."""
    view = look(actor.store, (), [keys.OWNERS])
    every = (Held(key, holder, item.create, item.mod) for key, item, holder in view.documents(keys.OWNERS, Holder))
    return tuple(held for held in every if held.holder.phase == Phase.ARMED and wanted(held))


def _pause(actor: Actor, reason: str, until: datetime | None) -> Pause:
    return Pause(by=actor.by, reason=reason, since=actor.clock.wall(), until=until)
