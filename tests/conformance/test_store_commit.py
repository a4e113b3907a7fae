"""The contract of `Store.commit`, on every store: checks, writes, revisions, limits."""

import pytest

from locksmith.errors import Conflict, Rejected
from locksmith.stores import ABSENT, MAX_COMMIT, MAX_OPERATIONS, MAX_VALUE, Check, Put, Store


def put(store: Store, key: str, value: bytes, mod: int) -> int:
    """Write one key under a check; the new revision."""
    revision = store.commit([Check(key, mod)], [Put(key, value)])
    assert revision is not None
    return revision


def test_mod_moves_with_every_put_and_create_stays(store: Store) -> None:
    first = put(store, "a", b"1", 0)
    second = put(store, "a", b"2", first)
    third = put(store, "a", b"3", second)
    assert len({0, first, second, third}) == 4
    item = store.read(["a"])["a"]
    assert (item.value, item.mod, item.create) == (b"3", third, first)


def test_mod_moves_even_when_the_value_is_equal(store: Store) -> None:
    first = put(store, "a", b"same", 0)
    second = put(store, "a", b"same", first)
    assert second != first
    item = store.read(["a"])["a"]
    assert (item.mod, item.create) == (second, first)
    with pytest.raises(Conflict):
        put(store, "a", b"late", first)


def test_a_put_of_another_key_does_not_move_mod(store: Store) -> None:
    first = put(store, "a", b"1", 0)
    put(store, "ab", b"1", 0)
    assert store.read(["a"])["a"].mod == first


def test_a_key_that_was_deleted_begins_a_new_life(store: Store) -> None:
    first = put(store, "a", b"1", 0)
    assert store.commit([Check("a", first)], deletes=["a"]) is None
    assert store.read(["a"])["a"] == ABSENT
    second = put(store, "a", b"1", 0)
    item = store.read(["a"])["a"]
    assert (item.mod, item.create) == (second, second)
    assert second > first


def test_delete_and_create_does_not_fool_a_check(store: Store, other: Store) -> None:
    seen = put(store, "a", b"1", 0)
    other.commit([Check("a", seen)], deletes=["a"])
    put(other, "a", b"1", 0)
    with pytest.raises(Conflict):
        put(store, "a", b"2", seen)
    with pytest.raises(Conflict):
        store.commit([Check("a", seen)], deletes=["a"])
    assert store.read(["a"])["a"].value == b"1"


def test_the_revision_is_that_of_every_put(store: Store) -> None:
    old = put(store, "old", b"1", 0)
    revision = store.commit(
        [Check("old", old), Check("new", 0), Check("unseen", 0)],
        [Put("old", b"2"), Put("new", b"1"), Put("blind", b"1")],
    )
    snapshot = store.read(["old", "new", "blind"])
    assert [snapshot[key].mod for key in ("old", "new", "blind")] == [revision] * 3
    assert [snapshot[key].create for key in ("old", "new", "blind")] == [old, revision, revision]


def test_a_put_needs_no_check(store: Store) -> None:
    first = store.commit([], [Put("a", b"1")])
    second = store.commit([], [Put("a", b"2")])
    item = store.read(["a"])["a"]
    assert (item.value, item.mod, item.create) == (b"2", second, first)


def test_puts_and_deletes_in_one_commit(store: Store) -> None:
    ticket = put(store, "ticket", b"t", 0)
    guard = put(store, "guard", b"0", 0)
    revision = store.commit(
        [Check("guard", guard), Check("ticket", ticket), Check("own", 0)],
        [Put("guard", b"1"), Put("own", b"me")],
        ["ticket"],
    )
    snapshot = store.read(["guard", "own", "ticket"])
    assert [(key, item.value, item.mod) for key, item in snapshot.under("")] == [
        ("guard", b"1", revision),
        ("own", b"me", revision),
    ]


def test_deleting_what_is_checked_to_be_absent_is_harmless(store: Store) -> None:
    assert store.commit([Check("a", 0)], deletes=["a"]) is None
    put(store, "a", b"1", 0)
    with pytest.raises(Conflict):
        store.commit([Check("a", 0)], deletes=["a"])
    assert store.read(["a"])["a"].value == b"1"


@pytest.mark.parametrize("stale", ["absent but expected", "present but not expected", "changed", "gone since"])
@pytest.mark.parametrize("first", [True, False], ids=["first check", "last check"])
def test_one_failed_check_and_nothing_is_applied(store: Store, stale: str, first) -> None:
    good = put(store, "good", b"good", 0)
    victim = put(store, "victim", b"victim", 0)
    mod = put(store, "key", b"1", 0)
    match stale:
        case "absent but expected":
            failing = Check("nothing", mod)
        case "present but not expected":
            failing = Check("key", 0)
        case "changed":
            put(store, "key", b"2", mod)
            failing = Check("key", mod)
        case _:
            store.commit([Check("key", mod)], deletes=["key"])
            failing = Check("key", mod)
    before = store.read(prefixes=[""])
    checks = [Check("good", good), Check("victim", victim), Check("new", 0)]
    with pytest.raises(Conflict):
        store.commit(
            [failing, *checks] if first else [*checks, failing],
            [Put("good", b"overwritten"), Put("new", b"1"), Put("blind", b"1")],
            ["victim"],
        )
    assert dict(store.read(prefixes=[""]).under("")) == dict(before.under(""))


