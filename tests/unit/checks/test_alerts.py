"""The alerts checks against scripted answers; what the real servers say is in tests/integration/test_alerts.py."""

from datetime import UTC, datetime, timedelta

import pytest

from locksmith.checks import Occasion
from locksmith.checks.alerts import OWN_ALERTS, AlertmanagerAlerts, PrometheusAlerts
from locksmith.core.verdict import Closed, Open, Unknown, Verdict
from tests.servers.raw import answering, http, in_turn, json_of, routing, server

OCCASION = Occasion(datetime(2026, 1, 1, tzinfo=UTC), clock_trusted=True, environment={})
LONG = timedelta(seconds=30)


def alert(name: str | None, state: str = "firing", **labels: str) -> dict[str, object]:
    named = {} if name is None else {"alertname": name}
    return {"labels": {**named, **labels}, "state": state, "activeAt": "2026-01-01T00:00:00Z", "value": "1e+00"}


def active(name: str, state: str = "active", **labels: str) -> dict[str, object]:
    return {"labels": {"alertname": name, **labels}, "status": {"state": state}, "fingerprint": "f"}


def success(data: object, **more: object) -> bytes:
    return json_of({"status": "success", "data": data, **more})


def vector(*metrics: dict[str, str], **more: object) -> bytes:
    result = [{"metric": metric, "value": [1700000000.1, "1"]} for metric in metrics]
    return success({"resultType": "vector", "result": result}, **more)


def stripped(verdict: Verdict, where: str) -> Verdict:
    return type(verdict)(verdict.reason.removeprefix(f"{where}: "))


def prometheus(answer: bytes, *expressions: str, **more) -> Verdict:
    with server(answering(answer)) as where:
        check = PrometheusAlerts("a", "gate", f"http://{where}", LONG, expressions=expressions, **more)
        return stripped(check.ask(OCCASION), where)


def alertmanager(answer: bytes, **more) -> Verdict:
    with server(answering(answer)) as where:
        return stripped(AlertmanagerAlerts("a", "gate", f"http://{where}", LONG, **more).ask(OCCASION), where)


def alerts(*found: object, **more: object) -> bytes:
    return success({"alerts": list(found)}, **more)


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (alerts(), Open("no alerts")),
        (alerts(alert("Full")), Closed("alerts: Full")),
        (alerts(alert("Slow", "pending"), alert("Old", "inactive")), Open("no alerts")),
        (alerts(alert("B", instance="2"), alert("A"), alert("B", instance="1")), Closed("alerts: A, B (1), B (2)")),
        (alerts(alert("A", zone="x"), alert("A", zone="y")), Closed("alerts: A")),
        (alerts(*(alert(name) for name in "GFEDCBA")), Closed("alerts: A, B, C, D, E and more")),
        (alerts(alert(None, job="x")), Closed('alerts: {alertstate="firing", job="x"}')),
        (alerts(alert("A\x1b[31m\n", instance="\x00i")), Closed("alerts: A[31m (i)")),
        (alerts(alert(f"{OWN_ALERTS}Overdue"), alert("Watchdog")), Open("no alerts")),
        (alerts(alert("WatchdogToo")), Closed("alerts: WatchdogToo")),
    ],
)
def test_alerts_of_prometheus(answer: bytes, verdict: Verdict) -> None:
    assert prometheus(answer, ignore="Watchdog") == verdict


def test_pending_by_choice() -> None:
    assert prometheus(alerts(alert("A", "pending", instance="i"), alert("B")), pending=True) == Closed(
        "alerts: A pending (i), B"
    )


def test_series_of_an_expression() -> None:
    series = {"__name__": "up", "job": "node", "instance": "n1"}
    assert prometheus(vector(series, {}), "up == 0") == Closed('`up == 0`: up{instance="n1", job="node"}, {}')
    assert prometheus(vector(), "up == 0") == Open("no expression gives anything")


