"""From a configuration to the objects that act on it: the only module that names implementations.

Each store's module is imported only when its scheme is used, since gRPC and requests cost more time and memory than all
the rest of locksmith together.
"""

import getpass
import os
import socket
from datetime import timedelta
from random import SystemRandom

from locksmith.config import require_store
from locksmith.config_model import Config
from locksmith.core.store_url import StoreUrl
from locksmith.errors import ConfigError
from locksmith.host.clock import SystemClock
from locksmith.semaphore.actor import Actor
from locksmith.stores import Store


def open_store(config: Config, *, timeout: timedelta | None = None, endpoint: str | None = None) -> Store:
    """Connect to the configured store; nothing is asked of it yet.

    `timeout` limits one call to less than the configuration does; `endpoint` leaves out all the others.
    Raises ConfigError without a store.
    """
    settings = require_store(config)
    limit = settings.timeout if timeout is None else min(timeout, settings.timeout)
    url = settings.url
    endpoints = url.endpoints if endpoint is None else (endpoint,)
    match url.kind:
        case "sqlite":
            return _sqlite(url, limit)
        case "etcd":
            from locksmith.stores.etcd import EtcdStore

            return EtcdStore(endpoints, url.prefix, timeout=limit, tls=url.tls, access=settings.access)
        case "consul":
            from locksmith.stores.consul import ConsulStore

            return ConsulStore(
                endpoints,
                url.prefix,
                timeout=limit,
                tls=url.tls,
                datacenter=url.datacenter,
                unix_socket=url.unix_socket,
                access=settings.access,
            )
        case "memory":
            from locksmith.stores.memory import MemoryStore

            return MemoryStore()


def _sqlite(url: StoreUrl, limit: timedelta) -> Store:
    from locksmith.stores.sqlite import SqliteStore

    if url.path is None:
        raise ConfigError("the store URL names no file: write sqlite:///var/lib/locksmith/store.db")
    return SqliteStore(url.path, url.prefix, timeout=limit)


def operator(config: Config, store: Store | None = None) -> Actor:
    """The person who runs this process, acting on the configured store, or on an open one. Raises ConfigError."""
    host = socket.gethostname()
    return Actor(store or open_store(config), SystemClock(), SystemRandom(), f"{_user()}@{host}", host)


def _user() -> str:
    """Who it is for the record: behind sudo the person, not root. Nothing is decided by it."""
    if os.geteuid() == 0 and (person := os.environ.get("SUDO_USER")):
        return person
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no name for this uid, as in many containers
        return f"uid{os.getuid()}"
