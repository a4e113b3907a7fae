"""One document rewritten or deleted by an operator, brought to an end by its gen.

The one idea a reader would miss: a write of unknown fate is settled by finding its own gen, never by finding the wanted
state: a pause that stands is no proof that it is ours, somebody may have resumed and paused again in between.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from locksmith.core.codec import FORMAT, Document
from locksmith.core.history import Note
from locksmith.errors import NewerFormat, StoreFull
from locksmith.semaphore.actor import Actor, Done, Try, View, look, settle
from locksmith.semaphore.recording import noting
from locksmith.stores import Check, Commit, Put

D = TypeVar("D", bound=Document)


def writable(key: str, document: Document | None) -> None:
    """Refuse to write over what a newer locksmith wrote. Raises NewerFormat."""
    if document is not None and document.v > FORMAT:
        raise NewerFormat(f"{key}: written by a newer locksmith (format {document.v}): upgrade this lockctl")


@dataclass(frozen=True, slots=True)
class Told:
    """A note for the history, and the key of its notes."""

    key: str
    note: Note


def rewrite(  # noqa: PLR0913
    actor: Actor,
    key: str,
    cls: type[D],
    change: Callable[[D | None], D | None],
    *,
    made: list[D] | None = None,
    told: Told | None = None,
) -> D | None:
    """Rewrite one document under its own check; gives what stood before.

    `change` gives the new one, or None when nothing is to be written. It is a function of the document alone, so a None
    after a write of unknown fate means that the key has changed since, and that write is impossible. `made` collects what was
    sent, the last one standing at the end. `told` goes into the history in the same commit. Raises NewerFormat, StoreError.
    """
    written: dict[str, D | None] = {}

    def step() -> Done[D | None] | Try[D | None]:
        view = look(actor.store, [key, *told_keys(told)])
        current = view.document(key, cls)
        writable(key, current)
        if current is not None and current.gen in written:
            return Done(written[current.gen])
        changed = change(current)
        if changed is None:
            return Done(current)
        changed = replace(changed, gen=actor.nonce())
        written[changed.gen] = current
        if made is not None:
            made.append(changed)
        puts = (Put(key, changed.encode()), *_history(view, told, changed.gen))
        return Try(Commit((Check(key, view.mod(key)),), puts), lambda _: current)

    return settle(actor, step)


def delete(actor: Actor, key: str, cls: type[D], told: Told | None = None) -> D | None:
    """Delete the document that stands there at the first look, by its gen; gives it. `told`: see `rewrite`. Raises StoreError."""
    first: list[D | None] = []

    def step() -> Done[D | None] | Try[D | None]:
        view = look(actor.store, [key, *told_keys(told)])
        current = view.document(key, cls)
        first.append(current)
        target = first[0]
        if current is None or target is None or current.gen != target.gen:
            return Done(target)
        puts = _history(view, told, actor.nonce())
        return Try(Commit((Check(key, view.mod(key)),), puts, (key,)), lambda _: target)

    try:
        return settle(actor, step)
    except StoreFull:
        if told is None:
            raise
        # A full store still takes deletes, if nothing is put beside them: history never stands in the way.
        return delete(actor, key, cls)


def told_keys(told: Told | None) -> tuple[str, ...]:
    """What a snapshot must have read for the note."""
    return () if told is None else (told.key,)


def _history(view: View, told: Told | None, gen: str) -> tuple[Put, ...]:
    return () if told is None else (noting(view, told.key, told.note, gen),)
