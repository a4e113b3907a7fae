from datetime import UTC, datetime, timedelta

import pytest

from locksmith.checks import Occasion
from locksmith.checks.consul_health import ConsulHealth
from locksmith.core.verdict import Closed, Open, Unknown, Verdict
from tests.servers.raw import http, json_of, routing, server

OCCASION = Occasion(datetime(2026, 1, 1, tzinfo=UTC), clock_trusted=True, environment={})
LONG = timedelta(seconds=30)
MAINTENANCE = "_node_maintenance"


def service(number: str, name: str, *tags: str) -> dict[str, object]:
    return {"ID": number, "Service": name, "Tags": list(tags) or None}


def check(number: str, status: str, service_id: str = "", notes: str = "", node: str = "n1") -> dict[str, object]:
    name = "" if number == "nameless" else number.upper()
    return {"Node": node, "CheckID": number, "Name": name, "Status": status, "ServiceID": service_id, "Notes": notes}


def entry(node: str, *statuses: str, tags: tuple[str, ...] = ()) -> dict[str, object]:
    checks = [check(f"c{number}", status) for number, status in enumerate(statuses)]
    return {"Node": {"Node": node}, "Service": {"ID": "x", "Service": "web", "Tags": list(tags)}, "Checks": checks}


class Consul:
    def __init__(self, *services: dict, checks: tuple[dict, ...] = (), catalog: tuple[dict, ...] = ()) -> None:
        self.answers = {
            "/v1/agent/services": json_of({each["ID"]: each for each in services}),
            "/v1/agent/checks": json_of({each["CheckID"]: each for each in checks}),
            "/v1/agent/self": json_of({"Config": {"NodeName": "n1"}}),
            "/v1/health/service/web": json_of(list(catalog)),
        }
        self.heard: list[bytes] = []

    def ask(self, role: str = "gate", **more) -> Verdict:
        with server(routing(self.answers, self.heard)) as where:
            verdict = ConsulHealth("c", role, f"http://{where}", LONG, **more).ask(OCCASION)
            assert not isinstance(verdict, Unknown | Open) or verdict.reason.startswith(f"{where}: ")
            return type(verdict)(verdict.reason.removeprefix(f"{where}: "))


WEB = service("web1", "web", "v1", "blue")
DB = service("db1", "db")


@pytest.mark.parametrize(
    ("checks", "verdict"),
    [
        ((), Open("all is passing: db, web")),
        ((check("a", "passing", "web1"),), Open("all is passing: db, web")),
        ((check("a", "warning", "web1"),), Closed("service web: A is warning")),
        (
            (check("a", "critical", "web1"), check("b", "critical")),
            Closed("node: B is critical; service web: A is critical"),
        ),
        ((check("a", "dizzy", "web1"),), Closed("service web: A is dizzy")),
        ((check("nameless", "critical", "web1"),), Closed("service web: nameless is critical")),
        ((check("a", "critical", "of-nobody"),), Open("all is passing: db, web")),
        ((check(MAINTENANCE, "critical", notes="locksmith: reboot"),), Open("all is passing: db, web")),
        ((check(MAINTENANCE, "critical", notes="disk"),), Closed("node is in maintenance mode (disk)")),
        (
            (check("_service_maintenance:web1", "critical", "web1", notes="deploy"),),
            Closed("service web is in maintenance mode (deploy)"),
        ),
        (
            tuple(check(f"c{number}", "critical", "web1") for number in range(7)),
            Closed("; ".join(f"service web: C{number} is critical" for number in range(5)) + "; and more"),
        ),
    ],
)
def test_states(checks, verdict):
    assert Consul(WEB, DB, checks=checks).ask() == verdict
    assert Consul(WEB, DB, checks=checks).ask("health") == verdict


def test_names_and_tags():
    consul = Consul(WEB, DB, checks=(check("a", "critical", "web1"),))
    assert consul.ask(services=("db",)) == Open("all is passing: db")
    assert consul.ask(tags=("blue", "v1")) == Closed("service web: A is critical")
    assert consul.ask(tags=("green",)) == Open("no service here with green")
    assert consul.ask(services=("db",), tags=("blue",)) == Closed(
        "service db with blue is not registered here, or the token may not read it"
    )
    assert consul.ask(services=("cache",)) == Closed(
        "service cache is not registered here, or the token may not read it"
    )


def test_nothing_registered_is_not_well():
    """What a token without rights sees looks the same."""
    assert Consul().ask() == Unknown("no service is registered here, or the token may not read it (service:read)")


def test_enough_instances():
    here, there, sick = entry("n1", "passing"), entry("n2", "passing", "passing"), entry("n3", "passing", "critical")
    consul = Consul(WEB, catalog=(here, there, sick))
    assert consul.ask("gate", min_passing=1) == Open("enough is passing: web")
    assert consul.ask("gate", min_passing=2) == Closed("service web: 1 of the needed 2 instances pass on other nodes")
    assert consul.ask("health", min_passing=2) == Open("enough is passing: web")
    assert consul.ask("health", min_passing=3) == Closed(
        "service web: 2 of the needed 3 instances pass in the datacenter"
    )
    assert consul.ask("gate", min_passing=1, tags=("v1",)) == Closed(
        "service web: 0 of the needed 1 instances pass on other nodes"
    )


def test_our_own_maintenance_does_not_count_against_us_in_the_catalog():
    drained = entry("n1", "critical")
    checks = (check(MAINTENANCE, "critical", notes="locksmith: reboot"),)
    assert Consul(WEB, checks=checks, catalog=(drained,)).ask("health", min_passing=1) == Open("enough is passing: web")


def test_the_token_is_sent_and_its_lack_is_told(tmp_path):
    file = tmp_path / "token"
    file.write_text("geheim\n")
    consul = Consul(WEB)
    assert consul.ask(token_file=file) == Open("all is passing: web")
    assert all(b"\r\nAuthorization: Bearer geheim\r\n" in request for request in consul.heard)
    consul.answers["/v1/agent/services"] = http(403, "ACL not found")
    assert consul.ask(token_file=file) == Unknown("/v1/agent/services: status 403 (ACL not found); check token_file")


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (http(200, "<html>"), "the answer is not JSON; check that the url"),
        (http(404, "no"), "status 404 (no)"),
        (http(301, ""), "status 301 ()"),
        (json_of([]), "a table is missing"),
        (json_of({"a": 1}), "not what Consul says"),
        (json_of({"a": {"ID": "a", "Service": "b", "Tags": [[]]}}), "a word is missing"),
    ],
)
def test_other_answers_are_none(answer, word):
    consul = Consul(WEB)
    consul.answers["/v1/agent/services"] = answer
    verdict = consul.ask()
    assert isinstance(verdict, Unknown)
    assert word in verdict.reason


def test_kind_and_name():
    check = ConsulHealth("c", "health", "http://127.0.0.1:8500", LONG)
    assert (check.name, check.kind) == ("c", "health")
    with pytest.raises(ValueError, match="http://"):
        ConsulHealth("c", "health", "127.0.0.1:8500", LONG)
