"""Manual pages in roff with the macros of man(7), and the little Markdown of docs/reference.md turned into them.

The one idea a reader would miss: a line of roff that begins with a dot or an apostrophe is a request, and a plain hyphen is
typeset as another character, which nobody can paste into a shell. So all text goes through `escaped` and each line through
`Page.text`.
"""

import re
from collections.abc import Iterator, Sequence

_INLINE = re.compile(
    r"`(?P<code>[^`]+)`|\*\*(?P<bold>[^*]+)\*\*|\*(?P<italic>[^*\s][^*]*)\*|\[(?P<link>[^\]]+)\]\([^)]*\)"
)
_FENCE = "```"
_SEPARATOR = re.compile(r"^\|[\s:|-]+\|$")


def escaped(text: str) -> str:
    """Text that roff shows as it is."""
    return text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")


def bold(text: str) -> str:
    """In bold, and escaped."""
    return f"\\fB{escaped(text)}\\fR"


def inline(text: str) -> str:
    """Markdown's code and bold in bold, the text of links, everything else escaped."""
    parts, place = [], 0
    for found in _INLINE.finditer(text):
        parts.append(escaped(text[place : found.start()]))
        kind = found.lastgroup or ""
        match kind:
            case "link":
                parts.append(inline(found[kind]))
            case "italic":
                parts.append(f"\\fI{escaped(found[kind])}\\fR")
            case _:
                parts.append(bold(found[kind]))
        place = found.end()
    return "".join([*parts, escaped(text[place:])])


class Page:
    """One page, line by line."""

    def __init__(self, name: str, section: int, one_line: str) -> None:
        """The head; without a date or a version, so that a page changes only when what it says does."""
        manual = {1: "User Commands", 5: "File Formats", 8: "System Administration"}[section]
        self._lines = [
            '.\\" written by tests/tools/manual.py (make man); changes belong there, into the help, or docs/reference.md',
            f'.TH "{name.upper()}" "{section}" "" "locksmith" "{manual}"',
            ".nh",
            ".ad l",
        ]
        self.heading("NAME")
        self.text(f"{escaped(name)} \\- {inline(one_line)}")

    def heading(self, text: str) -> None:
        """A section."""
        self._lines.append(f".SH {escaped(text)}")

    def subheading(self, text: str) -> None:
        """A section of a section."""
        self._lines.append(f".SS {inline(text)}")

    def text(self, roff: str) -> None:
        """One line of text that is escaped already."""
        self._lines.append(f"\\&{roff}" if roff.startswith((".", "\\(aq")) else roff)

    def paragraph(self, roff: str) -> None:
        """A paragraph that is escaped already."""
        self._lines.append(".PP")
        self.text(roff)

    def item(self, tag: str, body: Sequence[str]) -> None:
        """A tagged paragraph: escaped tag, escaped lines."""
        self._lines.append(".TP")
        self.text(tag)
        for number, line in enumerate(body or ("",)):
            if number:
                self._lines.append(".br")
            self.text(line or "\\&")

    def bullet(self, roff: str) -> None:
        """One point of a list."""
        self._lines.append(".IP \\(bu 2")
        self.text(roff)

    def verbatim(self, lines: Sequence[str]) -> None:
        """As it stands."""
        self._lines += [".PP", ".in +2", ".nf"]
        for line in lines:
            self.text(escaped(line) or "\\&")
        self._lines += [".fi", ".in"]

    def markdown(self, source: str) -> None:
        """Paragraphs, lists, tables, code and headings of level 3."""
        for kind, lines in _blocks(source):
            match kind:
                case "code":
                    self.verbatim(lines)
                case "heading":
                    self.subheading(lines[0])
                case "list":
                    for point in _points(lines):
                        self.bullet(inline(point))
                case "table":
                    self._table(lines)
                case _:
                    self.paragraph(inline(" ".join(line.strip() for line in lines)))

    def _table(self, lines: Sequence[str]) -> None:
        """Each row a tagged paragraph, since no terminal is as wide as our tables."""
        head, *rows = [_cells(line) for line in lines if not _SEPARATOR.match(line)]
        for first, *others in rows:
            named = [
                f"{inline(title)}: {inline(cell)}" if number and title else inline(cell)
                for number, (title, cell) in enumerate(zip(head[1:], others, strict=True))
                if cell
            ]
            self.item(inline(first), named)

    def __str__(self) -> str:
        """The file's content."""
        return "\n".join(self._lines) + "\n"


def _cells(line: str) -> list[str]:
    cells = re.split(r"(?<!\\)\|", line.strip().strip("|"))
    return [cell.strip().replace("\\|", "|") for cell in cells]


def _points(lines: Sequence[str]) -> Iterator[str]:
    point = ""
    for line in lines:
        if line.startswith("- "):
            if point:
                yield point
            point = line[2:]
        else:
            point += " " + line.strip()
    yield point


def _blocks(source: str) -> Iterator[tuple[str, list[str]]]:
    """The blocks of a text: their kind and lines."""
    lines: list[str] = []
    in_code = False
    for line in [*source.splitlines(), ""]:
        if line.startswith(_FENCE):
            if in_code:
                yield "code", lines
            elif lines:
                yield _kind(lines), lines
            lines, in_code = [], not in_code
        elif in_code or line.strip():
            if not in_code and lines and _starts(line, lines):
                yield _kind(lines), lines
                lines = []
            lines = [*lines, line.removeprefix("### ") if not in_code and line.startswith("### ") else line]
            if not in_code and line.startswith("### "):
                yield "heading", lines
                lines = []
        elif lines:
            yield _kind(lines), lines
            lines = []


def _starts(line: str, lines: Sequence[str]) -> bool:
    """Whether a line begins another block without a blank line between."""
    return line.startswith("### ") or line.startswith("|") != lines[0].startswith("|")


def _kind(lines: Sequence[str]) -> str:
    return "table" if lines[0].startswith("|") else "list" if lines[0].startswith("- ") else "text"
