"""What is done is written down in the same commit: no act without its entry, no entry without its act."""

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest

from locksmith.core import keys
from locksmith.core.admission import Patience
from locksmith.core.documents import Guard, Holder, NodeRecord, Phase, Then
from locksmith.core.history import NOTES, RING, Entry, Unsanctioned
from locksmith.errors import StoreFull, Unavailable
from locksmith.semaphore import operating, repair
from locksmith.semaphore.actor import Actor, look
from locksmith.semaphore.claiming import Claimed, claim
from locksmith.semaphore.history import NODES_EVERY, Audit, Follower, audit, history
from locksmith.semaphore.holding import Slot, arm, fail, mark, put_back, release, to_phase, verify
from locksmith.semaphore.recovery import write_record
from locksmith.semaphore.taking import force_unlock
from locksmith.stores import Check, Put
from tests.fakes.clock import VirtualClock
from tests.fakes.faulty import Fault, Raise
from tests.fakes.world import World

UNCLEAR = [Fault.DROP, Fault.LOSE, Fault.DELAY, Fault.CONFLICT]
TEN = timedelta(minutes=10)


@pytest.fixture
def n1(world: World) -> Actor:
    return world.actor("agent@n1")


@pytest.fixture
def slot(world: World, n1: Actor) -> Slot:
    return world.holding(n1, "n1")


def acts(world: World, **wanted) -> list[str]:
    return [event.act for event in history(world.operator, **{"group": None, "node": None, "since": None, **wanted})]


def cycle(world: World, actor: Actor, slot: Slot) -> None:
    to_phase(actor, slot, Phase.DRAINING, TEN)
    world.clock.advance(20)
    arm(actor, slot, epoch=1, attempt="a1", request=None, expected=TEN)
    world.clock.advance(60)
    verify(actor, slot, "boot-2/0", TEN)
    world.clock.advance(30)
    release(actor, slot, told=lambda entry: replace(entry, outcome="healthy", came_as="6.1.0-27"))


def test_a_whole_reboot(world: World, n1: Actor, slot: Slot):
    assert acts(world) == ["acquired"]
    cycle(world, n1, slot)
    last = history(world.operator, None, None, None)[-1]
    assert (last.act, last.by, last.node, last.group) == ("released", "agent@n1", "n1", "web")
    assert last.entry is not None
    assert (last.entry.outcome, last.entry.came_as, last.entry.token) == ("healthy", "6.1.0-27", str(slot.token))
    assert [step.phase for step in last.entry.steps] == ["acquired", "draining", "armed", "verifying"]
    assert last.entry.steps[-1].boot == "boot-2/0"
    began = [step.at for step in last.entry.steps]
    assert [(after - before).total_seconds() for before, after in pairwise(began)][1:] == pytest.approx([20, 60], abs=2)
    judged = audit(world.operator, None)
    assert judged.findings == ()
    assert all(each.whole for each in judged.limits)


def test_a_grant_says_how_long_it_was_waited_for(world: World, n1: Actor, slot: Slot):
    n2 = world.actor("agent@n2")
    attempt = world.attempt(n2, "n2")
    world.queued(n2, attempt)
    world.clock.advance(90)
    release(n1, slot)
    assert isinstance(claim(n2, attempt, Patience()), Claimed)
    entries = [event.entry for event in history(world.operator, "web", None, None) if event.entry is not None]
    assert [(entry.node, entry.act) for entry in entries] == [
        ("n1", "acquired"),
        ("n1", "released"),
        ("n2", "acquired"),
    ]
    assert [entry.waited for entry in entries] == [pytest.approx(0, abs=2), None, pytest.approx(90, abs=2)]


@pytest.mark.parametrize("fault", UNCLEAR)
def test_whatever_becomes_of_the_answer_each_act_has_one_entry(world: World, n1: Actor, slot: Slot, fault: Fault):
    """The entry is in the commit of the act: it can neither be lost without it nor be there twice."""
    faults = world.faults(n1)
    faults.plan(fault)
    release(n1, slot)
    while faults.delayed:
        faults.deliver()
    entries = [event for event in history(world.operator, "web", "n1", None) if event.entry is not None]
    assert [event.act for event in entries] == ["acquired", "released"]
    assert audit(world.operator, None).findings == ()


