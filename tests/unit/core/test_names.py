"""Names: the protocol's patterns to the letter, and the nearest known word to a slip."""

import pytest

from locksmith.core.names import did_you_mean, entry_name, group_name, label_name, label_value, nearest, node_id

CHECKS = [(group_name, 63), (label_name, 63), (label_value, 63), (node_id, 128)]


@pytest.mark.parametrize(("check", "length"), CHECKS)
def test_accepts_the_pattern_up_to_its_length(check, length):
    for text in ("default", "A", "0", "a.b_c-d", "Zone.1", "a" * length):
        assert check(text) == text
    with pytest.raises(ValueError, match=f"at most {length}"):
        check("a" * (length + 1))


@pytest.mark.parametrize(("check", "length"), CHECKS)
@pytest.mark.parametrize("text", ["", "-a", ".a", "_a", "a/b", "a b", "a\n", "ä", "a=b", "٣", "a\x1b[2J"])
def test_refuses_everything_else_without_echoing_control_characters(check, length, text):
    with pytest.raises(ValueError, match="first a letter or digit") as caught:
        check(text)
    assert str(caught.value).isprintable()


def test_entry_names_are_smaller():
    for text in ("a", "0", "backup", "kernel-2_x", "a" * 32):
        assert entry_name(text) == text
    for text in ("", "A", "a.b", "-a", "_a", "a" * 33, "a\n"):
        with pytest.raises(ValueError, match="at most 32 characters"):
            entry_name(text)


def test_long_names_are_not_repeated_in_full():
    with pytest.raises(ValueError, match="10000 characters") as caught:
        group_name("x" * 10_000)
    assert len(str(caught.value)) < 200


def test_nearest():
    known = ("poll_interval", "min_uptime", "Strategy")
    assert nearest("pol_interval", known) == "poll_interval"
    assert nearest("strategi", known) == "Strategy"
    assert nearest("colour", known) is None
    assert nearest("x" * 100_000, known) is None
    assert did_you_mean("minuptime", known) == "; did you mean 'min_uptime'?"
    assert did_you_mean("colour", known) == ""
