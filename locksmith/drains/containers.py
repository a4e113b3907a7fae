"""Containers of Docker or Podman: stop in order, start again in the opposite order what was stopped here.

The ideas a reader would miss. The file says which containers are ours to start *before* the first of them is stopped. A
stop whose answer we did not see may still be at work in the engine, where a start would find the container running and do
nothing: so it is stopped to its end before it is started. And the start after the boot is not the engine's business alone:
`unless-stopped` and Podman leave down what was stopped on purpose.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from itertools import groupby
from pathlib import Path
from typing import Any

from locksmith.core.durations import format_duration
from locksmith.drains.ending import Done, Ending, NotDone, Patience, Say
from locksmith.drains.engine import Container, Engine
from locksmith.drains.kept import Kept
from locksmith.drains.service import Trouble
from locksmith.errors import Damaged
from locksmith.host.identity import KERNEL_BOOT_ID, host_name

ORDER_LABEL = "locksmith.drain.order"
"""A whole number; the smallest is stopped first and started last."""
UNIT_LABEL = "PODMAN_SYSTEMD_UNIT"
"""Podman's mark of a container that a systemd unit runs (podman-auto-update(1)): Quadlet, `podman generate systemd`."""
LAST = 1000
"""The place of a container that nobody gave one."""
AGAIN = 2.0
_TRIES = 3
_ROUNDS = 3
"""How often it is looked whether something still runs, or runs again."""
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
        """Stop them, place by place, those of one place together, until none is left. Raises Damaged for the file."""
        owed = {each.id: each for each in self._owed()}
        stopped: set[str] = set()
        for round_ in range(_ROUNDS):
            running = self._running()
            if isinstance(running, Trouble):
                what = "no container was stopped" if not round_ else "nobody can say whether containers still run"
                return NotDone(f"{what}: {running.reason}")
            chosen = chosen_of(running, rules)
            if not round_:
                self._tell_left(running)
            if not chosen:
                return Done(f"{len(stopped)} containers stopped" if owed else "no container runs that is to be stopped")
            for place, group in groupby(chosen, key=lambda each: each.place):
                problem = self._stop_place(place, list(group), rules, owed)
                if problem is not None:
                    return problem
            stopped.update(each.id for each in chosen)
        names = ", ".join(each.name for each in chosen)
        again = f"containers run again as soon as they are stopped: {names}; end what starts them, or use --keep"
        return Done(f"going on although {again}") if rules.go_on else NotDone(again)

    def start(self) -> Ending:
        """Start what was stopped here, in the opposite order; what runs already, or is gone, is fine. Raises Damaged.

        One that does not start keeps no other down. What was started is not ours any more, also when others failed: who
        stops it before we are called again wants it down.
        """
        owed = {each.id: each for each in sorted(self._owed(), key=lambda each: (-each.place, each.name))}
        if not owed:
            return Done("no container was stopped by us")
        count, same_boot = len(owed), self._same_boot()
        problems: dict[str, Trouble] = {}
        groups = [list(group) for _, group in groupby(owed.values(), key=lambda each: each.place)]
        for index, members in enumerate(groups):
            share = self._patience.share(len(groups) - index)
            problems |= self._start_some(members, share, owed, same_boot=same_boot)
        if problems and not self._patience.over:
            problems = self._start_some(list(owed.values()), self._patience, owed, same_boot=same_boot)
        if problems:
            names = [f"{each.name}: {problems[each.id].reason}" for each in owed.values()]
            return NotDone(f"containers that we stopped are still down: {_few(names)}")
        self._kept.remove()
        return Done(f"{count} containers that we stopped run again or are gone")

    def _stop_place(
        self, place: int, members: Sequence[Stopped], rules: ContainerRules, owed: dict[str, Stopped]
    ) -> Ending | None:
        owed.update({each.id: each for each in members})
        self._write(owed.values())
        self._say(f"stopping {', '.join(each.name for each in members)} (order {place})")
        problems = self._together(members, lambda each: self._stop(each, rules.grace, self._patience))
        owed.update({each.id: replace(each, sure=True) for each in members if each.id not in problems})
        self._write(owed.values())
        return self._unstopped(members, problems, rules) if problems else None

    def _start_some(
        self, members: Sequence[Stopped], patience: Patience, owed: dict[str, Stopped], *, same_boot: bool
    ) -> dict[str, Trouble]:
        """What did not start; the rest is not owed any more."""
        problems = self._together(members, lambda each: self._start(each, patience, same_boot=same_boot))
        for each in members:
            if each.id not in problems:
                del owed[each.id]
        try:
            self._write(owed.values())
        except Damaged as error:  # then some are looked at once more the next time, which is no reason to stay down
            self._say(str(error))
        return problems

    def _tell_left(self, running: Iterable[Container]) -> None:
        left = [f"{each.name} ({unit})" for each in running if (unit := each.labels.get(UNIT_LABEL))]
        if left:
            self._say(f"left to systemd, which stops their units: {', '.join(left)}")

    def _running(self) -> tuple[Container, ...] | Trouble:
        """A few tries only: the engine runs already, or there is nothing that we could stop."""
        for _ in range(_TRIES):
            found = self._engine.running(self._patience.request(self._patience.limit))
            if not isinstance(found, Trouble) or found.lasting or self._patience.over:
                break
            self._patience.wait(AGAIN)
        return found

    def _stop(self, each: Stopped, grace: int | None, patience: Patience) -> Trouble | None:
        problem: Trouble | None = Trouble("not asked to stop, since the time was over")
        while not patience.over:
            problem = self._engine.stop(each.id, patience.request(patience.limit), grace)
            if problem is None or problem.lasting:
                break
            patience.wait(AGAIN)
        return problem

    def _start(self, each: Stopped, patience: Patience, *, same_boot: bool) -> Trouble | None:
        if same_boot and not each.sure:
            problem = self._stop(each, None, patience)
            if problem is not None:
                return problem
        while True:
            limit = patience.request(patience.limit)
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
            if problem.lasting or patience.over:
                return problem
            patience.wait(AGAIN)

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


