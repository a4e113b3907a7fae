"""lockctl, the operator's tool: parse, call, render.

One module a subject; `program` knows which module has which command and imports it only when it is used, so that
`lockctl version` does not pay for gRPC. Nothing in here knows a store.
"""

import sys
from io import TextIOWrapper


def main() -> None:
    """The program `lockctl`; ends the process with the exit code of the table in docs/reference.md."""
    from locksmith.cli.program import run

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # what a terminal cannot show must not end the program
    sys.exit(run(sys.argv[1:]))
