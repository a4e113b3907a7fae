"""The Consul store against scripted answers: what is asked again, where, and what is never sent twice."""

import contextlib
import http.server
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from locksmith.errors import (
    AuthFailed,
    ConfigError,
    Conflict,
    Denied,
    Rejected,
    SessionLost,
    Throttled,
    TlsFailed,
    Unavailable,
    Unknown,
)
from locksmith.stores import Access, Check, Put
from locksmith.stores.consul import ConsulStore
from locksmith.stores.consul_wire import Endpoint

SECOND = timedelta(seconds=1)
BRIEF = timedelta(seconds=0.4)
PUT = [Put("a", b"1")]


def entry(key: str = "ls/a", mod: int = 7) -> dict[str, object]:
    return {"Key": key, "Value": "MQ==", "CreateIndex": 5, "ModifyIndex": mod, "Flags": 0, "LockIndex": 0}


GOOD = (200, json.dumps({"Results": [{"KV": entry()}]}))
NO_LEADER = (500, "No cluster leader")
BREAK = (0, "")


class Script:
    """An HTTP server whose answers are told beforehand; the last one is repeated. A status of 0 breaks the line."""

    def __init__(self, *answers: tuple[int, str]) -> None:
        self.answers = list(answers)
        self.requests: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.times: list[float] = []
        self.index = "7"
        script = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_PUT(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", "0")))
                script.requests.append(f"{self.command} {self.path}")
                script.headers.append(dict(self.headers))
                script.times.append(time.monotonic())
                status, body = script.answers.pop(0) if len(script.answers) > 1 else script.answers[0]
                if status == 0:
                    self.close_connection = True
                    return
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("X-Consul-Index", script.index)
                if 300 <= status < 400:
                    self.send_header("Location", self.path)
                self.end_headers()
                self.wfile.write(body.encode())

            do_GET = do_PUT  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

        self._server = Server(("127.0.0.1", 0), Handler)
        self.endpoint = f"127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


Scripted = Callable[..., Script]


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    with ExitStack() as stack:

        def make(*answers: tuple[int, str]) -> Script:
            script = Script(*answers)
            stack.callback(script.close)
            return script

        yield make


@pytest.fixture
def connect() -> Iterator[Callable[..., ConsulStore]]:
    with ExitStack() as stack:

        def make(*endpoints: str, timeout: timedelta = SECOND, **more) -> ConsulStore:
            store = ConsulStore(endpoints, "ls", timeout=timeout, **more)
            stack.callback(store.close)
            return store

        yield make


@pytest.fixture
def refusing() -> Iterator[str]:
    """An endpoint where nothing listens, and nobody else can begin to."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{bound.getsockname()[1]}"


@contextlib.contextmanager
def raw(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server of one connection that speaks as it likes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run() -> None:
            with contextlib.suppress(OSError):
                peer, _ = listener.accept()
                with peer:
                    serve(peer)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


# ── reads may be repeated ──


@pytest.mark.parametrize("first", [NO_LEADER, BREAK, (429, ""), (404, "nobody here"), (200, "no JSON"), (302, "")])
def test_a_read_goes_to_the_next_endpoint(scripted, connect, first) -> None:
    bad, good = scripted(first), scripted(GOOD)
    store = connect(bad.endpoint, good.endpoint)
    assert store.read(["a"])["a"].mod == 7
    assert store.read(["a"])["a"].value == b"1"
    assert (len(bad.requests), len(good.requests)) == (1, 2), "the endpoint that answered is asked from then on"


def test_a_read_goes_past_an_endpoint_that_refuses(scripted, connect, refusing) -> None:
    good = scripted(GOOD)
    assert connect(refusing, good.endpoint).read(["a"])["a"]
    assert good.requests == ["PUT /v1/txn?consistent=1"]


def test_a_read_comes_back_to_a_server_that_finds_its_leader(scripted, connect) -> None:
    server = scripted(NO_LEADER, NO_LEADER, GOOD)
    assert connect(server.endpoint).read(["a"])["a"]
    gaps = [later - earlier for earlier, later in zip(server.times, server.times[1:], strict=False)]
    assert len(gaps) == 2
    assert min(gaps) >= 0.1, "a server without a leader answers at once, and is to be left in peace"


def test_a_read_ends_when_its_time_is_over(scripted, connect) -> None:
    server = scripted(NO_LEADER)
    with pytest.raises(Unavailable, match=f"{server.endpoint}: 500 No cluster leader") as caught:
        connect(server.endpoint, timeout=BRIEF).read(["a"])
    assert caught.type is Unavailable


def test_nobody_listens(connect, refusing) -> None:
    with pytest.raises(Unavailable, match=f"{refusing}: connection refused"):
        connect(refusing, timeout=timedelta(hours=1)).read(["a"])


def test_a_throttled_read_says_so(scripted, connect) -> None:
    server = scripted((429, "too many"))
    with pytest.raises(Throttled):
        connect(server.endpoint, timeout=BRIEF).read(["a"])


def test_a_denial_is_not_asked_for_elsewhere(scripted, connect) -> None:
    server, other = scripted((403, "Permission denied")), scripted(GOOD)
    with pytest.raises(Denied):
        connect(server.endpoint, other.endpoint).probe("a")
    assert not other.requests


ENTRY = (200, json.dumps([entry()]))


def test_what_is_no_consul_is_no_leave_to_read(scripted, connect) -> None:
    server, good = scripted((200, '{"hello": "world"}')), scripted(ENTRY)
    connect(server.endpoint, good.endpoint).probe("a")
    assert (len(server.requests), len(good.requests)) == (1, 1)


def test_a_probe_of_an_absent_key(scripted, connect) -> None:
    server = scripted((404, ""))
    connect(server.endpoint).probe("a")
    assert server.requests == ["GET /v1/kv/ls/a"]


# ── commits are sent once ──


@pytest.mark.parametrize("answer", [NO_LEADER, (500, "anything"), (503, ""), BREAK, (200, "no JSON"), (302, "")])
def test_a_commit_is_never_sent_twice(scripted, connect, answer) -> None:
    server, other = scripted(answer), scripted(GOOD)
    store = connect(server.endpoint, other.endpoint)
    with pytest.raises(Unknown):
        store.commit([], PUT)
    assert (len(server.requests), other.requests) == (1, [])


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ((409, json.dumps({"Errors": [{"What": 'key "ls/a" exists'}]})), Conflict),
        ((403, "Permission denied"), Denied),
        ((403, "ACL not found"), AuthFailed),
        ((413, "too large"), Rejected),
        ((429, "too many"), Throttled),
        ((404, "nobody here"), Unavailable),
    ],
)
def test_a_commit_that_was_surely_not_applied(scripted, connect, answer, kind) -> None:
    server, other = scripted(answer), scripted(GOOD)
    with pytest.raises(kind) as caught:
        connect(server.endpoint, other.endpoint).commit([], PUT)
    assert caught.type is kind
    assert (len(server.requests), other.requests) == (1, [])


@pytest.mark.parametrize("status", [402, 405, 408, 418, 460])
def test_a_status_that_consul_never_gives_proves_nothing(scripted, connect, status: int) -> None:
    """It is of something in between, which may have passed the commit on."""
    server, other = scripted((status, "")), scripted(GOOD)
    with pytest.raises(Unknown):
        connect(server.endpoint, other.endpoint).commit([], PUT)
    assert not other.requests


@pytest.mark.parametrize("body", ["{}", "null", '"hello"', "[]"])
def test_a_commit_of_deletes_that_nobody_confirms_is_unknown(scripted, connect, body: str) -> None:
    server = scripted((200, body))
    with pytest.raises(Unknown):
        connect(server.endpoint).commit([Check("a", 7)], deletes=["a"])


def odd_entries() -> list[str]:
    """Transactions whose entries are not what Consul gives."""
    changes: list[dict[str, object]] = [
        {"Value": 5},
        {"Value": "MQ"},
        {"Key": None},
        {"Key": ["ls/a"]},
        {"ModifyIndex": None},
        {"ModifyIndex": "seven"},
        {"CreateIndex": [1]},
    ]
    return [json.dumps({"Results": [{"KV": entry() | change}]}) for change in changes]


@pytest.mark.parametrize("body", [*odd_entries(), '{"Results": 5}', '{"Results": [5]}', "[" * 100_000])
def test_an_answer_that_is_no_consuls_is_an_error_of_ours(scripted, connect, body: str) -> None:
    """Whatever it is, nothing escapes that a caller of a store does not expect."""
    server = scripted((200, body))
    with pytest.raises(Unavailable):
        connect(server.endpoint, timeout=BRIEF).read(["a"])
    if '"Value"' not in body:
        with pytest.raises(Unknown):
            connect(server.endpoint).commit([], PUT)


@pytest.mark.parametrize("body", ["5", "true", '["dc1", 5]', '{"a": 5}', '"dc1"', "[[]]"])
def test_facts_of_something_else(scripted, connect, body: str) -> None:
    server = scripted((200, body))
    with pytest.raises(Unavailable):
        connect(server.endpoint, timeout=BRIEF).facts()


def test_a_commit_goes_past_an_endpoint_that_refuses(scripted, connect, refusing) -> None:
    good = scripted(GOOD)
    assert connect(refusing, good.endpoint).commit([], PUT) == 7
    assert good.requests == ["PUT /v1/txn"]


def test_a_commit_that_reached_nobody(connect, refusing) -> None:
    with pytest.raises(Unavailable):
        connect(refusing, refusing).commit([Check("a", 0)], PUT)


def test_a_commit_with_an_answer_that_is_late(connect) -> None:
    def say_nothing(peer: socket.socket) -> None:
        while peer.recv(65536):
            pass

    with raw(say_nothing) as endpoint, pytest.raises(Unknown, match="no answer within the time"):
        connect(endpoint, timeout=BRIEF).commit([], PUT)


def test_a_refusal_before_says_nothing_of_a_commit_after(scripted, connect, refusing) -> None:
    """The commit is made while the caller handles an error of its own: its context must not be taken for ours."""
    server, other = scripted(BREAK), scripted(GOOD)
    store = connect(server.endpoint, other.endpoint)
    try:
        connect(refusing).read(["a"])
    except Unavailable:
        with pytest.raises(Unknown):
            store.commit([], PUT)
    assert (len(server.requests), other.requests) == (1, [])


def test_after_a_5xx_the_next_call_waits_or_goes_elsewhere(scripted, connect) -> None:
    server = scripted(NO_LEADER, GOOD)
    store = connect(server.endpoint)
    with pytest.raises(Unknown):
        store.commit([], PUT)
    store.commit([], PUT)
    assert server.times[1] - server.times[0] >= 0.1


# ── time ──


def test_a_server_that_trickles_is_not_waited_for(connect) -> None:
    """Each byte comes in time; the answer never does."""

    def trickle(peer: socket.socket) -> None:
        peer.recv(65536)
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while True:
            peer.sendall(b" ")
            time.sleep(0.01)

    with raw(trickle) as endpoint, pytest.raises(Unavailable, match="no answer within the time"):
        connect(endpoint, timeout=BRIEF).read(["a"])


def test_headers_that_trickle_are_not_waited_for(connect) -> None:
    def trickle(peer: socket.socket) -> None:
        peer.recv(65536)
        peer.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
        while True:
            peer.sendall(b"x")
            time.sleep(0.01)

    with raw(trickle) as endpoint, pytest.raises(Unknown, match="no answer within the time"):
        connect(endpoint, timeout=BRIEF).commit([], PUT)


# ── watches ──


def watched(script: Script, mod: int, index: int) -> tuple[int, str]:
    script.index = str(index)
    return (200, json.dumps([entry(mod=mod)]))


def test_a_watch_sees_a_change(scripted, connect) -> None:
    server = scripted(GOOD)
    server.answers = [watched(server, 9, 9)]
    assert connect(server.endpoint).watch("a", 7, SECOND)
    assert server.requests[0].startswith("GET /v1/kv/ls/a?index=7&wait=")


def test_an_index_that_went_back_reads_again(scripted, connect) -> None:
    server = scripted(GOOD)
    server.answers = [watched(server, 7, 3)]
    assert connect(server.endpoint).watch("a", 7, SECOND)
    assert len(server.requests) == 1


def test_a_key_that_is_gone_reads_again(scripted, connect) -> None:
    server = scripted((404, ""))
    assert connect(server.endpoint).watch("a", 7, SECOND)


def test_a_watch_that_is_broken_off_becomes_a_poll(scripted, connect) -> None:
    """Consul breaks connections off above 200 from one address; reading tells whether the store is there."""
    server = scripted(BREAK)
    assert connect(server.endpoint, timeout=BRIEF).watch("a", 7, SECOND)
    gaps = [later - earlier for earlier, later in zip(server.times, server.times[1:], strict=False)]
    assert not gaps or min(gaps) >= 0.05


def test_a_watch_without_a_leader(scripted, connect) -> None:
    server = scripted(NO_LEADER)
    with pytest.raises(Unavailable):
        connect(server.endpoint, timeout=BRIEF).watch("a", 7, SECOND)


def test_a_watch_that_is_denied(scripted, connect) -> None:
    server = scripted((403, "Permission denied"))
    with pytest.raises(Denied):
        connect(server.endpoint).watch("a", 7, SECOND)


def test_a_watch_goes_on_at_another_endpoint(scripted, connect) -> None:
    bad, good = scripted(NO_LEADER), scripted(GOOD)
    good.answers = [watched(good, 9, 9)]
    assert connect(bad.endpoint, good.endpoint).watch("a", 7, SECOND)


# ── who we are ──


def token_of(script: Script) -> str | None:
    return script.headers[-1].get("X-Consul-Token")


def test_the_token_is_read_again_and_the_last_good_one_kept(scripted, connect, tmp_path: Path) -> None:
    server, file = scripted(GOOD), tmp_path / "token"
    store = connect(server.endpoint, access=Access(token_file=file))
    with pytest.raises(AuthFailed, match=str(file)):
        store.read(["a"])
    file.write_text("")
    with pytest.raises(AuthFailed, match="empty"):
        store.read(["a"])
    file.write_text("first\n")
    store.read(["a"])
    assert token_of(server) == "first"
    file.write_text("second\n")
    store.commit([], PUT)
    assert token_of(server) == "second"
    file.write_text("")
    store.read(["a"])
    file.unlink()
    store.read(["a"])
    assert token_of(server) == "second", "without a token Consul would answer with nothing, and that looks like freedom"


@pytest.mark.parametrize("text", ["two\nlines", "two words", "caf\u00e9", "\u20ac", "a\x00b"])
def test_a_token_that_cannot_be_sent_names_its_file_and_not_itself(
    scripted, connect, tmp_path: Path, text: str
) -> None:
    server, file = scripted(GOOD), tmp_path / "token"
    file.write_text(text)
    with pytest.raises(AuthFailed, match=str(file)) as caught:
        connect(server.endpoint, access=Access(token_file=file)).commit([], PUT)
    assert text not in str(caught.value)
    assert not server.requests


def test_the_environment_changes_nothing(scripted, connect, monkeypatch, tmp_path: Path) -> None:
    server, netrc = scripted(GOOD, ENTRY), tmp_path / "netrc"
    netrc.write_text("default login somebody password else\n")
    for name, value in {
        "CONSUL_HTTP_ADDR": "https://127.0.0.1:1",
        "CONSUL_HTTP_SSL": "true",
        "CONSUL_HTTP_SSL_VERIFY": "false",
        "CONSUL_HTTP_TOKEN": "stranger",
        "HTTP_PROXY": "http://127.0.0.1:1",
        "http_proxy": "http://127.0.0.1:1",
        "ALL_PROXY": "http://127.0.0.1:1",
        "REQUESTS_CA_BUNDLE": "/nonexistent",
        "NETRC": str(netrc),
    }.items():
        monkeypatch.setenv(name, value)
    store = connect(server.endpoint)
    assert store.read(["a"])["a"]
    store.probe("a")
    assert len(server.headers) == 2
    for headers in server.headers:
        assert not {"X-Consul-Token", "Authorization"} & headers.keys()


def test_tls_where_there_is_none(scripted, connect) -> None:
    server = scripted(GOOD)
    with pytest.raises(TlsFailed, match=f"{server.endpoint}: does not speak TLS"):
        connect(server.endpoint, tls=True).commit([], PUT)


def test_an_endpoint_without_tls_does_not_hide_behind_one_that_refuses(scripted, connect, refusing) -> None:
    server = scripted(GOOD)
    with pytest.raises(TlsFailed):
        connect(refusing, server.endpoint, refusing, tls=True).read(["a"])


@pytest.mark.parametrize(
    "access",
    [
        Access(username="root"),
        Access(password_file=Path("p")),
        Access(ca_file=Path("ca")),
        Access(key_file=Path("key")),
    ],
)
def test_what_consul_cannot_use_is_refused_at_once(connect, access) -> None:
    with pytest.raises(ConfigError):
        connect("127.0.0.1:1", access=access)


def test_files_that_are_not_there(connect, tmp_path: Path) -> None:
    with pytest.raises(TlsFailed, match=r"ca_file .*/ca\.pem"):
        connect("127.0.0.1:1", tls=True, access=Access(ca_file=tmp_path / "ca.pem")).read(["a"])


# ── names ──


@pytest.mark.parametrize(
    ("text", "tls", "shown"),
    [
        ("host", False, "host:8500"),
        ("host", True, "host:8501"),
        ("10.0.0.1:1234", False, "10.0.0.1:1234"),
        ("[::1]:1234", False, "[::1]:1234"),
        ("[::1]", True, "[::1]:8501"),
    ],
)
def test_endpoints(text, tls, shown) -> None:
    assert str(Endpoint.parse(text, tls=tls)) == shown


@pytest.mark.parametrize("text", ["", "::1", "host:", "host:x", "http://host:1", "host:1:2"])
def test_no_endpoints(connect, text) -> None:
    with pytest.raises(ConfigError):
        connect(text)


def test_none_at_all(connect) -> None:
    with pytest.raises(ConfigError):
        connect()


def test_the_datacenter_goes_with_every_call(scripted, connect) -> None:
    server = scripted(GOOD, GOOD, ENTRY, (200, "true"))
    store = connect(server.endpoint, datacenter="east")
    store.read(["a"])
    store.commit([], PUT)
    store.probe("a")
    store.prepare()
    assert server.requests == [
        "PUT /v1/txn?dc=east&consistent=1",
        "PUT /v1/txn?dc=east",
        "GET /v1/kv/ls/a?dc=east",
        "PUT /v1/catalog/register?dc=east",
    ]


def test_a_closed_store(scripted, connect) -> None:
    store = connect(scripted(GOOD).endpoint)
    store.read(["a"])
    store.close()
    with pytest.raises(Unavailable, match="closed"):
        store.read(["a"])
    with pytest.raises(Unavailable, match="closed"):
        store.commit([], PUT)
    assert not store.watch("a", 7, SECOND)


# ── sessions ──

OPENED = (200, json.dumps({"ID": "the-session"}))
TEN_SECONDS = timedelta(seconds=10)


@pytest.mark.parametrize("answer", [(404, "404 page not found"), (200, "{}"), (200, "null")])
def test_only_consul_ends_a_session(scripted, connect, answer) -> None:
    """Something else behind the address, for a moment, costs nobody his place in the queue."""
    server = scripted(OPENED, answer)
    session = connect(server.endpoint, timeout=BRIEF).session(TEN_SECONDS)
    with pytest.raises(Unavailable):
        session.keepalive()


def test_a_session_that_consul_does_not_know_is_lost(scripted, connect) -> None:
    server = scripted(OPENED, (404, "Session id 'the-session' not found"))
    session = connect(server.endpoint).session(TEN_SECONDS)
    with pytest.raises(SessionLost):
        session.keepalive()


def test_the_end_of_a_session_that_nobody_confirms(scripted, connect) -> None:
    server = scripted(OPENED, (404, "404 page not found"))
    session = connect(server.endpoint, timeout=BRIEF).session(TEN_SECONDS)
    with pytest.raises((Unknown, Unavailable)):
        session.end()


# ── names ──


class Names:
    """The machine's resolver, which says what a test tells it, or nothing until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.known: dict[str, list[tuple[str, int]]] = {}
        self.go_on = threading.Event()
        self.asked: list[str] = []
        self._own = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self.getaddrinfo)

    def getaddrinfo(self, host: str, port: int, *more: Any, **named: Any) -> list[Any]:
        if not host.endswith(".example") or named.get("flags", 0) & socket.AI_NUMERICHOST:
            return self._own(host, port, *more, **named)
        self.asked.append(host)
        if host not in self.known:
            self.go_on.wait(30)
            raise socket.gaierror(socket.EAI_AGAIN, "temporary failure in name resolution")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in self.known[host]]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    made = Names(monkeypatch)
    yield made
    made.go_on.set()


