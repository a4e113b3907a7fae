"""A store between the caller and a real one, whose commits go wrong as planned.

Each commit takes the next fault of the plan (none when the plan is empty). A delayed commit may be applied later, once, by
`deliver`: with its checks, as the network would. Reads can be planned to fail too. `ignore` drops checks of some keys, for
negative controls: without them the very same test must find damage.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto

from locksmith.errors import Conflict, SessionLost, StoreError, Unavailable, Unknown
from locksmith.stores import Check, Commit, Facts, Put, Session, Snapshot, Store
from tests.fakes.clock import VirtualClock


class Fault(Enum):
    """What happens to one commit."""

    NONE = auto()
    DROP = auto()
    """Unknown, and never applied."""
    LOSE = auto()
    """Unknown, and applied (unless its checks fail)."""
    DELAY = auto()
    """Unknown, and applied when `deliver` says so."""
    CONFLICT = auto()
    UNAVAILABLE = auto()


@dataclass(frozen=True, slots=True)
class Raise:
    """Raise this very error, without applying anything."""

    error: StoreError


@dataclass(frozen=True, slots=True)
class First:
    """Do this first (somebody else was faster), then go on without a fault."""

    action: Callable[[], object]


@dataclass(frozen=True, slots=True)
class Then:
    """The fault, and this right after it, before the caller hears of it."""

    fault: Fault
    action: Callable[[], object]


Planned = Fault | Raise | First | Then


class FaultyStore:
    """See Store. With a virtual clock a watch lets that clock run instead of waiting."""

    def __init__(self, inner: Store, clock: VirtualClock | None = None) -> None:
        self.inner = inner
        self.clock = clock
        self.commits: list[Commit] = []
        """All that were sent, in order."""
        self.reads = 0
        self.delayed: deque[Commit] = deque()
        self.away = False
        """While it is, every call is Unavailable."""
        self.forbid: StoreError | None = None
        """What `probe` raises."""
        self.applied: Callable[[], object] = lambda: None
        """Called after each commit that may have changed something."""
        self.ignore: Callable[[str], bool] = lambda _: False
        self._plan: deque[Planned] = deque()
        self._read_plan: deque[Raise | First | None] = deque()

    @property
    def kind(self) -> str:
        return self.inner.kind

    def plan(self, *faults: Planned) -> None:
        """Arrange the fate of the next commits."""
        self._plan.extend(faults)

    def plan_reads(self, *faults: Raise | First | None) -> None:
        """Arrange the fate of the next reads; None: nothing happens."""
        self._read_plan.extend(faults)

    def clear(self) -> None:
        """Forget what was planned."""
        self._plan.clear()
        self._read_plan.clear()

    def read(self, keys: Sequence[str] = (), prefixes: Sequence[str] = ()) -> Snapshot:
        self.reads += 1
        self._reachable()
        fault = self._read_plan.popleft() if self._read_plan else None
        match fault:
            case Raise(error):
                raise error
            case First(action):
                action()
            case None:
                pass
        return self.inner.read(keys, prefixes)

    def commit(self, checks: Sequence[Check], puts: Sequence[Put] = (), deletes: Sequence[str] = ()) -> int | None:
        commit = Commit(tuple(checks), tuple(puts), tuple(deletes))
        self._reachable()
        self.commits.append(commit)
        fault: Planned = self._plan.popleft() if self._plan else Fault.NONE
        match fault:
            case Then(inner, action):
                try:
                    return self._faulty(commit, inner)
                finally:
                    action()
            case _:
                return self._faulty(commit, fault)

    def _faulty(self, commit: Commit, fault: Fault | Raise | First) -> int | None:
        match fault:
            case Raise(error):
                raise error
            case First(action):
                action()
                return self._apply(commit)
            case Fault.NONE:
                return self._apply(commit)
            case Fault.DROP:
                raise Unknown("the answer was lost (and the commit too)")
            case Fault.LOSE:
                self._quietly(commit)
                raise Unknown("the answer was lost")
            case Fault.DELAY:
                self.delayed.append(commit)
                raise Unknown("the answer was lost (and the commit is late)")
            case Fault.CONFLICT:
                raise Conflict("planned")
            case Fault.UNAVAILABLE:
                raise Unavailable("planned")

    def deliver(self) -> bool:
        """Apply the oldest delayed commit now, if its checks still hold; whether it was applied."""
        return self._quietly(self.delayed.popleft())

    def _apply(self, commit: Commit) -> int | None:
        revision = self.inner.commit(self._kept(commit), commit.puts, commit.deletes)
        self.applied()
        return revision

    def _quietly(self, commit: Commit) -> bool:
        try:
            self._apply(commit)
        except (Conflict, SessionLost):
            return False
        return True

    def _kept(self, commit: Commit) -> tuple[Check, ...]:
        """Without the ignored checks; a delete needs one, so there it names the present revision."""
        if not any(self.ignore(check.key) for check in commit.checks):
            return commit.checks
        present = self.inner.read([check.key for check in commit.checks])
        return tuple(
            Check(check.key, present[check.key].mod) if self.ignore(check.key) else check for check in commit.checks
        )

    def _reachable(self) -> None:
        if self.away:
            raise Unavailable("127.0.0.1:2379 does not answer")

    def watch(self, key: str, after: int, timeout: timedelta) -> bool:
        self._reachable()
        if self.clock is None:
            return self.inner.watch(key, after, timeout)
        end = self.clock.boottime() + timeout.total_seconds()
        while self.inner.read([key])[key].mod == after:
            if self.clock.boottime() >= end:
                return False
            self.clock.step(end)
            self._reachable()
        return True

    def probe(self, key: str) -> None:
        self._reachable()
        if self.forbid is not None:
            raise self.forbid
        self.inner.probe(key)

    def session(self, ttl: timedelta) -> Session:
        self._reachable()
        return self.inner.session(ttl)

    def prepare(self) -> None:
        self.inner.prepare()

    def facts(self) -> Facts:
        return self.inner.facts()

    def close(self) -> None:
        self.inner.close()
