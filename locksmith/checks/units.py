"""How systemd's units are: none failed that had not failed before, those that matter are active, the boot is good.

The ideas a reader would miss. `degraded` is only a word for "some unit has failed", so the failed units are judged and not the
word. After the reboot a unit that had failed before the drain is not held against the node, or a fleet with one
sick unit that nobody needs would never get beyond its first node; a unit that is *named* has to be active whatever was before.
boot-complete.target is not part of a boot unless something wants it (hosts.md), so "not active" alone would wait for ever.
And greenboot takes its boot_counter of -1 back soon after it has fallen back: what stays is its health check's unit, and
the version that runs, which the update provider sees.
"""

import time
from collections.abc import Iterable, Sequence
from datetime import timedelta
from fnmatch import fnmatchcase
from pathlib import Path

from locksmith.checks import Occasion, Role
from locksmith.checks.baseline import Baseline, Nothing
from locksmith.checks.findings import Findings, listed
from locksmith.core.verdict import Verdict
from locksmith.errors import Damaged
from locksmith.host import units as systemd
from locksmith.host.system import System, Unclear

BOOT_COMPLETE = "boot-complete.target"
GREENBOOT = "greenboot-healthcheck.service"
"""Oneshot with RemainAfterExit, RequiredBy=boot-complete.target (its unit file in fedora-iot/greenboot and in greenboot-rs)."""
REDBOOT = "redboot.target"
"""Conflicts with boot-complete.target (fedora-iot/greenboot up to 0.15; greenboot-rs has none)."""
GRUBENV = Path("/boot/grub2/grubenv")

_FALLBACK = "boot_counter=-1"
"""What greenboot-rpm-ostree-grub2-check-fallback of fedora-iot/greenboot looks for."""
_GRUBENV_BYTES = 64 * 1024
_ACTIVE = frozenset({"active", "reloading", "refreshing"})
_LEAST = 0.1


class UnitsCheck:
    """Gate and health check; it remembers which units had failed before the drain."""

    def __init__(  # noqa: PLR0913 - one switch for each question
        self,
        name: str,
        role: Role,
        system: System,
        timeout: timedelta,
        *,
        units: Sequence[str] = (),
        ignore: Sequence[str] = (),
        failed_units: bool = True,
        system_running: bool = False,
        boot_complete: bool = False,
        greenboot: bool = False,
        baseline: Path,
        grubenv: Path = GRUBENV,
    ) -> None:
        """`units` have to be active; `ignore` are fnmatch patterns of units that may have failed.

        `timeout` is for all questions together. `system_running`: the boot has to be over as well. `baseline` is the file
        for what had failed before.
        """
        self._name = name
        self._role = role
        self._system = system
        self._timeout = timeout
        self._units = tuple(dict.fromkeys(units))
        self._ignore = tuple(ignore)
        self._failed_units = failed_units
        self._system_running = system_running
        self._special = (BOOT_COMPLETE,) * boot_complete + (GREENBOOT, REDBOOT) * greenboot
        self._baseline = Baseline(baseline)
        self._grubenv = grubenv if greenboot else None

    @property
    def name(self) -> str:
        """See Check."""
        return self._name

    @property
    def kind(self) -> str:
        """See Check: `gate` or `health`."""
        return self._role

    def remember(self, attempt: str) -> None:
        """See Remembering. Raises Damaged also when systemd gives no answer."""
        if not (self._failed_units or self._system_running) or self._baseline.noted(attempt):
            return
        failed = systemd.failed_units(self._system, self._timeout)
        if isinstance(failed, Unclear):
            raise Damaged(f"which units have failed is not known: {failed.reason}")
        self._baseline.note(attempt, {"failed": set(failed)})

    def ask(self, occasion: Occasion) -> Verdict:
        """See Check. What systemd does not answer is unknown; a unit that does not exist is wrong."""
        found = Findings()
        deadline = time.monotonic() + self._timeout.total_seconds()
        degraded = self._system_running and self._judge_manager(found, deadline)
        self._judge_units(found, deadline)
        if self._failed_units or degraded:
            self._judge_failed(found, deadline, occasion.attempt)
        if self._grubenv is not None:
            _judge_grubenv(found, self._grubenv)
        return found.verdict()

    def _judge_manager(self, found: Findings, deadline: float) -> bool:
        """Whether the boot is over; returns whether it is degraded."""
        state = systemd.manager_state(self._system, _left(deadline))
        match state:
            case Unclear(reason):
                found.unclear.append(reason)
            case "initializing" | "starting":
                jobs = self._system.jobs(_left(deadline)) or ()
                names = [unit for unit, _, step in jobs if step == "running"] or [unit for unit, _, _ in jobs]
                found.wrong.append("the boot is not over" + (f": {listed(names)} to come" if names else ""))
            case "maintenance":
                found.wrong.append("the system is in rescue or emergency mode")
            case "stopping":
                found.wrong.append("the system is stopping")
            case _:
                return state == "degraded"
        return False

    def _judge_units(self, found: Findings, deadline: float) -> None:
        names = tuple(dict.fromkeys((*self._units, *self._special)))
        answer = systemd.units(self._system, names, _left(deadline))
        if isinstance(answer, Unclear):
            found.unclear.append(answer.reason)
            return
        states = {unit.name: unit for unit in answer}
        found.wrong += _problems(states[name] for name in self._units)
        if BOOT_COMPLETE in self._special and (problem := _boot_problem(states[BOOT_COMPLETE])):
            found.wrong.append(problem)
        if self._grubenv is not None:
            found.wrong += _green_problems(states[GREENBOOT], states[REDBOOT])

    def _judge_failed(self, found: Findings, deadline: float, attempt: str) -> None:
        answer = systemd.failed_units(self._system, _left(deadline))
        if isinstance(answer, Unclear):
            found.unclear.append(answer.reason)
            return
        told = {*self._special, *self._units, *(f"{name}.service" for name in self._units)}
        failed = {unit for unit in answer if unit not in told and not self._ignored(unit)}
        before = self._baseline.read(attempt) if self._role == "health" else {}
        known = failed & before.get("failed", frozenset()) if not isinstance(before, Nothing) else frozenset[str]()
        if new := failed - known:
            without = f" (not compared with before: {before.reason})" if isinstance(before, Nothing) else ""
            found.wrong.append(f"failed: {listed(new)}; see `systemctl status {min(new)}`{without}")
        if known:
            found.notes.append(f"failed before the reboot, too: {listed(known)}")

    def _ignored(self, unit: str) -> bool:
        return any(fnmatchcase(unit, pattern) for pattern in self._ignore)


