"""The operator's hooks: folders of executable files that drain a node, take that back, and bring it back into service.

The ideas a reader would miss. A hook runs alone and one at a time, because the caller journals its name *before* it runs:
after a crash the journal then says which `undo.d/NAME` is owed, and undoing what a killed hook had only begun is right as
well, also when its failure was passed over. And a file that anyone may write is not run by root: the drain fails with that
reason instead of the machine being taken over.

What a failure of a hook before the reboot means is the operator's choice, one rule for each name. The choice ends with that
stage: nothing waits for an undo hook's success, and a failing hook after the reboot is a node that is not healthy.
"""

import json
import logging
import os
import stat
import sys
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Literal

from locksmith.core.durations import format_duration
from locksmith.errors import Damaged
from locksmith.host.clock import SystemClock
from locksmith.host.outcome import Cancelled, Finished, describe
from locksmith.host.process import GRACE, run

log = logging.getLogger("locksmith.hooks")

PAUSE = timedelta(seconds=30)
"""Between two tries of a hook that is forced in the end."""
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


OnFailure = Literal["abort", "continue", "force"]


@dataclass(frozen=True, slots=True)
class HookRule:
    """How long the hooks of a name may take, and what a failure of the one before the reboot means.

    `abort` calls the attempt off. `continue` logs it and goes on with the drain. `force` tries again, with a pause between,
    until `force_after` since the first start has passed, and then goes on. `timeout` is for one try, in every stage.
    """

    timeout: timedelta
    on_failure: OnFailure = "abort"
    force_after: timedelta = timedelta(hours=1)

    @property
    def longest(self) -> timedelta:
        """How long the hook before the reboot takes at most, with all its tries."""
        return self.force_after if self.on_failure == "force" else self.timeout


@dataclass(frozen=True, slots=True)
class HookDone:
    """The drain may go on: it ended with exit code 0, or `despite` is the failure that its rule passes over."""

    despite: str = ""


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

    def __init__(
        self,
        directory: Path,
        timeout: timedelta,
        *,
        each: Mapping[str, HookRule] | None = None,
        grace: timedelta = GRACE,
        pause: timedelta = PAUSE,
    ) -> None:
        """`timeout` is for each hook that `each` does not name; `grace` the time between TERM and KILL after it."""
        self._directory = directory
        self._default = HookRule(timeout)
        self._each = dict(each or {})
        self._grace = grace
        self._pause = pause.total_seconds()
        self._clock = SystemClock()

    def names(self, stage: Stage) -> tuple[str, ...]:
        """The hooks of a stage in the order in which they run. Raises Damaged when its folder cannot be read."""
        return tuple(path.name for path in self._files(stage) if os.access(path, os.X_OK))

    def undo_names(self, begun: Iterable[str]) -> tuple[str, ...]:
        """Of the pre-reboot hooks that were begun, in that order, those with an undo: last first. Raises Damaged."""
        known = set(self.names(Stage.UNDO))
        return tuple(name for name in reversed(tuple(begun)) if name in known)

    def rule(self, name: str) -> HookRule:
        """The rule for the hooks of that name."""
        return self._each.get(name, self._default)

    def longest(self, names: Iterable[str]) -> timedelta:
        """How long these hooks before the reboot may take together; killing each at its limit included."""
        return sum((self.rule(name).longest + self._grace for name in names), timedelta(0))

    def run(self, stage: Stage, name: str, context: HookContext, cancel: threading.Event | None = None) -> HookResult:
        """Run one hook to its end, its time limit, or until `cancel` is set. Raises nothing.

        Before the reboot its rule decides about a failure; the tries of a forced one all happen in here.
        """
        rule, stop = self.rule(name), cancel or threading.Event()
        if stage is not Stage.PRE_REBOOT or rule.on_failure == "abort":
            return self._once(stage, name, context, stop, rule.timeout)
        if rule.on_failure == "continue":
            result = self._once(stage, name, context, stop, rule.timeout)
            return (
                _passed_over(name, result.reason, "on_failure = continue") if isinstance(result, HookFailed) else result
            )
        return self._forced(name, context, stop, rule)

    def _forced(self, name: str, context: HookContext, stop: threading.Event, rule: HookRule) -> HookResult:
        """Try until it succeeds or `force_after` has passed; the last try is cut short by that."""
        end = self._clock.boottime() + rule.force_after.total_seconds()
        said = "not tried"
        while (left := end - self._clock.boottime()) > 0:
            limit = min(rule.timeout, timedelta(seconds=left))
            result = self._once(Stage.PRE_REBOOT, name, context, stop, limit)
            if not isinstance(result, HookFailed):
                return result
            left = max(0.0, end - self._clock.boottime())
            if left and result.reason != said:
                told = {"hook": name}
                log.warning("hook %s; tried again until the drain goes on without it", result.reason, extra=told)
            said = result.reason
            if stop.wait(min(self._pause, left)):
                return HookCancelled()
        return _passed_over(name, said, f"force_after = {format_duration(rule.force_after)}")

    def _once(
        self, stage: Stage, name: str, context: HookContext, stop: threading.Event, timeout: timedelta
    ) -> HookResult:
        """One try."""
        path = self._directory / f"{stage}.d" / name
        if (refused := self._refused(path)) is not None:
            return HookFailed(f"{stage}.d/{name}: {refused}")
        outcome = run(
            [str(path)],
            timeout=timeout,
            stdin=context.payload(),
            environment=context.environment() | {"PATH": _path()},
            cancel=stop,
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
        found += self._idle_rules()
        return tuple(found)

    def _idle_rules(self) -> list[str]:
        """A misspelt name would leave a hook with the rule that its operator did not want."""
        try:
            known = {name for stage in Stage for name in self.names(stage)}
        except Damaged:
            return []  # said already
        return [
            f'[hooks.each."{name}"] is for no file in {self._directory}/{{pre-reboot,undo,post-reboot}}.d: '
            "put the hook there, or remove the rule"
            for name in sorted(set(self._each) - known)
        ]

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


def _passed_over(name: str, failure: str, why: str) -> HookDone:
    log.warning("hook %s; the drain goes on (%s)", failure, why, extra={"hook": name})
    return HookDone(despite=failure)


def _ignored(path: Path) -> bool:
    return path.name.startswith(".") or path.name.endswith(_LEFTOVERS) or path.is_dir()


def _path() -> str:
    """Ours, and behind it the folder of our own programs, since a virtual environment's is on nobody's PATH."""
    own = [str(Path(sys.executable).parent)] if sys.executable else []  # never the current folder
    return os.pathsep.join([os.environ.get("PATH", os.defpath), *own])


def _plain(text: str) -> str:
    """The environment cannot hold a NUL."""
    return text.replace("\0", "")
