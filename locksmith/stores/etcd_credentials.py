"""Who we are for etcd: certificates and password from files, read again when a file changes.

The one idea a reader would miss: a certificate and its key are two files that are renewed one after the other. Between
the two they do not fit, so a new pair is tried before it is used, and until it fits the old one stays.
"""

import contextlib
import ssl
import threading
from collections.abc import Sequence
from pathlib import Path

from locksmith.errors import ConfigError
from locksmith.stores import Access
from locksmith.stores.etcd_channel import TlsMaterial

_SYSTEM_ROOTS = (Path("/etc/ssl/certs/ca-certificates.crt"), Path("/etc/pki/tls/certs/ca-bundle.crt"))
"""Debian's and Fedora's; gRPC would use a list of its own that no administrator can see."""

_Stamps = tuple[tuple[int, int, int], ...]


class Credentials:
    """The files of an `Access`, always current. Safe for several threads."""

    def __init__(self, access: Access, *, tls: bool) -> None:
        """Read everything once. Raises ConfigError for a combination that cannot work or a file that cannot be used."""
        _check(access, tls=tls)
        self.access = access
        self.tls = tls
        self._lock = threading.Lock()
        self._tls_stamps: _Stamps | None = None
        self._material = TlsMaterial()
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._password_stamps: _Stamps | None = None
        self._password = ""
        self.material()
        self.password()

    def material(self) -> TlsMaterial | None:
        """The TLS material; the same object until a file has changed. None without TLS."""
        if not self.tls:
            return None
        named = (self.access.ca_file, self.access.cert_file, self.access.key_file)
        with self._lock:
            try:
                stamps = _stamps([path for path in named if path is not None])
                if stamps != self._tls_stamps:
                    self._material = self._read_material()
                    self._tls_stamps = stamps
            except (OSError, ssl.SSLError) as error:
                if self._tls_stamps is None:
                    files = ", ".join(f"{path}" for path in named if path is not None)
                    raise ConfigError(f"ca_file, cert_file, key_file ({files}) cannot be used: {error}") from error
            return self._material

    def password(self) -> str:
        """The password as it stands in its file now, without the line's end; empty when none is used."""
        path = self.access.password_file
        if path is None:
            return ""
        with self._lock:
            try:
                stamps = _stamps([path])
                if stamps != self._password_stamps:
                    self._password = path.read_text().rstrip("\r\n")
                    self._password_stamps = stamps
            except (OSError, UnicodeDecodeError) as error:
                if self._password_stamps is None:
                    raise ConfigError(f"password_file {path} cannot be read: {error}") from error
            return self._password

    def context(self) -> ssl.SSLContext:
        """The trust and certificate in use as an OpenSSL context, for the diagnosis of a handshake."""
        return self._context

    def _read_material(self) -> TlsMaterial:
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
        self._context = context
        return material


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


def _stamps(paths: Sequence[Path]) -> _Stamps:
    found = [path.stat() for path in paths]
    return tuple((stat.st_mtime_ns, stat.st_size, stat.st_ino) for stat in found)
