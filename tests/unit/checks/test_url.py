import socket
from datetime import UTC, datetime, timedelta

import pytest

from locksmith.checks import Occasion
from locksmith.checks.url import SEARCHED_BYTES, UrlCheck
from locksmith.core.verdict import Closed, Open, Unknown, Verdict
from tests.servers.raw import answering, http, server

OCCASION = Occasion(datetime(2026, 1, 1, tzinfo=UTC), clock_trusted=True, environment={})
LONG = timedelta(seconds=30)


def ask(answer: bytes, role: str = "gate", **more) -> Verdict:
    with server(answering(answer)) as where:
        verdict = UrlCheck("u", role, f"http://{where}/healthz", LONG, **more).ask(OCCASION)
    assert verdict.reason.startswith(f"{where}: ")
    return type(verdict)(verdict.reason.removeprefix(f"{where}: "))


@pytest.mark.parametrize(
    ("status", "wanted", "verdict"),
    [
        (200, (), Open("status 200")),
        (204, (), Open("status 204")),
        (404, (), Closed("status 404, 2xx is wanted")),
        (503, (200, 429), Closed("status 503, 200 or 429 is wanted")),
        (429, (200, 429), Open("status 429")),
        (302, (), Closed("status 302 (redirects are not followed), 2xx is wanted")),
        (302, (302,), Open("status 302")),
        (200, (204,), Closed("status 200, 204 is wanted")),
    ],
)
@pytest.mark.parametrize("role", ["gate", "health"])
def test_status(status: int, wanted: tuple[int, ...], verdict: Verdict, role: str) -> None:
    assert ask(http(status, "", "Location: http://127.0.0.1:1/"), role, status=wanted) == verdict


def test_body() -> None:
    assert ask(http(200, "ok\nstate: fine\n"), body="^state: (fine|good)$") == Closed(
        "status 200, but the body does not match '^state: (fine|good)$'"
    )
    assert ask(http(200, "ok\nstate: fine\n"), body="(?m)^state: (fine|good)$") == Open("status 200")
    assert ask(http(200, b"\xff\xfe fine"), body="fine") == Open("status 200")


def test_only_the_beginning_of_a_body_is_searched() -> None:
    inside = b" " * (SEARCHED_BYTES - 4) + b"fine"
    assert ask(http(200, inside), body="fine") == Open("status 200")
    assert ask(http(200, b" " + inside), body="fine") == Closed(
        "status 200, but the first 64 KiB of the body does not match 'fine'"
    )


@pytest.mark.parametrize("answer", [b"", b"nonsense\r\n\r\n"])
def test_no_answer_is_unknown_for_a_gate_and_not_well_for_health(answer: bytes) -> None:
    assert isinstance(ask(answer, "gate"), Unknown)
    assert isinstance(ask(answer, "health"), Closed)


def test_nobody_listens_and_no_secret_is_told() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        where = f"127.0.0.1:{bound.getsockname()[1]}"
        for role, kind in (("gate", Unknown), ("health", Closed)):
            check = UrlCheck("u", role, f"http://me:geheim@{where}/?token=geheim", LONG)
            refused = f"{where}: connection refused; check that the service runs and listens there"
            assert check.ask(OCCASION) == kind(refused)


def test_what_cannot_be_used_is_said_at_once() -> None:
    with pytest.raises(ValueError, match="http://"):
        UrlCheck("u", "gate", "host:80/x", LONG)
    check = UrlCheck("u", "health", "http://h", LONG)
    assert (check.name, check.kind) == ("u", "health")
