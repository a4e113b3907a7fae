"""HTTP against servers that say what each test needs, down to the byte, on loopback TCP, TLS and Unix sockets."""

import base64
import contextlib
import shutil
import socket
import ssl
import tempfile
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from locksmith.host.http import Failed, Request, Response, Tls, address_of, deadline_of, decoded, fetch, url_of
from tests.servers.certs import Certificates, make_certificates
from tests.servers.raw import OK, Serve, answering, dripping, listening, server, silent

LONG = timedelta(seconds=30)
"""Not waited for: a test that does is hung."""
SHORT = timedelta(seconds=0.3)


def get(where: str, path: str = "/", *, timeout: timedelta = LONG, **more) -> Response | Failed:
    return fetch(Request(f"http://{where}{path}", timeout, **more))


def failed(got: Response | Failed) -> Failed:
    assert isinstance(got, Failed), got
    return got


def answered(got: Response | Failed) -> Response:
    assert isinstance(got, Response), got
    return got


def test_an_answer() -> None:
    heard: list[bytes] = []
    with server(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-One: 1\r\nX-ONE: 2\r\n\r\nhi", heard)) as where:
        got = answered(get(where, "/a b?q=ü", headers={"X-Word": "w"}))
    assert (got.status, got.body, got.truncated, got.headers["x-one"]) == (200, b"hi", False, "1, 2")
    assert heard[0].startswith(b"GET /a%20b?q=%C3%BC HTTP/1.1\r\n")
    assert b"\r\nX-Word: w\r\n" in heard[0]
    assert heard[0].count(f"Host: {where}".encode()) == 1


@pytest.mark.parametrize("status", [204, 302, 404, 500])
def test_every_status_is_an_answer(status: int) -> None:
    data = f"HTTP/1.1 {status} Word\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n".encode()
    with server(answering(data)) as where:
        assert answered(get(where)).status == status


def test_a_body_is_sent() -> None:
    heard: list[bytes] = []
    with server(answering(OK, heard)) as where:
        answered(get(where, method="POST", body=b"query=up"))
    assert heard[0].startswith(b"POST / HTTP/1.1\r\n")
    assert b"Content-Length: 8\r\n" in heard[0]


@pytest.mark.parametrize("chunked", [True, False])
def test_a_long_body_is_cut(chunked: bool) -> None:
    body = b"a" * 1000
    data = b"HTTP/1.1 200 OK\r\n" + (
        b"Transfer-Encoding: chunked\r\n\r\n3e8\r\n" + body + b"\r\n0\r\n\r\n"
        if chunked
        else b"Content-Length: 1000\r\n\r\n" + body
    )
    with server(answering(data)) as where:
        got = answered(get(where, max_bytes=999))
        whole = answered(get(where, max_bytes=1000))
    assert (got.body, got.truncated) == (b"a" * 999, True)
    assert (whole.body, whole.truncated) == (body, False)


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhi",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"",
    ],
)
def test_a_body_that_ends_too_soon_is_no_answer(data: bytes) -> None:
    with server(answering(data)) as where:
        assert failed(get(where)) == Failed("lost", f"{where}: connection lost before the answer was complete")


