"""The small HTTP server: what it answers, what it refuses, and that no client can hold it."""

import contextlib
import http.client
import os
import socket
import stat
import threading

import pytest

from locksmith.config_model import TcpListen, UnixListen
from locksmith.errors import ConfigError
from locksmith.web import AT_ONCE, Page, Web

WAIT = 20
"""Seconds after which something that should have happened is a failure."""
ANY = TcpListen("127.0.0.1", 0)


@pytest.fixture
def web():
    """Pages of every sort; `gate` holds those who ask for /slow."""
    gate = threading.Event()
    waiting = threading.Semaphore(0)

    def slow():
        waiting.release()
        assert gate.wait(WAIT)
        return Page(b"at last\n")

    def broken():
        raise RuntimeError("a bug")

    pages = {
        "/hello": lambda: Page(b"hello\n"),
        "/ill": lambda: Page(b"ill\n", 503, "text/x-ill"),
        "/slow": slow,
        "/broken": broken,
    }
    server = Web("agent.metrics_listen", pages, patience=0.3)
    server.gate, server.waiting = gate, waiting
    yield server
    gate.set()
    server.close()


def connect(address):
    if address.startswith("unix:"):
        channel = socket.socket(socket.AF_UNIX)
        channel.settimeout(WAIT)
        channel.connect(address.removeprefix("unix:"))
        return channel
    host, _, port = address.rpartition(":")
    return socket.create_connection((host.strip("[]"), int(port)), timeout=WAIT)


def ask(address, path="/hello", method="GET"):
    with contextlib.closing(connect(address)) as channel:
        channel.sendall(f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        answer = http.client.HTTPResponse(channel, method=method)
        answer.begin()
        return answer.status, dict(answer.getheaders()), answer.read()


def test_a_page(web):
    web.listen(ANY)
    status, headers, body = ask(web.address)
    assert (status, body) == (200, b"hello\n")
    assert headers["Content-Type"] == "text/plain; charset=utf-8"
    assert headers["Content-Length"] == "6"


def test_status_and_type_are_the_pages(web):
    web.listen(ANY)
    status, headers, body = ask(web.address, "/ill?now=1")
    assert (status, headers["Content-Type"], body) == (503, "text/x-ill", b"ill\n")


def test_head_has_no_body(web):
    web.listen(ANY)
    status, headers, body = ask(web.address, method="HEAD")
    assert (status, headers["Content-Length"], body) == (200, "6", b"")


def test_an_unknown_page_names_the_known_ones(web):
    web.listen(ANY)
    status, _, body = ask(web.address, "/")
    assert status == 404
    assert b"/hello" in body


def test_nothing_can_be_written(web):
    web.listen(ANY)
    assert ask(web.address, method="POST")[0] == 501


def test_an_address_in_use_names_key_and_remedy(web):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigError) as caught:
            web.listen(TcpListen("127.0.0.1", port))
    message = str(caught.value)
    assert message.startswith(f"agent.metrics_listen: cannot listen on 127.0.0.1:{port}: address already in use;")
    assert '""' in message


def test_an_address_that_is_not_ours(web):
    with pytest.raises(ConfigError, match=r"agent\.metrics_listen: cannot listen on 192\.0\.2\.1:9810"):
        web.listen(TcpListen("192.0.2.1", 9810))


def test_moving_leaves_the_old_address(web):
    web.listen(ANY)
    before = web.address
    web.listen(TcpListen("127.0.0.1", 0))  # the same: nothing moves
    assert web.address == before
    port = int(before.rpartition(":")[2])
    web.listen(TcpListen("localhost", port))  # takes the place of the old one on most machines
    assert ask(web.address)[0] == 200


def test_switched_off_nobody_answers(web):
    web.listen(ANY)
    before = web.address
    web.listen(None)
    assert web.address is None
    with pytest.raises(ConnectionRefusedError):
        connect(before)


def test_a_refused_move_changes_nothing(web):
    with socket.create_server(("127.0.0.1", 0)) as other:
        free = other.getsockname()[1]
    at = TcpListen("127.0.0.1", free)
    web.listen(at)
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(ConfigError):
        web.listen(TcpListen("127.0.0.1", other.getsockname()[1]))
    assert web.address == f"127.0.0.1:{free}"
    assert ask(web.address)[0] == 200


