"""A store that is restored from a backup, as the documents say how; and a guard that somebody deleted.

The one idea a reader would miss: the backup is the judge's as well as the store's. What was granted since is known by its nonce
only, and who holds it must have put it back before the operator lets the fleet go on.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from locksmith.core import keys
from locksmith.core.ledger import Stage
from locksmith.semaphore import operating, restoring
from locksmith.stores.memory import MemoryStore
from tests.simulation.judge import Broken, Judge, node_of

if TYPE_CHECKING:
    from tests.simulation.machine import Host
    from tests.simulation.operators import Operator

OVER = (Stage.CLAIMING, Stage.RELEASING)
COPIED = ("documents", "mods", "created", "born", "granted_in")


class Backups:
    """The backup of a fleet's store. `settling`: an operator has said that it was restored, and waits for everybody."""

    def __init__(self, memory: MemoryStore, judge: Judge) -> None:
        self.memory, self.judge = memory, judge
        self.settling = False
        self.epoch = 0
        self._owed: list[tuple[Host, str]] = []
        self._done: set[str] = set()
        self._taken: tuple[dict[str, Any], dict[str, dict[str, Any]]] | None = None

    def take(self) -> None:
        """A backup of what stands now, without what is ephemeral."""
        items = {key: item for key, item in self.memory._state.items.items() if item.session is None}
        tables = {
            name: {key: value for key, value in getattr(self.judge, name).items() if not key.startswith("q/")}
            for name in COPIED
        }
        self._taken = items, tables

    def restore(self, operator: "Operator", hosts: Sequence["Host"], back_at: float) -> None:
        """Put it back; the operator says so before any agent can read."""
        if self._taken is None or self.judge.damaged:
            return
        for host in hosts:
            host.store.lose_all_late()
            host.store.away_until = back_at
        for key, holder in self.judge.documents.items():
            if key.startswith("own/") and holder["phase"] == "armed":
                self.judge.excused.add(holder["attempt"])
                self.judge.hosts[node_of(key)].excused = True
        before = self.judge.documents
        self._put()
        self._owed = [(host, nonce) for host in hosts if (nonce := self._unknown(host, before)) is not None]
        for host in hosts:
            host.bereft = host.forgotten
        self.judge.counts["restores"] += 1
        operator.store.lose_all_late()
        operator.store.calm()
        self.epoch = restoring.restored(operator.actor, "simulated").epoch
        self.settling = True

    def _unknown(self, host: "Host", before: dict[str, Any]) -> str | None:
        """The nonce of its slot, of which the backup says nothing."""
        key = keys.own(host.name)
        owed = host.journal.load().owed
        if key not in before or key in self.judge.documents or owed is None or owed.nonce != before[key]["nonce"]:
            return None
        return None if owed.token is None or owed.stage in OVER or owed.slotless or owed.given_back else owed.nonce

    def _put(self) -> None:
        assert self._taken is not None
        items, tables = self._taken
        state = self.memory._state
        with state.changed:
            for session in list(state.expiries):
                state.drop(session)
            state.items, state.order = dict(items), sorted(items)
            state.revision += 1000
        for name, table in tables.items():
            setattr(self.judge, name, dict(table))

    def waiting(self, hosts: Sequence["Host"]) -> list[str]:
        """Who has not yet run START in the new epoch, or waits for its slot."""
        return [host.name for host in hosts if not self._settled(host)]

    def _settled(self, host: "Host") -> bool:
        agent = host.agent
        if agent is None or agent.ledger.home is None or agent.ledger.home.epoch != self.epoch:
            return False
        owed = agent.owed
        return owed is None or owed.token is None or agent.slot is not None or owed.epoch in (0, self.epoch)

    def resume(self, operator: "Operator", hosts: Sequence["Host"]) -> None:
        """When everybody has settled, the operator lets the fleet go on."""
        if not self.settling:
            return
        for host, nonce in self._owed:
            # Done with it before the store was back; what becomes of the machine later says nothing about that.
            owed = host.agent.owed if host.agent is not None else None
            over = host.agent is not None and (owed is None or owed.nonce != nonce)
            if over and host.may_give_back(self.judge.known[nonce]):
                self._done.add(nonce)
        if self.waiting(hosts):
            return
        for host, nonce in self._owed:
            if nonce in self.judge.put_back or host.bereft or nonce in self._done:
                continue
            raise Broken("restored", f"{host.name} held a slot for {nonce}, and nobody put it back")
        self.settling = False
        operator.store.calm()
        operating.resume_fleet(operator.actor)

    def lose_guard(self, choice: int) -> None:
        """Somebody deletes one by hand. (No restore after that: the backup would not say what the damage was.)"""
        guards = [key for key in self.judge.documents if key.startswith("lim/")]
        key = guards[choice % len(guards)]
        self.memory._state.remove(key)
        self.judge._drop(key)
        self.judge.lost_guards.add(key[4:])
        self.judge.once_lost.add(key[4:])
        self.judge.damaged = True
