"""The check of a Kubernetes node, against the stand-in of tests/servers/kube.py: no cluster runs here."""

from datetime import UTC, datetime, timedelta

import pytest

from locksmith.checks import Occasion
from locksmith.checks.kubernetes_node import KubernetesNode
from locksmith.core.verdict import Closed, Open, Unknown
from tests.servers.kube import BOOT_ID, NODE, KubeStandIn, node

BOOTED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
OLD, NEW = BOOTED - timedelta(minutes=9), BOOTED + timedelta(seconds=9)
NOW = Occasion(BOOTED, clock_trusted=True, environment={})


@pytest.fixture
def kube():
    with KubeStandIn() as standing:
        standing.token = "good"
        yield standing


@pytest.fixture
def config(kube, tmp_path):
    def write(token="good", url=kube.url):
        text = (
            f"current-context: c\nclusters: [{{name: k, cluster: {{server: '{url}'}}}}]\n"
            f"contexts: [{{name: c, context: {{cluster: k, user: u}}}}]\nusers: [{{name: u, user: {{token: {token}}}}}]\n"
        )
        (tmp_path / "config").write_text(text)
        return tmp_path / "config"

    return write


@pytest.fixture
def check(config, tmp_path):
    (tmp_path / "boot_id").write_text(BOOT_ID + "\n")

    def make(role="health", timeout=10.0, name=NODE):
        return KubernetesNode(
            "node",
            role,
            name,
            tmp_path / "config",
            timedelta(seconds=timeout),
            lambda: BOOTED,
            boot_id_file=tmp_path / "boot_id",
        )

    config()
    return make


@pytest.mark.parametrize("role", ["gate", "health"])
def test_ready(kube, check, role):
    kube.node = node(heartbeat=NEW)
    made = check(role)
    assert (made.name, made.kind) == ("node", role)
    assert made.ask(NOW) == Open(f"node {NODE} is Ready")


CASES = [
    (node(heartbeat=NEW, ready="False"), None, "is not Ready: KubeletNotReady: container runtime is down"),
    (
        node(heartbeat=OLD, boot_id="other"),
        None,
        "has not reported in this boot yet (last report 2026-01-02T02:55:05Z)",
    ),
    (
        node(heartbeat=OLD, boot_id="other"),
        NEW,
        "has not reported in this boot yet",
    ),  # the new kubelet lives; what it finds is not said
    (node(heartbeat=NEW, boot_id="other"), NEW, "has not reported in this boot yet"),  # our clock began behind its own
    (node(heartbeat=OLD), None, "has not been heard in this boot yet"),
    (node(heartbeat=OLD), OLD, "has not been heard in this boot yet"),
    ({"metadata": {"name": NODE}, "spec": {}, "status": {}}, NEW, "has not reported yet"),
]


@pytest.mark.parametrize(("document", "lease", "reason"), CASES)
def test_not_ready(kube, check, document, lease, reason):
    kube.node, kube.lease = document, lease
    first = check().ask(NOW)
    assert isinstance(first, Closed)
    assert reason in first.reason
    assert check().ask(NOW) == first  # the words do not change from question to question


def test_ready_by_the_lease(kube, check):
    kube.node, kube.lease = node(heartbeat=OLD), NEW
    assert check().ask(NOW) == Open(f"node {NODE} is Ready")


def test_a_node_that_is_not_there_closes(check):
    assert check(name="other").ask(NOW) == Closed(
        "the cluster has no node other: set `node` if it has another name there"
    )


def test_the_host_name_is_the_default(kube, check):
    check(name=None).ask(NOW)
    (line,) = kube.lines()
    assert line.rpartition("/")[2].lower() == line.rpartition("/")[2]


def test_no_answer_is_unknown(kube, check, config):
    kube.fault("GET", 500)
    assert isinstance(check().ask(NOW), Unknown)
    kube.silent.set()
    verdict = check(timeout=0.4).ask(NOW)
    assert isinstance(verdict, Unknown)
    assert "no answer within the time limit of 200ms" in verdict.reason
    config("expired", "http://127.0.0.1:1")
    assert isinstance(check().ask(NOW), Unknown)


def test_credentials_are_read_again(kube, check, config):
    made = check()
    config("expired")
    verdict = made.ask(NOW)
    assert isinstance(verdict, Unknown)
    assert "have they expired?" in verdict.reason
    config("good")
    kube.node = node(heartbeat=NEW)
    assert made.ask(NOW) == Open(f"node {NODE} is Ready")


def test_a_kubeconfig_that_cannot_be_used_is_unknown(check, tmp_path):
    (tmp_path / "config").write_text("a: [")
    made = check()
    verdict = made.ask(NOW)
    assert isinstance(verdict, Unknown)
    assert "is not YAML" in verdict.reason
    (tmp_path / "config").unlink()
    assert isinstance(made.ask(NOW), Unknown)