def test_by_whom_a_slot_was_taken_and_why(world: World, n1: Actor, slot: Slot):
    force_unlock(world.operator, "n1", "dead board", armed_too=True)
    last = history(world.operator, None, "n1", None)[-1]
    assert (last.act, last.by) == ("taken", world.operator.by)
    assert last.entry is not None
    assert (last.entry.outcome, last.entry.phase) == ("dead board", "acquired")
    assert audit(world.operator, None).findings == ()


def test_operators_acts(world: World, n1: Actor, slot: Slot):
    operator = world.operator
    operating.pause_fleet(operator, "storm", None)
    operating.resume_fleet(operator)
    operating.pause_group(operator, "web", "release", None)
    operating.resume_group(operator, "web")
    operating.pause_node(operator, "n1", "fragile", None)
    operating.resume_node(operator, "n1")
    operating.request_reboot(operator, "n1", "kernel", ())
    operating.cancel_request(operator, "n1")
    fail(n1, slot, "app")
    operating.acknowledge(operator, "web", "known")
    told = [
        (event.act, event.reason, event.node) for event in history(operator, None, None, None) if event.entry is None
    ]
    for wanted in [
        ("paused", "storm", ""),
        ("resumed", "", ""),
        ("paused", "release", ""),
        ("held", "fragile", "n1"),
        ("unheld", "", "n1"),
        ("requested", "kernel", "n1"),
        ("cancelled", "", "n1"),
        ("failed", "app", "n1"),
        ("acknowledged", "known", ""),
    ]:
        assert wanted in told
    assert {"acquired", "held", "unheld", "requested", "cancelled"} < set(acts(world, node="n1"))
    world.clock.advance(7200)
    assert acts(world, since=world.clock.wall() - timedelta(hours=1)) == []


def test_what_changed_nothing_is_not_told(world: World):
    operating.set_max(world.operator, "web", 1)
    operating.resume_fleet(world.operator)
    operating.resume_group(world.operator, "web")
    operating.resume_node(world.operator, "n1")
    operating.acknowledge(world.operator, "web", "nothing there")
    assert not [act for act in acts(world) if act in ("resumed", "unheld", "acknowledged")]


def test_only_one_group_or_one_node(world: World, n1: Actor, slot: Slot):
    operating.set_max(world.operator, "db", 3)
    assert "resized" in acts(world, group="db")
    assert "acquired" not in acts(world, group="db")
    assert set(acts(world, node="n1")) == {"acquired"}
    assert acts(world, node="n2") == []


def test_the_ring_goes_round_and_the_audit_with_it(world: World):
    for number in range(RING + 40):
        operating.set_max(world.operator, "web", 2 + number % 5)
    held = world.holding(world.actor("agent@n1"), "n1")
    ring = world.memory.read([], [keys.entries("group/web")])
    assert len(list(ring.under(keys.entries("group/web")))) == RING
    judged = audit(world.operator, "web")
    assert judged.findings == ()
    assert not judged.limits[0].whole
    release(world.actor("agent@n1"), held)
    assert audit(world.operator, "web").findings == ()


def test_a_damaged_note_stands_in_nobodys_way(world: World, n1: Actor, slot: Slot):
    world.memory.commit((), (Put(keys.notes_of_group("web"), b"{half"), Put(keys.notes_of_fleet(), b"[]")))
    operating.pause_fleet(world.operator, "storm", None)
    fail(n1, slot, "app")
    assert "failed" in acts(world)
    for number in range(NOTES * 2):
        operating.pause_fleet(world.operator, f"storm {number}", None)
    assert acts(world).count("paused") == NOTES


def damaged(world: World, key: str) -> None:
    world.judge.off = True
    world.memory.commit((), (Put(key, b"{half"),))


