"""Go's flags, as its documentation gives them."""

import pytest

from locksmith.cli.goflags import FlagError, HelpAsked, from_environment, parse

KNOWN = {"group": "", "etcd-cafile": ""}
SWITCHES = ("version",)


@pytest.mark.parametrize(
    ("words", "texts", "switches", "rest"),
    [
        ([], {}, {}, []),
        (["-group", "a", "lock"], {"group": "a"}, {}, ["lock"]),
        (["--group", "a"], {"group": "a"}, {}, []),
        (["-group=a"], {"group": "a"}, {}, []),
        (["--group=a=b", "x"], {"group": "a=b"}, {}, ["x"]),
        (["-group="], {"group": ""}, {}, []),
        (["-group", "-x"], {"group": "-x"}, {}, []),
        (["-group", "a", "-group", "b"], {"group": "b"}, {}, []),
        (["-version", "status"], {}, {"version": True}, ["status"]),
        (["-version=false"], {}, {"version": False}, []),
        (["-version=T"], {}, {"version": True}, []),
        (["status", "-group", "a"], {}, {}, ["status", "-group", "a"]),
        (["-", "-group"], {}, {}, ["-", "-group"]),
        (["--", "-group", "a"], {}, {}, ["-group", "a"]),
        (["-group", "a", "--", "-2"], {"group": "a"}, {}, ["-2"]),
    ],
)
def test_words(words, texts, switches, rest):
    found = parse(words, KNOWN, SWITCHES)
    assert (found.texts, found.switches, found.rest) == (texts, switches, rest)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-2"], "flag provided but not defined: -2"),
        (["--bogus=1"], "flag provided but not defined: -bogus"),
        (["-group"], "flag needs an argument: -group"),
        (["---group"], "bad flag syntax: ---group"),
        (["-=a"], "bad flag syntax: -=a"),
        (["-version=yes"], 'invalid boolean value "yes" for -version: parse error'),
    ],
)
def test_refused(words, message):
    with pytest.raises(FlagError) as caught:
        parse(words, KNOWN, SWITCHES)
    assert str(caught.value) == message


@pytest.mark.parametrize("word", ["-h", "--h", "-help", "--help"])
def test_help(word):
    with pytest.raises(HelpAsked):
        parse([word], KNOWN, SWITCHES)


def test_the_environment_fills_what_was_not_given():
    found = parse(["-group", "a"], KNOWN)
    from_environment(found, KNOWN, "X", {"X_GROUP": "b", "X_ETCD_CAFILE": "/ca", "X_BOGUS": "c"})
    assert found.texts == {"group": "a", "etcd-cafile": "/ca"}


def test_an_empty_variable_is_none():
    found = parse([], KNOWN)
    from_environment(found, KNOWN, "X", {"X_GROUP": ""})
    assert found.texts == {}
