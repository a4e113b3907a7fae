"""How a Consul store proves who it is: the token and the certificates, read again when their files change.

The one idea: a file that is gone or empty for a moment, because somebody writes it anew, must not make us anonymous:
Consul would answer with nothing instead of an error, and nothing looks like "not held". The last good one stays.
"""

import ssl
import threading
from dataclasses import dataclass

from locksmith.errors import AuthFailed, ConfigError, TlsFailed
from locksmith.stores import Access


@dataclass(frozen=True, slots=True)
class _Loaded:
    stamp: tuple[object, ...]
    context: ssl.SSLContext


class Credentials:
    """Token and TLS context, for all threads of a store."""

    def __init__(self, access: Access, *, tls: bool) -> None:
        """Raises ConfigError when `access` names what Consul does not have or cannot use."""
        if access.username is not None or access.password_file is not None:
            raise ConfigError("consul knows no username and password; use token_file")
        if access.key_file is not None and access.cert_file is None:
            raise ConfigError(f"key_file {access.key_file} without cert_file")
        if not tls and (access.ca_file or access.cert_file):
            raise ConfigError("ca_file or cert_file without TLS; use consuls:// in the store's URL")
        self._access = access
        self._tls = tls
        self._lock = threading.Lock()
        self._token: str | None = None
        self._loaded: _Loaded | None = None

    def __str__(self) -> str:
        """The option to look at when a server is not trusted."""
        if self._access.ca_file is not None:
            return f"ca_file {self._access.ca_file}"
        return "ca_file (not set: the machine's own authorities are trusted)"

    def token(self) -> str | None:
        """The token; it is read each time, which costs less than to look whether it changed. Raises AuthFailed."""
        path = self._access.token_file
        if path is None:
            return None
        try:
            text = path.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            text, why = "", str(error)
        else:
            why = "empty"
        if not (text.isascii() and text.isprintable()) or " " in text:
            text, why = "", "not one word of ASCII characters, as a token is"
        if text:
            self._token = text
        elif self._token is None:
            raise AuthFailed(f"token_file {path}: {why}")
        return self._token

    def context(self) -> ssl.SSLContext | None:
        """The TLS context, another object once a file has changed; None without TLS. Raises TlsFailed."""
        if not self._tls:
            return None
        with self._lock:
            try:
                stamp = self._stamp()
                if self._loaded is None or self._loaded.stamp != stamp:
                    self._loaded = _Loaded(stamp, self._load())
            except OSError as error:
                if self._loaded is None:
                    raise TlsFailed(f"cannot load {self._files()}: {error}") from error
            return self._loaded.context

    def _stamp(self) -> tuple[object, ...]:
        paths = (self._access.ca_file, self._access.cert_file, self._access.key_file)
        stats = [path.stat() for path in paths if path is not None]
        return tuple((stat.st_mtime_ns, stat.st_size, stat.st_ino) for stat in stats)

    def _load(self) -> ssl.SSLContext:
        """A certificate and key that do not fit yet are half of a replacement: ssl.SSLError, a kind of OSError."""
        context = ssl.create_default_context(cafile=self._access.ca_file)
        if self._access.cert_file is not None:
            context.load_cert_chain(self._access.cert_file, self._access.key_file, password=_no_password)
        return context

    def _files(self) -> str:
        named = (("ca_file", self._access.ca_file), ("cert_file", self._access.cert_file))
        both = (*named, ("key_file", self._access.key_file))
        return ", ".join(f"{name} {path}" for name, path in both if path is not None)


def _no_password() -> str:
    """OpenSSL would ask at the terminal for the password of an encrypted key."""
    raise ssl.SSLError("the key is encrypted; store it without a password, readable by its owner only")
