"""Calls to an etcd cluster: to which endpoint, how often, with whose token, and whether the answer is from our cluster.

The one idea a reader would miss: how often a call may be sent is said by the caller (`Sending`), never guessed from
the error. A token that has expired is no exception to "a commit is sent once": etcd checks it before it does anything.
"""

import threading
from collections.abc import Sequence
from datetime import timedelta
from enum import Enum, auto
from typing import Any

from locksmith.errors import Unavailable, Unknown, WrongStore
from locksmith.stores import Access
from locksmith.stores import etcd_rpc_pb2 as rpc
from locksmith.stores.etcd_answers import Answer, CallFailed, refusal
from locksmith.stores.etcd_channel import AUTHENTICATE, RANGE, Metadata, Method
from locksmith.stores.etcd_credentials import Credentials
from locksmith.stores.etcd_endpoints import ROTATING, Endpoint, Endpoints, Tour

_LOGIN_SECONDS = 5.0
"""bcrypt costs the server about 90 ms a login, and a fleet may log in all at once."""
_LEAST_TO_SEND = 0.2
"""Share of the time limit: with less left a commit is not sent, because its answer could not be waited for."""
_RENEWALS = {Answer.TOKEN_UNKNOWN: 1, Answer.ANONYMOUS: 1, Answer.TOKEN_OLD: 3}
"""How often one call logs in again; an operator who edits roles makes tokens old several times in a row."""


class Sending(Enum):
    """How often a request may be sent, and what it means when no answer comes."""

    READ = auto()
    """As often as needed; Unavailable."""
    REPEATABLE = auto()
    """A write that is the same when done twice; Unknown."""
    ONCE = auto()
    """A commit; Unknown."""


