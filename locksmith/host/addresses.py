"""Web addresses, taken apart and put together.

The idea a reader would miss: a URL may hold a password, and the errors of `urllib.parse` quote what they could not read. So
what is raised here says what is wrong in words of its own, and `Address.authority` is the part that may be shown.
"""

import base64
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import quote, unquote, urlencode, urlsplit

_PATH = "/%:@!$&'()*+,;=~"
_QUERY = _PATH + "?[]"
"""Characters that stay as they are; a percent sign, too, since what is quoted already must not be quoted twice."""


class Address(NamedTuple):
    """The parts of a URL."""

    tls: bool
    host: str
    port: int
    target: str
    """Path and query, as they are sent."""
    authority: str
    """`host` or `host:port` as the URL has it, without user and password."""
    basic: str | None
    """The value of an Authorization header, when the URL names a user."""


def address_of(url: str) -> Address:
    """Take a URL apart. Raises ValueError whose message says what is wrong and holds no password."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError(
            "the URL cannot be read: write http://host:port/path; IPv6 addresses stand in brackets"
        ) from None
    if parts.scheme not in ("http", "https"):
        raise ValueError("the URL begins with neither http:// nor https://")
    if not host or any(ord(each) <= ord(" ") or each == "\x7f" for each in host):
        raise ValueError("the URL names no host: write http://host:port/path")
    secure = parts.scheme == "https"
    bracketed = f"[{host}]" if ":" in host else host
    target = quote(parts.path or "/", safe=_PATH) + (f"?{quote(parts.query, safe=_QUERY)}" if parts.query else "")
    basic = None
    if parts.username is not None:
        both = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        basic = f"Basic {base64.b64encode(both.encode()).decode()}"
    authority = bracketed if port is None else f"{bracketed}:{port}"
    return Address(secure, host, port if port is not None else (443 if secure else 80), target, authority, basic)


def url_of(base: str, path: str, parameters: Sequence[tuple[str, str]] = ()) -> str:
    """The URL of an API below `base`, which may have a path and parameters of its own; `path` begins with a slash."""
    front, _, own = base.partition("?")
    query = "&".join(part for part in (own, urlencode(parameters)) if part)
    return f"{front.rstrip('/')}{path}" + (f"?{query}" if query else "")
