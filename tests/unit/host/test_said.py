from datetime import timedelta

import pytest

from locksmith.host.said import Unsaid, decoded, said, word

LONG = timedelta(seconds=60)


def shell(script, **options):
    return said(["/bin/sh", "-c", script], **({"timeout": LONG} | options))


def test_an_object():
    assert shell("""echo ' {"a": [1, null]} '; echo noise >&2""") == {"a": [1, None]}


def test_one_that_is_longer_than_what_is_kept_otherwise():
    script = """printf '{"first": 1, "x": "'; head -c 60000 /dev/zero | tr '\\0' x; echo '"}'"""
    assert shell(script) == {"first": 1, "x": "x" * 60000}


@pytest.mark.parametrize("fill", ["x", "\\303\\244", "\\377"])
def test_one_that_was_cut_is_none_even_when_its_end_is_an_object(fill):
    script = f"""for i in 1 2 3 4 5 6 7 8; do printf '{fill}{fill}{fill}{fill}'; done; printf '{{"a":1}}           '"""
    for keep in range(8, 40):
        answer = shell(script, max_bytes=keep)
        assert isinstance(answer, Unsaid)
    assert shell("""printf '{"a": 1}'""", max_bytes=8).reason.endswith("the answer is longer than 8 bytes")
    assert shell("""printf '{"a": 1}'""", max_bytes=9) == {"a": 1}


@pytest.mark.parametrize(
    "text",
    ["", "{", '{"a": 1', "[1]", "null", '"a"', "7", "{} {}", "{'a': 1}", "[" * 100_000, '{"a": ' + "9" * 5000 + "}"],
)
def test_what_is_no_object(text):
    assert decoded(text) is None


def test_why_there_is_none():
    assert shell("echo '[1]'") == Unsaid("/bin/sh -c echo '[1]': the answer is not a JSON object")
    assert shell("echo {}; echo no >&2; exit 3").reason.endswith("exit code 3: no")
    assert shell("kill -9 $$").reason.endswith("killed by SIGKILL")
    assert shell("exec sleep 100", timeout=timedelta(seconds=0.1)).reason.endswith("no end within 100ms")
    assert said(["/nowhere", "-x"], timeout=LONG) == Unsaid(
        "/nowhere -x: cannot be started: /nowhere: no such file or directory"
    )


def test_the_locale_is_c_and_more_can_be_given():
    script = """printf '{"l": "%s", "m": "%s"}' "$LC_ALL" "$MINE\""""
    assert shell(script, environment={"MINE": "1"}) == {"l": "C", "m": "1"}


@pytest.mark.parametrize(
    ("value", "text"), [("a", "a"), (7, "7"), (True, ""), (None, ""), (1.5, ""), ([], ""), ({}, "")]
)
def test_word(value, text):
    assert word(value) == text
