"""The fleet: hosts, the supervisor that plays their hardware, and the ledger that the first judge reads.

The supervisor is a thread of the test process. It follows the ledger: on `<host> down` it lets the machine die (after
`halt_seconds`, in which the agent still runs), and `boot_seconds` later writes `<host> up` and starts the agent. Hosts that
ended by themselves are kept as `crashes`.
"""

import contextlib
import fcntl
import os
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.integration.fleet.host import Host, Ways, lockctl
from tests.integration.fleet.stores import Raw
from tests.servers.process import HERE, DataFolder, Place

_POLL = 0.05
_REPORTED = 4
"""Hosts whose logs are printed on a failure, at most."""

PATIENT = frozenset({"why", "status", "nodes", "groups", "fsck", "audit", "history", "set-max", "pause", "resume"})
"""Commands that wait for nobody but the store."""


@dataclass(frozen=True, slots=True)
class Hardware:
    """How the machines behave. `clears`: a reboot applies the update. `auto`: the supervisor boots who went down."""

    boot_seconds: float = 1.0
    halt_seconds: float = 0.0
    clears: bool = True
    auto: bool = True


@dataclass(slots=True)
class _Due:
    """What the supervisor has still to do."""

    deaths: dict[str, float] = field(default_factory=dict)
    births: dict[str, float] = field(default_factory=dict)


