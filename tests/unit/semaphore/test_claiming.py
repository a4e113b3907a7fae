"""Enqueue, claim, cancel: one slot for one wish, whatever happens to the commits."""

from dataclasses import replace
from datetime import timedelta

import pytest

from locksmith.core import keys
from locksmith.core.admission import MAX_TICKETS, Patience
from locksmith.core.documents import Phase
from locksmith.errors import Denied, SessionLost, Unavailable, Unknown
from locksmith.semaphore.actor import Actor
from locksmith.semaphore.claiming import (
    Attempt,
    Barred,
    Claimed,
    Enqueued,
    Foreign,
    InLine,
    QueueFull,
    TicketLost,
    cancel,
    claim,
    enqueue,
)
from locksmith.semaphore.holding import fail, release, slot_of
from locksmith.semaphore.operating import acknowledge, pause_fleet, pause_group, pause_node, resume_fleet, set_max
from locksmith.stores import Check, Put
from tests.fakes.faulty import Fault, First, Raise
from tests.fakes.world import TTL, World

NOW = timedelta(0)
UNCLEAR = [Fault.DROP, Fault.LOSE, Fault.DELAY, Fault.CONFLICT]


@pytest.fixture
def n1(world: World) -> Actor:
    return world.actor("agent@n1")


class TestEnqueue:
    def test_puts_one_ephemeral_ticket(self, world: World, n1: Actor) -> None:
        attempt = world.attempt(n1, "n1")
        session = n1.store.session(TTL)
        assert enqueue(n1, attempt, session.id, NOW) == Enqueued()
        assert enqueue(n1, attempt, session.id, NOW) == Enqueued()
        assert world.memory.read([attempt.ticket_key])[attempt.ticket_key].session == session.id
        assert len(world.faults(n1).commits) == 1

    @pytest.mark.parametrize("fault", UNCLEAR)
    def test_neither_lost_nor_doubled(self, world: World, n1: Actor, fault: Fault) -> None:
        attempt, store = world.attempt(n1, "n1"), world.faults(n1)
        session = n1.store.session(TTL)
        store.plan(fault)
        assert enqueue(n1, attempt, session.id, NOW) == Enqueued()
        while store.delayed:
            store.deliver()
        assert world.tickets() == [attempt.ticket_key]

    @pytest.mark.parametrize("fault", UNCLEAR)
    def test_a_ticket_of_an_earlier_life_is_deleted_and_put_anew(self, world: World, n1: Actor, fault: Fault) -> None:
        old, new, store = world.attempt(n1, "n1"), world.attempt(n1, "n1"), world.faults(n1)
        world.queued(n1, old)
        before = world.memory.read([old.ticket_key])[old.ticket_key]
        session = n1.store.session(TTL)
        store.plan(fault)
        assert enqueue(n1, new, session.id, NOW) == Enqueued()
        after = world.memory.read([new.ticket_key])[new.ticket_key]
        assert after.session == session.id
        assert after.create > before.create, "the ticket of another session was taken over"

    def test_a_dead_session_is_told(self, world: World, n1: Actor) -> None:
        session = n1.store.session(TTL)
        session.end()
        with pytest.raises(SessionLost):
            enqueue(n1, world.attempt(n1, "n1"), session.id, NOW)

    def test_an_unclear_ticket_dies_with_its_session(self, world: World, n1: Actor) -> None:
        """What `cancel` cannot delete because it is not there yet."""
        attempt, store = world.attempt(n1, "n1"), world.faults(n1)
        session = n1.store.session(TTL)
        store.plan(Fault.DELAY)
        store.plan_reads(None, *[Raise(Unavailable("away"))] * 1000)
        with pytest.raises(Unknown):
            enqueue(n1, attempt, session.id, NOW)
        store.clear()
        assert cancel(n1, attempt) is None
        session.end()
        assert not store.deliver()

    def test_beyond_the_limit_it_waits_longer_the_younger_it_is(self, world: World, n1: Actor) -> None:
        for number in range(MAX_TICKETS):
            world.queued(n1, world.attempt(n1, f"m{number}"))
        session = n1.store.session(TTL)
        waits = [enqueue(n1, world.attempt(n1, "n1"), session.id, age) for age in (NOW, timedelta(days=2))]
        assert len(world.tickets()) == MAX_TICKETS
        for wait, low, high in zip(waits, (60, 60), (900, 180), strict=True):
            assert isinstance(wait, QueueFull)
            assert timedelta(seconds=low) <= wait.retry_after <= timedelta(seconds=high)

    @pytest.mark.parametrize(("slots", "most"), [(8, 900), (20, 360), (64, 112.5), (500, 60)])
    def test_where_many_slots_serve_the_queue_it_comes_back_sooner(self, world: World, n1: Actor, slots, most) -> None:
        set_max(world.operator, "web", slots)
        for number in range(MAX_TICKETS):
            world.queued(n1, world.attempt(n1, f"m{number}"))
        session = n1.store.session(TTL)
        waits = []
        for _ in range(40):
            answer = enqueue(n1, world.attempt(n1, "n1"), session.id, NOW)
            assert isinstance(answer, QueueFull)
            waits.append(answer.retry_after.total_seconds())
        assert 60 <= min(waits) <= max(waits) <= most
        assert max(waits) >= 0.8 * most

    def test_the_limit_is_each_groups_own(self, world: World, n1: Actor) -> None:
        for number in range(MAX_TICKETS):
            world.queued(n1, world.attempt(n1, f"m{number}", "db"))
        world.queued(n1, world.attempt(n1, "n1", "web"))

    def test_a_held_node_does_not_queue(self, world: World, n1: Actor) -> None:
        pause_node(world.operator, "n1", "disk", None)
        session = n1.store.session(TTL)
        answer = enqueue(n1, world.attempt(n1, "n1"), session.id, NOW)
        assert isinstance(answer, Barred)
        assert answer.kind == "hold"
        world.queued(n1, world.attempt(n1, "n2"))

    def test_pause_and_halt_do_not_keep_anybody_out_of_the_queue(self, world: World, n1: Actor) -> None:
        fail(n1, world.holding(n1, "sick"), "app")
        pause_fleet(world.operator, "freeze", None)
        world.queued(n1, world.attempt(n1, "n1"))

    def test_a_node_that_holds_is_not_queued(self, world: World, n1: Actor) -> None:
        slot = world.holding(n1, "n1")
        session = n1.store.session(TTL)
        answer = enqueue(n1, world.attempt(n1, "n1"), session.id, NOW)
        assert isinstance(answer, Foreign)
        assert answer.held.token == slot.token

    def test_a_store_without_settings_is_refused(self, world: World, n1: Actor) -> None:
        """Consul hides what may not be read: absent is no proof that nothing is owed."""
        world.memory.commit([Check("cfg", world.memory.read(["cfg"])["cfg"].mod)], deletes=["cfg"])
        session = n1.store.session(TTL)
        answer = enqueue(n1, world.attempt(n1, "n1"), session.id, NOW)
        assert isinstance(answer, Barred)
        assert answer.kind == "store"


