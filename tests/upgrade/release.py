"""A release as the tests run it: a folder for PYTHONPATH, or this tree."""

import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.integration.fleet.fleet import PATIENT
from tests.integration.fleet.host import lockctl
from tests.servers.process import DataFolder

PREVIOUS = Path(__file__).parent / "previous"


@dataclass(frozen=True, slots=True)
class Release:
    """`package` is what `Host.install` takes. The word is that of the test's parameters."""

    word: str
    version: str
    package: Path | None

    def __str__(self) -> str:
        """For the names of tests."""
        return self.word

    def ctl(self, url: str, *words: str, code: int = 0) -> str:
        """Run this release's lockctl; what it prints. Fails on another exit code."""
        patience = ["--timeout", "100s"] if PATIENT & {*words} and "--timeout" not in words else []
        done = lockctl("--store", url, *words, *patience, package=self.package)
        said = f"lockctl {self.version} {' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}"
        assert done.returncode == code, said
        assert "Traceback" not in done.stderr, said
        return done.stdout

    def ask(self, url: str, *words: str, code: int = 0) -> dict[str, Any]:
        """The document that it prints with --json."""
        return dict(json.loads(self.ctl(url, "--json", *words, code=code)))


def wheel() -> Path:
    """The one wheel of the previous release."""
    (found,) = PREVIOUS.glob("*.whl")
    return found


@contextmanager
def unpacked() -> Iterator[Release]:
    """The previous release, in a folder of its own."""
    found = wheel()
    data = DataFolder("upgrade")
    try:
        with zipfile.ZipFile(found) as file:
            file.extractall(data.path)
        yield Release("old", found.name.split("-")[1], data.path)
    finally:
        data.remove()
