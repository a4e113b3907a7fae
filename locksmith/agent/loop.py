"""The loop: one inbox, one step at a time. Only this thread touches the agent's state.

It waits at most 60 s and then looks at the clock again, so that a suspend or a step of the clock moves nothing. What the
machine decided goes to the worker in order; only the stopping of a hook is done here, at once.
"""

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from locksmith.agent.body import Body
from locksmith.agent.hands import Hands
from locksmith.agent.lines import Lines
from locksmith.agent.snapshot import Snapshot, picture
from locksmith.agent.worker import Batch, Worker, WriteRecord
from locksmith.core import effects as do
from locksmith.core import events as ev
from locksmith.core.documents import NodeRecord
from locksmith.core.facts import Moment
from locksmith.core.ledger import Ledger
from locksmith.core.machine import step
from locksmith.core.states import Agent, Blocked, Conflicted, Starting, Steady

MAX_WAIT = 60.0
STOP_WAIT = 10.0
"""Seconds between two signs of life while the agent is asked to stop: the daemon extends its stop time with each."""
WORKER_END = 2.0
"""Seconds that the worker has to finish what it was given; then it does no more than end what it is doing."""
RECORD_EVERY = 10.0
"""Seconds between two writes of the registry record, at least."""

Listener = Callable[[Snapshot, bool], None]


@dataclass(slots=True)
class _Record:
    """What was last written to the registry, and when the next write may be."""

    written: NodeRecord | None = None
    pending: NodeRecord | None = None
    not_before: float = 0.0
    heartbeat_at: float = 0.0
    failures: int = 0