class TestClaim:
    def test_takes_the_slot_deletes_the_ticket_and_counts(self, world: World, n1: Actor) -> None:
        attempt = world.attempt(n1, "n1")
        world.queued(n1, attempt)
        claimed = claim(n1, attempt, Patience())
        assert isinstance(claimed, Claimed)
        assert claimed.epoch == world.config().epoch
        assert world.guard().count == 1
        assert not world.tickets()
        assert world.holder("n1").phase == Phase.ACQUIRED
        assert world.held("n1") == claimed.held

    def test_costs_one_read_and_one_commit(self, world: World, n1: Actor) -> None:
        set_max(world.operator, "web", 1)
        attempt, store = world.attempt(n1, "n1"), world.faults(n1)
        world.queued(n1, attempt)
        reads, commits = store.reads, len(store.commits)
        assert isinstance(claim(n1, attempt, Patience()), Claimed)
        assert (store.reads - reads, len(store.commits) - commits) == (1, 1)

    @pytest.mark.parametrize("faults", [[one] for one in UNCLEAR] + [[a, b] for a in UNCLEAR for b in UNCLEAR])
    def test_neither_lost_nor_doubled(self, world: World, n1: Actor, faults: list[Fault]) -> None:
        attempt, store = world.attempt(n1, "n1"), world.faults(n1)
        world.queued(n1, attempt)
        store.plan(*faults)
        claimed = claim(n1, attempt, Patience())
        while store.delayed:
            store.deliver()
        assert isinstance(claimed, Claimed)
        assert world.held("n1") == claimed.held
        assert world.guard().count == 1

    def test_the_fencing_token_is_that_of_the_commit_that_applied(self, world: World, n1: Actor) -> None:
        attempt, store = world.attempt(n1, "n1"), world.faults(n1)
        world.queued(n1, attempt)
        store.plan(Fault.DELAY, First(store.deliver))
        claimed = claim(n1, attempt, Patience())
        assert isinstance(claimed, Claimed)
        assert claimed.held == world.held("n1")

    @pytest.mark.parametrize("error", [Unavailable("away"), Denied("revoked")])
    @pytest.mark.parametrize("at_read", [False, True])
    def test_an_unclear_claim_stays_unclear(
        self, world: World, n1: Actor, error: Unavailable, *, at_read: bool
    ) -> None:
        attempt, store = world.attempt(n1, "n1"), world.faults(n1)
        set_max(world.operator, "web", 1)
        world.queued(n1, attempt)
        if at_read:
            store.plan(Fault.DELAY)
            store.plan_reads(None, Raise(error))
        else:
            store.plan(Fault.DELAY, Raise(error))
        with pytest.raises(Unknown):
            claim(n1, attempt, Patience())
        assert store.deliver(), "it was still possible"

    def test_another_nonce_under_the_own_key_ends_the_attempt(self, world: World, n1: Actor) -> None:
        attempt, twin = world.attempt(n1, "n1"), world.actor("agent@twin")
        other = world.attempt(twin, "n1", hand=True)
        set_max(world.operator, "web", 2)
        world.queued(n1, attempt)
        world.queued(twin, other)
        world.faults(n1).plan(First(lambda: claim(twin, other, Patience())))
        answer = claim(n1, attempt, Patience())
        assert isinstance(answer, Foreign)
        assert answer.held.holder.nonce == other.nonce
        assert cancel(n1, attempt) is None, "a hold by hand is not ours"

    def test_without_its_ticket_nobody_claims(self, world: World, n1: Actor) -> None:
        attempt = world.attempt(n1, "n1")
        assert claim(n1, attempt, Patience()) == TicketLost()
        world.queued(n1, attempt)
        world.clock.advance(TTL.total_seconds() + 1)
        assert claim(n1, attempt, Patience()) == TicketLost()

    def test_all_limits_in_one_commit_or_none(self, world: World, n1: Actor) -> None:
        both = ("group/web", "label/zone=a")
        first, second = (replace(world.attempt(n1, node), limits=both) for node in ("n1", "n2"))
        set_max(world.operator, "web", 2)
        for attempt in (first, second):
            world.queued(n1, attempt)
        assert isinstance(claim(n1, first, Patience()), Claimed)
        line = claim(n1, second, Patience())
        assert isinstance(line, InLine)
        assert "label/zone=a" in line.reason
        assert world.guard().count == 1

    def test_a_limit_that_others_name_does_not_hold_up_those_who_do_not(self, world: World, n1: Actor) -> None:
        set_max(world.operator, "web", 3)
        zoned = [replace(world.attempt(n1, node), limits=("group/web", "label/zone=a")) for node in ("n1", "n2")]
        free = world.attempt(n1, "n3")
        for attempt in (*zoned, free):
            world.queued(n1, attempt)
        assert isinstance(claim(n1, zoned[0], Patience()), Claimed)
        assert isinstance(claim(n1, zoned[1], Patience()), InLine)
        assert isinstance(claim(n1, free, Patience()), Claimed)


