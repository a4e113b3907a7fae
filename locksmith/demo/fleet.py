"""Runs the demo: stores, hosts and story together, to the end of the story or to the first thing that must not happen.

Each host has its own client of the store, behind a count of what reaches the store and a switch that takes it away. The
fleet's own client is neither counted nor switched: it sets up, looks at what is left, and clears up.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from queue import Empty, SimpleQueue
from random import Random
from typing import Protocol

from locksmith.demo.away import AwayStore, Outage
from locksmith.demo.equipment import HostClock
from locksmith.demo.hosts import Host, Row, Site
from locksmith.demo.judge import Judge
from locksmith.demo.plan import DRAIN_TIME, GROUP, Plan, Settings, draw
from locksmith.demo.proof import Report, claims
from locksmith.demo.story import Story
from locksmith.errors import Conflict, Interrupted, LocksmithError
from locksmith.hooks import Hooks
from locksmith.semaphore.actor import Actor
from locksmith.semaphore.operating import set_max
from locksmith.semaphore.reading import status
from locksmith.semaphore.repair import fsck
from locksmith.stores import Check, Store
from locksmith.stores.measured import Measured, Request

TICK = 0.04
ENDING = 10.0
"""Seconds that all agents together get to end in an orderly way."""
BATCH = 25
"""Keys cleared in one commit."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where it runs. `open_client` makes a new client of the same empty prefix of a store; `shared` if others use it."""

    folder: Path
    open_client: Callable[[], Store]
    store_url: str
    prefix: str
    shared: bool


@dataclass(frozen=True, slots=True)
class Picture:
    """What there is to see at one instant. `seconds` since the start."""

    settings: Settings
    store: str
    seconds: float
    rows: tuple[Row, ...]
    out: int
    most: int
    updated: int
    away: bool
    requests: int


class View(Protocol):
    """Who watches; called by one thread only."""

    def told(self, seconds: float, text: str) -> None:
        """Something has happened."""

    def moved(self, seconds: float, row: Row) -> None:
        """A host came to another state."""

    def see(self, picture: Picture) -> None:
        """What it looks like now; often."""


