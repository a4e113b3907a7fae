"""START and the steady look: what the store says that this node owes, and the setting up of an empty store.

The one idea a reader would miss: the stale ticket is deleted before anything is decided, because a claim of an earlier
life that is still on its way checks that ticket's revision and so can never apply afterwards.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from locksmith.core import keys
from locksmith.core.documents import Config, Hold, NodeRecord, Request, Unlocked
from locksmith.core.history import Unsanctioned
from locksmith.errors import Denied, Rejected, Throttled, Unavailable
from locksmith.semaphore.actor import Actor, Done, Try, View, look, settle
from locksmith.semaphore.claiming import Held, held
from locksmith.semaphore.recording import confessing, of_boot
from locksmith.stores import Check, Commit, Put


@dataclass(frozen=True, slots=True)
class Clash:
    """Another machine uses this node's identity: touch nothing."""

    held: Held


@dataclass(frozen=True, slots=True)
class NotSetUp:
    """No `cfg`: nothing set up, or not allowed to read."""


@dataclass(frozen=True, slots=True)
class Found:
    """What the store knows of this node. `unlocked` is the record of the slots that operators took from it."""

    config: Config
    held: Held | None
    unlocked: Unlocked | None
    hold: Hold | None = None
    request: Request | None = None


def setup(actor: Actor) -> Config:
    """The fleet's configuration, written if there is none, and what the store needs besides keys.

    Raises Denied when there is none and these credentials may not write it; StoreError.
    """

    def step() -> Done[Config] | Try[Config]:
        view = look(actor.store)
        if view.config is not None:
            return Done(view.config)
        actor.store.prepare()
        gen = actor.nonce()
        identity = actor.store.facts().identity
        config = Config(gen=gen, store=f"{actor.nonce()}{actor.nonce()}", cluster=identity, epoch=1)
        return Try(Commit((Check(keys.CFG, 0),), (Put(keys.CFG, config.encode()),)), lambda _: config)

    try:
        return settle(actor, step)
    except Denied as error:
        raise type(error)(
            f"{error}. The store is not set up under this prefix, and these credentials may not do it: "
            "run lockctl set-max once with an operator's"
        ) from error


def start(actor: Actor, node: str, fingerprint: str, ticket: str | None) -> Found | Clash | NotSetUp:
    """Look at what the store holds of this node, after its stale ticket is surely gone.

    `ticket` is the full key of the ticket that the journal names, None without a journal: then every queue is searched.
    Raises StoreError.
    """
    # Consul filters what may not be read in silence: "absent" must not be believed without the right to see it.
    actor.store.probe(keys.own(node))
    actor.store.probe(keys.unlocked(node))
    extra: tuple[Sequence[str], Sequence[str]] = ((), (keys.QUEUES,)) if ticket is None else ((ticket,), ())

    def step() -> Done[Found | Clash | NotSetUp]:
        view = look(actor.store, [*_about(node), *extra[0]], extra[1])
        found = _found(view, node)
        if isinstance(found, NotSetUp):
            return Done(found)
        if found.held is not None and _clash(found.held, fingerprint):
            return Done(Clash(found.held))
        stale = _stale_ticket(view, node, ticket)
        if stale is None:
            return Done(found)
        # Confirmed by the next look, in which a claim that won before the delete shows, too.
        actor.store.commit((Check(stale, view.mod(stale)),), deletes=(stale,))
        return step()

    return settle(actor, step)


def steady_look(actor: Actor, node: str) -> Found | NotSetUp:
    """One read: the fleet's settings, the own key, hold and request. Raises StoreError."""
    return _found(look(actor.store, _about(node)), node)


def _about(node: str) -> list[str]:
    return [keys.own(node), keys.unlocked(node), keys.hold(node), keys.request(node)]


def _found(view: View, node: str) -> Found | NotSetUp:
    if view.config is None:
        return NotSetUp()
    return Found(
        view.config,
        held(view, node),
        view.document(keys.unlocked(node), Unlocked),
        view.document(keys.hold(node), Hold),
        view.document(keys.request(node), Request),
    )


def _clash(current: Held, fingerprint: str) -> bool:
    """Both fingerprints known and different; a hold by hand carries none."""
    stored = current.holder.fingerprint
    return bool(stored and fingerprint) and stored != fingerprint


def _stale_ticket(view: View, node: str, named: str | None) -> str | None:
    if named is not None:
        return named if view.item(named) else None
    for key, _ in view.snapshot.under(keys.QUEUES):
        if keys.ticket_node(key) == node and not keys.is_hand_ticket(key):
            return key
    return None


def write_record(actor: Actor, node: str, record: NodeRecord, untold: Sequence[Unsanctioned] = ()) -> bool:
    """Write this node's entry in the registry; nobody else writes it. Raises StoreError (an Unknown one is harmless).

    `untold` are boots of the record of which the history may not know yet: in the same commit they are noted, once each. Where
    the notes are refused the record is written without them: False, they are still untold.
    """
    gen = actor.nonce()
    put = Put(keys.record(record.group, node), replace(record, gen=gen).encode())
    if untold:
        try:
            view = look(actor.store, [keys.notes_of_node(node)])
            told = confessing(view, node, [of_boot(actor, node, record.group, each) for each in untold], gen)
            actor.store.commit((), (put, *told))
        except (Unavailable, Throttled):
            raise
        except (Denied, Rejected):
            pass  # history never stands in the way
        else:
            return True
    actor.store.commit((), (put,))
    return not untold


def drop_request(actor: Actor, node: str, identity: str) -> None:
    """Delete an operator's request that cannot be served, if it is still that one. Raises StoreError."""
    key = keys.request(node)

    def step() -> Done[None] | Try[None]:
        view = look(actor.store, [key])
        request = view.document(key, Request)
        if request is None or request.gen != identity:
            return Done(None)
        return Try(Commit((Check(key, view.mod(key)),), deletes=(key,)), lambda _: None)

    settle(actor, step)
