import socket
from datetime import UTC, datetime, timedelta

from locksmith.checks import Occasion
from locksmith.checks.tcp import TcpCheck
from locksmith.core.verdict import Closed, Open, Unknown
from tests.servers.raw import server, silent

OCCASION = Occasion(datetime(2026, 1, 1, tzinfo=UTC), clock_trusted=True, environment={})
LONG = timedelta(seconds=30)


def test_somebody_listens() -> None:
    with server(silent) as where:
        host, port = where.split(":")
        check = TcpCheck("t", "gate", host, int(port), LONG)
        assert check.ask(OCCASION) == Open(f"{where} takes connections")
    assert (check.name, check.kind) == ("t", "gate")


def test_nobody_listens_is_an_answer() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        refused = Closed(f"127.0.0.1:{port}: connection refused; check that the service runs and listens there")
        assert TcpCheck("t", "gate", "127.0.0.1", port, LONG).ask(OCCASION) == refused
        assert TcpCheck("t", "health", "127.0.0.1", port, LONG).ask(OCCASION) == refused


def test_a_name_that_is_none_is_no_answer_to_a_gate() -> None:
    gate = TcpCheck("t", "gate", "a..b", 1, LONG).ask(OCCASION)
    assert isinstance(gate, Unknown)
    assert gate.reason.startswith("a..b:1: the name cannot be resolved")
    assert TcpCheck("t", "health", "a..b", 1, LONG).ask(OCCASION) == Closed(gate.reason)


def test_no_connection_within_the_time() -> None:
    """A listener whose queue is full lets further ones wait."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        waiting = []
        try:
            for _ in range(4):
                one = socket.socket()
                one.setblocking(False)
                one.connect_ex(("127.0.0.1", port))
                waiting.append(one)
            gate = TcpCheck("t", "gate", "127.0.0.1", port, timedelta(seconds=0.3)).ask(OCCASION)
        finally:
            for one in waiting:
                one.close()
    assert gate == Unknown(f"127.0.0.1:{port}: no connection within the time limit of 300ms")


def test_an_ipv6_address_is_shown_in_brackets() -> None:
    check = TcpCheck("t", "gate", "::1", 1, LONG)
    assert check.ask(OCCASION).reason.startswith("[::1]:1: ")
