"""`locksmith-gateway`: what the fleet needs once and not on every node. Today the fleet's metrics.

The one idea a reader would miss: nothing here is needed for a reboot, nothing here writes, and two of them may run.
"""

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from locksmith import __version__, config
from locksmith.assemble import open_store, operator
from locksmith.config_model import Config
from locksmith.errors import ConfigError, LocksmithError, UsageError
from locksmith.fleet_metrics import FleetMetrics
from locksmith.fleet_reader import FleetReader
from locksmith.host import logs
from locksmith.host.sdnotify import Notifier
from locksmith.semaphore.fleet import FleetWatch
from locksmith.web import Web

log = logging.getLogger("locksmith.gateway")

KEY = "gateway.metrics_listen"


def main(argv: Sequence[str] | None = None) -> int:
    """The entry point. Exit codes: 0 well, 2 command line or configuration, else those of errors.py."""
    options = _options(argv)
    try:
        loaded = _loaded(options)
        if options.check:
            return _check(loaded)
        if not options.metrics_only:
            raise UsageError("FleetLock comes in a later version: give --metrics-only, to serve the fleet's metrics")
        return serve(loaded)
    except LocksmithError as error:
        print(f"locksmith-gateway: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="locksmith-gateway",
        description="The fleet's metrics at /metrics, from one read of the store a scrape; and /healthz. Two of them may run.",
        allow_abbrev=False,
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="read only this file")
    parser.add_argument("--metrics-only", action="store_true", help="serve the fleet's metrics and nothing else")
    parser.add_argument(
        "--listen", metavar="HOST:PORT", help="where, instead of metrics_listen in [gateway]; also unix:/path/of/socket"
    )
    parser.add_argument(
        "--check", action="store_true", help="read the configuration, say what comes from where, exit 0 or 2"
    )
    parser.add_argument("--version", action="version", version=f"locksmith-gateway {__version__}")
    return parser.parse_args(argv)


def _loaded(options: argparse.Namespace) -> Config:
    """The configuration, with a store and a place to listen on. Raises ConfigError."""
    overrides = {} if options.listen is None else {KEY: options.listen}
    loaded = config.load(options.config, environ=os.environ, overrides=overrides)
    config.require_store(loaded)
    if loaded.gateway.metrics_listen is None:
        raise ConfigError(f'{KEY} is "", so there is nothing to serve: write HOST:PORT there, or give --listen')
    return loaded


def _check(loaded: Config) -> int:
    for key, value, origin in config.describe(loaded):
        print(f"{key} = {'(unset)' if value is None else value}  # {origin}")  # noqa: T201
    return 0


def serve(loaded: Config) -> int:
    """Until SIGTERM or SIGINT. A store that is away keeps nothing from starting. Raises ConfigError."""
    stopping = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        del number, frame
        stopping.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    logs.setup(loaded.agent.log_format, loaded.agent.log_level)
    notifier = Notifier.from_environment(os.environ)
    store = open_store(loaded)
    reader = FleetReader(FleetWatch(operator(loaded, store)).look, loaded.gateway.cache)
    web = Web(KEY, FleetMetrics(reader).pages(), other="one for this call: --listen HOST:PORT")
    try:
        web.listen(loaded.gateway.metrics_listen)
        origin = loaded.origin.get(KEY, "default")
        log.info(
            "locksmith-gateway %s: the fleet's metrics of %s are at %s (%s: %s)",
            __version__, _url(loaded), web.address, KEY, origin,
        )  # fmt: skip
        notifier.ready()
        stopping.wait()
    finally:
        notifier.stopping()
        web.close()
        store.close()
    return 0


def _url(loaded: Config) -> str:
    return str(config.require_store(loaded).url)


if __name__ == "__main__":
    sys.exit(main())