def kept_for(state_dir: Path, socket: Path) -> Kept:
    """The file for the engine at `socket`. Its name does not depend on what is there now: before the reboot or after it."""
    path = os.path.abspath(socket)  # noqa: PTH100 - lexically: links may be missing while the machine starts
    return Kept(state_dir, f"containers{path.removeprefix('/var') if path.startswith('/var/run/') else path}")


def owing(state_dir: Path, sockets: Sequence[Path]) -> tuple[Path, ...]:
    """Of `sockets`, those of engines with containers that are ours to start, whether they are there yet or not."""
    found = {kept_for(state_dir, each).path: each for each in reversed(sockets)}
    return tuple(socket for path, socket in reversed(found.items()) if path.exists())


def chosen_of(running: Iterable[Container], rules: ContainerRules) -> list[Stopped]:
    """Those to stop, in order. We never stop the container that we run in: its host name is the short id.

    Nor those of a systemd unit: it would start one again, or has removed it when we want to start it.
    """
    chosen = [
        Stopped(each.id, each.name, place_of(each, rules.order))
        for each in running
        if not any(fnmatchcase(each.name, pattern) for pattern in rules.keep)
        and not each.labels.get(UNIT_LABEL)
        and not (len(host_name()) == _SHORT_ID and each.id.startswith(host_name()))
    ]
    return sorted(chosen, key=lambda each: (each.place, each.name))


def place_of(container: Container, order: Sequence[str]) -> int:
    """By the label, else 1, 2, … by the first pattern that fits, else LAST."""
    try:
        return int(str(container.labels.get(ORDER_LABEL, "")))
    except ValueError:
        matching = (place for place, pattern in enumerate(order, 1) if fnmatchcase(container.name, pattern))
        return next(matching, LAST)


def _few(lines: Sequence[str]) -> str:
    more = f"; and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
    return "; ".join(lines[:_SHOWN]) + more
