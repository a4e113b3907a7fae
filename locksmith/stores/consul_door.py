"""The door to py-consul: which endpoint is asked, for how long, how often, and what its answers mean.

The one idea: there are two kinds of call. `ask` may be repeated, so it goes round the endpoints until its time is over.
`send` may not: only a connection that never stood moves it to the next endpoint, anything else is Unknown.
py-consul's environment variables never count: each client gets its host, scheme, token and verification from here.
"""

import random
import re
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import consul
import consul.callback
import consul.exceptions

from locksmith.errors import ConfigError, StoreError, Throttled, TlsFailed, Unavailable, Unknown
from locksmith.stores import Access
from locksmith.stores.consul_answers import Fate, Trouble, failure, mod_of
from locksmith.stores.consul_credentials import Credentials
from locksmith.stores.consul_wire import FAILURES, Endpoint, Wire, trouble

NotFound = consul.exceptions.NotFound
Client = Any
"""A `consul.Consul`: py-consul has no types."""
Answer = TypeVar("Answer")
_REST = (0.1, 0.3)
"""Seconds that an endpoint is left alone after a 5xx; a server without a leader answers in less than 1 ms."""
_LEAST_TRY = 1.0
"""Seconds: a server that hangs costs at least this, also with many endpoints."""


class Door:
    """The endpoints of one Consul datacenter. Safe to use from several threads: each has clients of its own."""

    def __init__(  # noqa: PLR0913 - what a store's URL and files can say
        self,
        endpoints: Sequence[str],
        *,
        timeout: timedelta,
        tls: bool,
        datacenter: str | None,
        unix_socket: str | None,
        access: Access,
    ) -> None:
        """Raises ConfigError; nothing is sent yet."""
        self._endpoints = _parse(endpoints, unix_socket, tls=tls)
        self._tls = tls and unix_socket is None
        self._datacenter = datacenter
        self._credentials = Credentials(access, tls=self._tls)
        self.seconds = timeout.total_seconds()
        self._try_seconds = min(self.seconds, max(_LEAST_TRY, self.seconds / len(self._endpoints)))
        self._first = 0
        self._resting: dict[Endpoint, float] = {}
        self._threads = threading.local()
        self._clients: weakref.WeakSet[Any] = weakref.WeakSet()
        self._lock = threading.Lock()
        self._closed = threading.Event()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed.is_set()

    def ask(self, call: Callable[[Client], Answer], *, changes: bool = False) -> Answer:
        """Make a call that may be repeated, at any endpoint, until it is answered or the time is over.

        `changes` says that a call without an answer may have changed something. Raises what `failure` says,
        Unavailable, Throttled, TlsFailed; with `changes` also Unknown.
        """
        deadline = time.monotonic() + self.seconds
        troubles: dict[Endpoint, Trouble] = {}
        opened = False
        while True:
            for endpoint in self._order():
                try:
                    return self._attempt(endpoint, call, deadline, self._try_seconds)
                except Trouble as error:
                    troubles[endpoint] = error
                    opened = opened or error.fate is Fate.OPEN
            # Nobody listens, or certificates do not fit: no second round will mend that.
            hopeless = all(each.fate is Fate.UNMADE or isinstance(each.error, TlsFailed) for each in troubles.values())
            if hopeless or time.monotonic() + _REST[1] > deadline:
                worst = _worst(troubles)
                raise Unknown(str(worst)) if changes and opened else worst

    def send(self, call: Callable[[Client], Answer]) -> Answer:
        """Make a call that must not be repeated. Raises what `failure` says, Unknown, and surely not sent: the rest."""
        deadline = time.monotonic() + self.seconds
        troubles: dict[Endpoint, Trouble] = {}
        for endpoint in self._order():
            try:
                return self._attempt(endpoint, call, deadline, self.seconds)
            except Trouble as error:
                if error.fate is Fate.OPEN:
                    raise Unknown(f"{error.error}; it may be applied all the same") from error
                if error.fate is Fate.REFUSED:
                    raise error.error from error
                troubles[endpoint] = error
        raise _worst(troubles)

    def once(self, call: Callable[[Client], Answer], seconds: float) -> Answer:
        """Try once, at the endpoint that answered last, within `seconds`; the next try goes to another. Raises Trouble."""
        return self._attempt(self._order()[0], call, time.monotonic() + seconds, seconds)

    def pause(self, seconds: float) -> None:
        """Wait, unless the door is closed."""
        self._closed.wait(seconds)

    def transact(self, client: Client, body: str, *, consistent: bool = False) -> Any:
        """One transaction, as decoded JSON; py-consul's own `txn.put` can pass no parameters."""
        return self.put(client, "/v1/txn", body, *([("consistent", "1")] if consistent else []))

    def put(self, client: Client, path: str, body: str, *params: tuple[str, str]) -> Any:
        """What py-consul cannot say in its own words; the answer is decoded JSON."""
        where = [("dc", self._datacenter)] if self._datacenter else []
        return client.http.put(consul.callback.CB.json(allow_404=False), path, params=[*where, *params], data=body)

    def entry(self, client: Client, key: str, *params: tuple[str, str]) -> tuple[int, int]:
        """Consul's index, and the mod of one key, 0 when it is absent; py-consul's `kv.get` trips over other answers."""
        where = [("dc", self._datacenter)] if self._datacenter else []
        get = client.http.get
        index, answer = get(consul.callback.CB.json(index=True), f"/v1/kv/{key}", params=[*where, *params])
        return int(index), mod_of(answer)

    def close(self) -> None:
        """Close all connections that are not in use; those in use close with their call."""
        self._closed.set()
        with self._lock:
            clients = list(self._clients)
        for client in clients:
            client.http.session.close()

    def _order(self) -> list[Endpoint]:
        """Those at rest come last: they are asked only when the others are of no use."""
        first = self._first
        turned = [*self._endpoints[first:], *self._endpoints[:first]]
        now = time.monotonic()
        return sorted(turned, key=lambda endpoint: self._resting.get(endpoint, 0.0) > now)

    def _attempt(self, endpoint: Endpoint, call: Callable[[Client], Answer], deadline: float, most: float) -> Answer:
        self.pause(min(self._resting.get(endpoint, 0.0), deadline) - time.monotonic())
        if self.closed:
            raise Unavailable("the store is closed")
        left = deadline - time.monotonic()
        if left <= 0:
            raise Trouble(Fate.UNMADE, Unavailable(f"{endpoint}: no time left"))
        client = self._client(endpoint)
        client.http.connections_timeout = min(left, most)
        try:
            answer = call(client)
        except consul.ConsulException as error:
            raise self._settle(endpoint, _translate(error, endpoint)) from error
        except FAILURES as error:
            raise self._settle(endpoint, trouble(error, endpoint, str(self._credentials))) from error
        except (ValueError, RecursionError) as error:  # JSON may be nested deeper than Python can follow
            raise self._settle(endpoint, Trouble(Fate.OPEN, Unavailable(f"{endpoint}: {error}"))) from error
        self._first = self._endpoints.index(endpoint)
        return answer

    def _settle(self, endpoint: Endpoint, error: StoreError | Trouble) -> StoreError | Trouble:
        if isinstance(error, Trouble):
            self._resting[endpoint] = time.monotonic() + random.uniform(*_REST)  # noqa: S311 - jitter
            self._first = (self._endpoints.index(endpoint) + 1) % len(self._endpoints)
        return error

    def _client(self, endpoint: Endpoint) -> Client:
        context = self._credentials.context()
        kept = self._threads.__dict__.setdefault("clients", {})
        client, made_with = kept.get(endpoint, (None, None))
        if client is None or made_with is not context:
            if client is not None:
                client.http.session.close()
            scheme = "https" if context else "http"
            host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
            client = consul.Consul(host=host, port=endpoint.port, scheme=scheme, dc=self._datacenter, verify=True)
            session = client.http.session
            session.trust_env = False
            session.max_redirects = 0  # a redirect would send a commit twice, and the token to a stranger
            session.mount(f"{scheme}://", Wire(endpoint, context, self._try_seconds))
            kept[endpoint] = (client, context)
            with self._lock:
                self._clients.add(client)
        client.token = self._credentials.token()  # never the one that py-consul takes from the environment
        client.http.session.headers.pop("X-Consul-Token", None)
        if client.token is not None:
            client.http.session.headers["X-Consul-Token"] = client.token  # transactions pass no token themselves
        return client


