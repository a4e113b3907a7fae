"""Servers that say what a test wants, down to the byte, on loopback TCP, TLS or any listening socket."""

import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
Serve = Callable[[socket.socket], None]


def answering(data: bytes, heard: list[bytes] | None = None) -> Serve:
    def serve(peer: socket.socket) -> None:
        request = peer.recv(65536)
        if heard is not None:
            heard.append(request)
        peer.sendall(data)

    return serve


def in_turn(*answers: bytes) -> Serve:
    """One answer after the other, whatever is asked."""
    left = iter(answers)

    def serve(peer: socket.socket) -> None:
        peer.recv(65536)
        peer.sendall(next(left))

    return serve


def routing(answers: Mapping[str, bytes], heard: list[bytes] | None = None) -> Serve:
    """Answers by the path of the request; 404 for what is not listed."""

    def serve(peer: socket.socket) -> None:
        request = peer.recv(65536)
        if not request:
            return  # who connected has gone before it asked, its time being over
        if heard is not None:
            heard.append(request)
        path = request.split(b" ")[1].split(b"?")[0].decode()
        peer.sendall(answers.get(path, http(404, "404 page not found")))

    return serve


def silent(peer: socket.socket) -> None:
    while peer.recv(65536):
        pass


@contextlib.contextmanager
def listening(listener: socket.socket, serve: Serve, context: ssl.SSLContext | None = None) -> Iterator[None]:
    """Each connection is served by `serve`, one after the other."""

    def run() -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = listener.accept()
                try:
                    with contextlib.suppress(OSError):
                        if context is not None:
                            peer = context.wrap_socket(peer, server_side=True)
                        serve(peer)
                finally:
                    peer.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@contextlib.contextmanager
def server(serve: Serve, context: ssl.SSLContext | None = None, address: str = "127.0.0.1") -> Iterator[str]:
    with socket.create_server((address, 0)) as listener, listening(listener, serve, context):
        yield f"{address}:{listener.getsockname()[1]}"


def http(status: int, body: bytes | str, *headers: str) -> bytes:
    """An answer of HTTP."""
    data = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status} Word", f"Content-Length: {len(data)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + data


def json_of(value: Any, status: int = 200) -> bytes:
    """An answer of HTTP that holds JSON."""
    return http(status, json.dumps(value))


@contextlib.contextmanager
def dripping(head: bytes = b"") -> Iterator[str]:
    """A server that says `head` and then one byte after the other, for ever."""
    over = threading.Event()

    def serve(peer: socket.socket) -> None:
        peer.recv(65536)
        peer.sendall(head)
        while not over.wait(0.05):
            peer.sendall(b"H")

    with server(serve) as where:
        try:
            yield where
        finally:
            over.set()
