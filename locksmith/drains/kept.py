"""What a drain has done and must take back, in a file that outlives the reboot. It is written before the deed."""

import json
from pathlib import Path
from typing import Any

from locksmith.errors import Damaged
from locksmith.host.files import remove_durably, write_durably

STATE_DIR = Path("/var/lib/locksmith/drains")


class Kept:
    """One JSON object in one file. One writer at a time: hooks run one after the other."""

    def __init__(self, state_dir: Path, name: str) -> None:
        """`name` may hold slashes, as a path of a socket has them."""
        self.path = state_dir / f"{name.strip('/').replace('/', '-')}.json"

    def read(self) -> dict[str, Any] | None:
        """None when nothing is owed. Raises Damaged when it cannot be read: what is owed is then unknown."""
        try:
            document = json.loads(self.path.read_bytes())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Damaged(f"cannot read {self.path}: {(error.strerror or str(error)).lower()}") from error
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise self.damaged()
        return document

    def damaged(self) -> Damaged:
        """The error for a content that makes no sense."""
        return Damaged(f"{self.path} is damaged: take back by hand what it was for, then remove it")

    def write(self, document: dict[str, Any]) -> None:
        """Durable when it comes back. Raises Damaged."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise Damaged(
                f"cannot make {self.path.parent}: {(error.strerror or str(error)).lower()}; see --state-dir"
            ) from error
        write_durably(self.path, json.dumps(document, indent=1).encode() + b"\n", mode=0o600)

    def remove(self) -> None:
        """Nothing is owed any more. Raises Damaged."""
        if self.path.exists():
            remove_durably(self.path)
