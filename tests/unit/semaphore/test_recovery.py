"""START: what a node owes, after nothing of an earlier life can apply any more."""

from dataclasses import replace
from datetime import timedelta

import pytest

from locksmith.core import keys
from locksmith.core.admission import Patience
from locksmith.core.documents import NodeRecord, Phase
from locksmith.core.history import NODE_NOTES, Notes, Unsanctioned
from locksmith.errors import Denied, Rejected, StoreError, Unavailable, Unknown
from locksmith.semaphore.actor import Actor
from locksmith.semaphore.claiming import Attempt, claim
from locksmith.semaphore.operating import pause_node, request_reboot
from locksmith.semaphore.recovery import (
    Clash,
    Found,
    NotSetUp,
    drop_request,
    setup,
    start,
    steady_look,
    write_record,
)
from locksmith.semaphore.taking import force_unlock
from locksmith.stores import Check, Put
from tests.fakes.faulty import Fault, First, Raise
from tests.fakes.world import World

UNCLEAR = [Fault.DROP, Fault.LOSE, Fault.DELAY, Fault.CONFLICT]


@pytest.fixture
def n1(world: World) -> Actor:
    return world.actor("agent@n1")


def begin(actor: Actor, ticket: str | None = None, fingerprint: str = "board-n1") -> Found:
    found = start(actor, "n1", fingerprint, ticket)
    assert isinstance(found, Found), found
    return found


def killed_while_claiming(world: World, actor: Actor, group: str = "web") -> Attempt:
    """The claim is on its way when its process dies."""
    attempt = world.attempt(actor, "n1", group)
    world.queued(actor, attempt)
    world.faults(actor).plan(Fault.DELAY)
    with pytest.raises(Unknown):
        claim(actor, attempt, Patience(), tries=1)
    return attempt


