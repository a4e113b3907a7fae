"""The contract of `Store.read`, on every store."""

import pytest

from locksmith.errors import Rejected
from locksmith.stores import ABSENT, MAX_OPERATIONS, Check, Put, Store


def write(store: Store, *keys: str) -> None:
    """Create the keys in one commit; the value of each is its name."""
    store.commit([Check(key, 0) for key in keys], [Put(key, key.encode()) for key in keys])


def test_an_absent_key_is_absent(store: Store) -> None:
    item = store.read(["nothing"])["nothing"]
    assert item == ABSENT
    assert (item.mod, item.create, item.value, item.session) == (0, 0, b"", None)
    assert not item


def test_an_absent_prefix_has_nothing_under_it(store: Store) -> None:
    snapshot = store.read(prefixes=["q/"])
    assert list(snapshot.under("q/")) == []
    assert list(snapshot.under("")) == []


def test_a_key_comes_back_whole(store: Store) -> None:
    revision = store.commit([Check("a", 0)], [Put("a", b"1")])
    item = store.read(["a"])["a"]
    assert item
    assert (item.value, item.mod, item.create, item.session) == (b"1", revision, revision, None)


def test_an_exact_key_is_not_a_prefix(store: Store) -> None:
    write(store, "ab", "a/b", "a.b", "a")
    assert [key for key, _ in store.read(["a"]).under("")] == ["a"]
    store.commit([Check("a", store.read(["a"])["a"].mod)], deletes=["a"])
    assert not store.read(["a"])["a"]
    assert list(store.read(["a"]).under("")) == []


def test_a_prefix_is_the_exact_start_of_keys(store: Store) -> None:
    write(store, "q/g", "q/g/1", "q/g/2", "q/g1", "q/G/1", "q/f", "r/q/g/1", "q")
    assert [key for key, _ in store.read(prefixes=["q/g/"]).under("")] == ["q/g/1", "q/g/2"]
    assert [key for key, _ in store.read(prefixes=["q/g"]).under("")] == ["q/g", "q/g/1", "q/g/2", "q/g1"]
    assert [key for key, _ in store.read(prefixes=["q/"]).under("")] == [
        "q/G/1",
        "q/f",
        "q/g",
        "q/g/1",
        "q/g/2",
        "q/g1",
    ]


def test_the_empty_prefix_is_everything_of_this_client_and_no_more(connect) -> None:
    store, longer, deeper = connect(), connect("x"), connect("/x")
    write(store, "a", "b/c")
    write(longer, "foreign")
    assert [key for key, _ in store.read(prefixes=[""]).under("")] == ["a", "b/c"]
    assert [key for key, _ in longer.read(prefixes=[""]).under("")] == ["foreign"]
    assert list(deeper.read(prefixes=[""]).under("")) == []


def test_wildcards_of_other_languages_are_letters(store: Store) -> None:
    write(store, "a_b", "axb", "a.b", "a-b", "a/b")
    for prefix in ("a_", "a.", "a-", "a/"):
        assert [key for key, _ in store.read(prefixes=[prefix]).under("")] == [f"{prefix}b"]


def test_keys_and_prefixes_together_may_overlap(store: Store) -> None:
    write(store, "cfg", "q/1", "q/2", "other")
    snapshot = store.read(["cfg", "q/1", "gone"], ["q/", "q/2"])
    assert [key for key, _ in snapshot.under("")] == ["cfg", "q/1", "q/2"]
    assert snapshot["cfg"].value == b"cfg"
    assert snapshot["gone"] == ABSENT
    assert snapshot["other"] == ABSENT


def test_keys_of_every_allowed_character(store: Store) -> None:
    keys = [
        "lim/label/zone=a",
        "own/0f/Node-1.example_com",
        "q/default/n.hand.0f0f",
        "ev/2024-01-01T00:00:00Z",
        "A" * 128,
    ]
    write(store, *keys)
    snapshot = store.read(keys)
    assert {key: snapshot[key].value for key in keys} == {key: key.encode() for key in keys}


def test_upper_and_lower_case_are_different_keys(store: Store) -> None:
    write(store, "node/a", "node/A")
    snapshot = store.read(["node/a", "node/A"])
    assert (snapshot["node/a"].value, snapshot["node/A"].value) == (b"node/a", b"node/A")


def test_as_many_keys_and_prefixes_as_allowed(store: Store) -> None:
    half = MAX_OPERATIONS // 2
    write(store, *[f"k/{number:02}" for number in range(half)])
    keys = [f"k/{number:02}" for number in range(half)]
    snapshot = store.read(keys, [f"k/{number:02}" for number in range(half)])
    assert [key for key, _ in snapshot.under("")] == keys


@pytest.mark.parametrize(
    ("keys", "prefixes"),
    [((), ()), (["k"] * (MAX_OPERATIONS + 1), ()), (["k"] * MAX_OPERATIONS, ["p"]), ((), ["p"] * (MAX_OPERATIONS + 1))],
    ids=["nothing", "keys", "both", "prefixes"],
)
def test_what_no_store_could_read_is_rejected(store: Store, keys, prefixes) -> None:
    with pytest.raises(Rejected) as caught:
        store.read(keys, prefixes)
    assert caught.type is Rejected


def test_another_client_sees_a_write_at_once(store: Store, other: Store) -> None:
    mod = 0
    for number in range(20):
        writer, reader = (store, other) if number % 2 else (other, store)
        mod = writer.commit([Check("a", mod)], [Put("a", f"{number}".encode())])
        item = reader.read(["a"])["a"]
        assert (item.mod, item.value) == (mod, f"{number}".encode())


def test_probe_allows_what_may_be_read(store: Store) -> None:
    """Whether or not the key exists; the denial is for the tests of the stores that have rights."""
    store.probe("a")
    write(store, "a")
    store.probe("a")
