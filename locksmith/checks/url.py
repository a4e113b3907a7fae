"""What a web address answers.

The ideas a reader would miss. A redirect is a status as any other: it is not followed, so `status = [302]` can be asked for.
And for a gate no answer is *unknown*, a wrong one is *closed*; a health check calls both "not well", since a service that
does not answer is what it looks for.
"""

import re
from collections.abc import Sequence
from datetime import timedelta
from http import HTTPStatus

from locksmith.checks import Occasion, Role
from locksmith.core.verdict import Closed, Open, Unknown, Verdict
from locksmith.host.http import NO_FILES, Failed, Request, Tls, address_of, fetch

SEARCHED_BYTES = 64 * 1024
"""Of the body. It is bounded because the pattern is the operator's, but the body is not."""


class UrlCheck:
    """Open when the status is a wanted one and the body holds the pattern."""

    def __init__(  # noqa: PLR0913 - what an operator may say about a web address
        self,
        name: str,
        role: Role,
        url: str,
        timeout: timedelta,
        *,
        status: Sequence[int] = (),
        body: str | re.Pattern[str] | None = None,
        tls: Tls = NO_FILES,
    ) -> None:
        """`status`: the wanted ones, without any every 2xx. `body` is searched for, see SEARCHED_BYTES.

        Raises ValueError for a URL that cannot be used, re.error for a pattern that is none.
        """
        self._name = name
        self._role = role
        self._where = address_of(url).authority
        self._request = Request(url, timeout, tls=tls, max_bytes=SEARCHED_BYTES)
        self._status = tuple(status)
        self._body = re.compile(body) if body is not None else None

    @property
    def name(self) -> str:
        """See Check."""
        return self._name

    @property
    def kind(self) -> str:
        """See Check: `gate` or `health`."""
        return self._role

    def ask(self, occasion: Occasion) -> Verdict:  # noqa: ARG002 - as the protocol has it
        """See Check."""
        answer = fetch(self._request)
        if isinstance(answer, Failed):
            return Closed(answer.reason) if self._role == "health" else Unknown(answer.reason)
        if not self._wanted(answer.status):
            wanted = " or ".join(map(str, self._status)) or "2xx"
            return Closed(f"{self._where}: status {answer.status}{_redirected(answer.status)}, {wanted} is wanted")
        if self._body is not None and not self._body.search(answer.body.decode(errors="replace")):
            searched = f"the first {SEARCHED_BYTES // 1024} KiB of the body" if answer.truncated else "the body"
            return Closed(
                f"{self._where}: status {answer.status}, but {searched} does not match {self._body.pattern!r}"
            )
        return Open(f"{self._where}: status {answer.status}")

    def _wanted(self, status: int) -> bool:
        if self._status:
            return status in self._status
        return HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES


def _redirected(status: int) -> str:
    redirect = HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST
    return " (redirects are not followed)" if redirect else ""
