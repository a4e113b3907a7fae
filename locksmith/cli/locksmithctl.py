"""`locksmithctl`: the commands, flags, variables and exit codes of locksmith's tool, on our stores, for scripts that call it.

The ideas a reader would miss. It reads the configuration that lockctl reads, so that a script and the agent never look at
two groups or two stores without a word; its own flags win over that. And it is lockctl underneath: where locksmith would
have taken a slot away from under an agent, or rebooted past it, this asks the agent, and fails where the agent does not
follow. What differs is listed in docs/flatcar.md.

Messages are locksmith's where it had one; what we know besides follows on a line of its own.
Origin: flatcar/locksmith locksmithctl/*.go; each row of peers.md 2.2 is a test.
"""

import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING

from locksmith import __version__
from locksmith.cli import goflags
from locksmith.cli.call import CLEAN_UP, Call
from locksmith.cli.options import Given
from locksmith.cli.output import complain, line
from locksmith.cli.signals import Stop
from locksmith.errors import (
    Asked,
    ConfigError,
    Full,
    HeldByAgent,
    HeldElsewhere,
    Interrupted,
    LocksmithError,
    NotHeld,
    Refused,
)

if TYPE_CHECKING:
    from locksmith.config_model import Config
    from locksmith.semaphore.reading import GroupStatus, NodeRef

