"""`lockctl version`, and `lockctl --version`."""

import platform

import click

from locksmith import __version__
from locksmith.cli.options import Given, Subject
from locksmith.cli.output import Output, line


@click.command(cls=Subject)
@click.pass_obj
def version(given: Given) -> None:
    """Show the versions of locksmith and of Python."""
    show(json=given.json)


def show(*, json: bool) -> None:
    """Write it."""
    if json:
        Output(json=True).document({"version": __version__, "python": platform.python_version()})
    else:
        line(f"lockctl {__version__} (Python {platform.python_version()})")
