"""The alerts checks against a real Prometheus and a real Alertmanager: firing, pending, silenced, inhibited, gone, secured."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from locksmith.checks import Check, Occasion
from locksmith.checks.alerts import AlertmanagerAlerts, PrometheusAlerts
from locksmith.core.verdict import Closed, Open, Unknown, Verdict
from locksmith.host.http import Tls
from tests.servers.fetch import ServerMissing
from tests.servers.process import wait_until
from tests.servers.prometheus import PASSWORD, USER, Alertmanager, Prometheus

pytestmark = pytest.mark.servers

OCCASION = Occasion(datetime(2026, 1, 1, tzinfo=UTC), clock_trusted=True, environment={})
LONG = timedelta(seconds=30)


@contextmanager
def _loud_skip() -> Iterator[None]:
    try:
        yield
    except ServerMissing as error:
        if os.environ.get("LOCKSMITH_REQUIRE_SERVERS"):
            raise
        pytest.skip(f"NOT TESTED: {error}")


@pytest.fixture(scope="module")
def prometheus() -> Iterator[Prometheus]:
    with _loud_skip():
        server = Prometheus()
    with server:
        yield server


@pytest.fixture(scope="module")
def alertmanager() -> Iterator[Alertmanager]:
    with _loud_skip():
        server = Alertmanager()
    with server:
        yield server


def rule(name: str, expr: str = "vector(1)", **more) -> dict[str, object]:
    return {"alert": name, "expr": expr, **more}


def ask(check: Check) -> Verdict:
    return check.ask(OCCASION)


def until(check: Check, wanted: Callable[[Verdict], bool]) -> Verdict:
    last: list[Verdict] = []

    def there() -> bool:
        last[:] = [ask(check)]
        return wanted(last[0])

    wait_until(there, "the verdict does not come", lambda: str(last))
    return last[0]


def is_closed(verdict: Verdict) -> bool:
    return isinstance(verdict, Closed)


def is_open(verdict: Verdict) -> bool:
    return isinstance(verdict, Open)


def test_firing_pending_ignored_and_own_alerts(prometheus: Prometheus) -> None:
    plain = PrometheusAlerts("a", "gate", prometheus.url, LONG)
    pending = PrometheusAlerts("a", "gate", prometheus.url, LONG, pending=True)
    prometheus.set_rules(
        rule("Slow", **{"for": "1h"}),
        rule("LocksmithRebootOverdue", labels={"instance": "n1"}),
        rule("Noise"),
    )
    assert until(plain, is_closed) == Closed("alerts: Noise")
    waiting = until(pending, lambda verdict: "Slow" in verdict.reason)
    assert waiting == Closed("alerts: Noise, Slow pending")
    assert ask(PrometheusAlerts("a", "gate", prometheus.url, LONG, ignore="No.*")) == Open(
        f"{prometheus.address}: no alerts"
    )
    assert ask(PrometheusAlerts("a", "gate", prometheus.url, LONG, ignore="N")) == Closed("alerts: Noise")

    prometheus.set_rules(rule("Full", labels={"instance": "n2:9100"}))
    assert until(plain, lambda verdict: verdict != Closed("alerts: Noise") and is_closed(verdict)) == Closed(
        "alerts: Full (n2:9100)"
    )
    prometheus.set_rules()
    assert until(plain, is_open)


def test_expressions(prometheus: Prometheus) -> None:
    def gate(*expressions: str, **more) -> Verdict:
        return ask(PrometheusAlerts("a", "gate", prometheus.url, LONG, expressions=expressions, **more))

    prometheus.set_rules(rule("Full", labels={"instance": "n2"}))
    firing = PrometheusAlerts("a", "gate", prometheus.url, LONG, expressions=['ALERTS{alertstate="firing"}'])
    assert until(firing, lambda verdict: "Full (n2)" in verdict.reason) == Closed(
        '`ALERTS{alertstate="firing"}`: Full (n2)'
    )
    assert gate('ALERTS{alertstate="firing"}', ignore="Full") == Open(
        f"{prometheus.address}: no expression gives anything"
    )
    assert gate("vector(1) > 2", "vector(0)") == Closed("`vector(0)`: {}")
    assert gate("absent(nothing_of_that_name)") == Closed("`absent(nothing_of_that_name)`: {}")
    long = "vector(1) > 2 or " * 200 + "vector(7)"
    assert is_closed(gate(long))
    assert is_open(gate(long.replace("vector(7)", "vector(1) > 2")))
    prometheus.set_rules()


@pytest.mark.parametrize("on_error", ["closed", "open"])
@pytest.mark.parametrize(
    ("expression", "word"),
    [
        ("up ==", "bad_data: invalid parameter"),
        ("1", "gives a scalar"),
        ("up[5m]", "gives a matrix"),
        ('"a"', "gives a string"),
    ],
)
def test_a_wrong_expression_is_never_open(prometheus: Prometheus, expression: str, word: str, on_error: str) -> None:
    check = PrometheusAlerts("a", "gate", prometheus.url, LONG, expressions=[expression], on_error=on_error)
    verdict = ask(check)
    assert isinstance(verdict, Unknown)
    assert word in verdict.reason
    assert verdict == ask(check)  # each change would be an event


def test_nobody_there() -> None:
    with _loud_skip():
        server = Prometheus()
    with server:
        check = PrometheusAlerts("a", "health", server.url, LONG)
        assert is_open(ask(check))
        passing = PrometheusAlerts("a", "gate", server.url, LONG, on_error="open")
        address = server.address
    refused = f"{address}: connection refused; check that the service runs and listens there"
    assert ask(check) == Unknown(refused)
    assert ask(passing) == Open(f"{refused}; it passes all the same, since on_error is open")


def test_a_frozen_one() -> None:
    with _loud_skip():
        server = Prometheus()
    with server:
        server.process.freeze()
        check = PrometheusAlerts("a", "gate", server.url, timedelta(seconds=0.5), expressions=["up", "down"])
        assert ask(check) == Unknown(f"{server.address}: `up`: no answer within the time limit of 500ms")


def test_tls_client_certificate_and_password(tmp_path: Path) -> None:
    with _loud_skip():
        server = Prometheus(secured=True)
    with server:
        certs = server.certificates
        mutual = Tls(certs.ca, certs.client_cert, certs.client_key)
        named = server.url.replace("://", f"://{USER}:{PASSWORD}@")

        def gate(url: str, tls: Tls) -> Verdict:
            return ask(PrometheusAlerts("a", "gate", url, LONG, tls=tls))

        assert gate(named, mutual) == Open(f"{server.address}: no alerts")
        assert gate(server.url, mutual) == Unknown(
            f"{server.address}: status 401; check token_file, cert_file or the user in the url"
        )
        for tls, word in ((Tls(certs.ca), "refused our certificate"), (Tls(certs.untrusted_ca), "not trusted")):
            verdict = gate(named, tls)
            assert isinstance(verdict, Unknown)
            assert word in verdict.reason
            assert PASSWORD not in verdict.reason


def test_silenced_inhibited_matched(alertmanager: Alertmanager) -> None:
    plain = AlertmanagerAlerts("a", "gate", alertmanager.url, LONG)
    critical = AlertmanagerAlerts("a", "gate", alertmanager.url, LONG, matchers=['severity="critical"', "zone=~eu|us"])
    full = {"alertname": "Full", "instance": "n1", "severity": "critical", "zone": "eu"}
    slow = {"alertname": "Slow", "severity": "warning", "zone": "eu"}
    assert until(plain, is_open) == Open(f"{alertmanager.address}: no alerts")
    alertmanager.fire(full, slow, {"alertname": "LocksmithNodeOverdue"})
    assert until(plain, is_closed) == Closed("alerts: Full (n1)")  # it inhibits Slow
    assert ask(critical) == Closed("alerts: Full (n1)")
    number = alertmanager.silence(alertname="Full")
    assert until(critical, is_open)
    alertmanager.end(slow)
    assert until(plain, is_open)
    alertmanager.unsilence(number)
    assert until(plain, is_closed) == Closed("alerts: Full (n1)")
    assert is_open(ask(AlertmanagerAlerts("a", "gate", alertmanager.url, LONG, ignore="Full")))
    assert is_open(ask(AlertmanagerAlerts("a", "gate", alertmanager.url, LONG, matchers=["zone=us"])))
    alertmanager.end(full)


@pytest.mark.parametrize("on_error", ["closed", "open"])
def test_a_wrong_matcher_is_never_open(alertmanager: Alertmanager, on_error: str) -> None:
    verdict = ask(AlertmanagerAlerts("a", "gate", alertmanager.url, LONG, matchers=["severity"], on_error=on_error))
    assert isinstance(verdict, Unknown)
    assert "bad matcher format: severity" in verdict.reason


def test_from_the_rule_to_the_silence(alertmanager: Alertmanager) -> None:
    """The way of an alert in a real installation; Prometheus itself still says that it fires."""
    with _loud_skip():
        server = Prometheus(alertmanager=alertmanager)
    with server:
        server.set_rules(rule("Hot", labels={"instance": "n3"}))
        check = AlertmanagerAlerts("a", "gate", alertmanager.url, LONG, matchers=["alertname=Hot"])
        assert until(check, is_closed) == Closed("alerts: Hot (n3)")
        alertmanager.silence(alertname="Hot")
        assert until(check, is_open)
        assert ask(PrometheusAlerts("a", "gate", server.url, LONG)) == Closed("alerts: Hot (n3)")


def test_the_other_ones_address(prometheus: Prometheus, alertmanager: Alertmanager) -> None:
    for check in (
        AlertmanagerAlerts("a", "gate", prometheus.url, LONG),
        PrometheusAlerts("a", "gate", alertmanager.url, LONG),
        PrometheusAlerts("a", "gate", prometheus.url + "/graph", LONG),
    ):
        verdict = ask(check)
        assert isinstance(verdict, Unknown)
        assert "check that the url" in verdict.reason, verdict
