"""The store as one party sees it: commits that are lost, late or overtaken, a process that dies at any commit.

The one idea a reader would miss: a party's read and the commit that it decides on are one call of our scheduler, so nothing
could come in between by itself. A race lets the others act just there: after the read was answered, before the commit
arrives, or before its answer does.
"""

from collections import deque
from collections.abc import Callable
from datetime import timedelta
from typing import Protocol

from locksmith.errors import Conflict, Denied, Rejected, SessionLost, Unavailable, Unknown
from locksmith.stores import Commit, Session, Snapshot, Store
from tests.fakes.clock import VirtualClock
from tests.fakes.faulty import FaultyStore

TRIP = 0.0005
"""Seconds that a read takes: nobody can ask for ever without time passing."""


class Died(BaseException):
    """The process is killed in the middle of a call; nothing in it may catch this. `away`: it runs again so soon."""

    def __init__(self, away: float = 20.0) -> None:
        super().__init__()
        self.away = away


class Witness(Protocol):
    """Who looks at each commit."""

    def sent(self, party: str, commit: Commit) -> None:
        """A party sends it now, whatever becomes of it."""

    def applied(self, party: str, commit: Commit, revision: int | None) -> None:
        """It stands in the store."""


class TroubledStore(FaultyStore):
    """The store of one party; late commits arrive by the clock, whoever has died since.

    `races` lets the others act, `operate` an operator.
    """

    def __init__(self, party: str, inner: Store, clock: VirtualClock, witness: Witness) -> None:
        super().__init__(inner, clock)
        self.party, self.witness = party, witness
        self.races: Callable[[int], None] = lambda _: None
        self.operate: Callable[[], None] = lambda: None
        """An operator does something."""
        self.commit_troubles: deque[tuple[str, float]] = deque()
        self.read_troubles: deque[tuple[str, float]] = deque()
        self.silent_until = self.away_until = 0.0
        self.late = 0
        """Commits that are still on their way."""
        self.claims_die: deque[float] = deque()
        """The next claims are kept back while their process dies, and arrive so many seconds after the next START."""
        self.claim_races = 0
        """Before so many claims of it arrive the others go on for long."""
        self._kept_back: list[tuple[Commit, float]] = []
        self._era = 0

    def read(self, keys=(), prefixes=()):
        self._reachable()
        if self.clock.boottime() < self.silent_until:
            return Snapshot({})
        self.clock.advance(TRIP)
        kind, amount = self.read_troubles.popleft() if self.read_troubles else ("", 0.0)
        if kind == "unreadable":
            raise Unavailable("the answer to a read was lost")
        snapshot = self.inner.read(keys, prefixes)
        if kind == "read_race":
            self.races(1 + int(amount))
        return snapshot

    def commit(self, checks, puts=(), deletes=()):
        self._reachable()
        if self.clock.boottime() < self.silent_until:
            raise Denied("no right to write")
        commit = Commit(tuple(checks), tuple(puts), tuple(deletes))
        self.witness.sent(self.party, commit)
        if self.claims_die and _is_claim(commit):
            self._kept_back.append((commit, self.claims_die.popleft()))
            raise Died(away=2.0)
        if self.claim_races and _is_claim(commit):
            self.claim_races -= 1
            self.races(40)
        kind, amount = self.commit_troubles.popleft() if self.commit_troubles else ("", 0.0)
        return self._fate(commit, kind, amount)

    def _fate(self, commit: Commit, kind: str, amount: float) -> int | None:
        match kind:
            case "drop":
                raise Unknown("the answer was lost (and the commit too)")
            case "lose":
                self._quietly(commit)
                raise Unknown("the answer was lost")
            case "delay":
                self._send_late(commit, amount)
                raise Unknown("the answer was lost (and the commit is late)")
            case "conflict":
                raise Conflict("a conflict")
            case "refuse":
                raise Unavailable("connection refused")
            case "race":
                self.races(1 + int(amount))
                return self._apply(commit)
            case "operator_first":
                self.operate()
                return self._apply(commit)
            case "race_after":
                try:
                    return self._apply(commit)
                finally:
                    self.races(1 + int(amount))
            case "die_before":
                if amount < 20:
                    self._send_late(commit, amount)
                raise Died
            case "die_after":
                self._quietly(commit)
                raise Died
            case "die_for_good":
                self._quietly(commit)
                self.away_until = float("inf")  # it cannot even take back what it has done
                raise Died
            case _:
                return self._apply(commit)

    def _send_late(self, commit: Commit, seconds: float) -> None:
        self.late += 1
        era = self._era

        def arrive() -> None:
            if self._era == era:
                self.late -= 1
                self._quietly(commit)

        self.clock.after(seconds, arrive)

    def started(self) -> None:
        """START has looked at the store: what was kept back until then arrives soon."""
        for commit, seconds in self._kept_back:
            self._send_late(commit, seconds)
        self._kept_back.clear()

    def calm(self) -> None:
        """Nothing goes wrong from now on, but for what is late."""
        self.commit_troubles.clear()
        self.read_troubles.clear()
        self.claims_die.clear()
        self.claim_races = 0
        self.away_until = self.silent_until = 0.0

    def lose_all_late(self) -> None:
        """The store's servers are others now: what was on its way to the old ones never arrives."""
        self._era += 1
        self.late = 0
        self._kept_back.clear()

    def _apply(self, commit: Commit) -> int | None:
        revision = self.inner.commit(commit.checks, commit.puts, commit.deletes)
        self.witness.applied(self.party, commit, revision)
        return revision

    def _quietly(self, commit: Commit) -> bool:
        try:
            self._apply(commit)
        except (Conflict, SessionLost, Rejected):
            return False
        return True

    def _reachable(self) -> None:
        if self.clock.boottime() < self.away_until:
            raise Unavailable("127.0.0.1:2379 does not answer")

    def probe(self, key: str) -> None:
        self._reachable()
        if self.clock.boottime() < self.silent_until:
            raise Denied(f"{key}: no right to read")

    def watch(self, key: str, after: int, timeout: timedelta) -> bool:
        """Only operators wait like this: meanwhile the others act."""
        end = self.clock.boottime() + timeout.total_seconds()
        while self.inner.read([key])[key].mod == after:
            before = self.clock.boottime()
            if before >= end:
                return False
            self.races(3)
            if self.clock.boottime() == before:
                self.clock.advance(min(1.0, end - before))
            self._reachable()
        return True

    def session(self, ttl: timedelta) -> Session:
        self._reachable()
        return _Kept(self.inner.session(ttl), self._reachable)


def _is_claim(commit: Commit) -> bool:
    """A new holder under the settings; one that is put back after a restore does not check them."""
    checks = {check.key: check.mod for check in commit.checks}
    return "cfg" in checks and any(put.key.startswith("own/") and checks.get(put.key) == 0 for put in commit.puts)


class _Kept:
    """A session that is only kept while the store can be reached."""

    def __init__(self, inner: Session, reach: Callable[[], None]) -> None:
        self.inner, self._reach = inner, reach
        self.id, self.ttl = inner.id, inner.ttl

    def keepalive(self) -> None:
        self._reach()
        self.inner.keepalive()

    def end(self) -> None:
        self._reach()
        self.inner.end()
