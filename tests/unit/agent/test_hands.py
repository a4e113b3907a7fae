"""The hands: each effect over a memory store and stand-ins, answered with one event."""

import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from locksmith.agent.hands import Hands
from locksmith.checks.window import WindowCheck
from locksmith.core import effects as do
from locksmith.core import events as ev
from locksmith.core import keys
from locksmith.core.documents import NodeRecord, Phase
from locksmith.core.effects import Effect
from locksmith.core.facts import SlotFact
from locksmith.core.history import Notes, Unsanctioned
from locksmith.core.ledger import Owed, Stage
from locksmith.core.needs import NeedUnknown, NotNeeded
from locksmith.core.states import Agent, Steady
from locksmith.core.telling import Telling
from locksmith.core.verdict import Answer, Closed, Open, Unknown
from locksmith.core.windows import parse_window
from locksmith.errors import Damaged, Denied, Unavailable
from locksmith.errors import Unknown as NoAnswer
from locksmith.hooks import HookCancelled, HookDone, HookFailed
from locksmith.rebooters import Firing, NotAccepted
from locksmith.semaphore import by_hand, holding, operating, recovery
from locksmith.semaphore.actor import look
from locksmith.semaphore.holding import Slot
from locksmith.stores import Put
from tests.fakes.faulty import Fault, Raise
from tests.fakes.mind import BOOT, NEED, NEXT_BOOT, NODE, NONCE, REQUEST, agent, at, ledger, owed, slot
from tests.fakes.parts import FakeCheck, FakeHooks, FakeProvider, FakeRebooter, FakeWatches, RememberingCheck, body
from tests.fakes.world import World

CLAIMING = owed(stage=Stage.CLAIMING, token=None)
NOON_WINDOW = parse_window("noon", "12:00", "1h")
"""Closed at midnight, when the virtual clock begins."""


class Bench:
    """Hands over a world, with watches that do nothing."""

    def __init__(self, folder: Path, **changes) -> None:
        self.world = World()
        self.actor = self.world.actor("agent@host-n1")
        self.faults = self.world.faults(self.actor)
        self.watches = FakeWatches()
        self.posted: list[ev.Event] = []
        self.body = body(self.actor, folder, **changes)
        self.hands = Hands(self.body, self.posted.append, self.watches)

    def do(self, effect: Effect, attempt: Owed | None = None, number: int = 0, **changes) -> ev.Event | None:
        """Carry out one effect for an agent that owes this."""
        return self.hands.carry(self.mind(attempt, **changes), effect, number)

    def mind(self, attempt: Owed | None = None, **changes) -> Agent:
        """Its journal knows the bench's store."""
        book = ledger(attempt)
        home = replace(book.home, identity=look(self.world.memory).config.store)
        return agent(Steady(), replace(book, home=home), **changes)

    def queued(self) -> None:
        assert self.do(do.Enqueue(timedelta(0)), CLAIMING) == ev.EnqueueDone()

    def holding(self) -> tuple[Owed, SlotFact]:
        """The node has a slot, by the hands' own way."""
        self.queued()
        event = self.do(do.Claim(), CLAIMING)
        assert isinstance(event, ev.SlotTaken), event
        return owed(token=event.slot.token), event.slot

    def armed(self) -> Owed:
        attempt, _ = self.holding()
        attempt = replace(attempt, attempt="a-1", stage=Stage.ARMED)
        assert self.do(do.Arm(), attempt) == ev.ArmDone("a-1")
        return attempt


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


# ------------------------------------------------------------------------------------------------ after a boot without the store


def stranger(bench: Bench, attempt: Owed) -> Agent:
    """An agent whose journal knows another store, and whom no START has told so."""
    mind = bench.mind(attempt)
    return replace(mind, ledger=replace(mind.ledger, home=replace(mind.ledger.home, identity="another store")))


