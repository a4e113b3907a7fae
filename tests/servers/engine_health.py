"""A stand-in for what a container engine lists, health included: Docker or Podman on a Unix socket, without containers.

It follows the published schema, Docker Engine API v1.41 to v1.57 (api/docs/*.yaml of moby/moby: SystemPing, ContainerList,
ErrorResponse), and for Podman pkg/api/handlers/compat of containers/podman, where the list tells nothing about health and each
answer has a Libpod-API-Version. No engine runs on the machines that build this, so nothing here has met a real one.
Stopping and starting is tests/servers/engine.py.

What it is strict about, since an engine is: a version in the path beyond its own range is refused with 400, an unknown filter
or a malformed one too, and by default only running containers are listed.
"""

import json
import socketserver
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import parse_qs, urlsplit

FILTERS = frozenset(
    {"ancestor", "before", "exited", "health", "id", "label", "name", "network", "since", "status", "volume"}
)
RUNNING = frozenset({"running", "paused", "restarting"})
"""What Docker counts as running, ContainerState."""
_SENTENCES = {"healthy": " (healthy)", "unhealthy": " (unhealthy)", "starting": " (health: starting)", "none": ""}
_HEALTH_SINCE = (1, 52)
"""API version in which ContainerSummary has Health."""


@dataclass
class Container:
    """`health` is `none` without a health check. `links`: more names, as a link gives them."""

    name: str
    state: str = "running"
    health: Literal["none", "starting", "healthy", "unhealthy"] = "none"
    labels: dict[str, str] = field(default_factory=dict)
    links: tuple[str, ...] = ()


class ListingEngine:
    """A context manager; `containers` may be changed at any time, `requests` are the paths that were asked for."""

    def __init__(self, socket: Path, *, podman: bool = False, version: str = "1.52", oldest: str = "1.44") -> None:
        """It serves on `socket`, as API `version`; older ones than `oldest` are refused, as Docker 29 does."""
        self.socket = socket
        self.podman = podman
        self.version = version
        self.oldest = oldest
        self.containers: tuple[Container, ...] = ()
        self.requests: list[str] = []
        self.failing: tuple[int, str] | None = None
        """Status and message with which everything is answered but the ping."""
        self._server = _Server(str(socket), _Handler)
        self._server.engine = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self.socket.unlink()

    def has(self, *containers: Container) -> None:
        """These and no others."""
        self.containers = containers

    def answer(self, target: str) -> tuple[int, Any]:
        """Status and document of one GET."""
        parts = urlsplit(target)
        if parts.path == "/_ping":
            return 200, "OK"
        if self.failing is not None:
            return self.failing[0], {"message": self.failing[1]}
        front, _, rest = parts.path.removeprefix("/v").partition("/")
        asked = _numbers(front)
        if asked < _numbers(self.oldest):
            return 400, {
                "message": f"client version {front} is too old. Minimum supported API version is {self.oldest}, "
                "please upgrade your client to a newer version"
            }
        if asked > _numbers(self.version):
            return 400, {
                "message": f"client version {front} is too new. Maximum supported API version is {self.version}"
            }
        if rest != "containers/json":
            return 404, {"message": "page not found"}
        return self._listed({key: values[-1] for key, values in parse_qs(parts.query).items()})

    def _listed(self, query: Mapping[str, str]) -> tuple[int, Any]:
        try:
            filters = json.loads(query.get("filters", "{}"))
        except ValueError:
            return 400, {"message": "invalid filter"}
        if not isinstance(filters, dict) or not all(isinstance(each, list) for each in filters.values()):
            return 400, {"message": "invalid filter"}
        if unknown := filters.keys() - FILTERS:
            return 400, {"message": f"invalid filter '{min(unknown)}'"}
        everything = query.get("all") in ("1", "true")
        listed = {"running"} if self.podman else RUNNING
        return 200, [
            self._shown(number, each)
            for number, each in enumerate(self.containers)
            if (everything or each.state in listed) and ("health" not in filters or each.health in filters["health"])
        ]

    def _shown(self, number: int, each: Container) -> dict[str, Any]:
        """An entry of ContainerSummary, after the example of the schema."""
        up = each.state in RUNNING
        sentence = "Up 5 minutes" if up else "Exited (0) 5 minutes ago"
        shown: dict[str, Any] = {
            "Id": f"{number:064x}",
            "Names": [f"/{name}" for name in (*each.links, each.name)],
            "Image": "registry.invalid/app:1",
            "ImageID": "sha256:d74508fb6632491cea586a1fd7d748dfc5274cd6fdfedee309ecdcbc2bf5cb82",
            "Command": "/bin/app",
            "Created": 1367854155,
            "State": each.state,
            "Status": sentence if self.podman or not up else sentence + _SENTENCES[each.health],
            "Ports": [{"PrivatePort": 2222, "PublicPort": 3333, "Type": "tcp"}],
            "Labels": each.labels,
            "HostConfig": {"NetworkMode": "default"},
            "NetworkSettings": {"Networks": {}},
            "Mounts": [],
        }
        if not self.podman and _numbers(self.version) >= _HEALTH_SINCE:
            shown["Health"] = {"Status": each.health if up else "none", "FailingStreak": 0}
        return shown


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    engine: ListingEngine


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        engine = self.server.engine  # type: ignore[attr-defined]
        engine.requests.append(self.path)
        status, document = engine.answer(self.path)
        body = document.encode() if isinstance(document, str) else json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Api-Version", engine.version)
        if engine.podman:
            self.send_header("Libpod-API-Version", "4.3.1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "unix"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
        """Nothing: `requests` has them."""


def _numbers(version: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in version.split("."))
    except ValueError:
        return (0,)
