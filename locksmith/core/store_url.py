"""Store URLs: which store, where, under which prefix; parsed once and written in one normal form.

The normal form goes into the journal and is compared there, so equal stores should give equal text. A URL never carries
a secret: they end in process lists, logs and shell histories. So `user:password@` is an error, and no message repeats it.
"""

import ipaddress
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qsl, quote, unquote

from locksmith.core.names import did_you_mean

Kind = Literal["sqlite", "etcd", "consul", "memory"]

DEFAULT_PREFIX = "locksmith"
FORMS = (
    "sqlite:///PATH",
    "etcd://HOST,HOST/PREFIX",
    "etcds://HOST,HOST/PREFIX",
    "consul://HOST,HOST/PREFIX?dc=DC",
    "consuls://HOST,HOST/PREFIX?dc=DC",
    "consul+unix:///PATH",
    "memory:",
)
"""What may be written, for messages."""

_REMOTE: dict[str, tuple[Kind, bool, int]] = {
    "etcd": ("etcd", False, 2379),
    "etcds": ("etcd", True, 2379),
    "consul": ("consul", False, 8500),
    "consuls": ("consul", True, 8501),
}
_SCHEMES = ("sqlite", *_REMOTE, "consul+unix", "memory")
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?")
_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_PORT = re.compile(r"[0-9]{1,5}")
_DATACENTER = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MAX_TEXT = 4096
_MAX_PREFIX = 256
_MAX_PORT = 65535


@dataclass(frozen=True, slots=True)
class StoreUrl:
    """One store. `str()` of it is the normal form, which `parse_store_url` reads back.

    `endpoints` are `host:port`, IPv6 in brackets, in the order given; empty for sqlite, memory and a unix socket.
    `prefix` stands in front of every key, without slashes at its ends. `path` is SQLite's file. `datacenter` and
    `unix_socket` (a path) are Consul's.
    """

    kind: Kind
    endpoints: tuple[str, ...] = ()
    prefix: str = DEFAULT_PREFIX
    tls: bool = False
    path: Path | None = None
    datacenter: str | None = None
    unix_socket: str | None = None

    def __str__(self) -> str:
        if self.kind == "memory":
            return "memory:"
        if self.path is not None:
            return f"sqlite://{quote(str(self.path))}"
        if self.unix_socket is not None:
            given = {"dc": self.datacenter, "prefix": self.prefix if self.prefix != DEFAULT_PREFIX else None}
            query = "&".join(f"{key}={value}" for key, value in given.items() if value is not None)
            return f"consul+unix://{quote(self.unix_socket)}" + (f"?{query}" if query else "")
        scheme = f"{self.kind}s" if self.tls else self.kind
        query = f"?dc={self.datacenter}" if self.datacenter is not None else ""
        return f"{scheme}://{','.join(self.endpoints)}/{self.prefix}{query}"


@dataclass(frozen=True, slots=True)
class _Parts:
    """A URL taken apart, nothing judged yet. The standard library's splitter knows one host only."""

    scheme: str
    authority: str
    path: str
    query: dict[str, str] = field(default_factory=dict)


def parse_store_url(text: str) -> StoreUrl:
    """Read a store URL (forms in FORMS). Raises ValueError that names the remedy and repeats no password."""
    parts = _split(text)
    if parts.scheme == "sqlite":
        _only_query(parts, ())
        return StoreUrl("sqlite", path=Path(_local_path(parts, "store.db")))
    if parts.scheme == "consul+unix":
        _only_query(parts, ("dc", "prefix"))
        return StoreUrl(
            "consul",
            prefix=_prefix(parts.query.get("prefix", "")),
            datacenter=_datacenter(parts),
            unix_socket=_local_path(parts, "consul.sock"),
        )
    if parts.scheme == "memory":
        _only_query(parts, ())
        if parts.authority or parts.path.strip("/"):
            raise ValueError("the store URL 'memory:' takes neither host nor path: write memory:")
        return StoreUrl("memory")
    kind, tls, port = _REMOTE[parts.scheme]
    _only_query(parts, ("dc",) if kind == "consul" else ())
    return StoreUrl(
        kind,
        endpoints=_endpoints(parts, port),
        prefix=_prefix(parts.path),
        tls=tls,
        datacenter=_datacenter(parts),
    )


