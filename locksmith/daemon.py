"""`locksmithd`: read the configuration, be the only one on this host, run the loop, and say what happens.

The one idea a reader would miss: this process may end at any instruction, and START puts everything right; so there is no
clean-up here on which anything depends.
"""

import argparse
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from locksmith import __version__, assemble_agent, assemble_notify, config
from locksmith.agent.body import Body
from locksmith.agent.feeders import Feeders
from locksmith.agent.journal import Journal
from locksmith.agent.loop import MAX_WAIT, Loop
from locksmith.agent.snapshot import Snapshot
from locksmith.assemble import open_store
from locksmith.config_flatcar import notices
from locksmith.config_model import Config, Listen
from locksmith.core import events as ev
from locksmith.core.durations import format_duration
from locksmith.core.facts import Strategy
from locksmith.core.ledger import Ledger, Stage
from locksmith.core.states import Blocked, Conflicted, Failed, Queued, Releasing, Starting, Steady, Stuck, Unready
from locksmith.core.store_url import parse_store_url
from locksmith.core.turn import wish
from locksmith.errors import ConfigError, LocksmithError
from locksmith.host import logs
from locksmith.host.coordinator import CoordinatorFile
from locksmith.host.files import HostLock
from locksmith.host.sdnotify import Notifier
from locksmith.host.system import System
from locksmith.notify.announcer import Announcer
from locksmith.stores.measured import Measured, Request

if TYPE_CHECKING:  # a tenth of the start-up time and some memory: imported where metrics are wanted
    from locksmith.metrics import AgentMetrics
    from locksmith.web import Web

log = logging.getLogger("locksmith.agent")

STOP_EXTENSION = timedelta(seconds=2 * MAX_WAIT)
"""Asked for at each turn of the loop while it stops: more than the loop ever waits, or it would come too late."""
BROKEN_RETRY = 60.0
DEFAULT_STATE = Path("/var/lib/locksmith")


