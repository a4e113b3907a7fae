"""A receiver of notifications: a sink that says what it is told to say, and a small HTTP server that does the same."""

import json
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from locksmith.notify import Delivered, Outcome


@dataclass
class FakeSink:
    """Gives the outcomes in turn, then Delivered; `gate` holds every try up until it is set."""

    outcomes: list[Outcome] = field(default_factory=list)
    tried: list[Mapping[str, Any]] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)
    trying: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    def send(self, document: Mapping[str, Any]) -> Outcome:
        self.tried.append(document)
        self.trying.set()
        assert self.gate.wait(60)
        outcome = self.outcomes.pop(0) if self.outcomes else Delivered()
        if isinstance(outcome, Delivered):
            self.taken.append(document["event"])
        return outcome


@dataclass
class Receiver:
    """What a webhook's server has heard. `statuses` are given in turn, then 200."""

    url: str = ""
    statuses: list[int] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    answer_headers: dict[str, str] = field(default_factory=dict)
    heard: list[dict[str, Any]] = field(default_factory=list)
    """Every document that came, also those that were answered with an error."""
    taken: list[dict[str, Any]] = field(default_factory=list)

    def events(self) -> list[str]:
        """The events that it took, in order."""
        return [document["event"] for document in self.taken]


@contextmanager
def receiver(
    *statuses: int, port: int = 0, context: ssl.SSLContext | None = None, answer_headers: dict[str, str] | None = None
) -> Iterator[Receiver]:
    """A server on loopback."""
    told = Receiver(statuses=list(statuses), answer_headers=answer_headers or {})

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            document = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            told.headers.append({name.lower(): value for name, value in self.headers.items()})
            told.heard.append(document)
            status = told.statuses.pop(0) if told.statuses else 200
            if status == 200:
                told.taken.append(document)
            self.send_response(status)
            for name, value in told.answer_headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    with HTTPServer(("127.0.0.1", port), Handler) as server:
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        told.url = f"http{'s' if context else ''}://127.0.0.1:{server.server_port}/hook"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield told
        finally:
            server.shutdown()
            thread.join()