class TestStart:
    def test_of_a_node_that_owes_nothing(self, world: World, n1: Actor) -> None:
        found = begin(n1)
        assert (found.held, found.unlocked, found.hold, found.request) == (None, None, None, None)
        assert found.config == world.config()

    @pytest.mark.parametrize("journal", [True, False])
    @pytest.mark.parametrize("fault", [Fault.NONE, *UNCLEAR])
    def test_makes_a_claim_of_an_earlier_life_impossible(
        self, world: World, n1: Actor, fault: Fault, *, journal: bool
    ) -> None:
        attempt = killed_while_claiming(world, n1)
        again = world.actor("agent@n1")
        world.faults(again).plan(fault)
        found = begin(again, attempt.ticket_key if journal else None)
        assert found.held is None
        assert not world.faults(n1).deliver()
        while world.faults(again).delayed:
            world.faults(again).deliver()
        assert world.held("n1") is None, "a ghost holder"
        assert not world.tickets()

    def test_negative_control_without_the_tickets_check_there_is_a_ghost(self, world: World, n1: Actor) -> None:
        world.faults(n1).ignore = lambda key: key.startswith("q/")
        attempt = killed_while_claiming(world, n1)
        assert begin(world.actor("agent@n1"), attempt.ticket_key).held is None
        assert world.faults(n1).deliver()
        assert world.held("n1") is not None

    def test_finds_a_claim_that_won_while_the_ticket_was_deleted(self, world: World, n1: Actor) -> None:
        attempt = killed_while_claiming(world, n1)
        again = world.actor("agent@n1")
        world.faults(again).plan(First(world.faults(n1).deliver))
        found = begin(again, attempt.ticket_key)
        assert found.held == world.held("n1")
        assert found.held is not None

    def test_finds_the_ticket_that_a_changed_group_would_hide(self, world: World, n1: Actor) -> None:
        killed_while_claiming(world, n1, "old-group")
        begin(world.actor("agent@n1"))
        assert not world.tickets("old-group")
        assert not world.faults(n1).deliver()

    def test_leaves_the_tickets_of_others_alone(self, world: World, n1: Actor) -> None:
        others = [world.attempt(n1, "n10"), world.attempt(n1, "n1", "db", hand=True), world.attempt(n1, "n2")]
        for attempt in others:
            world.queued(n1, attempt)
        begin(n1)
        assert sorted(world.tickets() + world.tickets("db")) == sorted(one.ticket_key for one in others)

    def test_is_not_stopped_by_a_ticket_of_others_that_cannot_be_read(self, world: World, n1: Actor) -> None:
        world.memory.commit([Check("q/web/n9", 0)], [Put("q/web/n9", b"rubbish")])
        mine = world.attempt(n1, "n1", "db")
        world.queued(n1, mine)
        begin(n1)
        assert not world.tickets("db")

    def test_touches_nothing_of_another_machine_with_the_same_identity(self, world: World, n1: Actor) -> None:
        world.holding(n1, "n1")
        world.memory.commit([Check("q/web/n1", 0)], [Put("q/web/n1", world.attempt(n1, "n1").ticket().encode())])
        before = world.rows()
        clash = start(world.actor("agent@twin"), "n1", "another-board", None)
        assert clash == Clash(world.held("n1"))  # type: ignore[arg-type]
        assert world.rows() == before

    @pytest.mark.parametrize("fingerprint", ["", "board-n1"])
    def test_an_unknown_or_equal_fingerprint_is_no_clash(self, world: World, n1: Actor, fingerprint: str) -> None:
        world.holding(n1, "n1")
        assert begin(n1, fingerprint=fingerprint).held == world.held("n1")

    def test_a_hold_by_hand_fits_every_machine(self, world: World, n1: Actor) -> None:
        attempt = world.attempt(world.operator, "n1", hand=True)
        world.queued(world.operator, attempt)
        claim(world.operator, attempt, Patience())
        found = begin(n1, fingerprint="any")
        assert found.held is not None
        assert found.held.holder.phase == Phase.MAINTENANCE

    def test_shows_what_operators_left(self, world: World, n1: Actor) -> None:
        slot = world.holding(n1, "n1")
        force_unlock(world.operator, "n1", "stuck", armed_too=False)
        pause_node(world.operator, "n1", "disk", None)
        request = request_reboot(world.operator, "n1", "please", ("window",))
        found = begin(n1)
        assert found.unlocked is not None
        assert (found.unlocked.token, found.unlocked.nonce) == (str(slot.token), slot.nonce)
        assert (found.unlocked.by, found.unlocked.reason) == ("alice@bastion1", "stuck")
        assert found.hold is not None
        assert found.request == request

    def test_without_settings_believes_nothing(self, world: World, n1: Actor) -> None:
        world.memory.commit([Check("cfg", world.memory.read(["cfg"])["cfg"].mod)], deletes=["cfg"])
        assert start(n1, "n1", "", None) == NotSetUp()
        assert steady_look(n1, "n1") == NotSetUp()


class TestSetup:
    def test_writes_an_identity_once(self, world: World) -> None:
        first = world.config()
        assert first.store
        assert (first.epoch, first.cluster) == (1, "memory")
        assert setup(world.actor("bob@b")) == first

    @pytest.mark.parametrize("fault", UNCLEAR)
    def test_two_at_once_agree(self, world: World, fault: Fault) -> None:
        world.memory.commit([Check("cfg", world.memory.read(["cfg"])["cfg"].mod)], deletes=["cfg"])
        one, two = world.actor("a@a"), world.actor("b@b")
        world.faults(one).plan(fault, First(lambda: setup(two)))
        assert setup(one) == world.config() == setup(two)

    def test_without_the_right_says_who_can(self, world: World) -> None:
        world.memory.commit([Check("cfg", world.memory.read(["cfg"])["cfg"].mod)], deletes=["cfg"])
        one = world.actor("a@a")
        world.faults(one).plan(Raise(Denied("no write")))
        with pytest.raises(Denied, match="lockctl set-max"):
            setup(one)

    def test_away_is_away(self, world: World) -> None:
        one = world.actor("a@a")
        world.faults(one).plan_reads(Raise(Unavailable("away")))
        with pytest.raises(Unavailable):
            setup(one)


def test_a_record_is_rewritten_by_its_node(world: World, n1: Actor) -> None:
    record = NodeRecord(host="h1", group="web", state="steady", seen=world.clock.wall())
    for state in ("steady", "blocked"):
        write_record(n1, "n1", replace(record, state=state))
    key = keys.record("web", "n1")
    stored = NodeRecord.decode(key, world.memory.read([key])[key].value)
    assert stored.state == "blocked"
    assert stored.gen


