"""The endpoints of one etcd cluster: which is asked next, and when there is none left.

The one idea a reader would miss: an endpoint is `proven` while it has answered something since its last failure. A
commit goes to proven endpoints only, because a connection that was never made and an answer that never came look the
same from here (DEADLINE_EXCEEDED), and only the first of them may go on to the next endpoint.

An endpoint that failed gets a new channel. gRPC would remember a refused connection for up to a second, keep a
half-dead one, and (before its event engine, 1.51 at least) make no progress while nobody waits in a call.
"""

import random
import re
import threading
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass

from locksmith.errors import ConfigError, StoreError, TlsFailed, Unavailable
from locksmith.stores.etcd_answers import Answer, CallFailed
from locksmith.stores.etcd_channel import Channel, TlsMaterial
from locksmith.stores.etcd_credentials import Credentials
from locksmith.stores.etcd_diagnosis import tls_trouble

ROTATING = frozenset({Answer.UNREACHED, Answer.RETIRED, Answer.LOGIN_PENDING, Answer.LEADERLESS, Answer.LOST})
"""After these another endpoint may do better."""

_ENDPOINT = re.compile(r"^(\[[0-9A-Fa-f:.%]+\]|[^\[\]:/@\s]+):[0-9]{1,5}$")
_PAUSE = (0.1, 0.3)
"""Seconds between two rounds, while an election goes on."""
_NOT_TLS = ("Connection refused", "errors resolving", "DNS resolution failed")


@dataclass(slots=True)
class Endpoint:
    """One member's address and the channel to it."""

    name: str
    channel: Channel
    proven: bool = False


class Endpoints:
    """All of them, in turn. Safe for several threads."""

    def __init__(self, names: Sequence[str], credentials: Credentials) -> None:
        """Connect to none yet. Raises ConfigError for an address that is none."""
        if not names:
            raise ConfigError("etcd: no endpoint; write etcd://host:2379/prefix")
        if wrong := [name for name in names if not _ENDPOINT.match(name)]:
            raise ConfigError(f"etcd: {wrong[0]!r} is no endpoint; write host:port, an IPv6 address in brackets")
        self._names = tuple(dict.fromkeys(names))
        self.credentials = credentials
        self.closed = threading.Event()
        self._lock = threading.Lock()
        self._material: TlsMaterial | None = None
        self._endpoints: tuple[Endpoint, ...] = ()
        self._channels: weakref.WeakSet[Channel] = weakref.WeakSet()
        """Also those that were replaced and still carry a watch, until nobody holds them."""
        # Not always the first: a fleet with one configuration would lean on one member.
        self._first = random.randrange(len(self._names))  # noqa: S311 - no secret

    def in_turn(self) -> list[Endpoint]:
        """All endpoints, the one that serves us first. Raises Unavailable when the store is closed."""
        material = self.credentials.material()
        with self._lock:
            if self.closed.is_set():
                raise Unavailable("the store is closed")
            if not self._endpoints or material is not self._material:
                self._connect_anew(material)
            return [*self._endpoints[self._first :], *self._endpoints[: self._first]]

    def _connect_anew(self, material: TlsMaterial | None) -> None:
        for endpoint in self._endpoints:
            endpoint.channel.retire()
        self._material = material
        self._endpoints = tuple(self._connect(name) for name in self._names)

    def _connect(self, name: str) -> Endpoint:
        channel = Channel(name, self._material)
        self._channels.add(channel)
        return Endpoint(name, channel)

    def down(self, endpoint: Endpoint, failure: CallFailed) -> None:
        """It has failed: the next one serves us from now on."""
        endpoint.proven = False
        with self._lock:
            place = next((n for n, one in enumerate(self._endpoints) if one is endpoint), None)
            if place is None:  # another thread was faster
                return
            if place == self._first:
                self._first = (self._first + 1) % len(self._endpoints)
            if failure.answer is Answer.LEADERLESS:
                return
            anew = self._connect(endpoint.name)
            self._endpoints = (*self._endpoints[:place], anew, *self._endpoints[place + 1 :])
        endpoint.channel.retire()

    def rest(self, most: float) -> bool:
        """Wait a moment, at most `most` seconds, before asking again; whether the store was closed meanwhile."""
        return self.closed.wait(max(0.0, min(most, random.uniform(*_PAUSE))))  # noqa: S311 - jitter

    def close(self) -> None:
        """Cancel what runs and free the sockets."""
        with self._lock:
            self.closed.set()
            self._endpoints = ()
            running = list(self._channels)
        for channel in running:
            channel.close()


class Tour:
    """One call's way around the endpoints, with one deadline for all of it; for one thread."""

    def __init__(self, endpoints: Endpoints, timeout: float) -> None:
        """At most `timeout` seconds."""
        self._endpoints = endpoints
        self._deadline = time.monotonic() + timeout
        self._round: dict[str, CallFailed] = {}

    def left(self) -> float:
        """Seconds until the deadline; 0 when it has passed."""
        return max(0.0, self._deadline - time.monotonic())

    def next(self) -> tuple[Endpoint, float]:
        """The endpoint to ask, and its share of the time: a member that hangs does not eat all of it.

        Raises Unavailable or TlsFailed when every one has failed and more rounds promise nothing.
        """
        open_ones = self._not_yet_tried()
        if not open_ones:
            # Nobody listens: say so at once. Somebody does, but has no leader: elections take a second or two.
            hopeless = all(failure.answer is Answer.UNREACHED for failure in self._round.values())
            if hopeless or self._endpoints.rest(self.left()):
                raise self.over()
            if self.left() == 0:
                raise self.over()
            self._round.clear()
            open_ones = self._not_yet_tried()
        if self.left() == 0:
            raise self.over()
        return open_ones[0], self.left() / len(open_ones)

    def _not_yet_tried(self) -> list[Endpoint]:
        return [endpoint for endpoint in self._endpoints.in_turn() if endpoint.name not in self._round]

    def failed(self, endpoint: Endpoint, failure: CallFailed) -> None:
        """It did not serve: go on with the next one."""
        if failure.answer is Answer.RETIRED:
            return
        if failure.answer is not Answer.LOGIN_PENDING:  # else its channel would be closed under that login's own call
            self._endpoints.down(endpoint, failure)
        self._round[endpoint.name] = failure

    def over(self) -> StoreError:
        """Why nobody served us."""
        if self._endpoints.closed.is_set():
            return Unavailable("the store is closed")
        suspects = [
            failure
            for failure in self._round.values()
            if failure.answer is Answer.UNREACHED and not any(word in failure.text for word in _NOT_TLS)
        ]
        for number, failure in enumerate(suspects):
            share = self.left() / (len(suspects) - number)
            trouble = tls_trouble(failure.endpoint, self._endpoints.credentials, share) if share else None
            if trouble is not None:
                return TlsFailed(f"{failure.endpoint}: {trouble}")
            if "CERTIFICATE_VERIFY_FAILED" in failure.text:
                return TlsFailed(f"{failure.brief()}: the server's certificate is not trusted; check ca_file")
        tried = "; ".join(failure.brief() for failure in self._round.values()) or "no time left to ask"
        return Unavailable(f"no etcd endpoint serves us: {tried}; check that etcd runs there and has a quorum")
