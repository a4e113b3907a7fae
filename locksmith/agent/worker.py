"""The one thread that acts: effects in the order in which they were decided, the journal before each batch.

A plain daemon thread: an executor would join at exit and hang. An unexpected exception ends the process, for systemd to
see and to start again; START then puts everything right. Only the registry does not wait for a hook, which may take long:
just then people ask what the node is doing, and a node that says nothing is taken for a dead one.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import SimpleQueue

from locksmith.agent.hands import Hands
from locksmith.agent.journal import Journal
from locksmith.agent.watching import Post
from locksmith.core import effects as do
from locksmith.core import events as ev
from locksmith.core.documents import NodeRecord
from locksmith.core.states import Agent
from locksmith.errors import Damaged, LocksmithError

log = logging.getLogger(__name__)

NEEDS_JOURNAL = (do.Enqueue, do.Claim, do.Arm, do.Reboot)
"""Never done while the journal cannot be written; pre hooks neither."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one step decided: the agent then, its effects, and the numbers of its hooks."""

    agent: Agent
    effects: tuple[do.Effect, ...]
    numbers: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class WriteRecord:
    """The registry record is to be written."""

    record: NodeRecord


@dataclass(frozen=True, slots=True)
class HookOver:
    """The hook beside which records were written has ended."""


Job = Batch | WriteRecord | HookOver | None


@dataclass(slots=True)
class Worker:
    """Carries out batches in order. `dead` ends it between two effects, as a SIGKILL would."""

    hands: Hands
    journal: Journal
    post: Post
    crashed: Callable[[BaseException], None]
    recorded: Callable[[NodeRecord, bool], None]
    jobs: SimpleQueue[Job] = field(default_factory=SimpleQueue)
    dead: threading.Event = field(default_factory=threading.Event)
    claims: int = 0
    _kept: deque[Job] = field(default_factory=deque)

    def start(self) -> threading.Thread:
        """Begin."""
        thread = threading.Thread(target=self._run, daemon=True, name="worker")
        thread.start()
        return thread

    def _run(self) -> None:
        while True:
            job = self._kept.popleft() if self._kept else self.jobs.get()
            if job is None or self.dead.is_set():
                return
            try:
                match job:
                    case Batch():
                        self._batch(job)
                    case WriteRecord(record):
                        self._record(record)
            except Exception as error:  # noqa: BLE001 - a bug: the process ends, START mends
                if not self.dead.is_set():
                    self.crashed(error)
                return

    def _batch(self, batch: Batch) -> None:
        problem: str | None = None
        try:
            self.journal.save(batch.agent.ledger)
        except Damaged as error:
            problem = str(error)
        self.hands.unwritten = problem
        numbers = iter(batch.numbers)
        for effect in batch.effects:
            if self.dead.is_set():
                return
            number = next(numbers) if isinstance(effect, do.RunHook) else 0
            pre_hook = isinstance(effect, do.RunHook) and effect.stage == "pre-reboot"
            if problem is not None and (isinstance(effect, NEEDS_JOURNAL) or pre_hook):
                self.post(ev.JournalFailed(type(effect).__name__.lower(), problem))
                continue
            event = self._carry(batch.agent, effect, number)
            if event is not None and not self.dead.is_set():
                self.post(event)

    def _carry(self, agent: Agent, effect: do.Effect, number: int) -> ev.Event | None:
        if not isinstance(effect, do.RunHook):
            return self.hands.carry(agent, effect, number)
        meanwhile = threading.Thread(target=self._meanwhile, daemon=True, name="records")
        meanwhile.start()
        try:
            return self.hands.carry(agent, effect, number)
        finally:
            self.jobs.put(HookOver())
            meanwhile.join()

    def _meanwhile(self) -> None:
        """Write records, and keep everything else in its order for after the hook."""
        while not isinstance(job := self.jobs.get(), HookOver):
            if not isinstance(job, WriteRecord):
                self._kept.append(job)
                continue
            try:
                if not self.dead.is_set():
                    self._record(job.record)
            except Exception as error:  # noqa: BLE001 - as above
                if not self.dead.is_set():
                    self.crashed(error)

    def _record(self, record: NodeRecord) -> None:
        try:
            self.hands.write_record(record)
        except LocksmithError as error:
            self.recorded(record, False)
            self.post(ev.StoreFailed("record", error.kind, str(error)))
        else:
            self.recorded(record, True)
