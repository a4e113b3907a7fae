"""What the hosts of a fleet run: hooks, gates, health checks, and the command that takes the machine down.

Run as a program, with the standard library alone, by `python -I -S`:

    act.py check HOST NAME          a hook, gate or health check: says that it began and ended, waits and fails as told
    act.py reboot HOST LEDGER       writes `<host> down <monotonic time>` to the ledger and stays until the machine is gone

HOST is the host's folder. `hold/NAME` makes NAME wait while it exists, `sleep/NAME` so many seconds, `fail/NAME` sets the
exit code; `NAME@slot` instead of NAME counts only while a slot is held. Every begin and end is a line of `actions`.
"""

import fcntl
import json
import os
import sys
import time

LONGEST = 300
"""Seconds after which even a command that was told to wait ends, should everybody who could end it be gone."""


def append(path, text):
    """One line, whole, under a lock, whoever else writes."""
    with open(path, "a", encoding="utf-8") as file:  # noqa: PTH123
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(text + "\n")


def told(host, kind, name):
    """The content of the instruction, None when there is none."""
    names = [name, f"{name}@slot"] if os.environ.get("LOCKSMITH_TOKEN") else [name]
    for one in names:
        try:
            with open(f"{host}/{kind}/{one}", encoding="utf-8") as file:  # noqa: PTH123
                return file.read()
        except FileNotFoundError:
            continue
    return None


def wait_while(condition):
    """Poll until the condition is false, or for so long that something is wrong anyway."""
    end = time.monotonic() + LONGEST
    while condition() and time.monotonic() < end:
        time.sleep(0.03)


def check(host, name):
    """A hook, gate or health check."""
    stage, token = os.environ.get("LOCKSMITH_STAGE", ""), os.environ.get("LOCKSMITH_TOKEN", "")
    line = {"name": name, "stage": stage, "token": token, "pid": os.getpid()}
    append(f"{host}/actions", json.dumps({**line, "event": "begin", "at": time.monotonic()}))
    wait_while(lambda: told(host, "hold", name) is not None and os.path.isdir(host))  # noqa: PTH112
    time.sleep(float(told(host, "sleep", name) or 0))
    code = int(told(host, "fail", name) or 0)
    append(f"{host}/actions", json.dumps({**line, "event": "end", "code": code, "at": time.monotonic()}))
    if code:
        print(f"{name} was told to fail")
    return code


def reboot(host, ledger):
    """Take the machine down: `works` (the default), or `noop`: end well and do nothing."""
    token = os.environ.get("LOCKSMITH_TOKEN", "")
    mode = told(host, "mode", "reboot") or "works"
    append(
        f"{host}/actions",
        json.dumps({"name": "reboot", "event": mode, "token": token, "at": time.monotonic()}),
    )
    if mode != "works":
        return 0
    append(ledger, f"{os.path.basename(host)} down {time.monotonic():.6f}")  # noqa: PTH119
    wait_while(lambda: os.path.isdir(host))  # noqa: PTH112
    return 0


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["check", host, name]:
            sys.exit(check(host, name))
        case ["reboot", host, ledger]:
            sys.exit(reboot(host, ledger))
        case _:
            sys.exit(f"unknown words: {sys.argv[1:]}")