def test_a_request_is_dropped_only_if_it_is_that_one(world: World, n1: Actor) -> None:
    first = request_reboot(world.operator, "n1", "a", ())
    second = request_reboot(world.operator, "n1", "b", ())
    drop_request(n1, "n1", first.gen)
    assert begin(n1).request == second
    world.faults(n1).plan(Fault.LOSE)
    drop_request(n1, "n1", second.gen)
    drop_request(n1, "n1", second.gen)
    assert begin(n1).request is None


# ------------------------------------------------------------------------------------------------ reboots that nobody sanctioned


def unasked(world: World, number: int) -> Unsanctioned:
    return Unsanctioned(boot=f"boot-{number}/0", at=world.clock.wall() + timedelta(minutes=number))


def boots_noted(world: World) -> list[object]:
    key = keys.notes_of_node("n1")
    rows = world.rows()
    return [note.more["boot"] for note in Notes.decode(key, rows[key]).notes] if key in rows else []


def test_an_unsanctioned_boot_is_noted_once_in_the_commit_of_the_record(world: World, n1: Actor) -> None:
    boots = (unasked(world, 1), unasked(world, 2))
    record = NodeRecord(host="n1", group="web", state="steady", seen=world.clock.wall(), unsanctioned=boots)
    world.faults(n1).plan(Fault.DROP)
    with pytest.raises(Unknown):
        write_record(n1, "n1", record, boots)
    assert (keys.record("web", "n1") in world.rows(), boots_noted(world)) == (False, [])
    for _ in range(2):  # an agent that starts again does not know what it has told
        write_record(n1, "n1", record, boots)
        assert boots_noted(world) == ["boot-1/0", "boot-2/0"]
    [first, _] = Notes.decode("n", world.rows()[keys.notes_of_node("n1")]).notes
    assert (first.act, first.at, first.node, first.more["group"]) == ("unsanctioned", boots[0].at, "n1", "web")


def test_what_the_notes_have_dropped_is_not_told_again(world: World, n1: Actor) -> None:
    boots = [unasked(world, number) for number in range(NODE_NOTES + 3)]
    record = NodeRecord(host="n1", group="web", state="steady", seen=world.clock.wall())
    write_record(n1, "n1", record, boots)
    kept = boots_noted(world)
    assert kept == [boot.boot for boot in boots[3:]]
    write_record(n1, "n1", record, boots)
    assert boots_noted(world) == kept


def test_a_note_that_cannot_be_read_is_begun_anew(world: World, n1: Actor) -> None:
    n1.store.commit((), [Put(keys.notes_of_node("n1"), b"{")])
    write_record(
        n1,
        "n1",
        NodeRecord(host="n1", group="web", state="steady", seen=world.clock.wall()),
        [unasked(world, 1)],
    )
    assert boots_noted(world) == ["boot-1/0"]


@pytest.mark.parametrize("error", [Denied("ev/ is not ours"), Rejected("too large")])
def test_the_record_is_written_although_the_notes_are_refused(world: World, n1: Actor, error: StoreError) -> None:
    record = NodeRecord(host="n1", group="web", state="steady", seen=world.clock.wall())
    boots = [unasked(world, 1)]
    world.faults(n1).plan_reads(Raise(error))
    assert not write_record(n1, "n1", record, boots)
    first = world.rows()[keys.record("web", "n1")]
    world.faults(n1).plan(Raise(error))
    assert not write_record(n1, "n1", record, boots)
    assert (world.rows()[keys.record("web", "n1")] != first, boots_noted(world)) == (True, [])
    assert write_record(n1, "n1", record, boots)
    assert boots_noted(world) == ["boot-1/0"]


def test_while_the_store_is_away_no_record_is_sent_twice(world: World, n1: Actor) -> None:
    record = NodeRecord(host="n1", group="web", state="steady", seen=world.clock.wall())
    world.faults(n1).plan_reads(Raise(Unavailable("no answer")))
    with pytest.raises(Unavailable):
        write_record(n1, "n1", record, [unasked(world, 1)])
    assert not world.faults(n1).commits