class TestGuard:
    def test_is_made_with_one_slot_by_the_first_claim(self, world: World, n1: Actor) -> None:
        world.holding(n1, "n1")
        assert (world.guard().slots, world.guard().effective, world.guard().count) == (1, 1, 1)

    def test_that_was_lost_is_recounted(self, world: World, n1: Actor) -> None:
        """Never a fresh count of zero over holders that are still there."""
        world.holding(n1, "n1")
        guard = keys.guard("group/web")
        world.judge.off = True
        world.memory.commit([Check(guard, world.memory.read([guard])[guard].mod)], deletes=[guard])
        second = world.attempt(n1, "n2")
        world.queued(n1, second)
        line = claim(n1, second, Patience())
        assert isinstance(line, InLine)
        set_max(world.operator, "web", 2)
        world.judge.off = False
        assert isinstance(claim(n1, second, Patience()), Claimed)
        assert world.guard().count == 2

    def test_a_claim_of_a_guard_made_meanwhile_conflicts(self, world: World, n1: Actor) -> None:
        """Both saw no guard; only one of the two may make it."""
        attempt, urgent = world.attempt(n1, "n1"), replace(world.attempt(n1, "n2"), priority=-1)
        world.queued(n1, attempt)

        def overtake() -> None:
            world.queued(world.operator, urgent)
            assert isinstance(claim(world.operator, urgent, Patience()), Claimed)

        world.faults(n1).plan(First(overtake))
        assert isinstance(claim(n1, attempt, Patience()), InLine)
        assert world.guard().count == 1

    def test_of_a_newer_locksmith_bars_claims_and_not_releases(self, world: World, n1: Actor) -> None:
        set_max(world.operator, "web", 2)
        slot, attempt = world.holding(n1, "n1"), world.attempt(n1, "n2")
        world.queued(n1, attempt)
        newer = replace(world.guard(), min_claim=2)
        world.memory.commit((), [Put(keys.guard("group/web"), newer.encode())])
        answer = claim(n1, attempt, Patience())
        assert isinstance(answer, Barred)
        assert answer.kind == "config"
        session = n1.store.session(TTL)
        assert isinstance(enqueue(n1, world.attempt(n1, "n3"), session.id, NOW), Barred)
        release(n1, slot)
        assert world.held("n1") is None
        assert world.guard().min_claim == 2


