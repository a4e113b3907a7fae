"""Addresses and tokens as the command lines of Consul and Nomad take them, turned into a Service."""

import os
from collections.abc import Mapping
from pathlib import Path

from locksmith.drains.service import Service
from locksmith.errors import ConfigError
from locksmith.host.http import Tls, address_of
from locksmith.host.tls import FilesUnusable, unsendable
from locksmith.host.tls import token as token_of

_HEADERS = {"Consul": "X-Consul-Token", "Nomad": "X-Nomad-Token"}
_TOKENS = {"Consul": "CONSUL_HTTP_TOKEN", "Nomad": "NOMAD_TOKEN"}


def service_at(  # noqa: PLR0913 - one argument an option
    title: str,
    *,
    address: str,
    token_file: Path | None,
    ca_file: Path | None,
    cert_file: Path | None,
    key_file: Path | None,
    environ: Mapping[str, str] | None = None,
) -> Service:
    """The service at `address`: `http://…`, `https://…`, `unix:///path`, or `host:port`, which is https when there is a CA.

    Raises ConfigError for an address or a token that cannot be used.
    """
    given = os.environ if environ is None else environ
    tls = Tls(ca_file, cert_file, key_file)
    token = _token(title, token_file, given)
    headers = {_HEADERS[title]: token} if token else {}
    if address.startswith("unix://"):
        return Service(title, "http://localhost", headers, tls, Path(address.removeprefix("unix://")))
    if "://" not in address:
        address = f"{'https' if ca_file is not None else 'http'}://{address}"
    try:
        address_of(address)
    except ValueError as error:
        raise ConfigError(f"{title}: --address: {error}") from error
    return Service(title, address.rstrip("/"), headers, tls)


def _token(title: str, token_file: Path | None, environ: Mapping[str, str]) -> str | None:
    if token_file is not None:
        try:
            return token_of(Tls(token_file=token_file))
        except FilesUnusable as error:
            raise ConfigError(f"{title}: {error}") from error
    text = environ.get(_TOKENS[title], "").strip()
    if text and (why := unsendable(text)):
        raise ConfigError(f"{title}: {_TOKENS[title]}: {why}")
    return text
