"""From [notify.NAME] to channels: the only module that names the ways of telling; locksmithd alone uses it."""

from collections.abc import Sequence
from random import SystemRandom
from typing import assert_never

from locksmith.config_model import Config
from locksmith.config_notify import AppriseSpec, NotifySpec, WebhookSpec
from locksmith.errors import ConfigError
from locksmith.host import identity
from locksmith.host.clock import SystemClock
from locksmith.notify import Sink
from locksmith.notify.announcer import Announcer
from locksmith.notify.channel import Channel


def announcer(config: Config) -> Announcer:
    """What hears the loop. Raises ConfigError, see `sink`."""
    return Announcer(channels(config), identity.host_name())


def channels(config: Config) -> Sequence[Channel]:
    """One a receiver, with what is still to be sent to it. Nothing is sent yet. Raises ConfigError."""
    return [
        Channel(
            spec.name,
            made,
            events=frozenset(spec.events),
            retry_for=spec.retry_for,
            path=config.node.state_dir / f"notify-{spec.name}.json",
            clock=SystemClock(),
            random=SystemRandom(),
        )
        for spec, made in [(spec, sink(spec)) for spec in config.notify]
    ]


def check(config: Config) -> None:
    """Raises ConfigError when a receiver cannot be told at all: a package is missing, a file holds no URL."""
    for spec in config.notify:
        sink(spec)


def sink(spec: NotifySpec) -> Sink:
    """The way to one receiver. Raises ConfigError."""
    match spec:
        case WebhookSpec():
            from locksmith.notify.webhook import Webhook, first_line, why

            if spec.url_file is not None:
                try:
                    first_line(spec.url_file)
                except (OSError, ValueError) as error:
                    raise ConfigError(f"notify.{spec.name}: url_file {spec.url_file}: {why(error)}") from error
            return Webhook(spec.timeout, spec.url, spec.url_file, spec.tls)
        case AppriseSpec():
            from locksmith.notify.apprise import Apprise

            return Apprise(f"notify.{spec.name}", spec.url_file)
        case _:
            assert_never(spec)