@pytest.mark.parametrize("effect", [do.MarkPhase("verifying"), do.MarkFailed("web"), do.Release()])
def test_in_another_store_an_absent_slot_is_not_believed(bench, effect):
    event = bench.hands.carry(stranger(bench, owed(token=77)), effect)
    assert isinstance(event, ev.StoreFailed)
    assert event.kind == "identity"
    assert "another store" in event.text


def test_a_copy_of_the_store_in_another_cluster_is_refused(bench):
    config = look(bench.actor.store).config
    put = Put(keys.CFG, replace(config, cluster="elsewhere").encode())
    bench.actor.store.commit((), (put,))
    event = bench.do(do.Release(), owed(token=77))
    assert isinstance(event, ev.StoreFailed)
    assert event.kind == "identity"


# ------------------------------------------------------------------------------------------------ START


def test_recover_reads_what_the_store_says_after_the_stale_ticket_is_gone(bench):
    bench.queued()
    event = bench.do(do.Recover(keys.ticket("web", NODE)))
    assert isinstance(event, ev.FoundAtStart)
    assert event.known
    assert event.start
    assert event.slot is None
    assert bench.world.tickets() == []
    assert bench.watches.wanted == []


def test_recover_finds_a_ticket_in_another_queue_when_nobody_knows_where(bench):
    other = bench.world.attempt(bench.actor, NODE, "db")
    bench.world.queued(bench.actor, other)
    bench.do(do.Recover(None))
    assert bench.world.tickets("db") == []


def test_recover_finds_the_holder(bench):
    attempt, slot = bench.holding()
    event = bench.do(do.Recover(None), attempt)
    assert isinstance(event, ev.FoundAtStart)
    assert event.slot == slot


def test_recover_sees_that_another_board_uses_the_identity(tmp_path):
    bench = Bench(tmp_path)
    bench.holding()
    bench.hands.body = replace(bench.body, fingerprint="another board")
    event = bench.do(do.Recover(None))
    assert isinstance(event, ev.FoundAtStart)
    assert event.clash is not None


def test_recover_in_an_empty_store_and_the_setting_up(tmp_path):
    bench = Bench(tmp_path)
    bench.world.judge.off = True
    empty = bench.world.memory.client("elsewhere")
    bench.hands.body = replace(bench.body, actor=replace(bench.actor, store=empty))
    assert bench.do(do.Recover(None)) == ev.FoundAtStart(known=False, start=True)
    assert bench.do(do.SetUpStore()) == ev.SetUp()
    event = bench.do(do.Recover(None))
    assert isinstance(event, ev.FoundAtStart)
    assert event.known


def test_a_steady_look_says_that_it_is_none_of_start(bench):
    operating.request_reboot(bench.world.operator, NODE, "please", ("gate",))
    operating.pause_node(bench.world.operator, NODE, "fragile", None)
    event = bench.do(do.SteadyLook())
    assert isinstance(event, ev.FoundAtStart)
    assert not event.start
    assert event.request is not None
    assert event.request.ignore == ("gate",)
    assert event.hold is not None
    assert "fragile" in event.hold.reason


def test_a_request_that_was_served_without_a_slot_is_dropped(bench):
    operating.request_reboot(bench.world.operator, NODE, "please", ())
    request = recovery.steady_look(bench.actor, NODE)
    assert isinstance(request, recovery.Found)
    assert request.request is not None
    assert bench.do(do.DropRequest("another one")) is None
    assert keys.request(NODE) in bench.world.rows()
    assert bench.do(do.DropRequest(request.request.gen)) is None
    assert keys.request(NODE) not in bench.world.rows()


def test_a_holder_is_put_back_into_a_restored_store(bench):
    bench.world.judge.off = True
    event = bench.do(do.PutHolderBack(), owed(stage=Stage.ARMED))
    assert isinstance(event, ev.PutBack)
    assert (event.slot.nonce, event.slot.phase) == (NONCE, "armed")
    assert bench.world.guard().count == 1


