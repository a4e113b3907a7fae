"""The Kubernetes API, as far as a node that reboots needs it: read, patch, create, and lists of any length.

The one idea a reader would miss: an error of the API is a document with a reason and causes, and what to do depends on it:
a conflict means read again, a 429 means wait, a right that is missing does not come by waiting. `Trouble.lasting` says which.

Follows the Kubernetes API reference v1.30 (Status, ListMeta) and "Kubernetes API Concepts" (chunked lists, merge patch).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode

from locksmith.host.http import Failed, Request, Response, address_of, deadline_of, decoded, fetch
from locksmith.host.kubeconfig import Access
from locksmith.host.outcome import printable

USER_AGENT = "locksmith"
"""And so the name under which the API keeps which fields we have set."""
PAGE = 250
"""Objects in one answer of a list."""
_LISTS = 3
"""How often a list is begun again when its place has expired (410)."""
_LASTING_STATUS = frozenset({400, 401, 403, 404, 405, 413, 415, 422})
_LASTING_KINDS = frozenset({"url", "tls", "credentials", "denied"})
_MAX_BYTES = 32 * 1024 * 1024
"""A page of large pods is large."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """No good answer. `status` 0: none at all. `lasting`: asking again cannot help. `causes` are the words of the API."""

    reason: str
    status: int = 0
    lasting: bool = False
    retry_after: float = 0.0
    causes: tuple[str, ...] = ()


Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class KubeApi:
    """One API server. `timeout` is for one request, or for one whole list."""

    access: Access
    timeout: timedelta = field(default=timedelta(seconds=10))

    def get(self, path: str, query: Mapping[str, str] | None = None) -> Document | Trouble:
        """Read an object. `path` begins with a slash."""
        return self._call("GET", _with(path, query), None, "")

    def patch(self, path: str, document: Document) -> Document | Trouble:
        """Change an object by a JSON merge patch: null removes. A `resourceVersion` in it makes it conditional (409)."""
        return self._call("PATCH", path, document, "application/merge-patch+json")

    def create(self, path: str, document: Document) -> Document | Trouble:
        """Create an object, or the eviction of one."""
        return self._call("POST", path, document, "application/json")

    def items(self, path: str, query: Mapping[str, str]) -> list[Document] | Trouble:
        """All objects of a list, page by page, begun anew when it expires on the way."""
        deadline = deadline_of(self.timeout)
        for _ in range(_LISTS):
            found = self._pages(path, query, deadline)
            if not isinstance(found, Trouble) or found.status != HTTPStatus.GONE:
                break
        return found

    def _pages(self, path: str, query: Mapping[str, str], deadline: float) -> list[Document] | Trouble:
        items: list[Document] = []
        wanted = {**query, "limit": str(PAGE)}
        while True:
            page = self._call("GET", _with(path, wanted), None, "", deadline)
            if isinstance(page, Trouble):
                return page
            items += objects(page, "items")
            more = mapping(page, "metadata").get("continue")
            if not more:
                return items
            wanted["continue"] = str(more)

    def _call(
        self, method: str, path: str, document: Document | None, content: str, deadline: float | None = None
    ) -> Document | Trouble:
        headers = {"Accept": "application/json", "User-Agent": USER_AGENT}
        if document is not None:
            headers["Content-Type"] = content
        if self.access.token:
            headers["Authorization"] = f"Bearer {self.access.token}"
        body = json.dumps(document).encode() if document is not None else b""
        answer = fetch(
            Request(
                f"{self.access.server}{path}",
                self.timeout,
                method=method,
                headers=headers,
                body=body,
                tls=self.access.tls,
                max_bytes=_MAX_BYTES,
            ),
            deadline,
        )
        if isinstance(answer, Failed):
            return Trouble(
                f"the Kubernetes API does not answer: {answer.reason}", lasting=answer.kind in _LASTING_KINDS
            )
        return self._understood(answer)

    def _understood(self, answer: Response) -> Document | Trouble:
        try:
            document = decoded(answer)
        except ValueError as error:
            document, problem = {}, str(error)
        else:
            problem = "" if isinstance(document, dict) else "the answer is no object"
        good = HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES
        if good and not problem:
            return dict(document)
        if good:
            return Trouble(f"the Kubernetes API at {address_of(self.access.server).authority}: {problem}")
        said = document if isinstance(document, dict) else {}
        return self._refused(answer, said)

    def _refused(self, answer: Response, said: Document) -> Trouble:
        status = answer.status
        details = mapping(said, "details")
        causes = objects(details, "causes")
        words = [str(said.get("message") or ""), *(str(cause.get("message") or "") for cause in causes)]
        text = printable(" ".join(word for word in words if word)) or _phrase(status)
        remedy = ""
        if status == HTTPStatus.UNAUTHORIZED:
            remedy = f"; the credentials of {self.access.origin} are not accepted: have they expired?"
        if status == HTTPStatus.FORBIDDEN:
            remedy = f"; the credentials of {self.access.origin} lack a right: see deploy/kubernetes/rbac.yaml"
        return Trouble(
            f"the Kubernetes API says {status}: {text}{remedy}",
            status,
            lasting=status in _LASTING_STATUS,
            retry_after=_seconds(details.get("retryAfterSeconds") or answer.headers.get("retry-after")),
            causes=tuple(str(cause.get("reason") or "") for cause in causes),
        )


def object_path(kind: str, name: str, namespace: str = "", group: str = "") -> str:
    """`/api/v1/nodes/n1`; `group` is such as `coordination.k8s.io/v1`."""
    root = f"/apis/{group}" if group else "/api/v1"
    place = f"/namespaces/{quote(namespace, safe='')}" if namespace else ""
    return f"{root}{place}/{kind}/{quote(name, safe='')}"


def _with(path: str, query: Mapping[str, str] | None) -> str:
    return f"{path}?{urlencode(query)}" if query else path


def mapping(document: Mapping[str, Any], *keys: str) -> Document:
    """The object that stands there, or an empty one: fields are left out when they are empty."""
    found: Any = document
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def objects(document: Mapping[str, Any], key: str) -> list[Document]:
    """The objects in the list that stands there, or none."""
    found = document.get(key)
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase.lower()
    except ValueError:
        return "no reason given"


def _seconds(value: object) -> float:
    try:
        return max(0.0, min(float(str(value)), 3600.0)) if value is not None else 0.0
    except ValueError:
        return 0.0  # an HTTP date: our own pause does