@pytest.mark.parametrize("data", [b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 two OK\r\n\r\n", b"\0" * 100_000])
def test_what_is_not_http(data: bytes) -> None:
    with server(answering(data)) as where:
        assert failed(get(where)).kind in ("protocol", "lost")


def test_no_body_outgrows_its_limit_by_a_wrong_chunk_size() -> None:
    """http.client reads to the end when a chunk says that it is -1 long."""

    def serve(peer: socket.socket) -> None:
        peer.recv(65536)
        peer.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n")
        while True:
            peer.sendall(b"a" * 65536)

    with server(serve) as where:
        assert failed(get(where, max_bytes=1000)).kind in ("protocol", "lost")


@settings(max_examples=60, deadline=None)
@given(
    head=st.sampled_from([b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"]),
    rest=st.binary(max_size=200),
)
def test_garbage_raises_nothing(head: bytes, rest: bytes) -> None:
    with server(answering(head + rest)) as where:
        assert isinstance(get(where), Response | Failed)


def test_a_server_that_never_answers() -> None:
    with server(silent) as where:
        assert failed(get(where, timeout=SHORT)) == Failed(
            "timeout", f"{where}: no answer within the time limit of 300ms"
        )


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"])
def test_a_server_that_drips(head: bytes) -> None:
    """Each byte would start a socket's own time-out anew."""
    with dripping(head) as where:
        assert failed(get(where, timeout=SHORT)).kind == "timeout"


def test_a_server_that_does_not_read() -> None:
    over = threading.Event()
    with server(lambda _peer: over.wait() and None) as where:
        try:
            assert failed(get(where, timeout=SHORT, method="POST", body=b"a" * 30_000_000)).kind == "timeout"
        finally:
            over.set()


def test_an_answer_that_comes_before_the_whole_request_was_read() -> None:
    def serve(peer: socket.socket) -> None:
        peer.recv(1)
        peer.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        peer.shutdown(socket.SHUT_WR)
        while peer.recv(65536):
            pass

    with server(serve) as where:
        assert answered(get(where, method="POST", body=b"a" * 3_000_000)).status == 413


def test_nobody_listens() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        got = failed(get(f"127.0.0.1:{bound.getsockname()[1]}"))
    assert got.kind == "refused"
    assert "check that the service runs" in got.reason


def test_a_name_that_is_none() -> None:
    got = failed(get("a..b"))
    assert (got.kind, got.reason.split(":")[0]) == ("lookup", "a..b")


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("ftp://host/", "http://"),
        ("http://", "no host"),
        ("http://u:geheim@/", "no host"),
        ("http://u:geheim@host:port/", "cannot be read"),
        ("http://[::1/?token=geheim", "cannot be read"),
        ("http://a b/", "no host"),
        ("geheim", "neither http"),
    ],
)
def test_urls_that_cannot_be_used(url: str, word: str) -> None:
    got = failed(fetch(Request(url, LONG)))
    assert got.kind == "url"
    assert word in got.reason
    assert "geheim" not in got.reason


def test_the_parts_of_a_url() -> None:
    assert address_of("https://[::1]/x?y=%20 z")[:5] == (True, "::1", 443, "/x?y=%20%20z", "[::1]")
    assert address_of("http://h")[:5] == (False, "h", 80, "/", "h")


def test_an_api_below_a_url() -> None:
    assert url_of("http://u@h:1/p/?a=b", "/api", [("q", "x y"), ("q", "&")]) == "http://u@h:1/p/api?a=b&q=x+y&q=%26"
    assert url_of("http://h", "/api") == "http://h/api"


def test_no_secret_in_any_text() -> None:
    with server(answering(b"")) as where:
        request = Request(f"http://user:geheim@{where}/?token=geheim", LONG, headers={"X-Consul-Token": "geheim"})
        assert "geheim" not in failed(fetch(request)).reason
    assert "geheim" not in repr(request)


def test_user_and_password_of_the_url_are_sent() -> None:
    heard: list[bytes] = []
    with server(answering(OK, heard)) as where:
        answered(fetch(Request(f"http://me:p%40ss@{where}/", LONG)))
    assert b"Authorization: Basic " + base64.b64encode(b"me:p@ss") + b"\r\n" in heard[0]
    assert b"me:" not in heard[0]


def test_the_token_is_read_again_and_the_last_good_one_stays(tmp_path: Path) -> None:
    file = tmp_path / "token"
    heard: list[bytes] = []
    tls = Tls(token_file=file)
    with server(answering(OK, heard)) as where:
        got = failed(get(where, tls=tls))
        assert (got.kind, got.reason) == ("credentials", f"{where}: token_file {file}: no such file or directory")
        for text in ("one\n", "two", ""):
            file.write_text(text)
            answered(get(where, tls=tls))
        file.unlink()
        answered(get(where, tls=tls))
    words = [request.split(b"Authorization: Bearer ")[1].split(b"\r\n")[0] for request in heard]
    assert words == [b"one", b"two", b"two", b"two"]


@pytest.mark.parametrize("content", [b"", b"geheim wort", b"geheim\xff", "gehéim".encode()])
def test_a_token_that_is_none_is_not_shown(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "token"
    file.write_bytes(content)
    got = failed(get("127.0.0.1:1", tls=Tls(token_file=file)))
    assert got.kind == "credentials"
    assert "geh" not in got.reason


def test_no_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with server(answering(OK)) as where:
        answered(get(where))


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """The path of a Unix socket may have 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="ls-") as folder:
        yield Path(folder)


@contextlib.contextmanager
def unix(path: Path, serve: Serve) -> Iterator[None]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        with listening(listener, serve):
            yield


def test_a_unix_socket(short_folder: Path) -> None:
    heard: list[bytes] = []
    path = short_folder / "s"
    with unix(path, answering(OK, heard)):
        assert answered(fetch(Request("http://localhost/v2/x", LONG, unix=path))).body == b"hi"
    assert heard[0].startswith(b"GET /v2/x HTTP/1.1\r\n")
    got = failed(fetch(Request("http://localhost/v2/x", LONG, unix=path)))
    assert (got.kind, got.reason.split(": ")[0]) == ("refused", f"unix:{path}")


def test_a_unix_socket_that_hangs(short_folder: Path) -> None:
    path = short_folder / "s"
    with unix(path, silent):
        assert failed(fetch(Request("http://localhost/", SHORT, unix=path))).kind == "timeout"


def test_a_unix_socket_that_is_not_there(short_folder: Path) -> None:
    got = failed(fetch(Request("http://localhost/", LONG, unix=short_folder / "none")))
    assert got.kind == "absent"
    assert str(short_folder / "none") in got.reason


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certs"))


@contextlib.contextmanager
def tls_server(
    certificates: Certificates, *, mutual: bool = False, serve: Serve | None = None, address: str = "127.0.0.1"
) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server_cert, certificates.server_key)
    if mutual:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(certificates.ca)
    with server(serve or answering(OK), context, address) as where:
        yield where


def secure(where: str, tls: Tls, timeout: timedelta = LONG) -> Response | Failed:
    return fetch(Request(f"https://{where}/", timeout, tls=tls))


def test_tls_with_an_authority(certificates: Certificates) -> None:
    with tls_server(certificates) as where:
        assert answered(secure(where, Tls(ca_file=certificates.ca))).body == b"hi"
        got = failed(secure(where, Tls(ca_file=certificates.untrusted_ca)))
        assert got.kind == "tls"
        assert got.reason.startswith(f"{where}: certificate not trusted (")
        assert f"check ca_file {certificates.untrusted_ca}" in got.reason
        assert "ca_file (not set" in failed(secure(where, Tls())).reason


def test_tls_for_another_name(certificates: Certificates) -> None:
    with tls_server(certificates, address="127.0.0.2") as where:
        got = failed(secure(where, Tls(ca_file=certificates.ca)))
    assert (got.kind, "not valid for '127.0.0.2'" in got.reason) == ("tls", True), got


def test_mutual_tls(certificates: Certificates) -> None:
    good = Tls(certificates.ca, certificates.client_cert, certificates.client_key)
    bad = Tls(certificates.ca, certificates.untrusted_client_cert, certificates.untrusted_client_key)
    with tls_server(certificates, mutual=True) as where:
        assert answered(secure(where, good)).status == 200
        for tls in (Tls(certificates.ca), bad):
            got = failed(secure(where, tls))
            assert (got.kind, "the server refused our certificate" in got.reason) == ("tls", True), got


def test_certificates_are_read_again(certificates: Certificates, tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    tls = Tls(ca_file=ca)
    with tls_server(certificates) as where:
        assert failed(secure(where, tls)).reason == f"{where}: cannot load ca_file {ca}: no such file or directory"
        shutil.copy(certificates.untrusted_ca, ca)
        assert failed(secure(where, tls)).kind == "tls"
        ca.unlink()
        shutil.copy(certificates.ca, ca)
        answered(secure(where, tls))
        ca.write_text("half of a cert")
        answered(secure(where, tls))  # the last good one


def test_tls_files_that_do_not_fit(certificates: Certificates) -> None:
    tls = Tls(certificates.ca, certificates.client_cert, certificates.server_key)
    got = failed(secure("127.0.0.1:1", tls))
    assert got.kind == "credentials"
    assert f"key_file {certificates.server_key}" in got.reason


def test_https_where_plain_http_is_spoken(certificates: Certificates) -> None:
    with server(answering(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as where:
        got = failed(secure(where, Tls(ca_file=certificates.ca)))
    assert (got.kind, got.reason) == ("tls", f"{where}: does not speak TLS; use http:// or the port for HTTPS")


@pytest.mark.parametrize("reset", [True, False])
def test_a_handshake_that_is_cut(reset: bool) -> None:
    def serve(peer: socket.socket) -> None:
        if not reset:
            peer.recv(65536)  # what is not read when it is closed resets the connection

    with server(serve) as where:
        assert failed(secure(where, Tls())) == Failed(
            "tls", f"{where}: connection lost within the TLS handshake; check that the port speaks TLS"
        )


def test_a_handshake_that_never_ends() -> None:
    with server(silent) as where:
        assert failed(secure(where, Tls(), SHORT)).kind == "timeout"


def test_a_tls_server_that_drips(certificates: Certificates) -> None:
    over = threading.Event()

    def serve(peer: socket.socket) -> None:
        peer.recv(65536)
        while not over.wait(0.05):
            peer.sendall(b"H")

    with tls_server(certificates, serve=serve) as where:
        try:
            assert failed(secure(where, Tls(ca_file=certificates.ca), SHORT)).kind == "timeout"
        finally:
            over.set()


def test_one_time_limit_for_several_requests() -> None:
    deadline = deadline_of(SHORT)
    with server(silent) as where:
        request = Request(f"http://{where}/", timedelta(seconds=7))
        for _ in range(3):
            late = failed(fetch(request, deadline))
            assert late == Failed("timeout", f"{where}: no answer within the time limit of 7s")


def test_json() -> None:
    assert decoded(Response(200, {}, b'{"a": 1}')) == {"a": 1}
    for body, truncated in (
        (b"{", False),
        (b"\xff", False),
        (b"[" * 200_000, False),
        (b"1", True),
        (b"1" * 5000, False),
    ):
        with pytest.raises(ValueError, match="the answer is"):
            decoded(Response(200, {}, body, truncated=truncated))
