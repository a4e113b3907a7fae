"""Simulated hosts: machines that go down and boot, each around a real agent with a real journal.

The one idea a reader would miss: a reboot is a SIGKILL of the agent and, later, another agent over the same journal with
another boot id, so whatever the agent does right it does from what it wrote down.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from locksmith.agent.body import Body
from locksmith.agent.journal import Journal
from locksmith.agent.loop import Loop
from locksmith.agent.snapshot import Snapshot
from locksmith.core import events as ev
from locksmith.core import keys
from locksmith.core.facts import Policy
from locksmith.core.ledger import Home
from locksmith.core.states import Queued
from locksmith.demo.equipment import Release, Service
from locksmith.demo.judge import Judge
from locksmith.demo.plan import DEAD_TIME, DEADLINE, DWELL, GROUP, TARGET, Fate, Settings
from locksmith.hooks import Hooks
from locksmith.rebooters import Accepted, Idle
from locksmith.rebooters.simulated import SimulatedRebooter
from locksmith.semaphore.actor import Actor


@dataclass(frozen=True, slots=True)
class Row:
    """What is shown of a host."""

    host: str
    version: str
    state: str
    why: str


@dataclass(frozen=True, slots=True)
class Site:
    """What the hosts have in common. `moved` hears of each new state, from any thread; `now` is in seconds."""

    settings: Settings
    folder: Path
    hooks: Hooks
    judge: Judge
    store_url: str
    prefix: str
    moved: Callable[[Row], None]
    now: Callable[[], float]


class Host:
    """One machine. Its rebooter is called by the agent's worker; everything else by the thread that runs the fleet."""

    def __init__(self, name: str, fate: Fate, site: Site, actor: Actor) -> None:
        """Switched off; see `start`. The actor's store is this host's own way to the store."""
        self.name = name
        self.fate = fate
        self.actor = actor
        self.boots = 0
        self.tokens: list[str] = []
        """The slot's token at each time the machine was told to reboot."""
        self.release = Release()
        self.service = Service()
        self._site = site
        self._boot_at: float | None = None
        self._start_at: float | None = None
        self._loop: Loop | None = None
        self._thread: threading.Thread | None = None
        self._shown = ""

    # ---------------------------------------------------------------- what the story does to it

    def start(self) -> None:
        """Start the agent, over the journal of the last one."""
        folder = self._site.folder / self.name
        folder.mkdir(exist_ok=True)
        journal = Journal(folder / "journal.json")
        self._loop = Loop(self._body(journal), journal.load(), self._listen)
        self._thread = threading.Thread(target=self._loop.run, daemon=True, name=f"agent {self.name}")
        self._thread.start()

    def stage(self) -> None:
        """The update arrives, and the package system says so to the agent."""
        self.release.staged = TARGET
        if self._loop is not None:
            self._loop.post(ev.ProvidersAnswered((self.release.ask(),)))

    def poke(self) -> None:
        """What `lockctl` does on the agent's machine: look now."""
        if self._loop is not None:
            self._loop.post(ev.Poke())

    def repair(self) -> None:
        """Somebody mends the service."""
        self.service.well = True
        self._site.judge.back(self.name)
        self.poke()

    def tick(self) -> None:
        """Let the time pass that a boot, or a dead agent's next start, takes."""
        if self._thread is not None and self._thread.is_alive():
            return
        now = self._site.now()
        if self._boot_at is not None and now >= self._boot_at:
            self._boot_at = None
            self._boot()
        elif self._start_at is not None and now >= self._start_at:
            self._start_at = None
            self.start()

    def stop(self) -> None:
        """Ask the agent to end in an orderly way: out of the queue, or undo and give the slot back."""
        self._boot_at = self._start_at = None
        if self._loop is not None:
            self._loop.post(ev.StopAsked(going_down=False))

    def end(self, patience: float) -> None:
        """Wait so many seconds for the agent to end, then end it anyway."""
        if self._thread is not None:
            self._thread.join(patience)
        if self._loop is not None:
            self._loop.kill()

    # ---------------------------------------------------------------- what can be seen of it

    @property
    def down(self) -> bool:
        """Whether the machine is off."""
        return self._boot_at is not None

    @property
    def agent_dead(self) -> bool:
        """Whether the machine is up without an agent."""
        return self._start_at is not None

    @property
    def state(self) -> str:
        """The agent's state, or what has become of it."""
        return self.row().state

    @property
    def kind(self) -> str | None:
        """The closed word of what the agent waits for."""
        return self._loop.published.told.kind if self._loop is not None else None

    @property
    def done(self) -> bool:
        """Whether it runs the new version, is well, and owes nothing."""
        return self.release.running == TARGET and self.service.well and self.state == "steady"

    @property
    def crash(self) -> BaseException | None:
        """What broke the agent."""
        return self._loop.crash if self._loop is not None else None

    def row(self) -> Row:
        """How it is shown."""
        release = self.release
        version = release.running if release.staged is None else f"{release.running} > {release.staged}"
        if self.down:
            return Row(self.name, version, "down", f"the machine reboots into {TARGET}")
        if self.agent_dead:
            return Row(self.name, version, "killed", f"no agent; slot {self.tokens[-1]} stays taken in the store")
        if self._loop is None:
            return Row(self.name, version, "off", "")
        return _told(self.name, version, self._loop.published)

    # ---------------------------------------------------------------- the machine

    def _listen(self, snapshot: Snapshot, changed: bool) -> None:
        """In the loop's thread. A killed agent's last word is its own, not the machine's."""
        del changed
        if snapshot.told.state != self._shown and not self.down and not self.agent_dead:
            self._shown = snapshot.told.state
            self._site.moved(self.row())

    def _reboot(self, reason: str, environment: Mapping[str, str]) -> Accepted:
        """In the worker's thread: the agent ends here, either way, as by a SIGKILL."""
        del reason
        site, loop = self._site, self._loop
        if loop is not None:
            loop.kill()
        self.tokens.append(environment["LOCKSMITH_TOKEN"])
        if self.fate.dies_armed and len(self.tokens) == 1:
            self._start_at = site.now() + site.settings.real(DEAD_TIME)
        else:
            site.judge.out(self.name)
            self._boot_at = site.now() + site.settings.real(self.fate.boot_time)
        self._shown = self.state
        site.moved(self.row())
        return Accepted()

    def _boot(self) -> None:
        self.boots += 1
        if self.release.staged is not None:
            self.release.running, self.release.staged = self.release.staged, None
        self.service.well = not (self.fate.comes_back_sick and self.boots == 1)
        if self.service.well:
            self._site.judge.back(self.name)
        self.start()

    def _body(self, journal: Journal) -> Body:
        return Body(
            actor=self.actor,
            policy=_policy(self.name, self._site),
            boot=f"{self.name}-boot-{self.boots + 1}/0",
            fingerprint=f"board of {self.name}",
            journal=journal,
            providers=(self.release,),
            gates=(),
            health=(self.service,),
            hooks=self._site.hooks,
            rebooter=SimulatedRebooter(self._reboot, Idle),
            labels={},
            os=self.release.running,
            require_time_sync=False,
        )


def _told(host: str, version: str, published: Snapshot) -> Row:
    state = published.agent.state
    # The column's heading and the state say already that it waits for a slot.
    why = state.reason if isinstance(state, Queued) and state.leaving is None else published.told.text
    return Row(host, version, published.told.state, why)


def _policy(name: str, site: Site) -> Policy:
    def real(seconds: float) -> timedelta:
        return timedelta(seconds=max(0.02, site.settings.real(seconds)))

    generous = timedelta(minutes=5)
    return Policy(
        group=GROUP,
        limits=(keys.group_limit(GROUP),),
        home=Home(store=site.store_url, prefix=site.prefix, node=name),
        queue_poll=timedelta(seconds=10),
        min_uptime=timedelta(0),
        min_interval=timedelta(0),
        jitter=real(0.1),
        dwell=real(DWELL),
        deadline=real(DEADLINE),
        health_interval=real(0.2),
        reboot_timeout=generous,
        cooldown=real(1),
        cooldown_cap=real(5),
        hook_timeout=generous,
    )