def _parse(endpoints: Sequence[str], unix_socket: str | None, *, tls: bool) -> list[Endpoint]:
    if unix_socket is not None:
        return [Endpoint("localhost", 80, unix_socket)]
    if not endpoints:
        raise ConfigError("a consul store needs at least one host:port")
    try:
        return [Endpoint.parse(text, tls=tls) for text in endpoints]
    except ValueError as error:
        raise ConfigError(f"store url: {error}") from error


def _worst(troubles: dict[Endpoint, Trouble]) -> StoreError:
    """One error for all endpoints: what an operator has to mend goes before what may pass by itself."""
    errors = [each.error for each in troubles.values()]
    text = "; ".join(str(error) for error in errors)
    for kind in (TlsFailed, Throttled):
        if any(isinstance(error, kind) for error in errors):
            return kind(text)
    return Unavailable(f"no consul endpoint answers: {text}")


def _translate(error: consul.ConsulException, endpoint: Endpoint) -> StoreError | Trouble:
    """py-consul puts the status into the class or in front of the text."""
    text = str(error)
    match error:
        case consul.exceptions.ACLPermissionDenied():
            return failure(403, text, endpoint)
        case consul.exceptions.ACLDisabled():
            return failure(401, text, endpoint)
        case consul.exceptions.NotFound():
            return failure(404, text, endpoint)
    status = re.match(r"(\d{3}) ", text)
    if status is None:  # an answer with status 200 that is no JSON
        return Trouble(Fate.OPEN, Unavailable(f"{endpoint}: {text[:200]}"))
    return failure(int(status[1]), text[status.end() :], endpoint)
