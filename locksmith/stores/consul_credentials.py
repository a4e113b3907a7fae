"""How a Consul store proves who it is: what may be given, and what an error of its files is called.

The one idea a reader would miss: the files are a store's own (see `Files`), since urllib3 sets on a context what would not
fit the other users of the same files.
"""

import ssl

from locksmith.errors import AuthFailed, ConfigError, TlsFailed
from locksmith.host.tls import Files, FilesUnusable, Tls
from locksmith.stores import Access


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
        named = Tls(access.ca_file, access.cert_file, access.key_file, access.token_file)
        self._trusting = named.trusting()
        self._files = Files(named)
        self._tls = tls

    def __str__(self) -> str:
        """The option to look at when a server is not trusted."""
        return self._trusting

    def token(self) -> str | None:
        """The token as it is now; None without `token_file`. Raises AuthFailed."""
        try:
            return self._files.token()
        except FilesUnusable as error:
            raise AuthFailed(str(error)) from error

    def context(self) -> ssl.SSLContext | None:
        """The TLS context, another object once a file has changed; None without TLS. Raises TlsFailed."""
        if not self._tls:
            return None
        try:
            return self._files.context()
        except FilesUnusable as error:
            raise TlsFailed(str(error)) from error
