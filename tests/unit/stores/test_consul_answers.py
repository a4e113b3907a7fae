"""What Consul's answers mean: every wording that was met, and all of a failed transaction's reasons together."""

import json

import pytest

from locksmith.errors import (
    AuthFailed,
    Conflict,
    Denied,
    Rejected,
    SessionLost,
    Throttled,
    TlsFailed,
    Unavailable,
    WrongStore,
)
from locksmith.stores import Check, Put
from locksmith.stores.consul_answers import Fate, NoSuchNode, Trouble, failure, found, reading, revision, writing

INDEX = 'failed index check for key "ls/a", current modify index 8 != 7'
GONE = 'failed to check index, key "ls/zz" doesn\'t exist'
EXISTS = 'key "ls/a" exists'
LOCKED = 'failed to lock key "ls/q/n", lock is already held'
LOST = 'invalid session "11111111-1111-1111-1111-111111111111"'
DENIED = "Permission denied"


def failed(*whats: str) -> str:
    return json.dumps({"Results": None, "Errors": [{"OpIndex": n, "What": what} for n, what in enumerate(whats)]})


@pytest.mark.parametrize(
    ("whats", "kind"),
    [
        ([INDEX], Conflict),
        ([GONE], Conflict),
        ([EXISTS], Conflict),
        ([LOCKED], Conflict),
        ([INDEX, GONE, EXISTS, LOCKED], Conflict),
        ([LOST], SessionLost),
        ([EXISTS, LOST], SessionLost),
        ([DENIED], Denied),
        ([INDEX, DENIED], Denied),
        ([LOST, DENIED], Denied),
        (["Permission denied: token with AccessorID '…' lacks permission 'key:write' on \"ls/a\""], Denied),
        (["ACL not found"], AuthFailed),
        (["missing session"], Rejected),
        (["failed session lookup: index error: UUID must be 36 characters"], Rejected),
        (['unknown KV verb "nonsense"'], Rejected),
        (["Must provide key"], Rejected),
        ([INDEX, "Must provide key"], Rejected),
        ([LOST, "missing session"], Rejected),
        ([], Rejected),
    ],
)
def test_a_failed_transaction_is_judged_by_all_its_reasons(whats, kind) -> None:
    error = failure(409, failed(*whats), "there")
    assert type(error) is kind
    for what in whats if kind in (Conflict, SessionLost) else []:
        assert what in str(error)


def test_a_conflict_that_is_no_transaction_is_ours() -> None:
    assert type(failure(409, "not JSON", "there")) is Rejected


@pytest.mark.parametrize(
    ("code", "body", "kind"),
    [
        (400, "Request decode failed", Rejected),
        (400, "Client sent an HTTP request to an HTTPS server.", TlsFailed),
        (401, "ACL support disabled", Denied),
        (403, "Permission denied", Denied),
        (403, "rpc error making call: ACL not found", AuthFailed),
        (413, "Transaction contains too many operations (65 > 64)", Rejected),
        (500, "No path to datacenter", WrongStore),
        (500, "rpc error making call: Missing node registration", NoSuchNode),
    ],
)
def test_what_settles_a_call(code, body, kind) -> None:
    error = failure(code, body, "10.0.0.1:8500")
    assert type(error) is kind
    assert "10.0.0.1:8500" in str(error)


@pytest.mark.parametrize(
    ("code", "body", "kind", "fate"),
    [
        (404, "404 page not found", Unavailable, Fate.REFUSED),
        (429, "Your IP is issuing too many concurrent connections", Throttled, Fate.REFUSED),
        (408, "", Unavailable, Fate.OPEN),
        (418, "", Unavailable, Fate.OPEN),
        (500, "No cluster leader", Unavailable, Fate.OPEN),
        (500, "leadership lost while committing log", Unavailable, Fate.OPEN),
        (503, "", Unavailable, Fate.OPEN),
    ],
)
def test_what_asks_for_another_endpoint(code, body, kind, fate) -> None:
    trouble = failure(code, body, "10.0.0.1:8500")
    assert isinstance(trouble, Trouble)
    assert (type(trouble.error), trouble.fate) == (kind, fate)
    assert "10.0.0.1:8500" in str(trouble.error)


def test_a_read_never_uses_get() -> None:
    """`get` of an absent key would fail the whole transaction."""
    assert json.loads(reading(["a", "q/"])) == [
        {"KV": {"Verb": "get-tree", "Key": "a"}},
        {"KV": {"Verb": "get-tree", "Key": "q/"}},
    ]


def test_checks_come_first() -> None:
    body = json.loads(
        writing([Check("a", 7), Check("t", 0), Check("d", 9)], [Put("a", b"1"), Put("t", b"2", "sid")], ["d"])
    )
    operations = [operation["KV"] for operation in body]
    for operation in operations[3:5]:
        assert isinstance(operation.pop("Flags"), int)
    assert operations == [
        {"Verb": "check-index", "Key": "a", "Index": 7},
        {"Verb": "check-not-exists", "Key": "t"},
        {"Verb": "check-index", "Key": "d", "Index": 9},
        {"Verb": "set", "Key": "a", "Value": "MQ=="},
        {"Verb": "lock", "Key": "t", "Value": "Mg==", "Session": "sid"},
        {"Verb": "delete", "Key": "d"},
    ]


def test_every_put_has_flags_of_its_own() -> None:
    """Consul does not move the index when neither value nor flags change."""
    bodies = [json.loads(writing([], [Put("a", b"1"), Put("b", b"1")], [])) for _ in range(50)]
    assert len({operation["KV"]["Flags"] for body in bodies for operation in body}) == 100


def entry(key: str, mod: int, **more: object) -> dict[str, object]:
    fields = {"LockIndex": 0, "Key": key, "Flags": 1, "Value": None, "CreateIndex": 1, "ModifyIndex": mod}
    return {"KV": {**fields, **more}}


def test_the_revision_is_that_of_the_puts_not_of_what_was_checked() -> None:
    answer = {"Results": [entry("checked", 99), entry("a", 12), entry("b", 12)], "Errors": None}
    assert revision(answer, [Put("a", b""), Put("b", b"")]) == 12
    assert revision({"Results": None}, []) is None


def test_items_are_decoded() -> None:
    answer = {"Results": [entry("a", 3), entry("b", 4, Value="AP8=", Session="sid")]}
    (_, first), (_, second) = found(answer)
    assert (first.value, first.mod, first.create, first.session) == (b"", 3, 1, None)
    assert (second.value, second.session) == (b"\x00\xff", "sid")


@pytest.mark.parametrize("answer", [None, [], "text", {}, {"Results": [{}]}, {"Results": [{"KV": {"Key": "a"}}]}])
def test_the_answer_of_somebody_else_is_noticed(answer) -> None:
    with pytest.raises(ValueError, match="no answer of a transaction"):
        list(found(answer))
    with pytest.raises(ValueError, match="no answer of a transaction"):
        revision(answer, [Put("a", b"")])