@pytest.mark.parametrize("seq", [1, 2, 3])
def test_a_damaged_entry_blinds_neither_audit_nor_history(world: World, n1: Actor, slot: Slot, seq: int):
    release(n1, slot)
    world.holding(n1, "n1")
    operating.set_max(world.operator, "db", 3)
    damaged(world, keys.entry("group/web", seq))
    judged = audit(world.operator, None)
    assert {each.limit for each in judged.limits} == {"group/web", "group/db"}
    assert {(finding.kind, finding.limit) for finding in judged.findings} <= {("gap", "group/web")}
    assert len([event for event in history(world.operator, "web", None, None) if event.entry is not None]) == 2


def test_a_damaged_entry_stands_in_nobodys_way(world: World, n1: Actor, slot: Slot):
    for seq in range(1, 5):
        damaged(world, keys.entry("group/web", seq))
    world.judge.off = False
    cycle(world, n1, slot)
    assert "released" in acts(world)


def test_a_damaged_holder_or_record_blinds_no_history(world: World, n1: Actor, slot: Slot):
    release(n1, slot)
    damaged(world, keys.own("n2"))
    assert "released" in acts(world)
    world.memory.commit(
        (Check(keys.own("n2"), world.memory.read([keys.own("n2")])[keys.own("n2")].mod),), (), (keys.own("n2"),)
    )
    damaged(world, keys.record("web", "n3"))
    judged = audit(world.operator, None)
    assert [(finding.kind, finding.node) for finding in judged.findings] == [("gap", "n3")]


@pytest.mark.parametrize("sight", ["holder", "brake", "record"])
def test_a_limit_whose_guard_is_gone_is_not_passed_over(world: World, n1: Actor, slot: Slot, sight: str):
    if sight != "holder":
        release(n1, slot)
    if sight == "brake":
        operating.pause_group(world.operator, "web", "x", None)
    if sight == "record":
        write_record(n1, "n1", NodeRecord(host="n1", group="web", state="steady", seen=world.clock.wall()))
    world.judge.off = True
    guard = keys.guard("group/web")
    world.memory.commit((Check(guard, world.memory.read([guard])[guard].mod),), (), (guard,))
    judged = audit(world.operator, None)
    assert [(finding.kind, finding.limit) for finding in judged.findings] == [("unrecorded", "group/web")]


def test_a_group_in_which_nothing_was_ever_done_is_no_limit(world: World, n1: Actor):
    write_record(n1, "n1", NodeRecord(host="n1", group="new", state="steady", seen=world.clock.wall()))
    assert audit(world.operator, None) == Audit((), ())


def test_a_failure_stands_in_the_history_of_its_node_after_it_is_over(world: World, n1: Actor, slot: Slot):
    fail(n1, slot, "app")
    release(n1, slot)
    assert ("failed", "app") in [(event.act, event.reason) for event in history(world.operator, None, "n1", None)]
    assert "failed" not in acts(world, node="n2")


def test_who_took_the_slot_over_by_hand_did_not_do_what_the_agent_did_before(world: World, n1: Actor, slot: Slot):
    to_phase(n1, slot, Phase.DRAINING, None)
    then = Then(by="bob@bastion2", host="host-n1", reason="disk", nonce="b1")
    mark(n1, slot, lambda holder: replace(holder, then=then))
    assert release(n1, slot).by_hand
    phases = [(e.act, e.by) for e in history(world.operator, None, "n1", None) if e.entry is None]
    assert phases == [("draining", "agent@host-n1"), ("maintenance", "bob@bastion2")]
    force_unlock(world.operator, "n1", "done", armed_too=False)
    assert audit(world.operator, None).findings == ()


