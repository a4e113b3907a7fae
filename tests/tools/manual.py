"""The manual pages, written from the commands themselves and from docs/reference.md: `python -m tests.tools.manual FOLDER`.

What a page says stands in the program's help or in the reference, never here, so that no page can say anything else.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from inspect import cleandoc
from pathlib import Path

import click

from locksmith.cli.options import COMMON_NAMES, common_options
from locksmith.cli.program import COMMANDS, lockctl
from tests.tools.roff import Page, bold, escaped, inline

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs/reference.md"
FOLDER = ROOT / "deploy/man"


def pages() -> dict[str, str]:
    """All of them, by file name."""
    found = {"lockctl.1": _program()}
    found |= {f"lockctl-{name}.1": _command(name) for name in COMMANDS}
    return found | {"locksmithd.8": _agent(), "locksmith.toml.5": _configuration()}


def _program() -> str:
    page = Page("lockctl", 1, _lower(lockctl.help or ""))
    page.heading("SYNOPSIS")
    page.text(f"{bold('lockctl')} [{escaped('options')}] {escaped('command')} [{escaped('arguments')}]")
    page.heading("DESCRIPTION")
    lead, _, _ = _section("lockctl").partition("\n| command")
    page.markdown(lead.strip())
    page.heading("COMMANDS")
    for name, (_, text) in COMMANDS.items():
        page.item(f"{bold(f'lockctl-{name}')}(1)", [inline(text)])
    page.heading("OPTIONS")
    _options(page, lockctl.params)
    page.item(bold("-h, --help"), ["Show the help and exit."])
    page.heading("EXIT STATUS")
    page.markdown(_table("lockctl", "situation"))
    _ending(page, ["locksmithd(8)", "locksmith.toml(5)"])
    return str(page)


def _command(name: str) -> str:
    program = click.Context(lockctl, info_name="lockctl")
    command = lockctl.get_command(program, name)
    if command is None:
        raise SystemExit(f"no command {name}")
    page = Page(f"lockctl-{name}", 1, _lower(COMMANDS[name][1]))
    page.heading("SYNOPSIS")
    words = ["[options]", *(_argument(param) for param in command.params if isinstance(param, click.Argument))]
    page.text(f"{bold(f'lockctl {name}')} {escaped(' '.join(words))}")
    page.heading("DESCRIPTION")
    for number, paragraph in enumerate(cleandoc(command.help or "").split("\n\n")):
        text = inline(" ".join(paragraph.split()))
        if number:
            page.paragraph(text)
        else:
            page.text(text)
    page.heading("OPTIONS")
    _options(page, [param for param in command.params if param.name not in COMMON_NAMES])
    page.item(bold("-h, --help"), ["Show the help and exit."])
    page.subheading("Common options, before or after the command")
    _options(page, common_options())
    page.heading("EXIT STATUS")
    page.text(f"0 when it is done; the others stand in {bold('lockctl')}(1).")
    others = [other for other in COMMANDS if other in _mentioned(command.help or "") and other != name]
    _ending(page, ["lockctl(1)", *(f"lockctl-{other}(1)" for other in others)])
    return str(page)


def _argument(param: click.Argument) -> str:
    if param.metavar is not None:
        return param.metavar
    name = "|".join(param.type.choices) if isinstance(param.type, click.Choice) else (param.name or "").upper()
    return f"{name if param.required else f'[{name}]'}{'...' if param.nargs < 0 else ''}"


def _options(page: Page, params: Sequence[click.Parameter]) -> None:
    """Not by click's `get_help_record`, whose words change from version to version."""
    for param in params:
        if not isinstance(param, click.Option) or param.hidden:
            continue
        words = ", ".join(sorted([*param.opts, *param.secondary_opts], key=len))
        value = "" if param.is_flag else f" {param.metavar or _value(param.type)}"
        default = f" Default: {param.default}." if param.show_default and param.default is not None else ""
        needed = " It must be given." if param.required else ""
        page.item(bold(f"{words}{value}"), [inline(f"{param.help or ''}{_range(param.type)}{default}{needed}")])


def _value(kind: click.ParamType) -> str:
    return "|".join(kind.choices) if isinstance(kind, click.Choice) else "N"


def _range(kind: click.ParamType) -> str:
    if not isinstance(kind, click.IntRange | click.FloatRange):
        return ""
    ends = [f"at least {kind.min:g}"] if kind.min is not None else []
    ends += [f"at most {kind.max:g}"] if kind.max is not None else []
    return f" {', '.join(ends).capitalize()}." if ends else ""


def _agent() -> str:
    page = Page("locksmithd", 8, "the node agent: reboots this machine when its turn has come")
    page.heading("SYNOPSIS")
    page.text(f"{bold('locksmithd')} [{escaped('options')}]")
    page.heading("DESCRIPTION")
    page.markdown(_section("locksmithd"))
    page.heading("OPTIONS")
    for words, text in _argparse_options():
        page.item(bold(words), [inline(text)])
    page.heading("EXIT STATUS")
    page.text(f"As those of {bold('lockctl')}(1), by the same kinds.")
    _ending(page, ["lockctl(1)", "lockctl-why(1)", "lockctl-doctor(1)", "locksmith.toml(5)"])
    return str(page)


def _argparse_options() -> Iterator[tuple[str, str]]:
    command = [sys.executable, "-m", "locksmith.daemon", "--help"]
    wide = os.environ | {"COLUMNS": "1000", "NO_COLOR": "1"}
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, env=wide).stdout
    for line in said.splitlines():
        if found := re.match(r"  (-\S.*?)  +(\S.*)$", line):
            yield found[1], found[2]


def _configuration() -> str:
    page = Page("locksmith.toml", 5, "the configuration of locksmith")
    page.heading("DESCRIPTION")
    page.markdown(_section("Configuration").removeprefix("\n"))
    page.heading("STORE URLS")
    page.markdown(_section("Store URLs"))
    _ending(page, ["locksmithd(8)", "lockctl(1)", "lockctl-config(1)", "lockctl-windows(1)", "lockctl-doctor(1)"])
    return str(page)


def _ending(page: Page, others: list[str]) -> None:
    page.heading("FILES AND ENVIRONMENT")
    page.text(f"See {bold('locksmith.toml')}(5).")
    page.heading("SEE ALSO")
    parts = [other.partition("(") for other in others]
    page.text(", ".join(f"{bold(name)}({section}" for name, _, section in parts))


def _section(title: str) -> str:
    """A section of level 2 of the reference, without its heading."""
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", REFERENCE.read_text(), re.MULTILINE | re.DOTALL)
    if found is None:
        raise SystemExit(f"{REFERENCE} has no section {title!r}")
    return found[1]


def _table(section: str, first: str) -> str:
    """The table of a section whose first column has that title."""
    lines = _section(section).splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith(f"| {first} "))
    length = next((n for n, line in enumerate(lines[start:]) if not line.startswith("|")), len(lines) - start)
    return "\n".join(lines[start : start + length])


def _mentioned(text: str) -> set[str]:
    return set(re.findall(r"`?lockctl ([a-z-]+)", text))


def _lower(text: str) -> str:
    return (text[:1].lower() + text[1:]).rstrip(".")


def main() -> None:
    """Write them, and remove pages of commands that are gone."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    written = pages()
    for old in folder.iterdir():
        if old.name not in written and old.name.startswith("lockctl"):
            old.unlink()
    for name, text in written.items():
        (folder / name).write_text(text)


if __name__ == "__main__":
    main()
