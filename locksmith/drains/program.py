"""The command line of locksmith-drain: one command a kind of work, three actions each.

The idea a reader would miss: `undo` follows an attempt that was called off, `back` a reboot; where the two do the same, the
hooks still say which, because they differ for Kubernetes (after a reboot the node must be Ready first).
"""

import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, TypeVar

import click

from locksmith.core.durations import parse_duration
from locksmith.drains.addresses import service_at
from locksmith.drains.consul import ConsulDrain
from locksmith.drains.containers import ContainerRules, ContainersDrain, kept_for, owing
from locksmith.drains.ending import Done, Ending, NotDone, Patience
from locksmith.drains.engine import SOCKETS, Engine
from locksmith.drains.kept import STATE_DIR, Kept
from locksmith.drains.kubernetes import DrainRules, KubernetesDrain
from locksmith.drains.nomad import NomadDrain, NomadRules
from locksmith.drains.pods import Choice, PodRules
from locksmith.errors import LocksmithError
from locksmith.host.clock import SystemClock
from locksmith.host.identity import host_name
from locksmith.host.kubeconfig import load

Action = Literal["drain", "undo", "back"]
_LIMITS = {"drain": timedelta(minutes=8), "undo": timedelta(minutes=2), "back": timedelta(minutes=2)}
"""Below the 10 minutes that a hook has by default, so that the reason is ours and not "no end within 10m"."""
_QUICK = timedelta(seconds=30)
"""For Consul, where nothing is waited for but the local agent's answer."""
_CHOICES = ["refuse", "evict", "leave"]
_Command = TypeVar("_Command", bound=Callable[..., Any])


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    try:
        result = program.main(list(arguments), prog_name="locksmith-drain", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return 130
    except LocksmithError as error:
        _fail(str(error))
        return error.exit_code
    match result:
        case NotDone(reason):
            _fail(reason)
            return 1
        case Done(note):
            _say(note)
            return 0
        case _:  # --help
            return 0


class _Duration(click.ParamType[timedelta]):
    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        if isinstance(value, timedelta):
            return value
        try:
            return parse_duration(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _common(command: _Command) -> _Command:
    """What every kind has. The token is the slot's, as the agent gives it to hooks."""
    for option in (
        click.option("--token", envvar="LOCKSMITH_TOKEN", default="", help="The slot's token [LOCKSMITH_TOKEN]."),
        click.option("--on-timeout", type=click.Choice(["abort", "continue"]), default="abort", show_default=True),
        click.option("--timeout", type=_Duration(), help="For all of it [8m for drain, else 2m]."),
        click.argument("action", type=click.Choice(list(_LIMITS))),
    ):
        command = option(command)
    return command


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 not done (the last line of standard error says why), 2 wrong usage or configuration.",
)
def program() -> None:
    """Take the work off this machine before a reboot, and give it back. The hooks of locksmith call it."""


@program.command()
@_common
@click.option("--node", help="The node's name [the host name in small letters].")
@click.option("--kubeconfig", type=click.Path(path_type=Path), help="[KUBECONFIG, the pod's own, the usual places]")
@click.option("--grace-period", type=click.IntRange(min=0), help="Seconds for each pod [its own].")
@click.option("--pod-selector", default="", help="Only pods with these labels are evicted.")
@click.option("--emptydir", type=click.Choice(_CHOICES), default="refuse", help="Pods with an emptyDir [refuse].")
@click.option("--delete-emptydir-data", is_flag=True, help="The same as --emptydir evict, as kubectl has it.")
@click.option("--bare", type=click.Choice(_CHOICES), default="refuse", help="Pods without a controller [refuse].")
@click.option("--force", is_flag=True, help="The same as --bare evict, as kubectl has it.")
@click.option("--forget-terminating", type=_Duration(), help="Do not wait for pods that should be gone that long.")
@click.option("--wait-ready/--no-wait-ready", default=True, help="back: uncordon only a Ready node [yes].")
def kubernetes(  # noqa: PLR0913 - one parameter an option
    *,
    action: Action,
    timeout: timedelta | None,
    on_timeout: str,
    token: str,
    node: str | None,
    kubeconfig: Path | None,
    grace_period: int | None,
    pod_selector: str,
    emptydir: Choice,
    delete_emptydir_data: bool,
    bare: Choice,
    force: bool,
    forget_terminating: timedelta | None,
    wait_ready: bool,
) -> Ending:
    """Cordon the node and evict its pods; uncordon it if we cordoned it.

    Disruption budgets are honoured. DaemonSet and mirror pods stay. An evicted pod loses its emptyDir, and one without a
    controller never comes back; with `leave` they go down with the machine and start again on it.
    """
    clock = SystemClock()
    patience = Patience(timeout or _LIMITS[action], clock)
    drain = KubernetesDrain(load(kubeconfig), node or host_name().lower(), patience, clock, _say)
    if action == "drain":
        pods = PodRules("evict" if delete_emptydir_data else emptydir, "evict" if force else bare, forget_terminating)
        rules = DrainRules(pods, grace_period, pod_selector, go_on=on_timeout == "continue")
        return drain.drain(rules, token or "by hand")
    booted_at = clock.wall() - timedelta(seconds=clock.boottime())
    return drain.uncordon(booted_at if action == "back" and wait_ready else None)


@program.command()
@_common
@click.option("--socket", type=click.Path(path_type=Path), help="[/run/docker.sock, else /run/podman/podman.sock]")
@click.option("--order", multiple=True, metavar="PATTERN", help="Names to stop first; again for those that follow.")
@click.option("--keep", multiple=True, metavar="PATTERN", help="Names that are never stopped.")
@click.option("--grace-period", type=click.IntRange(min=0), help="Seconds before the engine kills [each one's own].")
@click.option("--state-dir", type=click.Path(path_type=Path), default=STATE_DIR, show_default=True)
def containers(  # noqa: PLR0913 - one parameter an option
    *,
    action: Action,
    timeout: timedelta | None,
    on_timeout: str,
    token: str,  # noqa: ARG001 - what is ours stands in the file
    socket: Path | None,
    order: tuple[str, ...],
    keep: tuple[str, ...],
    grace_period: int | None,
    state_dir: Path,
) -> Ending:
    """Stop the containers of Docker or Podman in order, and start again those that we stopped.

    The label locksmith.drain.order (a whole number, the smallest stops first) goes before --order.
    """
    patience = Patience(timeout or _LIMITS[action], SystemClock())
    if action == "drain":
        place = socket or next((each for each in SOCKETS if each.exists()), SOCKETS[0])
        rules = ContainerRules(order, keep, grace_period, go_on=on_timeout == "continue")
        return ContainersDrain(Engine(place), kept_for(state_dir, place), patience, _say).drain(rules)
    places = (socket,) if socket else owing(state_dir, SOCKETS)
    endings = [
        ContainersDrain(Engine(each), kept_for(state_dir, each), patience.share(len(places) - index), _say).start()
        for index, each in enumerate(places)
    ]
    late = [each.reason for each in endings if isinstance(each, NotDone)]
    if late:
        return NotDone("; ".join(late))
    return endings[-1] if endings else Done("no container was stopped by us")


def _service_options(title: str, port: int) -> Callable[[_Command], _Command]:
    """Address and credentials, under the variables of the product's own command line."""
    product = title.upper()
    http = f"{product}_HTTP" if product == "CONSUL" else product

    def add(command: _Command) -> _Command:
        path = click.Path(path_type=Path)
        for option in (
            click.option("--key-file", type=path, envvar=f"{product}_CLIENT_KEY", show_envvar=True),
            click.option("--cert-file", type=path, envvar=f"{product}_CLIENT_CERT", show_envvar=True),
            click.option("--ca-file", type=path, envvar=f"{product}_CACERT", show_envvar=True),
            click.option("--token-file", type=path, help=f"Holds the ACL token [else {http}_TOKEN]."),
            click.option(
                "--address",
                envvar=f"{http}_ADDR",
                show_envvar=True,
                default=f"http://127.0.0.1:{port}",
                show_default=True,
            ),
        ):
            command = option(command)
        return command

    return add


@program.command()
@_common
@_service_options("Nomad", 4646)
@click.option("--node", help="The full id of the client [asked from the local agent].")
@click.option(
    "--deadline", type=_Duration(), default=timedelta(minutes=5), help="Nomad stops what still runs then [5m]."
)
@click.option("--system-jobs", is_flag=True, help="Stop system jobs as well, at the end.")
@click.option("--state-dir", type=click.Path(path_type=Path), default=STATE_DIR, show_default=True)
def nomad(  # noqa: PLR0913 - one parameter an option
    *,
    action: Action,
    timeout: timedelta | None,
    on_timeout: str,
    token: str,
    node: str | None,
    deadline: timedelta,
    system_jobs: bool,
    state_dir: Path,
    **service: Any,
) -> Ending:
    """Drain this Nomad client, and make it eligible again if we drained it."""
    patience = Patience(timeout or _LIMITS[action], SystemClock())
    if action == "drain" and deadline >= patience.limit:
        raise click.UsageError("--deadline must be shorter than --timeout, or its end is never seen")
    where = service_at("Nomad", **service)
    drain = NomadDrain(where, node, token, Kept(state_dir, "nomad"), patience, _say)
    if action == "drain":
        return drain.drain(NomadRules(deadline, system_jobs, go_on=on_timeout == "continue"))
    return drain.back()


@program.command()
@_common
@_service_options("Consul", 8500)
@click.option("--settle", type=_Duration(), default=timedelta(0), help="drain: wait that long once it is on [0s].")
@click.option("--reason", envvar="LOCKSMITH_REASON", default="", help="For people [LOCKSMITH_REASON].")
def consul(  # noqa: PLR0913 - one parameter an option
    *,
    action: Action,
    timeout: timedelta | None,
    on_timeout: str,
    token: str,
    settle: timedelta,
    reason: str,
    **service: Any,
) -> Ending:
    """Put this node into Consul's maintenance mode, and take it out again if the mode is ours."""
    patience = Patience(timeout or _QUICK + settle, SystemClock())
    drain = ConsulDrain(service_at("Consul", **service), patience, _say)
    if action != "drain":
        return drain.back()
    ending = drain.drain(token or "by hand", reason, settle)
    if isinstance(ending, NotDone) and on_timeout == "continue" and patience.over:
        return Done(f"going on: {ending.reason}")
    return ending


def _say(line: str) -> None:
    click.echo(" ".join(line.split()))


def _fail(line: str) -> None:
    click.echo(f"locksmith-drain: {' '.join(line.split())}", err=True)
    sys.stderr.flush()
