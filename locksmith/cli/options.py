"""What may be written on any command line of lockctl: the common options, and how values are read.

The one idea a reader would miss: the common options belong to the program and to every command alike, and all of them
write into one `Given`, so that their place does not matter. What stands later on the line wins.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from locksmith.cli.signals import Stop
from locksmith.core import names
from locksmith.core.durations import parse_duration, parse_rfc3339, parse_time

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

Color = Literal["auto", "always", "never"]


@dataclass(slots=True)
class Given:
    """The common options as they were written; None and False: not written.

    `asks_json` says that --json stands anywhere on the line, also when the line could not be parsed.
    """

    stop: Stop = field(default_factory=Stop)
    asks_json: bool = False
    config: Path | None = None
    store: str | None = None
    group: str | None = None
    json: bool = False
    timeout: timedelta | None = None
    color: Color = "auto"
    quiet: bool = False
    verbose: bool = False


class _Parsed(click.ParamType[Any]):
    """A value read by one of the parsers of `core`, whose ValueError says what is wrong and what to write."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _positive_duration(text: str) -> timedelta:
    duration = parse_duration(text)
    if not duration:
        raise ValueError("a time-out of 0 leaves no time for anything: write at least 1s")
    return duration


def _plain(text: str) -> str:
    """Free text of an operator: kept for years in the store and shown on other people's terminals."""
    if not text.strip():
        raise ValueError("the text is empty: say why")
    if not text.isprintable():
        raise ValueError("the text has control characters or line ends in it: write one plain line")
    return text.strip()


def _past(text: str) -> datetime:
    """A time, or how long ago."""
    now = datetime.now(UTC)
    try:
        return parse_rfc3339(text)
    except ValueError as error:
        try:
            return now - parse_duration(text)
        except (ValueError, OverflowError):
            raise ValueError(
                f"{text[:40]!r} is neither a time such as 2026-01-31T02:00:00Z nor how long ago, such as 2h30m"
            ) from error


def _slots(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 6:  # noqa: PLR2004
        raise ValueError(f"{text[:40]!r} is not a number of slots: write 1 or more")
    if int(text) == 0:
        raise ValueError("0 slots would stop the group without a word why: use lockctl pause --reason TEXT")
    return int(text)


DURATION = _Parsed("duration", parse_duration)
TIMEOUT = _Parsed("duration", _positive_duration)
TIME = _Parsed("time", lambda text: parse_time(text, datetime.now(UTC)))
SINCE = _Parsed("time", _past)
GROUP = _Parsed("name", names.group_name)
TEXT = _Parsed("text", _plain)
SLOTS = _Parsed("number", _slots)


def _keep(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    if param.name and ctx.get_parameter_source(param.name) is click.core.ParameterSource.COMMANDLINE:
        setattr(ctx.ensure_object(Given), param.name, value)


def _common(*words: str, help: str, **more: Any) -> click.Option:  # noqa: A002  (click's own word)
    return click.Option(words, help=help, callback=_keep, expose_value=False, **more)


def _group_names(ctx: click.Context, _param: click.Parameter, incomplete: str) -> "list[CompletionItem[str]]":
    from locksmith.cli.completion import offered

    return offered(ctx.ensure_object(Given), "group", incomplete)


def common_options() -> list[click.Option]:
    """A fresh set of the options that every command takes."""
    return [
        _common("--config", type=click.Path(path_type=Path), metavar="FILE", help="Read only this file."),
        _common("--store", metavar="URL", help="The store, instead of the configured one."),
        _common(
            "--group",
            type=GROUP,
            metavar="NAME",
            shell_complete=_group_names,
            help="The group, instead of the configured one.",
        ),
        _common("--json", is_flag=True, help="One JSON document on standard output, errors too."),
        _common("--timeout", type=TIMEOUT, metavar="DURATION", help="For the whole command; default 10s."),
        _common("--color", type=click.Choice(["auto", "always", "never"]), help="Colours and boxes; default auto."),
        _common("-q", "--quiet", is_flag=True, help="No messages besides errors."),
        _common("-v", "--verbose", is_flag=True, help="Also details; with an internal error, where it happened."),
    ]


COMMON_NAMES = frozenset(option.name for option in common_options())


class Subject(click.Command):
    """A command of lockctl: its own options, and after them the common ones."""

    def __init__(self, name: str | None, *, params: list[click.Parameter] | None = None, **kwargs: Any) -> None:
        """As click's, with the common options added."""
        kwargs.setdefault("context_settings", {"help_option_names": ["-h", "--help"]})
        super().__init__(name, params=[*(params or ()), *common_options()], **kwargs)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Its own options first."""
        own = [param for param in self.get_params(ctx) if param.name not in COMMON_NAMES]
        write_options(ctx, formatter, own, "Options")
        write_options(ctx, formatter, common_options(), "Common options, before or after the command")


def write_options(
    ctx: click.Context, formatter: click.HelpFormatter, params: Sequence[click.Parameter], heading: str
) -> None:
    """One section of a help page."""
    rows = [row for param in params if (row := param.get_help_record(ctx)) is not None]
    if rows:
        with formatter.section(heading):
            formatter.write_dl(rows)


def node_names(ctx: click.Context, _param: click.Parameter, incomplete: str) -> "list[CompletionItem[str]]":
    """What a shell may offer for a NODE."""
    from locksmith.cli.completion import offered

    return offered(ctx.ensure_object(Given), "node", incomplete)


NODE = click.argument("node", required=False, shell_complete=node_names)
NODES = click.argument("nodes", metavar="[NODE]...", nargs=-1, shell_complete=node_names)
REASON = click.option("--reason", type=TEXT, metavar="TEXT", default=None, help="Why; it is shown to others.")
NEEDED_REASON = click.option("--reason", type=TEXT, metavar="TEXT", required=True, help="Why; it is shown to others.")


def parsed(name: str, parse: Callable[[str], Any]) -> click.ParamType[Any]:
    """A value of one command, read by a parser whose ValueError says what to write."""
    return _Parsed(name, parse)
