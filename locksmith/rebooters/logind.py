"""logind's reboot over D-Bus, with a wall message, a short delay for our own last words, and inhibitors honoured.

The ideas a reader would miss.

* A call without an answer may still be carried out: logind takes it from its queue when it wakes up, or polkit, which is
  asked for those who are not root, answers late (sd-bus gives it 25 s). So the call is on record in `run_dir` before it is
  sent, and what is recorded can fire for `_LATE`; after that it can as long as logind gives no answer to a question that
  was asked later, since it takes the messages in order. Without a run_dir only this life of the agent knows.
* ScheduleShutdown is not used. It is kept by logind, survives us, would have to be cancelled on every way back (DISARM waits
  until nothing can fire), and goes by the wall clock. Its gain, a notice in advance, is what the sessions gate gives.
* The delay lock of ours is taken right before the call and given up `linger` after its answer. Without it systemd stops
  this agent within milliseconds, before the registry, the metrics and the log can say that the machine reboots. It
  endangers nothing: what must be kept was written before ARM, and logind waits for such locks for 5 s at most.
* With nobody in the way logind is told to check inhibitors once more, which closes the gap between our look and its act.
"""

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, assert_never

from locksmith.errors import Damaged
from locksmith.host.bus import BusError, Caller, MethodFailed, NoAnswer, NoBus, NoService
from locksmith.host.clock import Clock, SystemClock
from locksmith.host.files import remove_durably, write_durably
from locksmith.host.logind import WHO, Inhibitor, Logind, RebootFlag
from locksmith.host.outcome import printable
from locksmith.host.system import System
from locksmith.rebooters import Accepted, Firing, Idle, NotAccepted, Rebooter
from locksmith.rebooters import systemctl as systemd
from locksmith.rebooters.method import Methods, Way

log = logging.getLogger(__name__)

_CALL_LIMIT = timedelta(seconds=30)
_LATE = 60.0
"""Seconds after which a call that got no answer is no longer carried out by a logind that is well."""
_LINGER = timedelta(seconds=2)
_INVALID = "org.freedesktop.DBus.Error.InvalidArgs"
_UNKNOWN = "org.freedesktop.DBus.Error.UnknownMethod"
_ASKED_IN_VAIN = "nobody can say whether logind still carries out an earlier call"