def test_a_check_of_a_key_that_is_not_written(store: Store) -> None:
    brake = put(store, "brake", b"go", 0)
    assert store.commit([Check("brake", brake), Check("hold", 0)], [Put("a", b"1")])
    brake = put(store, "brake", b"stop", brake)
    with pytest.raises(Conflict):
        store.commit([Check("brake", brake + 1_000_000)], [Put("b", b"1")])
    put(store, "hold", b"x", 0)
    with pytest.raises(Conflict):
        store.commit([Check("brake", brake), Check("hold", 0)], [Put("b", b"1")])
    assert [key for key, _ in store.read(prefixes=[""]).under("")] == ["a", "brake", "hold"]


def test_a_conflict_is_no_rejection(store: Store) -> None:
    with pytest.raises(Conflict) as caught:
        store.commit([Check("a", 12345)], [Put("a", b"1")])
    assert not isinstance(caught.value, Rejected)


def test_create_orders_keys_of_different_commits(store: Store, other: Store) -> None:
    names = ["n", "c", "z", "a", "m", "b"]
    for number, name in enumerate(names):
        put((store, other)[number % 2], f"q/{name}", b"t", 0)
    put(store, "q/n", b"again", store.read(["q/n"])["q/n"].mod)
    tickets = sorted(store.read(prefixes=["q/"]).under("q/"), key=lambda pair: pair[1].create)
    assert [key.removeprefix("q/") for key, _ in tickets] == names
    assert len({item.create for _, item in tickets}) == len(names)


def test_values_are_bytes(store: Store) -> None:
    values = {
        "nul": b"\x00",
        "nuls": b"a\x00b\x00",
        "all": bytes(range(256)),
        "text": "schön ☃".encode(),
        "not": b"\xff\xfe",
    }
    store.commit([], [Put(key, value) for key, value in values.items()])
    snapshot = store.read(list(values))
    assert {key: snapshot[key].value for key in values} == values


def test_an_empty_value_is_a_value(store: Store) -> None:
    revision = put(store, "a", b"", 0)
    item = store.read(["a"])["a"]
    assert item
    assert (item.value, item.mod) == (b"", revision)
    with pytest.raises(Conflict):
        put(store, "a", b"1", 0)


def test_as_many_operations_as_allowed(store: Store) -> None:
    third = MAX_OPERATIONS // 3
    keys = [f"k/{number:02}" for number in range(third)]
    first = store.commit([Check(key, 0) for key in keys], [Put(key, b"1") for key in keys])
    assert first is not None
    doomed = keys[: third // 2]
    kept = keys[third // 2 :]
    more = [f"l/{number:02}" for number in range(MAX_OPERATIONS - 2 * third)]
    second = store.commit([Check(key, first) for key in keys], [Put(key, b"2") for key in kept + more], doomed)
    snapshot = store.read(prefixes=[""])
    assert {key: item.mod for key, item in snapshot.under("")} == dict.fromkeys(kept + more, second)


def test_a_value_as_long_as_allowed(store: Store) -> None:
    value = bytes(range(256)) * (MAX_VALUE // 256)
    put(store, "a", value, 0)
    assert store.read(["a"])["a"].value == value


def test_values_as_long_together_as_allowed(store: Store) -> None:
    values = {
        f"k{number}": bytes([number, 255 - number]) * (MAX_VALUE // 2) for number in range(MAX_COMMIT // MAX_VALUE)
    }
    revision = store.commit([Check(key, 0) for key in values], [Put(key, value) for key, value in values.items()])
    snapshot = store.read(list(values))
    assert {key: snapshot[key].value for key in values} == values
    assert {item.mod for _, item in snapshot.under("")} == {revision}


MALFORMED = {
    "no write": ([Check("a", 0)], [], []),
    "nothing at all": ([], [], []),
    "a put twice": ([], [Put("a", b"1"), Put("a", b"2")], []),
    "a put and a delete of one key": ([Check("a", 0)], [Put("a", b"1")], ["a"]),
    "a delete twice": ([Check("a", 0)], [], ["a", "a"]),
    "a check twice": ([Check("b", 0), Check("b", 0)], [Put("a", b"1")], []),
    "a delete without a check": ([Check("b", 0)], [Put("a", b"1")], ["c"]),
    "too many operations": ([Check(f"k{n}", 0) for n in range(MAX_OPERATIONS)], [Put("a", b"1")], []),
    "a value too long": ([], [Put("a", bytes(MAX_VALUE + 1))], []),
    "values too long together": ([], [Put("a", b"1"), *[Put(f"k{n}", bytes(MAX_VALUE)) for n in range(4)]], []),
    "an ephemeral key without a check": ([], [Put("a", b"1", "session")], []),
    "an ephemeral key over an old one": ([Check("a", 7)], [Put("a", b"1", "session")], []),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_what_some_store_could_not_do_is_rejected(store: Store, name: str) -> None:
    with pytest.raises(Rejected) as caught:
        store.commit(*MALFORMED[name])
    assert caught.type is Rejected, "a malformed commit is our own bug, not a state of the store"
    assert list(store.read(prefixes=[""]).under("")) == []
