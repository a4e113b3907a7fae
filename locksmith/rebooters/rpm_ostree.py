"""Reboot into a staged deployment that is locked: `rpm-ostree finalize-deployment CHECKSUM`, as Zincati does it.

Who stages with `--lock-finalization` (Zincati, or an operator who wants no stray reboot to apply an update) leaves
/run/ostree/staged-deployment-locked behind; a plain reboot would then come back on the old version and throw the new one
away. finalize-deployment takes the lock off *and* reboots. Everything else is the inner rebooter's.

The ideas a reader would miss, from rpm-ostree's src/daemon/rpmostreed-transaction-types.cxx and rpmostreed-utils.cxx:

* The command only waits for a transaction of rpm-ostree's daemon, which is not in its process group. So while one of our
  calls may be under way in this boot, the daemon is asked, too, and no answer means that it may still fire.
* The daemon ends with success also when its own `systemctl reboot` failed. Then the lock is off, nothing goes down, and the
  inner rebooter makes the reboot, in the same call and under the same arm.
* The checksum is checked before anything is done, and is the one *without* layered packages. Versions that deploy from
  container images want the image's digest instead; the wrong one of the two is refused and changes nothing.
* That `systemctl reboot` is root's without a terminal, so it ignores inhibitors: they are asked for here.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from locksmith.errors import Damaged
from locksmith.host import rpm_ostree
from locksmith.host.files import remove_durably, write_durably
from locksmith.host.outcome import printable
from locksmith.host.rpm_ostree import Deployment
from locksmith.host.said import Unsaid
from locksmith.host.system import System
from locksmith.rebooters import Accepted, Firing, Idle, NotAccepted, Rebooter
from locksmith.rebooters.command import CommandRebooter

LOCK = Path("/run/ostree/staged-deployment-locked")
"""ostree's _OSTREE_SYSROOT_RUNSTATE_STAGED_LOCKED."""

_LIMIT = timedelta(seconds=30)
_CLIENT = {"RPMOSTREE_CLIENT_ID": "locksmith", "LC_ALL": "C"}
"""Who rpm-ostree says has done it."""


class FinalizingRebooter:
    """The inner rebooter, but for a locked deployment. `kind` is the inner one's."""

    def __init__(  # noqa: PLR0913 - what a CommandRebooter needs, and what a test replaces
        self,
        inner: Rebooter,
        run_dir: Path,
        boot: str,
        system: System,
        *,
        blocked: Callable[[], str] | None = None,
        command: Sequence[str] = rpm_ostree.COMMAND,
        lock: Path = LOCK,
        limit: timedelta = _LIMIT,
        wait: timedelta = _LIMIT,
    ) -> None:
        """`boot` names this boot. `limit` is for each question to rpm-ostree, `wait` for the end of each call.

        `blocked` says who forbids a shutdown now, empty when nobody does that counts; None: whoever systemd names.
        """
        self._inner = inner
        self._run_dir = run_dir
        self._marker = run_dir / "finalize-deployment"
        self._boot = boot
        self._system = system
        self._blocked = blocked or self._inhibitors
        self._command = tuple(command)
        self._lock = lock
        self._limit = limit
        self._wait = wait
        self._caller = self._calling()
        """Who made the last call, and reaps it."""

    @property
    def kind(self) -> str:
        """See Rebooter."""
        return self._inner.kind

    def reboot(self, reason: str, environment: dict[str, str]) -> Accepted | NotAccepted:
        """See Rebooter."""
        staged = self._locked()
        if staged is None:
            return self._inner.reboot(reason, environment)
        if isinstance(self.pending(), Firing):
            return Accepted()
        if isinstance(staged, Unsaid):
            return NotAccepted(f"{self._lock} is there, but rpm-ostree does not say what is staged: {staged.reason}")
        if who := self._blocked():
            return NotAccepted(f"an inhibitor blocks the shutdown: {printable(who)}")
        problem = self._finalize(staged, reason, environment)
        if isinstance(self.pending(), Firing):
            return Accepted()
        if self._locked() is not None:
            return NotAccepted(f"{staged.name()} stays locked: {problem or 'rpm-ostree has not finalized it'}")
        return self._inner.reboot(reason, environment)

    def pending(self) -> Idle | Firing:
        """See Rebooter."""
        finalizing = self._finalizing()
        return finalizing if isinstance(finalizing, Firing) else self._inner.pending()

    def explain(self) -> str:
        """See Rebooter."""
        finalizing = self._finalizing()
        own = finalizing.cause if isinstance(finalizing, Firing) else ""
        return "; ".join(filter(None, (own, self._inner.explain())))

    def _locked(self) -> Deployment | Unsaid | None:
        """What is staged and locked; None when nothing is. Unsaid: the lock is there, and rpm-ostree gives no answer."""
        status = rpm_ostree.status(self._command, self._limit)
        if isinstance(status, Unsaid):
            return status if self._lock.exists() else None
        return status.next if status.next.staged and status.next.locked else None

    def _finalize(self, staged: Deployment, reason: str, environment: dict[str, str]) -> str:
        """Call rpm-ostree until it takes the deployment for the one that was meant; empty, or why it did not."""
        problem = ""
        for checksum in filter(None, dict.fromkeys((staged.base or staged.checksum, staged.digest))):
            try:
                write_durably(self._marker, f"{self._boot}\n".encode())
            except Damaged as error:
                return f"the call cannot be recorded: {error}"
            self._caller = self._calling("finalize-deployment", checksum)
            answer = self._caller.reboot(reason, environment | _CLIENT)
            if isinstance(answer, Accepted):
                return ""
            if isinstance(self._finalizing(), Firing):
                return answer.reason
            problem = problem or answer.reason
        return problem

    def _finalizing(self) -> Idle | Firing:
        """Whether a call that was made in this boot may still do something."""
        try:
            ours = self._marker.read_text(errors="replace").strip() == self._boot
        except FileNotFoundError:
            return Idle()
        except OSError:
            ours = True
        if not ours:
            return Idle()
        called = self._caller.pending()
        if isinstance(called, Firing):
            return called
        status = rpm_ostree.status(self._command, self._limit)
        if isinstance(status, Unsaid):
            return Firing(f"nobody can say whether rpm-ostree still finalizes a deployment: {status.reason}")
        if status.transaction:
            return Firing(f"rpm-ostree is at work ({status.transaction}); see `rpm-ostree status`")
        with suppress(Damaged):
            remove_durably(self._marker)  # settled: from here on it need not be asked again
        return Idle()

    def _inhibitors(self) -> str:
        if not self._system.inhibited():
            return ""
        return "; ".join(self._system.inhibitors()) or "see `systemd-inhibit --list`"

    def _calling(self, *words: str) -> CommandRebooter:
        return CommandRebooter((*self._command, *words), self._run_dir, self._boot, self._system, self._wait)
