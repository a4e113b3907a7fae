"""What operators do in a simulated fleet, each act with a store of its own to go wrong in."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Any

from locksmith.errors import LocksmithError, Refused
from locksmith.semaphore import by_hand, operating, repair, taking
from locksmith.semaphore.actor import Actor
from tests.fakes.clock import VirtualClock
from tests.simulation.judge import Broken, Judge
from tests.simulation.machine import Host
from tests.simulation.net import TroubledStore
from tests.simulation.plan import Trouble

REASON = "simulated"


class PatientClock:
    """An operator's clock: while he waits the others act."""

    def __init__(self, shared: VirtualClock, store: TroubledStore) -> None:
        self.shared, self.store = shared, store
        self.wall, self.boottime, self.synchronised = shared.wall, shared.boottime, shared.synchronised

    def sleep(self, seconds: float) -> None:
        end = self.shared.now + seconds
        while self.shared.now < end:
            before = self.shared.now
            if seconds > 1:
                self.store.races(5)
            if self.shared.now == before:
                self.shared.advance(min(1.0, end - before))


@dataclass
class Operator:
    """One who does what a trouble says; what he is refused he does not ask for again."""

    store: TroubledStore
    clock: VirtualClock
    judge: Judge
    random: Random
    acts: int = 0

    def __post_init__(self) -> None:
        self.actor = Actor(self.store, PatientClock(self.clock, self.store), self.random, "op@sim", "sim")

    def quietly(self, act: Callable[[], object]) -> LocksmithError | None:
        """Do it; what becomes of it is the store's."""
        try:
            act()
        except LocksmithError as error:
            return error
        return None

    def act(self, trouble: Trouble, host: Host, limits: dict[str, int]) -> None:
        """Carry it out on this host or its group."""
        self.acts += 1
        actor, name, group = self.actor, host.name, host.group
        until = self.clock.wall() + timedelta(seconds=trouble.amount) if trouble.choice % 3 else None
        acts: dict[str, Callable[[], object]] = {
            "set_max": lambda: operating.set_max(actor, group, 1 + trouble.choice % (limits[f"group/{group}"] + 1)),
            "pause_fleet": lambda: operating.pause_fleet(actor, REASON, until),
            "resume_fleet": lambda: operating.resume_fleet(actor),
            "pause_group": lambda: operating.pause_group(actor, group, REASON, until),
            "resume_group": lambda: operating.resume_group(actor, group),
            "pause_node": lambda: operating.pause_node(actor, name, REASON, until),
            "resume_node": lambda: operating.resume_node(actor, name),
            "acknowledge": lambda: operating.acknowledge(actor, group, REASON),
            "request": lambda: operating.request_reboot(actor, name, REASON, ("gate",) if trouble.choice % 2 else ()),
            "cancel_request": lambda: operating.cancel_request(actor, name),
            "force_unlock": lambda: by_hand.force_unlock(actor, name, REASON, armed_too=False),
            "unlock": lambda: self._unlock(host, trouble),
            "force_dead": lambda: self._force(host, trouble),
            "lock": lambda: self._lock(host, trouble, wait=False),
            "lock_wait": lambda: self._lock(host, trouble, wait=True),
            "fsck": lambda: self._fsck(trouble),
        }
        self.quietly(acts[trouble.kind])

    def _force(self, host: Host, trouble: Trouble) -> None:
        """The machine is known to be off, and stays so for a while."""
        host.power_off(60 + trouble.amount)
        self.judge.forcing.add(host.name)
        by_hand.force_unlock(self.actor, host.name, REASON, armed_too=True)

    def _unlock(self, host: Host, trouble: Trouble) -> None:
        patience = timedelta(seconds=min(trouble.amount, 40))
        taking.unlock(
            self.actor, host.name, REASON, strict=True, patience=patience, progress=_silent, stop=threading.Event()
        )

    def _lock(self, host: Host, trouble: Trouble, *, wait: bool) -> None:
        reason = f"hand {self.acts}"
        undisturbed = not (self.store.commit_troubles or self.store.read_troubles)
        what: dict[str, Any] = {"wait": wait, "patience": timedelta(seconds=min(trouble.amount, 40) if wait else 1)}
        try:
            by_hand.lock(
                self.actor, host.name, host.name, host.group, reason, **what, progress=_silent, stop=threading.Event()
            )
        except Refused:
            if undisturbed and self.clock.now >= self.store.away_until:
                self.judge.over.add(reason)
                left = [key for key, one in self.judge.documents.items() if one.get("reason") == reason]
                if [key for key in left if self.store.inner.read([key])[key]]:
                    raise Broken("ghost", f"lock was refused and leaves {left}") from None
            raise

    def _fsck(self, trouble: Trouble) -> None:
        self.store.read_troubles.extend([("", 0.0)] * (trouble.choice % 20))
        self.store.read_troubles.append(("read_race", 20.0))
        repair.fsck(self.actor, repair=True)
        self.store.read_troubles.clear()


def _silent(_: object) -> None:
    return
