"""Certificates that are exchanged while the servers run: a new authority each time, trusted beside the one before it."""

import os
import shutil
import ssl
from collections.abc import Sequence
from pathlib import Path

from tests.servers.certs import Certificates, make_certificates


class Rotation:
    """The files that servers and clients read stay the same; their content changes."""

    def __init__(self, certificates: Certificates, folder: Path, addresses: Sequence[str]) -> None:
        """`certificates` are in use; their authority's file becomes a bundle."""
        self.certificates = certificates
        self._folder, self._addresses = folder, addresses
        self._authority = certificates.ca.read_text()
        self._turns = 0

    def prepare(self) -> Certificates:
        """A new authority, trusted from now on by whoever reads again; its server's certificate is not in use yet."""
        self._turns += 1
        fresh = make_certificates(self._folder / f"certs-{self._turns}", addresses=self._addresses)
        authority = fresh.ca.read_text()
        _replace(self.certificates.ca, self._authority + authority)
        self._authority = authority
        return fresh

    def switch(self, fresh: Certificates) -> None:
        """The servers' certificate and key are the new ones, for whoever reads again."""
        _replace(self.certificates.server_key, fresh.server_key.read_text())
        _replace(self.certificates.server_cert, fresh.server_cert.read_text())


def served(endpoint: str, certificates: Certificates) -> bool:
    """Whether a server shows this certificate."""
    host, _, port = endpoint.rpartition(":")
    try:
        shown = ssl.get_server_certificate((host, int(port)), timeout=3)
    except OSError:
        return False
    return shown.split() == certificates.server_cert.read_text().split()


def _replace(path: Path, text: str) -> None:
    fresh = path.with_suffix(".new")
    fresh.touch(mode=0o600)
    fresh.write_text(text)
    shutil.copymode(path, fresh)
    os.replace(fresh, path)  # noqa: PTH105
