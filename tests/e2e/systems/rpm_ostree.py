#!/usr/bin/python3
"""`rpm-ostree status --json`, with the fields of tests/samples/updates/rpm-ostree. Runs in a node."""

import hashlib
import json
import sys
from pathlib import Path

FOLDER = Path("/var/lib/e2e")


def deployment(name: str) -> dict[str, object]:
    version = (FOLDER / name).read_text()
    return {
        "id": f"fedora-coreos-{version}.0",
        "osname": "fedora-coreos",
        "serial": 0,
        "checksum": hashlib.sha256(version.encode()).hexdigest(),
        "version": version,
        "booted": name == "running",
        "staged": name == "staged",
        "pinned": False,
        "unlocked": "none",
    }


def main() -> int:
    if sys.argv[1:] != ["status", "--json"]:
        print(f"error: Unknown command '{' '.join(sys.argv[1:])}'", file=sys.stderr)
        return 1
    names = [name for name in ("staged", "running") if (FOLDER / name).exists()]
    print(json.dumps({"deployments": [deployment(name) for name in names], "transaction": None, "cached-update": None}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