class LogindRebooter:
    """Needs logind; root, or polkit rules for org.freedesktop.login1.reboot and its kin."""

    kind = "logind"

    def __init__(  # noqa: PLR0913 - a machine, its rules and where they are kept
        self,
        bus: Caller,
        system: System,
        *,
        methods: Methods | None = None,
        otherwise: Rebooter | None = None,
        honour_inhibitors: bool = True,
        ignore: Sequence[str] = (),
        run_dir: Path | None = None,
        boot: str = "",
        clock: Clock | None = None,
        call_limit: timedelta = _CALL_LIMIT,
        linger: timedelta = _LINGER,
    ) -> None:
        """`methods` None: in full. `otherwise` is for a machine whose logind cannot be reached at the moment of the reboot.

        `ignore` are the WHOs of inhibitors that do not count; `boot` names this boot.
        """
        self._logind = Logind(bus)
        self._system = system
        self._otherwise = otherwise
        self._methods = methods or Methods("reboot", system)
        self._honour = honour_inhibitors
        self._ignore = frozenset(ignore)
        self._record = run_dir / "reboot-logind.json" if run_dir is not None else None
        self._boot = boot
        self._clock = clock or SystemClock()
        self._limit = call_limit
        self._linger = linger.total_seconds()
        self._called: float | None = None

    def reboot(self, reason: str, environment: dict[str, str]) -> Accepted | NotAccepted:
        """See Rebooter. The reason becomes the wall message."""
        if isinstance(self.pending(), Firing):
            return Accepted()
        try:
            blocking = self._blocking()
        except (NoService, NoBus) as error:
            if self._otherwise is not None:
                log.warning("%s: %s instead", error, self._otherwise.kind)
                return self._otherwise.reboot(reason, environment)
            return NotAccepted(f"logind cannot be reached: {error}")
        except BusError as error:
            return NotAccepted(f"logind does not say who blocks a shutdown: {error}")
        if blocked := self._counting(blocking):
            return NotAccepted(blocked)
        choice = self._methods.choose()
        if choice.instead:
            log.warning("%s", choice.instead)
        with suppress(BusError):  # without the right for it the reboot is told all the same
            self._logind.set_wall_message(printable(f"locksmith: {reason}"))
        check = RebootFlag.SKIP_INHIBITORS if blocking or not self._honour else RebootFlag.CHECK_INHIBITORS
        lock = self._delay(reason)
        answer = self._tell(choice.way, check)
        if isinstance(answer, NotAccepted) and choice.way != "reboot":
            log.warning("%s of this machine: %s; a full reboot instead", choice.way, answer.reason)
            answer = self._tell("reboot", check)
        self._give_up(lock, soon=isinstance(answer, NotAccepted))
        if isinstance(answer, NotAccepted):
            with suppress(BusError):  # somebody may have come in between, and logind says less about it than we can
                return NotAccepted(self._counting(self._blocking()) or answer.reason)
        return answer

    def pending(self) -> Idle | Firing:
        """See Rebooter."""
        try:
            called = self._earlier_call()
        except (OSError, ValueError) as error:
            return Firing(f"{_ASKED_IN_VAIN} ({self._record}: {error}): remove the file when logind is well")
        now = self._clock.boottime()
        if called is not None and now < called + _LATE:
            return Firing("logind was told to reboot and did not answer: it may still do so")
        try:
            if self._logind.preparing_for_shutdown():
                return Firing("logind is preparing for a shutdown")
        except NoAnswer as error:
            return Firing(f"{_ASKED_IN_VAIN}: {error}")
        except BusError:
            pass  # no logind, or none that lets us ask: what follows knows what it left behind
        return systemd.pending(self._system)

    def explain(self) -> str:
        """See Rebooter."""
        try:
            locks = [str(lock) for lock in self._blocking()]
            if self._logind.preparing_for_shutdown():
                delaying = (
                    lock for lock in self._logind.inhibitors() if lock.delays_shutdown and lock.pid != os.getpid()
                )
                locks += [f"{lock} delays it" for lock in delaying]
        except (NoService, NoBus) as error:
            if self._otherwise is not None:
                return self._otherwise.explain()
            locks = [f"nobody can say ({error})"]
        except BusError as error:
            locks = [f"nobody can say ({error})"]
        return systemd.explain(self._system, locks)

    def blocked(self) -> str:
        """Who forbids a shutdown now; empty when nobody does that counts. That nobody can say it forbids one as well."""
        try:
            return self._counting(self._blocking())
        except BusError as error:
            return f"logind does not say who blocks a shutdown: {error}"

    # ---------------------------------------------------------------- the call

    def _blocking(self) -> list[Inhibitor]:
        """Raises BusError."""
        return [lock for lock in self._logind.inhibitors() if lock.blocks_shutdown]

    def _counting(self, blocking: Sequence[Inhibitor]) -> str:
        """What to say of those that keep us from it; empty when none does."""
        counting = [str(lock) for lock in blocking if lock.who not in self._ignore]
        return f"a shutdown is blocked by {'; '.join(counting)}" if self._honour and counting else ""

    def _tell(self, way: Way, check: RebootFlag) -> Accepted | NotAccepted:
        """The call, with what this logind understands of the flags."""
        flags = check | _flag(way)
        while True:
            answer = self._call(partial(self._logind.reboot, flags, self._limit))
            if not isinstance(answer, MethodFailed):
                return answer
            if answer.name == _UNKNOWN and way == "reboot":
                answer = self._call(partial(self._logind.reboot_plainly, self._limit))
                return NotAccepted(str(answer)) if isinstance(answer, MethodFailed) else answer
            if answer.name != _INVALID or RebootFlag.SKIP_INHIBITORS not in flags:
                return NotAccepted(str(answer))
            flags &= ~RebootFlag.SKIP_INHIBITORS  # younger than this logind, which passes over them for root anyway

    def _call(self, call: Callable[[], None]) -> Accepted | NotAccepted | MethodFailed:
        """MethodFailed: surely nothing came of it, and other words may help."""
        try:
            self._note(self._clock.boottime())
        except Damaged as error:
            return NotAccepted(f"the reboot was not asked for, since that cannot be recorded: {error}")
        try:
            call()
        except NoAnswer as error:
            log.warning("%s; the reboot may come all the same", error)
            return Accepted()
        except BusError as error:
            self._forget()
            if isinstance(self.pending(), Firing):
                return Accepted()
            return error if isinstance(error, MethodFailed) else NotAccepted(str(error))
        self._forget()
        return Accepted()

    def _delay(self, reason: str) -> int | None:
        try:
            return self._logind.inhibit(f"{WHO} says that the machine reboots: {printable(reason)}")
        except BusError as error:
            log.debug("no delay inhibitor of our own: %s", error)
            return None

    def _give_up(self, lock: int | None, *, soon: bool) -> None:
        """Close it, after the last words have been written. It ends with this process in any case."""
        if lock is None:
            return
        if soon:
            os.close(lock)
            return

        def later() -> None:
            time.sleep(self._linger)
            os.close(lock)

        threading.Thread(target=later, daemon=True, name="delay inhibitor").start()

    # ---------------------------------------------------------------- what was called and not answered

    def _note(self, at: float) -> None:
        self._called = at
        if self._record is not None:
            write_durably(self._record, json.dumps({"boot": self._boot, "at": at}).encode() + b"\n")

    def _forget(self) -> None:
        self._called = None
        if self._record is not None:
            with suppress(Damaged):  # it counts for a minute
                remove_durably(self._record)

    def _earlier_call(self) -> float | None:
        """When the last call without an answer was made in this boot. Raises OSError, ValueError for a record that is none."""
        if self._called is not None or self._record is None:
            return self._called
        try:
            document: Any = json.loads(self._record.read_text())
        except FileNotFoundError:
            return None
        match document:
            case {"boot": str(boot), "at": int() | float() as at}:
                return float(at) if boot == self._boot else None
            case _:
                raise ValueError("not a record of ours")


def _flag(way: Way) -> RebootFlag:
    match way:
        case "reboot":
            return RebootFlag(0)
        case "kexec":
            return RebootFlag.KEXEC
        case "soft-reboot":
            return RebootFlag.SOFT_REBOOT
        case _:
            assert_never(way)