def test_after_close_the_thread_is_gone_and_the_address_free(web):
    before = {thread.ident for thread in threading.enumerate()}
    web.listen(ANY)
    port = int(web.address.rpartition(":")[2])
    web.close()
    web.close()
    assert {thread.ident for thread in threading.enumerate() if thread.name == "web"} <= before
    with socket.create_server(("127.0.0.1", port)):
        pass


# ---------------------------------------------------------------- clients that hold


def test_a_request_that_drips_is_ended(web):
    """Each byte comes well in time; all of them together do not."""
    web.listen(ANY)
    with contextlib.closing(connect(web.address)) as channel:
        channel.sendall(b"GET /hello HTTP/1.1\r\nX: ")
        channel.settimeout(0.05)
        for _ in range(WAIT * 20):
            try:
                channel.sendall(b"y")
                if not channel.recv(100):
                    break
            except TimeoutError:
                continue
            except ConnectionError:
                break
        else:
            pytest.fail("the connection was kept")


def test_a_silent_client_keeps_nobody_waiting(web):
    web.listen(ANY)
    with contextlib.closing(connect(web.address)) as silent:
        assert ask(web.address)[0] == 200
        assert silent.recv(1) == b""


def test_beyond_the_limit_connections_are_closed_and_then_it_goes_on(web):
    web.listen(ANY)
    answers = []
    crowd = [threading.Thread(target=lambda: answers.append(ask(web.address, "/slow")[2])) for _ in range(AT_ONCE)]
    for thread in crowd:
        thread.start()
    for _ in crowd:
        assert web.waiting.acquire(timeout=WAIT)
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        ask(web.address)
    web.gate.set()
    for thread in crowd:
        thread.join(WAIT)
    assert answers == [b"at last\n"] * AT_ONCE
    for _ in range(AT_ONCE + 1):
        with contextlib.suppress(ConnectionError, http.client.HTTPException):  # a thread may still be on its way out
            if ask(web.address)[0] == 200:
                return
    pytest.fail("the server did not recover")


def test_a_page_that_breaks_is_told_and_breaks_nothing_else(web, caplog):
    web.listen(ANY)
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        ask(web.address, "/broken")
    assert ask(web.address)[0] == 200
    assert "a bug" in caplog.text


def test_a_page_that_breaks_each_time_is_told_once(web, caplog):
    web.listen(ANY)
    for _ in range(5):
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            ask(web.address, "/broken")
    assert [record.levelname for record in caplog.records if record.levelname != "DEBUG"] == ["ERROR"]


# ---------------------------------------------------------------- sockets in the file system


def test_a_socket_file(web, tmp_path):
    path = tmp_path / "metrics.sock"
    old = os.umask(0)
    try:
        web.listen(UnixListen(path))
    finally:
        os.umask(old)
    assert web.address == f"unix:{path}"
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert ask(web.address)[2] == b"hello\n"
    web.close()
    assert list(tmp_path.iterdir()) == []


def test_a_socket_that_nobody_listens_on_is_replaced(web, tmp_path):
    path = tmp_path / "metrics.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    web.listen(UnixListen(path))
    assert ask(web.address)[0] == 200
    assert list(tmp_path.iterdir()) == [path]


def test_a_socket_in_use_is_left_alone(web, tmp_path):
    path = tmp_path / "metrics.sock"
    with socket.socket(socket.AF_UNIX) as alive:
        alive.bind(str(path))
        alive.listen()
        inode = path.stat().st_ino
        with pytest.raises(ConfigError, match=r"agent\.metrics_listen: .*another process answers"):
            web.listen(UnixListen(path))
    assert path.stat().st_ino == inode
    assert list(tmp_path.iterdir()) == [path]


def test_another_file_is_never_replaced(web, tmp_path):
    path = tmp_path / "metrics.sock"
    path.write_text("precious")
    with pytest.raises(ConfigError, match="is no socket"):
        web.listen(UnixListen(path))
    assert path.read_text() == "precious"


def test_a_folder_that_is_not_there(web, tmp_path):
    with pytest.raises(ConfigError, match=r"cannot listen on unix:.*no such file"):
        web.listen(UnixListen(tmp_path / "none" / "metrics.sock"))


def test_a_path_that_is_too_long_for_a_socket(web, tmp_path):
    with pytest.raises(ConfigError, match=r"agent\.metrics_listen: .*too long"):
        web.listen(UnixListen(tmp_path / ("x" * 120)))


def test_a_socket_that_is_somebody_elses_by_now_is_not_removed(web, tmp_path):
    path = tmp_path / "metrics.sock"
    web.listen(UnixListen(path))
    path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        web.close()
        assert path.exists()