class Fleet:
    """One run.

    The last two arguments are for tests: another plan than the drawn one, and what `wrap` puts between each host and its
    store, such as a store that does not keep the contract.
    """

    def __init__(
        self,
        settings: Settings,
        place: Place,
        view: View,
        *,
        plan: Plan | None = None,
        wrap: Callable[[Store], Store] | None = None,
    ) -> None:
        """Nothing is opened yet."""
        self._settings = settings
        self._plan = plan or draw(settings)
        self._place = place
        self._view = view
        self._wrap = wrap or (lambda store: store)
        self._requests: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._moves: SimpleQueue[tuple[float, Row]] = SimpleQueue()
        self._judge = Judge(settings.slots)
        self._outage = Outage()
        self._stores: list[Store] = []
        self._kind = ""
        self._started = 0.0

    def run(self, stop: threading.Event) -> Report:
        """Run it to its end. Raises Interrupted when `stop` is set, StoreError when the store does not work."""
        own = self._place.open_client()
        self._kind = own.kind
        try:
            report = self._run(self._actor("operator", own), stop)
            self._clear(own)
        except LocksmithError:
            with suppress(LocksmithError):
                self._clear(own)
            raise
        else:
            return report
        finally:
            for store in (*self._stores, own):
                store.close()

    def _run(self, operator: Actor, stop: threading.Event) -> Report:
        set_max(operator, GROUP, self._settings.slots)
        story = self._story()
        try:
            missing = self._play(story, stop)
            seconds = self._seconds()
        finally:
            self._outage.end()
            _end(story)
        leftovers = [] if missing else _leftovers(operator)
        return self._report(story, seconds, missing, leftovers)

    def _clear(self, own: Store) -> None:
        """Leave nothing in a store that others use; the last writes of ended agents come first."""
        if self._place.shared:
            self._outage.for_good(ENDING)
            clear(own)

    def _story(self) -> Story:
        plan = self._plan
        place = self._place
        site = Site(
            settings=self._settings,
            folder=place.folder,
            hooks=_hooks(place.folder, self._settings),
            judge=self._judge,
            store_url=place.store_url,
            prefix=place.prefix,
            moved=lambda row: self._moves.put((self._seconds(), row)),
            now=self._seconds,
        )
        hosts = {name: Host(name, fate, site, self._actor(name, self._client())) for name, fate in plan.fates.items()}
        return Story(plan, self._settings, hosts, self._outage, self._tell)

    def _client(self) -> Store:
        store = Measured(self._wrap(self._place.open_client()), self._count)
        self._stores.append(store)
        return AwayStore(store, self._outage)

    def _actor(self, name: str, store: Store) -> Actor:
        random = Random(f"{self._settings.seed}/{name}")  # noqa: S311 - nonces in a prefix that is empty at first
        return Actor(store, HostClock(), random, "agent" if name != "operator" else "demo", name)

    def _count(self, request: Request) -> None:
        with self._lock:
            self._requests[request.op] += 1

    def _seconds(self) -> float:
        return time.monotonic() - self._started

    def _tell(self, text: str) -> None:
        self._pass_on()
        self._view.told(self._seconds(), text)

    def _pass_on(self) -> None:
        with suppress(Empty):
            while True:
                self._view.moved(*self._moves.get_nowait())

    def _play(self, story: Story, stop: threading.Event) -> list[str]:
        """Until the story is over (nothing is missing), or cannot go on."""
        self._started = time.monotonic()
        story.begin()
        limit = self._settings.limit()
        while not story.over:
            if stop.wait(TICK):
                raise Interrupted("interrupted; the simulated fleet is gone")
            for host in story.hosts:
                host.tick()
            story.tick(self._seconds())
            self._pass_on()
            self._view.see(self._picture(story))
            if self._judge.broken:
                return ["stopped there"]
            if crashed := [host for host in story.hosts if host.crash is not None]:
                return [f"the agent of {host.name} broke: {host.crash!r}" for host in crashed]
            if self._seconds() > limit:
                return [f"not done after {limit:.0f} s", *story.missing()]
        return []

    def _picture(self, story: Story) -> Picture:
        hosts = story.hosts
        return Picture(
            settings=self._settings,
            store=self._kind,
            seconds=self._seconds(),
            rows=tuple(host.row() for host in hosts),
            out=self._judge.now,
            most=self._judge.most,
            updated=sum(host.done for host in hosts),
            away=self._outage.on,
            requests=self._requests.total(),
        )

    def _report(self, story: Story, seconds: float, missing: list[str], leftovers: list[str]) -> Report:
        return Report(
            settings=self._settings,
            store=self._kind,
            seconds=seconds,
            updated=sum(host.done for host in story.hosts),
            reboots=sum(host.boots for host in story.hosts),
            most_out=self._judge.most,
            claims=claims(self._settings, story, self._judge, leftovers),
            missing=tuple(missing),
            requests={op: self._requests[op] for op in ("read", "commit", "session", "watch")},
        )


def _hooks(folder: Path, settings: Settings) -> Hooks:
    """One real hook that takes a little time, and the one that undoes it."""
    for stage, script in (("pre-reboot", f"sleep {settings.real(DRAIN_TIME):.3f}"), ("undo", ":")):
        path = folder / "hooks" / f"{stage}.d" / "10-drain"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        path.chmod(0o755)
    return Hooks(folder / "hooks", timedelta(minutes=5))


def _end(story: Story) -> None:
    """All agents end in an orderly way if they can, so that nothing of them acts on the store afterwards."""
    for host in story.hosts:
        host.stop()
    deadline = time.monotonic() + ENDING
    for host in story.hosts:
        host.end(max(0.0, deadline - time.monotonic()))


def _leftovers(operator: Actor) -> list[str]:
    """What must not be left in the store when everybody is steady."""
    seen = status(operator, GROUP)
    found = [f"{holder.host or holder.node} holds a slot" for holder in seen.holders]
    found += [f"{waiter.host or waiter.node} waits" for waiter in seen.queue]
    found += [finding.text for finding in fsck(operator, repair=False).findings]
    return found


def clear(store: Store) -> None:
    """Delete every key below the store's prefix. Raises StoreError."""
    while True:
        items = [(key, item.mod) for key, item in store.read(prefixes=[""]).items.items() if item]
        if not items:
            return
        for start in range(0, len(items), BATCH):
            batch = items[start : start + BATCH]
            with suppress(Conflict):
                store.commit([Check(key, mod) for key, mod in batch], deletes=[key for key, _ in batch])
