"""One document rewritten or deleted by an operator, brought to an end by its gen.

The one idea a reader would miss: a write of unknown fate is settled by finding its own gen, never by finding the wanted
state: a pause that stands is no proof that it is ours, somebody may have resumed and paused again in between.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from locksmith.core.codec import FORMAT, Document
from locksmith.errors import NewerFormat
from locksmith.semaphore.actor import Actor, Done, Try, look, settle
from locksmith.stores import Check, Commit, Put

D = TypeVar("D", bound=Document)


def writable(key: str, document: Document | None) -> None:
    """Refuse to write over what a newer locksmith wrote. Raises NewerFormat."""
    if document is not None and document.v > FORMAT:
        raise NewerFormat(f"{key}: written by a newer locksmith (format {document.v}): upgrade this lockctl")


def rewrite(
    actor: Actor, key: str, cls: type[D], change: Callable[[D | None], D | None], made: list[D] | None = None
) -> D | None:
    """Rewrite one document under its own check; gives what stood before.

    `change` gives the new one, or None when nothing is to be written. It is a function of the document alone, so a None
    after a write of unknown fate means that the key has changed since, and that write is impossible. `made` collects what was
    sent, the last one standing at the end. Raises NewerFormat, StoreError.
    """
    written: dict[str, D | None] = {}

    def step() -> Done[D | None] | Try[D | None]:
        view = look(actor.store, [key])
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
        return Try(Commit((Check(key, view.mod(key)),), (Put(key, changed.encode()),)), lambda _: current)

    return settle(actor, step)


def delete(actor: Actor, key: str, cls: type[D]) -> D | None:
    """Delete the document that stands there at the first look, by its gen; gives it. Raises StoreError."""
    first: list[D | None] = []

    def step() -> Done[D | None] | Try[D | None]:
        view = look(actor.store, [key])
        current = view.document(key, cls)
        first.append(current)
        target = first[0]
        if current is None or target is None or current.gen != target.gen:
            return Done(target)
        return Try(Commit((Check(key, view.mod(key)),), deletes=(key,)), lambda _: target)

    return settle(actor, step)
