"""Which update providers an agent gets: the configured ones, or those that this machine turns out to have.

Each implementation is imported only when it is used: an agent needs one or two of them.
"""

from pathlib import Path
from typing import assert_never, cast

from locksmith.config_model import Config
from locksmith.config_updates import (
    CommandUpdate,
    K3osUpdate,
    KernelUpdate,
    NeedrestartUpdate,
    NeedsRestartingUpdate,
    ProgramUpdate,
    RebootRequiredUpdate,
    SnapdUpdate,
    TransactionalUpdate,
    Update,
    UpdateEngineUpdate,
    UpdateKind,
    default_update,
)
from locksmith.updates import Provider
from locksmith.updates.detect import detect


def updates(config: Config) -> tuple[Update, ...]:
    """The configured providers; without any, those that the machine has. Empty when there is none."""
    if not config.detect_updates:
        return config.updates
    return tuple(default_update(cast("UpdateKind", kind)) for kind in detect())


def provider(spec: Update, run_dir: Path) -> Provider:
    """The implementation of one entry; `run_dir` is for what one has to remember within this boot."""
    match spec:
        case RebootRequiredUpdate(name, path, packages):
            from locksmith.updates.reboot_required import RebootRequired

            return RebootRequired(name, path, packages)
        case UpdateEngineUpdate(name, timeout):
            from locksmith.host.bus import Bus
            from locksmith.updates.update_engine import UpdateEngine

            return UpdateEngine(name, Bus(), timeout=timeout, memory=run_dir / f"update-engine-{name}.json")
        case ProgramUpdate():
            return _program(spec)
        case TransactionalUpdate(name, path):
            from locksmith.updates.transactional_update import TransactionalUpdate as Implementation

            return Implementation(name, path)
        case NeedrestartUpdate(name, timeout, microcode):
            from locksmith.updates.needrestart import Needrestart

            return Needrestart(name, timeout, microcode=microcode)
        case NeedsRestartingUpdate(name, timeout, tool):
            from locksmith.updates.needs_restarting import NeedsRestarting

            return NeedsRestarting(name, timeout, tool)
        case _:
            return _other(spec)


def _other(spec: SnapdUpdate | K3osUpdate | KernelUpdate | CommandUpdate) -> Provider:
    match spec:
        case SnapdUpdate(name, socket, timeout):
            from locksmith.updates.snapd import Snapd

            return Snapd(name, socket, timeout)
        case K3osUpdate(name, root):
            from locksmith.updates.k3os import K3os

            return K3os(name, root)
        case KernelUpdate(name):
            from locksmith.updates.kernel import Kernel

            return Kernel(name)
        case CommandUpdate(name, command, timeout):
            from locksmith.updates.command import CommandProvider

            return CommandProvider(name, command, timeout)
        case _:
            assert_never(spec)


def _program(spec: ProgramUpdate) -> Provider:
    match spec.program:
        case "rpm-ostree":
            from locksmith.updates.rpm_ostree import RpmOstree

            return RpmOstree(spec.name, spec.timeout)
        case "bootc":
            from locksmith.updates.bootc import Bootc

            return Bootc(spec.name, spec.timeout)
        case "sysupdate":
            from locksmith.updates.sysupdate import Sysupdate

            return Sysupdate(spec.name, spec.timeout)
        case _:
            assert_never(spec.program)
