"""What a command that waits says meanwhile, on standard error.

The one idea a reader would miss: a terminal gets one line that moves; anything else gets a line only when something
changed, since a log that repeats itself for an hour is of no use.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from locksmith.cli.output import Output, complain
from locksmith.cli.render import clean

Tell = Callable[[str], None]


@contextmanager
def progress(out: Output) -> Iterator[Tell]:
    """Inside, call the function with what is waited for, as often as you like."""
    if out.quiet:
        yield lambda _text: None
    elif sys.stderr.isatty() and out.pretty:
        with _spinner() as tell:
            yield tell
    else:
        yield _changes()


@contextmanager
def _spinner() -> Iterator[Tell]:
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True, highlight=False)
    with console.status(Text("…")) as status:
        yield lambda text: status.update(Text(clean(text)))


def _changes() -> Tell:
    last: list[str] = []

    def tell(text: str) -> None:
        if last != [text]:
            last[:] = [text]
            complain(clean(text))

    return tell
