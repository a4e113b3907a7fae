"""update.conf as its three readers see it.

ONLY_SYSTEMD and SAME_FOR_ALL were compared with systemd 252 (its environment.d generator has the same parser), apart from the
comment that ends in a backslash: newer versions, and the other readers, do not let it swallow the next line.
"""

import pytest

from locksmith.core.environment_file import parse_environment_file as parse

SAME_FOR_ALL = {
    "A=off": "off",
    'A="off"': "off",
    "A='off'": "off",
    "A=": "",
    'A=""': "",
    "A=off\r\n": "off",
    "A=a=b": "a=b",
    "B=1\nA=off": "off",
    "A=reboot\nA=off": "off",
    "A='a b'": "a b",
    "A=Thu 23:00": "Thu 23:00",
}
ONLY_SYSTEMD = {
    "A=off   ": "off",
    "  A = off": "off",
    "A=   off": "off",
    "# A=reboot\nA=off": "off",
    "; A=reboot\nA=off": "off",
    "A=off # not a comment": "off # not a comment",
    'A="a""b"': "ab",
    "A=\"a\" 'b'": "ab",
    'A="a" b': "ab",
    'A=a"b"c': 'a"b"c',
    'A="a\\"b"': 'a"b',
    'A="a\\nb"': "a\\nb",
    "A='a\\b'": "a\\b",
    "A=a\\\nb": "ab",
    'A="a\\\nb"': "ab",
    "A=a\\ \n": "a",
    "A=a\\x": "ax",
    'B="1\nA=inside\n"\nA=off': "off",
    "no equals sign\nA=off": "off",
    "# a comment \\\nA=off": "off",
    "A=off\\": "off",
    "='\nA=off": "off",
    "A=off\\\n": "off",
}
QUOTES_LEFT_OVER = {
    "A='\"off\"'": "off",
    "A=\"'off'\"": "off",
    'A=off"': "off",
    # Never closed: to systemd the rest of the file is the value, to the others it is a line.
    'A="off\nB=1\n': "off",
    "A='off\nB=1": "off",
    'B="1\nA=off\n; A=on': "off",
}


@pytest.mark.parametrize(("text", "value"), (SAME_FOR_ALL | ONLY_SYSTEMD | QUOTES_LEFT_OVER).items())
def test_a_value(text, value):
    assert parse(text)["A"] == value


def test_nothing_else_is_found():
    assert parse("# GROUP=alpha\n\nSERVER=https://x/?a=b\nfoo\n") == {"SERVER": "https://x/?a=b"}


@pytest.mark.parametrize("text", ["", "\n\n", "=", "A", "\\", '"', "#", "A=\\", 'A="\\'])
def test_odd_ends_are_read(text):
    assert set(parse(text)) <= {"A"}