def test_a_resolver_that_hangs_is_not_waited_for(scripted, connect, names: Names) -> None:
    """The C library tries each name server twice, 5 s each; nothing was sent, so a commit may go on."""
    good = scripted(GOOD)
    store = connect("silent.example:8500", good.endpoint, timeout=timedelta(seconds=3))
    assert store.commit([], PUT) == 7
    for _ in range(3):
        with pytest.raises(Unavailable, match=r"silent\.example:8500"):
            connect("silent.example:8500", timeout=BRIEF).commit([], PUT)
    assert not names.go_on.is_set()
    assert len(names.asked) == 1, "one question at a time"


def test_all_addresses_of_a_name_share_the_time(scripted, connect, names: Names) -> None:
    """The first ones swallow everything, the last one answers."""
    good = scripted(GOOD)
    with ExitStack() as stack:
        deaf = [stack.enter_context(swallowing()) for _ in range(3)]
        port = int(good.endpoint.rpartition(":")[2])
        names.known["many.example"] = [*deaf, ("127.0.0.1", port)]
        assert connect("many.example:8500", timeout=SECOND).commit([], PUT) == 7


@contextlib.contextmanager
def swallowing() -> Iterator[tuple[str, int]]:
    """An address where a connection is neither made nor refused: the queue of those that wait is full."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()
