"""How the containers of Docker or Podman are: those that ran before the reboot run again, and none is unhealthy.

The ideas a reader would miss. What has to run is what ran before the drain, whatever starts it: a restart policy, a unit, or
our own drain hook; one that was removed meanwhile on purpose has to be put into `ignore`, since nobody can tell it from one
that was lost. Containers of an orchestrator come back under other names, or elsewhere, and are asked only for their health. And
what was unhealthy or restarting before is not held against the node.
"""

from collections.abc import Sequence
from datetime import timedelta
from fnmatch import fnmatchcase
from pathlib import Path

from locksmith.checks import Occasion, Role
from locksmith.checks.baseline import Baseline, Nothing
from locksmith.checks.findings import Findings, listed
from locksmith.core.verdict import Unknown, Verdict
from locksmith.errors import Damaged
from locksmith.host.engine import NoAnswer, Seen, look

_NONE: frozenset[str] = frozenset()


class ContainersCheck:
    """Gate and health check; it remembers what ran, and what was not well, before the drain."""

    def __init__(  # noqa: PLR0913 - what the entry of the configuration says
        self, name: str, role: Role, socket: Path, timeout: timedelta, *, ignore: Sequence[str] = (), baseline: Path
    ) -> None:
        """`socket` is the engine's, `timeout` for all of its answers together; `ignore` are fnmatch patterns of names."""
        self._name = name
        self._role = role
        self._socket = socket
        self._timeout = timeout
        self._ignore = tuple(ignore)
        self._baseline = Baseline(baseline)

    @property
    def name(self) -> str:
        """See Check."""
        return self._name

    @property
    def kind(self) -> str:
        """See Check: `gate` or `health`."""
        return self._role

    def remember(self, attempt: str) -> None:
        """See Remembering. Raises Damaged also when the engine gives no answer."""
        if self._baseline.noted(attempt):
            return
        seen = look(self._socket, self._timeout)
        if isinstance(seen, NoAnswer):
            raise Damaged(f"which containers run is not known: {seen.reason}")
        running = {name for name in seen.in_state("running") if not seen.containers[name].passing}
        unwell = seen.unhealthy | seen.in_state("restarting")
        self._baseline.note(attempt, {"running": running, "unwell": unwell})

    def ask(self, occasion: Occasion) -> Verdict:
        """See Check. An engine that gives no answer is unknown."""
        seen = look(self._socket, self._timeout)
        if isinstance(seen, NoAnswer):
            return Unknown(seen.reason)
        found = Findings()
        excused = _NONE
        if self._role == "health":
            before = self._baseline.read(occasion.attempt)
            if isinstance(before, Nothing):
                found.notes.append(f"whether all run again is not known: {before.reason}")
            else:
                excused = before.get("unwell", _NONE)
                self._judge_running(found, seen, before.get("running", _NONE), excused)
        self._judge_health(found, seen, excused)
        return found.verdict()

    def _judge_running(self, found: Findings, seen: Seen, before: frozenset[str], excused: frozenset[str]) -> None:
        wanted = self._minded(before)
        gone = wanted - seen.containers.keys()
        told_with_health = seen.in_state("restarting") - excused
        down = wanted - gone - seen.in_state("running") - told_with_health
        if down:
            found.wrong.append(
                f"not running again: {listed(down)}; `{seen.program} start {min(down)}`, "
                "and have a restart policy or a unit start it next time"
            )
        if gone:
            found.wrong.append(
                f"not there any more: {listed(gone)}; create it again, or put it into `ignore` if it was removed on purpose"
            )

    def _judge_health(self, found: Findings, seen: Seen, excused: frozenset[str]) -> None:
        if unhealthy := self._minded(seen.unhealthy) - excused:
            found.wrong.append(f"unhealthy: {listed(unhealthy)}; see `{seen.program} inspect {min(unhealthy)}`")
        if again := self._minded(seen.in_state("restarting")) - excused:
            found.wrong.append(
                f"ends and is started again and again: {listed(again)}; see `{seen.program} logs {min(again)}`"
            )
        if starting := self._minded(seen.starting) - excused:
            found.wrong.append(f"the health check has not passed yet: {listed(starting)}")
        if known := self._minded(seen.unhealthy | seen.in_state("restarting")) & excused:
            found.notes.append(f"not well before the reboot either: {listed(known)}")

    def _minded(self, names: frozenset[str]) -> frozenset[str]:
        return frozenset(name for name in names if not any(fnmatchcase(name, pattern) for pattern in self._ignore))