def _split(text: str) -> _Parts:
    """Take it apart and refuse what no scheme allows."""
    if len(text) > _MAX_TEXT:
        raise ValueError(f"a store URL of {len(text)} characters: at most {_MAX_TEXT}")
    scheme, colon, rest = text.partition(":")
    scheme = scheme.lower()
    # A password may hold slashes, so an '@' anywhere counts, except in the path of a file.
    if "@" in text and not (scheme in ("sqlite", "consul+unix") and rest.startswith("///")):
        raise ValueError(
            "a store URL must not hold a user or a password ('…@'): put the name into username "
            "(LOCKSMITH_STORE_USERNAME) and the password into a file named by password_file "
            "(LOCKSMITH_STORE_PASSWORD_FILE)"
        )
    shown = repr(text.partition("?")[0])
    if not colon or (scheme not in _SCHEMES and not rest.startswith("//")):
        raise ValueError(f"{shown} is not a store URL: write one of {', '.join(FORMS)}")
    if scheme not in _SCHEMES:
        raise ValueError(f"unknown store scheme {scheme!r}{did_you_mean(scheme, _SCHEMES)} (known: {', '.join(FORMS)})")
    if re.search(r"\s", text) or not text.isprintable():
        raise ValueError(f"the store URL {shown} has a space in it: write none, in a path %20")
    if scheme != "memory" and not rest.startswith("//"):
        raise ValueError(f"the store URL {shown} lacks its slashes: write {scheme}://…")
    if "#" in rest:
        raise ValueError(f"the store URL {shown} has a '#': leave it out, in a path write %23")
    authority = re.split(r"[/?]", rest[2:], maxsplit=1)[0] if rest.startswith("//") else ""
    path, _, query = rest.removeprefix("//")[len(authority) :].partition("?")
    return _Parts(scheme, authority, path, _query(query))


def _query(query: str) -> dict[str, str]:
    if not query:
        return {}
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True, max_num_fields=10)
    except ValueError as error:
        raise ValueError("the store URL's part after '?' cannot be read: write ?key=value") from error
    if len({key for key, _ in pairs}) != len(pairs):
        raise ValueError("the store URL names a key after '?' twice: write it once")
    return dict(pairs)


def _only_query(parts: _Parts, known: tuple[str, ...]) -> None:
    """Refuse unknown keys by their name only: the value may be a token in the wrong place."""
    for key in parts.query:
        if key not in known:
            remedy = f"known: {', '.join(known)}" if known else f"{parts.scheme} takes none"
            raise ValueError(f"unknown key {key!r} in the store URL{did_you_mean(key, known)} ({remedy})")


def _local_path(parts: _Parts, example: str) -> str:
    path = unquote(parts.path)
    if parts.authority or not path.startswith("/") or path.endswith("/") or "\0" in path:
        raise ValueError(
            f"the store URL needs the absolute path of a file behind three slashes: "
            f"write {parts.scheme}:///var/lib/locksmith/{example}"
        )
    return "/" + path.lstrip("/")


def _prefix(path: str) -> str:
    prefix = path.strip("/")
    if not prefix:
        return DEFAULT_PREFIX
    if len(prefix) > _MAX_PREFIX or not all(_SEGMENT.fullmatch(segment) for segment in prefix.split("/")):
        raise ValueError(
            f"{prefix[:_MAX_PREFIX]!r} is not a key prefix: use letters, digits, '.', '_' and '-' between single "
            f"slashes, no part beginning with '.' or '-', at most {_MAX_PREFIX} characters"
        )
    return prefix


def _datacenter(parts: _Parts) -> str | None:
    datacenter = parts.query.get("dc")
    if datacenter is not None and not _DATACENTER.fullmatch(datacenter):
        raise ValueError(f"{datacenter[:64]!r} is not a Consul datacenter: use letters, digits, '_' and '-'")
    return datacenter


def _endpoints(parts: _Parts, default_port: int) -> tuple[str, ...]:
    """Every endpoint as host:port, in the order given, each once."""
    if not parts.authority:
        raise ValueError(f"the store URL names no host: write {parts.scheme}://HOST:{default_port}/{DEFAULT_PREFIX}")
    return tuple(dict.fromkeys(_endpoint(one, default_port) for one in parts.authority.split(",")))


def _endpoint(text: str, default_port: int) -> str:
    if not text:
        raise ValueError("the store URL has an empty host: write HOST:PORT between single commas")
    host, port = _host_and_port(text)
    if not port:
        return f"{host}:{default_port}"
    if not _PORT.fullmatch(port) or not 1 <= int(port) <= _MAX_PORT:
        raise ValueError(f"{text!r} in the store URL has no valid port: write a number from 1 to {_MAX_PORT}")
    return f"{host}:{int(port)}"


def _host_and_port(text: str) -> tuple[str, str]:
    """The host in its normal form and the text of the port, empty when none is given."""
    if text.startswith("["):
        inside, bracket, rest = text[1:].partition("]")
        try:
            address = ipaddress.IPv6Address(inside)
        except ValueError as error:
            raise ValueError(f"{text!r} in the store URL is not an IPv6 address: write [ADDRESS]:PORT") from error
        if not bracket or (rest and not rest.startswith(":")) or rest == ":":
            raise ValueError(f"{text!r} in the store URL: write [ADDRESS]:PORT")
        return f"[{address}]", rest.removeprefix(":")
    if text.count(":") > 1:
        raise ValueError(f"{text!r} in the store URL looks like an IPv6 address: write it in brackets, [ADDRESS]:PORT")
    host, colon, port = text.partition(":")
    if not _HOST.fullmatch(host) or (colon and not port):
        raise ValueError(f"{text!r} in the store URL is not a host and port: write HOST:PORT")
    return host.lower(), port