def test_an_older_agent_in_the_fleet(world: World, n1: Actor, slot: Slot):
    """It keeps the fields that it does not know: the number of the guard stays while its count changes."""
    guard = keys.guard("group/web")
    items = world.memory.read([slot.key, guard])
    older = replace(world.guard(), count=0, gen="older")
    world.memory.commit(
        (Check(slot.key, items[slot.key].mod), Check(guard, items[guard].mod)),
        (Put(guard, older.encode()),),
        (slot.key,),
    )
    assert {finding.kind for finding in audit(world.operator, None).findings} == {"unrecorded"}
    second = world.holding(world.actor("agent@n2"), "n2")
    release(world.actor("agent@n2"), second)
    judged = audit(world.operator, None)
    assert [(finding.kind, finding.node) for finding in judged.findings] == [("unrecorded", "")]
    assert not judged.limits[0].whole


def reads_of(world: World, actor: Actor) -> list[int]:
    """How many keys each read of this actor answers, from now on."""
    found: list[int] = []
    store = world.faults(actor)
    plain = store.read

    def read(wanted=(), prefixes=()):
        answer = plain(wanted, prefixes)
        found.append(len(answer.items))
        return answer

    store.read = read
    return found


def test_following_reads_what_is_new_and_not_the_rings(world: World, n1: Actor, slot: Slot):
    for number in range(200):
        operating.set_max(world.operator, "web", 2 + number % 5)
    world.clock.advance(1)
    watcher = world.actor("carol@c")
    follower = Follower(watcher, None, None)
    assert len(follower.begin(None)) == 201
    counted = reads_of(world, watcher)
    assert follower.more() == ()
    cycle(world, n1, slot)
    world.clock.advance(1)
    operating.pause_group(world.operator, "web", "storm", None)
    world.clock.advance(1)
    operating.set_max(world.operator, "db", 3)
    assert [event.act for event in follower.more()] == ["released", "paused", "resized"]
    assert follower.more() == ()
    assert max(counted) < 10


def test_a_group_is_told_what_was_noted_of_its_nodes(world: World, n1: Actor):
    """By the registry; a note that names a group stays with that one, wherever the node is now."""
    at = world.clock.wall()
    for node, group in (("n1", "web"), ("n2", "db")):
        boot = Unsanctioned(boot=f"of-{node}/0", at=at)
        write_record(n1, node, NodeRecord(host=node, group=group, state="steady", seen=at), [boot])
        operating.pause_node(world.operator, node, "disk", None)
    write_record(n1, "n2", NodeRecord(host="n2", group="web", state="steady", seen=at))
    told = [(event.act, event.node) for event in history(world.operator, "web", None, None)]
    assert sorted(told) == [("held", "n1"), ("held", "n2"), ("unsanctioned", "n1")]
    assert {event.group for event in history(world.operator, "web", None, None)} == {"web"}
    assert [event.node for event in history(world.operator, "db", None, None)] == ["n2", "n2"]


def test_who_follows_is_told_the_notes_of_nodes_now_and_then(world: World):
    follower = Follower(world.operator, None, None)
    follower.begin(None)
    operating.pause_node(world.operator, "n1", "disk", None)
    told = [follower.more() for _ in range(2 * NODES_EVERY)]
    assert [event.act for events in told for event in events] == ["held"]


def test_following_misses_nothing_when_a_read_fails(world: World, n1: Actor, slot: Slot):
    watcher = world.actor("carol@c")
    follower = Follower(watcher, "web", None)
    follower.begin(None)
    release(n1, slot)
    world.faults(watcher).plan_reads(None, Raise(Unavailable("away")))
    with pytest.raises(Unavailable):
        follower.more()
    assert [event.act for event in follower.more()] == ["released"]


def test_following_more_than_a_ring_shows_what_is_left_of_it(world: World):
    operating.set_max(world.operator, "web", 1)
    follower = Follower(world.operator, "web", None)
    follower.begin(None)
    for number in range(RING + 10):
        operating.set_max(world.operator, "web", 2 + number % 5)
    numbers = [event.entry.seq for event in follower.more() if event.entry is not None]
    assert numbers == list(range(12, RING + 12))