class TestStopped:
    def waiting(self, world: World, actor: Actor) -> Attempt:
        attempt = world.attempt(actor, "n2")
        world.queued(actor, attempt)
        return attempt

    def line(self, actor: Actor, attempt: Attempt) -> InLine:
        line = claim(actor, attempt, Patience())
        assert isinstance(line, InLine)
        return line

    def test_a_pause_costs_no_place(self, world: World, n1: Actor) -> None:
        attempt = self.waiting(world, n1)
        pause_fleet(world.operator, "freeze", None)
        line = self.line(n1, attempt)
        assert (line.kind, line.rank) == ("paused", 1)
        assert "freeze" in line.reason
        assert "cfg" in [key for key, _ in line.watches]
        resume_fleet(world.operator)
        assert isinstance(claim(n1, attempt, Patience()), Claimed)

    def test_a_pause_ends_by_a_synchronised_clock_only(self, world: World, n1: Actor) -> None:
        set_max(world.operator, "web", 1)
        attempt = self.waiting(world, n1)
        pause_group(world.operator, "web", "lunch", world.clock.wall() + timedelta(minutes=10))
        world.clock.advance(601)
        world.clock.trusted = False
        assert self.line(n1, attempt).kind == "paused"
        world.clock.trusted = True
        assert isinstance(claim(n1, attempt, Patience()), Claimed)

    def test_a_pause_that_commits_first_wins(self, world: World, n1: Actor) -> None:
        attempt = self.waiting(world, n1)
        world.faults(n1).plan(First(lambda: pause_fleet(world.operator, "now", None)))
        assert self.line(n1, attempt).kind == "paused"
        assert world.held("n2") is None

    def test_a_halt_names_the_failed_host_and_its_check(self, world: World, n1: Actor) -> None:
        set_max(world.operator, "web", 2)
        attempt = self.waiting(world, n1)
        slot = world.holding(n1, "sick")
        fail(n1, slot, "app")
        line = self.line(n1, attempt)
        assert line.kind == "halted"
        assert "host-sick failed app" in line.reason
        acknowledge(world.operator, "web", "known")
        assert isinstance(claim(n1, attempt, Patience()), Claimed)

    def test_a_halt_ends_when_the_failed_one_releases(self, world: World, n1: Actor) -> None:
        set_max(world.operator, "web", 2)
        attempt = self.waiting(world, n1)
        slot = world.holding(n1, "sick")
        fail(n1, slot, "app")
        release(n1, slot)
        assert isinstance(claim(n1, attempt, Patience()), Claimed)

    def test_a_hold_stops_this_node_only(self, world: World, n1: Actor) -> None:
        attempt, other = self.waiting(world, n1), world.attempt(n1, "n3")
        set_max(world.operator, "web", 2)
        world.queued(n1, other)
        pause_node(world.operator, "n2", "disk", None)
        assert self.line(n1, attempt).kind == "hold"
        assert isinstance(claim(n1, other, Patience()), Claimed)