# ------------------------------------------------------------------------------------------------ the ticket


def test_a_ticket_is_put_with_a_session_that_is_kept(bench):
    bench.queued()
    assert bench.world.tickets() == [keys.ticket("web", NODE)]
    assert len(bench.watches.sessions) == 1
    assert bench.watches.sessions[0].ttl == timedelta(seconds=60)


def test_enqueueing_again_ends_the_session_before(bench):
    bench.queued()
    bench.queued()
    assert len(bench.watches.sessions) == 1
    assert bench.world.tickets() == [keys.ticket("web", NODE)]


def test_a_hold_bars_the_queue(bench):
    operating.pause_node(bench.world.operator, NODE, "fragile", None)
    event = bench.do(do.Enqueue(timedelta(0)), CLAIMING)
    assert isinstance(event, ev.EnqueueRefused), event
    assert event.kind == "hold"


def test_a_claim_takes_the_slot_and_ends_the_session(bench):
    attempt, slot = bench.holding()
    assert slot.phase == "acquired"
    assert bench.world.tickets() == []
    assert bench.watches.sessions == []
    assert bench.watches.wanted == []
    assert bench.world.holder(NODE).nonce == attempt.nonce
    assert bench.world.holder(NODE).expected_by is not None


def test_a_claim_out_of_turn_stands_in_line_and_watches(bench):
    bench.world.holding(bench.world.actor("agent@n2"), "n2")
    bench.queued()
    event = bench.do(do.Claim(), CLAIMING)
    assert isinstance(event, ev.StandingInLine)
    assert event.rank == 1
    assert {key for key, _ in bench.watches.wanted} == {keys.guard("group/web"), keys.CFG} | {
        key for key, _ in bench.watches.wanted if key.startswith("brake/")
    }


def test_a_claim_in_a_paused_group_stands_in_line(bench):
    operating.set_max(bench.world.operator, "web", 1)
    operating.pause_group(bench.world.operator, "web", "storm", None)
    bench.queued()
    event = bench.do(do.Claim(), CLAIMING)
    assert isinstance(event, ev.StandingInLine)
    assert event.kind == "paused"
    assert len(bench.watches.sessions) == 1


def test_a_claim_without_a_ticket_says_so(bench):
    assert bench.do(do.Claim(), CLAIMING) == ev.TicketGone()


def test_a_claim_that_meets_another_holder_says_whose_it_is(bench):
    bench.queued()
    operating.set_max(bench.world.operator, "web", 2)
    theirs = replace(CLAIMING, nonce="another life")
    bench.do(do.Claim(), CLAIMING)
    event = bench.do(do.Enqueue(timedelta(0)), theirs)
    assert isinstance(event, ev.OwnKeyTaken)
    assert event.slot.nonce == NONCE


def test_cancelling_deletes_the_ticket_and_ends_the_session(bench):
    bench.queued()
    bench.hands._watches.want([("cfg", 1)])
    assert bench.do(do.CancelTicket(), CLAIMING) == ev.Cancelled(None)
    assert bench.world.tickets() == []
    assert bench.watches.sessions == []
    assert bench.watches.wanted == []


def test_cancelling_finds_a_claim_that_had_won(bench):
    _, slot = bench.holding()
    event = bench.do(do.CancelTicket(), CLAIMING)
    assert event == ev.Cancelled(slot)


def test_a_cancel_that_fails_keeps_the_session(bench):
    bench.queued()
    bench.faults.plan_reads(Raise(Unavailable("no answer")))
    assert bench.do(do.CancelTicket(), CLAIMING) == ev.StoreFailed("cancel", "unavailable", "no answer")
    assert len(bench.watches.sessions) == 1


# ------------------------------------------------------------------------------------------------ the slot


