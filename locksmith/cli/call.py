"""One call of lockctl: its options, its time, and the configuration and store that it opens when it needs them.

The one idea a reader would miss: nothing is read before it is asked for, so `version` works without a configuration and
`windows` and `config` without a store.
"""

import os
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from locksmith.cli.deadline import Deadline, OutOfTime, TimedStore
from locksmith.cli.options import Given
from locksmith.cli.output import Output
from locksmith.errors import LocksmithError

if TYPE_CHECKING:
    from locksmith.config_model import Config, StoreSettings
    from locksmith.semaphore.actor import Actor
    from locksmith.semaphore.reading import NodeRef

DEFAULT_TIMEOUT = timedelta(seconds=10)
SHARE = 0.7
"""Of the command's time, at most this for one call: so the store's own verdict ("not sent") comes before ours ("no idea")."""
SHORTEST = timedelta(milliseconds=100)
CLEAN_UP = timedelta(seconds=5)
"""What a command that leaves a queue gets for it after its time is over."""


@dataclass
class Call:
    """Use it as a context: at its end the store is closed, and running out of time becomes the right error.

    `limit` is for the whole command, None for no limit; `grace` lets the store be asked that much longer.
    """

    given: Given
    limit: timedelta | None
    grace: timedelta = timedelta(0)
    deadline: Deadline = field(init=False)
    out: Output = field(init=False)
    _store: TimedStore | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        """The time runs from here."""
        self.deadline = Deadline.after(self.limit)
        self.out = Output(self.given.json, self.given.quiet, self.given.color)

    @classmethod
    def short(cls, given: Given) -> Self:
        """A command that answers at once: --timeout or 10 s."""
        return cls(given, given.timeout or DEFAULT_TIMEOUT)

    @classmethod
    def waiting(cls, given: Given, *, for_ever: bool) -> Self:
        """A command that waits for others: `for_ever` unless --timeout is given; it may leave the queue afterwards."""
        return cls(given, given.timeout or (None if for_ever else DEFAULT_TIMEOUT), CLEAN_UP)

    def __enter__(self) -> Self:
        """See the class."""
        return self

    def __exit__(
        self, _type: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """See the class."""
        store, self._store = self._store, None
        if store is not None:
            with suppress(LocksmithError):
                store.close()
        if store is not None and isinstance(error, OutOfTime):
            raise store.verdict() from error

    @cached_property
    def config(self) -> "Config":
        """The configuration in force. Raises ConfigError."""
        from locksmith.config import load

        overrides = {"store.url": self.given.store, "node.group": self.given.group}
        given = {key: value for key, value in overrides.items() if value is not None}
        return load(self.given.config, environ=os.environ, overrides=given)

    @property
    def settings(self) -> "StoreSettings":
        """The configured store. Raises ConfigError."""
        from locksmith.config import require_store

        return require_store(self.config)

    @property
    def where(self) -> str:
        """The store, for messages."""
        return str(self.settings.url)

    @cached_property
    def actor(self) -> "Actor":
        """The operator, on a store that is the recorded one. Raises ConfigError, WrongStore, StoreError."""
        from locksmith.semaphore.actor import confirm_cluster, look

        fleet = look(self.unconfirmed.store).config
        if fleet is not None:
            confirm_cluster(self.unconfirmed.store, fleet)
        return self.unconfirmed

    @cached_property
    def unconfirmed(self) -> "Actor":
        """The operator on the configured store, whichever answers there. Raises ConfigError."""
        from locksmith.assemble import open_store, operator

        left = self.deadline.left()
        limit = self.settings.timeout if left is None else min(self.settings.timeout, max(left * SHARE, SHORTEST))
        store = open_store(self.config, timeout=limit)
        self._store = TimedStore(store, self.deadline.later(self.grace), limit, self.where)
        return operator(self.config, self._store)

    @property
    def group(self) -> str:
        """The group that is meant."""
        return self.config.node.group

    @property
    def group_is_explicit(self) -> bool:
        """Whether somebody named the group for this very call."""
        return not self.config.origin.get("node.group", "default").startswith(("default", "file:"))

    def limit_or_default(self) -> timedelta:
        """The time of the whole command, for one that never waits for ever."""
        return self.limit or DEFAULT_TIMEOUT

    def own_id(self) -> str:
        """The id of this machine. Raises ConfigError."""
        from locksmith.host import identity

        settings = self.config.node
        return settings.id or identity.node_id(identity.machine_id(settings.machine_id_file))

    def node(self, name: str | None, *, warn: bool = True) -> "NodeRef":
        """The node that is meant; warns when no agent is bound by the name. Raises AmbiguousNode, UsageError."""
        from locksmith.host.identity import host_name
        from locksmith.semaphore.reading import resolve

        if name is None:
            mine = resolve(self.actor, self.own_id(), self.group)
            return mine if mine.known else replace(mine, host=host_name())
        found = resolve(self.actor, name)
        if warn and not found.known:
            self.out.warn(
                f"no agent has reported as {name!r}: it is taken literally, and binds no agent; see lockctl nodes"
            )
        return found

    def poke(self) -> None:
        """Tell the agent on this machine, if there is one, that the store has news for it."""
        from locksmith.cli.local import poke

        poke(Path(self.config.node.run_dir))