def _left(deadline: float) -> timedelta:
    """What is left for the next question; never nothing, so that the reason is the question's own."""
    return timedelta(seconds=max(_LEAST, deadline - time.monotonic()))


def _problems(units: Iterable[systemd.Unit]) -> list[str]:
    return [problem for unit in units if (problem := _problem(unit)) is not None]


def _problem(unit: systemd.Unit) -> str | None:
    """Why a named unit is not what it should be, None when it is."""
    match unit.load:
        case "loaded" | "merged" | "stub":
            pass
        case "not-found":
            return f"{unit.name} does not exist: install it, or correct `units`"
        case "masked":
            return f"{unit.name} is masked: `systemctl unmask {unit.name}`"
        case word:
            return f"{unit.name} cannot be loaded ({word}): see `systemctl status {unit.name}`"
    match unit.active:
        case word if word in _ACTIVE:
            return None
        case "failed":
            return f"{unit.name} has failed ({unit.result}): see `systemctl status {unit.name}`"
        case "activating" if unit.sub.startswith("auto-restart"):
            return f"{unit.name} ends and is started again and again: see `systemctl status {unit.name}`"
        case "activating":
            return f"{unit.name} is starting"
        case "inactive":
            return _inactive_problem(unit)
        case word:
            return f"{unit.name} is {word}"


def _inactive_problem(unit: systemd.Unit) -> str | None:
    if unit.job:
        return f"{unit.name} waits to be started"
    if unit.skipped:
        return f"{unit.name} was not started, since one of its conditions does not hold: see `systemctl status {unit.name}`"
    if unit.type == "oneshot" and unit.ran and unit.result == "success":
        return None  # without RemainAfterExit that is how success looks
    return f"{unit.name} is not active: `systemctl start {unit.name}`, or `systemctl enable` it for the next boot"


def _boot_problem(unit: systemd.Unit) -> str | None:
    if unit.load != "loaded":
        return f"{BOOT_COMPLETE} does not exist ({unit.load}): leave `boot_complete` off"
    if unit.active in _ACTIVE:
        return None
    if unit.job or unit.active == "activating":
        return f"{BOOT_COMPLETE} is not reached yet"
    if not unit.wanted:
        # Tried with systemd 252: with a unit that is After=multi-user.target this makes no cycle, not even with
        # systemd-boot-check-no-failures.service, which is itself after multi-user.target; from multi-user.target it would.
        return (
            f"{BOOT_COMPLETE} is not part of the boot, since no unit wants it: "
            f"`systemctl add-wants locksmithd.service {BOOT_COMPLETE}`, or leave `boot_complete` off"
        )
    return f"{BOOT_COMPLETE} was not reached: see `systemctl list-dependencies {BOOT_COMPLETE}`"


def _green_problems(health: systemd.Unit, red: systemd.Unit) -> list[str]:
    if health.load == "not-found":
        return [f"{GREENBOOT} does not exist: install greenboot, or leave `greenboot` off"]
    found = [] if (problem := _problem(health)) is None else [f"greenboot: {problem}"]
    if red.active in _ACTIVE or red.active == "activating":
        found.append(f"greenboot calls this boot red ({REDBOOT} is {red.active})")
    return found


def _judge_grubenv(found: Findings, path: Path) -> None:
    """Whether greenboot has fallen back just now; a machine with another boot loader has no such file."""
    try:
        with path.open("rb") as file:
            text = file.read(_GRUBENV_BYTES).decode(errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        found.unclear.append(f"cannot read {path}: {error.strerror}; let the agent read it, or leave `greenboot` off")
        return
    if _FALLBACK in text.splitlines():
        found.wrong.append(f"greenboot has fallen back to the version before ({_FALLBACK} in {path})")
