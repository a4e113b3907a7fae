"""What systemd knows about this machine going down, asked through its own command line tools.

The idea a reader would miss: three sources are needed. The manager says `stopping` once shutdown.target is queued, logind's
PreparingForShutdown covers the seconds before that in which delay inhibitors are waited for, and a scheduled shutdown is
only a file. Without systemd (no /run/systemd/system, sd_booted(3)) nothing is going down as far as anyone can tell; with
systemd, no answer is `Unclear`, which every caller treats as going down.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from locksmith.host import process
from locksmith.host.outcome import Finished, Outcome, describe, last_line

_UP = frozenset({"initializing", "starting", "running", "degraded", "maintenance"})
_TARGETS = frozenset(
    f"{name}.target" for name in ("reboot", "shutdown", "poweroff", "halt", "kexec", "soft-reboot", "final", "exit")
)
_LOGIND = ("org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager")
_JOB_COLUMNS = 4
_TOOL_LIMIT = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Up:
    """Nothing is taking the machine down."""


@dataclass(frozen=True, slots=True)
class GoingDown:
    """It is going down, or told to; the cause is for people."""

    cause: str


@dataclass(frozen=True, slots=True)
class Unclear:
    """Systemd is there and gives no answer."""

    reason: str


Condition = Up | GoingDown | Unclear


@dataclass(frozen=True, slots=True)
class Scheduled:
    """A shutdown that logind will carry out: `mode` is reboot, poweroff, halt, kexec …; `at` is aware, UTC."""

    mode: str
    at: datetime | None


class System:
    """The service manager of this machine; `tools` is where its programs are looked up, None for PATH."""

    def __init__(
        self, *, runtime: Path = Path("/run"), tools: Path | None = None, tool_limit: timedelta = _TOOL_LIMIT
    ) -> None:
        """Nothing is asked yet. `runtime` is where /run is; each call of a tool ends within `tool_limit`."""
        self._runtime = runtime
        self._tools = tools
        self._limit = tool_limit

    def present(self) -> bool:
        """Whether systemd is the init of this machine, as sd_booted(3) asks."""
        return (self._runtime / "systemd" / "system").is_dir()

    def going_down(self) -> bool:
        """Whether the system stops now; also true while systemd gives no answer, since keeping a slot is the safe side.

        A shutdown that is only scheduled does not count: services are not being stopped for it.
        """
        return not isinstance(self._stopping(), Up)

    def condition(self) -> Condition:
        """Whether anything takes the machine down, now or at a scheduled time."""
        stopping = self._stopping()
        if not isinstance(stopping, Up):
            return stopping
        try:
            scheduled = self.scheduled()
        except OSError as error:
            return Unclear(f"cannot read {error.filename}: {error.strerror}")
        if scheduled is not None:
            when = "" if scheduled.at is None else f" for {scheduled.at:%Y-%m-%dT%H:%M:%SZ}"
            return GoingDown(f"a {scheduled.mode} is scheduled{when}; `shutdown -c` cancels it")
        jobs = self._jobs()
        return jobs if not isinstance(jobs, Up) else Up()

    def scheduled(self) -> Scheduled | None:
        """What /run/systemd/shutdown/scheduled says; dry runs do not count. Raises OSError when it cannot be read."""
        try:
            text = (self._runtime / "systemd" / "shutdown" / "scheduled").read_text(errors="replace")
        except (FileNotFoundError, NotADirectoryError):
            return None
        fields = dict(line.partition("=")[::2] for line in text.splitlines())
        mode = fields.get("MODE", "shutdown")
        if mode.startswith("dry-") or fields.get("DRY_RUN") == "1":
            return None
        try:
            at = datetime.fromtimestamp(int(fields.get("USEC", "")) / 1_000_000, UTC)
        except (ValueError, OverflowError, OSError):
            at = None
        return Scheduled(mode, at)

    def soft_reboots(self) -> int | None:
        """How often this boot was soft-rebooted (0 before systemd 254, which has none), None when there is no answer."""
        if not self.present():
            return 0
        outcome = self.call("systemctl", "show", "-P", "SoftRebootsCount")
        if not isinstance(outcome, Finished) or outcome.code != 0:
            return None
        text = outcome.stdout.strip() or "0"
        return int(text) if text.isascii() and text.isdigit() else None

    def counts_soft_reboots(self) -> bool:
        """Whether a soft reboot would show in `soft_reboots` (systemd before that property has none to show)."""
        if not self.present():
            return False
        outcome = self.call("systemctl", "show", "-P", "SoftRebootsCount")
        return isinstance(outcome, Finished) and outcome.code == 0 and outcome.stdout.strip().isdigit()

    def inhibited(self) -> bool:
        """Whether a block inhibitor forbids a shutdown (logind's BlockInhibited); False without logind."""
        outcome = self.call("busctl", "get-property", *_LOGIND, "BlockInhibited")
        if not isinstance(outcome, Finished) or outcome.code != 0:
            return False
        return "shutdown" in outcome.stdout.partition('"')[2].rpartition('"')[0].split(":")

    def inhibitors(self) -> tuple[str, ...]:
        """The lines of `systemd-inhibit --list` that name a shutdown, for people."""
        outcome = self.call("systemd-inhibit", "--list", "--no-pager", "--no-legend")
        if not isinstance(outcome, Finished) or outcome.code != 0:
            return ()
        return tuple(" ".join(line.split()) for line in outcome.stdout.splitlines() if "shutdown" in line)

    def jobs(self, limit: timedelta | None = None) -> tuple[tuple[str, str, str], ...] | None:
        """The jobs of the manager as (unit, type, state), None when there is no answer."""
        outcome = self.call("systemctl", "list-jobs", "--no-legend", "--no-pager", "--full", limit=limit)
        if not isinstance(outcome, Finished) or outcome.code != 0:
            return None
        rows = (line.split() for line in outcome.stdout.splitlines())
        return tuple((row[1], row[2], row[3]) for row in rows if len(row) == _JOB_COLUMNS and row[0].isdigit())

    def hanging(self) -> tuple[str, ...]:
        """The units that are being stopped at this moment; empty when there is no answer."""
        outcome = self.call("systemctl", "list-units", "--state=deactivating", "--plain", "--no-legend", "--full")
        if not isinstance(outcome, Finished) or outcome.code != 0:
            return ()
        return tuple(line.split()[0] for line in outcome.stdout.splitlines() if line.strip())

    def call(
        self,
        tool: str,
        *words: str,
        limit: timedelta | None = None,
        keep: int = process.KEPT_BYTES,
        environment: Mapping[str, str] | None = None,
    ) -> Outcome:
        """Run one of systemd's programs, in the C locale; `keep` bytes of its output, `environment` added to ours."""
        program = tool if self._tools is None else str(self._tools / tool)
        variables = {"LC_ALL": "C", "SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": "", **(environment or {})}
        return process.run([program, *words], timeout=limit or self._limit, environment=variables, keep=keep)

    def _stopping(self) -> Condition:
        if not self.present():
            return Up()
        outcome = self.call("systemctl", "is-system-running")
        state = last_line(outcome.stdout) if isinstance(outcome, Finished) else ""
        if state == "stopping":
            return GoingDown("the system is stopping")
        if state not in _UP:
            return Unclear(f"systemctl is-system-running: {state or describe(outcome)}")
        outcome = self.call("busctl", "get-property", *_LOGIND, "PreparingForShutdown")
        if isinstance(outcome, Finished) and outcome.code == 0 and outcome.stdout.split() == ["b", "true"]:
            return GoingDown("logind is preparing for a shutdown")
        return Up()  # a machine without logind or busctl has only the manager's word

    def _jobs(self) -> Condition:
        if not self.present():
            return Up()
        jobs = self.jobs()
        if jobs is None:
            return Unclear("systemctl list-jobs gives no answer")
        going = [f"{unit} ({state})" for unit, kind, state in jobs if kind == "start" and unit in _TARGETS]
        return GoingDown(f"systemd has the job {', '.join(going)}") if going else Up()
