"""The two orders of kernel releases."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locksmith.updates.kernel_versions import compare_debian, compare_rpm, is_debian, is_newer


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("6.1.0-9-amd64", "6.1.0-27-amd64"),
        ("6.1.0-27-amd64", "6.1.0-28-amd64"),
        ("5.15.0-91-generic", "6.8.0-31-generic"),
        ("6.12.0-rc1", "6.12.0"),
        ("6.12-trunk-amd64", "6.12-amd64"),
        ("5.14.0-427.13.1.el9", "5.14.0-427.el9"),  # what RPM sees the other way round
        ("6.1.0-27", "6.1.0-27+b1"),
        ("1~", "1"),
        ("1", "9" * 5000),
    ],
)
def test_the_order_of_debian(older, newer):
    assert compare_debian(older, newer) < 0 < compare_debian(newer, older)


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("5.14.0-427.el9.x86_64", "5.14.0-427.13.1.el9_4.x86_64"),
        ("6.11.4-300.fc41.x86_64", "6.11.10-300.fc41.x86_64"),
        ("3.10.0-693.el7.x86_64", "3.10.0-1160.el7.x86_64"),
        ("6.12.0-0.rc1.20240930.fc42", "6.12.0-65.fc42"),
        ("6.12~rc1", "6.12"),
        ("6.12", "6.12^git1"),
        ("6.12^git1", "6.12.1"),
        ("6.6.1-arch1-1", "6.6.10-arch1-1"),
        ("1.a", "1.1"),
        ("1.a", "1.b"),
        ("1", "9" * 5000),
    ],
)
def test_the_order_of_rpm(older, newer):
    assert compare_rpm(older, newer) < 0 < compare_rpm(newer, older)


@pytest.mark.parametrize("debian", [True, False])
def test_leading_zeros_mean_nothing(debian):
    assert not is_newer("6.01", "6.1", debian=debian)
    assert not is_newer("6.1", "6.01", debian=debian)


_TEXT = st.text(alphabet="0129ab.-_~^+²\ud800", max_size=8)


@pytest.mark.parametrize("compare", [compare_debian, compare_rpm])
@given(one=_TEXT, other=_TEXT, third=_TEXT)
def test_they_are_orders(compare, one, other, third):
    assert compare(one, one) == 0
    assert (compare(one, other) > 0) == (compare(other, one) < 0)
    if compare(one, other) <= 0 and compare(other, third) <= 0:
        assert compare(one, third) <= 0


@pytest.mark.parametrize(
    ("file", "expected"), [("etc/debian_version", True), ("var/lib/dpkg/status", True), ("etc/x", False)]
)
def test_whose_order_holds(file, expected, make_root):
    assert is_debian(make_root({file: ""})) is expected