class TestQueue:
    def fill(self, world: World, actor: Actor, count: int) -> list[Attempt]:
        set_max(world.operator, "web", 1)
        world.holding(actor, "holder")
        attempts = [world.attempt(actor, f"n{number:02}") for number in range(count)]
        for attempt in attempts:
            world.queued(actor, attempt)
        return attempts

    def test_is_served_in_the_order_of_the_tickets(self, world: World, n1: Actor) -> None:
        attempts = self.fill(world, n1, 5)
        slot = slot_of(world.held("holder"))  # type: ignore[arg-type]
        served = []
        for _ in attempts:
            release(n1, slot)
            for attempt in reversed([one for one in attempts if one.node not in served]):
                claimed = claim(n1, attempt, Patience())
                if isinstance(claimed, Claimed):
                    served.append(attempt.node)
                    slot = slot_of(claimed.held)
        assert served == [attempt.node for attempt in attempts]

    def test_a_smaller_priority_goes_first(self, world: World, n1: Actor) -> None:
        late = replace(self.fill(world, n1, 2)[1], node="urgent", priority=-1)
        world.queued(n1, late)
        line = claim(n1, late, Patience())
        assert isinstance(line, InLine)
        assert (line.rank, line.ahead) == (1, ())

    def test_eight_watch_the_guard_and_the_others_the_ticket_in_front(self, world: World, n1: Actor) -> None:
        attempts = self.fill(world, n1, 12)
        for place, attempt in enumerate(attempts):
            line = claim(n1, attempt, Patience())
            assert isinstance(line, InLine)
            assert line.rank == place + 1
            assert line.ahead == tuple(one.node for one in attempts[:place])
            watched = [key for key, _ in line.watches]
            assert watched == (["lim/group/web", "cfg"] if place < 8 else [attempts[place - 1].ticket_key])
            assert all(mod == world.memory.read([key])[key].mod for key, mod in line.watches)

    def test_while_a_slot_is_free_the_ticket_in_front_is_watched_too(self, world: World, n1: Actor) -> None:
        """It may leave without a claim (its node lost power, its update is withdrawn), which no guard shows."""
        first, second, third = self.fill(world, n1, 3)
        release(n1, slot_of(world.held("holder")))  # type: ignore[arg-type]
        for mine, front in ((second, first), (third, second)):
            line = claim(n1, mine, Patience())
            assert isinstance(line, InLine)
            assert [key for key, _ in line.watches] == ["lim/group/web", "cfg", front.ticket_key]

    def test_who_could_claim_and_does_not_is_passed_over(self, world: World, n1: Actor) -> None:
        idle, eager = self.fill(world, n1, 2)
        release(n1, slot_of(world.held("holder")))  # type: ignore[arg-type]
        walks = Patience()
        assert isinstance(claim(n1, eager, walks), InLine)
        world.clock.advance(29)
        assert isinstance(claim(n1, eager, walks), InLine)
        world.clock.advance(2)
        assert isinstance(claim(n1, eager, walks), Claimed)
        assert world.tickets() == [idle.ticket_key]

    def test_a_pause_is_no_reason_to_pass_anybody_over(self, world: World, n1: Actor) -> None:
        first, second = self.fill(world, n1, 2)
        release(n1, slot_of(world.held("holder")))  # type: ignore[arg-type]
        walks = Patience()
        assert isinstance(claim(n1, second, walks), InLine)
        pause_fleet(world.operator, "freeze", None)
        assert isinstance(claim(n1, second, walks), InLine)
        world.clock.advance(3000)
        resume_fleet(world.operator)
        line = claim(n1, second, walks)
        assert isinstance(line, InLine), "the first lost its place to a pause"
        assert isinstance(claim(n1, first, Patience()), Claimed)


