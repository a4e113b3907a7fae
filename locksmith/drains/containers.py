"""Containers of Docker or Podman: stop in order, start again in the opposite order what was stopped here.

The ideas a reader would miss. The file says which containers are ours to start *before* the first of them is stopped. A
stop whose answer we did not see may still be at work in the engine, where a start would find the container running and do
nothing: so it is stopped to its end before it is started. And the start after the boot is not the engine's business alone:
`unless-stopped` and Podman leave down what was stopped on purpose.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import groupby
from pathlib import Path
from typing import Any

from locksmith.core.durations import format_duration
from locksmith.drains.ending import Done, Ending, NotDone, Patience, Say
from locksmith.drains.engine import Container, Engine
from locksmith.drains.kept import Kept
from locksmith.drains.service import Trouble
from locksmith.host.identity import KERNEL_BOOT_ID, host_name

ORDER_LABEL = "locksmith.drain.order"
"""A whole number; the smallest is stopped first and started last."""
LAST = 1000
"""The place of a container that nobody gave one."""
AGAIN = 2.0
_TRIES = 3
_AT_ONCE = 8
_SHOWN = 3
_SHORT_ID = 12


@dataclass(frozen=True, slots=True)
class ContainerRules:
    """`order`: name patterns, the first is stopped first, for containers without the label. `keep` are never stopped.

    `grace`: seconds before the engine kills, None for each container's own. `go_on`: late is done.
    """

    order: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    grace: int | None = None
    go_on: bool = False


@dataclass(frozen=True, slots=True)
class Stopped:
    """One container that is ours to start. `sure`: the engine has said that it stopped."""

    id: str
    name: str
    place: int
    sure: bool = False


class ContainersDrain:
    """The containers of one engine."""

    def __init__(
        self, engine: Engine, kept: Kept, patience: Patience, say: Say, boot_id_file: Path = KERNEL_BOOT_ID
    ) -> None:
        """All waiting comes out of `patience`."""
        self._engine = engine
        self._kept = kept
        self._patience = patience
        self._say = say
        self._boot_id_file = boot_id_file

    def drain(self, rules: ContainerRules) -> Ending:
        """Stop them, place by place, those of one place together. Raises Damaged for the file."""
        owed = {each.id: each for each in self._owed()}
        running = self._running()
        if isinstance(running, Trouble):
            return NotDone(f"no container was stopped: {running.reason}")
        chosen = chosen_of(running, rules)
        if not chosen and not owed:
            return Done("no container runs that is to be stopped")
        for place, group in groupby(chosen, key=lambda each: each.place):
            members = list(group)
            owed.update({each.id: each for each in members})
            self._write(owed.values())
            self._say(f"stopping {', '.join(each.name for each in members)} (order {place})")
            problems = self._together(members, lambda each: self._stop(each, rules.grace))
            sure = [Stopped(each.id, each.name, each.place, sure=True) for each in members if each.id not in problems]
            owed.update({each.id: each for each in sure})
            self._write(owed.values())
            if problems:
                return self._unstopped(members, problems, rules)
        return Done(f"{len(chosen)} containers stopped")

    def start(self) -> Ending:
        """Start what was stopped here, in the opposite order; what runs already, or is gone, is fine. Raises Damaged."""
        owed = sorted(self._owed(), key=lambda each: (-each.place, each.name))
        if not owed:
            return Done("no container was stopped by us")
        same_boot = self._same_boot()
        for _, group in groupby(owed, key=lambda each: each.place):
            members = list(group)
            problems = self._together(members, lambda each: self._start(each, same_boot=same_boot))
            if problems:
                names = [f"{each.name}: {problems[each.id].reason}" for each in members if each.id in problems]
                return NotDone(f"containers that we stopped are still down: {_few(names)}")
        self._kept.remove()
        return Done(f"{len(owed)} containers that we stopped run again or are gone")

    def _running(self) -> tuple[Container, ...] | Trouble:
        """A few tries only: the engine runs already, or there is nothing that we could stop."""
        for _ in range(_TRIES):
            found = self._engine.running(self._patience.request(self._patience.limit))
            if not isinstance(found, Trouble) or found.lasting or self._patience.over:
                break
            self._patience.wait(AGAIN)
        return found

    def _stop(self, each: Stopped, grace: int | None) -> Trouble | None:
        while True:
            problem = self._engine.stop(each.id, self._patience.request(self._patience.limit), grace)
            if problem is None or problem.lasting or self._patience.over:
                return problem
            self._patience.wait(AGAIN)

    def _start(self, each: Stopped, *, same_boot: bool) -> Trouble | None:
        if same_boot and not each.sure:
            problem = self._stop(each, None)
            if problem is not None:
                return problem
        while True:
            limit = self._patience.request(self._patience.limit)
            runs = self._engine.runs(each.id, limit)
            problem = runs if isinstance(runs, Trouble) else None
            if runs is None:
                self._say(f"{each.name} is gone: it was removed, or replaced by another")
                return None
            if runs is True:
                return None
            if problem is None:
                problem = self._engine.start(each.id, limit)
                if problem is None:
                    self._say(f"{each.name} started")
                    return None
            if problem.lasting or self._patience.over:
                return problem
            self._patience.wait(AGAIN)

    def _together(self, members: Sequence[Stopped], act: Callable[[Stopped], Trouble | None]) -> dict[str, Trouble]:
        with ThreadPoolExecutor(min(_AT_ONCE, len(members))) as pool:
            results = list(pool.map(act, members))
        return {each.id: result for each, result in zip(members, results, strict=True) if result is not None}

    def _unstopped(self, members: Sequence[Stopped], problems: dict[str, Trouble], rules: ContainerRules) -> Ending:
        names = _few([f"{each.name}: {problems[each.id].reason}" for each in members if each.id in problems])
        if rules.go_on and self._patience.over:
            return Done(f"going on after {format_duration(self._patience.limit)} although containers run: {names}")
        return NotDone(f"containers do not stop: {names}")

    # ---------------------------------------------------------------- the file

    def _owed(self) -> tuple[Stopped, ...]:
        document = self._kept.read() or {}
        try:
            return tuple(
                Stopped(str(each["id"]), str(each["name"]), int(each["place"]), bool(each["sure"]))
                for each in document.get("containers", [])
            )
        except (KeyError, TypeError, ValueError):
            raise self._kept.damaged() from None

    def _write(self, owed: Iterable[Stopped]) -> None:
        entries: list[dict[str, Any]] = [
            {"id": each.id, "name": each.name, "place": each.place, "sure": each.sure} for each in owed
        ]
        self._kept.write({"v": 1, "boot": self._boot(), "containers": entries})

    def _same_boot(self) -> bool:
        return (self._kept.read() or {}).get("boot") == self._boot()

    def _boot(self) -> str:
        try:
            return self._boot_id_file.read_text(errors="replace").strip()
        except OSError:
            return ""


def chosen_of(running: Iterable[Container], rules: ContainerRules) -> list[Stopped]:
    """Those to stop, in order. We never stop the container that we run in: its host name is the short id."""
    chosen = [
        Stopped(each.id, each.name, place_of(each, rules.order))
        for each in running
        if not any(fnmatchcase(each.name, pattern) for pattern in rules.keep)
        and not (len(host_name()) == _SHORT_ID and each.id.startswith(host_name()))
    ]
    return sorted(chosen, key=lambda each: (each.place, each.name))


def place_of(container: Container, order: Sequence[str]) -> int:
    """By the label, else 1, 2, … by the first pattern that fits, else LAST."""
    try:
        return int(container.labels.get(ORDER_LABEL, ""))
    except ValueError:
        matching = (place for place, pattern in enumerate(order, 1) if fnmatchcase(container.name, pattern))
        return next(matching, LAST)


def _few(lines: Sequence[str]) -> str:
    more = f"; and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
    return "; ".join(lines[:_SHOWN]) + more