def main(argv: Sequence[str] | None = None) -> int:
    """The entry point. Exit codes: 0 well, 2 configuration, else those of errors.py."""
    options = _options(argv)
    try:
        if options.check:
            return _check(options.config)
        return Daemon(options.config, once=options.once).run()
    except LocksmithError as error:
        print(f"locksmithd: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="locksmithd", description="The node agent of locksmith.", allow_abbrev=False)
    parser.add_argument("--config", type=Path, metavar="FILE", help="read only this file")
    parser.add_argument(
        "--check", action="store_true", help="read the configuration, say what comes from where, exit 0 or 2"
    )
    once = "settle what is owed, take a slot if one is free right now, then end instead of waiting"
    parser.add_argument("--once", action="store_true", help=once)
    parser.add_argument("--version", action="version", version=f"locksmithd {__version__}")
    return parser.parse_args(argv)


def _check(file: Path | None) -> int:
    loaded = config.load(file, environ=os.environ)
    config.require_store(loaded)
    assemble_agent.policy(loaded, assemble_agent.node_name(loaded))
    assemble_notify.check(loaded)
    for key, value, origin in config.describe(loaded):
        print(f"{key} = {'(unset)' if value is None else value}  # {origin}")  # noqa: T201
    return 0


def settling(loaded: Config, ledger: Ledger, node: str) -> Config | None:
    """The configuration to settle an old debt with first: the store, prefix and node that the journal names.

    None when the journal owes nothing elsewhere. What is claimed under it is nothing: the strategy is off.
    """
    owed, home = ledger.owed, ledger.home
    if owed is None or home is None or owed.slotless:
        return None
    if home == replace(assemble_agent.home(loaded, node), identity=home.identity, epoch=home.epoch):
        return None
    if owed.token is None and owed.stage != Stage.CLAIMING:
        return None
    settings = config.require_store(loaded)
    old = parse_store_url(home.store)
    return replace(
        loaded,
        store=replace(settings, url=old),
        node=replace(loaded.node, id=home.node, group=owed.group),
        agent=replace(loaded.agent, strategy="off"),
    )


class Daemon:
    """The process around one loop after the other (a reload may start a new one)."""

    def __init__(self, file: Path | None, *, once: bool = False) -> None:
        """`file` is --config."""
        self._file = file
        self._once = once
        self._notifier = Notifier.from_environment(os.environ)
        self._loop: Loop | None = None
        self._stopping = threading.Event()
        self._signalled = threading.Event()
        self._reload: Config | None = None
        self._left_for: Config | None = None
        self._active: Config | None = None
        self._settles = False
        self._status: Path | None = None
        self._steps: Sequence[Mapping[str, Any]] = ()
        self._system = System()
        self._metrics: AgentMetrics | None = None
        self._web: Web | None = None
        self._coordinator: CoordinatorFile | None = None
        self._announcer: Announcer | None = None
        self._reloading = threading.Lock()

    def run(self) -> int:
        """Until SIGTERM. Raises LocksmithError."""
        signal.signal(signal.SIGTERM, self._on_term)
        signal.signal(signal.SIGINT, self._on_term)
        signal.signal(signal.SIGHUP, self._on_hup)
        loaded = self._load_or_hold()
        if loaded is None:
            return 0
        logs.setup(loaded.agent.log_format, loaded.agent.log_level)
        lock = HostLock(_folder(loaded.node.run_dir, "node.run_dir") / "locksmithd.lock")
        lock.acquire()
        try:
            while loaded is not None:
                loaded = self._one_life(loaded)
        finally:
            self._notifier.stopping()
            if self._web is not None:
                self._web.close()
            lock.release()
        return 0

    def _load_or_hold(self) -> Config | None:
        """The configuration; while it is broken and this node holds a slot: keep holding, and say so."""
        told, state = "", Path(os.environ.get("STATE_DIRECTORY") or DEFAULT_STATE)
        while True:
            try:
                loaded = config.load(self._file, environ=os.environ)
                state = loaded.node.state_dir
                assemble_agent.policy(loaded, assemble_agent.node_name(loaded))
            except ConfigError as error:
                owed = Journal(state / "journal.json").load().owed if (state / "journal.json").exists() else None
                if owed is None or owed.token is None:
                    raise
                sentence = f"unready (config): {error}; the slot that this node holds is kept"
                if sentence != told:
                    print(f"locksmithd: {sentence}", file=sys.stderr)  # noqa: T201
                    self._notifier.status(sentence)
                    told = sentence
                self._notifier.ready()
                self._notifier.watchdog()
                self._signalled.wait(self._longest(BROKEN_RETRY))
                self._signalled.clear()
                if self._stopping.is_set():
                    return None
            else:
                return loaded

    def _longest(self, wait: float) -> float:
        """Seconds to wait at most, for the watchdog to hear of us in time."""
        watchdog = self._notifier.watchdog_interval
        return wait if watchdog is None else min(wait, watchdog.total_seconds() / 2)

    def _one_life(self, loaded: Config) -> Config | None:
        """One loop with one configuration; the next configuration, or None at the end."""
        journal = Journal(_folder(loaded.node.state_dir, "node.state_dir") / "journal.json")
        ledger = journal.load()
        old = settling(loaded, ledger, assemble_agent.node_name(loaded))
        active = old or loaded
        who = assemble_agent.machine(active)
        store = Measured(open_store(active), self._observe)
        body = assemble_agent.body(active, who, store)
        logs.belong(who.node, active.node.group)
        self._active, self._settles = active, old is not None
        self._announce(active, body)
        self._coordinator = self._coordinator or assemble_agent.coordinator(active, body)
        self._status = active.node.run_dir / "status.json"
        loop = self._loop = Loop(body, ledger, self._listen, self._longest(MAX_WAIT))
        if self._stopping.is_set():
            return None
        self._serve_first(active.agent.metrics_listen, loop)
        announcer = self._announce_first(active, ledger)
        feeders = Feeders(loop, active.node.run_dir)
        feeders.start()
        self._notifier.ready()
        try:
            loop.run()
        finally:
            feeders.stop()
            store.close()
            self._announcer = None
            announcer.close()
        if self._stopping.is_set():
            return None
        taken, self._reload = self._reload, None
        if self._settles and loop.agent.owed is None:
            log.info("settled what was owed elsewhere; going on with the configured store")
            return taken or loaded
        return taken

    def _announce_first(self, active: Config, ledger: Ledger) -> Announcer:
        """What tells others of this loop. Raises ConfigError, but never while something is owed."""
        try:
            made = assemble_notify.announcer(active)
        except ConfigError as error:
            if ledger.owed is None:
                raise
            log.error("going on without notifications, since this node has something to settle: %s", error)  # noqa: TRY400
            made = assemble_notify.announcer(replace(active, notify=()))
        made.start()
        self._announcer = made
        return made

    def _announce(self, active: Config, body: Body) -> None:
        policy = body.policy
        named = ", ".join(f"{provider.name} ({provider.kind})" for provider in body.providers) or "none"
        detected = " detected" if active.detect_updates else ""
        gates = ", ".join(gate.name for gate in body.gates) or "none, always open"
        health = (
            ", ".join(check.name for check in body.health) or f"proof of boot and {format_duration(policy.dwell)} dwell"
        )
        log.info(
            "locksmithd %s: node %s, group %s, strategy %s, store %s, updates%s: %s, gates: %s, health: %s, reboot: %s",
            __version__, policy.home.node, policy.group, policy.strategy, policy.home.store, detected, named, gates, health,
            body.rebooter.kind,
        )  # fmt: skip
        if self._settles:
            log.warning(
                "this node owes a slot in %s: settling there before the configured store is used", policy.home.store
            )
        if policy.strategy is Strategy.REBOOT:
            log.warning(
                "strategy reboot: this node takes no slot, nothing keeps it from rebooting together with others"
            )
        for problem in body.hooks.problems():
            log.warning("hooks: %s", problem)
        for notice in notices(active.origin):
            log.warning("%s", notice)

    # ---------------------------------------------------------------- metrics

    def _observe(self, request: Request) -> None:
        """Called by the store after each request."""
        if self._metrics is not None:
            self._metrics.observe(request)

    def _serve_first(self, at: Listen | None, loop: Loop) -> None:
        """Metrics of this loop. Raises ConfigError, but never while something is owed: a port must not keep a slot."""
        try:
            self._serve(at, loop)
        except ConfigError as error:
            if loop.agent.owed is None:
                raise
            log.error("going on without metrics, since this node has something to settle: %s", error)  # noqa: TRY400

    def _serve(self, at: Listen | None, loop: Loop) -> None:
        """Metrics of this loop at this address and no other. Raises ConfigError: then they stay where they were."""
        if self._metrics is not None:
            self._metrics.shown = loop
        if at is None and self._web is None:
            return
        if self._metrics is None or self._web is None:
            from locksmith.metrics import AgentMetrics  # noqa: PLC0415
            from locksmith.web import Web  # noqa: PLC0415

            self._metrics = AgentMetrics(loop)
            self._web = Web("agent.metrics_listen", self._metrics.pages())
        before = self._web.address
        self._web.listen(at)
        if self._web.address not in (None, before):
            log.info("metrics are at %s", self._web.address)

    def _config_loaded(self, well: bool) -> None:
        if self._metrics is not None:
            self._metrics.config_loaded = well

    # ---------------------------------------------------------------- what the loop tells

    def _listen(self, snapshot: Snapshot, changed: bool) -> None:
        self._notifier.watchdog()
        if self._metrics is not None:
            self._metrics.turned()
        if self._coordinator is not None:
            self._coordinator.publish(snapshot.agent.state, snapshot.agent.policy.strategy)
        if self._announcer is not None:
            self._announcer.hear(snapshot)
        loop = self._loop
        if loop is None:
            return
        if changed:
            self._notifier.status(f"{snapshot.told.state}: {snapshot.told.text}")
        if changed or snapshot.steps != self._steps:
            self._write_status(snapshot)
        if snapshot.agent.stopping:
            self._notifier.extend_timeout(STOP_EXTENSION)
        if self._settles and snapshot.agent.owed is None and _resting(snapshot) and not snapshot.agent.stopping:
            loop.post(ev.StopAsked(going_down=False))
        if self._reload is not None and not snapshot.agent.stopping:
            self._apply_reload(loop, snapshot)
        if self._once and _at_rest(snapshot) and not snapshot.agent.stopping:
            loop.post(ev.StopAsked(going_down=False))

    def _write_status(self, snapshot: Snapshot) -> None:
        if self._status is None:
            return
        self._steps = snapshot.steps
        temporary = self._status.with_name(".status.json.new")
        with suppress(OSError):
            temporary.write_text(json.dumps(snapshot.document(), ensure_ascii=False) + "\n")
            temporary.replace(self._status)

    # ---------------------------------------------------------------- signals

    def _on_term(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._stopping.set()
        self._signalled.set()
        threading.Thread(target=self._ask_to_stop, daemon=True, name="stop").start()

    def _ask_to_stop(self) -> None:
        loop = self._loop
        going_down = self._system.present() and self._system.going_down()
        if loop is not None:
            loop.post(ev.StopAsked(going_down))

    def _on_hup(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._signalled.set()
        threading.Thread(target=self._load_again, daemon=True, name="reload").start()

    def _load_again(self) -> None:
        with self._reloading:
            self._notifier.reloading()
            try:
                loaded = config.load(self._file, environ=os.environ)
                config.require_store(loaded)
                assemble_agent.policy(loaded, assemble_agent.node_name(loaded))
                assemble_notify.check(loaded)
                if (loop := self._loop) is not None:
                    # At once, and not with the rest: looking a host name up must not keep the loop waiting.
                    self._serve(loaded.agent.metrics_listen, loop)
            except LocksmithError as error:
                self._not_taken(error)
                self._notifier.status(f"the new configuration is broken and not used: {error}")
            else:
                self._config_loaded(True)
                self._reload = loaded
                if loop is not None:
                    loop.post(ev.Tick())
            self._notifier.ready()

    def _not_taken(self, error: LocksmithError) -> None:
        log.error("the configuration is not taken, the old one stays: %s", error)
        self._config_loaded(False)

    def _apply_reload(self, loop: Loop, snapshot: Snapshot) -> None:
        """Between two steps. What touches the store or this node's name waits until no slot is held."""
        if (loaded := self._reload) is None:
            return
        policy = snapshot.agent.policy
        try:
            new = assemble_agent.policy(loaded, assemble_agent.node_name(loaded))
            same = (new.home, new.group, new.limits) == (policy.home, policy.group, policy.limits)
            if same and self._active is not None and loaded.store == self._active.store:
                self._reload = None
                self._swap(loop, loaded, self._active)
            elif self._left_for is not loaded and isinstance(snapshot.agent.state, _LEAVABLE):
                self._left_for = loaded
                log.info("the configuration was read again: starting anew with it")
                loop.post(ev.StopAsked(going_down=False))
        except LocksmithError as error:
            self._reload = None
            self._not_taken(error)

    def _swap(self, loop: Loop, loaded: Config, before: Config) -> None:
        who = assemble_agent.machine(loaded)
        body = assemble_agent.body(loaded, who, loop.body.actor.store)
        logs.setup(loaded.agent.log_format, loaded.agent.log_level)
        logs.belong(who.node, loaded.node.group)
        if self._announcer is not None and loaded.notify != before.notify:
            self._announcer.replace(partial(assemble_notify.channels, loaded))
        self._active = loaded
        loop.swap(replace(body, journal=loop.body.journal))
        log.info("the configuration was read again")


_LEAVABLE = (Steady, Blocked, Queued, Starting, Conflicted, Unready)
"""The states in which no slot is at stake: another store, name or group may be taken."""


def _folder(path: Path, key: str) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot make {path}: {error.strerror}; create it for this user, or set {key}") from error
    if not os.access(path, os.W_OK):
        raise ConfigError(f"cannot write into {path}: give it to this user, or set {key}")
    return path


def _resting(snapshot: Snapshot) -> bool:
    return isinstance(snapshot.agent.state, Steady | Blocked | Unready)


def _at_rest(snapshot: Snapshot) -> bool:
    """For --once: nothing more will happen without waiting for somebody."""
    agent = snapshot.agent
    match agent.state:
        case Steady():
            return agent.asked_providers and wish(agent, snapshot.at) is None
        case Queued(rank=int()) | Blocked() | Conflicted() | Unready() | Failed() | Stuck():
            return True
        case Releasing(tries=tries):
            return tries > 0
        case Starting(tries=tries):
            return tries > 0
        case _:
            return False


if __name__ == "__main__":
    sys.exit(main())
