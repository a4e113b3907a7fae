"""Files of KEY=VALUE such as Flatcar's update.conf, read so that each of their readers would agree.

The idea a reader would miss: three programs read update.conf, each in a way of its own. systemd (EnvironmentFile= in
systemd.exec(5)) knows comments, quotes and values over several lines; update_engine and Flatcar's Kubernetes agent know
lines, and take quotes off the ends. So systemd's rules are followed, quotes that are then left at the ends are taken off,
and a text whose last quote is never closed, which to systemd makes one value of all the rest, is read by lines.
"""


def parse_environment_file(text: str) -> dict[str, str]:
    """The variables of the text; of a key that stands there twice the later value."""
    found, closed = _assignments(text.replace("\r", "\n"))
    return {key: value.strip().strip("\"'").strip() for key, value in (found if closed else _lines(text))}


def _lines(text: str) -> list[tuple[str, str]]:
    split = (line.partition("=") for line in text.splitlines() if not line.lstrip().startswith(("#", ";")))
    return [(key.strip(), value) for key, equals, value in split if equals]


def _assignments(text: str) -> tuple[list[tuple[str, str]], bool]:
    """All KEY=VALUE in order by systemd's rules, and whether the last quote is closed."""
    pairs: list[tuple[str, str]] = []
    at, closed = 0, True
    while at < len(text):
        end = text.find("\n", at)
        line = text[at : end if end >= 0 else len(text)]
        first = len(line) - len(line.lstrip())
        equals = line.find("=", first + 1)  # a key has one character at least, whichever
        if equals < 0 or line[first] in "#;":
            at += len(line) + 1
            continue
        key = line[:equals].strip()
        value, at, closed = _value(text, at + equals + 1)
        pairs.append((key, value))
    return pairs, closed


def _value(text: str, at: int) -> tuple[str, int, bool]:
    """The value that begins at `at`, where the next line begins, and whether its last quote is closed.

    Quotes open only before the first bare character; white space is kept inside of quotes, between bare characters, and
    behind a backslash.
    """
    value, kept, bare = "", 0, False
    while at < len(text) and text[at] != "\n":
        char = text[at]
        if not bare and char in "\"'":
            piece, at, closed = _quoted(text, at)
            value += piece
            kept = len(value)
            if not closed:
                return value, at, False
            continue
        at += 1
        if char == "\\":
            char = text[at : at + 1].replace("\n", "")
            at += 1
            bare, kept = True, len(value) + len(char)
        elif char not in " \t":
            bare, kept = True, len(value) + 1
        value += char if bare else ""
    return value[:kept], at + 1, True


def _quoted(text: str, at: int) -> tuple[str, int, bool]:
    """What stands in the quotes that open at `at`, where they end, and whether they do."""
    quote, kept = text[at], ""
    at += 1
    while at < len(text):
        char = text[at]
        at += 1
        if char == quote:
            return kept, at, True
        if char == "\\" and quote == '"':
            escaped = text[at : at + 1]
            at += 1
            char = escaped if escaped in '"\\`$' else f"\\{escaped}".replace("\\\n", "")
        kept += char
    return kept, at, False
