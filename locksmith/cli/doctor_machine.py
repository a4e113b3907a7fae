"""What `lockctl doctor` looks at on this machine: clock, identity, agent, folders, providers, checks, hooks, others at work.

The idea a reader would miss: checks and providers are named, not asked. They are the operator's commands, made for the
agent and its rights; what they answer is `lockctl why`'s to tell. Only other coordinators are looked for right here.
"""

import os
from collections.abc import Iterator
from datetime import UTC, datetime

from locksmith.cli.call import Call
from locksmith.cli.finding import Finding
from locksmith.cli.local import agent_pid
from locksmith.config_model import Config
from locksmith.errors import ConfigError, LocksmithError
from locksmith.host import identity

MEND_CLOCK = "start systemd-timesyncd, chrony or ntpd"


def clock(call: Call) -> Finding:
    """Whether it can be trusted."""
    from locksmith.host.clock import SystemClock

    if SystemClock().synchronised():
        return Finding("clock", "pass", "the kernel says that it is synchronised")
    try:
        needed = call.config.agent.require_time_sync and bool(call.config.windows)
    except ConfigError:
        needed = False
    text = "the kernel's clock is not synchronised" + (", so all windows are closed" if needed else "")
    return Finding("clock", "fail" if needed else "warn", text, MEND_CLOCK)


def identity_of(call: Call) -> Iterator[Finding]:
    """Whether this machine has a name of its own, and one for each boot."""
    settings = call.config.node
    try:
        yield Finding("identity", "pass", f"this node is {call.own_id()}")
    except ConfigError as error:
        yield Finding("identity", "fail", str(error))
    try:
        identity.boot(settings.boot_id_file)
    except LocksmithError as error:
        yield Finding("boot", "fail", str(error))
    if not identity.fingerprint(settings.product_uuid_file):
        yield Finding(
            "fingerprint",
            "warn",
            f"{settings.product_uuid_file} cannot be read or says nothing, so a copied machine id is not noticed by it",
            "run doctor as root" if os.geteuid() else "nothing can be done about it",
        )


def agent(call: Call) -> Finding:
    """Whether one runs."""
    run_dir = call.config.node.run_dir
    try:
        pid = agent_pid(run_dir)
    except OSError as error:
        return Finding("agent", "warn", f"whether locksmithd runs cannot be seen: {error}")
    if pid is None:
        return Finding("agent", "warn", f"no locksmithd runs here ({run_dir})", "systemctl enable --now locksmithd")
    strategy = call.config.agent.strategy
    if strategy == "lock":
        return Finding("agent", "pass", f"locksmithd runs (pid {pid})")
    said = {
        "observe": "it reboots nothing, and only says what it would do",
        "reboot": "it takes no slot, so any number of such nodes may reboot at once",
        "off": "it starts nothing",
    }[strategy]
    return Finding("agent", "warn", f"locksmithd runs (pid {pid}) with strategy {strategy}: {said}", "agent.strategy")


def folders(call: Call) -> Iterator[Finding]:
    """Whether the agent could write what it must remember over a reboot."""
    settings = call.config.node
    for key, path in (("state_dir", settings.state_dir), ("run_dir", settings.run_dir)):
        if path.is_dir() and not os.access(path, os.W_OK | os.X_OK):
            text = f"node.{key} {path} cannot be written by this user"
            yield Finding("folders", "fail", text, f"give it to the agent's user, or set node.{key}")


def providers(config: Config) -> Finding:
    """Who says that a reboot is wanted."""
    from locksmith.assemble_updates import updates

    names = ", ".join(each.name for each in updates(config))
    if not names:
        return Finding(
            "updates",
            "fail",
            "no update provider is configured and none was detected, so this node never knows that it must reboot",
            "configure one under [updates.NAME]; see update providers in the reference",
        )
    how = "detected on this machine" if config.detect_updates else "configured"
    return Finding("updates", "pass", f"{names} ({how})")


def health(config: Config) -> Finding:
    """What is asked before a reboot, and after it."""
    gates = ", ".join(each.name for each in config.gates) or "only those built in"
    windows = ", ".join(each.name for each in config.windows) or "always open"
    checks = ", ".join(each.name for each in config.health) or "none, so proof of the boot is all that is asked"
    return Finding("checks", "pass", f"windows: {windows}; gates: {gates}; health: {checks}")


def coordinators(config: Config) -> Finding | None:
    """Whether something else reboots this machine by rules of its own; None where the agent only plays a machine."""
    from locksmith.assemble_checks import gates
    from locksmith.checks import Occasion
    from locksmith.core.verdict import Closed, Open, Unknown

    check = next((gate for gate in gates(config)[0] if gate.kind == "coordinator"), None)
    if check is None:
        return None
    match check.ask(Occasion(datetime.now(UTC), clock_trusted=True, environment={})):
        case Closed() as closed:
            return Finding("coordinators", "fail", closed.reason)
        case Unknown() as unknown:
            return Finding("coordinators", "warn", unknown.reason, "run doctor as root" if os.geteuid() else "")
        case Open():
            allowed = ", ".join(config.agent.allow_coordinators)
            return Finding(
                "coordinators",
                "pass",
                "nothing else reboots this machine" + (f", or is allowed to: {allowed}" if allowed else ""),
            )


def hooks(config: Config) -> Iterator[Finding]:
    """Hooks that will not run, or not do what they seem to."""
    from locksmith.hooks import Hooks, Stage

    found = Hooks(config.hooks.directory, config.hooks.timeout, each=config.hooks.each)
    problems = found.problems()
    for problem in problems:
        yield Finding("hooks", "warn", problem)
    if problems:
        return
    counts = ", ".join(f"{len(names)} {stage}" for stage in Stage if (names := found.names(stage)))
    yield Finding("hooks", "pass", f"{counts} in {config.hooks.directory}" if counts else "none")
