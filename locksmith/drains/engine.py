"""The container engine behind its Unix socket: Docker, or Podman, which speaks the same API.

The idea a reader would miss: a stop answers only when the container has stopped, so its request gets all the time that is
left, and one that got no answer is still at work in the engine.

Docker Engine API v1.41: ContainerList, ContainerInspect, ContainerStop, ContainerStart, in the engine's own version (see
`host.engine`). Podman: "compat" API, https://docs.podman.io/en/latest/_static/api.html.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any

from locksmith.drains.service import Service, Trouble
from locksmith.host.engine import NoAnswer, front

SOCKETS = (Path("/run/docker.sock"), Path("/var/run/docker.sock"), Path("/run/podman/podman.sock"))
SHORT = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Container:
    """A container that runs."""

    id: str
    name: str
    labels: Mapping[str, str]


class Engine:
    """One engine."""

    def __init__(self, socket: Path) -> None:
        """Nothing is asked yet."""
        self._socket = socket
        self._front: str | None = None
        self._service = Service(f"the container engine at {socket}", "http://localhost", unix=socket)

    def running(self, timeout: timedelta) -> tuple[Container, ...] | Trouble:
        """The containers that run, are paused or are being restarted."""
        listed = self._call("GET", "/containers/json", min(timeout, SHORT))
        if isinstance(listed, Trouble):
            return listed
        if not isinstance(listed, list):
            return Trouble("the container engine answers with no list of containers")
        return tuple(_container(item) for item in listed if isinstance(item, dict) and item.get("Id"))

    def runs(self, container: str, timeout: timedelta) -> bool | Trouble | None:
        """Whether it runs now; None when there is no such container."""
        found = self._call("GET", f"/containers/{container}/json", min(timeout, SHORT))
        if isinstance(found, Trouble):
            return None if found.status == HTTPStatus.NOT_FOUND else found
        state = found.get("State") if isinstance(found, dict) else None
        return bool(state.get("Running")) if isinstance(state, dict) else Trouble("the container engine names no state")

    def stop(self, container: str, timeout: timedelta, grace: int | None) -> Trouble | None:
        """Stop it and wait until it has. `grace`: seconds before it is killed, None for the container's own.

        No such container, and stopped already: None, too.
        """
        query = {"t": str(grace)} if grace is not None else None
        return self._did(self._call("POST", f"/containers/{container}/stop", timeout, query=query))

    def start(self, container: str, timeout: timedelta) -> Trouble | None:
        """Start it. No such container, and running already: None, too."""
        return self._did(self._call("POST", f"/containers/{container}/start", timeout))

    def _call(
        self, method: str, path: str, timeout: timedelta, query: Mapping[str, str] | None = None
    ) -> Any | Trouble:
        if self._front is None:
            found = front(self._socket, min(timeout, SHORT))
            if isinstance(found, NoAnswer):
                return Trouble(found.reason)
            self._front = found
        return self._service.call(method, f"{self._front}{path}", timeout, query=query)

    @staticmethod
    def _did(answer: Any) -> Trouble | None:
        return answer if isinstance(answer, Trouble) and answer.status != HTTPStatus.NOT_FOUND else None


def _container(item: Mapping[str, Any]) -> Container:
    names = item.get("Names") or []
    name = str(names[0]).lstrip("/") if isinstance(names, list) and names else str(item["Id"])[:12]
    labels = item.get("Labels")
    return Container(str(item["Id"]), name, labels if isinstance(labels, dict) else {})
