"""What a container engine says of its containers: Docker, or Podman, which speaks the same API on its own socket.

The ideas a reader would miss. The list tells health only inside a sentence (Docker before API 1.52) or not at all (Podman), but
both can be asked for the containers whose health is this or that: two small questions however many containers there are.
And a version in the path that is too old is refused (Docker 29: below 1.44), one that is too new as well, and none is
deprecated, so the engine is asked for its own first: `GET /_ping` needs none.

Docker Engine API v1.41 to v1.57 (api/docs of moby/moby): SystemPing, ContainerList. Podman: pkg/api/handlers/compat of
containers/podman.
"""

import json
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlencode

from locksmith.host.http import Failed, Request, Response, decoded, fetch
from locksmith.host.outcome import printable

_MAX_BYTES = 32 * 1024 * 1024
_LEAST = 0.1
_SHORT_ID = 12
_API_VERSION = re.compile(r"\d{1,3}\.\d{1,3}")
_INFRA = re.compile(r"[0-9a-f]{12}-infra")
"""The container that holds a pod of Podman together, by its usual name; the pod is what somebody wants to run."""
_OWNERS = ("io.kubernetes.pod.uid", "com.docker.swarm.task.id", "com.hashicorp.nomad.alloc_id")
"""Labels of containers that an orchestrator makes, under a new name each time (dockershim and cri-dockerd, Swarm, Nomad)."""


@dataclass(frozen=True, slots=True)
class Container:
    """`state` in lower case: created, running, paused, restarting, removing, exited, dead; Podman has a few more.

    `passing`: it gets another name when it is made again, so that nobody can say of it that it runs again.
    """

    name: str
    state: str
    passing: bool


@dataclass(frozen=True, slots=True)
class Seen:
    """All containers by name; the names of those whose health check fails, and of those where it has not passed yet."""

    program: Literal["docker", "podman"]
    containers: Mapping[str, Container]
    unhealthy: frozenset[str]
    starting: frozenset[str]

    def in_state(self, *states: str) -> frozenset[str]:
        """The names of the containers that are in one of these."""
        return frozenset(each.name for each in self.containers.values() if each.state in states)


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """The engine cannot be asked, or what it says is no answer."""

    reason: str


def look(socket: Path, timeout: timedelta) -> Seen | NoAnswer:
    """Ask the engine behind this Unix socket; comes back within the time, raises nothing."""
    engine = _Engine(socket, time.monotonic() + timeout.total_seconds())
    try:
        front, program = engine.version()
        everything = dict(_containers(engine.listed(front, {"all": "true"})))
        unhealthy = dict(_containers(engine.listed(front, {"filters": _health("unhealthy")})))
        starting = dict(_containers(engine.listed(front, {"filters": _health("starting")})))
    except _NotSaid as error:
        return NoAnswer(str(error))
    return Seen(program, everything, frozenset(unhealthy), frozenset(starting))


def front(socket: Path, timeout: timedelta) -> str | NoAnswer:
    """What every path begins with for the engine behind this Unix socket, such as `/v1.52`; raises nothing."""
    try:
        found, _ = _Engine(socket, time.monotonic() + timeout.total_seconds()).version()
    except _NotSaid as error:
        return NoAnswer(str(error))
    return found


class _NotSaid(Exception):
    """The words for NoAnswer."""


class _Engine:
    def __init__(self, socket: Path, deadline: float) -> None:
        self._socket = socket
        self._deadline = deadline

    def version(self) -> tuple[str, Literal["docker", "podman"]]:
        """The beginning of every path, and whose engine it is."""
        headers = self._get("/_ping").headers
        version = headers.get("api-version", "")
        if not _API_VERSION.fullmatch(version):
            raise _NotSaid(f"{self._socket} names no API version: is it the socket of Docker or Podman?")
        return f"/v{version}", "podman" if "libpod-api-version" in headers else "docker"

    def listed(self, front: str, parameters: Mapping[str, str]) -> list[Any]:
        """The answer of ContainerList."""
        response = self._get(f"{front}/containers/json?{urlencode(parameters)}")
        try:
            document = decoded(response)
        except ValueError as error:
            raise _NotSaid(f"the container engine at {self._socket}: {error}") from None
        if not isinstance(document, list):
            raise _NotSaid(f"the container engine at {self._socket} answers with no list of containers")
        return document

    def _get(self, path: str) -> Response:
        left = timedelta(seconds=max(_LEAST, self._deadline - time.monotonic()))
        answer = fetch(Request(f"http://localhost{path}", left, unix=self._socket, max_bytes=_MAX_BYTES))
        if isinstance(answer, Failed):
            raise _NotSaid(f"the container engine cannot be asked: {answer.reason}")
        if answer.status != HTTPStatus.OK:
            said = _message(answer)
            raise _NotSaid(
                f"the container engine at {self._socket} answers {answer.status}{f': {said}' if said else ''}"
            )
        return answer


def _health(status: str) -> str:
    return json.dumps({"health": [status]})


def _containers(listed: list[Any]) -> Iterator[tuple[str, Container]]:
    for item in listed:
        if not isinstance(item, dict) or not isinstance(item.get("State"), str) or not (name := _name(item)):
            raise _NotSaid("the container engine lists something without a name and a state")
        labels = item.get("Labels")
        passing = _INFRA.fullmatch(name) is not None or (
            isinstance(labels, dict) and any(label in labels for label in _OWNERS)
        )
        yield name, Container(name, item["State"].lower(), passing)


def _name(item: Mapping[str, Any]) -> str:
    """Its own name: the shortest, since a link gives it others below the name of another container."""
    names = item.get("Names")
    own = [each for each in names if isinstance(each, str)] if isinstance(names, list) else []
    shown = (
        min(own, key=lambda each: (each.count("/"), each)).lstrip("/") if own else str(item.get("Id", ""))[:_SHORT_ID]
    )
    return printable(shown)


def _message(answer: Response) -> str:
    try:
        document = decoded(answer)
    except ValueError:
        return ""
    return printable(str(document.get("message", ""))) if isinstance(document, dict) else ""
