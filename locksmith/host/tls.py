"""The files by which we prove who we are and know whom we trust, read again when they change.

The one idea a reader would miss: the last good ones stay in use while somebody writes them anew. That is more than comfort
for a token: without one Consul answers with nothing instead of an error, and nothing looks like "not held".
"""

import functools
import re
import ssl
import threading
from dataclasses import dataclass
from pathlib import Path

from locksmith.host.reread import Reread

_REFUSAL = re.compile(r"ALERT_.*(CERTIFICATE|UNKNOWN_CA|ACCESS_DENIED)|HANDSHAKE_FAILURE")
"""Alerts by which a server refuses *us*. With TLS 1.3 they come after the handshake, instead of an answer."""

_NO_TOKEN = "not one word of ASCII characters, as a token is"  # noqa: S105 - the words for it


@dataclass(frozen=True, slots=True)
class Tls:
    """Which files to use; without `ca_file` the machine's own authorities are trusted. `token_file` works without TLS, too.

    `token_file` holds one word, sent as `Authorization: Bearer`. `cert_file` may hold the key as well.
    """

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    token_file: Path | None = None

    def trusting(self) -> str:
        """The option to look at when a server is not trusted."""
        if self.ca_file is not None:
            return f"ca_file {self.ca_file}"
        return "ca_file (not set: the machine's own authorities are trusted)"


NO_FILES = Tls()


class FilesUnusable(Exception):
    """A file cannot be used and never could; the message names it, and holds nothing of its content."""


def context(tls: Tls) -> ssl.SSLContext:
    """The context for a connection; the same object until a file changes, and for all who ask. Raises FilesUnusable."""
    return _kept(tls).context()


def token(tls: Tls) -> str | None:
    """The token as it is now; None without `token_file`. Raises FilesUnusable."""
    return _kept(tls).token()


def unsendable(text: str) -> str:
    """Why this is no token that a header can carry; empty when it is one."""
    if not text:
        return "empty"
    return "" if text.isascii() and text.isprintable() and " " not in text else _NO_TOKEN


def refused_us(error: ssl.SSLError) -> bool:
    """Whether it is the server that does not accept our certificate, or that we have none."""
    return _REFUSAL.search(error.reason or "") is not None


def explained(error: ssl.SSLError, trusting: str, plain: str) -> str:
    """What a failure of TLS means. `trusting`: the option that says whom we trust; `plain`: the way without TLS."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate not trusted ({error.verify_message}); check {trusting}"
    if error.reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"):
        return f"does not speak TLS; use {plain} or the port for HTTPS"
    if refused_us(error):
        return f"the server refused our certificate ({error.reason}); check cert_file and key_file"
    return f"TLS failed ({error.reason or error}); check {trusting}"


class Files:
    """The last good state of one `Tls`, for all threads.

    Its context is for those alone who have this object: what a library sets on it (http.client's and urllib3's kinds of
    socket are two) would else be found there by another.
    """

    def __init__(self, tls: Tls) -> None:
        """Nothing is read yet."""
        self._tls = tls
        self._lock = threading.Lock()
        self._context = Reread((tls.ca_file, tls.cert_file, tls.key_file), self._load)
        self._token: str | None = None

    def context(self) -> ssl.SSLContext:
        """The context for a connection; the same object until a file changes. Raises FilesUnusable."""
        try:
            return self._context.now()
        except OSError as error:
            raise FilesUnusable(f"cannot load {self._named()}: {_why(error)}") from error

    def token(self) -> str | None:
        """The token, None without `token_file`; it is read each time, which costs no more than to look whether it changed.

        Raises FilesUnusable.
        """
        path = self._tls.token_file
        if path is None:
            return None
        with self._lock:
            text, why = _word(path)
            if text:
                self._token = text
            elif self._token is None:
                raise FilesUnusable(f"token_file {path}: {why}")
            return self._token

    def _load(self) -> ssl.SSLContext:
        """A certificate and a key that do not fit yet are half of a replacement: ssl.SSLError, a kind of OSError."""
        made = ssl.create_default_context(cafile=self._tls.ca_file)
        if self._tls.cert_file is not None:
            made.load_cert_chain(self._tls.cert_file, self._tls.key_file, password=_no_password)
        return made

    def _named(self) -> str:
        named = (
            ("ca_file", self._tls.ca_file),
            ("cert_file", self._tls.cert_file),
            ("key_file", self._tls.key_file),
        )
        return ", ".join(f"{name} {path}" for name, path in named if path is not None) or "the machine's authorities"


@functools.lru_cache(maxsize=64)
def _kept(tls: Tls) -> Files:
    return Files(tls)


def _word(path: Path) -> tuple[str, str]:
    """The token in a file, and else why there is none: never what stands there."""
    try:
        text = path.read_text().strip()
    except UnicodeDecodeError:
        return "", _NO_TOKEN
    except OSError as error:
        return "", _why(error)
    why = unsendable(text)
    return ("", why) if why else (text, "")


def _why(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason or str(error)
    return (error.strerror or str(error)).lower()


def _no_password() -> str:
    """OpenSSL would ask at the terminal for the password of an encrypted key."""
    raise ssl.SSLError("the key is encrypted; store it without a password, readable by its owner only")
