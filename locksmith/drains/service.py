"""One service with a JSON API: the container engine, Nomad, Consul. Paths and bodies in, a document or the trouble out."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from locksmith.host.http import NO_FILES, Failed, Request, Tls, decoded, fetch
from locksmith.host.outcome import printable

_LASTING_KINDS = frozenset({"url", "tls", "credentials", "denied"})
_LASTING_STATUS = frozenset({400, 401, 403, 404, 405})
_MAX_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Trouble:
    """No good answer. `status` 0: none at all. `lasting`: asking again cannot help."""

    reason: str
    status: int = 0
    lasting: bool = False


@dataclass(frozen=True, slots=True)
class Service:
    """`address` is a URL without a path. `title` is what messages call it."""

    title: str
    address: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    tls: Tls = NO_FILES
    unix: Path | None = None

    def call(
        self,
        method: str,
        path: str,
        timeout: timedelta,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
    ) -> Any | Trouble:
        """One request. The document of a 2xx or 304 answer; None when it has none, or none that is JSON."""
        url = f"{self.address}{path}{f'?{urlencode(query)}' if query else ''}"
        headers = dict(self.headers)
        if body is not None:
            headers["Content-Type"] = "application/json"
        answer = fetch(
            Request(
                url,
                timeout,
                method=method,
                headers=headers,
                body=b"" if body is None else json.dumps(body).encode(),
                unix=self.unix,
                tls=self.tls,
                max_bytes=_MAX_BYTES,
            )
        )
        if isinstance(answer, Failed):
            return Trouble(f"{self.title} does not answer: {answer.reason}", lasting=answer.kind in _LASTING_KINDS)
        try:
            document = decoded(answer)
        except ValueError:
            document = None
        if HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES or answer.status == HTTPStatus.NOT_MODIFIED:
            return document
        text = document.get("message") if isinstance(document, dict) else None
        words = printable(str(text or answer.body[:400].decode(errors="replace").replace("\n", " ")))
        return Trouble(
            f"{self.title} says {answer.status}{f': {words}' if words else ''}",
            answer.status,
            lasting=answer.status in _LASTING_STATUS,
        )
