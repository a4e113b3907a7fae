"""From a configuration to an agent: the half of `assemble` that lockctl never needs and so never imports."""

from dataclasses import dataclass
from datetime import timedelta
from random import SystemRandom

from locksmith.agent.body import Body
from locksmith.agent.journal import Journal
from locksmith.assemble_checks import gates, health
from locksmith.assemble_rebooter import rebooter
from locksmith.assemble_updates import provider, updates
from locksmith.config import require_store
from locksmith.config_model import Config
from locksmith.core import keys
from locksmith.core.facts import Policy, Strategy
from locksmith.core.ledger import Home
from locksmith.errors import Damaged
from locksmith.hooks import Hooks, Stage
from locksmith.host import identity
from locksmith.host.clock import SystemClock
from locksmith.host.coordinator import CoordinatorFile
from locksmith.host.system import System
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
        providers=[provider(spec, settings.run_dir) for spec in updates(config)],
        gates=plain,
        courtesies=courtesies,
        health=health(config),
        hooks=_hooks(config),
        rebooter=rebooter(config, who.boot, system),
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
