"""Who may claim now: the walk over the tickets of one group and the limits that they name.

Every waiter walks the same tickets in the same order (priority, create revision, key) and gives each one, on paper, the
slots it asks for. A waiter claims when the walk reaches its own ticket with all its limits free, so several may claim at
once where slots allow it, and nobody overtakes on the same limits. The walk decides nothing by itself: the commit that
follows checks every guard again.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime, timedelta

from locksmith.core import keys
from locksmith.core.documents import Guard, Ticket

MAX_TICKETS = 64
"""Tickets of one group beyond which nobody enqueues any more."""
WITHDRAW_RANK = 96
"""A ticket that finds itself this far back leaves."""
GUARD_WATCHERS = 8
"""So many of those whom one limit blocks watch its guard; the others watch the ticket in front."""
SKIP_AFTER = timedelta(seconds=30)
"""A ticket that could have claimed for so long, and did not, is passed over until it changes."""
RESERVE_AFTER = timedelta(minutes=30)
"""A ticket this old keeps what is free of its limits from those behind it."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A ticket with what the store says about it."""

    key: str
    ticket: Ticket
    create: int
    mod: int

    @property
    def node(self) -> str:
        """The node that waits."""
        return keys.ticket_node(self.key)

    @property
    def life(self) -> tuple[str, int]:
        """This life of the ticket: another create revision is another ticket."""
        return self.key, self.create


def ordered(tickets: Sequence[Waiting]) -> list[Waiting]:
    """The queue: by priority, then by age in the store, with the key as tie-break."""
    return sorted(tickets, key=lambda waiting: (waiting.ticket.priority, waiting.create, waiting.key))


@dataclass(frozen=True, slots=True)
class Standing:
    """Where one ticket stands. `rank` counts from 1.

    `blocked_by` is the limit that has no slot left when the walk arrives, None when it may claim. `watch_guard` says whether
    it is among the first that watch that guard; else `in_front` is the ticket to watch. `claimable` are the tickets that
    could claim now, by life: who stays among them too long is skipped.
    """

    rank: int
    blocked_by: str | None
    watch_guard: bool
    in_front: Waiting | None
    claimable: frozenset[tuple[str, int]]


def walk(
    tickets: Sequence[Waiting],
    guards: Mapping[str, Guard],
    mine: str,
    now: datetime,
    skipped: AbstractSet[tuple[str, int]] = frozenset(),
) -> Standing | None:
    """Walk the queue up to the ticket with the key `mine`; None when it is not there.

    A limit without a guard counts as one free slot: the claim creates the guard, with a recount.
    """
    free: dict[str, int] = {}
    blocked_on: dict[str, int] = {}
    claimable: set[tuple[str, int]] = set()
    in_front: Waiting | None = None
    for rank, waiting in enumerate(ordered(tickets), start=1):
        limits = waiting.ticket.limits
        for limit in limits:
            free.setdefault(limit, guards[limit].free if limit in guards else 1)
        is_mine = waiting.key == mine
        if waiting.life in skipped and not is_mine:
            in_front = waiting
            continue
        blocked_by = next((limit for limit in limits if free[limit] < 1), None)
        if blocked_by is None:
            claimable.add(waiting.life)
        if is_mine:
            watch_guard = blocked_by is not None and blocked_on.get(blocked_by, 0) < GUARD_WATCHERS
            return Standing(rank, blocked_by, watch_guard, in_front, frozenset(claimable))
        if blocked_by is not None:
            blocked_on[blocked_by] = blocked_on.get(blocked_by, 0) + 1
        if blocked_by is None or now - waiting.ticket.since >= RESERVE_AFTER:
            for limit in limits:
                free[limit] -= free[limit] > 0
        in_front = waiting
    return None


class Patience:
    """What one waiter remembers between its walks, to find the tickets that could claim and do not.

    Times are seconds of the boot-time clock.
    """

    def __init__(self) -> None:
        """Nothing seen yet."""
        self._claimable_since: dict[tuple[str, int], float] = {}
        self._skipped: set[tuple[str, int]] = set()
        self._settings: tuple[int, ...] = ()

    def skipped(
        self, tickets: Sequence[Waiting], boottime: float, settings: tuple[int, ...] = ()
    ) -> frozenset[tuple[str, int]]:
        """The tickets to pass over now.

        `settings` are the revisions of what pauses, holds and halts: a ticket that could claim before one of them changed
        may have been stopped since, so its time counts anew. Otherwise a resume would cost the first its place.
        """
        if settings != self._settings:
            self._settings = settings
            self._claimable_since.clear()
        alive = {waiting.life for waiting in tickets}
        self._skipped &= alive
        limit = SKIP_AFTER.total_seconds()
        self._skipped |= {
            life for life, since in self._claimable_since.items() if boottime - since >= limit and life in alive
        }
        return frozenset(self._skipped)

    def observe(self, standing: Standing, boottime: float) -> None:
        """Note who could claim in this walk."""
        self._claimable_since = {life: self._claimable_since.get(life, boottime) for life in standing.claimable}
