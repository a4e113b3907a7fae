"""Copies of the package with a fault planted, to prove that the judges would see it.

A patch is text that must stand in the file exactly once: one that does not apply any more fails the test instead of
letting it pass without its fault.
"""

import shutil
import subprocess
from pathlib import Path

from tests.integration.fleet.host import BIN
from tests.servers.process import without_prefix

PACKAGE = Path(__file__).parents[3] / "locksmith"


def planted(folder: Path, file: str, old: str, new: str) -> Path:
    """A copy below `folder` with the fault in `file`; what it returns goes to PYTHONPATH."""
    shutil.copytree(PACKAGE, folder / "locksmith", ignore=shutil.ignore_patterns("__pycache__"))
    path = folder / "locksmith" / file
    text = path.read_text()
    assert text.count(old) == 1, f"the fault cannot be planted: {old!r} stands {text.count(old)} times in {file}"
    path.write_text(text.replace(old, new))
    environment = {**without_prefix("LOCKSMITH"), "PYTHONPATH": str(folder)}
    module = file.removesuffix(".py").replace("/", ".")
    done = subprocess.run(
        [BIN / "python", "-c", f"import locksmith.{module} as found; print(found.__file__)"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd=folder,
    )
    assert done.stdout.strip() == str(path), f"the copy is not what runs: {done.stdout}"
    return folder
