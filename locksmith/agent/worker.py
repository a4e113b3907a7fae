"""The one thread that acts: effects in the order in which they were decided, the journal before each batch.

A plain daemon thread: an executor would join at exit and hang. An unexpected exception ends the process, for systemd to
see and to start again; START then puts everything right.
"""

import logging
import threading
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


@dataclass(slots=True)
class Worker:
    """Carries out batches in order. `dead` ends it between two effects, as a SIGKILL would."""

    hands: Hands
    journal: Journal
    post: Post
    crashed: Callable[[BaseException], None]
    recorded: Callable[[NodeRecord, bool], None]
    jobs: SimpleQueue[Batch | WriteRecord | None] = field(default_factory=SimpleQueue)
    dead: threading.Event = field(default_factory=threading.Event)
    claims: int = 0

    def start(self) -> threading.Thread:
        """Begin."""
        thread = threading.Thread(target=self._run, daemon=True, name="worker")
        thread.start()
        return thread

    def _run(self) -> None:
        while True:
            job = self.jobs.get()
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
            event = self.hands.carry(batch.agent, effect, number)
            if event is not None and not self.dead.is_set():
                self.post(event)

    def _record(self, record: NodeRecord) -> None:
        try:
            self.hands.write_record(record)
        except LocksmithError as error:
            self.recorded(record, False)
            self.post(ev.StoreFailed("record", error.kind, str(error)))
        else:
            self.recorded(record, True)