def test_the_holder_is_watched_from_its_present_revision(bench):
    attempt, slot = bench.holding()
    assert bench.do(do.WatchHolder(), attempt, slot=slot) is None
    assert bench.watches.holders == [(Slot(NODE, slot.token, NONCE, "web", ("group/web",)), slot.mod)]
    assert bench.do(do.WatchHolder(), attempt, slot=slot) is None
    assert len(bench.watches.holders) == 1
    assert bench.do(do.UnwatchHolder()) is None
    assert bench.watches.holders == []


def test_a_phase_is_marked(bench):
    attempt, _ = bench.holding()
    event = bench.do(do.MarkPhase("draining"), attempt)
    assert isinstance(event, ev.PhaseMarked)
    assert event.phase == event.slot.phase == bench.world.holder(NODE).phase == "draining"


def test_verifying_names_the_boot_and_counts_it(tmp_path):
    bench = Bench(tmp_path)
    attempt = bench.armed()
    event = bench.hands.carry(replace(bench.mind(attempt), boot=NEXT_BOOT), do.MarkPhase("verifying"))
    assert isinstance(event, ev.PhaseMarked)
    assert (event.slot.phase, event.slot.boot, event.slot.boots) == ("verifying", NEXT_BOOT, 1)


def test_a_failed_holder_is_in_the_brake(bench):
    attempt = bench.armed()
    bench.do(do.MarkPhase("verifying"), attempt)
    event = bench.do(do.MarkFailed("app"), attempt)
    assert isinstance(event, ev.PhaseMarked)
    assert event.phase == "failed"
    assert bench.world.brake().failed[NODE].check == "app"


def test_an_arm_is_confirmed_with_its_attempt(bench):
    attempt = bench.armed()
    holder = bench.world.holder(NODE)
    assert (holder.phase, holder.attempt) == ("armed", attempt.attempt)


def test_an_arm_whose_answer_was_lost_is_found_again(bench):
    attempt, _ = bench.holding()
    bench.faults.plan(Fault.LOSE)
    assert bench.do(do.Arm(), replace(attempt, attempt="a-2")) == ev.ArmDone("a-2")


def test_an_arm_that_was_lost_is_unsettled(bench):
    attempt, _ = bench.holding()
    bench.faults.plan(Fault.DROP)
    event = bench.do(do.Arm(), replace(attempt, attempt="a-2"))
    assert isinstance(event, ev.ArmUnsettled)


@pytest.mark.parametrize(
    ("act", "kind"),
    [
        (lambda world: operating.pause_group(world.operator, "web", "storm", None), "paused"),
        (lambda world: operating.pause_fleet(world.operator, "storm", None), "paused"),
        (lambda world: operating.pause_node(world.operator, NODE, "fragile", None), "hold"),
    ],
)
def test_an_arm_is_refused_by_who_may(bench, act, kind):
    attempt, _ = bench.holding()
    act(bench.world)
    event = bench.do(do.Arm(), replace(attempt, attempt="a-2"))
    assert isinstance(event, ev.ArmRefused)
    assert event.kind == kind
    assert bench.world.holder(NODE).phase == "acquired"


def test_an_arm_in_another_epoch_is_refused(bench):
    attempt, _ = bench.holding()
    event = bench.do(do.Arm(), replace(attempt, attempt="a-2", epoch=9))
    assert isinstance(event, ev.ArmRefused)
    assert event.kind == "identity"


def test_what_was_taken_by_force_is_gone(bench):
    attempt, _ = bench.holding()
    by_hand.force_unlock(bench.world.operator, NODE, "x", armed_too=True)
    assert bench.do(do.Arm(), replace(attempt, attempt="a-2")) == ev.SlotGone(1)
    assert bench.do(do.MarkPhase("draining"), attempt) == ev.SlotGone(1)
    assert bench.do(do.MarkFailed("app"), attempt) == ev.SlotGone(1)
    assert bench.do(do.Release(), attempt) == ev.ReleaseDone()


