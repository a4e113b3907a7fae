"""The command line as a whole: which module has which command, and what becomes of an error.

The one idea a reader would miss: the help of the program is written from the table below, so that listing the commands
imports none of them.
"""

import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from locksmith.cli.options import Given, Subject, common_options, write_options
from locksmith.cli.output import Output, Reported
from locksmith.cli.signals import Stop
from locksmith.core.names import did_you_mean
from locksmith.errors import Interrupted, LocksmithError, UsageError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

COMPLETING = "_LOCKCTL_COMPLETE"
"""In the environment while a shell asks for words; see `completion`."""

COMMANDS: dict[str, tuple[str, str]] = {
    "status": ("locksmith.cli.status", "Slots, holders, the queue, pause and halt."),
    "why": ("locksmith.cli.why", "Why a node does not reboot now, or what it is doing."),
    "history": ("locksmith.cli.history", "Who took a slot, rebooted, failed, was forced or paused, and by whom."),
    "audit": ("locksmith.cli.history", "Replay the history: was a limit ever exceeded?"),
    "plan": ("locksmith.cli.plan", "In which order and until when the staged nodes will have rebooted."),
    "groups": ("locksmith.cli.registry", "The groups and how full they are."),
    "nodes": ("locksmith.cli.registry", "The nodes that have reported, and what they say."),
    "forget": ("locksmith.cli.registry", "Remove a node that is gone for good."),
    "lock": ("locksmith.cli.slots", "Take a slot by hand."),
    "unlock": ("locksmith.cli.slots", "Give a slot back, or ask the agent for it."),
    "set-max": ("locksmith.cli.slots", "How many may reboot at once in the group."),
    "pause": ("locksmith.cli.brakes", "Stop new reboots of the group, the fleet or a node."),
    "resume": ("locksmith.cli.brakes", "End a pause; acknowledge failed nodes."),
    "reboot": ("locksmith.cli.reboots", "Ask nodes to reboot once, under a slot."),
    "windows": ("locksmith.cli.windows", "When reboots may begin."),
    "doctor": ("locksmith.cli.doctor", "Check this machine's set-up, and say what to do."),
    "restored": ("locksmith.cli.restored", "After the store was restored from a backup."),
    "fsck": ("locksmith.cli.fsck", "Check the store's counts, and mend them."),
    "config": ("locksmith.cli.settings", "The configuration in force, and where it comes from."),
    "completion": ("locksmith.cli.completion", "The script that completes lockctl's words in a shell."),
    "demo": ("locksmith.demo.command", "Watch a simulated fleet reboot in turn."),
    "version": ("locksmith.cli.version", "The versions of locksmith and Python."),
}
"""Command: its module, and one line for the help. The attribute is the name with `_` for `-`."""


class Program(click.Group):
    """lockctl itself."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """All of them, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import the one that is used."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(COMMANDS[cmd_name][0])
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        if not isinstance(command, Subject):
            # The demo does not know lockctl; what it has no option of its own for, it takes and does not mind.
            own = {param.name for param in command.params}
            command.params.extend(option for option in common_options() if option.name not in own)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem[str]]":
        """Its options as click does; the commands from the table."""
        from click.shell_completion import CompletionItem

        if incomplete.startswith("-"):
            return click.Command.shell_complete(self, ctx, incomplete)
        return [CompletionItem(name, help=text) for name, (_, text) in COMMANDS.items() if name.startswith(incomplete)]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Refuse an unknown one with the nearest known one."""
        if args and args[0] not in COMMANDS and not ctx.resilient_parsing:
            raise click.UsageError(f"no such command {args[0]!r}{did_you_mean(args[0], COMMANDS)}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The table."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands first, since they are what somebody looks for."""
        self.format_commands(ctx, formatter)
        write_options(ctx, formatter, self.get_params(ctx), "Options, before or after the command")


def _version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from locksmith.cli.version import show

        show(json=ctx.ensure_object(Given).asks_json)
        ctx.exit()


@click.pass_context
def _before(ctx: click.Context) -> None:
    """A --store in front of a command that has a --store of its own is meant for that."""
    given = ctx.ensure_object(Given)
    ctx.default_map = {"demo": {"store": given.store, "json": given.json}}


lockctl = Program(
    name="lockctl",
    help="Reboot a fleet in turn: see who holds a slot, who waits and why, and steer it.",
    epilog="NODE is a node's id, its host name, or 8 or more first digits of its id; without it this machine is meant.",
    params=[
        *common_options(),
        click.Option(
            ["--version"], is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show it."
        ),
    ],
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    callback=_before,
    no_args_is_help=False,
    invoke_without_command=False,
)


def run(arguments: Sequence[str]) -> int:
    """Carry out one command line; returns the exit code."""
    if COMPLETING in os.environ:
        from locksmith.cli.completion import answer

        return answer(lockctl, arguments)
    stop = Stop()
    given = Given(stop, asks_json=wants_json(arguments))
    try:
        with stop.installed():
            code = lockctl.main(list(arguments), prog_name="lockctl", obj=given, standalone_mode=False)
            sys.stdout.flush()
            return code if isinstance(code, int) else 0
    except BrokenPipeError:
        # The reader has gone (`| head`): nobody is left to tell, and Python must not complain at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except click.ClickException as error:
        given.json = given.asks_json
        return _fail(given, UsageError(_usage_message(error)))
    except (KeyboardInterrupt, click.Abort):
        return _fail(given, Interrupted("interrupted"))
    except LocksmithError as error:
        return _fail(given, error)
    except Exception as error:  # noqa: BLE001  (the top: a bug of ours still ends with a document and exit 1)
        if given.verbose:
            traceback.print_exc()
        hint = "" if given.verbose else "; -v shows where"
        return _fail(given, LocksmithError(f"internal error: {type(error).__name__}: {error}{hint}"))


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether --json stands anywhere, for a line that could not be parsed."""
    words = list(arguments)
    return "--json" in (words[: words.index("--")] if "--" in words else words)


def _fail(given: Given, error: LocksmithError) -> int:
    Output(given.json, given.quiet, given.color).failed(error)
    return error.error.exit_code if isinstance(error, Reported) else error.exit_code


def _usage_message(error: click.ClickException) -> str:
    """Click's message in our manner: lower case, with the remedy, and nothing in it that a terminal obeys."""
    from locksmith.cli.render import clean

    text = "\n".join(clean(part.expandtabs(4)) for part in error.format_message().rstrip(".").split("\n"))
    text = (text[:1].lower() + text[1:]).replace(". Did you mean", "; did you mean")
    if not isinstance(error, click.UsageError) or error.ctx is None:
        return text
    return f"{text}{'' if text.endswith('?') else ';'} see {error.ctx.command_path} --help"
