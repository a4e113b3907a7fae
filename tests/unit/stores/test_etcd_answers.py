"""What etcd's answers mean for a write: each row of the table in docs/dependencies, in the servers' own words."""

import pytest

from locksmith.errors import (
    AuthFailed,
    Denied,
    Rejected,
    SessionLost,
    StoreFull,
    Throttled,
    Unavailable,
)
from locksmith.stores.etcd_answers import Answer, CallFailed, classify, refusal

CONNECT = (
    "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: Failed to connect to remote host: "
)


@pytest.mark.parametrize(
    ("code", "text", "answer"),
    [
        ("UNAVAILABLE", CONNECT + "Connection refused", Answer.UNREACHED),
        ("UNAVAILABLE", "failed to connect to all addresses", Answer.UNREACHED),
        ("UNAVAILABLE", "errors resolving nowhere:1: [field:hostname lookup error]", Answer.UNREACHED),
        ("UNAVAILABLE", "DNS resolution failed for nowhere:1: C-ares status is not ARES_SUCCESS", Answer.UNREACHED),
        ("UNAVAILABLE", "etcdserver: no leader", Answer.LEADERLESS),
        ("UNAVAILABLE", "etcdserver: rpc not supported for learner", Answer.LEADERLESS),
        ("UNAVAILABLE", "Socket closed", Answer.LOST),
        ("UNAVAILABLE", "etcdserver: request timed out", Answer.LOST),
        ("UNAVAILABLE", "etcdserver: request timed out, possibly due to previous leader failure", Answer.LOST),
        ("UNAVAILABLE", "etcdserver: leader changed", Answer.LOST),
        ("UNAVAILABLE", "etcdserver: server stopped", Answer.LOST),
        ("DEADLINE_EXCEEDED", "Deadline Exceeded", Answer.LOST),
        ("UNKNOWN", "context deadline exceeded", Answer.LOST),
        ("UNKNOWN", "raft proposal dropped", Answer.LOST),
        ("CANCELLED", "Channel closed!", Answer.LOST),
        ("INTERNAL", "something new", Answer.LOST),
        ("RESOURCE_EXHAUSTED", "something new", Answer.LOST),
        ("NOT_FOUND", "etcdserver: requested lease not found", Answer.LEASE_GONE),
        ("OUT_OF_RANGE", "etcdserver: mvcc: required revision has been compacted", Answer.COMPACTED),
        ("RESOURCE_EXHAUSTED", "etcdserver: mvcc: database space exceeded", Answer.FULL),
        ("RESOURCE_EXHAUSTED", "etcdserver: too many requests", Answer.THROTTLED),
        ("UNAUTHENTICATED", "etcdserver: invalid auth token", Answer.TOKEN_UNKNOWN),
        ("INVALID_ARGUMENT", "etcdserver: revision of auth store is old", Answer.TOKEN_OLD),
        ("UNKNOWN", "auth: revision in header is old", Answer.TOKEN_OLD),
        ("INVALID_ARGUMENT", "etcdserver: user name is empty", Answer.ANONYMOUS),
        (
            "INVALID_ARGUMENT",
            "etcdserver: authentication failed, invalid user ID or password",
            Answer.WRONG_PASSWORD,
        ),
        ("PERMISSION_DENIED", "etcdserver: permission denied", Answer.NO_RIGHT),
        ("CANCELLED", "rpc error: code = PermissionDenied desc = etcdserver: permission denied", Answer.NO_RIGHT),
        ("INVALID_ARGUMENT", "etcdserver: duplicate key given in txn request", Answer.MALFORMED),
        ("INVALID_ARGUMENT", "etcdserver: request is too large", Answer.MALFORMED),
    ],
)
def test_what_it_means(code: str, text: str, answer: Answer) -> None:
    assert classify(code, text) is answer


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer.LEASE_GONE, SessionLost),
        (Answer.FULL, StoreFull),
        (Answer.THROTTLED, Throttled),
        (Answer.WRONG_PASSWORD, AuthFailed),
        (Answer.ANONYMOUS, AuthFailed),
        (Answer.TOKEN_UNKNOWN, AuthFailed),
        (Answer.TOKEN_OLD, AuthFailed),
        (Answer.NO_RIGHT, Denied),
        (Answer.MALFORMED, Rejected),
        (Answer.COMPACTED, Rejected),
        (Answer.UNREACHED, Unavailable),
        (Answer.LEADERLESS, Unavailable),
        (Answer.LOST, Unavailable),
    ],
)
def test_the_error_names_the_endpoint(answer: Answer, error: type[Exception]) -> None:
    refused = refusal(CallFailed("10.0.0.1:2379", answer, "etcdserver: so it is"))
    assert type(refused) is error
    assert str(refused).startswith("10.0.0.1:2379: ")


def test_every_answer_has_an_error() -> None:
    for answer in Answer:
        assert refusal(CallFailed("e", answer, "t"))


def test_a_list_of_endpoints_is_readable() -> None:
    assert CallFailed("h:1", Answer.UNREACHED, CONNECT + "Connection refused").brief() == "h:1 (connection refused)"
    assert CallFailed("h:1", Answer.LOST, "Deadline Exceeded").brief() == "h:1 (deadline Exceeded)"


def test_what_only_prepares_a_call_leaves_it_unsent() -> None:
    lost = CallFailed("h:1", Answer.LOST, "Deadline Exceeded").unsent("the login")
    assert (lost.answer, lost.text) == (Answer.UNREACHED, "the login: Deadline Exceeded")
    assert CallFailed("h:1", Answer.WRONG_PASSWORD, "no").unsent("the login").answer is Answer.WRONG_PASSWORD