class Loop:
    """One agent. `listen` hears each published picture, with whether the state or its sentence changed."""

    def __init__(self, body: Body, ledger: Ledger, listen: Listener, wait: float = MAX_WAIT) -> None:
        """`wait` is the longest wait in seconds (a watchdog may want less)."""
        self.body = body
        self._listen = listen
        self._wait = wait
        self.inbox: queue.SimpleQueue[ev.Event] = queue.SimpleQueue()
        self.hands = Hands(body, self.post)
        self.crash: BaseException | None = None
        self.worker = Worker(self.hands, body.journal, self.post, self._crashed, self._recorded)
        at = self._moment()
        self.agent = Agent(body.policy, body.boot, body.fingerprint, ledger, Starting(), at)
        self.published: Snapshot = picture(self.agent, at)
        self._told: tuple[str, str] = ("", "")
        self._lines = Lines()
        self._record = _Record()
        self._record_lock = threading.Lock()

    def post(self, event: ev.Event) -> None:
        """Put an event into the inbox; any thread may."""
        self.inbox.put(event)

    def kill(self) -> None:
        """End like a SIGKILL: nothing more is done, nothing is tidied up."""
        self.worker.dead.set()
        self.hands.stop_hooks()
        self.inbox.put(ev.Poke())

    def run(self) -> None:
        """Until the agent is done. Raises what broke the worker. Whatever follows finds nobody at work any more."""
        worker = self.worker.start()
        self.turn(ev.Begin())
        while not self.agent.done and not self.worker.dead.is_set() and self.crash is None:
            try:
                event: ev.Event = self.inbox.get(timeout=self._patience())
            except queue.Empty:
                event = ev.Tick()
            if not self.worker.dead.is_set():
                self.turn(event)
        self.worker.jobs.put(None)
        if not self.worker.dead.is_set() and self.crash is None:
            worker.join(WORKER_END)
        self.worker.dead.set()
        self.hands.close()
        if self.crash is not None:
            raise self.crash

    def turn(self, event: ev.Event) -> None:
        """One step: decide, publish, hand over."""
        at = self._moment()
        due = self._due(at)
        if isinstance(event, ev.Tick) and due is not None and due > 0:
            # Only the clock was looked at; nothing is due yet.
            self._keep_record(at)
            self._lines.wait(at.boottime)
            self._listen(self.published, False)
            return
        before = self.agent
        self.agent, effects = step(before, event, at)
        self._hand_over(effects, changed=self.agent.ledger is not before.ledger)
        self._publish(before, event, at)
        self._keep_record(at)

    def swap(self, body: Body) -> None:
        """Take a new configuration that leaves store, prefix, node, group and limits as they are."""
        self.body = body
        self.hands.body = body
        self.agent = replace(self.agent, policy=body.policy)
        self.post(ev.Poke())

    def _moment(self) -> Moment:
        clock, random = self.body.actor.clock, self.body.actor.random
        return Moment(clock.wall(), clock.boottime(), random.random(), f"{random.getrandbits(64):016x}")

    def _due(self, at: Moment) -> float | None:
        """Seconds until the machine wants a Tick; None: never."""
        wakes = [self.agent.wake_at] if self.agent.wake_at is not None else []
        if isinstance(self.agent.state, Steady | Blocked):
            wakes.append(self.agent.next_look)
        return min(wakes) - at.boottime if wakes else None

    def _patience(self) -> float:
        at = self._moment()
        due = self._due(at)
        waits = [self._wait] if due is None else [self._wait, due]
        if self.agent.stopping:
            waits.append(STOP_WAIT)
        with self._record_lock:
            if self._record.pending is not None:
                waits.append(self._record.not_before - at.boottime)
        return max(0.0, min(waits))

    def _hand_over(self, effects: tuple[do.Effect, ...], *, changed: bool) -> None:
        if any(isinstance(effect, do.StopHook) for effect in effects):
            self.hands.stop_hooks()
        numbers = tuple(self.hands.number_hook() for effect in effects if isinstance(effect, do.RunHook))
        if effects or changed:
            self.worker.jobs.put(Batch(self.agent, effects, numbers))

    def _publish(self, before: Agent, event: ev.Event, at: Moment) -> None:
        self.published = picture(self.agent, at)
        told = (self.published.told.state, self.published.told.text)
        changed = told != self._told
        self._lines.step(before, event, self.published, changed=changed)
        self._told = told
        self._listen(self.published, changed)

    # ---------------------------------------------------------------- the registry record

    def _keep_record(self, at: Moment) -> None:
        """Write the record when it changed (at most once in RECORD_EVERY) and at each heartbeat."""
        if self._record.failures == 0:
            self._lines.recorded()
        with self._record_lock:
            record = self.hands.record(self.agent, self.published.told, self.published.steps)
            same = self._record.written is not None and _content(record) == _content(self._record.written)
            if isinstance(self.agent.state, Conflicted):
                self._record.pending = None  # the entry is the other machine's
                return
            if not isinstance(self.agent.state, Starting) and (not same or at.boottime >= self._record.heartbeat_at):
                self._record.pending = record
            elif same:
                self._record.pending = None
            if self._record.pending is None or at.boottime < self._record.not_before:
                return
            self._record.not_before = at.boottime + RECORD_EVERY
            heartbeat = self.body.heartbeat.total_seconds()
            self._record.heartbeat_at = at.boottime + heartbeat * (0.9 + 0.1 * at.chance)
            self._record.written, self._record.pending = record, None
        self.worker.jobs.put(WriteRecord(record))

    def _recorded(self, record: NodeRecord, well: bool) -> None:
        with self._record_lock:
            if well:
                self._record.failures = 0
                return
            self._record.failures += 1
            self._record.written = None
            self._record.pending = record
            wait = min(300.0, RECORD_EVERY * 2**self._record.failures)
            self._record.not_before = self.body.actor.clock.boottime() + wait * (
                0.5 + 0.5 * self.body.actor.random.random()
            )

    def _crashed(self, error: BaseException) -> None:
        self.crash = error
        self.inbox.put(ev.Poke())


def _content(record: NodeRecord) -> NodeRecord:
    """A record without what changes by itself."""
    return replace(record, seen=record.state_since or record.seen, gen="")
