"""Certificates as people ask for them: whose, from whom, until when, of a file or of a server.

The ideas a reader would miss. Python's ssl tells the fields of a certificate only when it trusts it, and just one that is not
trusted is of interest here; so four fields are read from the DER ourselves (RFC 5280, 4.1), and nothing is decided by them.
And a server is asked twice: once with whom we trust, for the verdict, once with nobody, for its certificate.
"""

import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from locksmith.host.dialling import connected
from locksmith.host.tls import FilesUnusable, Tls, context, explained

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_SEQUENCE, _UTC_TIME, _VERSION = 0x30, 0x17, 0xA0
_COMMON_NAME, _ORGANIZATION = b"\x55\x04\x03", b"\x55\x04\x0a"
_PIVOT = 50
"""Two-digit years below are of this century (RFC 5280, 4.1.2.5.1)."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """One certificate; names are the common name, or the organization where there is none."""

    subject: str
    issuer: str
    expires: datetime


@dataclass(frozen=True, slots=True)
class Served:
    """What a server showed; `trouble` is why it is not trusted, or what else went wrong with TLS, empty when all is well."""

    certificate: Certificate | None
    trouble: str


def of_file(path: Path) -> tuple[Certificate, ...]:
    """The certificates in a PEM file. Raises FilesUnusable."""
    try:
        text = path.read_text(encoding="ascii", errors="replace")
        return tuple(decode(ssl.PEM_cert_to_DER_cert(block)) for block in _PEM.findall(text))
    except OSError as error:
        raise FilesUnusable(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from error
    except ValueError as error:
        raise FilesUnusable(f"{path} holds a certificate that cannot be read: {error}") from error


def served(host: str, port: int, tls: Tls, timeout: float) -> Served | None:
    """Ask a server for its certificate, in at most about twice `timeout` seconds; None when nobody is there.

    Raises FilesUnusable for files of ours.
    """
    trouble = ""
    try:
        with connected(host, port, timeout) as plain, context(tls).wrap_socket(plain, server_hostname=host):
            pass
    except ssl.SSLError as error:
        trouble = explained(error, tls.trusting(), "the scheme without TLS")
    except OSError:
        return None
    blind = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    blind.check_hostname = False
    blind.verify_mode = ssl.CERT_NONE  # only to look at the certificate; nothing is sent
    try:
        with connected(host, port, timeout) as plain, blind.wrap_socket(plain, server_hostname=host) as wrapped:
            der = wrapped.getpeercert(binary_form=True)
        return Served(decode(der) if der else None, trouble)
    except (OSError, ValueError) as error:
        return Served(None, trouble or f"its certificate cannot be had: {error}")


def decode(der: bytes) -> Certificate:
    """Read the fields. Raises ValueError."""
    (_, whole), *_ = _items(der)
    (_, signed), *_ = _items(whole)
    fields = [value for tag, value in _items(signed) if tag != _VERSION]
    try:
        _serial, _algorithm, issuer, validity, subject, *_ = fields
    except ValueError:
        raise ValueError("not a certificate") from None
    _, until, *_ = _items(validity)
    return Certificate(_name(subject), _name(issuer), _instant(*until))


def _items(der: bytes) -> list[tuple[int, bytes]]:
    return list(_walk(der))


def _walk(der: bytes) -> Iterator[tuple[int, bytes]]:
    """The elements of a constructed value: tag and content."""
    place = 0
    while place < len(der):
        tag, length, place = der[place], *_length(der, place + 1)
        if place + length > len(der):
            raise ValueError("cut off")
        yield tag, der[place : place + length]
        place += length


def _length(der: bytes, place: int) -> tuple[int, int]:
    """A length, and where the content begins."""
    if place >= len(der):
        raise ValueError("cut off")
    first = der[place]
    if first < 0x80:  # noqa: PLR2004 - the short form, X.690 8.1.3.4
        return first, place + 1
    more = first & 0x7F
    return int.from_bytes(der[place + 1 : place + 1 + more], "big"), place + 1 + more


def _name(der: bytes) -> str:
    found: dict[bytes, str] = {}
    for _, relative in _items(der):
        for _, pair in _items(relative):
            (_, kind), (_, value), *_ = _items(pair)
            found.setdefault(kind, value.decode(errors="replace"))
    return found.get(_COMMON_NAME) or found.get(_ORGANIZATION) or "no name"


def _instant(tag: int, value: bytes) -> datetime:
    text = value.decode("ascii", errors="replace")
    if tag == _UTC_TIME:
        text = f"{'20' if int(text[:2]) < _PIVOT else '19'}{text}"
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
