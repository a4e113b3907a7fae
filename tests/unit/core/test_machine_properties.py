"""Whatever happens, in whatever order: the machine goes on, says so, and reboots only after its own arm."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from locksmith.core import effects as do
from locksmith.core import events as ev
from locksmith.core.facts import HoldFact, RequestFact, SlotFact, Strategy
from locksmith.core.ledger import LastReboot, Ledger, Stage
from locksmith.core.needs import Answer as NeedAnswer
from locksmith.core.needs import NeedUnknown, NotNeeded
from locksmith.core.states import (
    STATE_NAMES,
    Agent,
    Arming,
    Blocked,
    Rebooting,
    Starting,
    Steady,
    Stuck,
    Undoing,
    Verifying,
)
from locksmith.core.telling import steps, tell, verdict
from locksmith.core.verdict import Answer, Closed, Open, Unknown
from tests.fakes.mind import (
    BOOT,
    GROUP,
    HOME,
    LIMIT,
    NEED,
    NONCE,
    NOON,
    OLD_BOOT,
    REQUEST,
    TOKEN,
    Mind,
    agent,
    by_hand,
    closed,
    found,
    ledger,
    owed,
    policy,
    slot,
    staged,
)  # fmt: skip
from tests.unit.core.test_machine import STATES, mind_in

times = st.none() | st.integers(-4000, 4000).map(lambda seconds: NOON + timedelta(seconds=seconds))
words = st.sampled_from(
    ["paused", "halted", "hold", "queue", "store", "revoked", "maintenance", "queue_full", "identity"]
)
texts = st.sampled_from(["x", "no answer", "ünïcode „text“"])
names = st.sampled_from(["10-a", "20-b", "30-c"])
boots = st.sampled_from([BOOT, OLD_BOOT])
verdicts = st.one_of(st.builds(Open, texts, times), st.builds(Closed, texts, times), st.builds(Unknown, texts, times))
answers = st.lists(
    st.builds(Answer, st.sampled_from(["a", "b"]), st.sampled_from(["gate", "window", "clock"]), verdicts), max_size=2
).map(tuple)
slots = st.builds(
    SlotFact,
    token=st.sampled_from([TOKEN, 8]),
    nonce=st.sampled_from([NONCE, "theirs"]),
    group=st.just(GROUP),
    limits=st.just((LIMIT,)),
    phase=st.sampled_from(["acquired", "draining", "armed", "verifying", "failed", "maintenance"]),
    boot=boots,
    boots=st.integers(0, 5),
    by=st.none() | st.just("alice"),
    since=times,
    mod=st.integers(1, 3),
)
maybe_slots = st.none() | slots
requests = st.none() | st.builds(
    RequestFact, st.just("req-1"), texts, texts, st.just(NOON), st.sampled_from([(), ("gate",), ("loop_guard",)])
)
needs = st.lists(
    st.one_of(
        st.builds(staged, st.sampled_from(["fp-1", "fp-2"]), st.sampled_from(["file", "apt"])),
        st.builds(NotNeeded, st.sampled_from(["file", "apt"]), st.sampled_from([None, "v1", "v2"])),
        st.builds(NeedUnknown, st.sampled_from(["file", "apt"]), texts),
    ),
    max_size=2,
).map(tuple)
attempts = st.sampled_from(["a-1", "draw-1", "mine"])
"""`mine` becomes the attempt of the journal at that moment."""

founds = st.builds(
    ev.FoundAtStart,
    known=st.booleans(),
    identity=st.sampled_from(["store-1", "store-1", "store-2"]),
    epoch=st.sampled_from([1, 1, 2]),
    slot=maybe_slots,
    clash=st.sampled_from([None, None, None, SlotFact(9, "n", GROUP, (LIMIT,), "armed", BOOT, host="twin")]),
    unlocked=st.sampled_from([(), (str(TOKEN),)]),
    hold=st.none() | st.builds(HoldFact, texts, times),
    request=requests,
    start=st.booleans(),
)
events = st.one_of(
    st.sampled_from([
        ev.Tick(), ev.Tick(), ev.Poke(), ev.Begin(), ev.SetUp(), ev.EnqueueDone(), ev.TicketGone(), ev.Woken(), ev.SlotGone(),
        ev.RebootTold(), ev.RebootTold("refused"), ev.PendingSeen(None), ev.PendingSeen("a job"), ev.ReleaseDone(),
        ev.ReleaseDone(by_hand=True), ev.HolderSeen(), ev.HolderSeen(gone=True),
    ]),
    founds,
    founds,
    st.builds(ev.StopAsked, st.booleans()),
    st.builds(
        ev.StoreFailed,
        st.sampled_from(["recover", "look", "enqueue", "claim", "cancel", "watch", "mark", "arm", "release", "record"]),
        st.sampled_from(["unavailable", "unknown", "denied", "identity"]),
        texts,
    ),
    st.builds(ev.JournalFailed, st.sampled_from(["enqueue", "claim", "arm", "reboot", "runhook"]), texts),
    st.builds(ev.PutBack, slots),
    st.builds(ev.ProvidersAnswered, needs),
    st.builds(ev.GatesAnswered, st.sampled_from(["queue", "drain", "arm"]), answers),
    st.builds(ev.HealthAnswered, answers),
    st.builds(ev.EnqueueRefused, words, texts, st.none() | st.just(timedelta(seconds=90)), times),
    st.builds(ev.StandingInLine, words, texts, st.integers(1, 100), st.just(("host-a",)), st.booleans()),
    st.builds(ev.OwnKeyTaken, slots),
    st.builds(ev.SlotTaken, slots, st.integers(1, 2)),
    st.builds(ev.Cancelled, maybe_slots),
    st.builds(ev.HolderSeen, st.just(False), words, texts),
    st.builds(ev.HooksListed, st.sampled_from(["pre-reboot", "undo", "post-reboot"]), st.lists(names, unique=True).map(tuple)),
    st.builds(ev.HookEnded, st.sampled_from(["pre-reboot", "undo", "post-reboot"]), names, st.none() | texts),
    st.builds(ev.PhaseMarked, st.sampled_from(["draining", "verifying", "failed"]), slots),
    st.builds(ev.ArmDone, attempts),
    st.builds(ev.ArmRefused, words, texts),
    st.builds(ev.ArmUnsettled, texts),
)  # fmt: skip
books = st.builds(
    ledger,
    st.none()
    | st.builds(
        owed,
        stage=st.sampled_from(list(Stage)),
        boot=boots,
        token=st.sampled_from([None, TOKEN]),
        slotless=st.booleans(),
        started=st.sampled_from([(), ("10-a",), ("10-a", "20-b")]),
        called_off=st.none() | words,
        verify_boot=st.sampled_from(["", BOOT, OLD_BOOT]),
        attempt=st.sampled_from(["", "a-1"]),
        arms=st.integers(0, 2),
        target=st.sampled_from([None, "v2"]),
        origin=st.sampled_from([None, "v1"]),
    ),
    boot=boots,
    spent=st.sampled_from([{}, {"file": "fp-1"}]),
    last=st.none() | st.just(LastReboot(at=NOON, result="")),
)
strategies = st.sampled_from(
    [Strategy.LOCK, Strategy.LOCK, Strategy.LOCK, Strategy.REBOOT, Strategy.OBSERVE, Strategy.OFF]
)
rules = st.builds(
    lambda strategy, providers, retries: policy(strategy=strategy, providers=providers, retries=retries),
    strategies,
    st.booleans(),
    st.integers(0, 2),
)
beginnings = st.builds(
    lambda book, rules: (agent(Starting(), book, policy=rules), None), st.just(Ledger()) | books, rules
)
middles = st.builds(
    lambda name, rules: (mind_in(name, policy=rules).agent, UNDER_WAY.get(name)), st.sampled_from(sorted(STATES)), rules
)
lives = beginnings | middles
"""A process that begins with any journal, or one that has come into any state (and read its configuration again there)."""
UNDER_WAY = {
    "queued": do.Enqueue(timedelta(0)),
    "standing": do.Claim(),
    "leaving": do.CancelTicket(),
    "draining": do.RunHook("pre-reboot", "10-a"),
    "arming": do.Arm(),
    "rebooting": do.Reboot(),
    "stuck": do.AskPending(),
    "disarming": do.MarkPhase("draining"),
    "undoing": do.ListHooks("undo"),
    "verifying": do.AskHealth(),
    "failed": do.AskHealth(),
    "releasing": do.Release(),
    "retrying": do.Release(),
}
"""The effect that such a state waits for."""


@dataclass(frozen=True)
class History:
    """What happens: mostly the oldest effect is answered, so that it gets somewhere; now and then something else comes."""

    seed: int
    others: list[ev.Event]

    def __iter__(self) -> Iterator[tuple[ev.Event | int, float, float]]:
        random = Random(self.seed)
        for _ in range(60):
            other = bool(self.others) and random.random() < 0.1
            event = random.choice(self.others) if other else random.randrange(100)
            yield event, random.choice([0.0, 0.0, 0.0, 1.0, 5.0, 31.0, 700.0]), random.random()


histories = st.builds(History, st.integers(0, 2**32), st.lists(events, max_size=6))
LONG = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


class Walk(Mind):
    """A mind whose effects are remembered until they are answered."""

    def __init__(self, start: Agent, under_way: do.Effect | None = None) -> None:
        super().__init__(start)
        self.open: list[do.Effect] = [under_way] if under_way is not None else []

    def go(self, event: ev.Event | int, wait: float, chance: float) -> tuple[Agent, ev.Event]:
        """One event; gives the agent before it, and what it really heard."""
        before = self.agent
        self.chance = chance
        if isinstance(event, int):
            event = self.answered(event)
        if isinstance(event, ev.ArmDone) and event.attempt == "mine" and before.owed is not None:
            event = ev.ArmDone(before.owed.attempt)
        if isinstance(event, ev.Tick) and before.wake_at is not None:
            # The loop ticks when that is wanted; a Tick that comes later is one of those that come anyway.
            wait = max(wait, before.wake_at - self.moment.boottime)
        self.hear(event, wait=wait)
        self.open += self.effects
        return before, event

    def answered(self, pick: int) -> ev.Event:
        """One of the answers that the oldest effect may get; a Tick when none is open."""
        while self.open:
            possible = likely(self.open.pop(0))
            if possible:
                return possible[pick % len(possible)]
        return ev.Tick()


def likely(effect: do.Effect) -> tuple[ev.Event, ...]:  # noqa: C901, PLR0912
    """What an effect is answered with, the way forward more often than once."""
    away = ev.StoreFailed(type(effect).__name__.lower(), "unavailable", "no answer")
    match effect:
        case do.Recover():
            armed, booted = slot(phase="armed"), slot(phase="armed", boot=OLD_BOOT)
            return (
                found(),
                found(slot()),
                found(armed),
                found(booted),
                found(slot(phase="failed")),
                found(by_hand()),
                away,
            )
        case do.SteadyLook():
            return (found(start=False), found(start=False, request=REQUEST), away)
        case do.SetUpStore():
            return (ev.SetUp(), away)
        case do.PutHolderBack():
            return (ev.PutBack(slot()), away)
        case do.AskProviders():
            return (ev.ProvidersAnswered((NEED,)), ev.ProvidersAnswered((NotNeeded("file"),)))
        case do.AskGates(stage):
            return (*(ev.GatesAnswered(stage, ()),) * 4, ev.GatesAnswered(stage, (closed(),)))
        case do.AskHealth():
            return (ev.HealthAnswered(()), ev.HealthAnswered(()), ev.HealthAnswered((closed("app", "health"),)))
        case do.Enqueue():
            return (ev.EnqueueDone(), ev.EnqueueDone(), ev.EnqueueRefused("queue_full", "x"), away)
        case do.Claim():
            return (ev.SlotTaken(slot(), 1), ev.SlotTaken(slot(), 1), ev.StandingInLine("queue", "x", 2), away)
        case do.CancelTicket():
            return (ev.Cancelled(None), ev.Cancelled(slot()), away)
        case do.ListHooks(stage):
            return (ev.HooksListed(stage, ("10-a",)), ev.HooksListed(stage, ()))
        case do.RunHook(stage, name):
            return (ev.HookEnded(stage, name, None), ev.HookEnded(stage, name, None), ev.HookEnded(stage, name, "x"))
        case do.MarkPhase(phase):
            return (ev.PhaseMarked(phase, slot(phase=phase)), ev.SlotGone(), away)
        case do.MarkFailed():
            return (ev.PhaseMarked("failed", slot(phase="failed")), ev.SlotGone(), away)
        case do.Arm():
            mine = ev.ArmDone("mine")
            return (mine, mine, mine, ev.ArmDone("a-0"), ev.ArmUnsettled("x"), ev.ArmRefused("paused", "x"), away)
        case do.Reboot():
            return (ev.RebootTold(), ev.RebootTold("refused"), ev.JournalFailed("reboot", "no space"))
        case do.AskPending():
            return (ev.PendingSeen(None), ev.PendingSeen("a job"))
        case do.Release():
            return (ev.ReleaseDone(), ev.ReleaseDone(by_hand=True), away)
        case _:
            return ()


@LONG
@given(lives, histories)
def test_whatever_happens_it_goes_on_and_says_so(life, history):
    mind = Walk(*life)
    for event, wait, chance in history:
        mind.go(event, wait, chance)
        told = tell(mind.agent)
        assert told.text.strip()
        assert told.state == STATE_NAMES[type(mind.state)]
        listed = steps(mind.agent, mind.moment)
        assert listed
        assert json.loads(json.dumps(listed)) == [dict(step) for step in listed]
        assert verdict(mind.agent)
        assert Ledger.decode("journal", mind.book.encode()) == mind.book


@LONG
@given(lives, histories)
def test_it_reboots_only_after_its_own_arm_and_claims_only_by_strategy(life, history):
    mind = Walk(*life)
    for event, wait, chance in history:
        before, heard = mind.go(event, wait, chance)
        kinds = {type(effect) for effect in mind.effects}
        if do.Reboot in kinds:
            assert isinstance(before.state, Arming)
            assert isinstance(mind.state, Rebooting)
            assert mind.owed.called_off is None
            assert mind.owed.stage == Stage.ARMED
            if not mind.owed.slotless:
                assert isinstance(heard, ev.ArmDone)
                assert before.owed is not None
                assert heard.attempt == before.owed.attempt == mind.owed.attempt != ""
        if do.Arm in kinds:
            assert mind.owed.stage == Stage.ARMED
            assert before.owed is None or before.owed.attempt != mind.owed.attempt
        if life[0].policy.strategy is not Strategy.LOCK:
            assert not kinds & {do.Enqueue, do.Claim}
        if mind.agent.stopping and not before.done:  # the loop hands nothing to one that is done
            assert not kinds & {do.Enqueue, do.Claim, do.Arm, do.Reboot}
        pre_hooks = [
            effect for effect in mind.effects if isinstance(effect, do.RunHook) and effect.stage == "pre-reboot"
        ]
        for hook in pre_hooks:
            assert hook.name in mind.owed.started


@LONG
@given(lives, histories, st.floats(0, 0.999))
def test_a_storm_of_ticks_never_wakes_at_once_without_doing_anything(life, history, chance):
    mind = Walk(*life)
    for event, wait, luck in history:
        mind.go(event, wait, luck)
    mind.chance = chance
    for _ in range(20):
        if mind.agent.wake_at is not None and mind.agent.wake_at > mind.moment.boottime:
            mind.hear(ev.Tick(), wait=mind.agent.wake_at - mind.moment.boottime)
        else:
            mind.hear(ev.Tick())
        assert mind.agent.wake_at is None or mind.agent.wake_at >= mind.moment.boottime + 0.02
        assert mind.effects or mind.agent.wake_at is None or mind.agent.wake_at >= mind.moment.boottime + 1


@dataclass(frozen=True)
class World:
    """What answers always the same. `sees` None: the store is away."""

    sees: ev.FoundAtStart | None
    says: tuple[NeedAnswer, ...]
    gates: tuple[Answer, ...]
    health: tuple[Answer, ...]
    pending: str | None

    def answer(self, effect: do.Effect) -> ev.Event | None:
        away = ev.StoreFailed(type(effect).__name__.lower(), "unavailable", "no answer")
        match effect:
            case do.Recover() | do.SteadyLook() if self.sees is not None:
                return replace(self.sees, start=isinstance(effect, do.Recover))
            case do.AskProviders():
                return ev.ProvidersAnswered(self.says)
            case do.AskGates(stage):
                return ev.GatesAnswered(stage, self.gates)
            case do.AskHealth():
                return ev.HealthAnswered(self.health)
            case do.ListHooks(stage):
                return ev.HooksListed(stage, ("10-a",))
            case do.RunHook(stage, name):
                return ev.HookEnded(stage, name, "exit code 1")
            case do.Reboot():
                return ev.RebootTold()
            case do.AskPending():
                return ev.PendingSeen(self.pending)
            case do.MarkPhase() | do.MarkFailed():
                return replace(away, act="mark")
            case do.CancelTicket():
                return replace(away, act="cancel")
            case do.WatchHolder() | do.UnwatchHolder() | do.WatchOwnKey() | do.StopHook() | do.DropRequest():
                return None
            case _:
                return away


worlds = st.builds(World, st.none() | founds, needs, answers, answers, st.sampled_from([None, "a job"]))


@LONG
@given(lives, worlds, st.floats(0.2, 0.9))
def test_where_nothing_changes_it_asks_now_and_then_and_not_all_the_time(life, world, chance):
    mind = Walk(*life)
    mind.chance = chance
    mind.hear(ev.Poke())
    inbox = [world.answer(effect) for effect in mind.effects]
    began = mind.after
    for _ in range(60):
        answered = 0
        while inbox:
            answered += 1
            assert answered < 40, "it asks without end"
            if (event := inbox.pop(0)) is not None:
                inbox += [world.answer(effect) for effect in mind.hear(event)]
        wakes = [mind.agent.wake_at] if mind.agent.wake_at is not None else []
        if isinstance(mind.state, Steady | Blocked):
            wakes.append(mind.agent.next_look)
        due = min(wakes, default=mind.moment.boottime + 60)
        inbox += [world.answer(effect) for effect in mind.hear(ev.Tick(), wait=max(0.0, due - mind.moment.boottime))]
    assert mind.after - began > 30, f"60 rounds in {mind.after - began} s"


@LONG
@given(lives, histories)
def test_a_shutdown_of_the_system_is_always_the_end(life, history):
    mind = Walk(*life)
    for event, wait, chance in history:
        mind.go(event, wait, chance)
    book = mind.book
    assert mind.hear(ev.StopAsked(going_down=True)) == ()
    assert mind.agent.done
    assert mind.book == book


@LONG
@given(lives, histories)
def test_what_is_owed_is_forgotten_only_when_it_is_over(life, history):
    """A token leaves the journal by a release, by a look at the store, or with a slot that is gone."""
    mind = Walk(*life)
    for event, wait, chance in history:
        before, heard = mind.go(event, wait, chance)
        if before.owed is not None and before.owed.token is not None and mind.agent.owed is None:
            gone = getattr(before.state, "slot_gone", False) or before.owed.slotless
            looked = isinstance(heard, ev.FoundAtStart | ev.ReleaseDone | ev.SlotGone | ev.HolderSeen | ev.Cancelled)
            assert looked or (gone and isinstance(before.state, Undoing | Verifying)), (before.state, heard)


@LONG
@given(st.integers(0, 3), st.lists(st.sampled_from(["refused", "nothing", "a job"]), max_size=12))
def test_it_is_told_to_reboot_at_most_once_more_than_retries(retries, outcomes):
    book = ledger(owed(stage=Stage.ARMED, attempt="a-1", arms=1))
    mind = Mind(agent(Arming("a-1", 1), book, policy=policy(retries=retries)))
    told = mind.hear(ev.ArmDone("a-1")).count(do.Reboot())
    for outcome in outcomes:
        if isinstance(mind.state, Rebooting):
            mind.hear(ev.RebootTold("refused" if outcome == "refused" else None))
        if isinstance(mind.state, Rebooting | Stuck) and mind.agent.wake_at is not None:
            mind.wake()
        mind.hear(ev.PendingSeen("a job" if outcome == "a job" else None))
        if isinstance(mind.state, Arming):
            mind.hear(ev.GatesAnswered("arm", ()))
            told += mind.hear(ev.ArmDone(mind.owed.attempt)).count(do.Reboot())
    assert told <= retries + 1


@given(st.sampled_from([HOME, None]), st.integers(1, 3))
def test_an_unsanctioned_boot_is_counted_once_a_boot(home, times_started):
    mind = Mind(agent(Starting(), ledger(boot=OLD_BOOT, home=home)))
    for _ in range(times_started):
        mind.hear(ev.Begin())
    assert mind.book.reboots == {"unsanctioned": 1}
