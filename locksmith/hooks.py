"""The operator's hooks: folders of executable files that drain a node, take that back, and bring it back into service.

The ideas a reader would miss. A hook runs alone and one at a time, because the caller journals its name *before* it runs:
after a crash the journal then says which `undo.d/NAME` is owed, and undoing what a killed hook had only begun is right as
well. And a file that anyone may write is not run by root: the drain fails with that reason instead of the machine being
taken over.
"""

import json
import os
import stat
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path

from locksmith.errors import Damaged
from locksmith.host.outcome import Cancelled, Finished, describe
from locksmith.host.process import GRACE, run

_LEFTOVERS = ("~", ".bak", ".orig", ".rej", ".swp", ".rpmnew", ".rpmsave", ".dpkg-old", ".dpkg-new", ".dpkg-dist")


class Stage(StrEnum):
    """When a hook runs; its folder is `<stage>.d`."""

    PRE_REBOOT = "pre-reboot"
    UNDO = "undo"
    POST_REBOOT = "post-reboot"


@dataclass(frozen=True, slots=True)
class HookContext:
    """What a hook is told. `origin` and `target` are versions, where they are known."""

    node: str
    group: str
    token: str
    reason: str
    origin: str | None
    target: str | None
    stage: str

    def environment(self) -> dict[str, str]:
        """The LOCKSMITH_* variables; an unknown version is empty."""
        values = self._values()
        return {f"LOCKSMITH_{name.upper()}": _plain(value or "") for name, value in values.items()}

    def payload(self) -> bytes:
        """The same as one JSON document; an unknown version is null."""
        return json.dumps(self._values(), ensure_ascii=False).encode(errors="replace") + b"\n"

    def _values(self) -> dict[str, str | None]:
        return {
            "node": self.node,
            "group": self.group,
            "token": self.token,
            "reason": self.reason,
            "from": self.origin,
            "to": self.target,
            "stage": self.stage,
        }


@dataclass(frozen=True, slots=True)
class HookDone:
    """It ended with exit code 0."""


@dataclass(frozen=True, slots=True)
class HookFailed:
    """It did not; the reason names the hook and the last line that it said."""

    reason: str


@dataclass(frozen=True, slots=True)
class HookCancelled:
    """We were asked to stop; whatever it had begun is the undo hook's."""


HookResult = HookDone | HookFailed | HookCancelled


class Hooks:
    """The hooks below one directory. A missing folder has no hooks."""

    def __init__(self, directory: Path, timeout: timedelta, *, grace: timedelta = GRACE) -> None:
        """`timeout` is for each hook; `grace` the time between TERM and KILL after it."""
        self._directory = directory
        self._timeout = timeout
        self._grace = grace

    def names(self, stage: Stage) -> tuple[str, ...]:
        """The hooks of a stage in the order in which they run. Raises Damaged when its folder cannot be read."""
        return tuple(path.name for path in self._files(stage) if os.access(path, os.X_OK))

    def undo_names(self, begun: Iterable[str]) -> tuple[str, ...]:
        """Of the pre-reboot hooks that were begun, in that order, those with an undo: last first. Raises Damaged."""
        known = set(self.names(Stage.UNDO))
        return tuple(name for name in reversed(tuple(begun)) if name in known)

    def run(self, stage: Stage, name: str, context: HookContext, cancel: threading.Event | None = None) -> HookResult:
        """Run one hook to its end, its time limit, or until `cancel` is set. Raises nothing."""
        path = self._directory / f"{stage}.d" / name
        if (refused := self._refused(path)) is not None:
            return HookFailed(f"{stage}.d/{name}: {refused}")
        outcome = run(
            [str(path)],
            timeout=self._timeout,
            stdin=context.payload(),
            environment=context.environment(),
            cancel=cancel,
            grace=self._grace,
        )
        match outcome:
            case Finished(code=0):
                return HookDone()
            case Cancelled():
                return HookCancelled()
            case _:
                return HookFailed(f"{stage}.d/{name}: {describe(outcome)}")

    def problems(self) -> tuple[str, ...]:
        """What an operator should know before it matters: files that are no hooks, undo hooks without a partner, rights."""
        found: list[str] = []
        for stage in Stage:
            try:
                files = self._files(stage)
            except Damaged as error:
                found.append(str(error))
                continue
            found += [
                f"{path} is not executable and does not run: `chmod +x` or remove it"
                for path in files
                if not os.access(path, os.X_OK)
            ]
            found += [f"{path}: {why}" for path in files if (why := self._refused(path)) is not None]
        found += self._orphans()
        return tuple(found)

    def _orphans(self) -> list[str]:
        try:
            missing = set(self.names(Stage.UNDO)) - set(self.names(Stage.PRE_REBOOT))
        except Damaged:
            return []  # said already
        folder = self._directory / "undo.d"
        return [f"{folder / name} undoes nothing: there is no pre-reboot.d/{name}" for name in sorted(missing)]

    def _files(self, stage: Stage) -> tuple[Path, ...]:
        folder = self._directory / f"{stage}.d"
        try:
            paths = sorted(folder.iterdir(), key=lambda path: path.name)
        except (FileNotFoundError, NotADirectoryError):
            return ()
        except OSError as error:
            raise Damaged(f"cannot read the hooks in {folder}: {error.strerror}") from error
        return tuple(path for path in paths if not _ignored(path))

    def _refused(self, path: Path) -> str | None:
        """Why root must not run it; our own user's rights are the operator's business otherwise."""
        if os.geteuid() != 0:
            return None
        for place in (path, path.parent, self._directory):
            try:
                mode = place.stat().st_mode
            except OSError as error:
                return f"cannot look at {place}: {error.strerror}"
            if mode & stat.S_IWOTH:
                return f"refused, because anyone may write {place}: `chmod o-w {place}`"
        return None


def _ignored(path: Path) -> bool:
    return path.name.startswith(".") or path.name.endswith(_LEFTOVERS) or path.is_dir()


def _plain(text: str) -> str:
    """The environment cannot hold a NUL."""
    return text.replace("\0", "")
