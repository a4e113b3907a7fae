"""From a configuration to an agent: the half of `assemble` that lockctl never needs and so never imports."""

import os
import sys
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from random import SystemRandom
from typing import NoReturn, assert_never

from locksmith.agent.body import Body
from locksmith.agent.journal import Journal
from locksmith.assemble_checks import gates, health
from locksmith.assemble_updates import provider, updates
from locksmith.config import require_store
from locksmith.config_model import Config
from locksmith.core import keys
from locksmith.core.facts import Policy, Strategy
from locksmith.core.ledger import Home
from locksmith.errors import ConfigError, Damaged
from locksmith.hooks import Hooks, Stage
from locksmith.host import identity
from locksmith.host.clock import SystemClock
from locksmith.host.coordinator import CoordinatorFile
from locksmith.host.files import write_durably
from locksmith.host.system import System
from locksmith.rebooters import Accepted, Idle, NotAccepted, Rebooter
from locksmith.rebooters.command import CommandRebooter
from locksmith.rebooters.simulated import SimulatedRebooter
from locksmith.rebooters.systemctl import SystemctlRebooter
from locksmith.semaphore.actor import Actor
from locksmith.stores import Store


@dataclass(frozen=True, slots=True)
class Machine:
    """Who this machine is, read once at the start. `boot` is `<boot id>/<soft reboots>`."""

    node: str
    boot: str
    fingerprint: str
    os: str


def node_name(config: Config) -> str:
    """This machine's id. Raises ConfigError."""
    return config.node.id or identity.node_id(identity.machine_id(config.node.machine_id_file))


def machine(config: Config) -> Machine:
    """Read it. Raises ConfigError; Damaged when systemd does not answer yet."""
    return Machine(
        node_name(config),
        identity.boot(config.node.boot_id_file, System()),
        identity.fingerprint(config.node.product_uuid_file),
        identity.os_version(identity.os_release()),
    )


def home(config: Config, node: str) -> Home:
    """Whose journal this agent keeps. Raises ConfigError without a store."""
    url = require_store(config).url
    return Home(store=str(url), prefix=url.prefix, node=node)


def policy(config: Config, node: str) -> Policy:
    """What the configuration says about behaviour."""
    agent, verify = config.agent, config.verify
    return Policy(
        group=config.node.group,
        limits=(keys.group_limit(config.node.group),),
        home=home(config, node),
        strategy=Strategy(agent.strategy),
        providers=bool(updates(config)),
        poll_interval=agent.poll_interval,
        min_uptime=agent.min_uptime,
        min_interval=agent.min_interval,
        store_grace=agent.store_grace,
        jitter=min(timedelta(seconds=5), agent.poll_interval / 10),
        dwell=verify.dwell,
        deadline=verify.deadline,
        health_interval=min(timedelta(seconds=5), max(verify.dwell / 3, timedelta(milliseconds=200))),
        rollback_holds=verify.rollback == "hold",
        reboot_timeout=config.reboot.timeout,
        retries=config.reboot.retries,
        hook_timeout=_longest_drain(config),
    )


def body(config: Config, who: Machine, store: Store) -> Body:
    """The agent's parts. Raises ConfigError."""
    settings = config.node
    system = System()
    plain, courtesies = gates(config)
    return Body(
        actor=Actor(store, SystemClock(), SystemRandom(), "agent", identity.host_name()),
        policy=policy(config, who.node),
        boot=who.boot,
        fingerprint=who.fingerprint,
        journal=Journal(settings.state_dir / "journal.json"),
        providers=[provider(spec) for spec in updates(config)],
        gates=plain,
        courtesies=courtesies,
        health=health(config),
        hooks=_hooks(config),
        rebooter=_rebooter(config, who, system),
        labels=dict(settings.labels),
        os=who.os,
        heartbeat=config.agent.heartbeat,
        require_time_sync=config.agent.require_time_sync,
    )


def _hooks(config: Config) -> Hooks:
    return Hooks(config.hooks.directory, config.hooks.timeout, each=config.hooks.each)


def _longest_drain(config: Config) -> timedelta:
    """What all hooks that are there now may take before the reboot: for `expected_by`, which only ever tells people."""
    hooks = _hooks(config)
    try:
        return max(hooks.longest(hooks.names(Stage.PRE_REBOOT)), config.hooks.timeout)
    except Damaged:
        return config.hooks.timeout


def coordinator(config: Config, parts: Body) -> CoordinatorFile | None:
    """Where this agent says that it coordinates this machine's updates; None for one that only plays a machine."""
    if config.node.boot_id_file != identity.KERNEL_BOOT_ID:
        return None
    return CoordinatorFile(make_folder=any(provider.kind == "update-engine" for provider in parts.providers))


def _rebooter(config: Config, who: Machine, system: System) -> Rebooter:
    run_dir = config.node.run_dir
    match config.reboot.kind:
        case "auto" | "logind" | "systemctl":
            return SystemctlRebooter(system)
        case "command":
            return CommandRebooter(config.reboot.command, run_dir, who.boot, system)
        case "simulated":
            return SimulatedRebooter(_next_boot(config.node.boot_id_file), Idle)
        case _:
            assert_never(config.reboot.kind)


def _next_boot(boot_id_file: Path) -> Callable[[str, Mapping[str, str]], Accepted | NotAccepted]:
    """A boot to try locksmith out with: a new boot id, and this process again from its start."""
    if boot_id_file == identity.KERNEL_BOOT_ID:
        raise ConfigError(
            "reboot.kind = simulated needs a boot_id_file of its own in [node]: the kernel's cannot be written"
        )

    def reboot(reason: str, environment: Mapping[str, str]) -> Accepted | NotAccepted:
        del reason, environment
        try:
            write_durably(boot_id_file, f"{uuid.uuid4()}\n".encode())
        except Damaged as error:
            return NotAccepted(str(error))
        return _start_over()

    return reboot


def _start_over() -> NoReturn:
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - our own program again
