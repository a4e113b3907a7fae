"""Who we are for etcd: certificates and password from files, read again when a file changes.

The one idea a reader would miss: gRPC takes the files' content and looks at it only when it connects. So a new pair of
certificate and key is tried in a context of OpenSSL's before it is used (which is why `host.tls`, whose contexts gRPC cannot
take, is not enough here), and until it fits the old one stays.
"""

import contextlib
import ssl
from pathlib import Path

from locksmith.errors import ConfigError
from locksmith.host.reread import Reread
from locksmith.stores import Access
from locksmith.stores.etcd_channel import TlsMaterial

_SYSTEM_ROOTS = (Path("/etc/ssl/certs/ca-certificates.crt"), Path("/etc/pki/tls/certs/ca-bundle.crt"))
"""Debian's and Fedora's; gRPC would use a list of its own that no administrator can see."""


class Credentials:
    """The files of an `Access`, always current. Safe for several threads."""

    def __init__(self, access: Access, *, tls: bool) -> None:
        """Read everything once. Raises ConfigError for a combination that cannot work or a file that cannot be used."""
        _check(access, tls=tls)
        self.access = access
        self.tls = tls
        named = (access.ca_file, access.cert_file, access.key_file)
        self._shown = ", ".join(f"{path}" for path in named if path is not None)
        self._loaded = Reread(named, self._load)
        self._password = Reread((access.password_file,), self._read_password)
        self.material()
        self.password()

    def material(self) -> TlsMaterial | None:
        """The TLS material; the same object until a file has changed. None without TLS."""
        return self._current()[0] if self.tls else None

    def password(self) -> str:
        """The password as it stands in its file now, without the line's end; empty when none is used."""
        try:
            return self._password.now()
        except (OSError, ValueError) as error:
            raise ConfigError(f"password_file {self.access.password_file} cannot be read: {error}") from error

    def context(self) -> ssl.SSLContext:
        """The trust and certificate in use as an OpenSSL context, for the diagnosis of a handshake; only with TLS."""
        return self._current()[1]

    def _current(self) -> tuple[TlsMaterial, ssl.SSLContext]:
        try:
            return self._loaded.now()
        except OSError as error:
            raise ConfigError(f"ca_file, cert_file, key_file ({self._shown}) cannot be used: {error}") from error

    def _load(self) -> tuple[TlsMaterial, ssl.SSLContext]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.set_alpn_protocols(["h2"])
        roots, cert, key = (self.access.ca_file or _system_roots()), self.access.cert_file, self.access.key_file
        if roots is not None:
            context.load_verify_locations(roots)
        if cert is not None:
            context.load_cert_chain(cert, key, password="")  # else OpenSSL asks the terminal for one
        material = TlsMaterial(
            roots.read_bytes() if roots else None,
            cert.read_bytes() if cert else None,
            key.read_bytes() if key else None,
        )
        return material, context

    def _read_password(self) -> str:
        path = self.access.password_file
        return path.read_text().rstrip("\r\n") if path is not None else ""


def _check(access: Access, *, tls: bool) -> None:
    if access.token_file is not None:
        raise ConfigError("token_file: etcd knows no token file; use username and password_file, or cert_file")
    if (access.username is None) != (access.password_file is None):
        raise ConfigError("username and password_file go together for etcd; one of them is missing")
    if (access.cert_file is None) != (access.key_file is None):
        raise ConfigError("cert_file and key_file go together; one of them is missing")
    if not tls and (access.ca_file or access.cert_file):
        raise ConfigError("ca_file and cert_file need TLS: write etcds:// instead of etcd://")


def _system_roots() -> Path | None:
    named = ssl.get_default_verify_paths().cafile
    candidates = ([Path(named)] if named else []) + list(_SYSTEM_ROOTS)
    with contextlib.suppress(StopIteration):
        return next(path for path in candidates if path.is_file())
    return None