class TestCancel:
    def test_a_ticket_is_gone(self, world: World, n1: Actor) -> None:
        attempt = world.attempt(n1, "n1")
        world.queued(n1, attempt)
        assert cancel(n1, attempt) is None
        assert cancel(n1, attempt) is None
        assert not world.tickets()

    @pytest.mark.parametrize("fault", UNCLEAR)
    def test_a_late_claim_cannot_apply_after_it(self, world: World, n1: Actor, fault: Fault) -> None:
        attempt, store = world.attempt(n1, "n1"), world.faults(n1)
        world.queued(n1, attempt)
        _late_claim(world, n1, attempt)
        store.plan(fault)
        assert cancel(n1, attempt) is None
        while store.delayed:
            store.deliver()
        assert world.held("n1") is None, "a ghost holder"

    def test_negative_control_without_the_tickets_check_there_is_a_ghost(self, world: World, n1: Actor) -> None:
        attempt, store = world.attempt(n1, "n1"), world.faults(n1)
        store.ignore = lambda key: key.startswith("q/")
        world.queued(n1, attempt)
        _late_claim(world, n1, attempt)
        assert cancel(n1, attempt) is None
        assert store.deliver()
        assert world.held("n1") is not None

    def test_a_claim_that_won_is_handed_over(self, world: World, n1: Actor) -> None:
        attempt, store = world.attempt(n1, "n1"), world.faults(n1)
        world.queued(n1, attempt)
        _late_claim(world, n1, attempt)
        store.plan(First(store.deliver))
        assert cancel(n1, attempt) == world.held("n1")
        assert world.held("n1") is not None

    def test_the_ticket_of_a_later_life_is_left_alone(self, world: World, n1: Actor) -> None:
        old, new = world.attempt(n1, "n1"), world.attempt(n1, "n1")
        world.queued(n1, new)
        assert cancel(n1, old) is None
        assert world.tickets() == [new.ticket_key]


def _late_claim(world: World, actor: Actor, attempt: Attempt) -> None:
    """A claim whose fate its sender never learns, and which may still apply."""
    store = world.faults(actor)
    store.plan(Fault.DELAY)
    with pytest.raises(Unknown):
        claim(actor, attempt, Patience(), tries=1)
    store.plan_reads()