class EtcdClient:
    """One cluster. Safe for several threads."""

    def __init__(
        self, endpoints: Sequence[str], access: Access, *, tls: bool, timeout: timedelta, harmless_key: bytes
    ) -> None:
        """`harmless_key` is one that we may read; whether it exists does not matter. Raises ConfigError."""
        self.timeout = timeout.total_seconds()
        self._credentials = Credentials(access, tls=tls)
        self._endpoints = Endpoints(endpoints, self._credentials)
        self._harmless_key = harmless_key
        self._login_lock = threading.Lock()
        """Held while somebody logs in, for seconds; the next one guards what that leads to."""
        self._token_lock = threading.Lock()
        self._token: str | None = None
        self._token_password = ""
        self._cluster_lock = threading.Lock()
        self._cluster_id = 0

    @property
    def closed(self) -> bool:
        """Whether close() was called."""
        return self._endpoints.closed.is_set()

    @property
    def cluster_id(self) -> int:
        """The cluster that answered first; 0 before that."""
        return self._cluster_id

    def close(self) -> None:
        """Cancel what runs and free the sockets."""
        self._endpoints.close()

    def tour(self, timeout: float) -> Tour:
        """Go around the endpoints, for at most `timeout` seconds."""
        return Tour(self._endpoints, timeout)

    def rest(self, most: float) -> None:
        """Wait a moment, at most `most` seconds, before asking again."""
        self._endpoints.rest(most)

    def call(self, method: Method, request: Any, sending: Sending) -> Any:
        """Like `attempt`, with every answer as an error of the store contract."""
        try:
            return self.attempt(method, request, sending)
        except CallFailed as failure:
            raise refusal(failure) from failure

    def attempt(self, method: Method, request: Any, sending: Sending) -> Any:
        """Ask the endpoints in turn until one serves us.

        Raises CallFailed for an answer that is the same everywhere; Unavailable, TlsFailed, AuthFailed, WrongStore;
        Unknown when a write may have been applied.
        """
        tour = self.tour(self.timeout)
        lost: CallFailed | None = None
        while True:
            try:
                endpoint, share = tour.next()
            except Unavailable as error:
                if lost is not None and sending is not Sending.READ:
                    raise Unknown(f"{lost}; it may be applied now, later or never") from error
                raise
            try:
                if sending is not Sending.ONCE:
                    return self._ask(endpoint, method, request, share)
                self._prove(endpoint, share)
                return self._ask(endpoint, method, request, self._time_to_send(tour))
            except CallFailed as failure:
                if failure.answer not in ROTATING:
                    raise
                tour.failed(endpoint, failure)
                if failure.answer is Answer.LOST:
                    lost = failure
                    if sending is Sending.ONCE:
                        raise Unknown(f"{failure}; it may be applied now, later or never") from failure

    def _time_to_send(self, tour: Tour) -> float:
        left = tour.left()
        if left < _LEAST_TO_SEND * self.timeout:
            raise tour.over()
        return left

    def _ask(self, endpoint: Endpoint, method: Method, request: Any, timeout: float) -> Any:
        renewed = 0
        while True:
            token = self.token(endpoint, timeout)
            try:
                response = endpoint.channel.call(method, request, timeout, metadata(token))
            except CallFailed as failure:
                if not self.renew(failure.answer, token, renewed):
                    raise
                renewed += 1
            else:
                self.identify(endpoint, response)
                return response

    def identify(self, endpoint: Endpoint, response: Any) -> None:
        """Believe the response only if it comes from the cluster that answered first. Raises WrongStore.

        A login is such a response too: at a cluster that does not know our token it comes before any other.
        """
        found = response.header.cluster_id
        with self._cluster_lock:
            self._cluster_id = self._cluster_id or found
            if found != self._cluster_id:
                raise WrongStore(
                    f"{endpoint.name} belongs to the etcd cluster {found:x}, the other endpoints to "
                    f"{self._cluster_id:x}; list the members of one cluster only, or restart this agent if the store was restored"
                )
        endpoint.proven = True

    def _prove(self, endpoint: Endpoint, timeout: float) -> None:
        """See that the endpoint is alive and ours, with a read of its own memory. Raises CallFailed, WrongStore."""
        if endpoint.proven:
            return
        request = rpc.RangeRequest(key=self._harmless_key, limit=1, keys_only=True, serializable=True)
        try:
            response = endpoint.channel.call(RANGE, request, timeout, metadata(self._token))
        except CallFailed as failure:
            if failure.answer in ROTATING:
                raise failure.unsent("no sign of life") from failure
            endpoint.proven = True  # a refusal is a sign of life, too
        else:
            self.identify(endpoint, response)

    def token(self, endpoint: Endpoint, timeout: float) -> str | None:
        """The token to call with; logs in when there is none, or when the password has changed.

        None without a user; empty where authentication is off, as etcd's own client goes on there. Raises CallFailed,
        WrongStore.
        """
        username = self._credentials.access.username
        if username is None:
            return None
        password = self._credentials.password()
        if (token := self._kept(password)) is not None:
            return token
        if not self._login_lock.acquire(timeout=timeout):
            raise CallFailed(
                endpoint.name, Answer.LOGIN_PENDING, f"another thread's login of {username!r} is not answered"
            )
        try:
            if (token := self._kept(password)) is None:
                self._prove(endpoint, timeout)
                token = self._log_in(endpoint, username, password)
                with self._token_lock:
                    self._token, self._token_password = token, password
            return token
        finally:
            self._login_lock.release()

    def _kept(self, password: str) -> str | None:
        with self._token_lock:
            return self._token if password == self._token_password else None

    def _log_in(self, endpoint: Endpoint, username: str, password: str) -> str:
        request = rpc.AuthenticateRequest(name=username, password=password)
        timeout = max(_LOGIN_SECONDS, self.timeout)
        try:
            response = endpoint.channel.call(AUTHENTICATE, request, timeout, metadata(None))
        except CallFailed as failure:
            if failure.answer is Answer.NO_AUTH:
                return ""
            raise failure.unsent(f"the login of {username!r}") from failure
        self.identify(endpoint, response)
        return str(response.token)

    def renew(self, answer: Answer, token: str | None, renewed: int) -> bool:
        """Whether to call again after this answer, with a new login where there is a user."""
        if renewed >= _RENEWALS.get(answer, 0):
            return False
        if token is None:
            return answer is Answer.TOKEN_OLD
        with self._token_lock:
            if self._token == token:
                self._token = None
        return True


def metadata(token: str | None) -> Metadata:
    """What goes with a call: a member without a leader shall say so at once, and who we are."""
    leader = ("hasleader", "true")
    return (leader, ("token", token)) if token else (leader,)
