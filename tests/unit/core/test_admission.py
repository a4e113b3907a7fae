"""The walk over the tickets: never more than is free, first come first served, and nobody is held up by the dead."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from locksmith.core.admission import (
    GUARD_WATCHERS,
    RESERVE_AFTER,
    SKIP_AFTER,
    Patience,
    Standing,
    Waiting,
    ordered,
    walk,
)
from locksmith.core.documents import Guard, Ticket

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LIMITS = ("group/web", "label/zone=a", "label/zone=b", "fleet/all")
quick = settings(deadline=None, max_examples=80)
Lives = frozenset[tuple[str, int]]
INSTANT = timedelta(microseconds=1)


def waiting(
    place: int, *limits: str, age: timedelta = timedelta(0), priority: int = 0, create: int | None = None
) -> Waiting:
    ticket = Ticket(nonce=f"x{place}", limits=limits or ("group/web",), since=NOW - age, priority=priority)
    created = place + 1 if create is None else create
    return Waiting(f"q/web/n{place:02}", ticket, created, created)


def standing(
    tickets: list[Waiting], guards: Mapping[str, Guard], mine: Waiting, skipped: Lives = frozenset()
) -> Standing:
    found = walk(tickets, guards, mine.key, NOW, skipped)
    assert found is not None
    return found


ages = st.sampled_from([timedelta(0), RESERVE_AFTER - INSTANT, RESERVE_AFTER, timedelta(days=1)])
limit_sets = st.lists(st.sampled_from(LIMITS), min_size=1, max_size=3, unique=True)
guard_sets = st.dictionaries(
    st.sampled_from(LIMITS), st.builds(Guard, effective=st.integers(0, 4), count=st.integers(0, 5))
)


@st.composite
def queues(draw: st.DrawFn) -> list[Waiting]:
    shape = st.tuples(limit_sets, ages, st.integers(-1, 1))
    rows = draw(st.lists(shape, min_size=1, max_size=12))
    tickets = [
        waiting(place, *limits, age=age, priority=priority) for place, (limits, age, priority) in enumerate(rows)
    ]
    return draw(st.permutations(tickets))


def free(guards: Mapping[str, Guard], limit: str) -> int:
    return max(0, guards[limit].free if limit in guards else 1)


def claimants(tickets: list[Waiting], guards: Mapping[str, Guard], skipped: Lives = frozenset()) -> list[Waiting]:
    """Those whose own walk says that they may claim now."""
    return [one for one in ordered(tickets) if standing(tickets, guards, one, skipped).blocked_by is None]


@quick
@given(queues(), guard_sets)
def test_all_who_may_claim_fit_together(tickets: list[Waiting], guards: dict[str, Guard]) -> None:
    granted = claimants(tickets, guards)
    for limit in LIMITS:
        assert sum(limit in one.ticket.limits for one in granted) <= free(guards, limit)


@quick
@given(queues(), guard_sets)
def test_nobody_overtakes_on_the_same_limits(tickets: list[Waiting], guards: dict[str, Guard]) -> None:
    granted = claimants(tickets, guards)
    for front, behind in pairwise(ordered(tickets)):
        if set(front.ticket.limits) <= set(behind.ticket.limits) and behind in granted:
            assert front in granted


@quick
@given(queues(), guard_sets)
def test_every_pair_with_the_same_limits_is_served_in_order(tickets: list[Waiting], guards: dict[str, Guard]) -> None:
    granted = claimants(tickets, guards)
    line = ordered(tickets)
    for place, behind in enumerate(line):
        for front in line[:place]:
            if set(front.ticket.limits) == set(behind.ticket.limits) and behind in granted:
                assert front in granted


@quick
@given(queues(), guard_sets)
def test_no_slot_stays_unused_while_somebody_young_could_take_it(
    tickets: list[Waiting], guards: dict[str, Guard]
) -> None:
    """Without old tickets nothing is reserved: who is blocked is blocked by those who may claim, not by the blocked."""
    young = [one for one in tickets if NOW - one.ticket.since < RESERVE_AFTER]
    granted = claimants(young, guards)
    for one in young:
        taken = [limit for limit in one.ticket.limits if not free(guards, limit) - sum(
            limit in other.ticket.limits for other in granted if other is not one
        ) > 0]  # fmt: skip
        assert (one in granted) or taken


@quick
@given(queues(), guard_sets)
def test_an_old_ticket_keeps_what_is_free_from_those_behind(tickets: list[Waiting], guards: dict[str, Guard]) -> None:
    line, granted = ordered(tickets), claimants(tickets, guards)
    for place, old in enumerate(line):
        if old in granted or NOW - old.ticket.since < RESERVE_AFTER:
            continue
        for limit in old.ticket.limits:
            before = sum(limit in one.ticket.limits for one in line[:place] if one in granted)
            behind = sum(limit in one.ticket.limits for one in line[place + 1 :] if one in granted)
            assert behind <= max(0, free(guards, limit) - before - 1)


@quick
@given(queues(), guard_sets, st.data())
def test_the_skipped_take_nothing_from_others(
    tickets: list[Waiting], guards: dict[str, Guard], data: st.DataObject
) -> None:
    lives = sorted(one.life for one in tickets)
    skipped = frozenset(data.draw(st.sets(st.sampled_from(lives), max_size=len(lives) - 1)))
    rest = [one for one in tickets if one.life not in skipped]
    for one in rest:
        assert standing(tickets, guards, one, skipped).blocked_by == standing(rest, guards, one).blocked_by
        assert standing(tickets, guards, one, skipped).rank == ordered(tickets).index(one) + 1


@quick
@given(queues(), guard_sets)
def test_it_does_not_depend_on_the_order_in_which_the_store_lists(
    tickets: list[Waiting], guards: dict[str, Guard]
) -> None:
    for one in tickets:
        assert standing(tickets, guards, one) == standing(list(reversed(tickets)), guards, one)


@quick
@given(queues(), guard_sets)
def test_what_blocks_is_a_limit_of_the_ticket_and_what_is_watched_leads_to_the_front(
    tickets: list[Waiting], guards: dict[str, Guard]
) -> None:
    line = ordered(tickets)
    for place, one in enumerate(line):
        found = standing(tickets, guards, one)
        assert found.rank == place + 1
        assert found.in_front == (line[place - 1] if place else None)
        assert (found.blocked_by is None) == (one.life in found.claimable)
        if found.blocked_by is not None:
            assert found.blocked_by in one.ticket.limits
            assert found.watch_guard or place >= GUARD_WATCHERS, "neither the guard nor enough in front"


def test_order_is_priority_then_age_in_the_store_then_key() -> None:
    late = waiting(0, create=9)
    early, twin = waiting(2, create=4), waiting(1, create=4)
    urgent = waiting(3, priority=-1, create=20)
    assert ordered([late, early, twin, urgent]) == [urgent, twin, early, late]


def test_a_ticket_that_is_not_there_stands_nowhere() -> None:
    assert walk([waiting(1)], {}, "q/web/other", NOW) is None
    assert walk([], {}, "q/web/n01", NOW) is None


def test_a_limit_without_a_guard_is_one_free_slot() -> None:
    tickets = [waiting(0), waiting(1)]
    assert claimants(tickets, {}) == tickets[:1]


def test_several_may_claim_at_once() -> None:
    tickets = [waiting(place) for place in range(5)]
    assert claimants(tickets, {"group/web": Guard(effective=3, count=0)}) == tickets[:3]


def test_a_lowered_limit_grants_nothing() -> None:
    assert claimants([waiting(0)], {"group/web": Guard(effective=1, count=3)}) == []


def test_who_needs_a_busy_zone_does_not_hold_up_another_zone() -> None:
    guards = {"group/web": Guard(effective=2), "label/zone=a": Guard(effective=1, count=1)}
    young, other = waiting(0, "group/web", "label/zone=a"), waiting(1, "group/web", "label/zone=b")
    assert claimants([young, other], guards) == [other]


@pytest.mark.parametrize(("age", "granted"), [(RESERVE_AFTER - INSTANT, True), (RESERVE_AFTER, False)])
def test_until_it_has_waited_long_enough(age: timedelta, *, granted: bool) -> None:
    guards = {"group/web": Guard(effective=1), "label/zone=a": Guard(effective=1, count=1)}
    old, other = waiting(0, "group/web", "label/zone=a", age=age), waiting(1, "group/web")
    assert (other in claimants([old, other], guards)) == granted


def test_only_so_many_watch_one_guard() -> None:
    tickets = [waiting(place) for place in range(GUARD_WATCHERS + 4)]
    guards = {"group/web": Guard(effective=1, count=1)}
    assert [standing(tickets, guards, one).watch_guard for one in tickets] == [True] * GUARD_WATCHERS + [False] * 4


class TestPatience:
    SECONDS = SKIP_AFTER.total_seconds()
    GUARDS = {"group/web": Guard(effective=1)}  # noqa: RUF012

    def look(self, patience: Patience, tickets: list[Waiting], mine: Waiting, at: float, *settings: int) -> Standing:
        skipped = patience.skipped(tickets, at, settings)
        found = standing(tickets, self.GUARDS, mine, skipped)
        patience.observe(found, at)
        return found

    def test_who_could_claim_for_long_enough_is_skipped(self) -> None:
        idle, mine = waiting(0), waiting(1)
        patience = Patience()
        for at, blocked in ((0.0, True), (self.SECONDS - 0.1, True), (self.SECONDS, False), (self.SECONDS + 99, False)):
            assert (self.look(patience, [idle, mine], mine, at).blocked_by is not None) == blocked

    def test_nobody_skips_himself(self) -> None:
        mine, behind = waiting(0), waiting(1)
        patience = Patience()
        for at in (0.0, self.SECONDS, 2 * self.SECONDS):
            assert self.look(patience, [mine, behind], mine, at).blocked_by is None

    def test_another_life_of_a_ticket_is_not_skipped(self) -> None:
        idle, mine = waiting(0), waiting(2)
        patience = Patience()
        for at in (0.0, self.SECONDS):
            self.look(patience, [idle, mine], mine, at)
        again = waiting(0, create=2)
        assert self.look(patience, [again, mine], mine, self.SECONDS + 1).blocked_by is not None

    def test_time_in_which_it_could_not_claim_does_not_count(self) -> None:
        idle, mine, urgent = waiting(0), waiting(1), waiting(2, priority=-1)
        patience = Patience()
        self.look(patience, [idle, mine], mine, 0.0)
        self.look(patience, [idle, mine, urgent], mine, 10.0)
        self.look(patience, [idle, mine], mine, 20.0)
        assert self.look(patience, [idle, mine], mine, self.SECONDS + 10).blocked_by is not None
        assert self.look(patience, [idle, mine], mine, self.SECONDS + 20).blocked_by is None

    def test_a_change_of_what_stops_claims_starts_the_time_anew(self) -> None:
        idle, mine = waiting(0), waiting(1)
        patience = Patience()
        self.look(patience, [idle, mine], mine, 0.0, 1, 0, 0)
        assert self.look(patience, [idle, mine], mine, 1000.0, 2, 0, 0).blocked_by is not None
        assert self.look(patience, [idle, mine], mine, 1000.0 + self.SECONDS, 2, 0, 0).blocked_by is None