def test_the_question_and_the_credentials() -> None:
    heard: list[bytes] = []
    with server(answering(vector(), heard)) as where:
        PrometheusAlerts("a", "gate", f"http://{where}/base/", LONG, expressions=["up == 0", "b" * 3000]).ask(OCCASION)
    assert heard[0].startswith(b"GET /base/api/v1/query?query=up+%3D%3D+0 HTTP/1.1\r\n")
    assert heard[1].startswith(b"POST /base/api/v1/query HTTP/1.1\r\n")
    heard.clear()
    with server(answering(json_of([]), heard)) as where:
        AlertmanagerAlerts("a", "gate", f"http://{where}", LONG, matchers=['a="b c"', "d=~e|f"]).ask(OCCASION)
    assert heard[0].startswith(
        b"GET /api/v2/alerts?active=true&silenced=false&inhibited=false&unprocessed=true"
        b"&filter=a%3D%22b+c%22&filter=d%3D~e%7Cf HTTP/1.1\r\n"
    )


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (http(503, "Service Unavailable"), "status 503"),
        (http(401, "Unauthorized"), "status 401; check token_file, cert_file or the user in the url"),
        (http(404, "404 page"), "status 404; check that the url is that of its web page"),
        (
            http(302, "", "Location: /x"),
            "status 302, and redirects are not followed; write the address it redirects to",
        ),
        (http(200, "<html>"), "the answer is not JSON"),
        (json_of([]), "not what Prometheus says; check that the url is that of its web page"),
        (json_of({"status": "error", "errorType": "timeout", "error": "too slow"}, 503), "timeout: too slow"),
        (vector(warnings=["store 2 is away"]), "nothing in a partial answer (store 2 is away)"),
        (vector(isPartial=True), "nothing in a partial answer (the answer is partial)"),
        (success({"resultType": "vector"}), "not what Prometheus says: result is missing; check"),
        (success({"resultType": "vector", "result": [{"metric": {"a": 1}}]}), "metric is not a table of words"),
    ],
)
def test_no_answer_is_closed_unless_on_error_is_open(answer: bytes, reason: str) -> None:
    closed = prometheus(answer, "up")
    assert isinstance(closed, Unknown)
    assert reason in closed.reason
    opened = prometheus(answer, "up", on_error="open")
    assert opened == Open(f"{closed.reason}; it passes all the same, since on_error is open")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (
            json_of({"status": "error", "errorType": "bad_data", "error": "1:3: parse error"}, 400),
            "bad_data: 1:3: parse error",
        ),
        (
            json_of({"status": "error", "errorType": "execution", "error": "many-to-many"}, 422),
            "execution: many-to-many",
        ),
        (
            success({"resultType": "scalar", "result": [1, "1"]}),
            "it gives a scalar, which is never empty; write a vector",
        ),
    ],
)
def test_a_wrong_question_is_never_open(answer: bytes, reason: str) -> None:
    verdict = prometheus(answer, "up", on_error="open")
    assert isinstance(verdict, Unknown)
    assert verdict.reason.startswith(f"`up`: {reason}")


def test_remarks_of_prometheus_are_no_missing_data() -> None:
    info = 'PromQL info: metric might not be a counter, name does not end in _total: "x"'
    assert prometheus(vector(warnings=[info], infos=["whatever"]), "x") == Open("no expression gives anything")


def test_a_partial_answer_that_closes() -> None:
    assert prometheus(vector({"alertname": "A"}, warnings=["away"]), "x") == Closed("`x`: A")


def test_of_several_expressions_the_worst_counts() -> None:
    bad = json_of({"status": "error", "errorType": "bad_data", "error": "no"}, 400)
    with server(routing({"/api/v1/query": bad})) as where:
        check = PrometheusAlerts("a", "gate", f"http://{where}", LONG, expressions=["a", "b"])
        assert check.ask(OCCASION) == Unknown(f"{where}: `a`: bad_data: no")
    with server(in_turn(bad, vector(), vector({"alertname": "A"}))) as where:
        check = PrometheusAlerts("a", "gate", f"http://{where}", LONG, expressions=["a", "b", "c"], on_error="open")
        assert check.ask(OCCASION) == Closed("`c`: A")
    late = json_of({"status": "error", "errorType": "timeout", "error": "x"}, 503)
    with server(in_turn(late, vector(), bad)) as where:
        check = PrometheusAlerts("a", "gate", f"http://{where}", LONG, expressions=["a", "b", "c"], on_error="open")
        assert check.ask(OCCASION) == Unknown(f"{where}: `c`: bad_data: no")


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (json_of([]), Open("no alerts")),
        (json_of([active("A"), active("B", "suppressed"), active("C", "unprocessed")]), Closed("alerts: A, C")),
        (json_of([active(f"{OWN_ALERTS}Halted"), active("Noise")]), Open("no alerts")),
        (json_of("bad matcher format: x", 400), Unknown("status 400 (bad matcher format: x)")),
        (
            json_of({}),
            Unknown("not what Alertmanager says: a list is missing; check that the url is that of its web page"),
        ),
        (
            json_of([{"labels": {}}]),
            Unknown("not what Alertmanager says: status is missing; check that the url is that of its web page"),
        ),
        (
            json_of([active("A", "asleep")]),
            Unknown(
                "not what Alertmanager says: an alert in a state that is unknown; check that the url is that of its web page"
            ),
        ),
    ],
)
def test_alerts_of_alertmanager(answer: bytes, verdict: Verdict) -> None:
    assert alertmanager(answer, ignore="Noise") == verdict


def test_only_a_wrong_matcher_stays_closed_with_on_error_open() -> None:
    assert isinstance(alertmanager(json_of("bad matcher", 400), on_error="open"), Unknown)
    assert isinstance(alertmanager(http(500, "no"), on_error="open"), Open)


@pytest.mark.parametrize("make", [PrometheusAlerts, AlertmanagerAlerts])
def test_name_and_role(make: type[PrometheusAlerts | AlertmanagerAlerts]) -> None:
    check = make("a", "health", "http://h", LONG)
    assert (check.name, check.kind) == ("a", "health")
    with pytest.raises(ValueError, match="http://"):
        make("a", "health", "h:9090", LONG)
