"""The local journal: one JSON file, written durably before each act that it names.

A missing journal is survivable (the store decides); a damaged one is put aside under another name and told, never guessed
at. The file stands in `state_dir`, which outlives a reboot.
"""

import logging
from pathlib import Path

from locksmith.core.ledger import Ledger
from locksmith.errors import ConfigError, Corrupt
from locksmith.host.files import write_durably

log = logging.getLogger(__name__)


class Journal:
    """The file behind the ledger."""

    def __init__(self, path: Path) -> None:
        """`path` is `state_dir/journal.json`."""
        self.path = path
        self._written: bytes | None = None

    def load(self) -> Ledger:
        """What is owed. Raises ConfigError when the file is there and cannot be read."""
        try:
            raw = self.path.read_bytes()
        except FileNotFoundError:
            return Ledger()
        except OSError as error:
            raise ConfigError(
                f"{self.path}: cannot be read ({error.strerror}): the agent must own its state_dir"
            ) from error
        try:
            ledger = Ledger.decode(str(self.path), raw)
        except Corrupt as error:
            aside = self.path.with_suffix(".damaged")
            log.error("the journal is damaged and put aside as %s; the store alone decides now: %s", aside, error)  # noqa: TRY400
            self.path.replace(aside)
            return Ledger()
        self._written = raw
        return ledger

    def save(self, ledger: Ledger) -> None:
        """Write it durably, if it changed. Raises Damaged naming the file."""
        data = ledger.encode()
        if data == self._written:
            return
        write_durably(self.path, data, mode=0o600)
        self._written = data