def test_a_release_gives_the_slot_back(bench):
    attempt, slot = bench.holding()
    bench.do(do.WatchHolder(), attempt, slot=slot)
    assert bench.do(do.Release(), attempt) == ev.ReleaseDone(by_hand=False)
    assert bench.world.held(NODE) is None
    assert bench.world.guard().count == 0
    assert bench.watches.holders == []


def test_without_a_token_there_is_nothing_to_release_or_to_mark(bench):
    assert bench.do(do.Release(), CLAIMING) == ev.ReleaseDone()
    assert bench.do(do.MarkPhase("draining"), CLAIMING) == ev.SlotGone()
    assert bench.do(do.Release()) == ev.ReleaseDone()


@pytest.mark.parametrize(
    ("effect", "act"),
    [
        (do.Recover(None), "recover"), (do.SetUpStore(), "recover"), (do.SteadyLook(), "look"),
        (do.Enqueue(timedelta(0)), "enqueue"),
        (do.Claim(), "claim"), (do.CancelTicket(), "cancel"), (do.MarkPhase("draining"), "mark"), (do.MarkFailed("x"), "mark"),
        (do.Arm(), "arm"), (do.Release(), "release"), (do.DropRequest("r"), "droprequest"), (do.PutHolderBack(), "recover"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)  # fmt: skip
def test_what_fails_in_the_store_is_told_with_its_act_and_kind(bench, effect, act):
    attempt, _ = bench.holding()
    for _ in range(3):
        bench.faults.plan_reads(Raise(Denied("not allowed")))
    event = bench.do(effect, replace(attempt, attempt="a-2"))
    assert isinstance(event, ev.StoreFailed)
    assert (event.act, event.kind) == (act, "denied")
    assert event.text.startswith("not allowed")


# ------------------------------------------------------------------------------------------------ this machine


def test_all_providers_are_asked(tmp_path):
    providers = [FakeProvider(NEED), FakeProvider(NotNeeded("apt", "v3"), "apt")]
    bench = Bench(tmp_path, providers=providers)
    assert bench.do(do.AskProviders()) == ev.ProvidersAnswered((NEED, NotNeeded("apt", "v3")))


class Faulty:
    """Has a bug."""

    name, kind = "odd", "gate"

    def ask(self, *_):
        raise RuntimeError("a bug")


def test_a_fault_in_one_provider_is_unknown_and_no_more(tmp_path, caplog):
    bench = Bench(tmp_path, providers=[Faulty(), FakeProvider(NEED)])
    event = bench.do(do.AskProviders())
    assert isinstance(event, ev.ProvidersAnswered)
    odd, other = event.answers
    assert isinstance(odd, NeedUnknown)
    assert "a fault of locksmith (RuntimeError)" in odd.reason
    assert other == NEED
    assert "a bug" in caplog.text


def test_a_fault_in_one_check_is_unknown_and_no_more(tmp_path):
    bench = Bench(tmp_path, gates=[Faulty()], health=[Faulty()])
    for event in (bench.do(do.AskGates("queue")), bench.do(do.AskHealth())):
        assert isinstance(event, ev.GatesAnswered | ev.HealthAnswered)
        assert isinstance(event.answers[0].verdict, Unknown)


def test_an_undo_folder_that_cannot_be_read_is_told(tmp_path, caplog):
    bench = Bench(tmp_path, hooks=FakeHooks(unreadable={"undo"}))
    bench.do(do.ListHooks("undo"), owed())
    assert "nothing of the drain is taken back" in caplog.text


def test_gates_are_asked_with_what_is_wanted(tmp_path):
    gate = FakeCheck("backup", verdict=Closed("running"))
    bench = Bench(tmp_path, gates=[FakeCheck("alerts", "alerts"), gate])
    assert bench.do(do.AskGates("drain"), owed()) == ev.GatesAnswered(
        "drain", (Answer("alerts", "alerts", Open()), Answer("backup", "gate", Closed("running")))
    )
    [occasion] = gate.occasions
    assert occasion.now == bench.world.clock.wall()
    assert occasion.environment["LOCKSMITH_TOKEN"] == "7"
    assert occasion.environment["LOCKSMITH_REASON"] == "file: linux-image"
    assert b'"node": "n1"' in occasion.payload


def test_health_is_asked(tmp_path):
    bench = Bench(tmp_path, health=[FakeCheck("app", "health", Unknown("no answer"))])
    assert bench.do(do.AskHealth()) == ev.HealthAnswered((Answer("app", "health", Unknown("no answer")),))


def test_courtesies_are_asked_last_and_only_when_all_else_is_open(tmp_path):
    gate, sessions = FakeCheck("backup", verdict=Closed("running")), FakeCheck("sessions", verdict=Closed("alice"))
    bench = Bench(tmp_path, gates=[gate], courtesies=[sessions])
    event = bench.do(do.AskGates("queue"))
    assert isinstance(event, ev.GatesAnswered)
    assert [answer.name for answer in event.answers] == ["backup"]
    assert sessions.occasions == []
    gate.verdict = Open()
    event = bench.do(do.AskGates("queue"))
    assert isinstance(event, ev.GatesAnswered)
    assert [answer.name for answer in event.answers] == ["backup", "sessions"]
    assert len(sessions.occasions) == 1
    bench.do(do.AskGates("queue", courtesies=False))
    assert len(sessions.occasions) == 1


def test_a_gate_that_the_operator_passes_over_does_not_cost_people_their_grace(tmp_path):
    window, sessions = (
        FakeCheck("night", "window", Closed("until 23:00")),
        FakeCheck("sessions", verdict=Closed("alice")),
    )
    bench = Bench(tmp_path, gates=[window], courtesies=[sessions])
    bench.do(do.AskGates("queue"), request=replace(REQUEST, ignore=("window",)))
    assert len(sessions.occasions) == 1
    bench.do(do.AskGates("drain"), owed(ignore=("window",)))
    assert len(sessions.occasions) == 2


def test_a_check_knows_how_far_the_attempt_is(tmp_path):
    gate, app = FakeCheck("backup"), FakeCheck("app", "health")
    bench = Bench(tmp_path, gates=[gate], health=[app])
    bench.do(do.AskGates("queue"))
    bench.do(do.AskGates("arm"), owed())
    bench.do(do.AskHealth(), owed())
    assert [(occasion.stage, occasion.attempt) for occasion in gate.occasions] == [("queue", ""), ("arm", NONCE)]
    assert [(occasion.stage, occasion.attempt) for occasion in app.occasions] == [("health", NONCE)]


def test_what_is_so_is_remembered_before_the_first_hook_and_not_after_it(tmp_path):
    units = RememberingCheck("units", "health")
    bench = Bench(tmp_path, health=[units, FakeCheck("app", "health")])
    bench.do(do.ListHooks("pre-reboot"), owed())
    assert units.remembered == [NONCE]
    bench.do(do.ListHooks("post-reboot"), owed())
    bench.do(do.ListHooks("undo"), owed())
    assert units.remembered == [NONCE]


def test_what_cannot_be_remembered_is_said_and_holds_nothing_up(tmp_path, caplog):
    bench = Bench(tmp_path, health=[RememberingCheck("units", "health", problem=Damaged("the disk is full"))])
    assert bench.do(do.ListHooks("pre-reboot"), owed()) == ev.HooksListed("pre-reboot", ())
    assert "health check units" in caplog.text
    assert "the disk is full" in caplog.text


@pytest.mark.parametrize(
    ("synchronised", "needed", "kind"), [(False, True, "clock"), (False, False, "window"), (True, True, "window")]
)
def test_windows_mean_nothing_while_the_clock_is_wrong(tmp_path, synchronised, needed, kind):
    check = WindowCheck([NOON_WINDOW])
    bench = Bench(tmp_path, gates=[check], require_time_sync=needed)
    bench.world.clock.trusted = synchronised
    event = bench.do(do.AskGates("queue"))
    assert isinstance(event, ev.GatesAnswered)
    assert [answer.kind for answer in event.answers] == [kind]
    assert not isinstance(event.answers[0].verdict, Open)


def test_a_clock_before_the_build_is_wrong_whatever_the_kernel_says(tmp_path):
    bench = Bench(tmp_path, gates=[WindowCheck([NOON_WINDOW])], require_time_sync=False)
    bench.world.clock.start = bench.world.clock.start - timedelta(days=9000)
    event = bench.do(do.AskGates("queue"))
    assert isinstance(event, ev.GatesAnswered)
    assert event.answers[0].kind == "clock"


def test_hooks_are_listed_by_stage(tmp_path):
    bench = Bench(tmp_path, hooks=FakeHooks({"undo": ("10-a",)}))
    assert bench.do(do.ListHooks("undo")) == ev.HooksListed("undo", ("10-a",))
    assert bench.do(do.ListHooks("pre-reboot")) == ev.HooksListed("pre-reboot", ())


@pytest.mark.parametrize("stage", ["pre-reboot", "undo", "post-reboot"])
def test_a_folder_that_cannot_be_read_is_a_hook_that_failed(tmp_path, stage):
    bench = Bench(tmp_path, hooks=FakeHooks(unreadable={stage}))
    event = bench.do(do.ListHooks(stage))
    assert event == ev.HookEnded(stage, f"{stage}.d", f"cannot read {stage}.d")


@pytest.mark.parametrize(
    ("result", "problem", "cancelled"),
    [
        (HookDone(), None, False),
        (HookFailed("exit code 1"), "exit code 1", False),
        (HookCancelled(), "called off", True),
    ],
)
def test_a_hook_is_run_with_what_it_should_know(tmp_path, result, problem, cancelled):
    hooks = FakeHooks(run_as=lambda name, cancel: result)
    bench = Bench(tmp_path, hooks=hooks)
    event = bench.do(do.RunHook("pre-reboot", "10-a"), owed(origin="v1", target="v2"), bench.hands.number_hook())
    assert event == ev.HookEnded("pre-reboot", "10-a", problem, cancelled)
    [(stage, name, context)] = hooks.ran
    assert (stage, name) == ("pre-reboot", "10-a")
    assert (context.node, context.group, context.token, context.stage) == (NODE, "web", "7", "pre-reboot")
    assert (context.origin, context.target) == ("v1", "v2")


@pytest.mark.parametrize("stage", ["undo", "post-reboot"])
def test_only_pre_hooks_can_be_stopped(tmp_path, stage):
    seen: list[threading.Event | None] = []

    def run(name: str, cancel: threading.Event | None) -> HookDone:
        bench.hands.stop_hooks()
        seen.append(cancel)
        return HookDone()

    bench = Bench(tmp_path, hooks=FakeHooks(run_as=run))
    assert bench.do(do.RunHook(stage, "10-a"), owed(), bench.hands.number_hook()) == ev.HookEnded(stage, "10-a", None)
    assert seen[0] is None or not seen[0].is_set()


def test_the_machine_is_told_to_reboot_with_the_reason(tmp_path):
    rebooter = FakeRebooter()
    bench = Bench(tmp_path, rebooter=rebooter)
    assert bench.do(do.Reboot(), owed()) == ev.RebootTold()
    [(reason, environment)] = rebooter.told
    assert reason == "file: linux-image"
    assert environment["LOCKSMITH_STAGE"] == "reboot"


def test_a_refused_reboot_says_why(tmp_path):
    bench = Bench(tmp_path, rebooter=FakeRebooter(NotAccepted("denied"), Firing("a job")))
    assert bench.do(do.Reboot(), owed()) == ev.RebootTold("denied")
    assert bench.do(do.AskPending()) == ev.PendingSeen("a job; held up by a test")


def test_nothing_pending_is_none(bench):
    assert bench.do(do.AskPending()) == ev.PendingSeen(None)
    assert bench.do(do.StopHook()) is None


def test_the_own_key_is_watched_while_an_operator_holds_it(bench):
    held = SlotFact(3, "x", "web", ("group/web",), "maintenance", BOOT, mod=12)
    assert bench.do(do.WatchOwnKey(), slot=held) is None
    assert bench.watches.wanted == [(keys.own(NODE), 12)]


def test_a_closed_life_watches_nothing(bench):
    attempt, slot = bench.holding()
    bench.do(do.WatchHolder(), attempt, slot=slot)
    bench.do(do.WatchOwnKey(), slot=slot)
    bench.hands.close()
    assert bench.watches.holders == []
    assert bench.watches.wanted == []


# ------------------------------------------------------------------------------------------------ the registry


def test_the_record_says_what_the_agent_says(bench):
    mind = bench.mind(owed())
    record = bench.hands.record(mind, Telling("steady", "gate", "backup: running"), ({"step": "gate"},))
    assert (record.host, record.group, record.labels) == ("host-n1", "web", {"zone": "a"})
    assert (record.state, record.kind, record.why, record.steps) == (
        "steady",
        "gate",
        "backup: running",
        ({"step": "gate"},),
    )
    assert (record.need, record.need_since, record.origin, record.target) == (
        "file: linux-image",
        NEED.since,
        "v1",
        "v2",
    )
    assert (record.boot, record.fingerprint, record.heartbeat, record.strategy) == (BOOT, "hw", 900, "lock")
    assert record.state_since == at(-60).wall
    bench.hands.write_record(record)
    stored = NodeRecord.decode("node", bench.world.rows()[keys.record("web", NODE)])
    assert replace(stored, gen="") == record


def test_an_unsanctioned_boot_is_looked_up_once_and_noted(bench):
    mind = bench.mind()
    boot = Unsanctioned(boot="boot-2/0", at=bench.actor.clock.wall())
    mind = replace(mind, ledger=replace(mind.ledger, unsanctioned=(boot,)))
    record = bench.hands.record(mind, Telling("steady", None, "x"), ())
    assert record.unsanctioned == (boot,)
    bench.hands.write_record(record)
    notes = bench.world.rows()[keys.notes_of_node(NODE)]
    assert [note.at for note in Notes.decode("notes", notes).notes] == [boot.at]
    bench.faults.plan(Fault.DROP)  # the next request: no look comes before the commit any more
    with pytest.raises(NoAnswer):
        bench.hands.write_record(record)


@pytest.mark.parametrize(("slot_epoch", "found", "told"), [(1, False, 1), (1, True, 2), (2, False, 2), (0, False, 2)])
def test_the_record_names_a_new_epoch_when_the_slot_of_the_one_before_is_in_the_store(bench, slot_epoch, found, told):
    mind = bench.mind(owed(stage=Stage.VERIFYING, epoch=slot_epoch), slot=slot() if found else None)
    mind = replace(mind, ledger=replace(mind.ledger, home=replace(mind.ledger.home, epoch=2)))
    assert bench.hands.record(mind, Telling("verifying", None, "x"), ()).epoch == told


def test_each_record_is_another_value(bench):
    record = bench.hands.record(bench.mind(), Telling("steady", None, "x"), ())
    bench.hands.write_record(record)
    first = bench.world.rows()[keys.record("web", NODE)]
    bench.hands.write_record(record)
    assert bench.world.rows()[keys.record("web", NODE)] != first


def test_a_phase_can_be_written_for_a_holder_of_the_semaphore(bench):
    attempt, _ = bench.holding()
    slot = Slot(NODE, attempt.token or 0, NONCE, "web", ("group/web",))
    kept = holding.to_phase(bench.actor, slot, Phase.DRAINING, None)
    assert isinstance(kept, holding.Kept)
