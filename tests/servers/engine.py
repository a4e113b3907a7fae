"""A stand-in for a container engine behind a Unix socket: list, inspect, stop, start.

No engine runs here. It follows the Docker Engine API v1.41 (ContainerList, ContainerInspect, ContainerStop, ContainerStart),
which Podman serves as its "compat" API: 204 done, 304 nothing to do, 404 no such container, with `{"message": …}`.
It wants its own version in every path but the ping's: none is deprecated, and an old one is refused since Docker 29. What is
recorded, and what faults are for, is the rest of the path.
"""

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.servers.json_api import Asked, JsonApi, Said

VERSION = "1.52"


class EngineStandIn(JsonApi):
    """Containers by name; their id is `id-NAME`."""

    def __init__(self, socket: Path) -> None:
        super().__init__(unix=socket)
        self.running: dict[str, bool] = {}
        self.labels: dict[str, dict[str, str]] = {}
        self.did: list[str] = []
        """`stop NAME`, `start NAME`: what had an effect, in order."""
        self.stubborn: dict[str, threading.Event] = {}
        """A container that stops only when the event is set; its stop is not answered before."""

    def run(self, name: str, labels: dict[str, str] | None = None, *, running: bool = True) -> None:
        self.running[name] = running
        self.labels[name] = labels or {}

    def respond(self, asked: Asked) -> Said | None:
        if asked.path == "/_ping":
            return Said(200, "OK", {"Api-Version": VERSION})
        front, _, rest = asked.path.removeprefix("/").partition("/")
        if front != f"v{VERSION}":
            return Said(400, {"message": f"client version {front} is too old. Minimum supported API version is 1.44"})
        return super().respond(replace(asked, path=f"/{rest}"))

    def answer(self, asked: Asked) -> Said:
        match asked.method, asked.path.split("/")[1:]:
            case "GET", ["containers", "json"]:
                return Said(200, [self._listed(name) for name, running in self.running.items() if running])
            case "GET", ["containers", identity, "json"]:
                return self._known(identity, lambda name: Said(200, self._inspected(name)))
            case "POST", ["containers", identity, "stop"]:
                return self._known(identity, self._stop)
            case "POST", ["containers", identity, "start"]:
                return self._known(identity, lambda name: self._turn(name, "start", running=True))
            case _:
                return Said(404, {"message": "page not found"})

    def _known(self, identity: str, act: Any) -> Said:
        name = identity.removeprefix("id-")
        return act(name) if name in self.running else Said(404, {"message": f"No such container: {identity}"})

    def _listed(self, name: str) -> dict[str, Any]:
        return {
            "Id": f"id-{name}",
            "Names": [f"/{name}"],
            "Labels": self.labels[name],
            "State": "running",
            "Status": "Up",
        }

    def _inspected(self, name: str) -> dict[str, Any]:
        running = self.running[name]
        state = {"Status": "running" if running else "exited", "Running": running, "Paused": False, "ExitCode": 0}
        return {"Id": f"id-{name}", "Name": f"/{name}", "State": state, "Config": {"Labels": self.labels[name]}}

    def _stop(self, name: str) -> Said:
        if name in self.stubborn:
            self.stubborn[name].wait(60)
        return self._turn(name, "stop", running=False)

    def _turn(self, name: str, verb: str, *, running: bool) -> Said:
        with self.lock:
            if self.running[name] == running:
                return Said(304)
            self.running[name] = running
            self.did.append(f"{verb} {name}")
            return Said(204)
