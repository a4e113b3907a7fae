"""Which way to reboot an agent gets. Each implementation is imported only when it is used."""

import os
import sys
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NoReturn, assert_never

from locksmith.assemble_updates import updates
from locksmith.config_checks import InhibitorsSpec
from locksmith.config_model import Config
from locksmith.config_updates import ProgramUpdate
from locksmith.errors import ConfigError, Damaged
from locksmith.host import identity
from locksmith.host.files import write_durably
from locksmith.host.system import System
from locksmith.rebooters import Accepted, Idle, NotAccepted, Rebooter


def rebooter(config: Config, boot: str, system: System) -> Rebooter:
    """The way to reboot that the configuration wants; `boot` names this boot. Raises ConfigError."""
    run_dir = config.node.run_dir
    match config.reboot.kind:
        case "auto" | "logind" | "systemctl":
            return _after_others(_by_systemd(config, boot, system), run_dir, boot, system)
        case "command":
            from locksmith.rebooters.command import CommandRebooter

            return _after_others(CommandRebooter(config.reboot.command, run_dir, boot, system), run_dir, boot, system)
        case "simulated":
            from locksmith.rebooters.simulated import SimulatedRebooter

            return SimulatedRebooter(_next_boot(config.node.boot_id_file), Idle)
        case _:
            assert_never(config.reboot.kind)


def _by_systemd(config: Config, boot: str, system: System) -> Rebooter:
    """Through logind, which is asked at the moment of the reboot; an rpm-ostree system may have to finalize first."""
    from locksmith.host.bus import Bus
    from locksmith.rebooters.logind import LogindRebooter
    from locksmith.rebooters.method import Methods
    from locksmith.rebooters.systemctl import SystemctlRebooter

    settings, run_dir = config.reboot, config.node.run_dir
    methods = Methods(settings.method, system)
    ignore = [who for gate in config.gates if isinstance(gate, InhibitorsSpec) for who in gate.ignore]
    honour = settings.inhibitors == "honour"
    by_command = SystemctlRebooter(system, methods=methods, honour_inhibitors=honour, ignore=ignore)
    inner: LogindRebooter | SystemctlRebooter = by_command
    if settings.kind != "systemctl":
        inner = LogindRebooter(
            Bus(),
            system,
            methods=methods,
            otherwise=by_command if settings.kind == "auto" else None,
            honour_inhibitors=honour,
            ignore=ignore,
            run_dir=run_dir,
            boot=boot,
        )
    if any(isinstance(spec, ProgramUpdate) and spec.program == "rpm-ostree" for spec in updates(config)):
        from locksmith.rebooters.rpm_ostree import FinalizingRebooter

        return FinalizingRebooter(inner, run_dir, boot, system, blocked=inner.blocked)
    return inner


def _after_others(inner: Rebooter, run_dir: Path, boot: str, system: System) -> Rebooter:
    """With an eye on what a kind that was configured before has begun in this boot."""
    from locksmith.host.bus import Bus
    from locksmith.rebooters.command import CommandRebooter
    from locksmith.rebooters.earlier import EarlierCalls
    from locksmith.rebooters.logind import LogindRebooter
    from locksmith.rebooters.rpm_ostree import FinalizingRebooter

    by_command = CommandRebooter((), run_dir, boot, system)
    others: list[tuple[str, type[Rebooter], Rebooter]] = [
        ("reboot-command.json", CommandRebooter, by_command),
        ("reboot-logind.json", LogindRebooter, LogindRebooter(Bus(), system, run_dir=run_dir, boot=boot)),
        ("finalize-deployment", FinalizingRebooter, FinalizingRebooter(by_command, run_dir, boot, system)),
    ]
    return EarlierCalls(inner, [(run_dir / name, other) for name, kind, other in others if not isinstance(inner, kind)])


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
