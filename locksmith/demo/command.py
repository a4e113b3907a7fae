"""`lockctl demo`: watch a simulated fleet reboot in turn, in about half a minute.

The one idea a reader would miss: the configured store is never used. Without --store the demo makes a database in a
temporary folder; with it everything happens below a fresh random prefix, which is cleared at the end.
"""

import os
import secrets
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from random import SystemRandom

import click
from rich.console import Console

from locksmith.assemble import open_store
from locksmith.cli.options import Given, Subject
from locksmith.cli.output import Output, Reported, line
from locksmith.config import load, require_store
from locksmith.config_model import Config
from locksmith.demo.fleet import Fleet, Place, View
from locksmith.demo.plan import Plan, Settings
from locksmith.demo.proof import Report
from locksmith.demo.view import Lines, Silence, screen, summary
from locksmith.errors import Damaged, UsageError
from locksmith.stores import Store
from locksmith.stores.memory import MemoryStore

MOST_NODES = 60
"""Fewer than the tickets that a group takes, so that nobody is sent away for minutes."""
SEEDS = 10_000


@click.command(cls=Subject)
@click.option("--nodes", type=click.IntRange(2, MOST_NODES), default=12, show_default=True, help="Simulated hosts.")
@click.option("--slots", type=click.IntRange(1, MOST_NODES), default=2, show_default=True, help="How many at once.")
@click.option(
    "--sick", type=click.IntRange(0, MOST_NODES - 1), default=1, show_default=True, help="How many come back sick."
)
@click.option("--seed", type=click.IntRange(0), default=None, help="Repeat the choices of an earlier run.")
@click.option(
    "--speed", type=click.FloatRange(0.1, 50), default=1.0, show_default=True, help="How much faster than usual."
)
@click.pass_obj
def demo(  # noqa: PLR0913, PLR0917 - one parameter an option
    given: Given, nodes: int, slots: int, sick: int, seed: int | None, speed: float
) -> None:
    """Watch a simulated fleet reboot in turn.

    The hosts are simulated, the agent and the semaphore are the real ones. Updates arrive, nodes reboot in turn, an agent
    is killed in the worst moment, a node comes back sick, the store goes away for some seconds. At the end stands what
    this proved; exit 1 if the hosts ever counted more of themselves out of service than there are slots.

    By default the store is an SQLite file in a temporary folder. With --store it is a real etcd or Consul, below a random
    prefix of its own that is cleared at the end; the configured store is never used. --timeout is for the whole demo.
    """
    if sick >= nodes:
        raise UsageError(f"--sick {sick} of {nodes} nodes: at least one must come back well, whose agent is killed")
    chosen = SystemRandom().randrange(SEEDS) if seed is None else seed
    patience = given.timeout.total_seconds() if given.timeout is not None else None
    run_demo(given, Settings(nodes, slots, sick, chosen, speed, patience))


def run_demo(
    given: Given, settings: Settings, *, plan: Plan | None = None, wrap: Callable[[Store], Store] | None = None
) -> Report:
    """Run it and tell the outcome. `plan` and `wrap` are for tests; see Fleet.

    Raises Reported with Damaged when something was not proved, Interrupted, StoreError.
    """
    out = Output(given.json, given.quiet, given.color)
    with place(given) as where, _watching(out) as view, given.stop.deferred() as stop:
        report = Fleet(settings, where, view, plan=plan, wrap=wrap).run(stop)
    failure = None if report.proved else Damaged(report.failure())
    if out.json:
        out.document(report.fields(), failure)
    else:
        _show(out, report)
    if failure is not None:
        raise Reported(failure)
    return report


@contextmanager
def place(given: Given) -> Iterator[Place]:
    """A temporary folder, and an empty prefix of the store that was asked for. Raises ConfigError."""
    with tempfile.TemporaryDirectory(prefix="lockctl-demo-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        if given.store is None:
            config = load(environ={}, roots=(), overrides={"store.url": f"sqlite://{folder / 'store.db'}"})
        else:
            overrides = {"store.url": given.store}
            config = _below_random_prefix(load(given.config, environ=os.environ, overrides=overrides))
        url = require_store(config).url
        yield Place(folder, _clients(config), str(url), url.prefix, shared=given.store is not None)


def _below_random_prefix(config: Config) -> Config:
    """Below the given prefix, where the rights that a fleet has suffice."""
    settings = require_store(config)
    prefix = f"{settings.url.prefix}/demo-{secrets.token_hex(6)}"
    return replace(config, store=replace(settings, url=replace(settings.url, prefix=prefix)))


def _clients(config: Config) -> Callable[[], Store]:
    """Makes one client after the other; those of a store in memory must share it."""
    if require_store(config).url.kind == "memory":
        return MemoryStore().client
    return lambda: open_store(config)


@contextmanager
def _watching(out: Output) -> Iterator[View]:
    if out.quiet:
        yield Silence()
    elif out.json:
        yield Lines(sys.stderr)
    elif not out.pretty:
        yield Lines(sys.stdout)
    else:
        with screen(_console(out)) as view:
            yield view


def _show(out: Output, report: Report) -> None:
    for text, style in summary(report):
        if out.colored:
            _console(out).print(text, style=style, highlight=False, markup=False, soft_wrap=True)
        else:
            line(text)


def _console(out: Output) -> Console:
    return Console(highlight=False, no_color=not out.colored, force_terminal=out.color == "always" or None)
