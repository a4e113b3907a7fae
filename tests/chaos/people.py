"""What operators do meanwhile, with lockctl: pause, resize, take by force, hold by hand."""

import contextlib
import json
import random
import threading
import time

from tests.chaos.machines import Machines
from tests.chaos.plan import Fault
from tests.integration.fleet.fleet import Fleet
from tests.integration.fleet.host import lockctl
from tests.integration.fleet.stores import phases
from tests.servers.process import ServerFailed

_TRIES = 40
_SETTLE_SECONDS, _PATIENT_SECONDS = 120, 3


class People:
    """An operator. `sizes` are those that the group gets; the last call of `tidy` gives it `slots` again."""

    def __init__(self, fleet: Fleet, machines: Machines, slots: int) -> None:
        """`slots` is the most that the group ever gets."""
        self.fleet, self.machines, self.slots = fleet, machines, slots
        self._by_hand: set[str] = set()
        self._last = threading.local()
        self.fleet_pause = threading.Lock()
        """Who has it decides alone about the pause of the whole fleet."""

    def kinds(self) -> dict[str, Fault]:
        """By name."""
        return {
            "paused and resumed": self._pause,
            "slots changed": self._resize,
            "slot taken by force": self._force,
            "held by hand": self._hold,
        }

    def tidy(self) -> None:
        """All back to normal."""
        self._insist("resume", "--fleet")
        self._insist("resume")
        self._unlock_forgotten()
        for host in self.fleet.hosts:
            if host.name in self._by_hand:
                self._insist("unlock", host.name)
            if f"hold/{host.name}" in self.fleet.raw.snapshot():
                self._insist("resume", "--node", host.name)
        self._insist("set-max", str(self.slots))

    def restored(self, operator: list[str]) -> None:
        """Say that the store was put back, before the agents see it; `operator` leads to it."""
        for _ in range(5):
            done = lockctl(*operator, "restored", "--reason", "chaos", "--timeout", "30s")
            if not done.returncode:
                return
        raise AssertionError(f"lockctl restored: {done.returncode}\n{done.stdout}{done.stderr}")

    def resume_after_restore(self) -> str:
        """When everybody has settled. Whom a hold by hand of the backup still has is let go, too."""
        end, patient = time.monotonic() + _SETTLE_SECONDS, time.monotonic() + _PATIENT_SECONDS
        while True:
            for host in self.fleet.hosts:
                host.poke()  # who waits looks once a minute by himself
            shown = lockctl(*self.fleet.operator, "restored", "--show", "--json", "--timeout", "20s")
            if not shown.returncode:
                found = json.loads(shown.stdout)
                if not found["missing"] and not found["stuck"]:
                    break
                if time.monotonic() > patient:
                    self._start_anew({each["node"] for each in found["missing"]})
                    patient = end
                if time.monotonic() > end:
                    raise AssertionError(f"not settled after a restore: {found}")
            time.sleep(0.3)
        self._unlock_forgotten()
        self._insist("resume", "--fleet")
        return f"{found['settled']} settled"

    def _start_anew(self, nodes: set[str]) -> None:
        """Agents that have not looked yet; by themselves it may take them the minute between two looks, and more."""
        for host in self.fleet.hosts:
            if host.name in nodes and host.wanted:
                host.kill()
                host.start_again()

    def _unlock_forgotten(self) -> None:
        for name, phase in phases(self.fleet.raw.snapshot()).items():
            if phase == "maintenance" and name not in self._by_hand:
                self._insist("unlock", name)

    def _pause(self, draw: random.Random) -> str:
        node = draw.choice(self.fleet.hosts).name
        where: list[str] = draw.choice([["--fleet"], [], ["--node", node]])
        with self.fleet_pause if "--fleet" in where else contextlib.nullcontext():
            self._try("pause", *where, "--reason", "chaos")
            time.sleep(draw.uniform(0.5, 1.5))
            self._insist("resume", *where)
        return " ".join(where) or "the group"

    def _resize(self, draw: random.Random) -> str:
        slots = draw.randrange(2, self.slots + 1)
        self._try("set-max", str(slots))
        time.sleep(draw.uniform(1, 4))
        self._insist("set-max", str(self.slots))
        return f"{slots} and back to {self.slots}"

    def _force(self, draw: random.Random) -> str | None:
        """The machine loses its power first, so that it really is off."""
        holders = phases(self.fleet.raw.snapshot())
        hosts = [host for host in self.machines.up(self.machines.running()) if host.name in holders]
        with self.machines.borrowed(draw, hosts) as host:
            if host is None:
                return None
            self.machines.power_off(host)
            try:
                phase = phases(self.fleet.raw.snapshot()).get(host.name)
                if phase is None or self.fleet.is_down(host):
                    raise ServerFailed(f"{host.name} had given its slot back, or gone down, before its power was cut")
                self._insist("unlock", host.name, "--force", "--force-armed", "--reason", "it is off")
            finally:
                self.fleet.up(host)
            return f"{host.name} {phase}"

    def _hold(self, draw: random.Random) -> str | None:
        holders = phases(self.fleet.raw.snapshot())
        with self.machines.borrowed(draw, [host for host in self.fleet.hosts if host.name not in holders]) as host:
            if host is None:
                return None
            self._by_hand.add(host.name)
            done = self._run("lock", host.name, "--wait", "--timeout", "30s", "--reason", "chaos")
            text = self._last.text
            time.sleep(draw.uniform(0.2, 1.5))
            self._insist("unlock", host.name)
            self._by_hand.discard(host.name)
            if done:
                raise ServerFailed(f"{host.name} could not be held: exit {done} {text}")
            return host.name

    def _run(self, *words: str) -> int:
        group = [] if {"--fleet", "--node"} & {*words} else ["--group", self.fleet.ways.group]
        patience = [] if "--timeout" in words else ["--timeout", "20s"]
        done = lockctl(*self.fleet.operator, *group, *words, *patience)
        if done.returncode not in (0, 3, 4, 5, 6):
            raise AssertionError(f"lockctl {' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}")
        self._last.text = done.stderr.strip() or done.stdout.strip()
        return done.returncode

    def _try(self, *words: str) -> None:
        code = self._run(*words)
        if code:
            raise ServerFailed(f"lockctl {' '.join(words)}: exit {code} {self._last.text}")

    def _insist(self, *words: str) -> None:
        for _ in range(_TRIES):
            code = self._run(*words)
            if not code:
                return
            if "holds no slot" in self._last.text:  # a backup was put back that does not know it
                break
            time.sleep(0.3)
        raise ServerFailed(f"lockctl {' '.join(words)}: exit {code} again and again: {self._last.text}")