class Fleet:
    """A context manager: at its end every process of every host is gone, and on a failure their logs are printed."""

    def __init__(
        self,
        raw: Raw,
        count: int,
        *,
        ways: Ways | None = None,
        hardware: Hardware | None = None,
        slots: int | None = None,
        package: Path | None = None,
        urls: Sequence[str] = (),
        places: Sequence[Place] = (),
        operator: Sequence[str] = (),
    ) -> None:
        """`raw` is the store; `slots` sets the group's; `urls` gives each host a way of its own to the store.

        `places` are the networks of the hosts; `operator` is what lockctl is told instead of the store's URL.
        """
        self.raw = raw
        self.hardware = hardware or Hardware()
        self.ways = ways or Ways()
        self.slots = slots
        self.crashes: list[str] = []
        self._count, self._package, self._urls = count, package, urls
        self._places = places or [HERE] * count
        self.operator = operator or ["--store", raw.url]
        self._due = _Due()
        self._stop = threading.Event()
        self._concerned: list[Host] = []
        self.hosts: list[Host] = []

    def __enter__(self) -> Self:
        """Make the hosts and start the supervisor; no agent runs yet."""
        self._data = DataFolder("fleet")
        self.ledger = self._data.path / "ledger"
        self.ledger.touch()
        for number in range(self._count):
            url = self._urls[number] if self._urls else self.raw.url
            host = Host(
                f"h{number:02d}",
                self._data.path,
                url=url,
                ledger=self.ledger,
                ways=self.ways,
                package=self._package,
                place=self._places[number],
            )
            self.hosts.append(host)
        if self.slots is not None:
            self.ctl("set-max", str(self.slots))
        self._thread = threading.Thread(target=self._supervise, name="supervisor", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End everything; on a failure, tell."""
        self._stop.set()
        self._thread.join(30)
        try:
            if kind is not None and not issubclass(kind, GeneratorExit):
                self._tell()
        finally:
            for host in self.hosts:
                host.kill()
            for host in self.hosts:
                host.kill_children()
            self._data.remove()

    def host(self, name: str) -> Host:
        """By name."""
        return next(host for host in self.hosts if host.name == name)

    def start(self, hosts: Iterable[Host] | None = None, *, gap: float = 0.05) -> None:
        """Start the agents, one after the other."""
        for host in self.hosts if hosts is None else hosts:
            host.start()
            time.sleep(gap)

    def ctl(self, *words: str, code: int = 0) -> str:
        """Run lockctl for the fleet's group from nowhere in particular; what it prints. Fails on another exit code."""
        group = [] if "--fleet" in words else ["--group", self.ways.group]
        # Where time is not the point a busy machine may take longer than people would wait.
        patience = ["--timeout", "100s"] if PATIENT & {*words} and "--timeout" not in words else []
        done = lockctl(*self.operator, *group, *words, *patience)
        assert done.returncode == code, f"lockctl {' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    # ---------------------------------------------------------------- waiting

    def wait(self, done: Callable[[], bool], what: str, timeout: float = 60, hosts: Sequence[Host] = ()) -> None:
        """Poll until it is so. The time limit only bounds a failure."""
        end = time.monotonic() + timeout
        while not done():
            assert not self.crashes, "\n".join(self.crashes)
            if time.monotonic() > end:
                self._concerned = list(hosts)
                raise AssertionError(f"not within {timeout} s: {what}; now: {self.summary()}")
            time.sleep(_POLL)

    def wait_all(self, done: Callable[[Host], bool], what: str, timeout: float = 60) -> None:
        """Poll until it is so for every host."""
        missing = list(self.hosts)

        def all_done() -> bool:
            missing[:] = [host for host in missing if not done(host)]
            return not missing

        try:
            self.wait(all_done, what, timeout)
        except AssertionError:
            self._concerned = list(missing)
            raise
        assert not self.crashes, "\n".join(self.crashes)

    def rebooted_and_steady(self, host: Host) -> bool:
        """The host has booted once and its agent has nothing to do."""
        return host.boots > 0 and host.is_in("steady") and not host.required.exists()

    def summary(self) -> str:
        """How many hosts are in which state."""
        counts: dict[str, int] = {}
        for host in self.hosts:
            word = str(host.status().get("state", "down"))
            counts[word] = counts.get(word, 0) + 1
        return ", ".join(f"{count} {word}" for word, count in sorted(counts.items()))

    # ---------------------------------------------------------------- the hardware

    def write(self, host: Host, word: str) -> None:
        """A line of the ledger in the harness's own hand."""
        with self.ledger.open("a", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(f"{host.name} {word} {time.monotonic():.6f}\n")

    def boot(self, host: Host, *, clear: bool = True) -> None:
        """The machine goes through a boot now, whoever asked for it."""
        host.power_off(clear=clear)
        self.up(host)

    def up(self, host: Host) -> None:
        """The machine boots."""
        if self.is_down(host):
            self.write(host, "up")
        host.power_on()

    def is_down(self, host: Host) -> bool:
        """Whether the ledger says so."""
        words = [line.split()[1] for line in self.ledger.read_text().splitlines() if line.split()[0] == host.name]
        return bool(words) and words[-1] == "down"

    def _supervise(self) -> None:
        try:
            with self.ledger.open(encoding="utf-8") as ledger:
                rest = ""
                while not self._stop.wait(0.01):
                    rest += ledger.read()
                    *lines, rest = rest.split("\n")
                    now = time.monotonic()
                    for line in lines:
                        name, word, _ = line.split()
                        if word == "down" and self.hardware.auto and name not in self._due.deaths:
                            self._due.deaths[name] = now + self.hardware.halt_seconds
                    self._act(now)
        except BaseException:  # noqa: BLE001 - told by the next wait
            self.crashes.append("the supervisor broke:\n" + traceback.format_exc())

    def _act(self, now: float) -> None:
        for name, when in list(self._due.deaths.items()):
            if now >= when:
                del self._due.deaths[name]
                self.host(name).power_off(clear=self.hardware.clears)
                self._due.births[name] = time.monotonic() + self.hardware.boot_seconds
        for name, when in list(self._due.births.items()):
            if now >= when:
                del self._due.births[name]
                self.up(self.host(name))
        for host in self.hosts:
            if host.wanted and not host.process.pid and host.lock.acquire(blocking=False):
                with contextlib.suppress(RuntimeError):
                    if host.wanted and not host.process.pid:
                        host.wanted = False
                        self.crashes.append(f"the agent of {host.name} ended by itself\n{host.report()}")
                host.lock.release()

    def _tell(self) -> None:
        concerned = self._concerned or self.hosts
        print(f"\n---- the fleet: {self.summary()}; {len(self.crashes)} crashes")
        for crash in self.crashes:
            print(crash)
        print(f"ledger: {os.linesep.join(self.ledger.read_text().splitlines()[-20:])}")
        with contextlib.suppress(Exception):
            entries = [item for item in sorted(self.raw.snapshot().items()) if not item[0].startswith("node/")]
            print("store:", *(f"\n  {key}: {entry.text()}" for key, entry in entries))
        for host in concerned[:_REPORTED]:
            print(host.report())
