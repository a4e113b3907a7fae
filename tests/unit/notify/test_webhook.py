"""The webhook against real servers on loopback: what it sends, and what it makes of every answer."""

import socket
import ssl
from datetime import timedelta
from pathlib import Path

import pytest

from locksmith import __version__
from locksmith.host.tls import Tls
from locksmith.notify import Delivered, Outcome, Refused, Undelivered
from locksmith.notify.webhook import Webhook
from tests.fakes.receiver import receiver
from tests.servers.certs import make_certificates
from tests.servers.raw import server, silent

LONG, SHORT = timedelta(seconds=60), timedelta(seconds=0.2)
DOCUMENT = {"schema": 1, "id": "4f" * 16, "event": "staged", "text": "ein Kern: ü"}


def undelivered(outcome: Outcome) -> str:
    assert isinstance(outcome, Undelivered), outcome
    return outcome.reason


def test_what_is_sent(tmp_path):
    (tmp_path / "token").write_text("sesame\n")
    with receiver() as told:
        assert Webhook(LONG, told.url, tls=Tls(token_file=tmp_path / "token")).send(DOCUMENT) == Delivered()
    assert told.taken == [DOCUMENT]
    [headers] = told.headers
    assert headers["content-type"] == "application/json"
    assert headers["idempotency-key"] == "4f" * 16
    assert headers["user-agent"] == f"locksmith/{__version__}"
    assert headers["authorization"] == "Bearer sesame"


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_success(status):
    with receiver(status) as told:
        assert Webhook(LONG, told.url).send(DOCUMENT) == Delivered()


@pytest.mark.parametrize("status", [400, 405, 410, 413, 415, 422])
def test_what_is_wrong_with_the_event_itself_is_not_tried_again(status):
    with receiver(status) as told:
        assert Webhook(LONG, told.url).send(DOCUMENT) == Refused(f"it answers {status}")


@pytest.mark.parametrize("status", [401, 403, 404, 408, 425, 429, 500, 502, 503])
def test_what_may_be_mended_is_tried_again(status):
    with receiver(status) as told:
        assert Webhook(LONG, told.url).send(DOCUMENT) == Undelivered(f"it answers {status}")


@pytest.mark.parametrize(("after", "wait"), [("7", 7), ("999999999", 86400), ("Wed, 21 Oct 2026 07:28:00 GMT", None)])
def test_a_receiver_may_say_when(after, wait):
    with receiver(429, answer_headers={"Retry-After": after}) as told:
        outcome = Webhook(LONG, told.url).send(DOCUMENT)
    assert outcome == Undelivered("it answers 429", None if wait is None else timedelta(seconds=wait))


def test_a_redirect_is_not_followed():
    with receiver() as other, receiver(302, answer_headers={"Location": other.url}) as told:
        assert "redirects are not followed" in undelivered(Webhook(LONG, told.url).send(DOCUMENT))
    assert other.heard == []


def test_nobody_there():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        where = f"127.0.0.1:{listener.getsockname()[1]}"
    reason = undelivered(Webhook(LONG, f"http://{where}/secret-path").send(DOCUMENT))
    assert where in reason
    assert "secret" not in reason


def test_a_slow_one_is_given_up_in_time():
    with server(silent) as where:
        reason = undelivered(Webhook(SHORT, f"http://{where}/secret-path").send(DOCUMENT))
    assert "time limit" in reason
    assert "secret" not in reason


def test_tls(tmp_path):
    files = make_certificates(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.server_cert, files.server_key)
    context.load_verify_locations(files.ca)
    context.verify_mode = ssl.CERT_REQUIRED
    mutual = Tls(ca_file=files.ca, cert_file=files.client_cert, key_file=files.client_key)
    with receiver(context=context) as told:
        assert Webhook(LONG, told.url, tls=mutual).send(DOCUMENT) == Delivered()
        assert "certificate" in undelivered(Webhook(LONG, told.url, tls=Tls(ca_file=files.untrusted_ca)).send(DOCUMENT))
    assert told.taken == [DOCUMENT]


def test_a_url_in_a_file_is_read_each_time(tmp_path):
    path = tmp_path / "url"
    hook = Webhook(LONG, url_file=path)
    assert undelivered(hook.send(DOCUMENT)) == f"url_file {path}: no such file or directory"
    path.write_text("\n")
    assert "holds nothing" in undelivered(hook.send(DOCUMENT))
    path.write_bytes(b"\xff\xfe")
    assert "holds no text" in undelivered(hook.send(DOCUMENT))
    path.write_text("ftp://user:hunter2@x/\n")
    assert "hunter2" not in undelivered(hook.send(DOCUMENT))
    with receiver() as told:
        path.write_text(f"{told.url}\n# of the team\n")
        assert hook.send(DOCUMENT) == Delivered()


def test_a_password_in_the_url_of_a_file_is_used(tmp_path):
    path: Path = tmp_path / "url"
    with receiver() as told:
        path.write_text(told.url.replace("://", "://alice:hunter2@"))
        assert Webhook(LONG, url_file=path).send(DOCUMENT) == Delivered()
    assert told.headers[0]["authorization"].startswith("Basic ")
