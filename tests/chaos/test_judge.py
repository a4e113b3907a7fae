"""The judge of chaos runs: each thing that must never be, shown to it once, and a history in which all is well."""

from dataclasses import replace

import pytest

from tests.chaos.judge import Judgement, judge, judge_commands, judge_ends
from tests.chaos.record import Change, EtcdRecord, Moment

LIMIT, OWN, GUARD, BRAKE = "group/web", "own/ab/n1", "lim/group/web", "brake/web"
GRANTED = 10


def guard(count: int, slots: int = 1) -> Change:
    return Change(GUARD, {"slots": slots, "effective": slots, "count": count}, 1)


def holder(phase: str = "acquired", *, node: str = "n1", created: int = GRANTED, nonce: str = "a", **more) -> Change:
    document = {"nonce": nonce, "group": "web", "limits": [LIMIT], "phase": phase, **more}
    return Change(f"own/ab/{node}", document, created)


def history(*steps: tuple[Change, ...], whole: bool = True) -> Judgement:
    return judge(Moment(number, step, whole, float(number)) for number, step in enumerate(steps, 1))


CYCLE = [
    (guard(0),),
    (guard(1), holder()),
    (holder("draining"),),
    (holder("armed", attempt="x"),),
    (holder("verifying", attempt="x"),),
    (guard(0), Change(OWN, None)),
]


def test_a_reboot_as_it_should_be() -> None:
    seen = history(*CYCLE)
    assert seen.problems == []
    assert (seen.grants, seen.most, seen.armed) == (1, {LIMIT: 1}, {("n1", str(GRANTED)): {"x"}})


BAD = {
    "a grant above the slots": [(guard(1), holder()), (guard(2), holder(node="n2", nonce="b"))],
    "a holder that is not counted": [(guard(0), holder())],
    "a count without a holder": [(guard(1),)],
    "a guard that is not there": [(holder(),)],
    "a holder below a lease": [(guard(1), replace(holder(), bound=True))],
    "a failed holder that is not on the brake": [(guard(1), holder()), (holder("failed"),)],
    "somebody on the brake who has not failed": [(guard(0), Change(BRAKE, {"failed": {"n1": {"acked": True}}}, 1))],
    "a grant while the fleet is paused": [(Change("cfg", {"pause": {"by": "bob"}}, 1),), (guard(1), holder())],
    "a grant while the group is paused": [(Change(BRAKE, {"pause": {"by": "bob"}}, 1),), (guard(1), holder())],
    "a grant to a node that is held back": [(Change("hold/n1", {"by": "bob"}, 1),), (guard(1), holder())],
    "a grant while the group is halted": [
        (guard(1, 3), holder()),
        (holder("failed"), Change(BRAKE, {"failed": {"n1": {"acked": False}}, "max_failed": 0}, 1)),
        (guard(2, 3), holder(node="n2", nonce="b")),
    ],
    "an arm while the fleet is paused": [
        (guard(1), holder()),
        (Change("cfg", {"pause": {"by": "bob"}}, 1),),
        (holder("armed", attempt="x"),),
    ],
    "an arm out of verifying": [
        (guard(1), holder()),
        (holder("armed", attempt="x"),),
        (holder("verifying", attempt="x"),),
        (holder("armed", attempt="y"),),
    ],
    "a slot that comes back by itself": [*CYCLE, (guard(1), holder(created=20))],
}


@pytest.mark.parametrize("what", BAD)
def test_is_found(what: str) -> None:
    assert history(*BAD[what]).problems != []


@pytest.mark.parametrize("what", ["a holder that is not counted", "a holder below a lease"])
def test_is_found_in_a_single_state_too(what: str) -> None:
    assert history(*BAD[what], whole=False).problems != []


def test_more_holders_than_there_ever_were_slots_are_found_in_a_single_state() -> None:
    assert history((guard(2), holder(), holder(node="n2", nonce="b")), whole=False).problems != []


def test_fewer_slots_evict_nobody() -> None:
    two = (guard(2, 2), holder(), holder(node="n2", nonce="b"))
    assert history(two, (guard(2, 1),)).problems == []


def test_after_a_restore_a_slot_may_come_back_above_the_slots() -> None:
    before = [Moment(1, (guard(0),), whole=True, at=1), Moment(2, (guard(1), holder()), whole=True, at=2)]
    back = Moment(1, (), whole=True, at=3, back=True)
    other = Moment(2, (guard(1), holder(node="n2", nonce="b")), whole=True, at=4)
    again = Moment(3, (guard(2), holder("armed", attempt="x", created=30)), whole=True, at=5)
    seen = judge([*before, back, other, again])
    assert (seen.problems, seen.put_back) == ([], 1)


def test_after_a_restore_of_consul_the_states_themselves_say_what_came_back() -> None:
    before = [
        Moment(1, (guard(1), holder()), whole=False, at=1),
        Moment(2, (guard(0), Change(OWN, None)), whole=False, at=2),
    ]
    again = Moment(3, (guard(1), holder()), whole=False, at=4)
    assert judge([*before, again]).problems != []
    seen = judge([*before, Moment(2, (), whole=False, at=3, back=True), again])
    assert (seen.problems, seen.put_back) == ([], 1)


def test_a_restore_takes_back_what_came_after_the_backup() -> None:
    moments = [Moment(1, (guard(0),), whole=True, at=1), Moment(2, (guard(1), holder()), whole=True, at=2)]
    lost = Moment(2, (guard(1),), whole=True, at=4)  # counts the holder that the backup does not know
    assert judge([*moments, Moment(1, (), whole=True, at=3, back=True), lost]).problems != []


def test_a_slot_that_ends_while_armed_is_taken_down() -> None:
    seen = history(*CYCLE[:4], (guard(0), Change(OWN, None)))
    assert seen.ended_armed == [("n1", str(GRANTED), 5.0)]


def test_one_taken_by_force_is_not() -> None:
    seen = history(*CYCLE[:4], (guard(0), Change(OWN, None), Change("ev/unlock/n1", {"token": "10"}, 5)))
    assert (seen.ended_armed, seen.forced, seen.problems) == ([], 1, [])


def test_it_must_have_booted() -> None:
    ends, calls = [("n1", "10", 100.0)], [("n1", "10", 90.0)]
    assert judge_ends(ends, calls, [("n1", 95.0)]) == []
    assert judge_ends(ends, calls, [("n1", 80.0), ("n1", 101.0), ("n2", 95.0)]) != []
    assert judge_ends(ends, [], []) == []  # armed by a commit whose answer was lost: the reboot was never called
    assert judge_ends(ends, [("n1", "9", 90.0)], []) == []


def test_each_call_needs_an_arm() -> None:
    armed = {("n1", "10"): {"x", "y"}}
    assert judge_commands(armed, [("n1", "10"), ("n1", "10")]) == []
    assert len(judge_commands(armed, [("n1", "10")] * 3)) == 1
    assert len(judge_commands(armed, [("n1", "11")])) == 1


def test_a_missing_revision_is_a_hole() -> None:
    line = b'{"Events":[{"kv":{"key":"bG9ja3NtaXRoL2NmZw==","create_revision":%d,"mod_revision":%d,"value":"e30="}}]}\n'
    record = EtcdRecord(lambda _: ["true"], "locksmith")
    try:
        for revision in (2, 3, 3, 5):
            record._take(line % (revision, revision))
    finally:
        record.close()
    assert [moment.revision for moment in record.moments] == [2, 3, 5]
    assert record.holes == ["the store's revisions 4 to 4 were not seen"]