def test_the_changes_of_a_limit_stand_in_their_order_whatever_the_clocks_say(world: World, n1: Actor, slot: Slot):
    """The one who gives back has a clock that is ahead of the clock of the one who takes."""
    world.clock.advance(100)
    release(n1, slot)
    behind = Actor(world.memory.client(), VirtualClock(), world.random, "agent@n2", "n2")
    world.holding(behind, "n2")
    told = [(event.act, event.node) for event in history(world.operator, None, None, None) if event.entry is not None]
    assert told == [("acquired", "n1"), ("released", "n1"), ("acquired", "n2")]


def test_long_reasons_stand_in_nobodys_way(world: World, n1: Actor, slot: Slot):
    """The reasons of pauses are kept in one document with the failures: it must never outgrow what a store takes."""
    for _ in range(NOTES):
        operating.pause_group(world.operator, "web", "r" * 20_000, None)
        operating.resume_group(world.operator, "web")
    fail(n1, slot, "app")
    assert world.holder("n1").phase == Phase.FAILED
    assert "failed" in acts(world)


def test_an_entry_is_no_larger_than_a_store_takes(world: World):
    operator = world.operator
    limits = tuple(f"label/l{number}=a" for number in range(8))
    long = replace(world.attempt(operator, "n1", hand=True), limits=limits, reason="r" * 30_000, host="h" * 10_000)
    world.queued(operator, long)
    assert isinstance(claim(operator, long, Patience()), Claimed)
    force_unlock(operator, "n1", "o" * 50_000, armed_too=True)
    assert audit(operator, None).findings == ()


def test_a_full_store_still_lets_a_node_go(world: World):
    operating.pause_node(world.operator, "n1", "fragile", None)
    operator = world.actor("op@x")
    world.faults(operator).plan(Raise(StoreFull("no space")))
    assert operating.resume_node(operator, "n1").was is not None
    assert not look(world.memory, [keys.hold("n1")]).item(keys.hold("n1"))


def test_put_back_after_a_restore_and_a_recount(world: World, n1: Actor, slot: Slot):
    holder = look(world.memory, [slot.key]).document(slot.key, Holder)
    assert holder is not None
    world.judge.off = True
    # Somebody with the store's own tools removed the holder: the count is wrong, and fsck mends it.
    mod = world.memory.read([slot.key])[slot.key].mod
    world.memory.commit((Check(slot.key, mod),), (), (slot.key,))
    assert audit(world.operator, "web").disproved
    assert repair.fsck(world.operator, repair=True).findings
    put_back(n1, "n1", holder)
    events = history(world.operator, "web", None, None)
    assert [event.act for event in events if event.entry is not None][-2:] == ["recounted", "restored"]
    assert not audit(world.operator, "web").disproved


def test_a_forged_history_with_one_grant_too_many(world: World, n1: Actor, slot: Slot):
    guard_key = keys.guard("group/web")
    guard = look(world.memory, [guard_key]).document(guard_key, Guard)
    assert guard is not None
    slots = guard.effective
    forged = [
        Put(
            keys.entry("group/web", guard.seq + number + 1),
            Entry(
                gen=f"f{number}",
                seq=guard.seq + number + 1,
                act=act,
                at=world.clock.wall(),
                by="agent@evil",
                count=count,
                slots=slots,
                node=node,
                group="web",
            ).encode(),
        )
        for number, (act, node, count) in enumerate(
            [
                *(("acquired", f"x{each}", each + 2) for each in range(slots)),
                *(("released", f"x{each}", slots - each) for each in range(slots)),
            ]
        )
    ]
    world.memory.commit((), (*forged, Put(guard_key, replace(guard, seq=guard.seq + len(forged), gen="f").encode())))
    judged = audit(world.operator, "web")
    assert judged.disproved
    assert [(finding.kind, finding.node) for finding in judged.findings] == [("exceeded", f"x{slots - 1}")]


def test_a_node_that_is_forgotten_leaves_no_notes(world: World):
    """Else nodes that come and go fill the store with the notes of those that are gone."""
    operating.pause_node(world.operator, "n1", "fragile", None)
    operating.resume_node(world.operator, "n1")
    repair.forget(world.operator, "n1")
    assert not [key for key in world.rows() if key.endswith("/n1")]
