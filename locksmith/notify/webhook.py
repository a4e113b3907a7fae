"""An event as one JSON document, sent by POST to a URL.

The idea a reader would miss: a webhook's URL is often its password, so it may stand in a file of its own, and no reason names
more of it than the host. The id of the event goes along as `Idempotency-Key`, since an answer that is lost means that the
same event comes again.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from locksmith import __version__
from locksmith.host.http import NO_FILES, Failed, Request, Response, Tls, fetch
from locksmith.notify import Delivered, Outcome, Refused, Undelivered

_MENDABLE = (401, 403, 404, 407, 408, 409, 423, 425, 429)
"""Refusals that may end when somebody mends the receiver, its rights or our URL; any other 4xx is about the event itself."""
_MAX_ANSWER = 64 * 1024


@dataclass(frozen=True, slots=True)
class Webhook:
    """`url`, or `url_file`, which holds it on its first line and is read at each try. `timeout` is for one try."""

    timeout: timedelta
    url: str | None = None
    url_file: Path | None = None
    tls: Tls = NO_FILES

    def send(self, document: Mapping[str, Any]) -> Outcome:
        """See Sink."""
        try:
            url = self.url if self.url is not None else first_line(self.url_file)
        except (OSError, ValueError) as error:
            return Undelivered(f"url_file {self.url_file}: {why(error)}")
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"locksmith/{__version__}",
            "Idempotency-Key": str(document["id"]),
        }
        body = json.dumps(dict(document), ensure_ascii=False).encode()
        request = Request(
            url, self.timeout, method="POST", headers=headers, body=body, tls=self.tls, max_bytes=_MAX_ANSWER
        )
        answer = fetch(request)
        return Undelivered(answer.reason) if isinstance(answer, Failed) else _judged(answer)


def first_line(path: Path | None) -> str:
    """The text in a file of one line. Raises OSError, ValueError."""
    lines = path.read_text().split("\n", 1) if path is not None else [""]
    if not (text := lines[0].strip()):
        raise ValueError("holds nothing: write the URL into it")
    return text


def _judged(answer: Response) -> Outcome:
    status = answer.status
    if 200 <= status <= 299:  # noqa: PLR2004 - what HTTP calls success
        return Delivered()
    if 300 <= status <= 399:  # noqa: PLR2004
        return Undelivered(f"it answers {status}: redirects are not followed, write the address that it names")
    if 400 <= status <= 499 and status not in _MENDABLE:  # noqa: PLR2004
        return Refused(f"it answers {status}")
    after = answer.headers.get("retry-after", "")
    return Undelivered(f"it answers {status}", timedelta(seconds=min(int(after), 86400)) if after.isdecimal() else None)


def why(error: OSError | ValueError) -> str:
    """Why a file cannot be used, without anything of what stands in it."""
    match error:
        case OSError():
            return (error.strerror or str(error)).lower()
        case UnicodeDecodeError():
            return "holds no text"
        case _:
            return str(error)