NAME = "locksmithctl"
PREFIX = "LOCKSMITHCTL"
TIMEOUT = timedelta(seconds=10)
SWITCHES = ("debug", "version")
FLAGS = {
    "endpoint": "etcd endpoints, http:// or https://, between commas, or a store URL of lockctl's; default: the configured store",
    "etcd-keyfile": "key of the client certificate",
    "etcd-certfile": "client certificate",
    "etcd-cafile": "certificate authority of the servers",
    "etcd-username": "user of the store",
    "etcd-password": "password of the user",
    "group": "the group; default: the configured one",
}
_ACCESS = {"etcd-keyfile": "key_file", "etcd-certfile": "cert_file", "etcd-cafile": "ca_file"}
NOT_CONNECTED = "Error initializing etcd client"
_MAX_SLOTS = 999_999
_SCHEME = re.compile(r"[a-z+]+:", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")
_RAW_MACHINE_ID = re.compile(r"[0-9a-f]{32}")
_SIGNAL = (
    "/com/coreos/update1", "com.coreos.update1.Manager", "StatusUpdate",
    "xdssx", "0", "0", "UPDATE_STATUS_UPDATED_NEED_REBOOT", "", "0",
)  # fmt: skip


class _Failure(Exception):
    """The first line of the message, as locksmith writes it, and a second one."""

    def __init__(self, message: str, more: str = "") -> None:
        super().__init__(message)
        self.more = more


@dataclass
class _Call(Call):
    """A call whose configuration is lockctl's with our flags on top."""

    overrides: dict[str, str] = field(default_factory=dict)
    connected: bool = False

    @cached_property
    def config(self) -> "Config":
        """See Call."""
        from locksmith.config import load

        return load(environ=os.environ, overrides=self.overrides)

    @property
    def group_is_explicit(self) -> bool:
        """See Call."""
        return "node.group" in self.overrides or super().group_is_explicit

    def connect(self) -> None:
        """See that the store answers: what goes wrong afterwards is the command's. Raises LocksmithError."""
        _ = self.actor
        self.connected = True


@dataclass(frozen=True, slots=True)
class _Command:
    run: Callable[["_Call", list[str]], None]
    usage: str
    summary: str
    prefix: str
    """In front of an error of the command itself."""


def main() -> None:
    """The program `locksmithctl`; ends the process with locksmith's exit codes: 0, 1 failed, 2 usage; 130 interrupted."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.exit(run(sys.argv[1:], Path(sys.argv[0]).name))


def run(words: Sequence[str], program: str = NAME) -> int:
    """Carry out one command line; returns the exit code."""
    try:
        found = goflags.parse(words, FLAGS, SWITCHES)
    except goflags.HelpAsked:
        line(_usage())
        return 0
    except goflags.FlagError as error:
        complain(f"{error}\n{_usage()}")
        return 2
    if found.switches.get("version"):
        line(f"{program} version {__version__}")
        return 0
    goflags.from_environment(found, FLAGS, PREFIX, os.environ)
    command, *arguments = found.rest or ["help"]
    if command == "help":
        return _help(arguments)
    if command not in COMMANDS:
        line(f"{NAME}: unknown subcommand: \"{command}\"\nRun '{NAME} help' for usage.")
        return 2
    try:
        arguments = goflags.parse(arguments, {}).rest
    except (goflags.FlagError, goflags.HelpAsked) as error:
        complain(f"{error or 'flag: help requested'}\n{_command_usage(command)}")
        return 2
    return _carry_out(COMMANDS[command], found, arguments)


def _carry_out(command: _Command, found: goflags.Flags, arguments: list[str]) -> int:
    stop = Stop()
    call = _Call(Given(stop, quiet=True), TIMEOUT, CLEAN_UP)
    try:
        call.overrides.update(_overrides(found))
        with stop.installed(), call:
            command.run(call, arguments)
    except _Failure as failure:
        return _failed(str(failure), failure.more)
    except (KeyboardInterrupt, Interrupted):
        return Interrupted.exit_code
    except Refused as error:
        return _failed(f"{command.prefix}: {_their_word(error)}", str(error))
    except LocksmithError as error:
        return _failed(f"{command.prefix if call.connected else NOT_CONNECTED}: {error}")
    return 0


def _failed(message: str, more: str = "") -> int:
    complain(message)
    if more and more not in message:
        complain(more)
    return 1


def _their_word(error: Refused) -> str:
    """What locksmith says in that case, or our own words where it knew no such thing."""
    match error:
        case Full():
            return "semaphore is at 0"
        case HeldByAgent() | HeldElsewhere():
            return "holder exists"
        case NotHeld():
            return "holder does not exist"
        case Asked():
            return "the holder has not given it back; if the machine is gone for good: lockctl unlock NODE --force --reason TEXT"
        case _:
            return str(error)


# ---------------------------------------------------------------- flags


def _overrides(found: goflags.Flags) -> dict[str, str]:
    """The keys of the configuration that the flags and variables set. Raises _Failure."""
    from locksmith.config_flatcar import store_url
    from locksmith.core.store_url import parse_store_url

    keys: dict[str, str] = {}
    if endpoint := found.texts.get("endpoint", "").strip():
        try:
            ours = not endpoint.lower().startswith("http") and _SCHEME.match(endpoint)
            keys["store.url"] = str(parse_store_url(endpoint)) if ours else store_url(endpoint)
        except ValueError as error:
            raise _Failure(f"{NOT_CONNECTED}: {error}") from error
    for flag, key in _ACCESS.items():
        if value := found.texts.get(flag):
            keys[f"store.{key}"] = str(Path(value).absolute())
    if username := found.texts.get("etcd-username"):
        keys["store.username"] = username
    if password := found.texts.get("etcd-password"):
        keys["store.password_file"] = _in_memory(password)
    if group := found.texts.get("group"):
        keys["node.group"] = group
    return keys


def _in_memory(secret: str) -> str:
    """A file that holds it and is on no disk: credentials are files to us, and this one ends with the process."""
    descriptor = os.memfd_create("password")
    os.write(descriptor, secret.encode())
    return f"/proc/self/fd/{descriptor}"


# ---------------------------------------------------------------- commands


def _node(call: _Call, arguments: list[str]) -> "NodeRef":
    """The node of an id, by default this machine: also a raw machine id, which locksmith used. Raises _Failure."""
    if not arguments:
        try:
            call.own_id()
        except ConfigError as error:
            raise _Failure("Cannot read machine-id", str(error)) from error
        return call.node(None)
    from locksmith.host.identity import node_id

    name = arguments[0]
    ref = call.node(name, warn=False)
    if not ref.known and _RAW_MACHINE_ID.fullmatch(name) and not _holds(call, name):
        derived = call.node(node_id(name), warn=False)
        if derived.known or _holds(call, derived.node):
            return derived
    if not ref.known:
        complain(f"{NAME}: warning: no agent has reported as {name!r}: it is taken literally, and binds no agent")
    return ref


def _holds(call: _Call, node: str) -> bool:
    return any(holder.node == node for holder in _status_of(call).holders)


def _status_of(call: _Call) -> "GroupStatus":
    from locksmith.semaphore.reading import status

    return status(call.actor, call.group)


def _lock(call: _Call, arguments: list[str]) -> None:
    from locksmith.semaphore import by_hand

    call.connect()
    ref = _node(call, arguments)
    group = ref.group if ref.group and not call.group_is_explicit else call.group
    with call.given.stop.deferred() as stop:
        locked = by_hand.lock(
            call.actor,
            ref.node,
            ref.host or "",
            group,
            f"{NAME} lock",
            wait=False,
            patience=call.deadline.left(),
            progress=lambda _: None,
            stop=stop,
        )
    call.poke()
    if locked.already:
        raise _Failure("Error locking: holder exists")


def _unlock(call: _Call, arguments: list[str]) -> None:
    from locksmith.semaphore import by_hand

    call.connect()
    ref = _node(call, arguments)
    with call.given.stop.deferred() as stop:
        by_hand.unlock(
            call.actor,
            ref.node,
            f"{NAME} unlock",
            strict=True,
            patience=call.deadline.left() or TIMEOUT,
            progress=lambda _: None,
            stop=stop,
        )
    call.poke()


def _set_max(call: _Call, arguments: list[str]) -> None:
    from locksmith.semaphore import operating

    if not arguments:
        raise _Failure("New maximum value must be set.")
    if not _NUMBER.fullmatch(arguments[0]) or int(arguments[0]) > _MAX_SLOTS:
        raise _Failure(f"Invalid maximum value: {arguments[0]}")
    call.connect()
    done = operating.set_max(call.actor, call.group, int(arguments[0]))
    # A group that did not exist had the one slot that the first to come would have given it.
    line(f"Old-Max: {1 if done.old is None else done.old}\nMax: {done.new}")


def _status(call: _Call, _: list[str]) -> None:
    call.connect()
    group = _status_of(call)
    slots = 1 if group.slots is None else group.slots
    line(f"Available: {slots - group.held}\nMax: {slots}")
    if group.holders:
        line("\nMACHINE ID")
        for holder in group.holders:
            line(holder.node)
    if group.paused is not None:
        complain(f"paused by {group.paused.by}: {group.paused.reason}")
    if group.halted is not None:
        complain(f"halted, since a node failed: {', '.join(group.halted.nodes)}; see lockctl status, lockctl why")


def _reboot(call: _Call, _: list[str]) -> None:
    """Through the agent, which alone can wait for the slot, drain, prove the reboot and give the slot back."""
    from locksmith.semaphore.operating import request_reboot

    if os.geteuid() != 0:
        raise _Failure("Must be root to initiate reboot.")
    call.connect()
    ref = _node(call, [])
    strategy = call.config.agent.strategy
    if strategy in ("off", "observe"):
        raise _Failure(
            f"Error rebooting: the agent here reboots nothing, its strategy is {strategy}; see lockctl config"
        )
    if not _agent_runs(call):
        raise _Failure(
            "Error rebooting: no agent runs on this machine: start locksmithd, or do it by hand: "
            f"{NAME} lock, reboot, {NAME} unlock"
        )
    if any(holder.node == ref.node and holder.phase == "maintenance" for holder in _status_of(call).holders):
        raise _Failure("Error locking: holder exists", f"it is held by hand, and stays here until: {NAME} unlock")
    request_reboot(call.actor, ref.node, f"{NAME} reboot", ("window", "min_interval"))
    call.poke()
    complain("asked: this machine reboots when it has a slot and its gates are open; see lockctl why")


def _agent_runs(call: _Call) -> bool:
    from locksmith.cli.local import agent_pid

    with suppress(OSError):
        return agent_pid(call.config.node.run_dir) is not None
    return True


def _send_need_reboot(_: _Call, __: list[str]) -> None:
    """Anybody may send this signal, so nobody may be rebooted by it: our agent asks update_engine itself."""
    from locksmith.host.outcome import Finished, describe
    from locksmith.host.system import System

    outcome = System().call("busctl", "--system", "emit", *_SIGNAL)
    if not isinstance(outcome, Finished) or outcome.code != 0:
        raise _Failure(f"error emitting signal: {describe(outcome)}")
    complain("sent; locksmithd believes only update_engine's own answer: to try a reboot, use lockctl reboot")


COMMANDS = {
    "lock": _Command(_lock, "[ID]", "take a slot for this machine, or for ID", "Error locking"),
    "reboot": _Command(_reboot, "", "reboot this machine through its agent, when it has a slot", "Error rebooting"),
    "send-need-reboot": _Command(
        _send_need_reboot, "", "send update_engine's signal that an update waits", "error emitting signal"
    ),
    "set-max": _Command(_set_max, "NUMBER", "set how many may hold a slot", "Error setting value"),
    "status": _Command(_status, "", "show the slots and who holds them", "Error getting value"),
    "unlock": _Command(_unlock, "[ID]", "give the slot of this machine, or of ID, back", "Error unlocking"),
}
_HELP = "show the commands, or more about one"


# ---------------------------------------------------------------- help


def _help(arguments: list[str]) -> int:
    if not arguments:
        line(_usage())
    elif arguments[0] == "help" or arguments[0] in COMMANDS:
        line(_command_usage(arguments[0]))
    else:
        line(f"Unrecognized command: {arguments[0]}")
        return 1
    return 0


def _usage() -> str:
    commands = {"help": _HELP} | {name: command.summary for name, command in COMMANDS.items()}
    flags = FLAGS | {"debug": "taken, and means nothing", "version": "print the version and exit"}
    return "\n".join(
        (
            f"NAME:\n\t{NAME} - locksmith's commands on the stores of lockctl, which can do more",
            f"\nUSAGE:\n\t{NAME} [global options] <command> [arguments...]",
            f"\nVERSION:\n\t{__version__}",
            "\nCOMMANDS:",
            *(f"\t{name:<18}{text}" for name, text in sorted(commands.items())),
            "\nGLOBAL OPTIONS (or the variables LOCKSMITHCTL_ENDPOINT and so on):",
            *(f"\t--{name:<16}{text}" for name, text in sorted(flags.items())),
            f'\nRun "{NAME} help <command>" for more about one command.',
        )
    )


def _command_usage(command: str) -> str:
    usage, summary = ("[COMMAND]", _HELP) if command == "help" else (COMMANDS[command].usage, COMMANDS[command].summary)
    return f"NAME:\n\t{command} - {summary}\n\nUSAGE:\n\t{NAME} {command} {usage}".rstrip()
