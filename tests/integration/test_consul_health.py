"""The consul-health check against real Consul agents: states, maintenance, ACLs, instances of other nodes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import pytest

from locksmith.checks import Occasion
from locksmith.checks.consul_health import ConsulHealth
from locksmith.core.verdict import Closed, Open, Unknown, Verdict
from locksmith.host.http import Tls
from tests.servers.consul import ConsulCluster
from tests.servers.fetch import ServerMissing
from tests.servers.process import wait_until

pytestmark = pytest.mark.servers

OCCASION = Occasion(datetime(2026, 1, 1, tzinfo=UTC), clock_trusted=True, environment={})
LONG = timedelta(seconds=30)


@contextmanager
def started(**options) -> Iterator[ConsulCluster]:
    try:
        cluster = ConsulCluster(**options)
    except ServerMissing as error:
        if os.environ.get("LOCKSMITH_REQUIRE_SERVERS"):
            raise
        pytest.skip(f"NOT TESTED: {error}")
    with cluster:
        yield cluster


@pytest.fixture(scope="module")
def agent() -> Iterator[ConsulCluster]:
    with started() as cluster:
        yield cluster


def ask(cluster: ConsulCluster, role: str = "gate", **more) -> Verdict:
    scheme = "https" if cluster.tls else "http"
    verdict = ConsulHealth("c", role, f"{scheme}://{cluster.endpoints[0]}", LONG, **more).ask(OCCASION)
    return type(verdict)(verdict.reason.removeprefix(f"{cluster.endpoints[0]}: "))


def register(cluster: ConsulCluster, name: str, number: str, *tags: str, status: str = "passing") -> None:
    check = {"TTL": "1h", "Status": status, "Name": "alive"}
    cluster.request(
        "PUT", "/v1/agent/service/register", {"Name": name, "ID": number, "Tags": list(tags), "Check": check}
    )


def test_states_and_maintenance(agent: ConsulCluster) -> None:
    assert isinstance(ask(agent), Unknown)
    register(agent, "web", "web1", "blue")
    register(agent, "db", "db1", status="warning")
    assert ask(agent) == Closed("service db: alive is warning")
    assert ask(agent, services=("web",)) == Open("all is passing: web")
    assert ask(agent, tags=("blue",)) == Open("all is passing: web")
    agent.request("PUT", "/v1/agent/check/pass/service:db1")
    assert ask(agent) == Open("all is passing: db, web")

    for reason, verdict in (
        ("disk swap", Closed("node is in maintenance mode (disk swap)")),
        ("locksmith: reboot", Open("all is passing: db, web")),
    ):
        agent.request("PUT", f"/v1/agent/maintenance?enable=true&reason={quote(reason)}")
        assert ask(agent, "health") == verdict
        agent.request("PUT", "/v1/agent/maintenance?enable=false")
    agent.request("PUT", "/v1/agent/service/maintenance/web1?enable=true&reason=deploy")
    assert ask(agent) == Closed("service web is in maintenance mode (deploy)")
    agent.request("PUT", "/v1/agent/service/maintenance/web1?enable=false")

    # an instance on another node, known to the catalog alone
    assert ask(agent, services=("web",), min_passing=1) == Closed(
        "service web: 0 of the needed 1 instances pass on other nodes"
    )
    elsewhere = {
        "Node": "n2",
        "Address": "127.0.0.2",
        "Service": {"Service": "web", "ID": "web2", "Tags": ["blue"]},
        "Check": {"CheckID": "alive", "Name": "alive", "Status": "passing", "ServiceID": "web2"},
    }
    agent.request("PUT", "/v1/catalog/register", elsewhere)
    assert ask(agent, services=("web",), min_passing=1) == Open("enough is passing: web")
    assert ask(agent, "health", services=("web",), tags=("blue",), min_passing=2) == Open("enough is passing: web")
    elsewhere["Check"]["Status"] = "critical"
    agent.request("PUT", "/v1/catalog/register", elsewhere)
    assert isinstance(ask(agent, services=("web",), min_passing=1), Closed)


def test_tokens(tmp_path: Path) -> None:
    with started(acl=True) as cluster:
        register(cluster, "web", "web1")
        cluster.create_policy(
            "reader", 'service_prefix "" {policy="read"} node_prefix "" {policy="read"} agent_prefix "" {policy="read"}'
        )
        good, poor, wrong = (tmp_path / name for name in ("good", "poor", "wrong"))
        good.write_text(cluster.create_token(["reader"]))
        poor.write_text(cluster.create_token())
        wrong.write_text("00000000-0000-0000-0000-00000000dead")
        wait_until(lambda: ask(cluster, token_file=good) == Open("all is passing: web"), "the token is not known")
        assert ask(cluster, "health", token_file=good, min_passing=1) == Open("enough is passing: web")
        for file in (poor, None):
            verdict = ask(cluster, token_file=file)
            assert verdict == Unknown("no service is registered here, or the token may not read it (service:read)")
        verdict = ask(cluster, token_file=wrong)
        assert verdict == Unknown("/v1/agent/services: status 403 (ACL not found); check token_file")


def test_tls() -> None:
    with started(tls=True, verify_clients=True) as cluster:
        register(cluster, "web", "web1")
        certs = cluster.certificates
        mutual = Tls(certs.ca, certs.client_cert, certs.client_key)
        assert ask(cluster, tls=mutual) == Open("all is passing: web")
        verdict = ask(cluster, tls=Tls(certs.ca))
        assert isinstance(verdict, Unknown)
        assert "refused our certificate" in verdict.reason
