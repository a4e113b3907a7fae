"""What happens to the fleet besides reboots in turn: updates arrive, an agent dies, a host comes back sick, the store is away.

Each act begins when the one before it is over, never at a time of day: on a slow machine the story takes longer, and stays
the same story.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from locksmith.demo.away import Outage
from locksmith.demo.hosts import Host
from locksmith.demo.plan import AWAY_TIME, SICK_TIME, TARGET, Plan, Settings

POKE_EVERY = 1.0
"""Seconds of real time between two looks that somebody asks an agent for."""


@dataclass(slots=True)
class Sickness:
    """One host that came back sick. Times are seconds since the start; `waiting` stood in line while it was repaired."""

    host: Host
    failed_at: float | None = None
    repaired_at: float | None = None
    recovered_at: float | None = None
    waiting: int = 0
    poke_at: float = 0.0


class Story:
    """Goes on at each `tick`; `tell` hears what happens. `now` is in seconds since the start."""

    def __init__(
        self, plan: Plan, settings: Settings, hosts: Mapping[str, Host], outage: Outage, tell: Callable[[str], None]
    ) -> None:
        """Nothing has happened."""
        self._settings = settings
        self._hosts = hosts
        self._outage = outage
        self._tell = tell
        self._first = list(plan.first_wave)
        self._second = list(plan.second_wave)
        self._second_from: float | None = None
        self._died = False
        self._poke_at = 0.0
        self.victim = next(host for host in hosts.values() if host.fate.dies_armed)
        self.sick = [Sickness(host) for host in hosts.values() if host.fate.comes_back_sick]
        self.away_from: float | None = None
        self.away_until: float | None = None
        self.met_absence: tuple[str, ...] = ()
        """The hosts that were down while the store was away: they booted without it."""

    @property
    def hosts(self) -> Sequence[Host]:
        """All of them."""
        return tuple(self._hosts.values())

    @property
    def over(self) -> bool:
        """Whether everything has happened, and everybody is well."""
        return not self.missing()

    def missing(self) -> list[str]:
        """What has not happened yet."""
        left = [host for host in self.hosts if not host.done]
        rows = [host.row() for host in left]
        found = [f"{row.host} ({row.version}) is not done: {row.state}: {row.why}" for row in rows]
        found += [f"{case.host.name} has not recovered" for case in self.sick if case.recovered_at is None]
        if self.away_until is None:
            found.append("the store has not been away and back")
        return found

    def begin(self) -> None:
        """Switch the machines on."""
        settings = self._settings
        self._tell(f"{settings.nodes} simulated hosts, the real agent; at most {settings.slots} may be down at once")
        for host in self.hosts:
            host.start()
        self._tell(f"updates to {TARGET} arrive on the first half")

    def tick(self, now: float) -> None:
        """Let happen what is due."""
        self._arrivals(now)
        self._death(now)
        for case in self.sick:
            self._sickness(case, now)
        self._absence(now)

    def _arrivals(self, now: float) -> None:
        for wave, start in ((self._first, 0.0), (self._second, self._second_from)):
            while wave and start is not None and now >= start + self._settings.real(wave[0][0]):
                _, name = wave.pop(0)
                self._hosts[name].stage()

    def _death(self, now: float) -> None:
        victim = self.victim
        if not self._died and victim.agent_dead:
            self._died = True
            self._tell(f"{victim.name}: the agent is killed, armed, just before its reboot command")
        elif self._second_from is None and victim.done:
            self._second_from = now
            self._tell(f"{victim.name}: its new agent kept the slot, rebooted, and gave it back")
            self._tell("updates arrive on the other half")

    def _sickness(self, case: Sickness, now: float) -> None:
        host = case.host
        if case.failed_at is None:
            if host.state == "failed":
                case.failed_at = now
                self._tell(f"{host.name}: came back sick and keeps its slot: the group is halted")
        elif case.repaired_at is None:
            if now >= case.failed_at + self._settings.real(SICK_TIME):
                case.repaired_at = now
                case.waiting = sum(other.state == "queued" for other in self.hosts)
                self._tell(f"{host.name}: an operator mends it")
                host.repair()
        elif case.recovered_at is None:
            if host.done:
                case.recovered_at = now
                self._tell(f"{host.name}: well again, slot given back: the line moves on")
            elif host.state == "failed" and now >= case.poke_at:
                # A failed agent asks for health every 30 s; who has mended something does not wait for that.
                case.poke_at = now + POKE_EVERY
                host.poke()

    def _absence(self, now: float) -> None:
        if self.away_from is None:
            settled = self._second_from is not None and all(case.recovered_at is not None for case in self.sick)
            if settled and (any(host.down for host in self.hosts) or all(host.done for host in self.hosts)):
                self.away_from = now
                self._outage.begin()
                self.met_absence = tuple(host.name for host in self.hosts if host.down)
                self._tell("the store goes away: nobody can arm")
        elif self.away_until is None:
            down = [host.name for host in self.hosts if host.down]
            self.met_absence = tuple(dict.fromkeys((*self.met_absence, *down)))
            if now >= self.away_from + self._settings.real(AWAY_TIME) and not down:
                self.away_until = now
                self._outage.end()
                self._tell("the store is back")
        elif now >= self._poke_at:
            # Who asked in vain while it was away would spread the next question over a minute; the demo shortens that.
            self._poke_at = now + POKE_EVERY
            for host in self.hosts:
                if host.kind == "store":
                    host.poke()
