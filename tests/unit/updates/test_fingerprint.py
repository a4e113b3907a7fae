"""The digest that the loop guard compares."""

import string

from hypothesis import given
from hypothesis import strategies as st

from locksmith.updates.fingerprint import fingerprint

_PARTS = st.lists(st.text(alphabet=st.characters()), max_size=4)


def test_is_the_same_in_every_process_and_version() -> None:
    # It waits in the journal over a reboot, behind which a newer agent may ask for it.
    assert fingerprint("kernel", "6.1.0-28-amd64") == "5fd6c0bfd7f7f0957be9ca17d6d86293"


@given(_PARTS)
def test_is_32_hex_digits_whatever_comes_in(parts: list[str]) -> None:
    made = fingerprint(*parts)
    assert len(made) == 32
    assert set(made) <= set(string.hexdigits.lower())


@given(_PARTS, _PARTS)
def test_is_equal_only_for_the_same_parts(one: list[str], other: list[str]) -> None:
    assert (fingerprint(*one) == fingerprint(*other)) == (one == other)


def test_parts_do_not_run_into_each_other() -> None:
    made = {fingerprint(*parts) for parts in (("ab", "c"), ("a", "bc"), ("abc",), ("a", "b", "c"), ("c", "ab"), ())}
    assert len(made) == 6


def test_half_a_surrogate_pair_is_a_part_like_any_other() -> None:
    assert fingerprint("\ud800") != fingerprint("\udc80") != fingerprint("?")
