"""What brings events from outside: the update providers' poll and signals, the poke of `lockctl` on this machine.

A feeder that dies is started again with a growing pause; one that keeps dying ends the process, for systemd to see.
"""

import logging
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path

from locksmith.agent.asking import ask_providers
from locksmith.agent.loop import Loop
from locksmith.core import events as ev
from locksmith.errors import ConfigError
from locksmith.updates import Signalling

log = logging.getLogger(__name__)

DEATHS = 5
"""So many deaths end the process."""
PAUSE = timedelta(seconds=2)
"""Before a feeder is started again the first time; it doubles."""
POKE_WAIT = 50.0
SIGNAL_WAIT = timedelta(seconds=50)
SIGNAL_PAUSE = 1.0
"""Seconds after a signal in which further ones are not looked at: update_engine sends one for each percent."""


class Feeders:
    """The threads of one loop."""

    def __init__(self, loop: Loop, run_dir: Path, pause: timedelta = PAUSE) -> None:
        """Nothing runs yet. `pause` is before the first new start of a feeder that died."""
        self._loop = loop
        self._path = run_dir / "poke.sock"
        self._pause = pause.total_seconds()
        self._stop = threading.Event()
        self._now = threading.Event()
        self.deaths = 0

    def start(self) -> None:
        """Begin. Raises ConfigError when the socket cannot be made."""
        channel = self._listen()
        feeders: list[tuple[str, Callable[[], None]]] = [
            ("providers", self._poll),
            ("poke", lambda: self._pokes(channel)),
        ]
        feeders += [
            (f"signals of {provider.name}", partial(self._signals, provider))
            for provider in self._loop.body.providers
            if isinstance(provider, Signalling)
        ]
        for name, run in feeders:
            threading.Thread(target=self._supervise, args=(name, run), daemon=True, name=name).start()

    def stop(self) -> None:
        """End; the threads follow within their waits."""
        self._stop.set()
        self._now.set()
        # A last poke, so that its thread sees the end now and closes the socket.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as waker:
            waker.setblocking(False)
            waker.sendto(b"end", str(self._path))
        self._path.unlink(missing_ok=True)

    def _supervise(self, name: str, run: Callable[[], None]) -> None:
        for death in range(1, DEATHS + 1):
            try:
                run()
            except Exception as error:
                self.deaths += 1
                log.exception("the feeder %s died (%d of %d)", name, death, DEATHS)
                if death == DEATHS:
                    self._loop.crash = error
                    self._loop.post(ev.Poke())
                    return
                self._stop.wait(self._pause * 2 ** (death - 1))
            else:
                return

    def _poll(self) -> None:
        """Ask the providers every poll_interval, the first time after one (START asks them itself), and when poked."""
        while True:
            body = self._loop.body
            interval = body.policy.poll_interval.total_seconds() * (0.9 + 0.2 * body.actor.random.random())
            self._now.wait(interval)
            if self._stop.is_set():
                return
            self._now.clear()
            self._loop.post(ev.ProvidersAnswered(ask_providers(self._loop.body)))

    def _signals(self, provider: Signalling) -> None:
        """Have the providers asked when this one says that something changed; many signals in a row count as one."""
        while not self._stop.is_set():
            if provider.wait(SIGNAL_WAIT):
                self._now.set()
                self._stop.wait(SIGNAL_PAUSE)

    def _listen(self) -> socket.socket:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.unlink(missing_ok=True)
            channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            channel.bind(str(self._path))
        except OSError as error:
            raise ConfigError(f"cannot listen on {self._path}: {error.strerror or error}; see node.run_dir") from error
        channel.settimeout(POKE_WAIT)
        return channel

    def _pokes(self, channel: socket.socket) -> None:
        while not self._stop.is_set():
            try:
                channel.recv(64)
            except TimeoutError:
                continue
            if not self._stop.is_set():
                self._now.set()
                self._loop.post(ev.Poke())
        channel.close()
