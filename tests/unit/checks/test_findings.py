from locksmith.checks.findings import Findings, listed
from locksmith.core.verdict import Closed, Open, Unknown


def test_wrong_outweighs_unclear_outweighs_notes():
    found = Findings()
    assert found.verdict() == Open()
    found.notes += ["a", "b"]
    assert found.verdict() == Open("a; b")
    found.unclear += ["c", "d"]
    assert found.verdict() == Unknown("c")
    found.wrong += ["e", "f"]
    assert found.verdict() == Closed("e; f")


def test_names_are_sorted_and_few():
    assert listed({"c", "a"}) == "a, c"
    assert listed(iter("fedcba")) == "a, b, c, d and 2 more"
    assert listed([]) == ""
