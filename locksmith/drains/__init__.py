"""locksmith-drain, what the shipped hooks call: take the work off this machine, and give it back.

The one idea a reader would miss: what *we* did must be known after the reboot and must be all that is taken back, so the
mark of it is kept where the deed is (an annotation of the node, the reason of the maintenance mode) or, where nothing can
carry it, in a file that is written before the deed. One module a kind of work; none knows the others or the agent.
"""

import sys
from io import TextIOWrapper


def main() -> None:
    """The program: ends the process with 0 (done), 1 (not done, the last line of standard error says why) or 2 (usage)."""
    from locksmith.drains.program import run  # noqa: PLC0415 - nothing is imported before the streams are safe

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.exit(run(sys.argv[1:]))
