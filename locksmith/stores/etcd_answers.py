"""What etcd's errors mean: one table from (gRPC code, text) to a closed word, and from there to our error tree.

The one idea a reader would miss: for a write there are three kinds of failure, not two. Surely not sent or applied (go on
with the next endpoint), surely refused (say why), and everything else, which is `LOST`: applied now, later or never. A
row that is not in the table is LOST, because a wrong LOST costs one read and a wrong "not applied" costs a slot.
Source: etcd's api/v3rpc/rpctypes/error.go and the interceptors before its handlers; tried on 3.4.23 and 3.5.16.
"""

import re
from enum import Enum, auto

from locksmith.errors import (
    AuthFailed,
    Denied,
    Rejected,
    SessionLost,
    StoreError,
    StoreFull,
    Throttled,
    Unavailable,
)


class Answer(Enum):
    """What a failed call says."""

    UNREACHED = auto()
    """No connection: surely not sent."""
    RETIRED = auto()
    """Its channel was replaced by another thread in the same moment: surely not sent, and the new one may serve."""
    LOGIN_PENDING = auto()
    """Another thread's login is not answered: surely not sent, and nothing is said against this endpoint."""
    LEADERLESS = auto()
    """Reached a member that cannot serve and says so before it does anything: surely not applied."""
    LOST = auto()
    """Sent, and applied now, later or never."""
    TOKEN_UNKNOWN = auto()
    """The login has expired, or its member has restarted; refused before anything is done."""
    TOKEN_OLD = auto()
    """Users or roles were changed meanwhile; surely not applied."""
    ANONYMOUS = auto()
    """Authentication is on and nobody has logged in; surely not applied."""
    WRONG_PASSWORD = auto()
    NO_AUTH = auto()
    """A login where authentication is off."""
    NO_RIGHT = auto()
    LEASE_GONE = auto()
    LEASE_EXISTS = auto()
    FULL = auto()
    """Over quota. Not a proof: the write that crosses the quota when it is applied is applied, and answers this too."""
    THROTTLED = auto()
    COMPACTED = auto()
    MALFORMED = auto()
    """A mistake of ours, refused before it is proposed."""


_ANY = ""
_TABLE: tuple[tuple[str, str, Answer], ...] = (
    # gRPC's own words, before a byte of the request has left: grpcio 1.51 to 1.85 begin like this
    ("UNAVAILABLE", "failed to connect to all addresses", Answer.UNREACHED),
    ("UNAVAILABLE", "errors resolving ", Answer.UNREACHED),
    ("UNAVAILABLE", "DNS resolution failed", Answer.UNREACHED),
    # etcd's interceptors, which stand before every handler
    ("UNAVAILABLE", "etcdserver: no leader", Answer.LEADERLESS),
    ("UNAVAILABLE", "etcdserver: rpc not supported for learner", Answer.LEADERLESS),
    ("UNAVAILABLE", "etcdserver: not capable", Answer.LEADERLESS),
    # authentication: 3.4 sends some of these as UNKNOWN, so the text decides; a watch has nothing but the text
    (_ANY, "invalid auth token", Answer.TOKEN_UNKNOWN),
    (_ANY, "revision of auth store is old", Answer.TOKEN_OLD),
    (_ANY, "auth: revision in header is old", Answer.TOKEN_OLD),
    (_ANY, "user name is empty", Answer.ANONYMOUS),
    (_ANY, "etcdserver: permission denied", Answer.NO_RIGHT),
    ("INVALID_ARGUMENT", "authentication failed", Answer.WRONG_PASSWORD),
    ("FAILED_PRECONDITION", "authentication is not enabled", Answer.NO_AUTH),
    ("PERMISSION_DENIED", "", Answer.NO_RIGHT),
    ("UNAUTHENTICATED", "", Answer.TOKEN_UNKNOWN),
    ("NOT_FOUND", "requested lease not found", Answer.LEASE_GONE),
    ("FAILED_PRECONDITION", "lease already exists", Answer.LEASE_EXISTS),
    ("RESOURCE_EXHAUSTED", "database space exceeded", Answer.FULL),
    ("RESOURCE_EXHAUSTED", "etcdserver: too many requests", Answer.THROTTLED),
    ("OUT_OF_RANGE", "compacted", Answer.COMPACTED),
    ("INVALID_ARGUMENT", "", Answer.MALFORMED),
)

_PREAMBLE = re.compile(r"^failed to connect to all addresses; last error: \w+: (\S+: )?")


def classify(code: str, text: str) -> Answer:
    """The meaning of a gRPC status (its code's name, its text). The first row that fits."""
    for row_code, fragment, answer in _TABLE:
        if row_code in (_ANY, code) and fragment in text:
            return answer
    return Answer.LOST


class CallFailed(Exception):
    """One call on one endpoint failed; stays inside the adapter."""

    def __init__(self, endpoint: str, answer: Answer, text: str) -> None:
        """`text` is what gRPC or etcd said."""
        self.endpoint = endpoint
        self.answer = answer
        self.text = text
        super().__init__(f"{endpoint}: {text}")

    def brief(self) -> str:
        """The failure for a list of endpoints: gRPC's preamble is left out."""
        reason = _PREAMBLE.sub("", self.text).removeprefix("Failed to connect to remote host: ")
        return f"{self.endpoint} ({reason[:1].lower()}{reason[1:]})"

    def unsent(self, doing: str) -> "CallFailed":
        """The same for a call that was only the preparation of another one, which is surely not sent now."""
        if self.answer is Answer.LOST:
            return CallFailed(self.endpoint, Answer.UNREACHED, f"{doing}: {self.text}")
        return self


def refusal(failure: CallFailed) -> StoreError:
    """The error for an answer after which no other endpoint needs to be asked."""
    where = failure.endpoint
    match failure.answer:
        case Answer.LEASE_GONE:
            return SessionLost(f"{where}: the session has ended: {failure.text}")
        case Answer.FULL:
            return StoreFull(f"{where}: etcd refuses writes: {failure.text}; compact, defragment, then `alarm disarm`")
        case Answer.THROTTLED:
            return Throttled(f"{where}: {failure.text}; ask less often")
        case Answer.WRONG_PASSWORD:
            return AuthFailed(f"{where}: {failure.text}; check username and password_file")
        case Answer.ANONYMOUS:
            return AuthFailed(
                f"{where}: etcd asks for a user; set username and password_file, or a client certificate whose common "
                "name is the user"
            )
        case Answer.TOKEN_UNKNOWN | Answer.TOKEN_OLD:
            return AuthFailed(f"{where}: {failure.text}, also after a new login; check the user in etcd")
        case Answer.NO_RIGHT:
            return Denied(f"{where}: {failure.text}; grant the user the role that the README shows for this prefix")
        case Answer.UNREACHED | Answer.RETIRED | Answer.LOGIN_PENDING | Answer.LEADERLESS | Answer.LOST:
            return Unavailable(f"{where}: {failure.text}")
        case Answer.NO_AUTH | Answer.LEASE_EXISTS | Answer.COMPACTED | Answer.MALFORMED:
            return Rejected(f"{where}: etcd refuses the request as malformed: {failure.text}")
